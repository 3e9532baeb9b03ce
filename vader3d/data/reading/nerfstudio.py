"""Reads transforms.json of Blender, NeRF-synthetic and nerfstudio."""

from collections.abc import Mapping
from pathlib import Path

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.pictures import picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import frame_intrinsics, frame_picture, frame_pose, inside, read_document
from vader3d.data.writer import PreparedObject

WHOLE, SPLITS = "transforms.json", ("transforms_train.json", "transforms_val.json", "transforms_test.json")
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYES = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of transforms.json, or of transforms_train, _val, _test.json, joined in this order."""
    files = [folder / WHOLE] if (folder / WHOLE).exists() else [folder / split for split in SPLITS]
    documents = [read_document(path) for path in files if path.exists()]
    frames = [{**document, **frame} for document in documents for frame in document["frames"]]
    if not frames:
        raise ValueError(f"frames: wanted at least 1 in {files[0].name}; got none")
    views = (source_view(folder, frame) for frame in chosen_views(frames, reading.views))
    return assembled_object(name, folder, views, reading, aabb=documents[0].get("aabb"))


def source_view(folder: Path, frame: Mapping) -> SourceView:
    """A frame's fields are its own, else the document's."""
    picture = frame_picture(folder, frame)
    height, width = picture_size(picture)
    size = (float(frame.get("h", height)), float(frame.get("w", width)))
    return SourceView(
        picture,
        frame_pose(frame, picture.name),
        frame_intrinsics(frame, *size),
        size,
        mask=inside(folder, str(frame["mask_path"])) if frame.get("mask_path") else None,
        distortion=distortion_of(frame),
    )


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
    source="A folder with transforms.json (or transforms_train.json ...), or a folder of such folders.",
    markers=(WHOLE, *SPLITS),
    mask="auto",
    read_object=read_object,
)
