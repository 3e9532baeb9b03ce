"""Reads transforms.json of Blender, NeRF-synthetic and nerfstudio."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.frames import read_document, whole_frame
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import declared_size, frame_intrinsics, frame_pose, frames_with_pictures, inside
from vader3d.data.writer import PreparedObject
from vader3d.untrusted import reading as parsing

WHOLE, SPLITS = "transforms.json", ("transforms_train.json", "transforms_val.json", "transforms_test.json")
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYES = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
MASK_KEYS = ("mask_path", "mask_file_path", "mask_file", "alpha_path", "mask")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of transforms.json, or of transforms_train, _val, _test.json, joined in this order.

    `folder` may also be one such file. Frames whose pictures are missing are left out, if they are fewer than half.
    """
    files = [folder / WHOLE] if (folder / WHOLE).exists() else [folder / split for split in SPLITS]
    if folder.is_file():
        files, folder = [folder], folder.parent
    documents = [read_document(path) for path in files if path.exists()]
    found, note = frames_of(documents, folder, reading.within)
    if not found:
        raise ValueError(f"frames: wanted at least 1 in {files[0].name}; got none")
    views = each_view(lambda pair: source_view(folder, *pair, reading), chosen_views(found, reading.views))
    return assembled_object(name, folder, views, reading, aabb=documents[0].get("aabb"), notes=[note])


def frames_of(
    documents: Iterable[Mapping], folder: Path, within: Path | None = None
) -> tuple[list[tuple[Mapping, Path]], str]:
    """The frames of documents with their pictures, and what is said of those left out, as `frames_with_pictures`."""
    pairs = (whole_frame(document, frame) for document in documents for frame in document["frames"])
    frames = [{k: v for k, v in pair.items() if v is not None} for pair in pairs]
    return frames_with_pictures(folder, frames, within)


def source_view(folder: Path, frame: Mapping, picture: Path, reading: Reading) -> SourceView:
    """A frame's fields are its own, else the document's."""
    with parsing(f"frame {picture.name}", "a camera's numbers"):
        size, note, sure = declared_size(frame, picture)
        pose, lens = frame_pose(frame, picture.name, reading.axes), frame_intrinsics(frame, *size)
        distortion = distortion_of(frame)
    named = next((frame[key] for key in MASK_KEYS if isinstance(frame.get(key), str) and frame[key]), None)
    listed = inside(folder, named, reading.within) if named is not None else None
    mask = listed if listed is not None and listed.is_file() else given_mask(picture)
    return SourceView(picture, pose, lens, size, mask=mask, distortion=distortion, note=note, sure=sure)


def distortion_of(frame: Mapping) -> dict[str, float]:
    """ValueError for a lens that is not OpenCV's."""
    model = frame.get("camera_model", "OPENCV")
    if model not in PINHOLES + FISHEYES:
        raise ValueError(
            f"camera_model: wanted one of {', '.join(PINHOLES + FISHEYES)}; got {model!r}; undistort the pictures first"
        )
    values = frame.get("distortion_params") or [frame.get(key, 0.0) for key in DISTORTION]
    fisheye = {"fisheye": 1.0} if model in FISHEYES else {}
    return dict(zip(DISTORTION, map(float, values), strict=False)) | fisheye


NERFSTUDIO = Reader(
    name="nerfstudio",
    what="Blender, NeRF-synthetic or nerfstudio transforms.json: one object, or a folder of them.",
    source="A folder with transforms.json (or transforms_train.json ...), that file, a folder of such, or a .zip.",
    markers=(WHOLE, *SPLITS),
    mask="auto",
    read_object=read_object,
)
