"""Coloured or textured triangles, as writers of mesh files take them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vader3d.export.mesh import EmptyVolumeError
from vader3d.export.placement import Placement

if TYPE_CHECKING:
    from PIL.Image import Image
    from trimesh import Trimesh


class Triangles(NamedTuple):
    """Vertices and unit normals [P, 3] in a file's axes and size, faces [F, 3], counter-clockwise from outside.

    colours: sRGB uint8 [P, 3]. With a texture (RGB, sRGB) come `uv` [P, 2], v upwards, and colours are those of the
    texture at the vertices.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    uv: np.ndarray | None = None
    texture: "Image | None" = None

    def welded(self) -> "Triangles":
        """Without the texture, and without vertices where others stand, such as those along its seams."""
        first, inverse = same_places(self.vertices)
        return Triangles(self.vertices[first], inverse[self.faces], self.normals[first], self.colours[first])


def triangles_of(mesh: "Trimesh", place: Placement) -> Triangles:
    """A mesh in the world, put where `place` says.

    Normals are smooth across the seams of a texture. EmptyVolumeError: it has no faces; ValueError: a texture without
    coordinates or picture, numbers that are not finite.
    """
    import trimesh

    if len(mesh.faces) == 0:
        raise EmptyVolumeError("mesh: wanted faces to write; got none")
    if not np.isfinite(mesh.vertices).all():
        raise ValueError("mesh: wanted finite vertices; got NaN or infinity")
    faces = np.asarray(mesh.faces)
    first, inverse = same_places(np.asarray(mesh.vertices))
    smooth = trimesh.Trimesh(mesh.vertices[first], inverse[faces], process=False).vertex_normals[inverse]
    lengths = np.linalg.norm(smooth, axis=1, keepdims=True)
    normals = np.where(lengths > 0.5, smooth, [0.0, 0.0, 1.0]) @ place.rotation.T  # a degenerate corner has none
    uv = texture = None
    if isinstance(mesh.visual, trimesh.visual.TextureVisuals):
        texture = getattr(mesh.visual.material, "baseColorTexture", None) or getattr(
            mesh.visual.material, "image", None
        )
        if texture is None or mesh.visual.uv is None or np.shape(mesh.visual.uv) != (len(mesh.vertices), 2):
            raise ValueError("mesh: wanted a texture with its picture and uv [P, 2]; got one without")
        texture, uv = texture.convert("RGB"), np.asarray(mesh.visual.uv)
        colours = trimesh.visual.color.uv_to_interpolated_color(uv, texture)[:, :3]
    else:
        colours = mesh.visual.vertex_colors[:, :3]  # type: ignore[union-attr]
    return Triangles(
        place.points(np.asarray(mesh.vertices)), faces, normals, np.asarray(colours, np.uint8), uv, texture
    )


def same_places(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of vertices [P, 3]: one of each place [Q], in order of their first ones, and which of them each is [P]."""
    _, first, inverse = np.unique(vertices.astype(np.float32), axis=0, return_index=True, return_inverse=True)
    order = first.argsort()
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


def png_bytes(texture: "Image") -> bytes:
    """A texture as PNG."""
    import io

    file = io.BytesIO()
    texture.save(file, "PNG", optimize=False, compress_level=6)
    return file.getvalue()
