"""A coloured triangle soup: a mesh file that is to be looked at."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vader3d.colour import srgb_from_linear
from vader3d.data.mesh_files import load_scene_file
from vader3d.data.reading.pictures import check_decodable
from vader3d.untrusted import reading

if TYPE_CHECKING:
    from PIL.Image import Image
    from trimesh import Scene, Trimesh

OBJECT_RADIUS = 0.98  # the farthest vertex; the cube's faces are at 1
TEXTURE_SIDE_PX = 512  # finer ones only alias in small pictures
Y_UP = frozenset({".obj", ".glb", ".gltf", ".dae", ".off"})
Z_UP_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True)
class Surface:
    """F triangles: `triangles` [F, 3, 3] corners, `colours` [F, 3, 3] in [0, 1] at the corners, sRGB.

    Where `texture` [F] is not -1 the colour is that of `textures[texture]` (uint8 [H, W, 4]) at the corners' `uv`
    [F, 3, 2] (origin bottom left) times `colours`; texels of alpha below one half are holes.
    """

    triangles: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    textures: tuple[np.ndarray, ...] = ()

    def transformed(self, matrix: np.ndarray) -> "Surface":
        """The surface under a linear map [3, 3]."""
        return replace(self, triangles=self.triangles @ matrix.T)

    def framed(self) -> "Surface":
        """Moved and scaled: bounding-box centre at the origin, farthest vertex at radius 0.98."""
        points = self.triangles.reshape(-1, 3)
        centred = self.triangles - (points.min(0) + points.max(0)) / 2
        radius = np.linalg.norm(centred, axis=-1).max()
        if not np.isfinite(radius) or radius <= 0:
            raise ValueError("mesh: wanted finite corners of some extent; got others")
        return replace(self, triangles=centred * (OBJECT_RADIUS / radius))


def load_surface(path: str | Path, *, up: str = "auto") -> Surface:
    """Read any mesh file that trimesh reads; z up. `up` is the file's own: y, z, or auto (y for obj, glb, gltf)."""
    if up not in ("auto", "y", "z"):
        raise ValueError(f"up: wanted auto, y or z; got {up!r}")
    path = Path(path)
    y_up = up == "y" or (up == "auto" and path.suffix.lower() in Y_UP)
    with reading(path, "a mesh"):
        surface = surface_from_scene(load_scene_file(path))
        return surface.transformed(Z_UP_FROM_Y_UP) if y_up else surface


def surface_from_scene(scene: "Scene | Trimesh") -> Surface:
    """All meshes of a trimesh.Scene (or one trimesh.Trimesh) where they stand; ValueError if there is no triangle."""
    import trimesh

    if isinstance(scene, trimesh.Scene):
        for mesh in scene.geometry.values():  # glTF's colours of vertices are kept here, where no copy takes them along
            mesh.vertex_attributes.update(getattr(mesh.visual, "vertex_attributes", {}))
    meshes = [scene] if isinstance(scene, trimesh.Trimesh) else scene.dump()
    meshes = [mesh for mesh in meshes if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    if not meshes:
        raise ValueError("mesh: wanted a triangle; got none")
    textures: list[np.ndarray] = []
    parts = [part_of(mesh, textures) for mesh in meshes]
    triangles, colours, uv, texture = (np.concatenate(column) for column in zip(*parts, strict=True))
    if triangles.shape[1:] != (3, 3):
        raise ValueError(f"mesh: wanted triangles in space; got corners of {triangles.shape[-1]} numbers")
    sound = np.isfinite(triangles).all((1, 2))
    if not sound.any():
        raise ValueError("mesh: wanted a triangle of finite corners; got none")
    uv = np.where(np.isfinite(uv), uv, 0)
    return Surface(triangles[sound], colours[sound], uv[sound], texture[sound], tuple(textures))


def part_of(mesh: Any, textures: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """One trimesh.Trimesh as (triangles, colours, uv, texture); its picture is appended to `textures`."""
    faces = np.asarray(mesh.faces)
    colours, uv, texture = np.ones((len(faces), 3, 3)), np.zeros((len(faces), 3, 2)), -1
    visual = mesh.visual
    if visual.kind == "texture":
        material, own = visual.material, mesh.vertex_attributes.get("color")
        if hasattr(material, "to_simple"):  # glTF: its factors are linear light
            image, factor = material.baseColorTexture, material.baseColorFactor
            light = colours if own is None else shares_of_full(own)[faces]
            if factor is not None:
                light = light * np.asarray(factor[:3]) / 255.0
            colours = srgb_from_linear(light)
        else:
            image = material.image
            if image is None and own is not None:
                colours = shares_of_full(own)[faces]
            elif image is None:
                colours *= np.asarray(material.diffuse[:3]) / 255.0
        if image is not None and visual.uv is not None and len(visual.uv) == len(mesh.vertices):
            uv, texture = np.asarray(visual.uv, np.float64)[faces][..., :2], len(textures)
            textures.append(texels_of(image))
    elif visual.kind == "face":
        colours = np.repeat(visual.face_colors[:, None, :3] / 255.0, 3, axis=1)
    elif visual.kind == "vertex":
        colours = visual.vertex_colors[faces][..., :3] / 255.0
    else:
        colours *= 0.7
    return np.asarray(mesh.vertices, np.float64)[faces], colours, uv, np.full(len(faces), texture)


def shares_of_full(colours: np.ndarray) -> np.ndarray:
    """RGB(A) of any number type [P, 3 or 4] -> RGB [P, 3] in [0, 1]."""
    most = np.iinfo(colours.dtype).max if np.issubdtype(colours.dtype, np.integer) else 1.0
    return np.asarray(colours[:, :3] / most, np.float64)


def texels_of(image: "Image") -> np.ndarray:
    check_decodable(image)
    image = image.convert("RGBA")
    image.thumbnail((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX))
    return np.asarray(image)
