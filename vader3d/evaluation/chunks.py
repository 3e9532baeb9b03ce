"""Resumable work in chunks that lie on disk once they are whole.

What a chunk holds depends on its items alone, not on which process computes it or when: any number of processes and
interruptions gives the same chunks.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.progress import progress_bar
from vader3d.snapshots import load_snapshot, save_snapshot
from vader3d.training.distributed import Processes
from vader3d.untrusted import reading

CHUNK = 16  # items
FORMAT = 1  # of chunks: a change makes older ones foreign


@dataclass
class Measured:
    """What was measured of some items: tensors that are joined along their first dimension, and what was left out.

    excluded: reason -> how many. seconds: they took. sampling_cpu_seconds: process time spent in the sampler; None
    where nothing was sampled on a CPU, or the chunk is older than this measurement.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    sampling_cpu_seconds: float | None = None


@dataclass(frozen=True)
class Measurement:
    """`count` items and how to compute some of them; `inputs`: plain values, all that the result depends on."""

    name: str
    title: str
    count: int
    inputs: dict[str, Any]
    compute: Callable[[list[int]], Measured]

    @property
    def fingerprint(self) -> str:
        text = json.dumps([FORMAT, CHUNK, self.name, self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def chunks(self) -> Iterator[list[int]]:
        """The numbers of the items, chunk by chunk."""
        return ([*range(start, min(start + CHUNK, self.count))] for start in range(0, self.count, CHUNK))

    def path(self, folder: Path, numbers: list[int]) -> Path:
        return folder / f"{self.name}-{numbers[0] // CHUNK:05d}.safetensors"


def run_measurement(measurement: Measurement, folder: Path, *, processes: Processes) -> None:
    """Compute this process's share of the chunks that are not there, or not whole, or of something else."""
    chunks = [*measurement.chunks()]
    with progress_bar(measurement.title, shown=processes.is_main) as advance:
        for done, numbers in enumerate(chunks, 1):
            if (done - 1) % processes.size == processes.rank and read_chunk(measurement, folder, numbers) is None:
                start = time.monotonic()
                measured = measurement.compute(numbers)
                measured.seconds = time.monotonic() - start
                write_chunk(measurement, folder, numbers, measured)
            advance(done / len(chunks), f"{min(done * CHUNK, measurement.count)} of {measurement.count}")


def collect_measurement(measurement: Measurement, folder: Path) -> Measured:
    """All chunks of a finished measurement as one. ValueError where one is missing."""
    parts: dict[str, list[Tensor]] = {}
    sampling: list[float | None] = []
    whole = Measured()
    for numbers in measurement.chunks():
        measured = read_chunk(measurement, folder, numbers)
        if measured is None:
            path = measurement.path(folder, numbers)
            raise ValueError(f"{path}: wanted a whole chunk; got a missing or damaged one; run the same command again")
        for name, tensor in measured.tensors.items():
            parts.setdefault(name, []).append(tensor)
        whole.excluded.update(measured.excluded)
        whole.seconds += measured.seconds
        sampling.append(measured.sampling_cpu_seconds)
    with reading(folder / measurement.name, "chunks of one kind (else delete them)"):
        whole.tensors = {name: torch.cat(pieces) for name, pieces in parts.items()}
    known = [seconds for seconds in sampling if seconds is not None]
    whole.sampling_cpu_seconds = sum(known) if known and len(known) == len(sampling) else None
    return whole


def write_chunk(measurement: Measurement, folder: Path, numbers: list[int], measured: Measured) -> None:
    """Whole or not at all, with the checksum of what it holds."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in measured.tensors.items() if tensor.numel()}
    header = {
        "kind": "evaluation",
        "stage": measurement.fingerprint,  # the key that older versions wrote
        "items": len(numbers),
        "content": content_of(tensors),
    }
    times = {"seconds": measured.seconds, "sampling_cpu_seconds": measured.sampling_cpu_seconds}
    save_snapshot(
        measurement.path(folder, numbers),
        tensors or {"nothing": torch.zeros(1)},
        header | {"empty": not tensors, "excluded": dict(measured.excluded), **times},
    )


def read_chunk(measurement: Measurement, folder: Path, numbers: list[int]) -> Measured | None:
    """A chunk that lies there; None where there is none, a damaged one, or one of another measurement."""
    path = measurement.path(folder, numbers)
    with suppress(ValueError, OSError), reading(path):
        tensors, header = load_snapshot(path)
        tensors = {} if header.get("empty") else tensors
        expected = (measurement.fingerprint, len(numbers), content_of(tensors))
        if (header.get("stage"), header.get("items"), header.get("content")) == expected:
            excluded = Counter({str(reason): int(count) for reason, count in header["excluded"].items()})
            spent = header.get("sampling_cpu_seconds")
            return Measured(tensors, excluded, float(header["seconds"]), spent if spent is None else float(spent))
    return None


def content_of(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of all tensors: it tells a flipped bit."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
