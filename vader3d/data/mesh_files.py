"""How large a mesh file may be, told before it is parsed."""

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import unquote

from vader3d.untrusted import parsed_json, read_bytes, zip_member

if TYPE_CHECKING:
    from trimesh import Scene, Trimesh

MESH_BYTES = 2**28
TEXT_MESH_BYTES = 2**26  # of formats in words, which take seconds and twenty times their size
FACES = 2**22  # of all instances together
GLTF_ELEMENTS = 2**26  # of all accessors together: they may name the same bytes again and again, or none
PLY_HEADER_BYTES = 2**16
TEXTURES = frozenset({"images", "image", "textures", "texture", "materials", "material", "maps", "tex"})  # folders
MATERIALS = ".mtl"
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".dds", ".psd"})


def load_scene(data: bytes, kind: str, resolve: Callable[[str], bytes]) -> "Scene":
    """A mesh file of trimesh's `kind` that `check_mesh` let pass, not merged; ValueError for too many faces."""
    import trimesh

    trimesh.util.log.setLevel(logging.CRITICAL)  # it logs tracebacks of what it then reads in another way

    class Named(trimesh.resolvers.FilePathResolver):
        def get(self, name: str) -> bytes:
            return resolve(name)

    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=Named(""), process=False)
    except ImportError as error:
        raise ValueError(f"mesh: wanted what reads {kind}; got none; pip install 'vader3d[meshes]'") from error
    shapes = (scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry)
    check_faces(sum(len(shape.faces) for shape in shapes if hasattr(shape, "faces")))
    return scene


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
    if kind == "stl":  # a binary one has at least the length that its header says, whatever word it begins with
        words = data[:1024].lower()
        return stl_bytes(data) != len(data) and words.lstrip().startswith(b"solid") and b"facet" in words
    return kind != "glb"


def stl_bytes(data: bytes) -> int:
    """The length of a binary STL, as its header says."""
    return 84 + 50 * int.from_bytes(data[80:84], "little")


def ply_header(data: bytes) -> bytes:
    return data[:PLY_HEADER_BYTES].partition(b"end_header")[0]


def gltf_json(data: bytes, kind: str) -> bytes:
    """The document of a .gltf, or the first chunk of a .glb."""
    return data if kind == "gltf" else data[20 : 20 + int.from_bytes(data[12:16], "little")]


def folded(name: str) -> str:
    """A name in small letters, their marks parts of them: macOS writes them apart."""
    return normalize("NFC", name).lower()


class Neighbours:
    """The files that a mesh names: in its folder or below, or in a folder of textures beside or above that.

    Scanned objects and ShapeNet keep textures in sister folders; names come from Windows, with other case, with paths
    of other machines, of pictures that were saved anew in another format.
    """

    def __init__(self, mesh: Path):
        self.mesh, self.folder = mesh, mesh.parent.resolve()
        self.known: dict[str, Path] | None = None

    def get(self, name: str) -> bytes:
        """FileNotFoundError where there is none."""
        name = name.strip().strip('"').replace("\\", "/")
        place = self.place(name) or self.place(unquote(name))
        if place is None:
            raise FileNotFoundError(f"mesh: wanted {name!r} beside {self.mesh.name} or below; got no such file")
        return read_bytes(place, most=MESH_BYTES)

    def place(self, name: str) -> Path | None:
        named = (self.folder / name).resolve()
        if self.allowed(named) and named.is_file():
            return named
        if self.known is None:
            self.known = {}
            for path in self.listed():
                for key in (folded(path.name), f"{folded(path.stem)}." if path.suffix.lower() in PICTURES else ""):
                    self.known.setdefault(key, path)
        base = PurePath(name)
        if base.suffix.lower() == MATERIALS and folded(base.name) not in self.known:
            return self.only_library()
        stem = f"{folded(base.stem)}." if base.suffix.lower() in PICTURES else None
        return self.known.get(folded(base.name)) or (self.known.get(stem) if stem else None)

    def only_library(self) -> Path | None:
        """The one MTL of a folder with one OBJ, however it is called."""
        beside = [path for path in self.folder.iterdir() if path.suffix.lower() in (MATERIALS, ".obj")]
        libraries = [path for path in beside if path.suffix.lower() == MATERIALS]
        return libraries[0] if len(libraries) == 1 and len(beside) == 2 else None

    def allowed(self, place: Path) -> bool:
        above = self.folder.parent
        beside = place.relative_to(above).parts[0].lower() if place.is_relative_to(above) and place != above else ""
        return place.is_relative_to(self.folder) or (beside in TEXTURES and place.parent != above)

    def listed(self) -> Iterator[Path]:
        """Files beside the mesh, then those of folders of textures."""
        yield from sorted(path for path in self.folder.iterdir() if path.is_file())
        for near in (self.folder, self.folder.parent):
            for texture in sorted(path for path in near.iterdir() if path.name.lower() in TEXTURES):
                for pattern in ("*", "*/*"):
                    yield from sorted(path for path in texture.glob(pattern) if path.is_file())
