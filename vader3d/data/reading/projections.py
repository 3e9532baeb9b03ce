"""Reads cameras.npz beside pictures: DTU as IDR and NeuS have it, NMR."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES, picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import declared_size
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import reading as parsing
from vader3d.untrusted import zip_member

DOCUMENTS = ("cameras_sphere.npz", "cameras.npz")
MEMBER_BYTES = 4096
SPHERE = [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of image/000000.png, mask/ and cameras.npz with a world_mat of each picture.

    Beside `camera_mat`, the lens in halves of the picture (NMR), it is world to camera; else a projection to pixels,
    and `scale_mat` says which sphere of the world is the object: it fills the cube.
    """
    path = next(folder / document for document in DOCUMENTS if (folder / document).is_file())
    places = (folder / place for place in ("image", "images"))
    pictures = next((found for place in places if (found := pictures_in(place))), [])
    if not pictures:
        raise ValueError(f"pictures: wanted them in {folder.name}/image; got none")
    with parsing(path, "world_mat_0 and so on"), zipfile.ZipFile(path) as opened:
        chosen = chosen_views(numbered(pictures, opened), reading.views)
        views = each_view(lambda pair: source_view(pair[1], matrices_of(opened, pair[0]), reading), chosen)
        sphere = "scale_mat_0.npy" in opened.NameToInfo and "camera_mat_0.npy" not in opened.NameToInfo
    return assembled_object(name, folder, views, reading, aabb=SPHERE if sphere else None)


def numbered(pictures: Sequence[Path], opened: zipfile.ZipFile) -> list[tuple[int, Path]]:
    """Pictures with their matrices' numbers: their places, where as many are there, else those in their names."""
    matrices = {name for name in opened.NameToInfo if name.startswith("world_mat_") and "inv" not in name}
    if len(matrices) == len(pictures):
        return list(enumerate(pictures))
    found = [(int(path.stem), path) for path in pictures if path.stem.isdigit()]
    if (
        len(found) < len(pictures)
        or min(found)[0] > 0
        or any(f"world_mat_{number}.npy" not in matrices for number, _ in found)
    ):
        raise ValueError(f"pictures: wanted {len(matrices)}, one a world_mat; got {len(pictures)}")
    return found


def pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in PICTURE_SUFFIXES)


def matrices_of(opened: zipfile.ZipFile, number: int) -> dict[str, np.ndarray]:
    """The [4, 4] matrices of one picture by their kind."""
    found = {}
    for kind in ("world_mat", "scale_mat", "camera_mat"):
        name = f"{kind}_{number}.npy"
        if kind == "world_mat" or name in opened.NameToInfo:
            data = zip_member(opened, name, most=MEMBER_BYTES)
            matrix = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64)
            if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
                raise ValueError(f"{kind}: wanted 4 x 4 finite numbers; got {matrix.shape} for picture {number}")
            found[kind] = np.concatenate([matrix[:3], [[0, 0, 0, 1.0]]])
    return found


def source_view(picture: Path, matrices: Mapping[str, np.ndarray], reading: Reading) -> SourceView:
    if "camera_mat" in matrices:
        size: tuple[float, float] = picture_size(picture)
        note = ""
        half = np.array(size[::-1]) / 2
        lens = np.concatenate([np.abs(np.diag(matrices["camera_mat"])[:2]) * half, half])
        matrix = np.linalg.inv(matrices["world_mat"])
    else:
        matrix, lens = decomposed((matrices["world_mat"] @ matrices.get("scale_mat", np.eye(4)))[:3])
        size, note, _ = declared_size({"cx": lens[2], "cy": lens[3]}, picture)
    matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
    return SourceView(picture, matrix, lens, size, given_mask(picture) or numbered_mask(picture), note=note)


def decomposed(projection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """world_from_camera [4, 4] and (fx, fy, cx, cy) of a projection [3, 4]; the scale of its world goes."""
    from scipy.linalg import rq

    lens, rotation = rq(projection[:, :3])
    signs = np.sign(np.diag(lens))
    lens, rotation = lens * signs, signs[:, None] * rotation
    if np.linalg.det(rotation) < 0:  # a projection's sign means nothing
        rotation = -rotation
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.T, -np.linalg.solve(projection[:, :3], projection[:, 3])
    lens = lens / lens[2, 2]
    return matrix, lens[[0, 1, 0, 1], [0, 1, 2, 2]]


def numbered_mask(picture: Path) -> Path | None:
    """mask/000.png of image/000000.png: numbers of other lengths."""
    number = picture.stem.lstrip("0") or "0"
    masks = [path for path in pictures_in(picture.parent.parent / "mask") if (path.stem.lstrip("0") or "0") == number]
    return masks[0] if masks else None


PROJECTIONS = Reader(
    name="dtu",
    what="DTU as IDR and NeuS lay it out, and pixelNeRF's NMR: image/, mask/ and cameras_sphere.npz or cameras.npz.",
    source="A folder of scans, each with image/ and cameras.npz, or one of them.",
    markers=DOCUMENTS,
    mask="auto",
    read_object=read_object,
)
