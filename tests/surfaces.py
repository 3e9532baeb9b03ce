"""What tests of mesh files ask: the colour of a place, the area of a surface."""

import numpy as np
from PIL import Image

from vader3d.data.making.raycast import albedo_of

RED, BLUE = (230, 30, 30), (30, 30, 230)


def colour_of(surface, at=(0.3, 0.2)):
    """Albedo in 0..255 of the first triangle at two barycentric shares."""
    corners = np.array([[1 - sum(at), *at]])[..., None]
    colour, solid = albedo_of(surface, np.array([0]), corners)
    return tuple(np.rint(255 * colour[0]).astype(int)) if solid[0] else None


def texture(path, colour=RED, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path, **options)


def area(surface):
    a, b, c = surface.triangles.swapaxes(0, 1)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
