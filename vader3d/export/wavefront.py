"""Triangles as Wavefront OBJ, its MTL and its PNG: sRGB."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vader3d.export.line import line_of
from vader3d.export.triangles import Triangles


def obj_text(triangles: Triangles, *, name: str, materials: str, provenance: Mapping[str, Any]) -> str:
    """An .obj whose vertices also have colours; `materials` names the file beside it that holds `mtl_text`."""
    corners = np.concatenate([triangles.vertices, triangles.colours / 255], 1)
    lines = [f"# {line_of(provenance)}"] if provenance else []
    lines += [f"mtllib {materials}", f"o {name}"]
    lines += ["v {:.6f} {:.6f} {:.6f} {:.4f} {:.4f} {:.4f}".format(*corner) for corner in corners.tolist()]
    if triangles.uv is not None:
        lines += ["vt {:.6f} {:.6f}".format(*place) for place in triangles.uv.tolist()]
    lines += ["vn {:.4f} {:.4f} {:.4f}".format(*normal) for normal in triangles.normals.tolist()]
    corner = "{0}//{0}" if triangles.uv is None else "{0}/{0}/{0}"
    face = f"f {corner} {corner.replace('0', '1')} {corner.replace('0', '2')}"
    lines += ["usemtl surface", "s 1", *(face.format(*each) for each in (triangles.faces + 1).tolist())]
    return "\n".join(lines) + "\n"


def mtl_text(triangles: Triangles, *, texture: str) -> str:
    """A matt material: the texture of this name, or the mean colour for readers that know none of vertices."""
    mean = "1 1 1" if triangles.texture else "{:.4f} {:.4f} {:.4f}".format(*(triangles.colours / 255).mean(0))
    picture = f"map_Kd {texture}\n" if triangles.texture else ""
    return f"newmtl surface\nKa 0 0 0\nKd {mean}\nKs 0 0 0\nNs 10\nd 1\nillum 1\n{picture}"
