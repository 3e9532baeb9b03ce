"""Clips and folders of frames: where they are, their times, their shots."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vader3d.captions import some_of
from vader3d.data.archive.format import check_name
from vader3d.data.photographs.frames import CLIPS, MOVING, PHOTOS, clip_moments, read_photo
from vader3d.data.reading.mask_files import MASKS, PICTURES, is_mask
from vader3d.untrusted import is_litter, read_json, reading

if TYPE_CHECKING:
    from PIL.Image import Image

RATE = 25.0  # frames a second of folders of frames
GLANCE_PX = 16
CUT, SUDDEN, AROUND = 18.0, 4.0, 6  # of 255, and times the usual change of so many frames on either side
MASK_SUFFIXES = ("_mask", ".mask", "-mask", "_pha", "_alpha")  # of clips that mask others
TEXTS = ("texts", "descriptions", "captions")  # folders of CelebV-Text's texts
MADE = (".videos", ".found")  # folders of ours beside outputs, where pictures lie, too
CLIP_SETS = re.compile(r"clips(_set\d+)?")  # keys of its document

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Clip:
    """A clip file or folder of frames, from `start` to before `stop` seconds.

    boxes: (left, top, right, bottom) as shares of width and height, one for all frames or one a frame. one_shot: it is
    known to have no cuts.
    """

    source: Path
    name: str
    start: float = 0.0
    stop: float = math.inf
    boxes: tuple[Box, ...] = ()
    one_shot: bool = False


class Moment(NamedTuple):
    """A frame: its number, its time in seconds, its picture, and its file in a folder of frames."""

    number: int
    seconds: float
    picture: "Image"
    file: Path | None


@dataclass
class Listing:
    """The clips of a folder, and what is said of those that are not there."""

    clips: list[Clip]
    notes: list[str] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)


def moments(source: Path, start: float = 0.0, stop: float = math.inf, *, masks: bool = False) -> Iterator[Moment]:
    """The frames of a clip or of a folder, upright; with `masks` the folder's pictures are masks."""
    if source.is_file():
        for number, (seconds, picture) in enumerate(clip_moments(source, start, stop)):
            yield Moment(number, seconds, picture, None)
        return
    for number, file in enumerate(frame_files(source, masks=masks)):
        if start <= number / RATE < stop:
            yield Moment(number, number / RATE, read_photo(file)[0], file)


def frame_files(folder: Path, *, masks: bool = False) -> list[Path]:
    """The pictures of a folder of frames, or of one called images in it, by their names, numbers in order."""
    for place in (folder, *(folder / name for name in PICTURES)):
        files = [path for path in place.iterdir() if path.is_file()] if place.is_dir() else []
        found = [path for path in files if path.suffix.lower() in PHOTOS and not is_litter(Path(path.name))]
        found = found if masks else [path for path in found if not is_mask(path)]
        if found:
            return sorted(found, key=lambda path: (path.stem.isdigit() and int(path.stem), path.name))
    return []


def mask_source(source: Path) -> Path | None:
    """The clip, or folder of numbered pictures, that masks a clip: `masks/NAME.mp4`, `masks/NAME/`, `NAME_mask.mp4`."""
    if not source.is_file():
        return None
    places = [source.parent / folder / source.stem for folder in MASKS]
    files = [place.with_name(place.name + suffix) for place in places for suffix in CLIPS]
    files += [source.with_name(source.stem + middle + suffix) for middle in MASK_SUFFIXES for suffix in CLIPS]
    found = (path for path in files if path.is_file())
    return next(found, None) or next((place for place in places if place.is_dir()), None)


def small(picture: "Image") -> np.ndarray:
    """What is remembered of a frame to find cuts: float [16, 16, 3]."""
    from PIL import Image

    return np.asarray(picture.convert("RGB").resize((GLANCE_PX, GLANCE_PX), Image.Resampling.BOX), np.float32)


def cuts_between(frames: Sequence[np.ndarray]) -> list[int]:
    """The numbers of frames, of [T, 16, 16, 3], that begin a new shot: they differ much from the one before.

    Much is against both a limit and what is usual around, for motion changes pictures too.
    """
    if len(frames) < 2:
        return []
    changes = np.abs(np.diff(np.stack(frames), axis=0)).mean((1, 2, 3))
    cuts = []
    for number, change in enumerate(changes):
        beside = np.delete(changes[max(0, number - AROUND) : number + AROUND + 1], min(number, AROUND))
        usual = float(np.median(beside)) if len(beside) else 0.0
        if change > CUT and change > SUDDEN * usual:
            cuts.append(number + 1)
    return cuts


