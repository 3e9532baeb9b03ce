"""Reads glTF 2.0: nodes, skins, instances, colours in linear light."""

import base64
import importlib.util
import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np

from vader3d.colour import srgb_from_linear
from vader3d.data.making.gltf_materials import Look, Looks
from vader3d.data.making.parts import Part, Parts
from vader3d.data.mesh_files import MESH_BYTES, check_faces, gltf_json
from vader3d.untrusted import parsed_json, reading

TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
DRACO = "KHR_draco_mesh_compression"
VISIBILITY = "KHR_node_visibility"
PACKED = {DRACO: "Draco", "EXT_meshopt_compression": "meshopt", "KHR_meshopt_compression": "meshopt"}
READ = (  # extensions, beside materials' and lights', without which a file is shown wrongly
    *(DRACO, "KHR_mesh_quantization", "KHR_texture_transform", "KHR_texture_basisu", "KHR_animation_pointer"),
    *("EXT_mesh_gpu_instancing", VISIBILITY, "EXT_texture_webp", "EXT_texture_avif", "KHR_xmp_json_ld"),
)
TRIANGLES, STRIP, FAN = 4, 5, 6


def parts_of_gltf(data: bytes, kind: str, resolve: Callable[[str], bytes]) -> Parts:
    """The triangles of the default scene in their rest pose, y up; ValueError for what is packed in ways not known."""
    return Document(data, kind, resolve).parts()


