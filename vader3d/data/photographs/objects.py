"""One object, from its photographs to masked, posed pictures."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord, ObjectViews, check_cameras
from vader3d.data.photographs.frames import chosen_frames
from vader3d.data.photographs.report import mask_faults, touches_border, write_sheet
from vader3d.data.photographs.standing import Place, place_by_masks, window
from vader3d.data.photographs.structure import Motion, reconstruct
from vader3d.data.reading import colmap, nerfstudio
from vader3d.data.reading.assembly import SourceView, chosen_views
from vader3d.data.reading.frames import read_document
from vader3d.data.reading.pictures import picture_size, read_picture, scaled_intrinsics, squared, undistorted
from vader3d.data.reading.reader import Reading
from vader3d.data.reading.upright import levelled
from vader3d.data.writer import PreparedObject
from vader3d.files import held, remove_leftovers, write_bytes, write_text
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import check_placement, placed

Matte = Callable[[np.ndarray, Path | None], np.ndarray]
FACTS, SHEET = "facts.json", "sheet.jpg"  # of one object
REPORT = "report.json"  # of all
POSED, WITHOUT, BROKEN = "posed", "without cameras", "broken"
LEAST_VIEWS, HULL_PX, MARGIN = 6, 160, 0.04
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Photography:
    """How photographs become objects.

    size: pictures are squares of so many px about the object; views: at most so many of an object; frames: at most so
    many of its photographs are looked at. The gates: the share of frames that structure from motion must register, its
    mean error in px, the share of the silhouettes that one shape must explain.
    """

    size: int = 64
    views: int | None = None
    frames: int = 60
    least_registered: float = 0.6
    most_error_px: float = 2.0
    least_explained: float = 0.85
    threads: int = field(default=1, repr=False)  # changes nothing that is made
    category: str = ""


class WithoutCameras(ValueError):
    """Frames and masks are whole, but their cameras could not be told, or not well enough."""


def object_of(source: Path, name: str, room: Path, how: Photography, matte: Matte) -> PreparedObject:
    """The object of a folder of photographs, with or without cameras, or of a clip.

    `room` keeps images/, masks/ (named as COLMAP names them), sparse/0/, sheet.jpg and facts.json; what was made of the
    same files with the same settings is taken from there. ValueError says what is wrong; facts.json says it too.
    """
    for place in (room, room / "images", room / "masks"):  # whoever makes an object does it alone
        remove_leftovers(place)
    key = key_of(source, how.frames, matte)
    facts: dict[str, Any] = {"name": name, "outcome": BROKEN, "reason": "", "key": key}
    try:
        views = given_views(source)
        if views is None:
            views = structured_views(source, room, how, matte, facts)
        elif masks_are_stale(room, key):
            views = masked_views(views, room, how, matte)
        else:
            some = chosen_views(views, how.frames)
            views = [replace(view, mask=room / "masks" / mask_name(view.picture)) for view in some]
        facts["masks"] = mask_faults(views)
        prepared = assembled(source, name, views, how, facts)
        facts["outcome"] = POSED
        write_sheet(room / SHEET, views, prepared.pictures)
        return prepared
    except Exception as error:
        facts["outcome"] = WITHOUT if isinstance(error, WithoutCameras) else BROKEN
        facts["reason"] = str(error)
        if (room / "images").is_dir():
            write_sheet(room / SHEET, stored_views(room), None)
        raise
    finally:
        room.mkdir(parents=True, exist_ok=True)
        write_text(room / FACTS, json.dumps(facts, indent=1, ensure_ascii=False))


def key_of(source: Path, *settings: object) -> str:
    """Changes with the files and with the settings, which decide frames, masks and cameras."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    about = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((about, *settings)).encode()).hexdigest()


