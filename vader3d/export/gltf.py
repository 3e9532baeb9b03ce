"""Triangles and Gaussian splats as one binary glTF 2.0 file.

What is added is y-up already. COLOR_0 is linear, ours are sRGB. Textures are PNG, which every program reads.
"""

import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from vader3d import __version__
from vader3d.colour import linear_from_srgb
from vader3d.export.line import TAG
from vader3d.export.splats import Splats
from vader3d.export.triangles import Triangles, png_bytes

FLOAT, UINT8, UINT16, UINT32 = 5126, 5121, 5123, 5125  # glTF component types
SHAPES = {(1,): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
LINEAR, MIPMAPPED, CLAMP = 9729, 9987, 33071  # of a texture's sampler
POINTS = 0  # a primitive's mode
SHORT_VERTICES = 65535  # that 16-bit indices can name: the index 65535 itself means something else
SPLATS = "KHR_gaussian_splatting"


class Glb:
    """A document and its body, to which nodes are added one by one.

    The material is a matt dielectric (without one, glTF's default is metal and looks black).
    """

    def __init__(self, name: str = "object"):
        self.name = name
        self.body = bytearray()
        self.document: dict[str, Any] = {
            "scene": 0,
            "scenes": [{"nodes": []}],
            **{key: [] for key in ("nodes", "meshes", "materials", "accessors", "bufferViews")},
        }

    def add(self, key: str, value: dict) -> int:
        """Append to one of the document's lists; its number there."""
        self.document.setdefault(key, []).append(value)
        return len(self.document[key]) - 1

    def view(self, data: bytes, **more: int) -> int:
        """Bytes of the body, at a multiple of 4."""
        self.body += b"\0" * (-len(self.body) % 4)
        start = len(self.body)
        self.body += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data), **more})

    def accessor(self, array: np.ndarray, *, target: int | None = VERTEX_BUFFER, limits: bool = False) -> int:
        """Floats; bytes of uint8; or indices [F, 3], as short as the largest allows. target: None for no vertices'."""
        if target == INDEX_BUFFER:
            kind, component = ("<u2", UINT16) if array.max() < SHORT_VERTICES else ("<u4", UINT32)
            array = array.reshape(-1, 1)
        elif array.dtype == np.uint8:
            kind, component = "u1", UINT8
        else:
            kind, component = "<f4", FLOAT
        array = np.ascontiguousarray(array, kind)
        about: dict[str, Any] = {"min": array.min(0).tolist(), "max": array.max(0).tolist()} if limits else {}
        view = self.view(array.tobytes(), **({} if target is None else {"target": target}))
        shape = {"componentType": component, "count": len(array), "type": SHAPES[array.shape[1:]]}
        return self.add("accessors", {"bufferView": view, **shape, **about})

    def node(self, primitive: dict, name: str) -> int:
        mesh = self.add("meshes", {"name": name, "primitives": [primitive]})
        number = self.add("nodes", {"name": name, "mesh": mesh})
        self.document["scenes"][0]["nodes"].append(number)
        return number

    def add_triangles(self, triangles: Triangles, more: Mapping[str, int] = MappingProxyType({})) -> int:
        """A mesh with linear float colours, which every program reads alike, or with a PNG for its base colour.

        more: accessors of more attributes of its vertices. The number of its node.
        """
        attributes = {
            **more,
            "POSITION": self.accessor(triangles.vertices, limits=True),
            "NORMAL": self.accessor(triangles.normals),
        }
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
        if triangles.texture is None:
            attributes["COLOR_0"] = self.accessor(linear_from_srgb(triangles.colours / 255))
        else:
            assert triangles.uv is not None, "they come together"
            attributes["TEXCOORD_0"] = self.accessor(triangles.uv * [1, -1] + [0, 1])  # v downwards
            image = self.add("images", {"bufferView": self.view(png_bytes(triangles.texture)), "mimeType": "image/png"})
            wraps = {"magFilter": LINEAR, "minFilter": MIPMAPPED, "wrapS": CLAMP, "wrapT": CLAMP}
            texture = self.add("textures", {"source": image, "sampler": self.add("samplers", wraps)})
            surface["baseColorTexture"] = {"index": texture}
        indices = self.accessor(triangles.faces, target=INDEX_BUFFER)
        material = self.add("materials", {"pbrMetallicRoughness": surface, "doubleSided": True})
        return self.node({"attributes": attributes, "indices": indices, "material": material}, self.name)

    def add_splats(self, splats: Splats) -> None:
        """A node of KHR_gaussian_splatting; programs that do not know it show coloured points."""
        opaque = np.concatenate([linear_from_srgb(splats.colours), splats.opacities[:, None]], 1)
        attributes = {
            "POSITION": self.accessor(splats.positions, limits=True),
            "COLOR_0": self.accessor(opaque.clip(0, 1)),
            f"{SPLATS}:ROTATION": self.accessor(np.tile([0.0, 0, 0, 1], (len(splats.positions), 1))),
            f"{SPLATS}:SCALE": self.accessor(np.repeat(splats.scales[:, None], 3, 1)),
            f"{SPLATS}:OPACITY": self.accessor(splats.opacities[:, None]),
            f"{SPLATS}:SH_DEGREE_0_COEF_0": self.accessor(splats.harmonics),
        }
        how = {
            "kernel": "ellipse",
            "colorSpace": "srgb_rec709_display",
            "projection": "perspective",
            "sortingMethod": "cameraDistance",
        }
        self.document["extensionsUsed"] = [SPLATS]
        self.node({"attributes": attributes, "mode": POINTS, "extensions": {SPLATS: how}}, f"{self.name} splats")

    def bytes(self, provenance: Mapping[str, Any] | None = None, **extras: Any) -> bytes:
        """The file; `provenance`, plain values, and `extras` go into the asset's extras."""
        extras = ({TAG: dict(provenance)} if provenance else {}) | {name: it for name, it in extras.items() if it}
        asset = {"version": "2.0", "generator": f"vader3d {__version__}"} | ({"extras": extras} if extras else {})
        whole = {"asset": asset, **{key: value for key, value in self.document.items() if value != []}}
        whole["buffers"] = [{"byteLength": len(self.body)}]
        header = json.dumps(whole, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 4)
        body = bytes(self.body) + b"\0" * (-len(self.body) % 4)
        chunks = struct.pack("<I4s", len(header), b"JSON") + header + struct.pack("<I4s", len(body), b"BIN\0") + body
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
