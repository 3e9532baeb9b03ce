"""Run states: everything a training needs to go on."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vader3d.files import write_whole
from vader3d.untrusted import reading


def save_state(path: Path, state: dict[str, Any], *, before: Callable[[], None] | None = None) -> None:
    """Everything a run needs to go on: tensors and plain values only. `before` is called when it is written."""
    write_whole(path, lambda temporary: torch.save(state, temporary), before=before)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote. ValueError: it is damaged, by a bit even, or something else."""
    with reading(path, "a run state"):
        with zipfile.ZipFile(path) as file:
            if any(info.compress_type != zipfile.ZIP_STORED for info in file.infolist()):
                raise ValueError("run state: wanted members as they are; got packed ones")  # which may fill memory
            if damaged := file.testzip():
                raise ValueError(f"{damaged}: wanted its checksum; got another")
        return torch.load(path, map_location="cpu", weights_only=True)
