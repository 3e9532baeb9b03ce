"""Frozen networks' weights: where they lie, and their download.

Nothing is ever fetched but by `download_weights`, which `vader3d weights NAME` calls.
"""

import hashlib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch

from vader3d.config import unknown_name
from vader3d.files import CHUNK_BYTES, cache_folder, checksum_of, held, write_whole
from vader3d.progress import progress_bar

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Weights:
    """A file of weights as its makers publish it.

    sha256: its SHA-256 in hex, or the first digits where no more are known (torch's file names carry eight). largest:
    bytes; a longer answer is something else.
    """

    what: str
    file: str
    url: str
    sha256: str
    largest: int
    instead: str = ""  # what else does, where there is no such file


WEIGHTS = {
    "vgg19": Weights(
        what="VGG-19 of torchvision, trained on ImageNet: the paper's perceptual loss (BSD-3-Clause)",
        file="vgg19-dcbb9e9d.pth",
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9d",
        largest=600_000_000,
        instead="; or choose another trunk: losses.trunk=vgg16-hed or gradients",
    ),
    "vgg16": Weights(
        what="VGG-16 of torchvision, trained on ImageNet: the published LPIPS (BSD-3-Clause)",
        file="vgg16-397923af.pth",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af",
        largest=600_000_000,
        instead="; or measure lpips-vgg16-hed, which is another number",
    ),
    "inception": Weights(
        what="Inception-v3 of torch-fidelity, converted from TensorFlow: the published FID and KID (Apache-2.0)",
        file="weights-inception-2015-12-05-6726825d.pth",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d",
        largest=120_000_000,
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
    return [cache_folder() / file, Path(torch.hub.get_dir()) / "checkpoints" / file]


def find_weights(name: str, path: str | Path | None = None) -> Path:
    """The file `path`, else the one in a cache. ValueError: there is none, and how to get it."""
    places = usual_places(name) if path is None else [Path(path).expanduser()]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(
        f"weights: wanted {' or '.join(map(str, places))}, the {known_weights(name).what}; got no such file; "
        f"`vader3d weights {name}` fetches it where the internet is{known_weights(name).instead}"
    )


def download_weights(name: str) -> Path:
    """Fetch the file into our cache unless it lies in one; either way its checksum is verified.

    It appears under its name only when it is whole and right. ValueError: no answer, too large, or another checksum.
    """
    weights, (target, *others) = known_weights(name), usual_places(name)
    for place in (target, *others):
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
        for share, chunk in chunks(weights, target):
            size += len(chunk)
            if size > weights.largest:
                raise ValueError(f"weights: wanted at most {weights.largest} bytes from {weights.url}; got more")
            digest.update(chunk)
            file.write(chunk)
            advance(share, f"{size / 1e6:.0f} MB")
    check(weights, digest.hexdigest(), where=f"{weights.url}, {size} bytes; nothing was kept")


def chunks(weights: Weights, target: Path) -> Iterator[tuple[float, bytes]]:
    """The pieces of the answer, each with the share of it that is then there."""
    got = 0
    try:
        with urllib.request.urlopen(weights.url, timeout=TIMEOUT_SECONDS) as answer:
            total = int(answer.headers.get("Content-Length") or weights.largest)
            while chunk := answer.read(CHUNK_BYTES):
                got += len(chunk)
                yield min(1.0, got / total), chunk
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"weights: wanted {weights.url}; got no answer ({getattr(error, 'reason', None) or error}); where there is "
            f"no internet, fetch it elsewhere and put it at {target}"
        ) from error


def check(weights: Weights, found: str, *, where: str) -> None:
    """ValueError unless the SHA-256 `found` is, or begins as, the one wanted."""
    if not found.startswith(weights.sha256):
        raise ValueError(f"weights: wanted a SHA-256 of {weights.sha256}...; got {found[:16]}... from {where}")
