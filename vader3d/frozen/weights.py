"""Frozen networks' weights: where they lie, and their download.

Nothing is ever fetched but by `download_weights`, which `vader3d weights NAME` calls.
"""

import hashlib
import os
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import IO
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request

from vader3d.config import unknown_name
from vader3d.files import CHUNK_BYTES, cache_folder, checksum_of, expanded, held, write_whole
from vader3d.progress import progress_bar

TIMEOUT_SECONDS = 30.0  # of silence
LARGEST_BYTES = 2**31  # of a file whose size nobody told
LONGEST_SECONDS = 2 * 3600.0  # for all of a download: the largest file at 80 kB/s


@dataclass(frozen=True)
class Weights:
    """A file of weights as its makers publish it.

    sha256: in hex, in full; its first eight digits are its makers' own (the file's name carries them), the others what
    several who fetched it have published. size: bytes; 0: not known.
    """

    what: str
    file: str
    url: str
    sha256: str
    size: int
    instead: str = ""  # what else does, where there is no such file


WEIGHTS = {
    "vgg19": Weights(
        what="VGG-19 of torchvision, trained on ImageNet: the paper's perceptual loss (BSD-3-Clause)",
        file="vgg19-dcbb9e9d.pth",
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        size=574_673_361,
        instead="; or choose another trunk: losses.trunk=vgg16-hed or gradients",
    ),
    "vgg16": Weights(
        what="VGG-16 of torchvision, trained on ImageNet: the published LPIPS (BSD-3-Clause)",
        file="vgg16-397923af.pth",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size=553_433_881,
        instead="; or measure lpips-vgg16-hed, which is another number",
    ),
    "inception": Weights(
        what="Inception-v3 of torch-fidelity, converted from TensorFlow: the published FID and KID (Apache-2.0)",
        file="weights-inception-2015-12-05-6726825d.pth",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size=95_628_359,
    ),
}


def known_weights(name: str) -> Weights:
    """ValueError: unknown, with the nearest names."""
    if name not in WEIGHTS:
        raise ValueError(unknown_name(name, WEIGHTS, "weights"))
    return WEIGHTS[name]


def usual_places(name: str) -> list[Path]:
    """Where the file may lie: our cache, then torch hub's."""
    file = known_weights(name).file
    torch_home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return [cache_folder() / file, expanded(torch_home) / "hub" / "checkpoints" / file]


def find_weights(name: str, path: str | Path | None = None) -> Path:
    """The file `path`, else the one in a cache. ValueError: there is none, and how to get it."""
    places = usual_places(name) if path is None else [expanded(path)]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(
        f"weights: wanted {' or '.join(map(str, places))}, the {known_weights(name).what}; got no such file; "
        f"`vader3d weights {name}` fetches it where the internet is{known_weights(name).instead}"
    )


def download_weights(name: str) -> Path:
    """Fetch the file into our cache unless it lies in one; either way its checksum is verified.

    It appears under its name only when it is whole and right. ValueError: no answer, one that takes too long or leaves
    https, another size, or another checksum.
    """
    return download(known_weights(name), usual_places(name))


def download(weights: Weights, places: Sequence[Path]) -> Path:
    """`download_weights` of any file, to the first of `places`, unless one of them has it."""
    target = places[0]
    for place in places:
        if place.is_file():
            check(weights, checksum_of(place), where=f"{place}; delete it and try again")
            return place
    with held(target.parent, target.name):
        write_whole(target, lambda temporary: fetch(weights, temporary, target))
    return target


def fetch(weights: Weights, temporary: Path, target: Path) -> None:
    """Write what the URL answers to `temporary`, if it is what is wanted."""
    digest, size = hashlib.sha256(), 0
    with temporary.open("wb") as file, progress_bar(weights.file) as advance:
        for chunk in chunks(weights, target):
            size += len(chunk)
            if size > (weights.size or LARGEST_BYTES):
                break
            digest.update(chunk)
            file.write(chunk)
            advance(size / (weights.size or LARGEST_BYTES), f"{size / 1e6:.0f} MB")
    if size > LARGEST_BYTES or (weights.size and size != weights.size):
        more = " or more" * (size > weights.size)
        raise ValueError(f"weights: wanted {weights.size} bytes of {weights.url}; got {size}{more}; nothing was kept")
    check(weights, digest.hexdigest(), where=f"{weights.url}; nothing was kept")


def chunks(weights: Weights, target: Path) -> Iterator[bytes]:
    """The pieces of the answer, as they come."""
    deadline = monotonic() + LONGEST_SECONDS
    try:
        with answer_to(weights.url) as answer:
            while chunk := answer.read1(CHUNK_BYTES):  # read() would wait for all of it, however slowly it trickles
                if monotonic() > deadline:
                    raise TimeoutError(f"not whole after {LONGEST_SECONDS:g} seconds")
                yield chunk
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"weights: wanted {weights.url}; got no answer ({getattr(error, 'reason', None) or error}); where there is "
            f"no internet, fetch it elsewhere and put it at {target}"
        ) from error


def answer_to(url: str) -> HTTPResponse:
    """The answer, once its headers are there. OSError: there is none in time; a redirect away from https."""
    future: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            future.set_result(urllib.request.build_opener(StaysSecure).open(url, timeout=TIMEOUT_SECONDS))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=ask, daemon=True).start()  # headers that trickle in would keep this thread however long
    try:
        return future.result(LONGEST_SECONDS)
    except FutureTimeoutError as error:
        raise TimeoutError(f"no headers after {LONGEST_SECONDS:g} seconds") from error


class StaysSecure(HTTPRedirectHandler):
    """Follows redirects, but none from https to what anybody on the way could change."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise URLError(f"a redirect away from https, to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check(weights: Weights, found: str, *, where: str) -> None:
    """ValueError unless the SHA-256 `found` is the one wanted."""
    if found != weights.sha256:
        raise ValueError(f"weights: wanted a SHA-256 of {weights.sha256}; got {found} from {where}")
