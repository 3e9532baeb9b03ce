"""Configurations: frozen dataclasses <-> JSON, with dotted overrides."""

import ast
import dataclasses
import difflib
import hashlib
import inspect
import io
import json
import math
import textwrap
import tokenize
import types
import typing
from typing import Any, NamedTuple, TypeVar, get_args

Config = TypeVar("Config")


def config_to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, ready for JSON (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


class Range(NamedTuple):
    """Which numbers are wanted; infinity never, unless `at_most` says so, and NaN never."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        return (
            (math.isfinite(value) or value == self.at_most)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        limits = [f"{name.replace('_', ' ')} {limit}" for name, limit in self._asdict().items() if limit is not None]
        return " and ".join(limits) or "a finite number"

    def check(self, name: str, value: Any, *, whole: bool = False) -> None:
        """ValueError, which names it, where a number, or one of a tuple, is out of range; None is in every one.

        whole: fractions are refused, too.
        """
        for number in value if isinstance(value, (tuple, list)) else [value]:
            if whole and isinstance(number, float) and not number.is_integer():
                raise ValueError(f"{name}: wanted a whole number; got {number}")
            if isinstance(number, (int, float)) and not self.holds(number):
                finite = "" if math.isfinite(number) or str(self) == "a finite number" else "a finite number, "
                raise ValueError(f"{name}: wanted {finite}{self}; got {number}")


def within(**limits: float) -> dict[str, Range]:
    """The metadata of a field with a `Range`; for fields without a default, which `ranged` cannot make."""
    return {"range": Range(**limits)}


def ranged(default: Any, **limits: float) -> Any:
    """A field of numbers with their `Range`, all of them for a tuple; without limits: any that are finite."""
    return dataclasses.field(default=default, metadata=within(**limits))


def free(default: Any, **limits: float) -> Any:
    """A field that changes no number, such as where or how long something runs: no part of a run's identity.

    limits: as those of `ranged`.
    """
    return dataclasses.field(default=default, metadata={"free": True, **within(**limits)})


class Checked:
    """A configuration whose numbers are in their ranges: ValueError wherever one is made that are not."""

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))


def check_ranges(kind: Any, values: dict[str, Any], path: str = "") -> None:
    """ValueError for the first of the fields' values that is out of its range."""
    for field in dataclasses.fields(kind):
        if field.name in values and "range" in field.metadata:
            kinds = {field.type, *get_args(field.type)}
            whole = int in kinds and float not in kinds
            field.metadata["range"].check(path + field.name, values[field.name], whole=whole)


def free_paths(config: Any, prefix: str = "") -> list[str]:
    """The dotted names of all `free` fields."""
    paths: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            paths += free_paths(value, f"{prefix}{field.name}.")
        elif field.metadata.get("free"):
            paths.append(prefix + field.name)
    return paths


def without_free(config: Config) -> Config:
    """The configuration with its `free` fields at their defaults."""
    values = config_to_dict(config)
    for path in free_paths(config):
        *parents, last = path.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        del node[last]
    return config_from_dict(type(config), values)


def config_from_dict(kind: type[Config], values: dict[str, Any], path: str = "") -> Config:
    """The inverse of `config_to_dict`. Missing fields take their defaults; unknown or ill-typed ones are refused."""
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(unknown_name(path + name, [path + known for known in hints], "configuration field"))
    fields = {name: convert(value, hints[name], path + name) for name, value in values.items()}
    check_ranges(kind, fields, path)
    return kind(**fields)


def convert(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type `hint` wants it: the few kinds that configurations hold, or a ValueError naming `path`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return convert(value, next(argument for argument in arguments if argument is not type(None)), path)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ValueError(f"{path}: wanted one of {', '.join(map(str, arguments))}; got {value!r}")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return config_from_dict(hint, value, path + ".")
    if origin is tuple and isinstance(value, (list, tuple)):
        if Ellipsis not in arguments and len(value) != len(arguments):
            raise ValueError(f"{path}: wanted {len(arguments)} values; got {len(value)}")
        return tuple(convert(item, arguments[0], f"{path}[{i}]") for i, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{path}: wanted {getattr(hint, '__name__', hint)}; got {value!r}")


def override(config: Config, assignments: typing.Iterable[str]) -> Config:
    """`config` with dotted `path.to.field=value` assignments applied; values are JSON, or else plain text."""
    values = config_to_dict(config)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"set: wanted path.to.field=value; got {assignment!r}")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        *parents, last = path.split(".")
        node = values
        for depth, parent in enumerate(parents):
            if not isinstance(node.get(parent), dict):
                place = ".".join(parents[: depth + 1])
                if parent in node and node[parent] is None:
                    raise ValueError(
                        f"{place}: wanted fields to set {path}; got null; give it whole: '{place}={{...}}'"
                    )
                raise ValueError(unknown_name(place, field_paths(config), "configuration field"))
            node = node[parent]
        if last not in node:
            raise ValueError(unknown_name(path, field_paths(config), "configuration field"))
        node[last] = value
    return config_from_dict(type(config), values)


def field_paths(config: Any, prefix: str = "") -> list[str]:
    """All dotted names, as `--set` takes them."""
    paths = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = dataclasses.is_dataclass(value)
        paths += field_paths(value, prefix + field.name + ".") if nested else [prefix + field.name]
    return paths


class DescribedField(NamedTuple):
    """One settable field: its dotted name, its value, what it may be where that is a list, its meaning."""

    path: str
    value: Any
    choices: tuple[str, ...]
    meaning: str


def described_fields(config: Any, prefix: str = "") -> list[DescribedField]:
    """Every name of `field_paths` explained; a meaning is the field's comment in the source, or "" without one."""
    hints, described = typing.get_type_hints(type(config)), []
    meanings: dict[str, str] = {}
    for kind in reversed(type(config).__mro__[:-1]):
        meanings |= comments_on_fields(kind)
    for field in dataclasses.fields(config):
        value, path, hint = getattr(config, field.name), prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(value):
            described += described_fields(value, path + ".")
        else:
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
            described.append(DescribedField(path, value, choices, meanings.get(field.name, "")))
    return described


def comments_on_fields(kind: type) -> dict[str, str]:
    """The comments in the source of a class: those on the lines of each field and on the lines right above it."""
    source = textwrap.dedent(inspect.getsource(kind))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    alone = {line for line, token in comments.items() if token.line.lstrip().startswith("#")}
    meanings = {}
    body = [node for top in ast.parse(source).body if isinstance(top, ast.ClassDef) for node in top.body]
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first, last = node.lineno, node.end_lineno or node.lineno
            while first - 1 in alone:
                first -= 1
            lines = [comments[line].string.lstrip("# ") for line in range(first, last + 1) if line in comments]
            meanings[node.target.id] = " ".join(lines)
    return meanings


def fingerprint(config: Any) -> str:
    """Twelve hex digits that change when any value does."""
    text = json.dumps(config_to_dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unknown_name(name: str, known: typing.Iterable[str], what: str) -> str:
    """The one wording for a name that does not exist: says the nearest right ones."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
    return f"unknown {what} {name!r}; nearest: {', '.join(near[:8])}"
