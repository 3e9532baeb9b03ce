"""A GLB of one square, written number by number."""

import io
import json
import struct

import numpy as np

from vader3d.data.making.surface import load_surface


class Glb:
    """A GLB of one square, written number by number."""

    def __init__(self):
        self.binary, self.more_buffers = b"", []
        self.json = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": [], "nodes": [{"mesh": 0}]}
        self.json |= {"scenes": [{"nodes": [0]}], "scene": 0, "images": [], "textures": [], "materials": []}
        points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
        uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
        self.attributes = {"POSITION": self.accessor(points, "VEC3"), "TEXCOORD_0": self.accessor(uv, "VEC2")}
        indices = self.accessor(np.array([0, 1, 2, 0, 2, 3], np.uint16), "SCALAR")
        self.primitive = {"attributes": self.attributes, "indices": indices}
        self.json["meshes"] = [{"primitives": [self.primitive]}]

    def view(self, data):
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data + bytes(-len(data) % 4)
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values, kind, **more):
        codes = {"u1": 5121, "u2": 5123, "f4": 5126, "i1": 5120, "i2": 5122}
        accessor = {"bufferView": self.view(values.tobytes()), "componentType": codes[values.dtype.str[1:]]}
        self.json["accessors"].append({**accessor, "count": len(values), "type": kind, **more})
        return len(self.json["accessors"]) - 1

    def picture(self, image):
        data = io.BytesIO()
        image.save(data, "PNG")
        self.json["images"].append({"bufferView": self.view(data.getvalue()), "mimeType": "image/png"})
        self.json["textures"].append({"source": len(self.json["images"]) - 1})
        return len(self.json["textures"]) - 1

    def material(self, **material):
        self.json["materials"].append(material)
        self.primitive["material"] = len(self.json["materials"]) - 1

    def textured(self, image, info=(), **material):
        base = {"index": self.picture(image), **dict(info)}
        self.material(pbrMetallicRoughness={"baseColorTexture": base}, **material)
        return self

    def load(self, tmp_path):
        document = json.dumps({**self.json, "buffers": [{"byteLength": len(self.binary)}, *self.more_buffers]}).encode()
        document += b" " * (-len(document) % 4)
        size = 28 + len(document) + len(self.binary)
        data = struct.pack("<4sIII4s", b"glTF", 2, size, len(document), b"JSON") + document
        (tmp_path / "m.glb").write_bytes(data + struct.pack("<I4s", len(self.binary), b"BIN\0") + self.binary)
        return load_surface(tmp_path / "m.glb", up="z")
