"""A mesh's colours as a picture: unwrapped, and baked from its volume."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from vader3d.export.mesh import surface_colours, voxel_size
from vader3d.export.mesh_pictures import barycentric
from vader3d.export.simplify import INSTALL
from vader3d.render.volume import Volume

if TYPE_CHECKING:
    from trimesh import Trimesh

PIECE = 800  # faces that are cut into charts together: the time grows with the square of it, the seams with its inverse
PADDING = 6  # px between charts in the atlas as it is first packed, which is then scaled by .5 or more
REACH = (
    2.0  # px round a chart whose texels read the volume where the chart's plane goes on: more than bilinear readers do
)
TEXELS_AT_ONCE, CANDIDATES_AT_ONCE = 1 << 16, 1 << 21  # bound memory: some 40 MB each


def textured(mesh: "Trimesh", volume: Volume, size: int) -> "Trimesh":
    """The mesh with a texture of `size` x `size` px, for its base colour, in sRGB.

    Every texel has the colour that a ray sees which enters the volume there along the inward normal. Those round a
    chart go on as the chart does, so that no seam shows; all others repeat the nearest. Vertices on seams are doubled.
    ImportError names what is to be installed.
    """
    import trimesh
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    origin, faces, pixels = unwrapped(mesh, size)
    face, shares = texels(pixels[faces], size)
    owned = face >= 0
    corners = origin[faces[face[owned]]]
    points = np.einsum("nc,ncd->nd", shares[owned], np.float32(mesh.vertices)[corners])
    inward = -np.einsum("nc,ncd->nd", shares[owned], np.float32(mesh.vertex_normals)[corners])
    inward *= voxel_size(volume) / np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-6)
    parts = zip(*(torch.from_numpy(each).split(TEXELS_AT_ONCE) for each in (points, inward)), strict=True)
    colours = torch.cat([surface_colours(volume, *part) for part in parts])
    picture = np.zeros((size, size, 3), np.uint8)
    picture[owned] = (colours * 255).round().to(torch.uint8).numpy()
    nearest = distance_transform_edt(~owned, return_distances=False, return_indices=True)
    material = trimesh.visual.material.PBRMaterial(
        name="surface",
        baseColorTexture=Image.fromarray(picture[tuple(nearest)]),
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=False,
    )
    visual = trimesh.visual.TextureVisuals(uv=pixels * [1, -1] / size + [0, 1], material=material)
    return trimesh.Trimesh(
        mesh.vertices[origin], faces, vertex_normals=mesh.vertex_normals[origin], visual=visual, process=False
    )


def unwrapped(mesh: "Trimesh", size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charts of a mesh in a square of `size` px -> which vertex each corner was [Q], faces [F, 3], pixels [Q, 2].

    Pixels are (right, down) from the upper left corner.
    """
    try:
        import xatlas
    except ImportError as error:
        raise ImportError(f"xatlas: wanted for textures; got none; {INSTALL}, or take colour=vertex") from error
    atlas, pieces = xatlas.Atlas(), []
    for piece in spatial_pieces(mesh.triangles_center, PIECE):
        used, faces = np.unique(mesh.faces[piece], return_inverse=True)
        atlas.add_mesh(np.float32(mesh.vertices[used]), faces.reshape(-1, 3).astype(np.uint32))
        pieces.append(used)
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1  # more take longer and cut hardly fewer charts
    pack.padding, pack.resolution, pack.bilinear, pack.create_image = PADDING, size, True, False
    atlas.generate(charts, pack)
    parts = [atlas[number] for number in range(len(pieces))]
    starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts)])
    origin = np.concatenate([used[vertices] for used, (vertices, _, _) in zip(pieces, parts, strict=True)])
    faces = np.concatenate([corners.astype(int) + start for start, (_, corners, _) in zip(starts, parts)])  # noqa: B905
    scale = size / max(atlas.width, atlas.height)
    pixels = np.concatenate([uv for _, _, uv in parts]) * [atlas.width * scale, atlas.height * scale]
    return origin, faces, pixels


def spatial_pieces(points: np.ndarray, most: int) -> list[np.ndarray]:
    """Numbers of points [P, 3] in groups of at most `most` that lie together, halved along their longest sides."""
    done, waiting = [], [np.arange(len(points))]
    while waiting:
        group = waiting.pop()
        if len(group) <= most:
            done.append(group)
            continue
        order = group[points[group, np.ptp(points[group], axis=0).argmax()].argsort(kind="stable")]
        waiting += [order[len(order) // 2 :], order[: len(order) // 2]]
    return done


def texels(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of triangles [F, 3, 2] in px: whose each texel's centre is [size, size], and its barycentric shares [.., 3].

    It is the nearest triangle's within `REACH`, beyond whose edges shares are negative; -1 where there is none.
    """
    corners = np.float32(corners)
    nearest = np.full(size * size, np.inf, np.float32)
    owner = np.full(size * size, -1)
    shares = np.zeros((size * size, 3), np.float32)
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]  # each opposite to its corner
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    heights = area[:, None] / np.maximum(np.linalg.norm(edges, axis=2), 1e-9)
    first = np.ceil(corners.min(1) - REACH - 0.5).clip(0, size - 1).astype(int)
    last = np.floor(corners.max(1) + REACH - 0.5).clip(0, size - 1).astype(int)
    columns, rows = np.maximum(last - first + 1, 0).T
    counts = np.where(area > 1e-9, columns * rows, 0)
    groups = np.cumsum(counts) // CANDIDATES_AT_ONCE
    for group in np.unique(groups):
        chosen = np.flatnonzero(groups == group)
        face = np.repeat(chosen, counts[chosen])
        place = np.arange(len(face)) - np.repeat(counts[chosen].cumsum() - counts[chosen], counts[chosen])
        pixel = first[face] + np.stack([place % columns[face], place // columns[face]], -1)
        share = barycentric(pixel + np.float32(0.5), corners[face])
        outside = -(share * heights[face]).min(1)  # px beyond the farthest edge
        spot = pixel[:, 1] * size + pixel[:, 0]
        better = (outside <= REACH) & (outside.clip(0) < nearest[spot])
        face, share, outside, spot = face[better], share[better], outside[better].clip(0), spot[better]
        order = (-outside).argsort(kind="stable")  # the last one that a texel is given to keeps it
        nearest[spot[order]], owner[spot[order]], shares[spot[order]] = outside[order], face[order], share[order]
    return owner.reshape(size, size), shares.reshape(size, size, 3)
