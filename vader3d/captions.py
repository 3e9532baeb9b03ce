"""Captions, and the files that people keep them in."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vader3d.untrusted import BOMS_16, JSON_BYTES, TEXT_BYTES, read_bytes, read_json, read_text, reading, text_of

NAME_KEYS = ("name", "uid", "id", "object", "object_id", "key", "file", "file_name", "filename")
TEXT_KEYS = ("caption", "captions", "text", "texts", "description", "descriptions", "prompt")
BESIDE = ("captions", "metadata", "prompts")  # names of files of captions in a data set's folder
BESIDE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
WEAK = ("name", "category")  # sources of what stands in for a caption where there is none
SHOWN = 5  # names that a note lists


@dataclass(frozen=True)
class Caption:
    """One wording of what an object is, and where it comes from.

    source: catalogue, chairs, template, the name of a file or of a model; name or category: it only stands in for one.
    """

    text: str
    source: str = ""


Captions = dict[str, tuple[Caption, ...]]  # of objects by name


def joined(first: Iterable[Caption], then: Iterable[Caption]) -> tuple[Caption, ...]:
    """The captions of both, each text once; those that only stand in for one go where there are others."""
    by_text: dict[str, Caption] = {}
    for caption in (*first, *then):
        by_text.setdefault(caption.text, caption)
    kept = tuple(caption for caption in by_text.values() if caption.text)
    return tuple(caption for caption in kept if caption.source not in WEAK) or kept


def captions_beside(path: Path, stand_in: Caption) -> tuple[Caption, ...]:
    """A caption a line of the text file that lies beside an object, else the one that stands in."""
    said = [caption for _, caption in texts_of(path, path.name)] if path.exists() else []
    return joined(said or [stand_in], ())


@dataclass
class CaptionFile:
    """What files say of objects, and of which of them nobody asked.

    An object is known by its name; by its path, with / for the dots; as MVImgNet's classes, by its first folder; or, as
    Cap3D's of Objaverse, by its own name without its folders.
    """

    path: Path
    captions: Captions
    asked: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

    def of(self, name: str) -> tuple[Caption, ...]:
        """What is said of an object; none where it is not in the file."""
        for key in (name, name.partition(".")[0], name.rpartition(".")[2]):
            if key in self.captions:
                self.asked.add(key)
                return self.captions[key]
        self.missing.append(name)
        return ()

    def notes(self) -> list[str]:
        """One line about names that no object has, one about objects that have no caption here."""
        notes = []
        if unknown := [name for name in self.captions if name not in self.asked]:
            notes.append(f"{self.path}: {len(unknown)} names are no object's: {some_of(unknown)}")
        if self.missing:
            notes.append(f"{self.path}: {len(self.missing)} objects have no caption in it: {some_of(self.missing)}")
        return notes


def some_of(names: Sequence[str]) -> str:
    """The first of them."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def read_captions(path: Path) -> CaptionFile:
    """The captions of a file, or of a folder of texts; several a name are allowed. ValueError: file, line and fault.

    A .csv (also with semicolons), .tsv or .txt has a name and a caption a line, with or without a heading (Cap3D's has
    none, MVImgNet's names classes); a .jsonl has objects with a name and a caption or captions a line; a .json has
    {name: caption or list}, or a list of such objects. A folder has NAME.txt, at any depth, with a caption a line
    (CelebV-Text).
    """
    path = Path(path)
    if path.is_dir():
        pairs = texts_of_folder(path)
    elif not path.is_file():
        raise ValueError(f"captions: wanted a file or a folder of texts; got {path}, which does not exist")
    elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
        pairs = rows_of(path, delimiter_of(path))
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        pairs = lines_of(path)
    elif path.suffix.lower() == ".json":
        pairs = entries_of(path)
    else:
        raise ValueError(f"captions: wanted .csv, .tsv, .txt, .json, .jsonl or a folder; got {path}")
    found: dict[str, dict[str, Caption]] = {}
    for name, caption in pairs:
        found.setdefault(name.replace("\\", "/").strip("/").replace("/", "."), {}).setdefault(caption.text, caption)
    if not found:
        raise ValueError(f"{path}: wanted at least 1 caption; got none")
    return CaptionFile(path, {name: tuple(captions.values()) for name, captions in found.items()})


def files_of_captions(folder: Path) -> list[Path]:
    """Those in a data set's own folder: captions.csv, metadata.jsonl and their like."""
    paths = (folder / f"{name}{suffix}" for name in BESIDE for suffix in BESIDE_SUFFIXES)
    return [path for path in paths if path.is_file()]


Pairs = Iterator[tuple[str, Caption]]


