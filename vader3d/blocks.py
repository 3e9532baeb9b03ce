"""3D blocks that the decoder and the denoising U-Net share."""

import torch
from torch import Tensor, nn


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


FEW_TOKENS = 128  # of which a CPU holds the whole map [T, T]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax of scaled products over [B, heads, T, channels].

    On CPUs torch's own takes 6 times as long as the plain formula at 64 tokens in bfloat16; at 512 neither wins
    (docs/performance.md).
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[-2] <= FEW_TOKENS:
        return torch.softmax((query * query.shape[-1] ** -0.5) @ key.mT, -1) @ value
    return nn.functional.scaled_dot_product_attention(query, key, value)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm; on CPUs in float32, where bfloat16 in channels_last takes 6 times as long."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype) if x.device.type == "cpu" else super().forward(x)


class Conv3d(nn.Conv3d):
    """nn.Conv3d that leaves bfloat16 where torch's CPU weight gradient is wrong.

    torch 2.13 gives non-finite weight gradients for 3^3 kernels on 2^3 voxels in bfloat16 (1, 3, 4, 5, 8 are right).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.shape[-1] == 2 and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def upsample(x: Tensor) -> Tensor:
    """Nearest neighbour, twice the size along all three axes."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Mean of 2^3 neighbours."""
    return nn.functional.avg_pool3d(x, 2)


def zero_initialised(layer: nn.Module) -> nn.Module:
    """The same layer with all parameters zero, so that its branch starts as nothing."""
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    return layer
