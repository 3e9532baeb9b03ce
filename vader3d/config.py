"""Configurations: frozen dataclasses of plain values <-> JSON, with dotted overrides."""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from typing import Any, TypeVar

Config = TypeVar("Config")


def config_to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, ready for JSON (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from_dict(kind: type[Config], values: dict[str, Any], path: str = "") -> Config:
    """The inverse of `config_to_dict`. Missing fields take their defaults; unknown or ill-typed ones are refused."""
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(unknown_name(path + name, [path + known for known in hints], "configuration field"))
    fields = {name: convert(value, hints[name], path + name) for name, value in values.items()}
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
            raise ValueError(f"--set {assignment}: wanted path.to.field=value")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
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


def fingerprint(config: Any) -> str:
    """Twelve hex digits that change when any value does."""
    text = json.dumps(config_to_dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unknown_name(name: str, known: typing.Iterable[str], what: str) -> str:
    """The one wording for a name that does not exist: says the nearest right ones."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
    return f"unknown {what} {name!r}; nearest: {', '.join(near[:8])}"
