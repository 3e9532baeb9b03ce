"""Objects that tests of formats write: an egg as volume, as coloured mesh, as textured mesh."""

import importlib.util

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from vader3d.assets import Asset
from vader3d.export.formats import FORMATS
from vader3d.render import RenderConfig, Volume

PROVENANCE = {"model": "ab" * 32, "seed": 3, "prompt": "Stuhl <&> 椅子\n", "guidance": None, "steps": [1, 2.5]}
EGG = np.array([0.25, 0.4, 0.7])  # half axes along x, y, z
MIDDLE = np.array([0.1, 0.2, 0.05])


def egg_volume(size: int = 24) -> Volume:
    """Solid inside the egg; red rises with x, green with y, blue with z."""
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    place = torch.stack([x, y, z])
    inside = 1 - ((place - torch.tensor(MIDDLE).view(3, 1, 1, 1)) / torch.tensor(EGG).view(3, 1, 1, 1)).norm(dim=0)
    return Volume(torch.cat([(place + 1) / 2, 40 * inside[None]])[None].float(), "softplus", 25.0)


def egg(name: str = "egg", size: int = 24) -> Asset:
    return Asset(egg_volume(size), RenderConfig(samples_per_ray=96), name, PROVENANCE)


def coloured_mesh() -> trimesh.Trimesh:
    """The egg, closed, each corner of a colour of its own."""
    made = trimesh.creation.icosphere(subdivisions=3)
    made.apply_scale(EGG)
    made.apply_translation(MIDDLE)
    colours = np.random.default_rng(0).integers(0, 256, (len(made.vertices), 3), dtype=np.uint8)
    made.visual = trimesh.visual.ColorVisuals(made, vertex_colors=colours)
    return made


def textured_mesh() -> trimesh.Trimesh:
    """The egg with a texture of all 256 values of each colour, cut along a seam, so that places have two vertices."""
    whole = coloured_mesh()
    corners = np.asarray(whole.vertices)[whole.faces].reshape(-1, 3)
    right = np.repeat(whole.triangles_center[:, 0] > MIDDLE[0], 3)
    unit = (corners - MIDDLE) / EGG
    uv = np.stack([0.25 + 0.24 * unit[:, 1] + 0.5 * right, 0.5 + 0.49 * unit[:, 2]], 1)
    keys, first, inverse = np.unique(
        np.concatenate([corners, right[:, None]], 1).round(9), axis=0, return_index=True, return_inverse=True
    )
    assert len(whole.vertices) < len(keys) < len(corners)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=all_values(), metallicFactor=0.0)
    visual = trimesh.visual.TextureVisuals(uv=uv[first], material=material)
    return trimesh.Trimesh(corners[first], inverse.reshape(-1, 3), visual=visual, process=False)


def all_values() -> Image.Image:
    """256 x 64 px: red rises along u, green falls, blue rises upwards."""
    ramp = np.broadcast_to(np.arange(256), (64, 256))
    return Image.fromarray(np.stack([ramp, 255 - ramp, ramp.T[:64, :1].repeat(256, 1) * 4], -1).astype(np.uint8))


def need(name: str) -> None:
    """Skips a test of a format whose package is not installed."""
    package = FORMATS[name].package
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
