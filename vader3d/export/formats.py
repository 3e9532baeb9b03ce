"""All formats in one table: what writes each, and what that needs."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from vader3d.export.extras import EXTRAS, needed
from vader3d.export.gltf import Glb
from vader3d.export.line import line_of
from vader3d.export.placement import ExportConfig, placement
from vader3d.export.splats import Splats, ply_bytes, volume_to_splats
from vader3d.export.threemf import stl_bytes, threemf_bytes
from vader3d.export.triangles import Triangles, png_bytes, triangles_of
from vader3d.export.turntable import turntable_bytes
from vader3d.export.usdz import write_usdz
from vader3d.export.video import animated_png_bytes, depth_png_bytes, normals_png_bytes, write_mp4
from vader3d.export.wavefront import mtl_text, obj_text
from vader3d.files import write_bytes, write_whole
from vader3d.render.volume import Volume

if TYPE_CHECKING:
    from trimesh import Trimesh

VIEWS = 8  # of depth and normal pictures


class Exported(Protocol):
    """What is asked of an object: see `vader3d.assets.Asset`."""

    @property
    def volume(self) -> Volume: ...
    @property
    def name(self) -> str: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...
    def mesh(self) -> "Trimesh": ...
    def turntable(self, frames: int, *, size: int, elevation_degrees: float) -> Tensor: ...
    def geometry(self, frames: int, *, size: int, elevation_degrees: float) -> tuple[Tensor, Tensor, Tensor]: ...
    def save_volume(self, path: Path) -> None: ...


@dataclass
class Parts:
    """What a writer takes: the object, and its surface and splats as they stand in the file."""

    object: Exported
    config: ExportConfig
    triangles: Triangles | None = None
    splats: Splats | None = None

    @property
    def name(self) -> str:
        return " ".join(self.object.name.split()) or "object"

    @property
    def provenance(self) -> Mapping[str, Any]:
        return self.object.provenance

    @property
    def about(self) -> dict[str, Any]:
        """Plain values that say more of the file than what made the object."""
        return {"name": self.object.name, "size_cm": self.config.size_cm}

    def turning(self) -> dict[str, Any]:
        return {"size": self.config.picture_size, "elevation_degrees": self.config.elevation_degrees}

    def frames(self) -> np.ndarray:
        return self.object.turntable(self.config.frames, **self.turning()).numpy()


class Format(NamedTuple):
    """One way to write an object.

    write(path, parts) writes `path` whole or not at all. needs: of mesh, texture (taken where there is one), splats,
    turntable, pictures, volume. up: the axis that is up where the file leaves it open, or by its law. beside: ends of
    the files that may come with it. package: what must be installed (`extras.EXTRAS`), or "".
    """

    what: str
    needs: tuple[str, ...]
    write: Callable[[Path, Parts], None]
    up: str = ""
    open_up: bool = False
    millimetres: bool = False
    beside: tuple[str, ...] = ()
    package: str = ""

    @property
    def extra(self) -> str:
        """What to ask pip for: vader3d[extra]; "" where nothing more is needed."""
        return EXTRAS.get(self.package, "")


def write_glb(path: Path, parts: Parts) -> None:
    glb = Glb(parts.name)
    if parts.triangles is not None:
        glb.add_triangles(parts.triangles)
    if parts.splats is not None:
        glb.add_splats(parts.splats)
    write_bytes(path, glb.bytes(parts.provenance, **parts.about))


def write_obj(path: Path, parts: Parts) -> None:
    """Text, material and texture: none has its name before all are on the disk."""
    triangles = taken(parts.triangles)
    materials, texture = path.with_suffix(".mtl"), path.with_suffix(".texture.png")

    def picture() -> None:
        if triangles.texture is not None:
            write_bytes(texture, png_bytes(triangles.texture))

    def material() -> None:
        text = mtl_text(triangles, texture=texture.name)
        write_whole(materials, lambda temporary: temporary.write_bytes(text.encode()), before=picture)

    text = obj_text(triangles, name=parts.name, materials=materials.name, provenance=parts.provenance)
    write_whole(path, lambda temporary: temporary.write_bytes(text.encode()), before=material)


def write_ply(path: Path, parts: Parts) -> None:
    triangles = taken(parts.triangles)
    numbers = [(name, "<f4", "float") for name in ("x", "y", "z", "nx", "ny", "nz")]
    columns = [*numbers, *((name, "u1", "uchar") for name in ("red", "green", "blue"))]
    rows = np.zeros(len(triangles.vertices), np.dtype([(name, kind) for name, kind, _ in columns]))
    values = [*triangles.vertices.T, *triangles.normals.T, *triangles.colours.T]
    for (name, *_), column in zip(columns, values, strict=True):
        rows[name] = column
    corners = np.zeros(len(triangles.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    corners["count"], corners["corners"] = 3, triangles.faces
    head = ["ply", "format binary_little_endian 1.0", *comments(parts), f"element vertex {len(rows)}"]
    head += [f"property {kind} {name}" for name, _, kind in columns]
    head += [f"element face {len(corners)}", "property list uchar int vertex_indices", "end_header"]
    write_bytes(path, "\n".join(head).encode() + b"\n" + rows.tobytes() + corners.tobytes())


def write_splats(path: Path, parts: Parts) -> None:
    write_bytes(path, ply_bytes(taken(parts.splats), comments(parts)))


def comments(parts: Parts) -> list[str]:
    return [f"comment {line_of(parts.provenance)}"] if parts.provenance else []


def write_3mf(path: Path, parts: Parts) -> None:
    write_bytes(path, threemf_bytes(taken(parts.triangles), name=parts.name, provenance=parts.provenance))


def write_stl(path: Path, parts: Parts) -> None:
    write_bytes(path, stl_bytes(taken(parts.triangles)))


def write_phone(path: Path, parts: Parts) -> None:
    triangles, provenance = taken(parts.triangles), parts.provenance
    write_whole(path, lambda temporary: write_usdz(temporary, triangles, name=parts.name, provenance=provenance))


def write_turntable(path: Path, parts: Parts, *, encode: Callable[..., bytes]) -> None:
    how = {"frames_per_second": parts.config.frames_per_second, "provenance": parts.provenance}
    write_bytes(path, encode(parts.frames(), **how))


def write_video(path: Path, parts: Parts) -> None:
    frames, speed, provenance = parts.frames(), parts.config.frames_per_second, parts.provenance
    write_whole(path, lambda temporary: write_mp4(temporary, frames, frames_per_second=speed, provenance=provenance))


def write_depth(path: Path, parts: Parts) -> None:
    depth, _, opacity = parts.object.geometry(VIEWS, **parts.turning())
    write_bytes(path, depth_png_bytes(depth.numpy(), opacity.numpy(), provenance=parts.provenance))


def write_normals(path: Path, parts: Parts) -> None:
    _, normals, opacity = parts.object.geometry(VIEWS, **parts.turning())
    write_bytes(path, normals_png_bytes(normals.movedim(1, -1).numpy(), opacity.numpy(), provenance=parts.provenance))


def write_volume(path: Path, parts: Parts) -> None:
    parts.object.save_volume(path)


def taken(part: Any) -> Any:
    assert part is not None, "the table says that it is needed"
    return part


SURFACE = ("mesh", "texture")
FORMATS: dict[str, Format] = {
    "glb": Format("a mesh for nearly everything: engines, Blender, the web", SURFACE, write_glb, "y"),
    "obj": Format("a mesh for older programs, with .mtl", SURFACE, write_obj, "y", True, beside=("mtl", "texture.png")),
    "ply": Format("a mesh with vertex colours for scientific tools", ("mesh",), write_ply, "z", True),
    "stl": Format("a bare mesh for printers, in mm", ("mesh",), write_stl, "z", True, True),
    "3mf": Format("a coloured mesh for printers, in mm", ("mesh",), write_3mf, "z", True, True),
    "usdz": Format("a mesh for iPhones and USD", SURFACE, write_phone, "y", package="pxr"),
    "splats.ply": Format("Gaussian splats, the classic file of 3DGS viewers", ("splats",), write_splats, "-y", True),
    "splats.glb": Format("Gaussian splats, KHR_gaussian_splatting", ("splats",), write_glb, "y"),
    "both.glb": Format("mesh and splats as two nodes", (*SURFACE, "splats"), write_glb, "y"),
    "webp": Format(
        "an animated turntable with alpha", ("turntable",), partial(write_turntable, encode=turntable_bytes)
    ),
    "png": Format(
        "a lossless animated turntable with alpha", ("turntable",), partial(write_turntable, encode=animated_png_bytes)
    ),
    "mp4": Format("a turntable on white as video", ("turntable",), write_video, package="av"),
    "depth.png": Format("depth of eight views, 16 bits", ("pictures",), write_depth),
    "normals.png": Format("normals of eight views", ("pictures",), write_normals),
    "safetensors": Format("the volume itself", ("volume",), write_volume),
}


def format_of(path: Path) -> str:
    """The format that a file name's end asks for. ValueError names those that there are."""
    ends = [end for end in FORMATS if path.name.lower().endswith(f".{end}")]
    if not ends:
        given = path.suffix[1:] or "none"
        raise ValueError(f"formats: wanted a name that ends in {', '.join(FORMATS)}; got {given} of {path.name!r}")
    return max(ends, key=len)


