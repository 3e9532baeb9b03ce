"""Weights with all that explains them in the header: what runs hand on."""

import json
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vader3d.files import write_whole

SNAPSHOT_VERSION = 1
ROWS = 1024  # of a tensor that are looked at together
MODEL = "model.safetensors"
AUTODECODER = "autodecoder.safetensors"


def header_text(header: dict[str, Any]) -> str:
    """What explains the weights, as it stands in the file's metadata."""
    return json.dumps({"format": "vader3d-snapshot", "version": SNAPSHOT_VERSION, **header})


def packed_header(shapes: dict[str, tuple[int, ...]], header: dict[str, Any], *, length: int = 0) -> bytes:
    """The first bytes of a snapshot whose float32 tensors of `shapes` follow in this order, filled up to `length`.

    So a file can be written before all that its header says is known. ValueError: it does not fit.
    """
    entries: dict[str, Any] = {"__metadata__": {"vader3d": header_text(header)}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
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


def read_header(path: Path) -> dict[str, Any]:
    """The header of a snapshot. ValueError: no such file, another format, or a newer version."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: wanted a snapshot; got no such file; train a model first, or give its run folder")
    try:
        open(path, "rb").close()  # safetensors calls a file that may not be read one that is not there
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("vader3d", "{}"))
    except PermissionError as error:
        raise ValueError(f"{path}: wanted a file that you may read; got none; chmod +r it as its owner") from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: wanted a whole safetensors file; got a damaged one ({error})") from error
    if header.get("format") != "vader3d-snapshot":
        raise ValueError(f"{path}: wanted a vader3d snapshot; got one without a vader3d header")
    if header["version"] > SNAPSHOT_VERSION:
        raise ValueError(
            f"{path}: wanted format {SNAPSHOT_VERSION} or older; got {header['version']}, of a newer vader3d; upgrade"
        )
    return header


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


def load_snapshot(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header."""
    header = read_header(path)
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
