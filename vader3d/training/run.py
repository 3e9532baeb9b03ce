"""A run folder: one training with one configuration on one data set."""

import json
from pathlib import Path
from typing import Any

from vader3d.config import config_from_dict, config_to_dict
from vader3d.files import write_text

FREE_FIELDS = ("seconds", "objects_seen", "log_seconds", "checkpoint_seconds", "preview_seconds")


def open_run(run: Path, *, kind: str, config: Any, data: str) -> None:
    """Make the folder and note what it is for, or check that it is for the same.

    How long and how often may change between calls; all else may not. ValueError names what differs.
    """
    wanted = {"kind": kind, "data": data, "config": config_to_dict(config)}
    path = run / "run.json"
    if not path.exists():
        if run.exists() and any(run.iterdir()):
            raise ValueError(f"{run}: holds files but no run.json; choose an empty or new folder for --output")
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not readable ({error}); choose another --output") from error
    before, after = flatten(with_defaults(found, config)), flatten(wanted)
    differing = [
        f"{name}: {before.get(name)!r:.32} there, {after.get(name)!r:.32} wanted"
        for name in sorted(before.keys() | after.keys(), key=lambda name: (name != "kind", name != "data", name))
        if before.get(name) != after.get(name) and name.split(".")[-1] not in FREE_FIELDS
    ]
    if differing:
        shown = "; ".join(differing[:4]) + (f"; and {len(differing) - 4} more" if len(differing) > 4 else "")
        raise ValueError(f"{run}: a run of another configuration ({shown}); choose another --output to keep both")
    write_text(path, json.dumps(wanted, indent=2) + "\n")


def with_defaults(found: dict[str, Any], config: Any) -> dict[str, Any]:
    """A run's notes in which fields that it is too old to know have their defaults."""
    try:
        return {**found, "config": config_to_dict(config_from_dict(type(config), found["config"]))}
    except (KeyError, TypeError, ValueError):  # of another kind: compared as it is
        return found


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
