"""Objects that are made in no time, or in ways that end the process that makes them."""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import torch

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.making.conversion import Job, Output
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import orbit_cameras

BROKEN, INTERRUPTS, HANGS, EATS, CRASHES, EXITS = 0, -1, 200, 201, 202, 203
SIZE, GIGABYTE = 4, 1 << 30


def make(name: str, value: int, pause: float = 0.0) -> PreparedObject:
    """One picture, all of one value; equal values are equal objects. The values above end as they are called."""
    if value == BROKEN:
        raise RuntimeError("no value")
    if value == INTERRUPTS:
        raise KeyboardInterrupt
    if value == EATS:
        np.ones(8 * GIGABYTE, np.uint8)
    if value in (HANGS, CRASHES, EXITS):
        print(f"last words of {name}", flush=True)
        if value == HANGS:
            time.sleep(3600)
        os.kill(os.getpid(), signal.SIGSEGV) if value == CRASHES else os._exit(1)
    time.sleep(pause)
    cameras = orbit_cameras(torch.zeros(1), torch.zeros(1), distance=4, fov_degrees=30, size=SIZE)
    pictures = np.full((1, SIZE, SIZE, 4), value % 199 + 1, np.uint8)
    record = ObjectRecord(name, (Caption(name, "name"),))
    return PreparedObject(record, pictures, cameras, identity=str(value), note="all the same")


def jobs_of(values, pause: float = 0.0) -> list[Job]:
    return [Job(f"thing {i}", make, (f"thing {i}", value, pause)) for i, value in enumerate(values)]


def output_in(folder: Path, objects_per_shard: int | None = None) -> Output:
    return Output(folder / "out.zip", title="t", resolution=(SIZE, SIZE), objects_per_shard=objects_per_shard)


def bytes_of(place: Path) -> dict[str, bytes]:
    """All that lies there, by name; without what an index says of the command."""
    files = [place] if place.is_file() else sorted(place.iterdir())
    return {path.name: re.sub(rb' "command": "[0-9a-f]{64}",\n', b"", path.read_bytes()) for path in files}
