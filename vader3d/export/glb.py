"""Coloured triangles as one binary glTF 2.0 file.

glTF's world is y-up and its COLOR_0 is linear; ours is z-up and sRGB. Both are converted here, and only here.
"""

import json
import struct

import numpy as np

from vader3d.colour import linear_from_srgb

FLOAT, UINT16, UINT32 = 5126, 5123, 5125  # glTF component types
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
GLTF_FROM_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y)


def glb_bytes(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, colours: np.ndarray) -> bytes:
    """Vertices and unit normals [P, 3] (world axes, z up), faces [F, 3], sRGB colours [P, 3] in [0, 1] -> a .glb file.

    Colours are stored linear in 16 bits, so that every 8-bit sRGB value comes back exact; the material is a matt
    dielectric (without one, glTF's default is metal and looks black).
    """
    positions = (vertices @ GLTF_FROM_WORLD.T).astype("<f4")
    linear = np.round(linear_from_srgb(colours) * 65535)
    arrays = [
        (positions, FLOAT, "VEC3", VERTEX_BUFFER, {}),
        ((normals @ GLTF_FROM_WORLD.T).astype("<f4"), FLOAT, "VEC3", VERTEX_BUFFER, {}),
        (
            np.pad(linear, ((0, 0), (0, 1)), constant_values=65535).astype("<u2"),
            UINT16,
            "VEC4",
            VERTEX_BUFFER,
            {"normalized": True},
        ),
        (faces.astype("<u4").reshape(-1), UINT32, "SCALAR", INDEX_BUFFER, {}),
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
        offset += array.nbytes  # every element is a multiple of 4 bytes, as glTF's alignment wants
    material = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}, "doubleSided": True}
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document = {
        "asset": {"version": "2.0", "generator": "vader3d"},
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
    chunks = struct.pack("<I4s", len(header), b"JSON") + header + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
