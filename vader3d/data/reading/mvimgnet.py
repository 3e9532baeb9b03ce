"""Reads MVImgNet: COLMAP projects, and masks in a tree of their own."""

from dataclasses import replace
from pathlib import Path

from vader3d.captions import read_captions
from vader3d.data.reading.assembly import assembled_object, chosen_views
from vader3d.data.reading.colmap import source_views
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.untrusted import is_litter

MODEL = "sparse/0/cameras.bin"  # sparse/0 is the one that the authors mean
MASKS = ("mask", "masks", "MVImgNet_mask", "MVImgNet_masks")
CLASSES = "mvimgnet_category.txt"


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of CLASS/INSTANCE/images and sparse/0, masked by CLASS/INSTANCE/005.jpg.png in a tree `masks`.

    That tree lies in or beside the data set's folder. The class, by its name where mvimgnet_category.txt is there, is
    the category.
    """
    if not any((folder / MODEL).with_suffix(kind).is_file() for kind in (".bin", ".txt")):
        raise ValueError("cameras: wanted sparse/0; got none, as in about a third of this data set")
    sources = source_views(folder, largest=False)
    views = [replace(view, mask=view.mask or mask_of(view.picture, folder)) for view in sources]
    category = reading.category or class_name(folder)
    return assembled_object(name, folder, chosen_views(views, reading.views), replace(reading, category=category))


def mask_of(picture: Path, folder: Path) -> Path | None:
    inner = Path(folder.parent.name, folder.name)
    roots = [above / tree for above in folder.parents[1:3] for tree in MASKS]
    places = [root / inner / name for root in roots for name in (f"{picture.name}.png", f"{picture.stem}.png")]
    return next((place for place in places if place.is_file()), None)


def class_name(folder: Path) -> str:
    """The class's name, which stands for its number in a list beside or above; else its folder's name."""
    path = next((above / CLASSES for above in folder.parents[1:3] if (above / CLASSES).is_file()), None)
    named = read_captions(path).captions.get(folder.parent.name) if path is not None else None
    return named[0].text if named else folder.parent.name


def object_folders(source: Path) -> list[Path]:
    """The folders with `images`, also those whose cameras are missing: so that they are counted."""
    found = (path for path in (source, *source.rglob("*")) if (path / "images").is_dir())
    return sorted(path for path in found if not is_litter(path.relative_to(source)))


MVIMGNET = Reader(
    name="mvimgnet",
    what="MVImgNet: CLASS/INSTANCE/images and sparse/0, and masks as CLASS/INSTANCE/005.jpg.png in mask/ or masks/.",
    source="A folder of classes, or one of them, or an instance.",
    markers=("images",),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