def rows_of(path: Path, delimiter: str) -> Pairs:
    """Of lines with a name and a caption; a heading says in which columns they are."""
    rows = numbered_rows(path, delimiter)
    name_at, text_at = 0, 1
    for line, row in rows:
        if line == 1 and (columns := heading(row)):
            name_at, text_at = columns
        elif any(cell.strip() for cell in row):
            if len(row) <= max(name_at, text_at):
                raise ValueError(f"{path}: line {line}: wanted a name and a caption; got {' '.join(row)[:60]!r}")
            yield checked(row[name_at], row[text_at], path, f"line {line}", path.stem)


def delimiter_of(path: Path) -> str:
    """Tabs in a .tsv; else what comes first in the first line: spreadsheets of some countries write semicolons."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    _, first = next(numbered_lines(path), (1, ""))
    return min((mark for mark in ",;\t" if mark in first), key=first.index, default=",")


def numbered_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    lines = (text for _, text in numbered_lines(path))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(f"{path}: line {rows.line_num}: wanted comma-separated values; got {error}") from error
        if row is None:
            return
        yield rows.line_num, row


def heading(row: Sequence[str]) -> tuple[int, int] | None:
    """The columns of names and captions, where a row names them."""
    words = [cell.strip().lower() for cell in row]
    names = [words.index(key) for key in NAME_KEYS if key in words]
    texts = [words.index(key) for key in TEXT_KEYS if key in words]
    return (names[0], texts[0]) if names and texts else None


def lines_of(path: Path) -> Pairs:
    """Of lines that are JSON objects."""
    for line, text in numbered_lines(path):
        if text.strip():
            with reading(f"{path}: line {line}", "a JSON object"):
                entry = json.loads(text)
            yield from said_in(entry, path, f"line {line}")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 or UTF-16 text, one at a time, from 1; ValueError names the first that is another, or too long."""
    with open(path, "rb") as opened:
        file: IO[bytes] = opened
        if opened.read(2) in BOMS_16:
            with reading(f"{path}: line 1", "text in UTF-16"):
                file = io.BytesIO(text_of(read_bytes(path, most=JSON_BYTES)).encode())
        file.seek(0)
        for line in range(1, 1 << 62):
            data = file.readline(TEXT_BYTES + 1)
            if not data:
                return
            with reading(f"{path}: line {line}", "text in UTF-8"):
                if len(data) > TEXT_BYTES:
                    raise ValueError(f"line: wanted at most {TEXT_BYTES} bytes; got more")
                yield line, data.decode("utf-8-sig" if line == 1 else "utf-8")


def entries_of(path: Path) -> Pairs:
    """Of a JSON document."""
    document = read_json(path)
    if isinstance(document, Mapping) and "clips" in document:
        raise ValueError(f"{path}: wanted captions; got CelebV-Text's list of clips; give the folder of its texts")
    if isinstance(document, Mapping):
        for name, value in document.items():
            yield from texts_in(name, value, path, f"name {name[:60]!r}")
    elif isinstance(document, list):
        for number, entry in enumerate(document, 1):
            yield from said_in(entry, path, f"entry {number}")
    else:
        raise ValueError(f"{path}: wanted {{name: caption}} or a list; got {type(document).__name__}")


def said_in(entry: Any, path: Path, place: str) -> Pairs:
    """Of one object with keys for a name and for captions."""
    name = next((entry[key] for key in NAME_KEYS if key in entry), None) if isinstance(entry, Mapping) else None
    key = next((key for key in TEXT_KEYS if key in entry), None) if isinstance(entry, Mapping) else None
    if name is None or key is None:
        raise ValueError(f"{path}: {place}: wanted name and caption; got {json.dumps(entry)[:60]}")
    yield from texts_in(name, entry[key], path, place)


def texts_in(name: Any, value: Any, path: Path, place: str) -> Pairs:
    """Of one object: a text, {text, source}, or a list of either."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            yield checked(name, item.get("text"), path, place, str(item.get("source") or path.stem))
        else:
            yield checked(name, item, path, place, path.stem)


def texts_of_folder(folder: Path) -> Pairs:
    """Of NAME.txt files; the source is the name of the folder they lie in."""
    for path in sorted(folder.rglob("*.txt")):
        yield from texts_of(path, path.parent.name)


def texts_of(path: Path, source: str) -> Pairs:
    """A caption a line of a text whose name is the object's."""
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if text.strip():
            yield checked(path.stem, text, path, f"line {line}", source)


def checked(name: Any, text: Any, path: Path, place: str, source: str) -> tuple[str, Caption]:
    """A name and its caption, blanks made single; ValueError for what is no text, or empty."""
    for what, value in (("name", name), ("caption", text)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{path}: {place}: wanted a {what}; got {json.dumps(value)[:60]}")
    return name.strip(), Caption(" ".join(text.split()), source)
