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


def note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
