"""What an archive of posed pictures looks like on the disk.

One zip file. Members are stored, for pictures are compressed already; only the manifest and meshes are deflated:

    archive.json               format, version, title, resolution [H, W], objects [...], subsets {name: [indices]}; of a
                               copy with other captions also `pictures`: the fingerprint of what it was copied from
    000000/pictures-000.webp   RGBA with straight alpha, sRGB; views tiled row by row, no side above 4096 px
    000000/cameras.npy         float32 [V, 16]: world_from_camera [3, 4] row by row, then fx fy cx cy in px; NaN where
                               nobody knows where cameras stand, of an object whose entry says `posed: false`
    000000/mesh.ply            the true surface in the same world, where it is known

Cameras and world are those of `vader3d.geometry.cameras`. `check_*` say what may enter an archive; writers and readers
hold to them.
"""

import hashlib
import io
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from vader3d.captions import Caption as Caption
from vader3d.geometry.cameras import Cameras
from vader3d.untrusted import JSON_BYTES, TEXT_BYTES, reading

FORMAT, VERSION = "vader3d-archive", 2  # 1: one caption an object, without a source
MANIFEST = "archive.json"
SHEET_SIDE_PX = 4096
OBJECT_BYTES, OBJECT_VIEWS = 2**30, 2**16  # of decoded pictures; what lies above is taken for damage or malice
MANIFEST_BYTES = JSON_BYTES
LARGEST, SHORTEST = 1e6, 1e-3  # number of a camera, focal length in px: beyond, rays leave float32


class ArchiveError(ValueError):
    """An archive, or one object in it, that cannot be read or written; the message says which and why."""


@dataclass(frozen=True)
class ObjectRecord:
    """What is said of one object; writers count its `views` and look whether its cameras are `posed`.

    The order of the fields is that of the JSON.
    """

    name: str
    captions: tuple[Caption, ...] = ()
    category: str = ""
    tags: tuple[str, ...] = ()
    views: int = 0
    creator: str = ""
    licence: str = ""
    source: str = ""
    posed: bool = True

    @property
    def caption(self) -> str:
        """The first caption; empty where there is none."""
        return self.captions[0].text if self.captions else ""


def entry_from_record(record: ObjectRecord) -> dict:
    """A record as a manifest has it: `posed` where it is not, so that others read as before."""
    entry = asdict(record)
    if record.posed:
        del entry["posed"]
    return entry


