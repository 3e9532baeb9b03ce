"""What commands share: an option's type, words for people."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar

import tyro

from vader3d.config import Range
from vader3d.data.making.work import Work

Command = TypeVar("Command", bound=Callable[..., Any])

Settings = Annotated[
    tuple[str, ...], tyro.conf.arg(name="set", metavar="PATH.TO.FIELD=VALUE ..."), tyro.conf.UseAppendAction
]

WorkOptions = Annotated[Work, tyro.conf.arg(name="", prefix_name=False)]
ALONE = Work()

# Of the numbers that commands take, by name; those of a configuration have theirs beside the fields.
RANGES = {
    "azimuths": Range(above=0, at_most=180),
    "clip_size": Range(at_least=1, at_most=4096),
    "count": Range(at_least=1),
    "fov": Range(above=0, below=180),
    "fine_steps": Range(at_least=0),
    "frames": Range(at_least=2),
    "guidance": Range(at_least=0),
    "guidance_interval": Range(at_least=0),
    "guidance_rescale": Range(at_least=0, at_most=1),
    "keep_days": Range(above=0),
    "least_explained": Range(at_least=0, at_most=1),
    "least_registered": Range(at_least=0, at_most=1),
    "least_foreground": Range(at_least=0, at_most=1),
    "least_frames": Range(at_least=1),
    "least_kilobytes": Range(at_least=0),
    "least_score": Range(at_least=-1, at_most=1),
    "minutes": Range(above=0),
    "most_error": Range(above=0),
    "objects_per_shard": Range(at_least=1),
    "offset": Range(),
    "port": Range(at_least=0, at_most=65535),
    "processes": Range(at_least=1),
    "profile": Range(at_least=0),
    "quality": Range(at_least=1, at_most=100),
    "quota_gb": Range(above=0),
    "redraws": Range(at_least=0, at_most=64),
    "samples": Range(at_least=2),
    "scale": Range(above=0),
    "seed": Range(at_least=0, below=1 << 63),
    "seeds": Range(at_least=1),
    "size": Range(at_least=1),
    "smoothing": Range(at_least=0),
    "steps": Range(at_least=1),
    "strength": Range(at_least=0, at_most=1),
    "take": Range(at_least=0),
    "trim": Range(at_least=0, below=0.5),
    "views": Range(at_least=1),
}


def checked(command: Command) -> Command:
    """The command, which refuses numbers out of their `RANGES` before it does anything."""

    @wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        for name, value in options.items():
            if name in RANGES:
                RANGES[name].check(name, value)
        return command(*arguments, **options)

    return called  # type: ignore[return-value]


def say(what: str) -> None:
    """Printed once, by the first of several processes (torchrun and `accelerate launch` set RANK)."""
    if os.environ.get("RANK", "0") == "0":
        print(what)


def is_out_of_memory(error: Exception) -> bool:
    """torch says so in a RuntimeError: of its own kind for a GPU, in words alone for the CPU."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
