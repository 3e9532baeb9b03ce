"""One object of a clip: its frames chosen, masked, cropped."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vader3d.captions import Caption, captions_beside
from vader3d.config import Checked, ranged
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.photographs.objects import FACTS, SHEET, Matte, facts_in, jpeg_bytes, key_of, png_bytes
from vader3d.data.photographs.report import TILES, outlined_picture, write_tiles
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.videos.clips import Box, Clip, Moment, cuts_between, frame_files, mask_source, moments, small
from vader3d.data.videos.crops import cropped, largest_only, pieces_of, several, square_about, steadied
from vader3d.data.writer import PreparedObject
from vader3d.files import remove_leftovers, write_bytes, write_text
from vader3d.geometry.cameras import FOV_DEGREES, unposed_cameras
from vader3d.untrusted import reason_of

VIEWS, SHOTS = "views.npz", "shots.json"
TAKEN, SKIPPED = "taken", "skipped"
MARGIN = 0.06  # of a mask's square, on every side
ASPECTS = 0.02  # by which shapes of frames may differ
WHOLE = (0.0, 0.0, 1.0, 1.0)
NAMES = re.compile(r"\S*/\S+")  # of files, so that equal reasons read alike
Square = tuple[float, float, float]  # middle x, y and side, in px
Find = Callable[[np.ndarray], Square | None]  # the square about a head and shoulders in RGBA uint8 [H, W, 4]
MASK_BLACK, MASK_WHITE = 16, 239  # of masks in clips, whose codecs do not keep 0 and 255


@dataclass(frozen=True)
class Videography(Checked):
    """How clips become objects.

    size: pictures are squares of so many px. views: at most so many of a clip, evenly in time. trim: the share of a
    shot's time that is dropped at either end. least_foreground: the share of a picture that the subject must fill;
    least_frames: clips with fewer that are left are skipped, as are files below least_kilobytes. crop: the square about
    the mask or about a face and its shoulders, steadied over `smoothing` seconds, or all of the frame; boxes that are
    given come first. shots: of a clip with cuts the longest shot is the object, or each is one. largest: of several
    subjects that one is kept, else such a clip is skipped. fov: degrees that the cropped pictures are taken to be wide.
    """

    size: int = ranged(64, at_least=1, at_most=4096)
    views: int = ranged(120, at_least=1, at_most=65536)
    trim: float = ranged(0.1, at_least=0, below=0.5)
    least_foreground: float = ranged(0.25, at_least=0, at_most=1)
    least_frames: int = ranged(4, at_least=1)
    least_kilobytes: float = ranged(2.0, at_least=0)
    crop: Literal["mask", "face", "frame"] = "mask"
    smoothing: float = ranged(0.5, at_least=0)
    shots: Literal["longest", "each"] = "longest"
    largest: bool = False
    fov: float = ranged(FOV_DEGREES, above=0, below=180)


class Seen(NamedTuple):
    """A frame that may be taken: packed picture and mask, its square (x, y, side) in px, its number and time."""

    picture: bytes
    mask: bytes
    square: Square
    number: int
    seconds: float


def object_of(clip: Clip, room: Path, how: Videography, matte: Matte, find: Find | None = None) -> PreparedObject:
    """The object of a clip; ValueError says why there is none, and facts.json in `room` says it too.

    What was made of the same file with the same settings is taken from there.
    """
    remove_leftovers(room)  # whoever makes an object does it alone
    masks = mask_source(clip.source)
    key = key_of(clip.source, clip, how, matte, key_of(masks) if masks else "")
    facts: dict[str, Any] = {"name": clip.name, "outcome": SKIPPED, "reason": "", "key": key}
    before = facts_in(room)
    if before.get("key") == key and before.get("outcome") == TAKEN and (room / VIEWS).is_file():
        with np.load(room / VIEWS, allow_pickle=False) as stored:
            return prepared(clip, stored["pictures"], how)
    try:
        pictures = chosen_pictures(clip, room, how, matte, find, facts)
        facts |= {"outcome": TAKEN, "views": len(pictures)}
        return prepared(clip, pictures, how)
    except Exception as error:
        facts["reason"] = reason_of(error)
        raise
    finally:
        room.mkdir(parents=True, exist_ok=True)
        write_text(room / FACTS, json.dumps(facts, indent=1, ensure_ascii=False))


def prepared(clip: Clip, pictures: np.ndarray, how: Videography) -> PreparedObject:
    cameras = unposed_cameras(len(pictures), size=how.size, fov_degrees=how.fov)
    stand_in = Caption(clip.name.replace("_", " "), "name")
    text = clip.source.with_suffix(".txt") if clip.source.is_file() else clip.source / "caption.txt"
    record = ObjectRecord(clip.name, captions_beside(text, stand_in), source=clip.source.name)
    return PreparedObject(record, pictures, cameras)


def chosen_pictures(
    clip: Clip, room: Path, how: Videography, matte: Matte, find: Find | None, facts: dict[str, Any]
) -> np.ndarray:
    """The cropped pictures, uint8 [V, size, size, 4]; what was dropped, and why, is added to the facts."""
    check_file(clip.source, how)
    shot, dropped = longest_shot(clip, facts), Counter[str]()
    inner = trimmed(shot, how.trim)
    facts["trimmed"] = len(shot) - len(inner)
    chosen = set(evenly(inner, how.views))
    seen = list(seen_frames(clip, chosen, how, matte, find, dropped))
    facts["dropped"] = dict(dropped)
    if dropped["several subjects"] > len(seen):
        raise ValueError(
            f"subjects: wanted one; got several in {dropped['several subjects']} of {len(chosen)} frames; "
            "--largest keeps the larger"
        )
    if not seen:
        raise ValueError(f"masks: wanted a subject; got none in {len(chosen)} frames{listed(dropped)}")
    squares = np.array([each.square for each in seen])
    if not clip.boxes and how.crop != "frame":
        squares = steadied(squares, [each.seconds for each in seen], how.smoothing)
        squares[:, 2] *= 1 + 2 * MARGIN
    pictures: list[np.ndarray] = []
    times: list[float] = []
    for each, square in zip(seen, squares, strict=True):
        picture = cropped(unpacked(each), square, how.size)
        if (picture[..., 3] >= 128).mean() < how.least_foreground:
            dropped[f"under {how.least_foreground:.0%} foreground"] += 1
        elif pictures and np.array_equal(picture, pictures[-1]):
            dropped["repeated"] += 1
        else:
            pictures.append(picture)
            times.append(each.seconds)
    facts |= {"dropped": dict(dropped), "shown_seconds": times[-1] - times[0] if times else 0.0}
    write_sheet(room, seen, np.stack(pictures) if pictures else None)
    if len(pictures) < how.least_frames:
        raise ValueError(
            f"frames: wanted at least {how.least_frames}; got {len(pictures)} of {facts['frames']}{listed(dropped)}"
        )
    file = io.BytesIO()
    np.savez_compressed(file, pictures=np.stack(pictures))
    write_bytes(room / VIEWS, file.getvalue())
    return np.stack(pictures)


def check_file(source: Path, how: Videography) -> None:
    if source.is_file() and source.stat().st_size < 1000 * how.least_kilobytes:
        raise ValueError(
            f"clip: wanted at least {how.least_kilobytes:g} kB; got {source.stat().st_size / 1000:.1f}; "
            "--least-kilobytes takes smaller ones"
        )


Time = tuple[int, float]  # number and seconds of a frame


def shots_of(clip: Clip, facts: dict[str, Any]) -> list[list[Time]]:
    """The frames of each shot. ValueError: frames of several shapes, or none."""
    times, glances, shapes = [], [], set()
    for moment in moments(clip.source, clip.start, clip.stop):
        times.append((moment.number, moment.seconds))
        shapes.add(moment.picture.size)
        glances.append(small(moment.picture))
    if not times:
        raise ValueError("frames: wanted at least 1; got none")
    aspects = [width / height for width, height in shapes]
    if max(aspects) > (1 + ASPECTS) * min(aspects):
        (a, b), (c, d) = min(shapes, key=lambda s: s[0] / s[1]), max(shapes, key=lambda s: s[0] / s[1])
        raise ValueError(f"frames: wanted one shape; got {a} x {b} px and {c} x {d} px")
    cuts = [] if clip.one_shot else cuts_between(glances)
    facts |= {"frames": len(times), "shots": len(cuts) + 1}
    bounds = [0, *cuts, len(times)]
    return [times[first:last] for first, last in pairwise(bounds)]


def longest_shot(clip: Clip, facts: dict[str, Any]) -> list[Time]:
    return max(shots_of(clip, facts), key=lambda shot: (shot[-1][1] - shot[0][1], len(shot)))


def clips_of_shots(clip: Clip, room: Path, how: Videography) -> list[Clip]:
    """A clip for each of its shots that has frames enough, numbered where there are several; remembered in `room`."""
    key = key_of(clip.source, clip, how)
    known = json.loads((room / SHOTS).read_bytes()) if (room / SHOTS).is_file() else {}
    if known.get("key") != key:
        check_file(clip.source, how)
        shots = [shot for shot in shots_of(clip, {}) if len(shot) >= how.least_frames]
        bounds = [(shot[0][1], shot[-1][1]) for shot in shots]
        known = {"key": key, "bounds": bounds}
        room.mkdir(parents=True, exist_ok=True)
        write_text(room / SHOTS, json.dumps(known))
    bounds = known["bounds"]
    if len(bounds) < 2:
        return [clip]
    return [
        replace(clip, name=f"{clip.name}.{number}", start=first, stop=last + 1e-3, one_shot=True)
        for number, (first, last) in enumerate(bounds, 1)
    ]


def trimmed(shot: Sequence[Time], share: float) -> list[Time]:
    """A shot's frames without that share of its time at either end."""
    first, last = shot[0][1], shot[-1][1]
    cut = share * (last - first)
    return [(number, seconds) for number, seconds in shot if first + cut <= seconds <= last - cut]


