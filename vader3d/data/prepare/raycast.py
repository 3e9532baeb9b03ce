"""Pictures of a coloured surface, by casting rays with Embree."""

import numpy as np

from vader3d.data.prepare.surface import Surface
from vader3d.geometry.cameras import Cameras

LIGHT = np.array([0.45, -0.65, 0.61])  # towards the light, unit length: high, in front, from the right
AMBIENT, SKY, DIRECT = 0.60, 0.12, 0.34  # even light, more of it from above, and one far lamp
LIFT = 0.08  # of black, so that black things are seen against black
HOLES = 6  # see-through texels that one ray may pass


def render_surface(surface: Surface, cameras: Cameras, *, rays_per_side: int = 4) -> np.ndarray:
    """Pictures uint8 [V, H, W, 4], straight alpha: the mean of `rays_per_side`^2 rays a pixel.

    The light stands still in the world and both sides of a triangle are lit alike, so a point looks the same from
    everywhere. Alpha is the share of rays that hit; colour is the mean over those.
    """
    scene = _embree_scene(surface.triangles)
    side = rays_per_side
    fine = cameras.resized(cameras.height * side, cameras.width * side)
    pictures = np.zeros((len(cameras.intrinsics), cameras.height, cameras.width, 4), np.uint8)
    for view in range(len(pictures)):
        rays = fine[view : view + 1][None].rays()
        origins, directions = (part[0].numpy() for part in rays)
        shaded = np.zeros((len(origins), 4), np.float32)
        near = _meets_box(surface.triangles, origins, directions)
        shaded[near] = _shade(scene, surface, origins[near], directions[near])
        blocks = shaded.reshape(cameras.height, side, cameras.width, side, 4).sum((1, 3))
        alpha = blocks[..., 3:]
        colour = blocks[..., :3] / np.maximum(alpha, 1)
        pictures[view] = np.rint(255 * np.concatenate([colour, alpha / side**2], -1))
    return pictures


def _embree_scene(triangles: np.ndarray):
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise ImportError("rendering meshes needs Embree: pip install 'vader3d[meshes]'") from error
    scene = EmbreeScene()
    TriangleMesh(scene, triangles.astype(np.float32))
    return scene


def _meets_box(triangles: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Which rays can hit at all: bool [R]."""
    low, high = triangles.min((0, 1)) - 1e-4, triangles.max((0, 1)) + 1e-4
    enter, leave = np.float32(0), np.float32(np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):
            inverse = 1 / directions[:, axis]
            first, second = ((bound[axis] - origins[:, axis]) * inverse for bound in (low, high))
            enter, leave = np.fmax(enter, np.fmin(first, second)), np.fmin(leave, np.fmax(first, second))
    return enter <= leave


def _shade(scene, surface: Surface, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Colour in [0, 1] and 0 or 1 for a hit, [R, 4], of rays [R, 3]; passes through texels that are holes."""
    shaded = np.zeros((len(origins), 4), np.float32)
    waiting, origins = np.arange(len(origins)), origins.astype(np.float32)
    for _ in range(HOLES):
        if not len(waiting):
            break
        hits = scene.run(origins, directions[waiting].astype(np.float32), query="INTERSECT", output=True)
        met = hits["primID"] >= 0
        faces, u, v, depth = (hits[key][met] for key in ("primID", "u", "v", "tfar"))
        waiting, origins = waiting[met], origins[met]
        corners = np.stack([1 - u - v, u, v], -1)[..., None]
        colour, solid = _albedo(surface, faces, corners)
        light = _light(surface.triangles[faces], directions[waiting])
        lit = np.clip((LIFT + (1 - LIFT) * colour) * light[:, None], 0, 1)
        shaded[waiting[solid]] = np.concatenate([lit, np.ones((len(lit), 1))], -1)[solid]
        waiting, depth = waiting[~solid], depth[~solid, None]
        origins = origins[~solid] + (depth + 1e-4) * directions[waiting].astype(np.float32)
    return shaded


def _albedo(surface: Surface, faces: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour [R, 3] and whether it is solid [R] at barycentric `corners` [R, 3, 1] of `faces` [R]."""
    colour, solid = (surface.colours[faces] * corners).sum(1), np.ones(len(faces), bool)
    uv = (surface.uv[faces] * corners).sum(1)
    for number in np.unique(surface.texture[faces]):
        if number < 0:
            continue
        texels, chosen = surface.textures[number], surface.texture[faces] == number
        height, width = texels.shape[:2]
        column = (uv[chosen, 0] % 1 * width).astype(int) % width
        row = ((1 - uv[chosen, 1]) % 1 * height).astype(int) % height
        picked = texels[row, column]
        colour[chosen] *= picked[:, :3] / 255.0
        solid[chosen] = picked[:, 3] >= 128
    return colour, solid


def _light(triangles: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How brightly the hit triangles [R, 3, 3] are lit, [R], on the side that the rays [R, 3] see."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    normals *= -np.sign((normals * directions).sum(1, keepdims=True))
    return AMBIENT + SKY * normals[:, 2] + DIRECT * np.maximum(normals @ LIGHT, 0)
