"""A run folder: one training with one configuration on one data set."""

import json
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader3d.config import config_from_dict, config_to_dict, free_paths
from vader3d.files import LOCK, write_text
from vader3d.progress import console
from vader3d.training.distributed import Processes
from vader3d.untrusted import read_json, reading

NOTES = "run.json"
ROOMS = ("previews", "profile", "snapshots")  # below the folder
TRAINED = ("state.pt", "state.previous.pt", "model.safetensors")  # any of them: something was learned here
CLOCKS = ("seconds", "objects_seen")  # changed by every longer round: not worth a line
SHOWN = 4  # differences that an error lists


@dataclass(frozen=True)
class RunNotes:
    """What a folder is for: the kind of training, the fingerprint of its data, its configuration."""

    kind: str
    data: str
    config: Any

    def agree(self, processes: Processes) -> None:
        """ValueError, which names what differs, unless all processes were started with the same."""
        own = self.flat()
        for names in (["kind"], list(own)):  # only one kind has all the same names
            rows = processes.gather([float(zlib.crc32(repr(own[name]).encode())) for name in names])
            if differing := [name for name, column in zip(names, rows.T, strict=True) if len(column.unique()) > 1]:
                unlike = ", ".join(differing[:SHOWN])
                raise ValueError(f"processes: wanted one command for all; got unlike {unlike}; give each the same")

    def check(self, run: Path) -> None:
        """ValueError, which names what differs, where the folder is another training's, or holds anything else.

        Fields that are `config.free` may differ, and everything where nothing was trained yet. Nothing is written.
        """
        if not run.exists() or not any(path.name != LOCK for path in run.iterdir()):
            return
        if not (run / NOTES).is_file():
            raise ValueError(f"output: wanted an empty or new folder; got {run}, files without {NOTES}; choose another")
        if not any((run / name).exists() for name in TRAINED):
            return
        before, after, free = self.read(run), self.flat(), self.free()
        differing = differences(before, after)
        if refused := [name for name in differing if name not in free]:
            raise ValueError(refusal(run, before, after, refused))
        for name in sorted(differing):
            if not name.endswith(CLOCKS):
                console.print(f"{run}: {name} is {after[name]!r} from here on, {before.get(name)!r} before")

    def write(self, run: Path) -> None:
        """Note what the folder is for, once the training could be set up."""
        values = {"kind": self.kind, "data": self.data, "config": config_to_dict(self.config)}
        write_text(run / NOTES, json.dumps(values, indent=2) + "\n")

    def read(self, run: Path) -> dict[str, Any]:
        """The folder's notes, flat; fields that they are too old to know have their defaults. ValueError: damaged."""
        path = run / NOTES
        values = read_json(path, "JSON (else choose another --output)")
        with suppress(LookupError, ArithmeticError, TypeError, ValueError):  # of another kind: compared as it is
            values["config"] = config_to_dict(config_from_dict(type(self.config), values["config"]))
        with reading(path, "a run's notes"):
            return flatten(values)

    def flat(self) -> dict[str, Any]:
        return flatten({"kind": self.kind, "data": self.data, "config": config_to_dict(self.config)})

    def free(self) -> set[str]:
        return {f"config.{path}" for path in free_paths(self.config)}


def differences(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The names whose values differ, missing ones among them."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def refusal(run: Path, before: dict[str, Any], after: dict[str, Any], differing: list[str]) -> str:
    """The error's words: kind and data first, then a few fields."""
    ordered = sorted(differing, key=lambda name: (name != "kind", name != "data", name))
    pairs = [(name, before.get(name), after.get(name)) for name in ordered[:SHOWN]]
    shown = "; ".join(f"{name}: wanted {there!r:.32}; got {here!r:.32}" for name, there, here in pairs)
    more = f"; and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{run}: a run of another configuration ({shown}{more}); choose another --output to keep both"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
