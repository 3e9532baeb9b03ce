"""Pictures that tables of cameras name, wherever they lie below."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
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

    Names may be paths of another machine and lack the suffix; those that several cameras have, or several pictures in
    unlike folders, are left out. ValueError where half or more are missing.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    files = [path for path in files if not is_mask(path) and not is_litter(path.relative_to(folder))]
    known: dict[str, list[Path]] = {}
    for path in files:
        for key in (path.name.lower(), path.stem.lower()):
            known.setdefault(key, []).append(path)
    times = Counter(names)
    places = {name: pictures_called(name, known) for name in names}
    found = [(name, paths[0]) for name, paths in places.items() if len(paths) == 1 == times[name]]
    doubtful = sum(times[name] for name, paths in places.items() if len(paths) > 1 or (paths and times[name] > 1))
    said = f", {doubtful} of them with names that several have" if doubtful else ""
    if 2 * len(found) <= len(names):
        raise ValueError(f"pictures: wanted those of {len(names)} cameras; got {len(found)} in {folder.name}{said}")
    gone = len(names) - len(found)
    note = f"{gone} of {len(names)} cameras without their pictures left out{said}" if gone else ""
    return chosen_views(found, most), note


def pictures_called(name: str, known: Mapping[str, Sequence[Path]]) -> list[Path]:
    """Those whose paths agree longest with a name from its end; of one folder's with other suffixes the first."""
    *above, last = name.replace("\\", "/").lower().split("/")
    paths = known.get(last, ())
    folders = ([part.lower() for part in path.parts[-2::-1]] for path in paths)
    common = [
        len([*takewhile(lambda pair: pair[0] == pair[1], zip(above[::-1], own, strict=False))]) for own in folders
    ]
    best = [path for path, length in zip(paths, common, strict=True) if length == max(common)]
    return best[:1] if len({path.parent for path in best}) == 1 else best
