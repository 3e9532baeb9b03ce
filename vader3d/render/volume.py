"""A volume: a grid, and how its density is read.

The outermost voxel centres lie on the cube's faces: that is `align_corners`, here for the whole package.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

ALIGN_CORNERS = True
Activation = Literal["relu", "softplus"]
ACTIVATIONS = get_args(Activation)


@dataclass(frozen=True)
class Volume:
    """`grid` [B, 4 + K, D, H, W] over the cube [-1, 1]^3, axes (z, y, x); density = density_scale * activation(raw).

    Channels: colour (3, raw, nominally in [0, 1]), raw density (before the activation), then K extra channels. Density
    is in units of 1 / depth. ValueError for another activation, or a scale that is not positive and finite.
    """

    grid: Tensor
    activation: Activation = "relu"
    density_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation: wanted one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")
        if not 0 < self.density_scale < math.inf:
            raise ValueError(f"density_scale: wanted above 0 and finite; got {self.density_scale}")

    @property
    def colour(self) -> Tensor:
        return self.grid[:, :3]

    @property
    def raw_density(self) -> Tensor:
        return self.grid[:, 3:4]

    @property
    def density(self) -> Tensor:
        """[B, 1, D, H, W] at the voxels."""
        return self.density_from_raw(self.raw_density)

    @property
    def extra(self) -> Tensor:
        return self.grid[:, 4:]

    def density_from_raw(self, raw: Tensor) -> Tensor:
        """Raw density of any shape -> density. Between voxels the raw density is interpolated, then activated."""
        activated = torch.relu(raw) if self.activation == "relu" else torch.nn.functional.softplus(raw)
        return self.density_scale * activated

    def raw_from_density(self, density: float) -> float:
        """The raw density that is read as `density` > 0."""
        activated = density / self.density_scale
        return activated if self.activation == "relu" else math.log(math.expm1(activated))

    def with_grid(self, grid: Tensor) -> "Volume":
        """Another grid whose density is read the same way: a part of this one, another type, another device."""
        return replace(self, grid=grid)

    def objects(self) -> Iterator["Volume"]:
        """The objects one by one, each as a volume [1, 4 + K, D, H, W]."""
        return (self.with_grid(grid[None]) for grid in self.grid)
