"""Coloured triangles as Wavefront OBJ with its MTL: y-up, sRGB."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vader3d.export.glb import Y_UP_FROM_WORLD


def obj_text(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    colours: np.ndarray,
    *,
    materials: str,
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """Vertices and unit normals [P, 3] (world axes, z up), faces [F, 3], sRGB colours [P, 3] in [0, 1] -> an .obj file.

    `materials` names the file beside it that holds `mtl_text`; `provenance`, plain values, opens it as a comment.
    """
    corners = np.concatenate([vertices @ Y_UP_FROM_WORLD.T, colours], 1)
    lines = [f"# vader3d {json.dumps(provenance)}"] if provenance else []
    lines += [f"mtllib {materials}", "o object"]
    lines += ["v {:.6f} {:.6f} {:.6f} {:.4f} {:.4f} {:.4f}".format(*corner) for corner in corners.tolist()]
    lines += ["vn {:.4f} {:.4f} {:.4f}".format(*normal) for normal in (normals @ Y_UP_FROM_WORLD.T).tolist()]
    lines += ["usemtl vertex_colours", "s 1"]
    lines += ["f {0}//{0} {1}//{1} {2}//{2}".format(*face) for face in (faces + 1).tolist()]
    return "\n".join(lines) + "\n"


def mtl_text(colours: np.ndarray) -> str:
    """A matt material of the mean of colours [P, 3], for readers that know no colours of vertices."""
    mean = "{:.4f} {:.4f} {:.4f}".format(*colours.mean(0))
    return f"newmtl vertex_colours\nKa 0 0 0\nKd {mean}\nKs 0 0 0\nNs 10\nd 1\nillum 1\n"
