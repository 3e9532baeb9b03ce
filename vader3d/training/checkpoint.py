"""Files that outlive a process: run states to go on from, snapshots to hand on.

Both are written whole or not at all (`files.write_whole`).
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vader3d.files import write_whole

SNAPSHOT_VERSION = 1


def save_state(path: Path, state: dict[str, Any], *, before: Callable[[], None] | None = None) -> None:
    """Everything a run needs to go on: tensors and plain values only. `before` is called when it is written."""
    write_whole(path, lambda temporary: torch.save(state, temporary), before=before)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote. ValueError: it is damaged, by a bit even, or something else."""
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: not a run state this version can read ({error}); delete it to start anew") from error


def save_snapshot(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Weights with all that explains them: `header` (plain values) goes into the safetensors header."""
    text = json.dumps({"format": "vader3d-snapshot", "version": SNAPSHOT_VERSION, **header})
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: save_file(whole, temporary, metadata={"vader3d": text}))


def read_header(path: Path) -> dict[str, Any]:
    """The header of a snapshot. ValueError: no such file, another format, or a newer version."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such snapshot; train a model first, or give its run folder")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("vader3d", "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
    if header.get("format") != "vader3d-snapshot":
        raise ValueError(f"{path}: not a vader3d snapshot (no vader3d header)")
    if header["version"] > SNAPSHOT_VERSION:
        raise ValueError(f"{path}: written by a newer vader3d (format {header['version']}); upgrade vader3d")
    return header


def load_snapshot(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header."""
    header = read_header(path)
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
