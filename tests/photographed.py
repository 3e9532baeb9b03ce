"""Photographs with known truth: textured objects on a textured table, and evenly coloured ones before a wall."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import zoom
from tiny import Thing, pictures_of

from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import Surface
from vader3d.geometry.cameras import Cameras, look_at

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


@dataclass(frozen=True)
class Session:
    """Photographs RGB uint8 [V, H, W, 3], the object's true masks bool [V, H, W], and the cameras that took them."""

    photos: np.ndarray
    masks: np.ndarray
    cameras: Cameras


def noise_texture(rng: np.random.Generator, colour: tuple[float, ...], size: int = 256) -> np.ndarray:
    """Blotches of all sizes about a colour, RGBA uint8 [size, size, 4]."""
    total = np.zeros((size, size, 3))
    for cells in (8, 16, 32, 64, 128):
        total += zoom(rng.standard_normal((cells, cells, 3)), (size // cells, size // cells, 1), order=1)
    texture = np.array(colour) * 255 + 40 * total
    return np.concatenate([texture.clip(0, 255), np.full((size, size, 1), 255)], -1).astype(np.uint8)


def textured_surface(boxes: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Surface:
    """Boxes (centre [3], half [3], texture), every face under its own part of the texture."""
    triangles, uv, number = [], [], []
    for index, (centre, half, _) in enumerate(boxes):
        for face, quad in enumerate(QUADS):
            left, bottom = (face % 3) / 3, (face // 3) / 2
            places = np.array(
                [[left, bottom], [left + 1 / 3, bottom], [left + 1 / 3, bottom + 0.5], [left, bottom + 0.5]]
            )
            points = CORNERS[list(quad)] * half + centre
            for picked in ([0, 1, 2], [0, 2, 3]):
                triangles.append(points[picked])
                uv.append(places[picked])
                number.append(index)
    count = len(triangles)
    return Surface(
        np.array(triangles), np.ones((count, 3, 3)), np.array(uv), np.array(number), tuple(box[2] for box in boxes)
    )


def handheld_cameras(rng: np.random.Generator, views: int, height: int, width: int, *, focal: float) -> Cameras:
    """Cameras on a walk round the object in two circles, as hands hold them: not level, not quite aimed."""
    azimuths = np.linspace(0, 4 * np.pi, views, endpoint=False) + rng.normal(0, 0.05, views)
    elevations = np.deg2rad(np.where(np.arange(views) < views // 2, 28, 50) + rng.normal(0, 3, views))
    distances = 4.2 + rng.normal(0, 0.2, views)
    eyes = distances[:, None] * np.stack(
        [np.cos(elevations) * np.cos(azimuths), np.cos(elevations) * np.sin(azimuths), np.sin(elevations)], -1
    )
    targets = rng.normal(0, 0.08, (views, 3))
    ups = np.array([0, 0, 1.0]) + rng.normal(0, 0.04, (views, 3))
    matrices = look_at(*(torch.from_numpy(each) for each in (eyes, targets, ups)))
    lens = torch.tensor([focal, focal, width / 2, height / 2], dtype=torch.float64)
    return Cameras(matrices, lens.expand(views, 4), height, width)


def table_session(seed: int, *, views: int = 20, height: int = 288, width: int = 384) -> Session:
    """A few textured boxes on a textured table, by cameras that nobody is told."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(rng.integers(2, 5)):
        half = rng.uniform(0.15, 0.5, 3)
        centre = np.array([*rng.uniform(-0.35, 0.35, 2), half[2] - 0.6])
        parts.append((centre, half, noise_texture(rng, tuple(rng.uniform(0.2, 0.8, 3)))))
    table = (np.array([0, 0, -0.65]), np.array([5.0, 5.0, 0.05]), noise_texture(rng, (0.55, 0.45, 0.35), 512))
    cameras = handheld_cameras(rng, views, height, width, focal=1.15 * width)
    floats = Cameras(cameras.world_from_camera.float(), cameras.intrinsics.float(), height, width)
    whole = render_surface(textured_surface([*parts, table]), floats, rays_per_side=1)
    alone = render_surface(textured_surface(parts), floats, rays_per_side=1)
    noisy = whole[..., :3] + rng.normal(0, 2.0, whole[..., :3].shape)
    return Session(noisy.clip(0, 255).astype(np.uint8), alone[..., 3] >= 128, cameras)


def wall_photo(picture: np.ndarray, rng: np.random.Generator, *, wall: tuple[int, ...] = (208, 207, 203)) -> np.ndarray:
    """An RGBA picture before a wall that darkens towards its corners, with noise, through JPEG: RGB uint8."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ground = np.array(wall) * (1 - 0.08 * (x * x + y * y) + 0.04 * x)[..., None]
    alpha = picture[..., 3:] / 255
    pixels = picture[..., :3] * alpha + ground * (1 - alpha) + rng.normal(0, 2.5, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(file, "JPEG", quality=88)
    return np.asarray(Image.open(file))


def wall_session(thing: Thing, cameras: Cameras, *, seed: int = 0, wall: tuple[int, ...] = (208, 207, 203)) -> Session:
    """A thing of `tiny.py` before a wall."""
    pictures, rng = pictures_of(thing, cameras), np.random.default_rng(seed)
    photos = np.stack([wall_photo(picture, rng, wall=wall) for picture in pictures])
    return Session(photos, pictures[..., 3] >= 128, cameras)


def write_photos(folder: Path, session: Session, *, masks: bool = True) -> Path:
    """JPEGs of a session, with mask files beside them or none."""
    (folder / "images").mkdir(parents=True)
    for number, photo in enumerate(session.photos):
        Image.fromarray(photo).save(folder / "images" / f"IMG_{number:04d}.JPG", quality=93)
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(session.masks[number]).save(folder / "masks" / f"IMG_{number:04d}.png")
    return folder


def write_posed_photos(folder: Path, session: Session) -> Path:
    """Photographs with the cameras that took them, as nerfstudio has them, and no masks."""
    write_photos(folder, session, masks=False)
    cameras = session.cameras
    fx, fy, cx, cy = cameras.intrinsics[0].tolist()
    lens = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": cameras.width, "h": cameras.height}
    frames = [
        {"file_path": f"images/IMG_{n:04d}.JPG", "transform_matrix": (m @ np.diag([1.0, -1, -1, 1])).tolist()}
        for n, m in enumerate(cameras.world_from_camera.double().numpy())
    ]
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


def rotation_errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Degrees [V] between rotations of poses [V, 4, 4], once one turn of the world has brought them together."""
    products = true[:, :3, :3] @ found[:, :3, :3].swapaxes(1, 2)
    u, _, v = np.linalg.svd(products.mean(0))
    turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    cosines = (np.trace(true[:, :3, :3].swapaxes(1, 2) @ turn @ found[:, :3, :3], axis1=1, axis2=2) - 1) / 2
    return np.rad2deg(np.arccos(cosines.clip(-1, 1)))
