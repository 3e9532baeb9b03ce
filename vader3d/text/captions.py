"""What is said of the objects whose latents stage 2 learns."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol

from vader3d.captions import Caption, numbered_lines
from vader3d.files import write_text
from vader3d.untrusted import reading

OBJECTS = "objects.jsonl"


class Described(Protocol):
    """An object's record."""

    @property
    def name(self) -> str: ...

    @property
    def category(self) -> str: ...

    @property
    def captions(self) -> tuple[Caption, ...]: ...

    @property
    def tags(self) -> tuple[str, ...]: ...


class ObjectText(NamedTuple):
    """What is said of the object of one latent; tags such as type:chair tell its attributes."""

    name: str
    category: str
    captions: tuple[Caption, ...]
    tags: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """The first caption; empty where there is none."""
        return self.captions[0].text if self.captions else ""


def write_objects(path: Path, records: Iterable[Described]) -> None:
    """One line of JSON an object, in the order of the latents."""
    lines = (ObjectText(record.name, record.category, record.captions, record.tags)._asdict() for record in records)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False, default=asdict) + "\n" for line in lines))


def read_objects(path: Path) -> list[ObjectText]:
    """What `write_objects` wrote, one entry a latent; ValueError: no such file, or the line that is something else."""
    if not path.is_file():
        raise ValueError(
            f"{path}: wanted what stage 1 notes of its objects; got no such file; run `vader3d train autodecoder` "
            "there again, or learn without text_encoder and held_out"
        )
    objects = []
    for line, text in numbered_lines(path):
        with reading(f"{path}: line {line}", "name, category, captions"):
            entry = json.loads(text)
            captions = tuple(Caption(str(said["text"]), str(said.get("source", ""))) for said in entry["captions"])
            tags = tuple(map(str, entry.get("tags", ())))
            objects.append(ObjectText(str(entry["name"]), str(entry["category"]), captions, tags))
    return objects
