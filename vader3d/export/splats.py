"""Volumes as Gaussian splats.

A lattice finer than the voxels; at each of its points that light reaches stands one round Gaussian, whose peak is such
that a wall of them takes as much light as the volume there: a layer of Gaussians of standard deviation s, apart by h,
of peak a, has the mean optical thickness 2 pi s^2 / h^2 Li2(a), the integral of -ln(1 - a exp(-u)) over u being Li2(a).
The outermost ones stand back from the surface, since Gaussians reach beyond their middles; less so where density rises
no further, as in thin legs and crumbs, of which nothing would be left.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vader3d.export.mesh import EmptyVolumeError, surface_level
from vader3d.export.placement import Placement
from vader3d.render.volume import ALIGN_CORNERS, Volume

LATTICE = 90  # points along the longest side, at least, of those where splats may stand
WIDTH = 0.5  # standard deviation of a splat, in the lattice's spacing
EROSION = 2.5  # standard deviations by which splats stand back from surfaces: best of 1 to 2.7 against pictures
FLAT, AROUND = 0.7, 5  # share of the steepest rise among so many neighbours a side, below which they stand nearer
AIR = 0.01  # optical thickness of a cell that counts as none
HIDDEN = 5.0  # optical thickness on the shortest way out, behind which nothing is seen
FAINTEST, STRONGEST = 1 / 255, 0.99  # peaks: viewers leave out what is fainter and cap what is stronger
HARMONIC = 0.5 / math.sqrt(math.pi)  # the spherical harmonic of degree 0
REST = 45  # further coefficients in a classic PLY: 3 colours x 15, all 0 here


class Splats(NamedTuple):
    """Round Gaussians: positions [P, 3], standard deviations [P], peak opacities [P], sRGB colours [P, 3] in [0, 1]."""

    positions: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    colours: np.ndarray

    @property
    def harmonics(self) -> np.ndarray:
        """Coefficients [P, 3] of degree 0; a viewer shows 0.5 + HARMONIC times them."""
        return (self.colours - 0.5) / HARMONIC

    def placed(self, place: Placement) -> "Splats":
        return Splats(place.points(self.positions), self.scales * place.scale, self.opacities, self.colours)


def volume_to_splats(volume: Volume, *, lattice: int = LATTICE) -> Splats:
    """Splats in the world of one object's volume [1, 4 + K, D, H, W].

    EmptyVolumeError where nothing would be seen; ValueError for another shape, and for NaN.
    """
    grid = volume.grid
    if grid.dim() != 5 or grid.shape[0] != 1 or grid.shape[1] < 4 or min(grid.shape[2:]) < 2:
        raise ValueError(f"volume: wanted one object, [1, 4 + K, D, H, W] of 2 points or more; got {list(grid.shape)}")
    if not grid.isfinite().all():
        raise ValueError("volume: wanted finite values; got NaN or infinity; train the decoder anew, it has diverged")
    grid = grid[:, :4].detach().float().cpu()
    factor = max(1, math.ceil((lattice - 1) / (max(grid.shape[2:]) - 1)))
    sizes = [(points - 1) * factor + 1 for points in grid.shape[2:]]
    fine = torch.nn.functional.interpolate(grid, sizes, mode="trilinear", align_corners=ALIGN_CORNERS)
    spacing = 2 / (max(sizes) - 1)
    thickness = volume.density_from_raw(fine[0, 3]) * spacing
    near = (thickness >= FAINTEST) & (thickness_on_the_way_out(thickness) < HIDDEN)
    if not near.any():
        raise EmptyVolumeError("volume: wanted something that stops light; got nothing that would be seen")
    points = torch.stack([axis[near] for axis in coordinates(sizes)], -1)
    slopes = torch.stack([*reversed(torch.gradient(fine[0, 3], spacing=spacing))], -1)
    rise = slopes.norm(dim=-1)
    steepest = torch.nn.functional.max_pool3d(rise[None], AROUND, stride=1, padding=AROUND // 2)[0]
    slopes, steepness = slopes[near], rise[near][:, None].clamp_min(1e-6)
    eroded = EROSION * WIDTH * spacing * (steepness / (FLAT * steepest[near][:, None]).clamp_min(1e-6)).clamp_max(1)
    depth = (fine[0, 3, near][:, None] - surface_level(volume)) / steepness - eroded
    skin = depth.abs() <= spacing / 2
    points = torch.where(skin, points - depth * slopes / steepness, points)
    kept = skin[:, 0] | (depth[:, 0] > 0)
    return Splats(
        points[kept].numpy(),
        np.full(int(kept.sum()), WIDTH * spacing, np.float32),
        peaks(thickness[near][kept]).clamp_min(FAINTEST).numpy(),
        fine[0, :3, near].T[kept].clamp(0, 1).numpy(),
    )


def coordinates(sizes: list[int]) -> tuple[Tensor, ...]:
    """x, y, z [D, H, W] of a lattice's points."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in sizes), indexing="ij")
    return x, y, z


def peaks(thickness: Tensor) -> Tensor:
    """Peak opacities of splats that a layer [any shape] of such optical thickness is made of."""
    known = torch.linspace(0, STRONGEST, 1024, dtype=torch.float64)
    layers = 2 * math.pi * WIDTH**2 * dilogarithm(known)
    place = torch.searchsorted(layers, thickness.double().contiguous()).clamp(1, len(known) - 1)
    share = ((thickness - layers[place - 1]) / (layers[place] - layers[place - 1])).clamp(0, 1)
    return (known[place - 1] + share * (known[place] - known[place - 1])).float()


def dilogarithm(x: Tensor) -> Tensor:
    """Li2 of x in [0, 1): the sum of x^k / k^2."""
    total, power = torch.zeros_like(x), torch.ones_like(x)
    for k in range(1, 1001):
        power = power * x
        total += power / k**2
    return total


def thickness_on_the_way_out(thickness: Tensor) -> Tensor:
    """Of cells [D, H, W] with such optical thickness: what lies on the least way from outside to each, itself left out.

    Infinite beyond `HIDDEN`. Ways go from a cell to any of its 26 neighbours, so that none that a straight ray reaches
    is missed.
    """
    from scipy.ndimage import label, minimum_filter

    own = np.pad(thickness.numpy(), 1)
    regions, _ = label(own < AIR)
    least = np.where(regions == regions[0, 0, 0], 0.0, np.inf)
    while True:
        further = np.minimum(least, minimum_filter(least + own, size=3))
        further[further >= HIDDEN] = np.inf
        if not (further < least - AIR).any():
            return torch.from_numpy(further[1:-1, 1:-1, 1:-1])
        least = further


def ply_bytes(splats: Splats, comments: list[str]) -> bytes:
    """A classic 3DGS .ply with all names that its readers ask for; scales are logarithms, opacities logits."""
    count = len(splats.positions)
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(REST))]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    opacity = splats.opacities[:, None].astype(np.float64)
    columns = [
        splats.positions,
        np.zeros((count, 3)),
        splats.harmonics,
        np.zeros((count, REST)),
        np.log(opacity / (1 - opacity)),
        np.repeat(np.log(splats.scales)[:, None], 3, 1),
        np.tile([1.0, 0, 0, 0], (count, 1)),
    ]
    head = ["ply", "format binary_little_endian 1.0", *comments]
    head += [f"element vertex {count}", *(f"property float {name}" for name in names), "end_header"]
    return "\n".join(head).encode() + b"\n" + np.concatenate(columns, 1).astype("<f4").tobytes()
