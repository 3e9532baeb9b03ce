"""What stage 1 says of its objects."""

import json
from dataclasses import dataclass
from pathlib import Path

from vader3d.untrusted import JSON_BYTES, read_bytes, reading


@dataclass(frozen=True)
class Caption:
    """One wording of what an object is, and where it comes from."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class ObjectTexts:
    """One object's name, category and captions."""

    name: str
    category: str
    captions: tuple[Caption, ...]


def read_objects(path: Path) -> list[ObjectTexts]:
    """The objects of a run of stage 1, one a line and a latent. ValueError: file, line and fault."""
    objects = []
    for number, line in enumerate(read_bytes(path, most=JSON_BYTES).splitlines(), 1):
        with reading(f"{path}: line {number}", "an object with its captions"):
            entry = json.loads(line)
            captions = tuple(Caption(str(said["text"]), str(said["source"])) for said in entry["captions"])
            objects.append(ObjectTexts(str(entry["name"]), str(entry["category"]), captions))
    return objects