def listed_clips(source: Path, boxes: Path | None = None, texts: Path | None = None) -> Listing:
    """The clips and folders of frames at any depth of a folder, or itself; ValueError: there is none.

    Where a `*info*.json` of CelebV-Text or CelebV-HQ lies in the folder its clips are meant: cut and cropped ones by
    their id (ID.mp4), whole videos by YouTube's (YTB_ID.mp4), which it says how to cut and crop. `boxes`: a JSON file
    {name: box or a list of them}, a box being [left, top, right, bottom] or CelebV's mapping, as shares. texts: the
    folder of texts by which CelebV's clips are named; None: those in the folder itself.
    """
    if not source.exists():
        raise ValueError(f"source: wanted a folder of clips; got {source}, which does not exist")
    below = sorted(source.rglob("*")) if source.is_dir() else []
    files = [path for path in below if is_clip(path, source)] if source.is_dir() else [source]
    folders = {path.parent for path in below if is_frame(path, source)}
    folders = {folder.parent if folder.name.lower() in PICTURES and folder != source else folder for folder in folders}
    folders -= {file.parent for file in files}  # pictures beside clips are something else
    given = boxes_in(boxes) if boxes is not None else {}
    for path in sorted(source.glob("*info*.json")) if source.is_dir() else ():
        document = read_json(path)
        if sets := celebv_sets(document):
            folders_of_texts = [source / name for name in TEXTS if (source / name).is_dir()]
            named = {text.stem for folder in ([texts] if texts else folders_of_texts) for text in folder.rglob("*.txt")}
            listing = celebv_clips(path, sets, files, named)
            listing.texts = folders_of_texts
            break
    else:
        sources = [*files, *sorted(folders)]
        listing = Listing([Clip(each, name) for each, name in zip(sources, clip_names(sources, source), strict=True)])
    if not listing.clips:
        raise ValueError(
            f"source: wanted clips ({', '.join(MOVING)}) or folders of frames in {source}; got none"
            + "".join(f"; {note}" for note in listing.notes)
        )
    if unknown := sorted(set(given) - {clip.name for clip in listing.clips}):
        listing.notes.append(f"{boxes}: {len(unknown)} names are no clip's, e.g. {unknown[0]}")
    listing.clips = [replace(clip, boxes=given.get(clip.name, clip.boxes)) for clip in listing.clips]
    return listing


def is_clip(path: Path, source: Path) -> bool:
    inner = path.relative_to(source)
    masks = path.stem.lower().endswith(MASK_SUFFIXES) or any(part.lower() in MASKS for part in inner.parts[:-1])
    return path.suffix.lower() in MOVING and not masks and not is_hidden(inner) and path.is_file()


def is_frame(path: Path, source: Path) -> bool:
    inner = path.relative_to(source)
    masks = any(part.lower() in MASKS for part in inner.parts[:-1]) or is_mask(Path(path.name))
    return path.suffix.lower() in PHOTOS and not masks and not is_hidden(inner) and path.is_file()


def is_hidden(inner: Path) -> bool:
    return is_litter(inner) or any(part.startswith(".") or part.endswith(MADE) for part in inner.parts)


def clip_names(sources: Sequence[Path], source: Path) -> list[str]:
    """Each path below the folder, joined by dots, without a clip's suffix unless two would be alike."""

    def name_of(path: Path, *, whole: bool) -> str:
        last = path.name if whole or path.is_dir() else path.stem
        inner = path.relative_to(source).parts if path != source else ()
        return ".".join([*inner[:-1], last]) if inner else (path.resolve().name if path.is_dir() else last)

    names = [name_of(path, whole=False) for path in sources]
    return [name_of(path, whole=names.count(name) > 1) for path, name in zip(sources, names, strict=True)]


def celebv_sets(document: Any) -> list[Mapping[str, Any]]:
    """{name: facts} of a document's clips: its `clips`, or its `clips_set1` and `clips_set2`, which share names."""
    keys = [key for key in document if CLIP_SETS.fullmatch(key)] if isinstance(document, Mapping) else []
    return [document[key] for key in keys if isinstance(document[key], Mapping)]


