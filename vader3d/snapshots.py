"""Weights with all that explains them in the header: what runs hand on."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vader3d import __version__
from vader3d.files import write_whole
from vader3d.untrusted import parsed_json, reading

SNAPSHOT_VERSION = 1
BYTES = {"F32": 4, "F16": 2, "U8": 1}  # of a number, by safetensors' names
ROWS = 1024  # of a tensor that are looked at together
MODEL = "model.safetensors"
AUTODECODER = "autodecoder.safetensors"
HALVES = (torch.float16, torch.bfloat16)
STATISTICS = ("median", "spread", "basis")  # of latents: not weights, whatever their shapes
DRAWS = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, Tensor.normal_, Tensor.uniform_)
Module = TypeVar("Module", bound=nn.Module)


def header_text(header: dict[str, Any]) -> str:
    """What explains the weights, as it stands in the file's metadata."""
    about = {"format": "vader3d-snapshot", "version": SNAPSHOT_VERSION, "vader3d": __version__}
    return json.dumps({**about, **header})


def packed_header(
    shapes: dict[str, tuple[int, ...]],
    header: dict[str, Any],
    *,
    length: int = 0,
    types: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The first bytes of a snapshot whose tensors of `shapes` follow in this order, filled up to `length`.

    So a file can be written before all that its header says is known. types: of `BYTES`, float32 where none is named.
    ValueError: it does not fit.
    """
    entries: dict[str, Any] = {"__metadata__": {"vader3d": header_text(header)}}
    end = 0
    for name, shape in shapes.items():
        kind = types.get(name, "F32")
        start, end = end, end + BYTES[kind] * prod(shape)
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    if 0 < length < 8 + len(text):
        raise ValueError(f"header: wanted at most {length} bytes; got {8 + len(text)}")
    text = text.ljust(max(length - 8, len(text)))  # safetensors lets spaces follow
    return len(text).to_bytes(8, "little") + text


def save_snapshot(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Weights with all that explains them: `header` (plain values) goes into the safetensors header."""
    text = header_text(header)
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        try:
            save_file(whole, temporary, metadata={"vader3d": text})
        except SafetensorError as error:  # its words for a full disk
            raise OSError(str(error)) from error

    write_whole(path, write)


def read_header(path: Path, kind: str | None = None) -> dict[str, Any]:
    """The header of a snapshot. ValueError: no such file, another format or `kind`, a version unknown here."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: wanted a snapshot; got no such file; train a model first, or give its run folder")
    try:
        open(path, "rb").close()  # safetensors calls a file that may not be read one that is not there
    except PermissionError as error:
        raise ValueError(f"{path}: wanted a file that you may read; got none; chmod +r it as its owner") from error
    with reading(path, "a whole safetensors file"):
        with safe_open(path, "pt") as file:
            header = parsed_json((file.metadata() or {}).get("vader3d", "{}").encode())
        if not isinstance(header, dict) or header.get("format") != "vader3d-snapshot":
            raise ValueError("header: wanted a vader3d snapshot; got one without a vader3d header")
        check_version(header.get("version"), newest=SNAPSHOT_VERSION)
        if kind is not None and header.get("kind") != kind:
            raise ValueError(f"kind: wanted {kind}; got a snapshot of kind {header.get('kind')!r}")
    return header


def check_version(version: object, *, newest: int) -> None:
    """ValueError for the version of a format that this vader3d does not know."""
    if version not in range(1, newest + 1):
        newer = isinstance(version, int) and version > newest
        told = "a newer vader3d; upgrade" if newer else "an unknown vader3d; use the one that wrote it"
        raise ValueError(f"version: wanted format {newest} or older; got {version!r}, of {told}")


def check_finite(path: Path) -> None:
    """ValueError: no snapshot, or numbers in it that are infinite or none. A few rows at a time are in memory."""
    read_header(path)
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            rows = file.get_slice(name)
            starts = range(0, rows.get_shape()[0], ROWS) if rows.get_shape() else ()
            pieces = (rows[start : start + ROWS] for start in starts) if starts else [file.get_tensor(name)]
            if not all(bool(piece.isfinite().all()) for piece in pieces):
                raise ValueError(f"{path}: wanted finite numbers; got others in {name}; train it anew, more slowly")


def load_snapshot(path: Path, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header; halves become float32, the type networks are kept in. ValueError as `read_header`."""
    tensors, header = load_as_stored(path, kind)
    return {name: tensor.float() if tensor.dtype in HALVES else tensor for name, tensor in tensors.items()}, header


def load_as_stored(path: Path, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors as the file has them, mapped, and its header. ValueError as `read_header`."""
    header = read_header(path, kind)
    with reading(path, "a whole safetensors file"), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half the bytes: float16, but for statistics, vectors, and what float16 cannot hold."""

    def fits(name: str, tensor: Tensor) -> bool:
        plain = tensor.dtype == torch.float32 and tensor.ndim > 1 and name.rpartition(".")[2] not in STATISTICS
        return plain and bool(tensor.half().isfinite().all())

    return {name: tensor.half() if fits(name, tensor) else tensor for name, tensor in tensors.items()}


@contextmanager
def explained_by(path: Path, header: dict[str, Any]) -> Iterator[None]:
    """What a header says is taken over in here; the ValueError tells where another vader3d wrote it."""
    writer = str(header.get("vader3d", "of another version"))
    try:
        with reading(path, "weights with their configuration"):
            yield
    except ValueError as error:
        if writer == __version__:
            raise
        told = f"{error}; written by vader3d {writer[:20]!r}, this is {__version__}"
        raise ValueError(told) from error


class Undrawn(TorchFunctionMode):
    """Random initial weights are not drawn: asking the meta device for them loads torch's compiler, 2.5 s."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in DRAWS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def filled(build: Callable[[], Module], tensors: dict[str, Tensor]) -> Module:
    """The module that `build` makes, in evaluation mode, with just these weights; no more memory than they take."""
    with torch.device("meta"), Undrawn():
        module = build()
    own = module.state_dict()
    unlike = {name for name in own.keys() | tensors.keys() if signature(own.get(name)) != signature(tensors.get(name))}
    if unlike:
        name = min(unlike)
        raise ValueError(f"{name}: wanted {signature(own.get(name))}; got {signature(tensors.get(name))}")
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def signature(tensor: Tensor | None) -> str:
    """What has to agree where a weight takes another's place."""
    return "no such weight" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
