"""Finds the mask file of a picture by the habits of other software."""

from pathlib import Path

PICTURES = ("images", "images_2", "images_4", "images_8", "image", "rgb", "input", "imgs", "color")
MASKS = (
    *("masks", "mask", "masks_2", "masks_4", "masks_8", "segmentations", "segmentation", "silhouettes", "silhouette"),
    *("fg_masks", "fg_mask", "object_masks", "object_mask", "alpha_masks", "mattes"),
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def given_mask(picture: Path) -> Path | None:
    """The file that masks `picture`, or None.

    nerfstudio and CO3D: `masks/NAME.png` beside `images/NAME.jpg`; COLMAP and MVImgNet: `masks/NAME.jpg.png`; beside
    the picture itself: `NAME_mask.png`, `NAME.mask.png`, `mask_NAME.png`.
    """
    name, stem = picture.name, picture.stem
    for folder in mask_folders(picture.parent):
        for candidate in (f"{name}.png", name, *(f"{stem}{suffix}" for suffix in SUFFIXES)):
            if (folder / candidate).is_file():
                return folder / candidate
    beside = [f"{stem}{middle}{suffix}" for middle in ("_mask", ".mask", "-mask") for suffix in SUFFIXES]
    beside += [f"mask_{stem}{suffix}" for suffix in SUFFIXES]
    return next((picture.parent / each for each in beside if (picture.parent / each).is_file()), None)


def mask_folders(folder: Path) -> list[Path]:
    """Where masks of a folder's pictures may lie: in it, beside it, and beside a folder `images` above it."""
    places = folders_of_masks(folder)
    for above in (folder, *folder.parents[:2]):
        if above.name.lower() in PICTURES:
            inner = folder.relative_to(above)
            places += [place / inner for place in folders_of_masks(above.parent)]
    return [place for place in places if place.is_dir()]


def folders_of_masks(folder: Path) -> list[Path]:
    """Those in a folder that are called so, in whatever case, usual names first."""
    found = {path.name.lower(): path for path in folder.iterdir() if path.name.lower() in MASKS}
    return [found[name] for name in MASKS if name in found]


def is_mask(path: Path) -> bool:
    """Whether a file is a mask by its name or folder rather than a picture."""
    stem = path.stem.lower()
    named = stem.endswith(("_mask", ".mask", "-mask")) or stem.startswith("mask_")
    return named or any(part.lower() in MASKS for part in path.parts[-3:-1])
