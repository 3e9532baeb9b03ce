"""Coloured triangles as one binary glTF 2.0 file.

glTF's world is y-up and its COLOR_0 is linear; ours is z-up and sRGB. Both are converted here, and only here.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from vader3d import __version__
from vader3d.colour import linear_from_srgb

FLOAT, UINT16, UINT32 = 5126, 5123, 5125  # glTF component types
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
SHORT_VERTICES = 65535  # that 16-bit indices can name: the index 65535 itself means something else
Y_UP_FROM_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y)


def glb_bytes(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    colours: np.ndarray,
    provenance: Mapping[str, Any] | None = None,
) -> bytes:
    """Vertices and unit normals [P, 3] (world axes, z up), faces [F, 3], sRGB colours [P, 3] in [0, 1] -> a .glb file.

    Colours are linear floats, which every program reads alike; indices are as short as their number allows; the
    material is a matt dielectric (without one, glTF's default is metal and looks black). `provenance`, plain values,
    goes into the asset's extras.
    """
    positions = (vertices @ Y_UP_FROM_WORLD.T).astype("<f4")
    index, index_type = ("<u2", UINT16) if len(vertices) <= SHORT_VERTICES else ("<u4", UINT32)
    arrays: list[tuple[np.ndarray, int, str, int, dict]] = [
        (positions, FLOAT, "VEC3", VERTEX_BUFFER, {}),
        ((normals @ Y_UP_FROM_WORLD.T).astype("<f4"), FLOAT, "VEC3", VERTEX_BUFFER, {}),
        (linear_from_srgb(colours).astype("<f4"), FLOAT, "VEC3", VERTEX_BUFFER, {}),
        (faces.astype(index).reshape(-1), index_type, "SCALAR", INDEX_BUFFER, {}),
    ]
    arrays[0][4].update(min=positions.min(0).tolist(), max=positions.max(0).tolist())
    accessors: list[dict] = []
    views: list[dict] = []
    offset = 0
    for array, component, shape, target, more in arrays:
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target})
        accessors.append(
            {"bufferView": len(accessors), "componentType": component, "count": len(array), "type": shape, **more}
        )
        offset += array.nbytes  # a multiple of 4, as glTF's alignment wants, but for the indices, which are last
    material = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}, "doubleSided": True}
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document = {
        "asset": {"version": "2.0", "generator": f"vader3d {__version__}"}
        | ({"extras": {"vader3d": dict(provenance)}} if provenance else {}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    header = json.dumps(document, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    body = b"".join(array.tobytes() for array, *_ in arrays)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(header), b"JSON") + header + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
