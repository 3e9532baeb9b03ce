"""GLB files, read by the letter of the specification."""

import json
import struct
from pathlib import Path

import numpy as np


def document_of(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    assert struct.unpack_from("<I4s", data, 20 + size)[1] == b"BIN\0"
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def array_of(document: dict, body: bytes, accessor: int) -> np.ndarray:
    about = document["accessors"][accessor]
    view = document["bufferViews"][about["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}[about["componentType"]]
    columns = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[about["type"]]
    assert view["byteOffset"] % 4 == 0
    start = view["byteOffset"]
    return np.frombuffer(body[start : start + view["byteLength"]], kind).reshape(about["count"], columns)
