"""Pictures that tables of cameras name, wherever they lie below."""

import re
from collections.abc import Sequence
from pathlib import Path

from vader3d.data.reading.assembly import chosen_views
from vader3d.data.reading.mask_files import is_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES
from vader3d.untrusted import BOMS_16, is_litter

SUFFIXES = (*PICTURE_SUFFIXES, ".tif", ".tiff")


def beginning(path: Path) -> bytes:
    """A file's first bytes in UTF-8, which tell what it is."""
    with path.open("rb") as file:
        start = file.read(400)
    return start.decode("utf-16", "replace").encode() if start[:2] in BOMS_16 else start


def numbers_of(line: str) -> list[float]:
    """Of words apart by blanks or commas; where words have commas within, and no points, these are decimal ones."""
    words = line.split()
    if len(words) > 1 and "." not in line and any(re.search(r"\d,\d", word) for word in words):
        return [float(word.replace(",", ".")) for word in words]
    return [float(word) for word in line.replace(",", " ").split()]


def found_pictures(folder: Path, names: Sequence[str], most: int | None) -> tuple[list[tuple[str, Path]], str]:
    """At most so many of the names with their pictures, and what is said of those that are not there.

    Names may be paths of another machine and lack the suffix. ValueError where half or more are missing.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    files = [path for path in files if not is_mask(path) and not is_litter(path.relative_to(folder))]
    known: dict[str, Path] = {}
    for path in files:
        known.setdefault(path.name.lower(), path)
        known.setdefault(path.stem.lower(), path)
    ends = {name: name.replace("\\", "/").rpartition("/")[2].lower() for name in names}
    found = [(name, known[end]) for name, end in ends.items() if end in known]
    if 2 * len(found) <= len(names):
        raise ValueError(f"pictures: wanted those of {len(names)} cameras; got {len(found)} in {folder.name}")
    gone = len(names) - len(found)
    return chosen_views(found, most), f"{gone} of {len(names)} cameras without their pictures left out" if gone else ""
