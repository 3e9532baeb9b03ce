"""How large a mesh file may be, told before it is parsed."""

import io
import re
import zipfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from vader3d.untrusted import parsed_json, read_bytes, zip_member

if TYPE_CHECKING:
    from trimesh import Scene, Trimesh

MESH_BYTES = 2**28
TEXT_MESH_BYTES = 2**26  # of formats in words, which take seconds and twenty times their size
FACES = 2**22  # of all instances together
GLTF_ELEMENTS = 2**26  # of all accessors together: they may name the same bytes again and again, or none
PLY_HEADER_BYTES = 2**16


def load_scene(data: bytes, kind: str, resolver: Any = None) -> "Scene":
    """A mesh file of trimesh's `kind`, not merged; ValueError for one beyond what may be parsed."""
    import trimesh

    check_mesh(data, kind)
    scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=resolver, process=False)
    shapes = (scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry)
    check_faces(sum(len(shape.faces) for shape in shapes if hasattr(shape, "faces")))
    return scene


def load_scene_file(path: Path) -> "Scene":
    """The same of a file, with its textures and materials from the same folder or below."""
    return load_scene(read_bytes(path, most=MESH_BYTES), path.suffix[1:].lower(), neighbours_of(path))


def mesh_of_ply(data: bytes) -> "Trimesh":
    """A PLY's one mesh, not merged; ValueError as `load_scene`."""
    import trimesh

    check_mesh(data, "ply")
    mesh = trimesh.load_mesh(io.BytesIO(data), file_type="ply", process=False)
    if not isinstance(mesh, trimesh.Trimesh):
        raise ValueError(f"mesh: wanted triangles; got a {type(mesh).__name__}")
    check_faces(len(mesh.faces))
    return mesh


def check_mesh(data: bytes, kind: str) -> None:
    """ValueError unless the bytes, and what they declare to hold, are within bounds."""
    most = TEXT_MESH_BYTES if is_text(data, kind) else MESH_BYTES
    if len(data) > most:
        raise ValueError(f"mesh: wanted at most {most} bytes of {kind}; got {len(data)}; save it as GLB or simplify it")
    if kind == "ply":
        declared = sum(int(count) for count in re.findall(rb"element\s+\S+\s+(\d{1,18})", ply_header(data)))
        if declared > len(data):
            raise ValueError(f"mesh: wanted {declared} elements, as its header says; got {len(data)} bytes")
    if kind in ("glb", "gltf"):
        document = parsed_json(gltf_json(data, kind))
        elements = sum(int(accessor["count"]) for accessor in document.get("accessors", []))
        if elements > GLTF_ELEMENTS:
            raise ValueError(f"mesh: wanted at most {GLTF_ELEMENTS} elements; got {elements}")
    if kind == "3mf":
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            sizes = [len(zip_member(opened, name, most=TEXT_MESH_BYTES)) for name in opened.namelist()]
        if sum(sizes) > TEXT_MESH_BYTES:
            raise ValueError(f"mesh: wanted at most {TEXT_MESH_BYTES} bytes unpacked; got {sum(sizes)}")
    if kind == "dae" and b"<!ENTITY" in data:
        raise ValueError("mesh: wanted plain XML; got entities, which may grow without end")


def check_faces(faces: int) -> None:
    """ValueError for more than a mesh may have."""
    if faces > FACES:
        raise ValueError(f"mesh: wanted at most {FACES} faces; got {faces}; simplify it")


def is_text(data: bytes, kind: str) -> bool:
    """Whether numbers are written out."""
    if kind == "ply":
        return b"format ascii" in ply_header(data)
    if kind == "stl":  # a binary one has the length that its header says
        return len(data) != 84 + 50 * int.from_bytes(data[80:84], "little")
    return kind != "glb"


def ply_header(data: bytes) -> bytes:
    return data[:PLY_HEADER_BYTES].partition(b"end_header")[0]


def gltf_json(data: bytes, kind: str) -> bytes:
    """The document of a .gltf, or the first chunk of a .glb."""
    return data if kind == "gltf" else data[20 : 20 + int.from_bytes(data[12:16], "little")]


def neighbours_of(path: Path) -> Any:
    """What trimesh asks for the files that a mesh names: none lies outside its folder."""
    from trimesh.resolvers import FilePathResolver

    class Neighbours(FilePathResolver):
        def get(self, name: str) -> bytes:
            folder = path.parent.resolve()
            for candidate in (name.strip(), PurePath(name.strip()).name):
                place = (folder / candidate).resolve()
                if place.is_relative_to(folder) and place.is_file():
                    return read_bytes(place, most=MESH_BYTES)
            raise FileNotFoundError(f"mesh: wanted {name!r} beside {path.name} or below; got no such file")

    return Neighbours(str(path))
