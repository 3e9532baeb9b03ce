"""A coloured triangle soup: a mesh file that is to be looked at."""

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vader3d.colour import srgb_from_linear
from vader3d.data.making import usd
from vader3d.data.making.gltf import parts_of_gltf
from vader3d.data.making.obj import parts_of_obj
from vader3d.data.making.off import parts_of_off
from vader3d.data.making.parts import Part, Parts, texels_of
from vader3d.data.making.ply import parts_of_ply
from vader3d.data.making.stl import parts_of_stl
from vader3d.data.making.threemf import parts_of_3mf
from vader3d.data.mesh_files import MESH_BYTES, Neighbours, check_mesh, is_text, load_scene, stl_bytes
from vader3d.untrusted import BOMS_16, read_bytes, reading, text_of

if TYPE_CHECKING:
    from trimesh import Scene, Trimesh

OBJECT_RADIUS = 0.98  # the farthest vertex; the cube's faces are at 1
Y_UP = frozenset({"obj", "glb", "gltf", "off"})
Z_UP_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
Z_UP_FROM = {"x": np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), "y": Z_UP_FROM_Y_UP, "z": np.eye(3)}


@dataclass(frozen=True)
class Surface:
    """F triangles: `triangles` [F, 3, 3] corners, `colours` [F, 3, 3] in [0, 1] at the corners, sRGB.

    Where `texture` [F] is not -1 the colour is that of `textures[texture]` (uint8 [H, W, 4]) at the corners' `uv`
    [F, 3, 2] (origin bottom left) times `colours`; texels of alpha below one half are holes.
    `notes`: what of the file could not be had, a line each.
    """

    triangles: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    textures: tuple[np.ndarray, ...] = ()
    notes: tuple[str, ...] = ()

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
    """Read any mesh file; z up. `up` is the file's own: y, z, or auto (y for obj, glb, gltf, off; dae and usd say)."""
    if up not in ("auto", "y", "z"):
        raise ValueError(f"up: wanted auto, y or z; got {up!r}")
    path = Path(path)
    kind = path.suffix[1:].lower()
    with reading(path, "a mesh"):
        if kind in usd.KINDS:
            found, own = usd.parts_of_usd(path)
            return surface_from_parts(found).transformed(Z_UP_FROM[own if up == "auto" else up])
        data = read_bytes(path, most=MESH_BYTES)
        if kind in ("glb", "gltf"):  # whichever it is called
            kind = "glb" if data[:4] == b"glTF" else "gltf"
        surface = surface_of(data, kind, path.stem, Neighbours(path).get)
        return surface.transformed(Z_UP_FROM[usual_up(data, kind) if up == "auto" else up])


def usual_up(data: bytes, kind: str) -> str:
    """The axis that is usual of a kind of file, or what a COLLADA says, where y is usual."""
    if kind == "dae":
        words = text_of(data) if data.startswith(BOMS_16) else data.decode("latin-1")
        said = re.search(r"<up_axis>\s*([XYZ])_UP", words)
        return "y" if said is None else said[1].lower()
    return "y" if kind in Y_UP else "z"


def surface_of(data: bytes, kind: str, stem: str, resolve: Callable[[str], bytes]) -> Surface:
    """The surface of a mesh file's bytes, as its axes are; `resolve` gives the files that it names."""
    if kind not in ("dae", "obj") and data.startswith((*BOMS_16, BOM_UTF8)):  # XML says its own, OBJ has others, too
        data = text_of(data).encode()
    check_mesh(data, kind)
    if kind == "stl" and not is_text(data, kind):
        data = data[: stl_bytes(data)]  # some have more behind
    elif kind == "stl":  # some have no end
        end = b"" if b"endsolid" in data.lower() else b"\nendsolid\n"
        data = data.replace(b"\r", b"\n").replace(b",", b".") + end
    if kind in ("glb", "gltf"):
        found = parts_of_gltf(data, kind, resolve)
    elif kind == "obj":
        found = parts_of_obj(data, stem, resolve)
    elif kind == "ply":
        found = parts_of_ply(data, resolve)
    elif kind == "off":
        found = parts_of_off(data)
    elif kind == "stl" and not is_text(data, kind):
        found = parts_of_stl(data)
    elif kind == "3mf":
        found = parts_of_3mf(data)
    else:
        resolve = Noted(resolve)
        surface = surface_from_scene(load_scene(data, kind, resolve), linear=kind != "dae")
        return replace(surface, notes=(*surface.notes, *resolve.notes))
    return surface_from_parts(found)


