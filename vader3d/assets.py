"""Generated objects: they render, become meshes, are saved and listed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vader3d.captions import Caption
from vader3d.config import Range, config_from_dict, config_to_dict
from vader3d.data.archive.format import OBJECT_VIEWS, SHEET_SIDE_PX, ObjectRecord
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.data.writer import PreparedObject
from vader3d.export.dataset import ARCHIVE, write_scene
from vader3d.export.formats import FORMATS, file_names, save_object
from vader3d.export.formats import check_formats as check_formats  # handed on
from vader3d.export.mesh import EmptyVolumeError, volume_to_mesh
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.export.placement import AS_IT_IS, ExportConfig
from vader3d.export.surface import SurfaceConfig, soundness, surfaces_of
from vader3d.export.turntable import straight_alpha
from vader3d.files import checksum_of, held, write_text
from vader3d.geometry.cameras import FRONT_DEGREES, Cameras, orbit_cameras
from vader3d.measures.pictures import foreground_psnr
from vader3d.render import RenderConfig, Volume, render_views, render_volume
from vader3d.snapshots import load_snapshot, save_snapshot
from vader3d.untrusted import read_json, reading

if TYPE_CHECKING:
    from trimesh import Trimesh

LIST = "generated.json"
PICTURE_PX = 128
ALIKE = 0.5  # a mesh whose silhouettes have a smaller IoU with its pictures is not what they show
LOOKS, COLOUR_LOOKS, LOOK_SIZE = 24, 8, 64  # pictures that silhouettes and colours are judged by, their size in px
POINTS_A_VOXEL = 4  # at which those rays read the volume
GOLDEN_DEGREES = 137.508
FIRST_DEGREES = FRONT_DEGREES + 30.0  # azimuth of a turn's first camera


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

    def finely(self) -> "Asset":
        """The same object, its rays read at so many points that no leg is lost."""
        points = max(self.settings.samples_per_ray, POINTS_A_VOXEL * max(self.volume.grid.shape[2:]))
        return replace(self, settings=replace(self.settings, samples_per_ray=points))

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
        cameras = all_round(LOOKS, size=LOOK_SIZE)
        colour, opacity = self.finely().render(cameras)
        seen = torch.from_numpy(mesh_pictures(mesh, cameras, samples_per_side=1)).movedim(-1, 1) / 255
        rendered, target = seen[:, 3] >= 0.5, opacity[:, 0] >= 0.5
        ious = (rendered & target).sum((1, 2)) / (rendered | target).sum((1, 2)).clamp_min(1)
        some = slice(None, None, LOOKS // COLOUR_LOOKS)
        psnr = foreground_psnr(seen[some, :3] * seen[some, 3:], colour[some], opacity[some])
        return Likeness(float(ious.mean()), float(psnr.mean()))

    def geometry(
        self, frames: int = 8, *, size: int = 128, elevation_degrees: float = 20.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of one turn: depth along the rays [T, H, W], outward normals [T, 3, H, W] (world axes), opacity [T, H, W].

        Depth is that of what a pixel shows, far where it shows nothing; normals follow the fall of density (A32) and
        are as long as the opacity at most.
        """
        return self.geometry_from(turn(frames, size=size, elevation_degrees=elevation_degrees))

    @torch.no_grad()
    def geometry_from(self, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
        """The same from cameras [V]."""
        cameras = cameras.to(self.volume.grid.device)
        march = self.settings.march(skip_empty=True)
        seen = render_volume(self.volume, cameras[None].rays(), march, normals=True)
        assert seen.normals is not None
        shape = (len(cameras.centres), cameras.height, cameras.width)
        opacity = seen.opacity.view(shape).clamp(0, 1).cpu()
        depth = seen.depth.view(shape).cpu() / opacity.clamp_min(1e-3)
        return depth, seen.normals.view(*shape, 3).movedim(-1, 1).cpu(), opacity

    def save(self, path: str | Path, config: ExportConfig = AS_IT_IS, *, mesh: "Trimesh | None" = None) -> Path:
        """Write as the name's end asks, of those in `vader3d.export.formats.FORMATS`; `mesh` takes our own's place.

        ValueError: an unknown format, an empty volume. ImportError: a package that it needs is not here. OSError names
        the file that could not be written.
        """
        path = Path(path)
        save_object(self, path, config, mesh)
        return path

    def save_volume(self, path: Path) -> None:
        """Write the volume as safetensors, float32, with all that `load_volume` needs."""
        how = {"activation": self.volume.activation, "density_scale": self.volume.density_scale}
        header = {"kind": "volume", "name": self.name, "provenance": dict(self.provenance), **how}
        grid = self.volume.grid[0].detach().float().cpu()
        save_snapshot(path, {"grid": grid}, {**header, "render": config_to_dict(self.settings)})


def load_volume(path: str | Path) -> Asset:
    """The object of a .safetensors file that `Asset.save` wrote. ValueError: another file, a damaged one."""
    tensors, header = load_snapshot(Path(path), "volume")
    with reading(path, "a volume"):
        grid = tensors["grid"][None].to(
            memory_format=torch.channels_last_3d
        )  # as decoders leave it: the same to the bit
        volume = Volume(grid, header["activation"], header["density_scale"])
        settings = config_from_dict(RenderConfig, header["render"])
        return Asset(volume, settings, str(header["name"]), header["provenance"])


def turn(frames: int, *, size: int, elevation_degrees: float = 20.0) -> Cameras:
    """Cameras [T] once round the object, from its front and a little aside."""
    azimuths = FIRST_DEGREES + torch.arange(frames) * 360.0 / frames
    return orbit_cameras(azimuths, torch.full((frames,), elevation_degrees), size=size)


def pictures_of(assets: Sequence[Asset], output_type: str) -> Any:
    """The first view of a turn of each: pil pictures, or pt [N, 3, H, W] or np [N, H, W, 3] in [0, 1]."""
    camera = turn(1, size=PICTURE_PX)
    pictures = torch.cat([asset.render(camera)[0] for asset in assets])
    if output_type == "pt":
        return pictures
    array = pictures.movedim(1, -1).numpy()
    return array if output_type == "np" else [Image.fromarray((each * 255).round().astype("uint8")) for each in array]


def all_round(views: int, *, size: int) -> Cameras:
    """Cameras [V] evenly spread over the sphere, none straight above or below."""
    number = torch.arange(views)
    elevations = torch.rad2deg(torch.asin(1 - (2 * number + 1) / views))
    return orbit_cameras(number * GOLDEN_DEGREES % 360, elevations * 0.9, size=size)


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

    def holds(
        self,
        name: str,
        provenance: Mapping[str, Any],
        formats: Sequence[str],
        config: ExportConfig = AS_IT_IS,
        surface: SurfaceConfig | None = None,
    ) -> bool:
        """Whether an object lies there whole, made and written by just this, or is known to be empty."""
        known = self.objects.get(name)
        how = how_written(config, surface, provenance)
        if known is None or known["provenance"] != provenance or known.get("how") != how:
            return False
        main = [f"{name}.{form}" for form in formats]
        wanted = [file for file in file_names(name, formats) if file in main or file in known["files"]]
        return known["empty"] or all(
            (self.path / file).is_file() and checksum_of(self.path / file) == known["files"].get(file)
            for file in wanted
        )

    def save(
        self,
        asset: Asset,
        formats: Sequence[str],
        config: ExportConfig = AS_IT_IS,
        surface: SurfaceConfig | None = None,
    ) -> list[Path]:
        """Write an object's files, and remember it; an empty one has none where a mesh is asked for.

        surface: as `Asset.mesh` takes it; coarser levels of detail become NAME-lod1.glb and so on.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.objects.get(asset.name, {})
        known: dict[str, Any] = {
            "provenance": dict(asset.provenance),
            "empty": False,
            "files": {},
            "mesh_likeness": None,
            "how": how_written(config, surface, asset.provenance),
        }
        if all(before.get(part) == known[part] for part in ("provenance", "how")):
            known |= before
        written: list[Path] = []
        meshes: list[Trimesh] = []
        try:
            with_mesh = [form for form in formats if "mesh" in FORMATS[form].needs]
            if with_mesh:
                meshes = asset.meshes(surface) if surface else [asset.mesh()]
                known["mesh"] = soundness(meshes[0])._asdict()
                known["mesh_likeness"] = round(asset.likeness(meshes[0]).iou, 3)
            for level, mesh in enumerate(meshes or [None]):
                name = f"{asset.name}-lod{level}" if level else asset.name
                forms = with_mesh if level else formats
                written += [asset.save(self.path / f"{name}.{form}", config, mesh=mesh) for form in forms]
                there = [file for file in file_names(name, forms) if (self.path / file).is_file()]
                known["files"] |= {file: checksum_of(self.path / file) for file in there}
        except EmptyVolumeError:
            known["empty"] = True
        self.objects[asset.name] = known
        return written

    def saved(self, names: Sequence[str], written: list[Path]) -> Saved:
        """What is known of these objects."""
        known = {name: self.objects[name] for name in names}
        unlike = [name for name, each in known.items() if (each["mesh_likeness"] or 1.0) < ALIKE]
        return Saved(written, sum(each["empty"] for each in known.values()), unlike)


def how_written(config: ExportConfig, surface: SurfaceConfig | None, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that tell files of one object apart; its size in numbers."""
    sized = config.sized(str(provenance.get("prompt") or ""))
    return {**config_to_dict(sized), "surface": surface and config_to_dict(surface)}


def save_assets(
    assets: Sequence[Asset], folder: Path, *, formats: Sequence[str], config: ExportConfig = AS_IT_IS
) -> Saved:
    """Write every asset as `folder/name.format`, and the folder's list."""
    check_formats(formats, formats)
    place = AssetFolder(folder)
    written = [path for asset in assets for path in place.save(asset, formats, config)]
    place.write_list()
    return place.saved([asset.name for asset in assets], written)


def said_by(provenance: Mapping[str, Any]) -> tuple[Caption, ...]:
    """The prompt of an object as its caption, if it had one."""
    prompt = str(provenance.get("prompt") or "")
    return (Caption(prompt, "prompt"),) if prompt else ()


def as_dataset(
    assets: Iterable[Asset], folder: Path, *, views: int = 24, size: int = 128, seed: int = 0
) -> dict[str, bool]:
    """Posed pictures of objects as a data set for other systems: see `vader3d.export.dataset`.

    `views` cameras on the upper sphere, other ones for each object, pictures of `size` px; captions are the
    provenance's `prompt`. Gives each object's name, and whether it is seen in every picture; others are left out.
    ValueError: views or size out of range, names that are taken, no object that is seen. OSError names the file.
    """
    Range(at_least=1, at_most=OBJECT_VIEWS).check("views", views)
    Range(at_least=8, at_most=SHEET_SIDE_PX).check("size", size)
    folder, kept = Path(folder), {}
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output: wanted a folder; got {folder}, which is a file")
    with held(folder), ArchiveWriter(folder / ARCHIVE, title="generated", resolution=(size, size)) as archive:
        for number, asset in enumerate(assets):
            cameras = spread_cameras(views, size=size, seed=seed + number)
            colour, opacity = asset.render(cameras)
            pictures = (straight_alpha(colour, opacity) * 255).round().to(torch.uint8).movedim(1, -1).numpy()
            kept[asset.name] = bool((pictures[..., 3] >= 128).any((1, 2)).all())
            if kept[asset.name]:
                record = ObjectRecord(asset.name, captions=said_by(asset.provenance), source="vader3d")
                prepared = PreparedObject(record, pictures, cameras)
                archive.add(prepared)
                depth = asset.geometry_from(cameras)[0].numpy()
                write_scene(folder / asset.name, prepared, depth, asset.provenance)
    return kept