def check_formats(formats: Sequence[str], given: object) -> None:
    """ValueError where there is none, or an unknown one; ImportError where one asks for a package that is not here."""
    unknown = [name for name in formats if name not in FORMATS]
    if not formats or unknown:
        near = difflib.get_close_matches(str(unknown[0]).lower(), FORMATS, n=1) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"formats: wanted one or more of {', '.join(FORMATS)}; got {given or 'none'}{hint}")
    for name in formats:
        if FORMATS[name].package:
            needed(FORMATS[name].package)


def file_names(name: str, formats: Sequence[str]) -> list[str]:
    """The files of an object in these formats, and those that may stand beside them."""
    return [f"{name}.{end}" for form in formats for end in (form, *FORMATS[form].beside)]


def save_object(thing: Exported, path: Path, config: ExportConfig, mesh: "Trimesh | None" = None) -> None:
    """Write an object as its file's name asks, whole or not at all; `mesh` takes the place of its own.

    ValueError: an unknown format, an empty object (EmptyVolumeError), a mesh without faces. ImportError: a package that
    is not here. OSError, which names the file, where it cannot be written; what was there before is intact.
    """
    name = format_of(path)
    check_formats([name], path.name)
    config = config.sized(str(thing.provenance.get("prompt") or ""))
    form, parts = FORMATS[name], Parts(thing, config)
    if {"mesh", "splats"} & {*form.needs}:
        splats = volume_to_splats(thing.volume) if "splats" in form.needs else None
        # all files of an object stand and measure alike, so its mesh says where
        measured = "mesh" in form.needs or config.size_cm is not None or config.pivot != "centre"
        surface = (mesh if mesh is not None else thing.mesh()) if measured else None
        bounds = np.array([[-1.0] * 3, [1.0] * 3])
        if surface is not None and len(surface.faces):
            bounds = np.asarray(surface.bounds)
        chosen = config if form.open_up else config.with_own_up()
        place = placement(bounds, chosen, up=form.up, millimetres=form.millimetres)
        if "mesh" in form.needs:
            assert surface is not None
            parts.triangles = triangles_of(surface, place)
        parts.splats = splats.placed(place) if splats is not None else None
    form.write(path, parts)


def table_text() -> str:
    """The table for people, one format a line."""
    width = max(map(len, FORMATS))
    lines = []
    for name, form in FORMATS.items():
        extra = f" (pip install 'vader3d[{form.extra}]')" if form.extra else ""
        lines.append(f"{name:{width}}  {form.what}{extra}")
    return "\n".join(lines)