def record_from_entry(entry: Mapping, resolution: tuple[int, int]) -> ObjectRecord:
    """A record as a manifest has it; ArchiveError says what it lacks or which number is not plausible."""
    with reading("record", "name, captions, category, tags, views", ArchiveError):
        name, category = str(entry["name"]), str(entry["category"])
        if "captions" in entry:
            captions = tuple(Caption(str(said["text"]), str(said["source"])) for said in entry["captions"])
        else:  # version 1
            captions = (Caption(str(entry["caption"])),) if entry["caption"] else ()
        tags, views = tuple(map(str, entry["tags"])), int(entry["views"])
        creator, licence, source = (str(entry.get(key, "")) for key in ("creator", "licence", "source"))
        posed = entry.get("posed", True) is True
        record = ObjectRecord(name, captions, category, tags, views, creator, licence, source, posed)
    with reading(f"object {name[:60]!r}", kind=ArchiveError):
        check_name(name)
        most = min(OBJECT_VIEWS, OBJECT_BYTES // (4 * resolution[0] * resolution[1]))
        if not 1 <= views <= most:
            raise ArchiveError(f"views: wanted 1 to {most}; got {views}")
    return record


def contents_of(members: Iterable[tuple[str, int, int]]) -> str:
    """SHA-256 of (name, CRC-32, bytes) of all members but the manifest."""
    others = sorted(member for member in members if member[0] != MANIFEST)
    return hashlib.sha256(repr(others).encode()).hexdigest()


def check_version(document: Mapping, form: str, version: int) -> None:
    """ArchiveError unless a document is of the format `form`, of `version` or older."""
    if document["format"] != form or not isinstance(document["version"], int):
        raise ArchiveError(f"format: wanted {form!r}; got {document['format']!r}")
    if document["version"] > version:
        raise ArchiveError(f"version: wanted at most {version}; got {document['version']}; update vader3d")


def check_subsets(subsets: Mapping[str, Sequence[int]], objects: int) -> None:
    """ArchiveError unless all subsets name objects below `objects`."""
    for name, indices in subsets.items():
        if wrong := [i for i in indices if not (isinstance(i, int) and 0 <= i < objects)]:
            raise ArchiveError(f"subset {name!r}: wanted objects 0 to {objects - 1}; got {repr(wrong[0])[:60]}")


def unknown_subset(place: object, name: str, subsets: Iterable[str]) -> ArchiveError:
    """The error that names those that there are."""
    return ArchiveError(f"{place}: wanted a subset: {', '.join(subsets) or 'there are none'}; got {name!r}")


class ObjectViews(NamedTuple):
    """`pictures` uint8 [V, H, W, 4], straight alpha, and the `cameras` [V] that took them."""

    pictures: np.ndarray
    cameras: Cameras


class SheetLayout(NamedTuple):
    """How V views of one object are tiled: every sheet is `columns` wide; the last may hold fewer rows."""

    columns: int
    views_per_sheet: int
    sheets: int

    def sheet_views(self, sheet: int, views: int) -> int:
        """The number of views on one sheet."""
        return min(self.views_per_sheet, views - sheet * self.views_per_sheet)


def sheet_layout(views: int, height: int, width: int) -> SheetLayout:
    """Nearly square sheets of at most 4096 px a side."""
    columns = min(math.ceil(math.sqrt(views)), SHEET_SIDE_PX // width)
    per_sheet = columns * min(math.ceil(views / columns), SHEET_SIDE_PX // height)
    return SheetLayout(columns, per_sheet, math.ceil(views / per_sheet))


def pictures_to_sheet(pictures: np.ndarray, *, columns: int, quality: int) -> bytes:
    """RGBA pictures uint8 [V, H, W, 4] -> one WebP; quality 100 keeps every value as it is."""
    from PIL import Image

    views, height, width, _ = pictures.shape
    rows = math.ceil(views / columns)
    tiles = np.zeros((rows * columns, height, width, 4), np.uint8)
    tiles[:views] = pictures
    sheet = tiles.reshape(rows, columns, height, width, 4).swapaxes(1, 2).reshape(rows * height, columns * width, 4)
    data = io.BytesIO()
    if quality == 100:
        # more effort takes 9x as long, saves nothing
        how = {"lossless": True, "exact": True, "quality": 75, "method": 2}
    else:
        how = {"quality": quality, "method": 4}
    Image.fromarray(sheet, "RGBA").save(data, "WEBP", **how)
    return data.getvalue()


def pictures_from_sheet(data: bytes, views: int, *, columns: int, height: int, width: int) -> np.ndarray:
    """The reverse; ArchiveError when the bytes are no WebP of just the expected size."""
    from PIL import Image

    rows = math.ceil(views / columns)
    with reading("picture", "a whole WebP", ArchiveError), Image.open(io.BytesIO(data), formats=["WEBP"]) as sheet:
        if sheet.size != (columns * width, rows * height):
            expected = f"{columns * width} x {rows * height}"
            raise ArchiveError(f"picture: wanted {expected} px; got {sheet.size[0]} x {sheet.size[1]}")
        pixels = np.asarray(sheet.convert("RGBA"))
    tiles = pixels.reshape(rows, height, columns, width, 4).swapaxes(1, 2).reshape(-1, height, width, 4)
    return tiles[:views]


def check_resolution(height: int, width: int) -> None:
    """ValueError unless both sides lie in 1..4096 px."""
    if not (1 <= height <= SHEET_SIDE_PX and 1 <= width <= SHEET_SIDE_PX):
        raise ValueError(f"resolution: wanted sides of 1 to {SHEET_SIDE_PX} px; got {height} x {width}")


def check_quality(quality: int) -> None:
    """ValueError unless it is one of WebP's, of which 100 is lossless."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: wanted 1 to 100; got {quality}")


def check_name(name: str) -> None:
    """ValueError unless a name may also serve as a file's name; every alphabet is welcome."""
    if not name or len(name) > 200 or name in (".", ".."):
        raise ValueError(f"name: wanted 1 to 200 characters, neither '.' nor '..'; got {name[:60]!r}")
    if bad := [c for c in name if c in "/\\" or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]:
        raise ValueError(f"name: wanted no path separators, no control characters; got {bad[0]!r} in {name[:60]!r}")


def check_captions(captions: Sequence[Caption]) -> None:
    """ValueError unless they are captions, none empty, none twice, and not longer in all than a text may be."""
    if wrong := [said for said in captions if not isinstance(said, Caption) or not said.text]:
        raise ValueError(f"captions: wanted Caption(text, source), text not empty; got {str(wrong[0])[:60]!r}")
    texts = [said.text for said in captions]
    if len(set(texts)) < len(texts) or sum(map(len, texts)) > TEXT_BYTES // 4:
        raise ValueError(f"captions: wanted each once, {TEXT_BYTES // 4} letters in all; got {str(texts)[:60]}")


def check_pictures(pictures: np.ndarray, height: int, width: int) -> None:
    """ValueError unless they are uint8 [V, height, width, 4], V above 0, and not more than an object may have."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (height, width, 4):
        raise ValueError(f"pictures: wanted uint8 [V, {height}, {width}, 4]; got {pictures.dtype} {pictures.shape}")
    if not 0 < pictures.nbytes <= OBJECT_BYTES or len(pictures) > OBJECT_VIEWS:
        raise ValueError(
            f"pictures: wanted 1 to {OBJECT_VIEWS} views, {OBJECT_BYTES} bytes in all; got {pictures.shape}"
        )


def check_cameras(cameras: Cameras, views: int, *, posed: bool = True) -> None:
    """ValueError unless there are `views` finite, rigid cameras of focal lengths above 0; names the first bad one.

    Where they are not `posed` all numbers that say where they stand must be NaN.
    """
    matrices, intrinsics = cameras.world_from_camera.numpy(force=True), cameras.intrinsics.numpy(force=True)
    if matrices.shape != (views, 4, 4) or intrinsics.shape != (views, 4):
        raise ValueError(
            f"cameras: wanted {views}, as [V, 4, 4] and [V, 4]; got {matrices.shape} and {intrinsics.shape}"
        )
    if not posed:
        if cameras.posed:
            raise ValueError("cameras: wanted none that are posed, as the object's entry says; got poses")
        matrices = np.tile(np.eye(4), (views, 1, 1))
    finite = np.isfinite(matrices).all((1, 2)) & np.isfinite(intrinsics).all(1)
    rotation = np.where(finite[:, None, None], matrices[:, :3, :3], np.eye(3))
    skew = np.abs(rotation.swapaxes(1, 2) @ rotation - np.eye(3)).max((1, 2))
    bottom = np.abs(np.where(finite[:, None], matrices[:, 3], [0, 0, 0, 1]) - [0, 0, 0, 1]).max(1)
    for good, condition in (
        (finite, "finite numbers"),
        ((skew < 1e-3) & (bottom < 1e-6), "a rigid matrix (rotation and translation, bottom row 0 0 0 1)"),
        (np.linalg.det(rotation) > 0, "a right-handed rotation (determinant 1, no mirror)"),
        ((intrinsics[:, :2] > 0).all(1), "focal lengths above 0"),
        ((intrinsics[:, :2] >= SHORTEST).all(1), f"focal lengths of at least {SHORTEST:g} px"),
        (within(matrices) & within(intrinsics), f"no number beyond {LARGEST:g}"),
    ):
        if not good.all():
            raise ValueError(f"cameras: wanted {condition}; got view {int(np.argmin(good))} without")


def within(numbers: np.ndarray) -> np.ndarray:
    """Of which cameras [V, ...] no number is beyond `LARGEST`."""
    return np.abs(numbers).reshape(len(numbers), -1).max(1) <= LARGEST


def cameras_to_rows(cameras: Cameras) -> np.ndarray:
    """Cameras [V] -> float32 [V, 16] as stored."""
    matrices = cameras.world_from_camera.numpy(force=True)[:, :3].reshape(-1, 12)
    return np.concatenate([matrices, cameras.intrinsics.numpy(force=True)], 1).astype(np.float32)


def cameras_from_rows(rows: np.ndarray, height: int, width: int) -> Cameras:
    """The reverse of `cameras_to_rows`."""
    import torch

    matrices = np.tile(np.eye(4, dtype=np.float32), (len(rows), 1, 1))
    matrices[:, :3] = rows[:, :12].reshape(-1, 3, 4)
    return Cameras(torch.from_numpy(matrices), torch.from_numpy(rows[:, 12:].copy()), height, width)
