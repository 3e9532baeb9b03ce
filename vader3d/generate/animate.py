"""Objects that move: films and skinned meshes of what a motion drives."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vader3d.assets import Asset, all_round
from vader3d.config import Checked, ranged
from vader3d.data.motion import Motion
from vader3d.export.extras import needed
from vader3d.export.fitted_colours import with_fitted_colours
from vader3d.export.gltf import Glb
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.export.placement import AS_IT_IS, placement
from vader3d.export.skinned import Skin, add_skeleton, skin_attributes, skin_of
from vader3d.export.surface import SurfaceConfig, surface_for
from vader3d.export.triangles import triangles_of
from vader3d.export.turntable import straight_alpha
from vader3d.export.video import write_mp4
from vader3d.files import write_bytes, write_whole
from vader3d.geometry.cameras import DISTANCE, front_camera
from vader3d.geometry.skinning import inverse
from vader3d.measures.pictures import foreground_psnr
from vader3d.progress import track
from vader3d.render.posed import posed_volume

if TYPE_CHECKING:
    from trimesh import Trimesh

ENDS = (".mp4", ".glb")
SIDE_DEGREES = 30.0  # how far novel views stand off
FITTED, FITTED_PX = 24, 128  # pictures all round that a skinned mesh's colours are fitted to
COMPARED = 8  # frames of a skinned mesh that are compared with the volume's


@dataclass(frozen=True)
class FilmConfig(Checked):
    """What a film shows of each frame: the front, novel views, depth (near is bright) and normals, side by side."""

    size: int = ranged(128, at_least=8, at_most=1024)  # px a side of each picture
    yaw_sweep: bool = False  # one view that swings from side to side, instead of one from either side


def save_animation(
    asset: Asset,
    motion: Motion,
    path: Path,
    *,
    film: FilmConfig | None = None,
    surface: SurfaceConfig | None = None,
    seen: np.ndarray | None = None,
) -> float | None:
    """Write an object that moves as a film (.mp4) or a skinned mesh (.glb), whole or not at all.

    seen: what drove it, uint8 [F, H, W, 4], shown first. Of a mesh it gives the mean PSNR in dB, inside the mask, of
    its frames with the volume's own. ValueError: another end, a volume without parts, a motion of other parts, an empty
    volume; ImportError: a package that is not here.
    """
    check_end(path)
    check_parts(asset, motion)
    if path.suffix.lower() == ".mp4":
        write_film(path, film_frames(asset, motion, film or FilmConfig(), seen=seen), motion, asset.provenance)
        return None
    mesh, skin = skinned(asset, surface)
    place = placement(np.asarray(mesh.bounds), AS_IT_IS, up="y")
    glb = Glb(" ".join(asset.name.split()) or "object")
    node = glb.add_triangles(triangles_of(mesh, place), skin_attributes(glb, skin))
    add_skeleton(glb, node, skin, motion, place)
    write_bytes(path, glb.bytes(asset.provenance, name=asset.name))
    return agreement(asset, mesh, skin, motion)


def write_film(path: Path, frames: np.ndarray, motion: Motion, provenance: Mapping[str, Any]) -> None:
    """Write what `film_frames` makes, at the motion's speed, whole or not at all."""
    speed = motion.frames_per_second
    write_whole(path, lambda temporary: write_mp4(temporary, frames, frames_per_second=speed, provenance=provenance))


def moving_surface(**chosen: Any) -> SurfaceConfig | None:
    """As `surface_for`; of vertex colours, which are nearer to the volume, where no others are chosen."""
    surface = surface_for(None, **chosen)
    return surface and replace(surface, colour=chosen.get("colour") or "vertex")


def skinned(asset: Asset, surface: SurfaceConfig | None = None) -> tuple["Trimesh", Skin]:
    """The object's mesh at rest and its skin; without a texture, its colours are fitted to the volume's pictures."""
    mesh = asset.mesh(surface)
    if getattr(mesh.visual, "uv", None) is None:
        cameras = all_round(FITTED, size=FITTED_PX)
        mesh = with_fitted_colours(mesh, cameras, *asset.render(cameras))
    return mesh, skin_of(asset.volume, mesh)


