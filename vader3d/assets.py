"""Generated objects: they render, become meshes, are saved and listed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vader3d.export.mesh import EmptyVolumeError, save_mesh, volume_to_mesh
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.export.surface import SurfaceConfig, surfaces_of
from vader3d.export.turntable import save_turntable, straight_alpha
from vader3d.files import checksum_of, write_text
from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.measures.pictures import foreground_psnr
from vader3d.render import RenderConfig, Volume, render_views
from vader3d.untrusted import read_json, reading

if TYPE_CHECKING:
    from trimesh import Trimesh

FORMATS = ("glb", "obj", "ply", "webp")
LIST = "generated.json"
ALIKE = 0.5  # a mesh whose silhouettes have a smaller IoU with its pictures is not what they show
LOOKS, COLOUR_LOOKS, LOOK_SIZE = 24, 8, 64  # pictures that silhouettes and colours are judged by, their size in px
POINTS_A_VOXEL = 4  # at which those rays read the volume, so that no thin leg slips between
GOLDEN_DEGREES = 137.508


class Likeness(NamedTuple):
    """How a mesh looks beside its volume: mean IoU of silhouettes in [0, 1], PSNR of the foreground in dB."""

    iou: float
    psnr: float

    def __str__(self) -> str:
        return f"silhouettes: IoU {self.iou:.3f} over {LOOKS} views, colours: {self.psnr:.1f} dB over {COLOUR_LOOKS}"


@dataclass(frozen=True)
class Asset:
    """One object: its volume [1, 4 + K, D, H, W] and how it is rendered.

    provenance: what made it, plain values; every file that is saved carries it.
    """

    volume: Volume
    settings: RenderConfig
    name: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def render(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Cameras [V] -> colour [V, 3, H, W] on black and opacity [V, 1, H, W], both in [0, 1], on the CPU."""
        colour, opacity = render_views(self.volume, cameras[None], self.settings, skip_empty=True)
        return colour[0].clamp(0, 1).cpu(), opacity[0].clamp(0, 1).cpu()

    def turntable(self, frames: int = 24, *, size: int = 128, elevation_degrees: float = 20.0) -> Tensor:
        """One turn round the object: RGBA uint8 [T, H, W, 4], straight alpha."""
        colour, opacity = self.render(turn(frames, size=size, elevation_degrees=elevation_degrees))
        return (straight_alpha(colour, opacity) * 255).round().to(torch.uint8).movedim(1, -1)

    def mesh(self, surface: SurfaceConfig | None = None) -> "Trimesh":
        """A coloured trimesh.Trimesh, z up: as `surface` says, or with all faces and vertex colours.

        ValueError where the volume is empty; ImportError names what is to be installed.
        """
        return self._mesh.copy() if surface is None else self.meshes(replace(surface, lods=1))[0]

    def meshes(self, surface: SurfaceConfig) -> "list[Trimesh]":
        """The levels of detail that `surface` wants, the finest first. Errors: as those of `mesh`."""
        return surfaces_of(self.volume, surface)

    @cached_property
    def _mesh(self) -> "Trimesh":
        return volume_to_mesh(self.volume)

    def mesh_turntable(self, frames: int = 24, *, size: int = 128, elevation_degrees: float = 20.0) -> np.ndarray:
        """The same turn round the mesh: RGBA uint8 [T, H, W, 4], straight alpha. ValueError where it is empty."""
        return mesh_pictures(self._mesh, turn(frames, size=size, elevation_degrees=elevation_degrees))

    def mesh_likeness(self) -> float:
        """IoU of the silhouettes of mesh and volume, in [0, 1]. ValueError where the volume is empty."""
        return self.likeness(self._mesh).iou

    def likeness(self, mesh: "Trimesh") -> Likeness:
        """How like the volume's pictures those of its mesh are, from all sides, one ray for each pixel of both."""
        fine = replace(
            self.settings,
            samples_per_ray=max(self.settings.samples_per_ray, POINTS_A_VOXEL * max(self.volume.grid.shape[2:])),
        )
        cameras = all_round(LOOKS, size=LOOK_SIZE)
        colour, opacity = replace(self, settings=fine).render(cameras)
        seen = torch.from_numpy(mesh_pictures(mesh, cameras, samples_per_side=1)).movedim(-1, 1) / 255
        rendered, target = seen[:, 3] >= 0.5, opacity[:, 0] >= 0.5
        ious = (rendered & target).sum((1, 2)) / (rendered | target).sum((1, 2)).clamp_min(1)
        some = slice(None, None, LOOKS // COLOUR_LOOKS)
        psnr = foreground_psnr(seen[some, :3] * seen[some, 3:], colour[some], opacity[some])
        return Likeness(float(ious.mean()), float(psnr.mean()))

    def save(self, path: str | Path) -> Path:
        """Write by suffix: .glb .obj .ply (coloured mesh) or .webp (turntable). ValueError: another suffix."""
        path = Path(path)
        check_formats([path.suffix[1:].lower()], path.name)
        if path.suffix.lower() == ".webp":
            save_turntable(path, self.turntable().numpy(), provenance=self.provenance)
        else:
            save_mesh(path, self._mesh, self.provenance)
        return path


def turn(frames: int, *, size: int, elevation_degrees: float) -> Cameras:
    """Cameras [T] once round the object."""
    azimuths = torch.arange(frames) * 360.0 / frames
    return orbit_cameras(azimuths, torch.full((frames,), elevation_degrees), size=size)


def all_round(views: int, *, size: int) -> Cameras:
    """Cameras [V] evenly spread over the sphere, none straight above or below."""
    number = torch.arange(views)
    elevations = torch.rad2deg(torch.asin(1 - (2 * number + 1) / views))
    return orbit_cameras(number * GOLDEN_DEGREES % 360, elevations * 0.9, size=size)


def check_formats(formats: Sequence[str], given: object) -> None:
    """ValueError where there is none, or an unknown one."""
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"formats: wanted one or more of {', '.join(FORMATS)}; got {given or 'none'}")


