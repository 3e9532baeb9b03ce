"""One generated object that renders, turns, becomes a mesh, is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vader3d.export.mesh import EmptyVolumeError, save_mesh, volume_to_mesh
from vader3d.export.turntable import save_turntable, straight_alpha
from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.render import RenderConfig, Volume, render_views

if TYPE_CHECKING:
    from trimesh import Trimesh


@dataclass(frozen=True)
class Asset:
    """One object: its volume [1, 4 + K, D, H, W] and how it is rendered."""

    volume: Volume
    settings: RenderConfig
    name: str = ""

    @torch.no_grad()
    def render(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Cameras [V] -> colour [V, 3, H, W] on black and opacity [V, 1, H, W], both in [0, 1], on the CPU."""
        colour, opacity = render_views(self.volume, cameras[None], self.settings, skip_empty=True)
        return colour[0].clamp(0, 1).cpu(), opacity[0].clamp(0, 1).cpu()

    def turntable(self, frames: int = 24, *, size: int = 128, elevation_degrees: float = 20.0) -> Tensor:
        """One turn round the object: RGBA uint8 [T, H, W, 4], straight alpha."""
        azimuths = torch.arange(frames) * 360.0 / frames
        cameras = orbit_cameras(azimuths, torch.full((frames,), elevation_degrees), size=size)
        colour, opacity = self.render(cameras)
        return (straight_alpha(colour, opacity) * 255).round().to(torch.uint8).movedim(1, -1)

    def mesh(self) -> "Trimesh":
        """A coloured trimesh.Trimesh, z up. ValueError where the volume is empty."""
        return volume_to_mesh(self.volume)

    def save(self, path: str | Path) -> Path:
        """Write by suffix: .glb .obj .ply (coloured mesh) or .webp (turntable)."""
        path = Path(path)
        if path.suffix == ".webp":
            save_turntable(path, self.turntable().numpy())
        else:
            save_mesh(path, self.mesh())
        return path


def save_assets(assets: list[Asset], folder: Path, *, formats: Sequence[str]) -> tuple[list[Path], int]:
    """Write every asset as `folder/name.format`: the files, and how many objects were empty (and left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    written, empty = [], 0
    for asset in assets:
        try:
            written += [asset.save(folder / f"{asset.name}.{suffix}") for suffix in formats]
        except EmptyVolumeError:
            empty += 1
    return written, empty
