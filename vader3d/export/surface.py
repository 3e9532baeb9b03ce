"""What meshes are wanted: how many faces, which colours, for whom."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from vader3d.config import Checked, ranged
from vader3d.export.mesh import SMOOTHING, on_cpu, outer_surface, with_vertex_colours
from vader3d.export.simplify import simplified
from vader3d.export.texture import textured
from vader3d.render.volume import Volume

if TYPE_CHECKING:
    from trimesh import Trimesh

Colour = Literal["vertex", "texture"]
FEWEST_FACES = 100


@dataclass(frozen=True)
class SurfaceConfig(Checked):
    """How a volume becomes a mesh. ValueError, naming the field, for values out of range."""

    faces: int = ranged(10_000, at_least=FEWEST_FACES, at_most=2_000_000)  # at most so many triangles
    colour: Colour = "texture"  # a picture over the surface, or a colour for each vertex (smaller, read everywhere)
    texture_size: int = ranged(512, at_least=16, at_most=8192)  # px a side, exactly
    lods: int = ranged(1, at_least=1, at_most=8)  # levels of detail, each with half the faces of the one before
    resolution: int = ranged(63, at_least=2, at_most=257)  # points a side that a coarser grid is refined to
    smoothing: int = ranged(SMOOTHING, at_least=0, at_most=100)  # Taubin's steps against the grid's steps
    smallest_part: float = ranged(0.002, at_least=0, at_most=1)  # of the faces; smaller parts are floaters
    one_shell: bool = False  # one connected part, for printers: thin joints are thickened, what stays apart is dropped

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.colour not in get_args(Colour):
            raise ValueError(f"colour: wanted one of {', '.join(get_args(Colour))}; got {self.colour!r}")


SURFACE_PRESETS = {
    "print": SurfaceConfig(faces=100_000, colour="vertex", resolution=125, one_shell=True),
    "mobile": SurfaceConfig(faces=3_000, texture_size=512),
    "game": SurfaceConfig(faces=8_000, texture_size=1024, lods=3),
    "high": SurfaceConfig(faces=50_000, texture_size=2048, resolution=125),
}


def surface_preset(name: str) -> SurfaceConfig:
    """A named SurfaceConfig. ValueError: there is none of the name."""
    if name not in SURFACE_PRESETS:
        raise ValueError(f"preset: wanted one of {', '.join(SURFACE_PRESETS)}; got {name!r}")
    return SURFACE_PRESETS[name]


def surface_for(preset: str | None, **chosen: Any) -> SurfaceConfig | None:
    """What was chosen, over the preset; None, plain meshes, where nothing was and the packages are not here."""
    asked = {name: value for name, value in chosen.items() if value is not None}
    there = all(map(find_spec, ("fast_simplification", "manifold3d", "xatlas")))
    if not (there or asked or preset):
        return None
    return replace(surface_preset(preset) if preset else SurfaceConfig(), **asked)


def surfaces_of(volume: Volume, config: SurfaceConfig) -> "list[Trimesh]":
    """One object's volume [1, 4 + K, D, H, W] as meshes, the finest first, `config.lods` of them.

    Closed, manifold, outward; axes and colours as those of `volume_to_mesh`. A textured one has PBR material and uv (v
    upwards), and its vertices doubled along seams. EmptyVolumeError: there is nothing to see; ImportError names the
    packages that `pip install 'vader3d[assets]'` brings.
    """
    volume = on_cpu(volume)
    shape = outer_surface(
        volume,
        smallest_part=config.smallest_part,
        resolution=config.resolution,
        smoothing=config.smoothing,
        one_shell=config.one_shell,
    )
    most = min(config.faces, len(shape.faces))
    shapes = [simplified(shape, max(FEWEST_FACES, most >> level)) for level in range(config.lods)]
    if config.colour == "texture":
        return [textured(each, volume, config.texture_size) for each in shapes]
    return [with_vertex_colours(each, volume) for each in shapes]


class Soundness(NamedTuple):
    """Whether a mesh can be printed: every edge between two faces, of one direction round, and how many parts."""

    watertight: bool
    shells: int
    faces: int

    def __str__(self) -> str:
        return f"watertight: {'yes' if self.watertight else 'no'}, shells: {self.shells}, faces: {self.faces}"


def soundness(mesh: "Trimesh") -> Soundness:
    """Of a mesh as readers see it that merge vertices in one place, such as those on a texture's seams."""
    import trimesh

    _, place = np.unique(np.float32(mesh.vertices), axis=0, return_inverse=True)
    merged = trimesh.Trimesh(np.zeros((place.max() + 1, 3)), place.reshape(-1)[mesh.faces], process=False)
    merged.vertices[place.reshape(-1)] = mesh.vertices
    closed = merged.is_watertight and merged.is_winding_consistent and merged.volume > 0
    return Soundness(bool(closed), int(merged.body_count), len(mesh.faces))
