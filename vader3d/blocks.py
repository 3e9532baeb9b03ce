"""3D blocks that the decoder and the denoising U-Net share."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from vader3d.cpu_layers import attend

Layer = TypeVar("Layer", bound=nn.Module)


class Attention3d(nn.Module):
    """Self-attention over the D*H*W voxels of [B, C, D, H, W], added to its input.

    norm: the layer before the projections. head_channels: channels of one head, None = a single head (the decoder's);
    the U-Net takes 64, as ADM (arXiv:2105.05233).
    """

    def __init__(self, channels: int, norm: nn.Module, *, head_channels: int | None = None):
        super().__init__()
        self.heads = 1 if head_channels is None else max(1, channels // head_channels)
        if channels % self.heads:
            raise ValueError(f"head_channels: wanted a number that divides {channels} channels; got {head_channels}")
        self.norm = norm
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).mT  # [B, T, C]
        query, key, value = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value).transpose(1, 2).flatten(2)
        return x + self.projection(mixed).mT.unflatten(-1, x.shape[2:])


def upsample(x: Tensor) -> Tensor:
    """Nearest neighbour, twice the size along all three axes."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def upsampled_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv3d(upsample(x), weight, bias, padding=1) for weights [O, C, 3, 3, 3].

    In float32 on CPUs with 64 products for its 216: an output voxel sees only 2^3 input voxels, so the taps that fall
    on the same one are added up first, a transposed convolution of 4^3 taps. Matrix units gain nothing by it.
    """
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return nn.functional.conv3d(upsample(x), weight, bias, padding=1)
    for axis in (2, 3, 4):
        zero = torch.zeros_like(weight.narrow(axis, 0, 1))
        weight = torch.cat([weight, zero], axis) + torch.cat([zero, weight], axis)
    return nn.functional.conv_transpose3d(x, weight.flip(2, 3, 4).transpose(0, 1), bias, stride=2, padding=1)


def downsample(x: Tensor) -> Tensor:
    """Mean of 2^3 neighbours."""
    return nn.functional.avg_pool3d(x, 2)


def zero_initialised(layer: Layer) -> Layer:
    """The same layer with all parameters zero, so that its branch starts as nothing."""
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    return layer