class Saved(NamedTuple):
    """Files that were written; how many objects were empty (and left out); whose meshes are unlike their turntables."""

    files: list[Path]
    empty: int
    unlike: list[str]


class AssetFolder:
    """A folder of objects with its list: what made each, its files and their checksums.

    ValueError: it is a file, or its list is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self.objects: dict[str, dict[str, Any]] = {}
        if path.exists() and not path.is_dir():
            raise ValueError(f"output: wanted a folder; got {path}, which is a file")
        if (path / LIST).is_file():
            known = read_json(path / LIST, "a list of objects")
            with reading(path / LIST, "a list of objects"):
                self.objects = {name: {**each, "files": {**each["files"]}} for name, each in known["objects"].items()}

    def write_list(self) -> None:
        """OSError where nothing can be written."""
        whole = {"format": "vader3d-assets", "version": 1, "objects": self.objects}
        write_text(self.path / LIST, json.dumps(whole, indent=1, sort_keys=True) + "\n")

    def made_otherwise(self, name: str, provenance: Mapping[str, Any]) -> bool:
        """Whether an object of this name was made by something else."""
        return self.objects.get(name, {}).get("provenance", provenance) != provenance

    def holds(self, name: str, provenance: Mapping[str, Any], formats: Sequence[str]) -> bool:
        """Whether an object lies there whole, made by just this, or is known to be empty."""
        known = self.objects.get(name)
        if known is None or known["provenance"] != provenance:
            return False
        return known["empty"] or all(
            (self.path / file).is_file() and checksum_of(self.path / file) == known["files"].get(file)
            for file in file_names(name, formats)
        )

    def save(self, asset: Asset, formats: Sequence[str]) -> list[Path]:
        """Write an object's files, and remember it; an empty one has none where a mesh is asked for."""
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.objects.get(asset.name, {})
        known: dict[str, Any] = {
            "provenance": dict(asset.provenance),
            "empty": False,
            "files": {},
            "mesh_likeness": None,
        }
        if before.get("provenance") == known["provenance"]:
            known |= before
        written = []
        try:
            if {*formats} != {"webp"}:
                known["mesh_likeness"] = round(asset.mesh_likeness(), 3)
            written = [asset.save(self.path / f"{asset.name}.{suffix}") for suffix in formats]
            known["files"] |= {file: checksum_of(self.path / file) for file in file_names(asset.name, formats)}
        except EmptyVolumeError:
            known["empty"] = True
        self.objects[asset.name] = known
        return written

    def saved(self, names: Sequence[str], written: list[Path]) -> Saved:
        """What is known of these objects."""
        known = {name: self.objects[name] for name in names}
        unlike = [name for name, each in known.items() if (each["mesh_likeness"] or 1.0) < ALIKE]
        return Saved(written, sum(each["empty"] for each in known.values()), unlike)


def file_names(name: str, formats: Sequence[str]) -> list[str]:
    """The files of an object; an OBJ has its material beside it."""
    return [f"{name}.{suffix}" for suffix in [*formats, *(["mtl"] if "obj" in formats else [])]]


def save_assets(assets: Sequence[Asset], folder: Path, *, formats: Sequence[str]) -> Saved:
    """Write every asset as `folder/name.format`, and the folder's list."""
    check_formats(formats, formats)
    place = AssetFolder(folder)
    written = [path for asset in assets for path in place.save(asset, formats)]
    place.write_list()
    return place.saved([asset.name for asset in assets], written)
