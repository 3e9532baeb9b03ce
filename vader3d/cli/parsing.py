"""What commands share: options, groups of commands, words for people."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Union

import tyro

Settings = Annotated[
    tuple[str, ...], tyro.conf.arg(name="set", metavar="PATH.TO.FIELD=VALUE ..."), tyro.conf.UseAppendAction
]


def say(what: str) -> None:
    """Printed once, by the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(what)


def note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature and help, but called by the parser it only notes its arguments: errors are ours to word."""

    @functools.wraps(command)
    def noted(*arguments, **options):
        return functools.partial(command, *arguments, **options)

    return noted


def choice(commands: dict[str, Any]) -> Any:
    """Named commands as one type that tyro reads into the chosen one, ready to be called."""
    kinds = [Annotated[Any, tyro.conf.subcommand(name, constructor=call)] for name, call in commands.items()]
    return Union[tuple(kinds)]  # noqa: UP007


def group(description: str, commands: dict[str, Any]) -> Callable[..., Callable[[], None]]:
    """Named commands under one name of their own."""

    def chosen(command):
        return command

    chosen.__doc__, chosen.__annotations__["command"] = description, choice(commands)
    return chosen
