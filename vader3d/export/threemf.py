"""Triangles for printers, in millimetres: 3MF with colours, and STL."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from vader3d import __version__
from vader3d.export.triangles import Triangles

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
MATERIAL = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
OURS = "https://vader3d.invalid/3mf"  # a name, not an address: extra metadata must stand in a namespace
MODEL = "3D/3dmodel.model"
PROVENANCE = "vader3d:provenance"
TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>
</Types>
"""
RELATIONS = f"""<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Target="/{MODEL}" Id="model" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>
</Relationships>
"""


def threemf_bytes(triangles: Triangles, *, name: str, provenance: Mapping[str, Any]) -> bytes:
    """A .3mf of one object in millimetres; the same triangles give the same bytes. A texture becomes its colours."""
    welded = triangles.welded()
    palette, number = np.unique(welded.colours, axis=0, return_inverse=True)
    corners = np.concatenate([welded.faces, number.reshape(-1)[welded.faces]], 1)
    made_by = f'<metadata name="{PROVENANCE}">{escape(json.dumps(dict(provenance)))}</metadata>\n' if provenance else ""
    model = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<model unit="millimeter" xml:lang="en-US" xmlns="{CORE}" xmlns:m="{MATERIAL}" xmlns:vader3d="{OURS}">\n'
        f'<metadata name="Title">{escape(name)}</metadata>\n'
        f'<metadata name="Application">vader3d {__version__}</metadata>\n{made_by}<resources>\n<m:colorgroup id="1">',
        *('<m:color color="#{:02X}{:02X}{:02X}"/>'.format(*colour) for colour in palette.tolist()),
        f'</m:colorgroup>\n<object id="2" type="model" name={quoteattr(name)} pid="1" pindex="0"><mesh>\n<vertices>',
        *('<vertex x="{:.5f}" y="{:.5f}" z="{:.5f}"/>'.format(*vertex) for vertex in welded.vertices.tolist()),
        "</vertices>\n<triangles>",
        *(
            '<triangle v1="{}" v2="{}" v3="{}" pid="1" p1="{}" p2="{}" p3="{}"/>'.format(*face)
            for face in corners[proper(welded.faces)].tolist()
        ),
        '</triangles>\n</mesh></object>\n</resources>\n<build><item objectid="2"/></build>\n</model>\n',
    ]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as whole:
        members = (("[Content_Types].xml", TYPES), ("_rels/.rels", RELATIONS), (MODEL, "\n".join(model)))
        for member, text in members:
            info = zipfile.ZipInfo(member)  # 1980: the bytes depend on the contents alone
            info.compress_type = zipfile.ZIP_DEFLATED
            whole.writestr(info, text)
    return file.getvalue()


def stl_bytes(triangles: Triangles) -> bytes:
    """A binary .stl: the bare surface."""
    corners = triangles.vertices[triangles.faces].astype("<f4")
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows = np.zeros(len(corners), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")]))
    rows["normal"] = across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-30)
    rows["corners"] = corners
    head = f"vader3d {__version__}".encode()  # may not begin with "solid", by which text is known
    return head.ljust(80, b"\0") + len(corners).to_bytes(4, "little") + rows.tobytes()


def proper(faces: np.ndarray) -> np.ndarray:
    """Which faces [F, 3] have three corners of their own."""
    return (faces != np.roll(faces, 1, 1)).all(1)