class Document:
    """A parsed file; numbers are read as they are asked for."""

    def __init__(self, data: bytes, kind: str, resolve: Callable[[str], bytes]):
        self.json = parsed_json(gltf_json(data, kind))
        self.resolve = resolve
        version = str(self.json.get("asset", {}).get("version", "2.0"))
        if version.startswith("1") or (kind == "glb" and data[4:8] == b"\1\0\0\0"):
            raise ValueError("mesh: wanted glTF 2; got glTF 1; save it anew (Blender, gltf-pipeline)")
        for extension, name in PACKED.items():
            if extension in self.json.get("extensionsRequired", []) and not can_unpack(extension):
                advice = "pip install 'vader3d[meshes]', or " if extension == DRACO else ""
                raise ValueError(
                    f"mesh: wanted plain glTF; got one packed by {name} ({extension}); {advice}unpack it first "
                    "(gltf-transform copy IN.glb OUT.glb)"
                )
        start = 28 + int.from_bytes(data[12:16], "little")
        length = int.from_bytes(data[start - 8 : start - 4], "little")
        self.chunk = data[start : start + length] if kind == "glb" else b""
        self.buffers: dict[int, bytes] = {}
        self.unpacked: dict[int, np.ndarray] = {}  # accessors whose numbers Draco has
        self.found = Parts()
        self.looks = Looks(self.json, self.image_bytes, self.found)
        self.faces = 0
        for extension in self.json.get("extensionsRequired", []):
            if extension not in READ and not str(extension).startswith(("KHR_materials_", "KHR_lights_")):
                self.found.note(f"{extension}, which the file requires, is not read")

    def parts(self) -> Parts:
        worlds = self.world_matrices()
        for number, world in worlds.items():
            node = self.json["nodes"][number]
            if "mesh" not in node:
                continue
            mesh = self.json["meshes"][node["mesh"]]
            places = [world @ place for place in self.instances(node)]
            weights = node.get("weights", mesh.get("weights", []))
            for primitive in mesh["primitives"]:
                self.add(primitive, self.skin_of(node, worlds), weights, places)
        return self.found

    def add(self, primitive: dict, joints: np.ndarray | None, weights: list, places: list[np.ndarray]) -> None:
        """One primitive's triangles, once for each of `places`."""
        if packed := primitive.get("extensions", {}).get(DRACO):
            if not can_unpack(DRACO):
                return self.found.note("a part packed by Draco is left out; pip install 'vader3d[meshes]'")
            self.unpack(primitive, packed)
        attributes = primitive["attributes"]
        look = self.looks.of(material_of(primitive))
        if "POSITION" not in attributes or look.hidden:
            return None
        points = self.numbers(attributes["POSITION"]).astype(float)
        for weight, target in zip(weights, primitive.get("targets", []), strict=False):
            if "POSITION" in target:
                points = points + weight * self.numbers(target["POSITION"])
        if joints is not None and "JOINTS_0" in attributes:
            points, places = self.posed(points, attributes, joints), [np.eye(4)]
        faces = self.shown(self.faces_of(primitive, len(points)), attributes, look)
        self.faces += len(faces) * len(places)
        check_faces(self.faces)
        colours, uv = self.corners(attributes, look, faces, len(points))
        for place in places:
            corners = (points @ place[:3, :3].T + place[:3, 3])[faces]
            self.found.parts.append(Part(corners, colours, uv, look.texels))
        return None

    def shown(self, faces: np.ndarray, attributes: dict, look: Look) -> np.ndarray:
        """The faces [F, 3] that the alpha of points leaves, where the material is of a mode that it counts in."""
        if look.cutoff is None or "COLOR_0" not in attributes:
            return faces
        alpha = shares_of(self.numbers(attributes["COLOR_0"], plain=True))[:, 3:]
        return faces[(alpha[faces] >= look.cutoff).any((1, 2))] if alpha.size else faces

    def unpack(self, primitive: dict, packed: dict) -> None:
        """Decode a primitive's Draco, which has the numbers of its accessors."""
        import DracoPy

        view = self.json["bufferViews"][packed["bufferView"]]
        start = view.get("byteOffset", 0)
        with reading("mesh", f"a part packed by Draco ({DRACO})"):
            mesh = DracoPy.decode(self.buffer(view["buffer"])[start : start + view["byteLength"]])
        check_faces(len(mesh.faces))
        columns = {column["unique_id"]: column["data"] for column in mesh.attributes}
        for name, number in packed["attributes"].items():
            self.unpacked[primitive["attributes"][name]] = columns[number].reshape(len(mesh.points), -1)
        self.unpacked[primitive["indices"]] = np.asarray(mesh.faces, np.int64).reshape(-1, 1)

    def corners(self, attributes: dict, look: Look, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """sRGB colours [F, 3, 3] and uv [F, 3, 2] with v from below."""
        light = np.ones((count, 3))
        if "COLOR_0" in attributes:
            light = shares_of(self.numbers(attributes["COLOR_0"], plain=True))[:, :3]
        colours = srgb_from_linear(np.clip(light * look.factor, 0, 1))[faces]
        uv = np.zeros((count, 2))
        if look.texels is not None and f"TEXCOORD_{look.uv_set}" in attributes:
            uv = look.placed(self.numbers(attributes[f"TEXCOORD_{look.uv_set}"]).astype(float))
        uv = np.stack([uv[:, 0], 1 - uv[:, 1]], -1)
        return colours, uv[faces]

    def faces_of(self, primitive: dict, count: int) -> np.ndarray:
        """Corner numbers [F, 3]."""
        if "indices" in primitive:
            order = self.numbers(primitive["indices"])[:, 0].astype(np.int64)
        else:
            order = np.arange(count)
        mode = primitive.get("mode", TRIANGLES)
        if mode == TRIANGLES:
            return order[: len(order) // 3 * 3].reshape(-1, 3)
        if mode not in (STRIP, FAN) or len(order) < 3:
            return np.empty((0, 3), int)
        if mode == FAN:
            return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], -1)
        faces = np.stack([order[:-2], order[1:-1], order[2:]], -1)
        faces[1::2] = faces[1::2, ::-1]
        return faces

    def posed(self, points: np.ndarray, attributes: dict, joints: np.ndarray) -> np.ndarray:
        """Points [P, 3] where their joints' matrices [J, 4, 4] put them."""
        moved, total = np.zeros_like(points), np.zeros(len(points))
        whole = np.concatenate([points, np.ones((len(points), 1))], 1)
        sets = [number for number in range(4) if f"JOINTS_{number}" in attributes]
        for number in sets:
            chosen = self.numbers(attributes[f"JOINTS_{number}"], plain=True).astype(np.int64)
            shares = shares_of(self.numbers(attributes[f"WEIGHTS_{number}"], plain=True))
            for joint, share in zip(chosen.T, shares.T, strict=True):
                used = share > 0
                moved[used] += share[used, None] * np.einsum("pij,pj->pi", joints[joint[used]], whole[used])[:, :3]
                total += share
        return np.where(total[:, None] > 0, moved / np.maximum(total, 1e-9)[:, None], points)

    def skin_of(self, node: dict, worlds: dict[int, np.ndarray]) -> np.ndarray | None:
        """What a node's skin does to its points in the rest pose, a matrix a joint [J, 4, 4]."""
        if "skin" not in node:
            return None
        skin = self.json["skins"][node["skin"]]
        matrices = np.stack([worlds.get(joint, np.eye(4)) for joint in skin["joints"]])
        if "inverseBindMatrices" not in skin:
            return matrices
        return matrices @ self.numbers(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)

    def instances(self, node: dict) -> list[np.ndarray]:
        """Where a node's mesh stands in it: once, or as EXT_mesh_gpu_instancing says."""
        extension = node.get("extensions", {}).get("EXT_mesh_gpu_instancing")
        if extension is None:
            return [np.eye(4)]
        named = extension["attributes"]
        columns = {name.lower(): self.numbers(index) for name, index in named.items() if name[0] != "_"}
        count = max((len(column) for column in columns.values()), default=0)
        check_faces(count)
        return [matrix_of({name: column[row] for name, column in columns.items()}) for row in range(count)]

    def world_matrices(self) -> dict[int, np.ndarray]:
        """Of every node of the default scene, of all nodes where none has a mesh or there is no scene."""
        nodes, scenes = self.json.get("nodes", []), self.json.get("scenes", [])
        inner = {child for node in nodes for child in node.get("children", [])}
        roots = [number for number in range(len(nodes)) if number not in inner]
        number = self.json.get("scene", 0)
        chosen = scenes[number].get("nodes", []) if 0 <= number < len(scenes) else roots
        worlds = dict(self.walk(chosen))
        return worlds if any("mesh" in nodes[number] for number in worlds) else dict(self.walk(roots))

    def walk(self, roots: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        waiting, seen = [(number, np.eye(4)) for number in roots], set()
        while waiting:
            number, above = waiting.pop()
            if number in seen:
                raise ValueError(f"nodes: wanted a tree; got node {number} twice")
            seen.add(number)
            if not self.json["nodes"][number].get("extensions", {}).get(VISIBILITY, {}).get("visible", True):
                continue
            world = above @ matrix_of(self.json["nodes"][number])
            yield number, world
            waiting += [(child, world) for child in self.json["nodes"][number].get("children", [])]

    def numbers(self, index: int, *, plain: bool = False) -> np.ndarray:
        """An accessor [N, width]; numbers that it calls normalised in [-1, 1], unless `plain`."""
        accessor = self.json["accessors"][index]
        kind, width, count = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
        values = self.unpacked[index] if index in self.unpacked else np.zeros((count, width), kind)
        if "bufferView" in accessor and index not in self.unpacked:
            values = self.view(accessor["bufferView"], accessor.get("byteOffset", 0), kind, count, width)
        if sparse := accessor.get("sparse"):
            rows, new = sparse["indices"], sparse["values"]
            where = np.dtype(TYPES[rows["componentType"]])
            places = self.view(rows["bufferView"], rows.get("byteOffset", 0), where, sparse["count"], 1)[:, 0]
            values = values.copy()
            values[places] = self.view(new["bufferView"], new.get("byteOffset", 0), kind, sparse["count"], width)
        if accessor.get("normalized") and kind.kind in "iu" and not plain:
            return np.maximum(values / np.iinfo(kind).max, -1.0)
        return values

    def view(self, index: int, offset: int, kind: np.dtype, count: int, width: int) -> np.ndarray:
        view = self.json["bufferViews"][index]
        data = memoryview(self.buffer(view["buffer"]))[view.get("byteOffset", 0) :][: view["byteLength"]]
        stride = view.get("byteStride") or kind.itemsize * width
        if offset < 0 or stride < 0:
            raise ValueError(f"accessor: wanted offsets of at least 0; got {offset} and {stride}")
        return np.ndarray((count, width), kind, data, offset, (stride, kind.itemsize))

    def buffer(self, index: int) -> bytes:
        if index not in self.buffers:
            uri = self.json["buffers"][index].get("uri")
            if uri is None and (index > 0 or not self.chunk):
                raise ValueError(
                    f"mesh: wanted the bytes of buffer {index}; got none, as where meshopt packs them; unpack it first "
                    "(gltf-transform copy IN.glb OUT.glb)"
                )
            self.buffers[index] = self.chunk if uri is None else self.fetched(uri)
        return self.buffers[index]

    def fetched(self, uri: str) -> bytes:
        """The bytes that a URI has in it, or those of the file beside that it names."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2][: 2 * MESH_BYTES])
        try:
            return self.resolve(unquote(uri))
        except FileNotFoundError as error:
            raise ValueError(f"mesh: wanted {uri!r} beside it or below; got no such file; put it there") from error

    def image_bytes(self, image: dict) -> io.BytesIO:
        if "uri" in image:
            return io.BytesIO(self.fetched(image["uri"]))
        view = self.json["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        return io.BytesIO(self.buffer(view["buffer"])[start : start + view["byteLength"]])


def material_of(primitive: dict) -> int | None:
    """A primitive's material; where it has none but for variants, that of the first."""
    variants = primitive.get("extensions", {}).get("KHR_materials_variants", {}).get("mappings", [])
    return primitive.get("material", variants[0].get("material") if variants else None)


def can_unpack(extension: str) -> bool:
    """Whether the library that does is here; of meshopt none is known."""
    return extension == DRACO and importlib.util.find_spec("DracoPy") is not None


def shares_of(values: np.ndarray) -> np.ndarray:
    """Numbers of any type as shares of the most that it holds."""
    most = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1.0
    return np.asarray(values, float) / most


def matrix_of(node: dict[str, Any]) -> np.ndarray:
    """[4, 4] of a node's matrix (column by column), or of its translation, rotation (x, y, z, w) and scale."""
    if "matrix" in node:
        return np.reshape(np.asarray(node["matrix"], float), (4, 4)).T
    x, y, z, w = np.asarray(node.get("rotation", (0, 0, 0, 1)), float)
    length = max(x * x + y * y + z * z + w * w, 1e-12)
    turn = np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn / length * np.asarray(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = np.asarray(node.get("translation", (0, 0, 0)), float)
    return matrix
