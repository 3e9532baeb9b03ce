"""COLMAP's models: lenses, and where each picture was taken.

Text: cameras.txt, images.txt; binary: cameras.bin, images.bin, little-endian, as COLMAP 3 and 4 write them.
"""

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from vader3d.data.reading.lenses import LENSES
from vader3d.untrusted import read_bytes, reading, text_of

MODEL_IDS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
             "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE")  # fmt: skip
LARGEST_BYTES = 2**30  # of a file; images.bin has 24 bytes a point that was seen
LONGEST_NAME = 4096


class ColmapCamera(NamedTuple):
    """numbers: the parameters of the model, in COLMAP's order; size: (height, width) px."""

    model: str
    size: tuple[int, int]
    numbers: tuple[float, ...]


class ColmapImage(NamedTuple):
    """A picture's name, its lens, and world_from_camera [4, 4], OpenCV axes."""

    name: str
    camera: ColmapCamera
    world_from_camera: np.ndarray


def read_model(folder: Path) -> list[ColmapImage]:
    """The pictures of a model, by name. ValueError: neither kind of file is there, or one is damaged."""
    kind = next((kind for kind in ("bin", "txt") if (folder / f"cameras.{kind}").is_file()), None)
    if kind is None:
        raise ValueError(f"{folder}: wanted cameras.bin or cameras.txt; got neither")
    files = [folder / f"{what}.{kind}" for what in ("cameras", "images")]
    readers = (binary_cameras, binary_images) if kind == "bin" else (text_cameras, text_images)
    with reading(files[0], "a list of COLMAP's cameras"):
        cameras = dict(readers[0](read_bytes(files[0], most=LARGEST_BYTES)))
    with reading(files[1], "a list of COLMAP's images"):
        rows = list(readers[1](read_bytes(files[1], most=LARGEST_BYTES)))
        return sorted(
            (ColmapImage(name, cameras[key], pose(row)) for name, key, row in rows), key=lambda image: image.name
        )


def pose(numbers: Any) -> np.ndarray:
    """world_from_camera of `qw qx qy qz tx ty tz`, which are camera_from_world."""
    length = np.linalg.norm(numbers[:4])
    if not 0 < length < np.inf:
        raise ValueError("pose: wanted a quaternion; got one without a finite length")
    w, x, y, z = np.asarray(numbers[:4], np.float64) / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.T, -rotation.T @ np.asarray(numbers[4:7], np.float64)
    return matrix


def text_cameras(data: bytes) -> Iterator[tuple[int, ColmapCamera]]:
    for line in text_of(data).splitlines():
        if line.strip() and not line.startswith("#"):
            key, model, width, height, *numbers = line.split()
            yield int(key), ColmapCamera(model, (int(height), int(width)), tuple(map(float, numbers)))


def text_images(data: bytes) -> Iterator[tuple[str, int, list[float]]]:
    """A line with an image's pose, and one with the points it sees, which are numbers, may be none, and may lack."""
    follows = False  # a line of an image
    for line in text_of(data).splitlines():
        words = line.split(maxsplit=9)
        if line.startswith("#"):
            continue
        if follows and (len(words) < 10 or (len(line.split()) % 3 == 0 and is_number(line.split()[-1]))):
            follows = False
        elif words:
            _, *numbers, camera, name = words
            yield name.strip(), int(camera), [float(number) for number in numbers]
            follows = True


def is_number(word: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", word.lower()) is not None


def binary_cameras(data: bytes) -> Iterator[tuple[int, ColmapCamera]]:
    file = io.BytesIO(data)
    for _ in range(unpacked(file, "<Q")[0]):
        key, number, width, height = unpacked(file, "<iiQQ")
        model = MODEL_IDS[number] if 0 <= number < len(MODEL_IDS) else f"number {number}"
        if model not in LENSES:
            raise ValueError(f"camera model: wanted one of {', '.join(LENSES)}; got {model}; undistort first")
        yield key, ColmapCamera(model, (height, width), unpacked(file, f"<{len(LENSES[model].split())}d"))


def binary_images(data: bytes) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    file = io.BytesIO(data)
    for _ in range(unpacked(file, "<Q")[0]):
        _, *numbers, camera = unpacked(file, "<i7di")
        start = file.tell()
        end = data.index(b"\0", start, start + LONGEST_NAME)
        file.seek(end + 1)
        (points,) = unpacked(file, "<Q")
        file.seek(24 * points, io.SEEK_CUR)
        yield data[start:end].decode(), camera, tuple(numbers)


def unpacked(file: IO[bytes], layout: str) -> tuple:
    """ValueError where the file ends before."""
    data = file.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise ValueError(f"file: wanted {layout!r}; got its end; copy it anew")
    return struct.unpack(layout, data)