def evenly(times: Sequence[Time], most: int) -> list[int]:
    """The numbers of at most so many frames, evenly in time, whatever the rate."""
    if len(times) <= most:
        return [number for number, _ in times]
    seconds = np.array([each for _, each in times])
    wanted = np.linspace(seconds[0], seconds[-1], most)
    right = np.searchsorted(seconds, wanted).clip(1, len(seconds) - 1)
    nearest = np.where(wanted - seconds[right - 1] <= seconds[right] - wanted, right - 1, right)
    return [times[place][0] for place in dict.fromkeys(nearest.tolist())]


def seen_frames(
    clip: Clip, chosen: set[int], how: Videography, matte: Matte, find: Find | None, dropped: Counter[str]
) -> Iterator[Seen]:
    """The chosen frames that show one subject, as `Seen`; others are counted."""
    files = frame_files(clip.source) if clip.source.is_dir() else []
    some_have = any(given_mask(file) is not None for file in files)
    for moment, mask in paired(clip, mask_source(clip.source)):
        if moment.number not in chosen:
            continue
        if some_have and moment.file is not None and given_mask(moment.file) is None:
            dropped["without a mask file"] += 1
            continue
        pixels = np.array(moment.picture.convert("RGBA"))
        try:
            alpha = matte(pixels, moment.file) if mask is None else alpha_of(mask, moment)
        except ValueError as error:
            dropped[f"without a mask ({NAMES.sub('it', str(error))})"] += 1
            continue
        numbers, areas = pieces_of(alpha)
        if not len(areas):
            dropped["no subject"] += 1
            continue
        if several(areas):
            if not how.largest:
                dropped["several subjects"] += 1
                continue
            alpha, numbers = largest_only(alpha, numbers), np.where(numbers == 1, 1, 0)
        square = given_square(clip, moment, alpha.shape)
        if square is None and how.crop == "face" and find is not None:
            square = find(pixels)
            if square is None:
                dropped["no face"] += 1
                continue
        if square is None:
            square = square_about(numbers, alpha.shape) if how.crop == "mask" else square_of(WHOLE, alpha.shape)
        yield Seen(jpeg_bytes(pixels[..., :3]), png_bytes(alpha), square, moment.number, moment.seconds)


