"""Tells which command a folder is for, and by what."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from vader3d.data.making.meshes import LIBRARY_SUFFIX, MESH_SUFFIXES, SAVE_AS_GLB, UNREAD
from vader3d.data.photographs.frames import CLIPS, MOVING, PHOTOS
from vader3d.data.reading import metashape, realitycapture
from vader3d.data.videos.clips import celebv_sets
from vader3d.untrusted import is_litter, read_json

MOST_FILES = 2_000_000  # that are looked at
SHOWN = 2  # names that a reason lists
OF_COURSE = {"mvimgnet": ("colmap",), "omniobject3d": ("nerfstudio",)}  # what their folders are, too


class Sign(NamedTuple):
    """What tells a format: paths below the folder that match, and what else must hold of the folder."""

    command: str
    what: str
    pattern: str
    holds: Callable[[Path, Sequence[str]], bool] = lambda folder, names: True


class Recognised(NamedTuple):
    """The command, by what it was told, and others whose signs are there too."""

    command: str
    why: str
    others: tuple[str, ...]


def suffixes(kinds: Sequence[str]) -> str:
    return rf"({'|'.join(map(re.escape, kinds))})$"


def has(pattern: str) -> Callable[[Path, Sequence[str]], bool]:
    """Whether another path matches, too."""
    return lambda folder, names: any(re.search(pattern, name) for name in names)


def lists_clips(folder: Path, names: Sequence[str]) -> bool:
    paths = sorted(folder.glob("*info*.json")) if folder.is_dir() else []
    documents = (read_json(path) for path in paths)
    return any(celebv_sets(document) for document in documents)


# The first that holds is taken: from what only one format has to what many have.
SIGNS = (
    Sign("co3d", "frame_annotations.jgz", r"(^|/)frame_annotations\.jgz$"),
    Sign("video", "a list of CelebV's clips", r"^[^/]*info[^/]*\.json$", lists_clips),
    Sign("eg3d", "dataset.json beside pictures", r"(^|/)dataset\.json$", has(suffixes(PHOTOS))),
    Sign("polycam", "keyframes/cameras", r"(^|/)keyframes/(corrected_)?cameras/[^/]+\.json$"),
    Sign("record3d", "rgbd/ beside metadata", r"(^|/)(EXR_)?RGBD/", has(r"(^|/)metadata(\.json)?$")),
    Sign("record3d", "rgbd/ beside metadata", r"(^|/)rgbd/\d+\.", has(r"(^|/)metadata(\.json)?$")),
    Sign(
        "abo",
        "metadata.json beside render/0/render_0.jpg",
        r"(^|/)render/\d+/render_\d+\.",
        has(r"(^|/)metadata\.json$"),
    ),
    Sign("omniobject3d", "render/transforms.json", r"(^|/)render/transforms\.json$"),
    Sign("gobjaverse", "00000.json beside 00000.png", r"(^|/)00000\.json$", has(r"(^|/)00000\.png$")),
    Sign("objaverse", "000.npy beside 000.png", r"(^|/)000\.npy$", has(r"(^|/)000\.\w+$")),
    Sign("nerfstudio", "transforms.json", r"(^|/)transforms(_(train|val|test))?\.json$"),
    Sign(
        "mvimgnet",
        "sparse/0 beside images/ of numbered classes, and a tree of masks or mvimgnet_category.txt",
        r"(^|/)\d+/[^/]+/sparse/0/cameras\.(bin|txt)$",
        has(r"(^|/)(mvimgnet_category\.txt$|(MVImgNet_)?masks?/\d+/[^/]+/[^/]+\.png$)"),
    ),
    Sign("colmap", "a COLMAP model (sparse/0/cameras.bin or .txt)", r"(^|/)sparse/(0/)?cameras\.(bin|txt)$"),
    Sign("colmap", "cameras.txt or .bin of COLMAP", r"(^|/)cameras\.(bin|txt)$", has(r"(^|/)images\.(bin|txt)$")),
    Sign("dtu", "cameras.npz or cameras_sphere.npz beside image/", r"(^|/)cameras(_sphere)?\.npz$"),
    Sign("llff", "poses_bounds.npy", r"(^|/)poses_bounds\.npy$"),
    Sign("srn", "rgb/ beside pose/", r"(^|/)pose/[^/]+\.txt$", has(r"(^|/)rgb/")),
    Sign(
        "realitycapture",
        "a .csv that begins with #name,x,y,alt",
        r"\.csv$",
        lambda folder, names: bool(realitycapture.object_folders(folder)),
    ),
    Sign(
        "metashape",
        "an .xml of Metashape's cameras",
        r"\.xml$",
        lambda folder, names: bool(metashape.object_folders(folder)),
    ),
    Sign("meshes", "mesh files or .sh3f libraries", rf"(?i){suffixes([LIBRARY_SUFFIX, *MESH_SUFFIXES])}"),
    Sign(
        "video",
        "numbered frames in folders of train, val or test",
        rf"(?i)(^|/)(train|val|test)/.+/\d+{suffixes(PHOTOS)}",
    ),
    Sign("video", "a clip", rf"(?i){suffixes(MOVING)}", lambda source, names: source.is_file()),
    Sign(
        "photos",
        "photographs or clips without cameras",
        rf"(?i){suffixes([*PHOTOS, *CLIPS])}",
        lambda source, names: source.is_dir(),
    ),
)


def recognised(source: Path) -> Recognised:
    """What a folder, or a file, is. ValueError: none of the formats, with all that was looked for; or a data set."""
    if not source.exists():
        raise ValueError(f"source: wanted a folder; got {source}, which does not exist")
    names = [source.name] if source.is_file() else names_in(source)
    if "shards.json" in names or "archive.json" in names:
        raise ValueError(f"source: wanted files to make a data set of; got {source}, which is one; vader3d inspect it")
    found = [(sign, hits) for sign in SIGNS if (hits := matches(sign, source, names))]
    if not found:
        looked = "; ".join(dict.fromkeys(f"{sign.what} ({sign.command})" for sign in SIGNS))
        some = ", ".join(names[:SHOWN]) or "nothing"
        raise ValueError(f"source: wanted one of: {looked}; got {source} with {len(names)} files ({some})")
    (sign, hits), *rest = found
    unread = [name for name in names if Path(name).suffix.lower() in UNREAD]
    if sign.command == "photos" and unread:
        raise ValueError(f"source: wanted files that are read; got {unread[0]} beside pictures; {SAVE_AS_GLB}")
    more = f" and {len(hits) - 1} more" if len(hits) > 1 else ""
    expected = (sign.command, "photos", *OF_COURSE.get(sign.command, ()))
    others = dict.fromkeys(other.command for other, _ in rest if other.command not in expected)
    return Recognised(sign.command, f"{sign.what}: {hits[0]}{more}", tuple(others))


def names_in(folder: Path) -> list[str]:
    """Paths of the files below, sorted; litter and what is hidden are none."""
    names = []
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        if path.is_file() and not is_litter(inner) and not any(part.startswith(".") for part in inner.parts):
            names.append(inner.as_posix())
        if len(names) >= MOST_FILES:
            break
    return sorted(names)


def matches(sign: Sign, source: Path, names: Sequence[str]) -> list[str]:
    pattern = re.compile(sign.pattern)
    hits = [name for name in names if pattern.search(name)]
    return hits if hits and sign.holds(source, names) else []