def without_suffix(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in MOVING else name


def numbered(name: str, stems: Iterable[str], listed: Collection[str]) -> list[str]:
    """Those of `stems` that are the name with a number more (NAME_0), and no listed clip's own, by their numbers."""
    ends = {stem: stem.removeprefix(f"{name}_") for stem in stems if stem.startswith(f"{name}_") and stem not in listed}
    return sorted((stem for stem, end in ends.items() if end.isdecimal()), key=lambda stem: int(ends[stem]))


def celebv_clips(
    path: Path, sets: Sequence[Mapping[str, Any]], files: Sequence[Path], texts: Collection[str]
) -> Listing:
    """The clips that the document lists and that are on disk.

    texts: names of texts. Those of some 3,000 clips have a number more (NAME_0), as may the files of clips: a clip
    without a text of its name takes that name. Of clips that share a name the earlier one has the smaller number.
    """
    by_stem = {file.stem: file for file in files}
    alike: dict[str, list[Any]] = {}
    for name, entry in chain.from_iterable(part.items() for part in sets):
        alike.setdefault(without_suffix(name), []).append(entry)
    clips, missing, doubtful = [], [], []
    for name, several in alike.items():
        with reading(f"{path}: clip {name[:60]!r}", "ytb_id, duration and bbox"):
            check_name(name)
            said, cut = numbered(name, texts, alike), numbered(name, by_stem, alike)
            if len(several) == 1 and cut and name not in by_stem:  # each is a clip by itself
                clips += [Clip(by_stem[stem], stem if stem in texts or cut[1:] else name) for stem in cut]
                continue
            if len(several) == 1:
                names = [name] if name in texts or not said else said[:1]
            else:
                names = said if len(said) == len(several) else [name, *(f"{name}_{i}" for i in range(1, len(several)))]
            if said and name not in texts and len(said) != len(several):
                doubtful.append(f"{name} ({', '.join(said)})")
            for called, entry in zip(names, sorted(several, key=begin_of) if names[1:] else several, strict=True):
                own = called if called in by_stem else name if entry is several[0] else ""
                if own in by_stem:  # of those that share a name the first listed one is cut as NAME.mp4
                    clips.append(Clip(by_stem[own], called))
                elif str(entry["ytb_id"]) in by_stem:
                    start, stop = begin_of(entry), float(entry["duration"]["end_sec"])
                    clips.append(Clip(by_stem[str(entry["ytb_id"])], called, start, stop, (box_of(entry["bbox"]),)))
                else:
                    missing.append(called)
    count = sum(map(len, alike.values()))
    notes = [f"{path.name}: {len(missing)} of {count} clips are not on disk, e.g. {missing[0]}"] if missing else []
    if doubtful:
        told = f"{len(doubtful)} names with more or fewer texts than clips, the first are taken: {some_of(doubtful)}"
        notes.append(f"{path.name}: {told}")
    return Listing(clips, notes)


def begin_of(entry: Mapping[str, Any]) -> float:
    return float(entry["duration"]["start_sec"])


def boxes_in(path: Path) -> dict[str, tuple[Box, ...]]:
    document = read_json(path)
    document = document.get("clips", document) if isinstance(document, Mapping) else {}
    boxes = {}
    for name, value in document.items():
        with reading(f"{path}: {name[:60]!r}", "left, top, right, bottom as shares of width and height"):
            value = value.get("bbox", value) if isinstance(value, Mapping) else value
            several = isinstance(value, list) and value and isinstance(value[0], (list, Mapping))
            boxes[name] = tuple(box_of(each) for each in (value if several else [value]))
    if not boxes:
        raise ValueError(f"{path}: wanted {{name: [left, top, right, bottom]}}; got none")
    return boxes


def box_of(value: Any) -> Box:
    """ValueError unless it is a box of shares with room in it."""
    numbers = [value[key] for key in ("left", "top", "right", "bottom")] if isinstance(value, Mapping) else value
    left, top, right, bottom = (float(number) for number in numbers)
    if not (-1 <= left < right <= 2 and -1 <= top < bottom <= 2):
        raise ValueError(f"box: wanted left < right, top < bottom, as shares from 0 to 1; got {numbers}")
    return left, top, right, bottom
