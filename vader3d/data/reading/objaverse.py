"""Reads renders of zero123 and Objaverse-XL: 000.png and 000.npy."""

from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.pictures import PICTURE_SUFFIXES, picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_bytes
from vader3d.untrusted import reading as parsing

FOV_DEGREES = 49.1  # Blender's camera of 35 mm, on 32 mm of film
POSE_BYTES = 4096


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of pictures NNN.png and camera_from_world NNN.npy [3, 4] with OpenCV's axes."""
    poses = [path for path in sorted(folder.glob("[!.]*.npy")) if picture_of(path) is not None]
    if not poses:
        raise ValueError("pictures: wanted 000.png beside 000.npy; got none")
    views = each_view(lambda path: source_view(path, reading), chosen_views(poses, reading.views))
    said = (
        "" if reading.fov else f"pictures taken as {FOV_DEGREES} degrees wide, which the files do not say; --fov tells"
    )
    return assembled_object(name, folder, views, reading, notes=[said])


def picture_of(pose: Path) -> Path | None:
    return next((each for suffix in PICTURE_SUFFIXES if (each := pose.with_suffix(suffix)).is_file()), None)


def source_view(pose: Path, reading: Reading) -> SourceView:
    picture = picture_of(pose)
    assert picture is not None
    matrix = read_pose(pose)
    matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
    height, width = picture_size(picture)
    focal = 0.5 * width / np.tan(np.deg2rad(reading.fov or FOV_DEGREES) / 2)
    return SourceView(picture, matrix, np.array([focal, focal, width / 2, height / 2]), (height, width))


def read_pose(path: Path) -> np.ndarray:
    """world_from_camera [4, 4]; ValueError for an array of another kind."""
    import io

    with parsing(path, "an array of 3 x 4 numbers"):
        matrix = np.load(io.BytesIO(read_bytes(path, most=POSE_BYTES)), allow_pickle=False).astype(np.float64)
        if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
            raise ValueError(f"pose: wanted 3 x 4 finite numbers; got {matrix.shape}")
        return np.linalg.inv(np.concatenate([matrix[:3], [[0, 0, 0, 1.0]]]))


OBJAVERSE = Reader(
    name="objaverse",
    what="Renders of zero123 and Objaverse-XL: 000.png, 000.npy (3 x 4, world to camera); --fov, else 49.1.",
    source="A folder of objects, each with NNN.png and NNN.npy.",
    markers=("000.npy",),
    mask="auto",
    read_object=read_object,
)
