"""How well objects are told from a wall in photographs whose true masks are known.

    PYTHONPATH=tests python benchmarks/wall_masks.py [--views 18] [--sheet FILE]

Eight objects (chairs, tables, mugs, lamps; pale ones among them) in pictures of eight sizes, grainy, before a wall that
darkens towards its corners, through JPEG: plain, with a strong vignette, and with a soft shadow. Mean and least
intersection over union of each object's masks, made as `prepare photos` makes them.
"""

import argparse

import numpy as np
import torch
import trimesh
from photographed import wall_photo
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import Surface
from vader3d.data.reading.background import without_background
from vader3d.geometry.cameras import Cameras, look_at

SIZES = [(240, 320), (256, 256), (320, 240), (300, 400), (225, 300), (288, 288), (240, 360), (300, 224)]
COLOURS = [
    [(0.35, 0.52, 0.68), (0.86, 0.68, 0.52)],
    [(0.3, 0.76, 0.67), (0.26, 0.45, 0.7)],
    [(0.91, 0.78, 0.2), (0.2, 0.62, 0.78)],
    [(0.56, 0.7, 0.58), (0.63, 0.63, 0.35)],
    [(0.32, 0.22, 0.7), (0.5, 0.3, 0.5)],
    [(0.87, 0.8, 0.82), (0.7, 0.6, 0.9)],
    [(0.88, 0.73, 0.56), (0.33, 0.08, 0.7)],
    [(0.69, 0.44, 0.8), (0.2, 0.6, 0.7)],
]


def box(size: tuple[float, ...], at: tuple[float, ...]) -> trimesh.Trimesh:
    return trimesh.creation.box(size).apply_translation(at)


def pillar(radius: float, height: float, at: tuple[float, ...]) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius, height, sections=48).apply_translation(at)


def parts_of(kind: int) -> list[tuple[trimesh.Trimesh, int]]:
    """Meshes, and which of an object's two colours each has."""
    if kind == 0:
        legs = [(box((0.1, 0.1, 0.6), (x, y, -0.5)), 0) for x in (-0.4, 0.4) for y in (-0.4, 0.4)]
        return [*legs, (box((0.9, 0.9, 0.1), (0, 0, -0.15)), 1), (box((0.9, 0.1, 0.9), (0, 0.4, 0.3)), 0)]
    if kind == 1:
        stand = [pillar(0.08, 0.8, (0, 0, 0)), pillar(0.4, 0.1, (0, 0, -0.4))]
        return [(box((1.4, 0.9, 0.1), (0, 0, 0.4)), 0), *((part, 1) for part in stand)]
    if kind == 2:
        handle = [box((0.14, 0.14, 0.6), (0.75, 0, 0)), *(box((0.3, 0.14, 0.12), (0.6, 0, z)) for z in (-0.25, 0.25))]
        return [(pillar(0.5, 1.1, (0, 0, 0)), 0), *((part, 1) for part in handle)]
    shade = trimesh.creation.revolve([[0, -0.1], [0.65, -0.1], [0.35, 0.6], [0, 0.6]], sections=48)
    return [(shade, 0), (pillar(0.06, 0.9, (0, 0, -0.3)), 1), (pillar(0.4, 0.1, (0, 0, -0.75)), 1)]


def surface_of(kind: int, colours: list[tuple[float, float, float]]) -> Surface:
    triangles = [mesh.triangles for mesh, _ in parts_of(kind)]
    painted = [np.tile(colours[which], (len(mesh.faces), 3, 1)) for mesh, which in parts_of(kind)]
    count = sum(map(len, triangles))
    corners, paint = np.concatenate(triangles), np.concatenate(painted)
    return Surface(corners, paint, np.zeros((count, 3, 2)), np.full(count, -1)).framed()


def cameras_of(views: int, height: int, width: int) -> Cameras:
    """Round the object, a little above it, the pictures' shorter side filled by two thirds."""
    turns = torch.arange(views) * 2 * np.pi / views
    eyes = 4 * torch.stack([turns.cos() * 0.9, turns.sin() * 0.9, torch.full_like(turns, 0.44)], -1)
    poses = look_at(eyes, torch.zeros(3), torch.tensor([0.0, 0, 1]))
    lens = torch.tensor([1.35 * min(height, width)] * 2 + [width / 2, height / 2]).expand(views, 4)
    return Cameras(poses, lens, height, width)


def photo_of(picture: np.ndarray, rng: np.random.Generator, how: str) -> np.ndarray:
    """A photograph of a rendered picture: grainy, before a wall."""
    height, width = picture.shape[:2]
    grainy = picture.astype(float)
    grainy[..., :3] *= 1 + rng.normal(0, 0.03, (height, width, 1))
    photo = wall_photo(grainy.clip(0, 255), rng).astype(float)
    if how == "vignette":
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        photo *= (1 - 0.18 * (x * x + y * y))[..., None]
    if how == "shadow":
        alpha = picture[..., 3] / 255
        soft = gaussian_filter(shift(alpha, (0.06 * height, 0.04 * width)), 0.03 * height)
        photo *= 1 - 0.25 * (soft * (1 - alpha))[..., None]
    return photo.clip(0, 255).round().astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=18)
    parser.add_argument("--sheet")
    options = parser.parse_args()
    rows = []
    for how in ("plain", "vignette", "shadow"):
        rng, means, leasts, shown = np.random.default_rng(0), [], [], []
        for number, (size, colours) in enumerate(zip(SIZES, COLOURS, strict=True)):
            scores = []
            for picture in render_surface(surface_of(number % 4, colours), cameras_of(options.views, *size)):
                photo, true = photo_of(picture, rng, how), picture[..., 3] >= 128
                try:
                    cut = without_background(photo, lossy=True)
                except ValueError as error:
                    print(f"{how} {number}: {error}")
                    cut = np.zeros_like(picture)
                found = cut[..., 3] >= 128
                scores.append((found & true).sum() / (found | true).sum())
            means.append(np.mean(scores))
            leasts.append(min(scores))
            shown.append(np.concatenate([photo, np.where(found[..., None], photo, (255, 0, 255))], 0)[:440, :220])
        print(how, "mean", " ".join(f"{score:.3f}" for score in means), f"all {np.mean(means):.3f}", flush=True)
        print(how, "least", " ".join(f"{score:.3f}" for score in leasts), flush=True)
        wide = [np.pad(each, ((0, 440 - len(each)), (0, 220 - each.shape[1]), (0, 0))) for each in shown]
        rows.append(np.concatenate(wide, 1))
    if options.sheet:
        Image.fromarray(np.concatenate(rows).astype(np.uint8)).save(options.sheet)


if __name__ == "__main__":
    main()
