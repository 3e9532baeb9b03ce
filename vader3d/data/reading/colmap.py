"""Reads COLMAP projects: pictures beside a text or binary model."""

from contextlib import suppress
from pathlib import Path, PurePath

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.colmap_model import ColmapImage, read_model
from vader3d.data.reading.lenses import lens_of
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES, existing_picture
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import inside
from vader3d.data.writer import PreparedObject
from vader3d.untrusted import is_litter

MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "sparse_text", "colmap_text", "model", "colmap")
FLAT = ("cameras.bin", "cameras.txt")  # a model beside its pictures
MARKERS = (*(f"{model}/{file}" for model in MODELS for file in FLAT), *FLAT)
PICTURES = ("images", "input", "rgb", "image", "imgs", "photos", "frames", "", "images_2", "images_4", "images_8")
INNER = ("distorted", "undistorted", "dense", "0")  # folders whose models may have their pictures above
LEAST_SHARE = 0.5  # of a model's pictures that must be there


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of sparse/0 (or sparse, colmap/sparse/0) and the pictures in images/ (or input/, rgb/, beside).

    Pictures that are not there are left out, up to half of them.
    """
    return assembled_object(name, folder, chosen_views(source_views(folder), reading.views), reading)


def source_views(folder: Path, *, largest: bool = True) -> list[SourceView]:
    """The views whose pictures are there; ValueError where that is fewer than half of the model's.

    largest: of models sparse/0, sparse/1, ... the one of most pictures, else the first: COLMAP writes one for each set
    of pictures that it could not join to the others.
    """
    place = next(folder / marker for marker in MARKERS if (folder / marker).is_file()).parent
    images = read_model(place)
    if place.name == "0" and largest:
        others = (path.parent for file in FLAT for path in place.parent.glob(f"[1-9]*/{file}"))
        images = max([images, *(read_model(other) for other in sorted(set(others)))], key=len)
    found = [(image, picture) for image in images if (picture := picture_of(folder, image)) is not None]
    if not images or len(found) < LEAST_SHARE * len(images):
        raise ValueError(
            f"pictures: wanted those of {place.relative_to(folder)} in {', '.join(filter(None, PICTURES))}; got "
            f"{len(found)} of {len(images)}" + (f", e.g. not {images[0].name}" if images else "")
        )
    return [source_view(image, picture) for image, picture in found]


def object_folders(source: Path) -> list[Path]:
    """Those with a model in one of its usual places, or with one that lies beside pictures."""
    usual = {path.parents[len(PurePath(marker).parts) - 1] for marker in MARKERS[:-2] for path in source.rglob(marker)}
    flat = {path.parent for marker in FLAT for path in source.rglob(marker) if holds_pictures(path.parent)}
    found = (folder for folder in usual | flat if not is_litter(folder.relative_to(source)))
    own = (folder for folder in found if holds_pictures(folder) or not usual.intersection(folder.parents))
    return sorted(folder for folder in own if folder in usual or not usual.intersection(folder.parents))


def holds_pictures(folder: Path) -> bool:
    places = [folder / place for place in PICTURES]
    files = (path for place in places if place.is_dir() for path in place.iterdir())
    return any(path.suffix.lower() in PICTURE_SUFFIXES for path in files)


def picture_of(folder: Path, image: ColmapImage) -> Path | None:
    """Where it is, perhaps with its suffix in other case or saved anew; None where it is not."""
    places = [folder / name for name in PICTURES]
    if folder.name in INNER:
        places += [above / name for above in folder.parents[:2] for name in ("images", "input")]
    for place in places:
        with suppress(FileNotFoundError):
            return existing_picture(inside(place, image.name))
    return None


def source_view(image: ColmapImage, picture: Path) -> SourceView:
    lens, distortion = lens_of(image.camera.model, image.camera.numbers)
    return SourceView(
        picture, image.world_from_camera, lens, image.camera.size, mask=given_mask(picture), distortion=distortion
    )


COLMAP = Reader(
    name="colmap",
    what="COLMAP projects, text or binary, with masks (MVImgNet, nerfstudio's and your own): one, or a folder of them.",
    source="A folder with images/ and sparse/0/ (cameras and images, .bin or .txt), or a folder of such folders.",
    markers=MARKERS,
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