class Noted:
    """Gives files as `resolve` does, and notes those that are not there, of which trimesh says nothing."""

    def __init__(self, resolve: Callable[[str], bytes]):
        self.resolve, self.notes = resolve, list[str]()

    def __call__(self, name: str) -> bytes:
        try:
            return self.resolve(name)
        except FileNotFoundError:
            self.notes.append(f"textures left out: {name} is not there")
            raise


def surface_from_parts(found: Parts) -> Surface:
    """All parts in one; textures that parts share are kept once."""
    parts = [part for part in found.parts if len(part.triangles)]
    if not parts:
        raise ValueError("mesh: wanted a triangle; got none" + "".join(f"; {note}" for note in found.notes))
    textures: dict[int, tuple[int, np.ndarray]] = {}
    numbers = []
    for part in parts:
        number = -1
        if part.texels is not None:
            number = textures.setdefault(id(part.texels), (len(textures), part.texels))[0]
        numbers.append(np.full(len(part.triangles), number))
    triangles, colours, uv = (np.concatenate([part[place] for part in parts]) for place in range(3))
    texture = np.concatenate(numbers)
    sound = np.isfinite(triangles).all((1, 2))
    if not sound.any():
        raise ValueError("mesh: wanted a triangle of finite corners; got none")
    uv = np.where(np.isfinite(uv), uv, 0)
    texels = tuple(texels for _, texels in textures.values())
    return Surface(triangles[sound], colours[sound], uv[sound], texture[sound], texels, tuple(found.notes))


def surface_from_scene(scene: "Scene | Trimesh", *, linear: bool = True) -> Surface:
    """All meshes of a trimesh.Scene (or one trimesh.Trimesh) where they stand; ValueError if there is no triangle.

    linear: whether factors of PBR materials are linear light, as in GLB.
    """
    import trimesh

    meshes = [scene] if isinstance(scene, trimesh.Trimesh) else scene.dump()
    meshes = [mesh for mesh in meshes if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    if not meshes:
        raise ValueError("mesh: wanted a triangle; got none")
    known: dict[int, np.ndarray] = {}
    found = Parts([part_of(mesh, known, linear) for mesh in meshes])
    if found.parts[0].triangles.shape[1:] != (3, 3):
        raise ValueError(f"mesh: wanted triangles in space; got corners of {meshes[0].vertices.shape[-1]} numbers")
    return surface_from_parts(found)


def part_of(mesh: Any, known: dict[int, np.ndarray], linear: bool) -> Part:
    """One trimesh.Trimesh; pictures that were decoded before are in `known`."""
    faces = np.asarray(mesh.faces)
    colours, uv, texels = np.ones((len(faces), 3, 3)), np.zeros((len(faces), 3, 2)), None
    visual = mesh.visual
    if visual.kind == "texture":
        material = visual.material
        if hasattr(material, "to_simple"):
            image, factor = material.baseColorTexture, material.baseColorFactor
            if factor is not None:
                colours *= np.asarray(factor[:3]) / 255.0
                colours = srgb_from_linear(colours) if linear else colours
        else:
            image = material.image
            if image is None:
                colours *= np.asarray(material.diffuse[:3]) / 255.0
        if image is not None and visual.uv is not None and len(visual.uv) == len(mesh.vertices):
            uv = np.asarray(visual.uv, np.float64)[faces][..., :2]
            if id(image) not in known:
                known[id(image)] = texels_of(image)
            texels = known[id(image)]
    elif visual.kind == "face":
        colours = np.repeat(visual.face_colors[:, None, :3] / 255.0, 3, axis=1)
    elif visual.kind == "vertex":
        colours = visual.vertex_colors[faces][..., :3] / 255.0
    else:
        colours *= 0.7
    return Part(np.asarray(mesh.vertices, np.float64)[faces], colours, uv, texels)
