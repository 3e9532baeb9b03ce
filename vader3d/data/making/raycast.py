"""Pictures of a coloured surface, by casting rays with Embree."""

from typing import Any

import numpy as np
import torch

from vader3d.data.making.surface import Surface
from vader3d.geometry.cameras import Cameras

LIGHT = np.array([0.45, -0.65, 0.61], np.float32)  # towards the light, unit length: high, in front, from the right
AMBIENT, SKY, DIRECT = 0.60, 0.12, 0.34  # even light, more of it from above, and one far lamp
LIFT = 0.12  # of black, so that black things are seen against black
HOLES = 6  # see-through texels that one ray may pass


def render_surface(surface: Surface, cameras: Cameras, *, rays_per_side: int = 4) -> np.ndarray:
    """Pictures uint8 [V, H, W, 4], straight alpha: the mean of `rays_per_side`^2 rays a pixel.

    The light stands still in the world and both sides of a triangle are lit alike, so a point looks the same from
    everywhere. Alpha is the share of rays that hit; colour is the mean over those.
    """
    scene = embree_scene(surface.triangles)
    normals = unit_normals(surface.triangles)
    corners = surface.triangles.reshape(-1, 3)
    box = np.stack([corners.min(0), corners.max(0)])
    side, (height, width) = rays_per_side, (cameras.height, cameras.width)
    pictures = np.zeros((len(cameras.intrinsics), height, width, 4), np.uint8)
    for view, picture in enumerate(pictures):
        left, right, top, bottom = covered_pixels(box, cameras[view])
        directions = pixel_directions(cameras[view], left, right, top, bottom, side)
        origin = cameras.centres[view].numpy().astype(np.float32)
        shaded = shade_rays(scene, surface, normals, np.tile(origin, (len(directions), 1)), directions)
        columns = shaded.reshape(-1, side, 4).sum(1)
        blocks = columns.reshape(bottom - top, side, right - left, 4).sum(1)
        alpha = blocks[..., 3:]
        colour = blocks[..., :3] / np.maximum(alpha, 1)
        picture[top:bottom, left:right] = np.rint(255 * np.concatenate([colour, alpha / side**2], -1))
    return pictures


def embree_scene(triangles: np.ndarray) -> Any:
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise ImportError("embreex: wanted for rendering meshes; got none; pip install 'vader3d[meshes]'") from error
    scene = EmbreeScene()
    TriangleMesh(scene, triangles.astype(np.float32))
    return scene


def unit_normals(triangles: np.ndarray) -> np.ndarray:
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)).astype(np.float32)


def covered_pixels(box: np.ndarray, camera: Cameras) -> tuple[int, int, int, int]:
    """The part of the picture that a box [2, 3] covers: left, right, top, bottom in whole pixels."""
    corners = torch.cartesian_prod(*torch.from_numpy(box).float().T)
    pixels, depth = camera.project(corners)
    if (depth <= 0).any():
        return 0, camera.width, 0, camera.height
    limit = np.array([camera.width, camera.height])
    first = np.clip(np.floor(pixels.amin(0).numpy()), 0, limit - 1).astype(int)
    last = np.clip(np.ceil(pixels.amax(0).numpy()), first + 1, limit).astype(int)
    return first[0], last[0], first[1], last[1]


def pixel_directions(camera: Cameras, left: int, right: int, top: int, bottom: int, side: int) -> np.ndarray:
    """float32 [R, 3] through a grid of `side` x `side` points in every pixel of a rectangle, row by row; depth 1."""
    fx, fy, cx, cy = camera.intrinsics.tolist()
    x = (left + (np.arange((right - left) * side) + 0.5) / side - cx) / fx
    y = (top + (np.arange((bottom - top) * side) + 0.5) / side - cy) / fy
    x, y = np.meshgrid(x, y)
    local = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
    return (local @ camera.world_from_camera[:3, :3].numpy().T).astype(np.float32)


def shade_rays(
    scene: Any, surface: Surface, normals: np.ndarray, origins: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Colour in [0, 1] and 0 or 1 for a hit, [R, 4], of rays [R, 3]; passes through texels that are holes."""
    shaded = np.zeros((len(origins), 4), np.float32)
    waiting = np.arange(len(origins))
    for _ in range(HOLES):
        hits = scene.run(origins, directions, query="INTERSECT", output=True)
        met = np.flatnonzero(hits["primID"] >= 0)
        faces, u, v, depth = (hits[key][met] for key in ("primID", "u", "v", "tfar"))
        waiting, origins, directions = waiting[met], origins[met], directions[met]
        colour, solid = albedo_of(surface, faces, np.stack([1 - u - v, u, v], -1)[..., None])
        light = light_on(normals[faces], directions)
        shaded[waiting, :3] = np.clip((LIFT + (1 - LIFT) * colour) * light[:, None], 0, 1) * solid[:, None]
        shaded[waiting, 3] = solid
        if solid.all():
            break
        waiting, directions = waiting[~solid], directions[~solid]
        origins = origins[~solid] + (depth[~solid, None] + 1e-4) * directions
    return shaded


def albedo_of(surface: Surface, faces: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def light_on(normals: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How brightly surfaces of these normals [R, 3] are lit, [R], on the side that the rays [R, 3] see."""
    facing = normals * -np.sign(np.einsum("rc,rc->r", normals, directions))[:, None]
    return AMBIENT + SKY * facing[:, 2] + DIRECT * np.maximum(facing @ LIGHT, 0)