def check_end(path: Path) -> None:
    """ValueError for a name that says neither film nor mesh; ImportError for a film without the package for it."""
    if path.suffix.lower() not in ENDS:
        raise ValueError(f"output: wanted a name that ends in {' or '.join(ENDS)}; got {path.name!r}")
    if path.suffix.lower() == ".mp4":
        needed("av")


def check_moves(parts: int) -> None:
    """ValueError: a model's objects have no parts."""
    if parts == 0:
        raise ValueError(
            "model: wanted one whose objects have parts (decoder.extra_channels, posed in training); got one without, "
            "which nothing can drive"
        )


def check_parts(asset: Asset, motion: Motion) -> None:
    """ValueError: the volume has no parts, or others than the motion."""
    parts = asset.volume.grid.shape[1] - 4
    check_moves(parts)
    if parts != len(motion.names):
        raise ValueError(
            f"driving: wanted a motion of as many parts as the model's objects have, {parts}; got {len(motion.names)}, "
            f"{', '.join(motion.names)}"
        )


@torch.no_grad()
def posed_assets(asset: Asset, motion: Motion) -> Iterator[Asset]:
    """The object in each frame, as its volume's own posed rendering has it."""
    for poses in motion.poses:
        to_rest = inverse(poses)[None, None].to(asset.volume.grid.device)
        yield replace(asset, volume=posed_volume(asset.volume, to_rest))


def film_frames(
    asset: Asset,
    motion: Motion,
    config: FilmConfig,
    *,
    seen: np.ndarray | None = None,
    told: Callable[[int], None] = lambda number: None,
) -> np.ndarray:
    """RGBA uint8 [F, H, W, 4]: the pictures of each frame, from left to right. told: is called after each."""
    count, frames = len(motion.poses), []
    for number, posed in enumerate(track(posed_assets(asset, motion), "film", total=count)):
        swing = SIDE_DEGREES * float(np.sin(2 * np.pi * number / count))
        sides = [swing] if config.yaw_sweep else [-SIDE_DEGREES, SIDE_DEGREES]
        front = front_camera(config.size)
        pictures = [straight_alpha(*posed.render(front_camera(config.size, turned)))[0] for turned in (0.0, *sides)]
        depth, normals, opacity = posed.geometry_from(front)
        near = (1 - (depth - (DISTANCE - 1)) / 2).clamp(0, 1).expand(3, -1, -1)
        turned = (torch.nn.functional.normalize(normals[0], dim=0) + 1) / 2
        pictures += [torch.cat([each, opacity]) for each in (near, turned)]
        frames.append((torch.cat(pictures, 2) * 255).round().to(torch.uint8).movedim(0, -1).numpy())
        told(number + 1)
    whole = np.stack(frames)
    return whole if seen is None else np.concatenate([fitting(seen, config.size), whole], 2)


def fitting(seen: np.ndarray, size: int) -> np.ndarray:
    """Pictures uint8 [F, H, W, 4] of `size` px a side."""
    pictures = torch.from_numpy(seen).movedim(-1, 1).float()
    resized = torch.nn.functional.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).numpy()


def agreement(asset: Asset, mesh: "Trimesh", skin: Skin, motion: Motion, *, size: int = 128) -> float:
    """PSNR in dB, inside the mask, of a skinned mesh's frames with the volume's own, the mean over some of them."""
    some = np.unique(np.linspace(0, len(motion.poses) - 1, COMPARED).round().astype(int))
    shown, camera = replace(motion, poses=motion.poses[some]), front_camera(size)
    scores: list[Tensor] = []
    for poses, posed in zip(shown.poses, posed_assets(asset, shown), strict=True):
        moved = mesh.copy()
        moved.vertices = skin.posed(np.asarray(moved.vertices), poses)
        rendered = torch.from_numpy(mesh_pictures(moved, camera)).movedim(-1, 1).float() / 255
        colour, opacity = posed.render(camera)
        scores.append(foreground_psnr(rendered[:, :3] * rendered[:, 3:], colour, opacity))
    return float(torch.cat(scores).mean())