def paired(clip: Clip, masks: Path | None) -> Iterator[tuple[Moment, Moment | None]]:
    """Frames with the frames of the clip or folder that masks them; ValueError where these are more or fewer."""
    frames = moments(clip.source, clip.start, clip.stop)
    if masks is None:
        for moment in frames:
            yield moment, None
        return
    for moment, mask in zip_longest(frames, moments(masks, clip.start, clip.stop, masks=True)):
        if moment is None or mask is None:
            which = "fewer" if mask is None else "more"
            raise ValueError(f"masks: wanted as many frames as {clip.source.name}; got {which} in {masks.name}")
        yield moment, mask


def alpha_of(mask: Moment, moment: Moment) -> np.ndarray:
    """A mask frame as alpha of its frame's size; ValueError for another shape."""
    (width, height), (own_width, own_height) = moment.picture.size, mask.picture.size
    if abs(width * own_height / (own_width * height) - 1) > ASPECTS:
        raise ValueError(f"masks: wanted the shape of {width} x {height} px; got {own_width} x {own_height}")
    grey = np.asarray(mask.picture.convert("L").resize((width, height)), np.float32)
    return np.rint((grey - MASK_BLACK) / (MASK_WHITE - MASK_BLACK) * 255).clip(0, 255).astype(np.uint8)


def given_square(clip: Clip, moment: Moment, shape: tuple[int, ...]) -> tuple[float, float, float] | None:
    """The square of the clip's own box; ValueError where boxes are fewer than frames."""
    if not clip.boxes:
        return None
    if len(clip.boxes) > 1 and moment.number >= len(clip.boxes):
        raise ValueError(f"boxes: wanted one, or one a frame; got {len(clip.boxes)}, none for frame {moment.number}")
    return square_of(clip.boxes[moment.number if len(clip.boxes) > 1 else 0], shape)


def square_of(box: Box, shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Middle and longer side, in px of a picture of `shape`, of a box of shares."""
    left, top, right, bottom = box
    height, width = shape
    return (left + right) / 2 * width, (top + bottom) / 2 * height, max((right - left) * width, (bottom - top) * height)


def unpacked(seen: Seen) -> np.ndarray:
    """RGBA uint8 [H, W, 4]."""
    from PIL import Image

    picture, mask = Image.open(io.BytesIO(seen.picture)), Image.open(io.BytesIO(seen.mask))
    return np.dstack([np.asarray(picture), np.asarray(mask)])


def write_sheet(room: Path, seen: Sequence[Seen], pictures: np.ndarray | None) -> None:
    from PIL import Image

    some = [seen[number] for number in np.linspace(0, len(seen) - 1, TILES).round().astype(int)]
    opened = [(Image.open(io.BytesIO(each.picture)), Image.open(io.BytesIO(each.mask))) for each in some]
    write_tiles(room / SHEET, [outlined_picture(*pair) for pair in opened], pictures)


def listed(dropped: Counter[str]) -> str:
    return "".join(f"; {count} {what}" for what, count in dropped.most_common(3))
