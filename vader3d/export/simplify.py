"""Meshes with fewer faces that stay closed and manifold."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trimesh import Trimesh

HASTE = 7  # how quickly the search for edges to collapse gives in, of 0 to 10
APART = 1e-3  # of the cube's half side: sheets that touch at a vertex are drawn so far into their own sides
CRUMB = 1e-3  # of the volume: smaller parts were pinched off by the collapses
INSTALL = "pip install 'vader3d[assets]'"


def simplified(mesh: "Trimesh", faces: int) -> "Trimesh":
    """A closed mesh with at most `faces` faces, without colours; the same one where it has no more.

    Edges are collapsed by quadric error, which keeps thin parts' volume (3,000 faces of generated furniture: within
    .5 % for chairs). That leaves folded pairs of faces, crumbs, closed bubbles and sheets that touch: the sheets are
    drawn apart, the rest is dropped, so that every edge has two faces also after a reader merges what stands in one
    place. ValueError: the mesh is not closed, or nothing is left of it; ImportError names what is to be installed.
    """
    import trimesh

    try:
        import fast_simplification
        import manifold3d
    except ImportError as error:
        raise ImportError(f"fast-simplification, manifold3d: wanted for fewer faces; got none; {INSTALL}") from error
    if len(mesh.faces) <= faces:
        return mesh
    vertices, triangles = fast_simplification.simplify(
        np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32), target_count=faces, agg=HASTE
    )
    solid = manifold3d.Manifold(manifold3d.Mesh(vertices, triangles.astype(np.uint32)))
    if solid.status() != manifold3d.Error.NoError or solid.num_tri() == 0:
        raise ValueError(f"mesh: wanted a closed one of more than {faces} faces; got {solid.status().name}")
    least = CRUMB * solid.volume()
    clean = manifold3d.Manifold.compose([part for part in solid.decompose() if part.volume() >= least]).to_mesh()
    made = trimesh.Trimesh(np.array(clean.vert_properties[:, :3], float), clean.tri_verts, process=False)
    made.vertices -= APART * touching(made.vertices)[:, None] * made.vertex_normals
    return made


def touching(vertices: np.ndarray) -> np.ndarray:
    """Which of the vertices [P, 3] stand where another one does."""
    _, place, count = np.unique(np.float32(vertices), axis=0, return_inverse=True, return_counts=True)
    return count[place.reshape(-1)] > 1
