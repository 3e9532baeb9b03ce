"""What stage 1 minimises, as pure functions of pictures.

Section 3.2 of arXiv:2307.05445: a perceptual pyramid and an occupancy loss. Pictures are [N, 3, H, W] in
[0, 1] (rendered ones unclamped), masks and opacities [N, 1, H, W].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vader3d.config import Checked, ranged
from vader3d.render.volume import Volume

SMALLEST_SIDE = 16  # scales whose pictures would be smaller are dropped (docs/paper.md, A13)


@dataclass(frozen=True)
class LossConfig(Checked):
    """Weights of the terms; 0 leaves a term out. The paper: perceptual 10 a layer, mask 10, nothing else."""

    # features that the perceptual term compares
    trunk: Literal["vgg19", "vgg16-hed", "vgg19-random", "gradients"] = "vgg19"
    trunk_weights: str | None = None  # the trunk's file; None: from the user's cache, or an installed package
    perceptual: float = ranged(10.0, at_least=0)  # weight of the perceptual term, for each layer and scale
    # reductions of the pictures for the perceptual term, none to under 16 px
    scales: tuple[int, ...] = ranged((1, 2, 4), at_least=1)
    mask: float = ranged(10.0, at_least=0)  # weight of |opacity - mask|
    binary_mask: bool = False  # masks are cut at a half for the mask term (A18)
    pixel: float = ranged(0.0, at_least=0)  # weight of the squared error of colours; not in the paper
    code: float = ranged(0.0, at_least=0)  # weight of the mean square of the codes
    # weight of the share of the cube that is filled: what no picture shows is empty then; not in the paper
    matter: float = ranged(0.0, at_least=0)


def filled(volume: Volume) -> Tensor:
    """How opaque voxels are to a ray along an edge of theirs, on average: 1 - exp(-density * size), in [0, 1]."""
    return -torch.expm1(-volume.density * (2 / volume.grid.shape[-1])).mean()


def antialias(pictures: Tensor, factor: int) -> Tensor:
    """Gaussian blur (sigma = (factor - 1) / 2, zero padding), then every factor-th pixel from the first.

    As the first-order motion model (arXiv:2003.00196), whose pyramid the paper takes.
    """
    if factor == 1:
        return pictures
    sigma = (factor - 1) / 2
    radius = round(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = pictures.shape[1]
    column = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    row = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    conv = torch.nn.functional.conv2d
    pictures = conv(pictures, column, stride=(factor, 1), padding=(radius, 0), groups=channels)
    return conv(pictures, row, stride=(1, factor), padding=(0, radius), groups=channels)


def pyramid(pictures: Tensor, factors: Sequence[int]) -> list[Tensor]:
    """The pictures at every scale 1 / factor that keeps at least `SMALLEST_SIDE` pixels."""
    kept = [factor for factor in factors if min(pictures.shape[-2:]) // factor >= SMALLEST_SIDE or factor == 1]
    return [antialias(pictures, factor) for factor in kept]


def perceptual_loss(
    trunk: Callable[[Tensor], list[Tensor]], rendered: Tensor, target: Tensor, factors: Sequence[int]
) -> Tensor:
    """Eq. 1: the sum over scales and layers of mean |trunk_l(rendered) - trunk_l(target)|."""
    total = rendered.new_zeros(())
    for small_rendered, small_target in zip(pyramid(rendered, factors), pyramid(target, factors), strict=True):
        with torch.no_grad():
            target_maps = trunk(small_target.detach())
        for rendered_map, target_map in zip(trunk(small_rendered), target_maps, strict=True):
            precise = torch.promote_types(rendered_map.dtype, torch.float32)  # of half-precision features too
            total = total + (rendered_map - target_map).abs().mean(dtype=precise)
    return total


def mask_loss(opacity: Tensor, mask: Tensor) -> Tensor:
    """mean |opacity - mask| (section 3.2: L_seg)."""
    return (opacity - mask).abs().mean()


def pixel_loss(rendered: Tensor, target: Tensor) -> Tensor:
    """Mean squared error; not in the paper, helps small budgets."""
    return (rendered - target).square().mean()
