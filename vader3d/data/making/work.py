"""What people say of who makes their objects, and what each may take."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vader3d.config import Checked, ranged

RANKS = (  # of a Slurm array, of srun's tasks: rank, the first one, how many
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "", "SLURM_NTASKS"),
)


class Limits(NamedTuple):
    """What making an object may take; None: any time, any memory."""

    seconds: float | None = None
    gigabytes: float | None = None


@dataclass(frozen=True)
class Work(Checked):
    """Who makes the objects. The same command, started anywhere with the same output, joins in."""

    # local: processes of this machine; slurm: the same, one of many tasks; dask://HOST:PORT: a cluster of `dask`
    engine: str = "local"
    # which of --world-size commands this is, from 0: where it begins; slurm reads both from the environment
    rank: int | None = ranged(None, at_least=0)
    # how many commands are started; the notes on the parts then stay, for those who come late
    world_size: int | None = ranged(None, at_least=1)
    # one object may take so long; one that takes longer in three processes is skipped
    object_seconds: float | None = ranged(None, above=0)
    # one object may take so much memory (Linux); one that takes more is skipped
    object_gigabytes: float | None = ranged(None, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ("local", "slurm") and not self.engine.startswith("dask://"):
            raise ValueError(f"engine: wanted local, slurm or dask://HOST:PORT; got {self.engine!r}")
        if (self.rank is None) != (self.world_size is None) or (self.rank or 0) >= (self.world_size or 1):
            raise ValueError(f"rank, world_size: wanted both, rank the smaller; got {self.rank} and {self.world_size}")

    @property
    def limits(self) -> Limits:
        return Limits(self.object_seconds, self.object_gigabytes)

    @property
    def is_cluster(self) -> bool:
        return self.engine.startswith("dask://")

    @property
    def is_apart(self) -> bool:
        """Whether objects need processes of their own, however few there are."""
        return self.engine != "local" or self.limits != Limits()


def place_of(work: Work, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Rank and world size; ValueError where Slurm says neither."""
    if work.rank is not None and work.world_size is not None:
        return work.rank, work.world_size
    if work.engine != "slurm":
        return 0, 1
    for rank, first, count in RANKS:
        if rank in environment and count in environment:
            return int(environment[rank]) - int(environment.get(first, "0")), int(environment[count])
    raise ValueError(
        "rank: wanted a task of a Slurm array or of srun; got no SLURM_ARRAY_TASK_ID or SLURM_PROCID; "
        "say --rank and --world-size"
    )
