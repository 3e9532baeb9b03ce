"""Finds the mask file of a picture by the habits of other software."""

import re
from functools import lru_cache
from pathlib import Path

PICTURES = ("images", "images_2", "images_4", "images_8", "image", "rgb", "input", "imgs", "color")
MASKS = (
    *("masks", "mask", "masks_2", "masks_4", "masks_8", "segmentations", "segmentation", "silhouettes", "silhouette"),
    *("fg_masks", "fg_mask", "object_masks", "object_mask", "alpha_masks", "mattes"),
)
WORDS = r"masks?|seg|segm|sam|segmentations?|silhouettes?|mattes?|matting|alphas?|foregrounds?|fg|cutouts?|nobg"
LIKE_MASKS = re.compile(rf"(.*[_\- ])?({WORDS}|labels?)([_\- ].*)?|(image|object|alpha)s?masks?")
OTHERS = re.compile(r"depth|sky|back|bg_|dynamic|motion|invalid|valid|hand|normal")  # masks of something else
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
MARKED = re.compile(rf"(.+?)[_.\- ]({WORDS}|removebg-preview)|mask[_\- ](.+)")  # a mask beside its picture
MARKS = (".mask", "_mask", "-mask")


def given_mask(picture: Path) -> Path | None:
    """The file that masks `picture`, or None; case counts for nothing.

    nerfstudio and CO3D: `masks/NAME.png` beside `images/NAME.jpg`; COLMAP and MVImgNet: `masks/NAME.jpg.png`; also
    `NAME_mask.png`, `NAME_seg.png` and their like, there or beside the picture, and in a folder of masks whatever alone
    has the picture's number, or its place where as many are numbered otherwise.
    """
    name, stem = picture.name.lower(), picture.stem.lower()
    for folder in mask_folders(picture.parent):
        files = files_of(folder)
        for candidate in (f"{name}.png", name, *(f"{stem}{suffix}" for suffix in SUFFIXES)):
            if candidate in files and files[candidate] != picture:
                return files[candidate]
        if found := marked(folder).get(stem) or marked(folder).get(name):
            return found
        own, masks = alone_by_number(picture.parent), alone_by_number(folder)
        number = number_of(stem)
        if number is not None and own.get(number) == picture:
            counted = len(own) == len(masks) and own.keys() != masks.keys()  # from 0 here, from 1 there
            number = sorted(masks)[sorted(own).index(number)] if counted else number
            if number in masks:
                return masks[number]
    return marked(picture.parent).get(stem) or marked(picture.parent).get(name)


def mask_folders(folder: Path) -> list[Path]:
    """Where masks of a folder's pictures may lie: in it, beside it, and beside a folder `images` above it.

    Beside `train`: in `train_masks`, `masks_train`, `masks/train`.
    """
    places, name = folders_of_masks(folder), folder.name.lower()
    for place in folders_of_masks(folder.parent):
        named = re.sub(rf"[_\- ]?({WORDS})[_\- ]?", "", place.name.lower())
        places += [place] if named == name else [place / folder.name]
    for above in (folder, *folder.parents[:2]):
        if above.name.lower() in PICTURES:
            inner = folder.relative_to(above)
            for place in folders_of_masks(above.parent):
                places += [place / inner, place / above.name / inner]
    return [place for place in places if place.is_dir()]


def folders_of_masks(folder: Path) -> list[Path]:
    """Those in a folder that are called so, in whatever case, usual names first."""
    found = {name: path for name, path in files_of(folder).items() if is_called_masks(name) and path.is_dir()}
    return [found[name] for name in sorted(found, key=lambda name: (*MASKS, name).index(name))]


def is_called_masks(name: str) -> bool:
    name = name.lower()
    return name in MASKS or (LIKE_MASKS.fullmatch(name) is not None and OTHERS.search(name) is None)


def number_of(stem: str) -> int | None:
    """The last number in a name."""
    digits = re.findall(r"\d+", stem)
    return int(digits[-1][-18:]) if digits else None


def files_of(folder: Path) -> dict[str, Path]:
    """What a folder holds by its name in small letters."""
    return listed(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}


def marked(folder: Path) -> dict[str, Path]:
    """The masks in a folder whose names are marked so, by what they say besides: the picture's name."""
    return listed_marked(folder, folder.stat().st_mtime_ns)


def alone_by_number(folder: Path) -> dict[int, Path]:
    """The pictures of a folder that no other shares its number with."""
    return listed_by_number(folder, folder.stat().st_mtime_ns)


@lru_cache(64)
def listed(folder: Path, changed: int) -> dict[str, Path]:
    return {path.name.lower(): path for path in sorted(folder.iterdir())}


@lru_cache(64)
def listed_marked(folder: Path, changed: int) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in listed(folder, changed).values():
        match = MARKED.fullmatch(path.stem.lower())
        if match is not None and path.suffix.lower() in SUFFIXES:
            found.setdefault(match[1] or match[3], path)
    return found


@lru_cache(64)
def listed_by_number(folder: Path, changed: int) -> dict[int, Path]:
    found: dict[int, list[Path]] = {}
    for path in listed(folder, changed).values():
        if path.suffix.lower() in SUFFIXES and (number := number_of(path.stem)) is not None:
            found.setdefault(number, []).append(path)
    return {number: paths[0] for number, paths in found.items() if len(paths) == 1}


def is_mask(path: Path) -> bool:
    """Whether a file is a mask by its name or folder rather than a picture."""
    stem = path.stem.lower()
    named = stem.endswith(MARKS) or stem.startswith("mask_")
    return named or any(part.lower() in MASKS for part in path.parts[-3:-1])