def facts_in(room: Path) -> dict[str, Any]:
    try:
        facts = json.loads((room / FACTS).read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def all_facts(rooms: Path, names: Sequence[str], *, died: str) -> list[dict[str, Any]]:
    """What is known of each object; `died`: the outcome of those whose process left no facts."""
    lost = {"outcome": died, "reason": "its process died (out of memory?)"}
    return [{"name": name, **(facts_in(rooms / name) or lost)} for name in names]


def write_report(rooms: Path, summary: dict[str, Any]) -> None:
    """`REPORT` in the folder of rooms, which other commands may be writing too."""
    with held(rooms, REPORT, wait=True):
        write_text(rooms / REPORT, json.dumps(summary, indent=1, ensure_ascii=False))


def masks_are_stale(room: Path, key: str) -> bool:
    before = facts_in(room)
    return before.get("key") != key or before.get("outcome") == BROKEN


def given_views(source: Path) -> list[SourceView] | None:
    """The views of a folder that comes with cameras (transforms.json, a COLMAP model); None for any other."""
    if source.is_dir() and (source / nerfstudio.WHOLE).is_file():
        frames, _ = nerfstudio.frames_of([read_document(source / nerfstudio.WHOLE)], source)
        return [nerfstudio.source_view(source, *pair, Reading()) for pair in frames]
    if source.is_dir() and any((source / marker).is_file() for marker in colmap.MARKERS):
        return colmap.source_views(source)
    return None


def masked_views(views: Sequence[SourceView], room: Path, how: Photography, matte: Matte) -> list[SourceView]:
    """Views with cameras, with masks made and kept."""
    shutil.rmtree(room / "masks", ignore_errors=True)
    made = []
    for view in chosen_views(views, how.frames):
        pixels = np.array(read_picture(view.picture, mode="RGBA"))
        mask = room / "masks" / mask_name(view.picture)
        write_bytes(mask, png_bytes(matte(pixels, view.picture)))
        made.append(replace(view, mask=mask))
    return made


def mask_name(picture: Path) -> str:
    return f"{picture.name}.png"


def structured_views(
    source: Path, room: Path, how: Photography, matte: Matte, facts: dict[str, Any]
) -> list[SourceView]:
    """Views whose cameras structure from motion tells: by all of the pictures, else by what the masks show."""
    before = facts_in(room)
    facts["gates"] = [how.least_registered, how.most_error_px, how.least_explained]
    same = before.get("key") == facts["key"]
    if same and (before["outcome"] == POSED or (before["outcome"] == WITHOUT and before["gates"] == facts["gates"])):
        kept = ("frames", "damaged", "registered", "error_px", "points", "masked")
        facts.update({key: before[key] for key in kept if key in before})
        if before["outcome"] == WITHOUT:
            raise WithoutCameras(before["reason"])
        with_cameras(check_structure, facts, how)
        return colmap.source_views(room)
    for place in ("images", "masks", "sparse"):
        shutil.rmtree(room / place, ignore_errors=True)
    frames, facts["damaged"] = chosen_frames(source, how.frames)
    facts["frames"] = len(frames)
    if len(frames) < LEAST_VIEWS:
        raise ValueError(f"photographs: wanted at least {LEAST_VIEWS} that differ; got {len(frames)}; take more")
    for number, frame in enumerate(frames):
        name = f"{number:03d}.jpg"
        write_bytes(room / "masks" / f"{name}.png", png_bytes(matte(frame.pixels, frame.file)))
        write_bytes(room / "images" / name, jpeg_bytes(frame.pixels[..., :3]))
    sizes = {frame.pixels.shape[:2] for frame in frames}
    focals = [frame.focal for frame in frames]
    focal = focals[0] if len(set(focals)) == 1 else 0.0
    motion = Motion(masked=False, focal=focal, one_lens=len(sizes) == 1, threads=how.threads)
    reasons = []
    for masked in (False, True):
        try:
            facts.update(reconstruct(room, replace(motion, masked=masked)), masked=masked)
            check_structure(facts, how)
            views = colmap.source_views(room)
            check_place(placed_views(views)[1], how)
            return views
        except ValueError as error:
            reasons.append(str(error))
    raise WithoutCameras(reasons[0] if reasons[0] == reasons[1] else f"{reasons[0]}; by masks alone: {reasons[1]}")


def with_cameras(check: Callable[[Any, Photography], None], about: Any, how: Photography) -> None:
    """A gate whose ValueError says that there are no cameras to trust."""
    try:
        check(about, how)
    except ValueError as error:
        raise WithoutCameras(str(error)) from error


def check_structure(facts: dict[str, Any], how: Photography) -> None:
    share = facts["registered"] / facts["frames"]
    if share < how.least_registered or facts["registered"] < LEAST_VIEWS:
        raise ValueError(
            f"cameras: wanted {how.least_registered:.0%} of the frames registered, {LEAST_VIEWS} at least; got "
            f"{facts['registered']} of {facts['frames']}"
        )
    if facts["error_px"] > how.most_error_px:
        raise ValueError(f"cameras: wanted a mean error of {how.most_error_px} px; got {facts['error_px']:.2f}")


def check_place(place: Place, how: Photography) -> None:
    """ValueError where the masks' hull is not an object's: unexplained silhouettes, cut off, or hardly anything."""
    if place.explained < how.least_explained:
        raise ValueError(
            f"hull: wanted one shape behind {how.least_explained:.0%} of the silhouettes; got {place.explained:.0%}"
        )
    if place.good.sum() < LEAST_VIEWS or place.good.mean() < how.least_registered:
        raise ValueError(f"hull: wanted masks that agree; got {place.good.sum()} of {len(place.good)} that do")
    if not place.bounded:
        raise ValueError("hull: wanted an object seen from all sides; got one without end; walk round it")


def placed_views(views: Sequence[SourceView]) -> tuple[Cameras, Place]:
    """The cameras [V], upright, of small square pictures, and the place that their masks give the object."""
    squares, lenses = zip(*(square_of(view, HULL_PX) for view in views), strict=True)
    matrices = torch.from_numpy(np.stack([view.world_from_camera for view in views]))
    cameras = levelled(Cameras(matrices, torch.from_numpy(np.stack(lenses)), HULL_PX, HULL_PX))
    check_cameras(cameras, len(views))
    return cameras, place_by_masks(ObjectViews(np.stack(squares), cameras))


def square_of(view: SourceView, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A view's masked picture by an ideal pinhole, shrunk onto a square of `size` px, and its lens."""
    pixels = np.array(read_picture(view.picture, mode="RGBA"))
    if view.mask is not None:
        pixels[..., 3] = np.asarray(read_picture(view.mask, mode="L"))
    square, lens = squared(pixels, scaled_intrinsics(view.intrinsics, view.size, pixels.shape[:2]), size=size)
    return (undistorted(square, lens, view.distortion) if any(view.distortion.values()) else square), lens


def assembled(
    source: Path, name: str, views: Sequence[SourceView], how: Photography, facts: dict[str, Any]
) -> PreparedObject:
    """The object in its cube: squares about it, cut from pictures that are not larger than they need be."""
    cameras, place = placed_views(views)
    facts |= {"explained": round(place.explained, 4), "scale": place.scale, "offset": place.offset.tolist()}
    with_cameras(check_place, place, how)
    cameras = placed(cameras, scale=place.scale, offset=place.offset)
    whole = [number for number in np.flatnonzero(place.good).tolist() if not touches_border(views[number])]
    if len(whole) < max(LEAST_VIEWS, place.good.sum() / 2):  # then those that show a part are better than none
        whole = np.flatnonzero(place.good).tolist()
    facts |= {"views": len(whole), "left_out": len(views) - len(whole)}
    squares, lenses, kept = [], [], chosen_views(whole, how.views)
    for number in kept:
        left, top, side = window(cameras[number], MARGIN)
        longest = max(picture_size(views[number].picture))
        working = int(min(longest, np.ceil(2 * how.size * HULL_PX / side)))
        square, lens = square_of(views[number], working)
        scale = working / HULL_PX
        squares.append(cut(square, left * scale, top * scale, side * scale, how.size))
        shrink = how.size / (side * scale)
        lenses.append((lens - [0, 0, left * scale, top * scale]) * shrink)
    matrices = cameras.world_from_camera[kept].float()
    own = Cameras(matrices, torch.from_numpy(np.stack(lenses)).float(), how.size, how.size)
    check_placement(own)
    stand_in = Caption(how.category, "category") if how.category else Caption(name.replace("_", " "), "name")
    folder = source if source.is_dir() else source.parent
    text = "caption.txt" if source.is_dir() else f"{source.stem}.txt"
    captions = captions_beside(folder / text, stand_in)
    record = ObjectRecord(name, captions, category=how.category, source=source.name)
    return PreparedObject(record, np.stack(squares), own, note=facts.get("damaged", ""))


def cut(square: np.ndarray, left: float, top: float, side: float, size: int) -> np.ndarray:
    """The window of an RGBA picture at `size` px; clear beyond its edges."""
    from PIL import Image

    pad = int(np.ceil(max(0, -left, -top, left + side - square.shape[1], top + side - square.shape[0])))
    padded = Image.fromarray(np.pad(square, ((pad, pad), (pad, pad), (0, 0))))
    box = (left + pad, top + pad, left + pad + side, top + pad + side)
    return np.asarray(padded.resize((size, size), Image.Resampling.BOX, box=box))


def stored_views(room: Path) -> list[SourceView]:
    """Frames and masks without cameras."""
    none = np.eye(4), np.ones(4), (1.0, 1.0)
    return [
        SourceView(path, *none, mask=room / "masks" / mask_name(path)) for path in sorted((room / "images").iterdir())
    ]


def png_bytes(alpha: np.ndarray) -> bytes:
    return encoded(alpha, format="PNG")


def jpeg_bytes(pixels: np.ndarray) -> bytes:
    return encoded(pixels, format="JPEG", quality=JPEG_QUALITY, subsampling=0)


def encoded(pixels: np.ndarray, **options: Any) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()
