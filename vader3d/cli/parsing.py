"""What commands share: an option's type, words for people."""

import os
import sys
from typing import Annotated

import tyro

Settings = Annotated[
    tuple[str, ...], tyro.conf.arg(name="set", metavar="PATH.TO.FIELD=VALUE ..."), tyro.conf.UseAppendAction
]


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
