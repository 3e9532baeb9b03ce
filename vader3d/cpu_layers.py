"""Layers that do on CPUs what torch does slowly or wrong there.

Each goes when torch mends its own; docs/performance.md has what was measured.
"""

import torch
from torch import Tensor, nn

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
    """nn.Conv3d that leaves bfloat16 where torch's CPU weight gradient is wrong, and is a product for one voxel.

    Of one voxel [B, C, 1, 1, 1] a 1^3 convolution's gradient takes ten times as long as a matrix product's.
    torch 2.13 gives non-finite weight gradients for 3^3 kernels on 2^3 voxels in bfloat16 (1, 3, 4, 5, 8 are right).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.shape[2:] == x.shape[2:] == (1, 1, 1):
            return nn.functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None, None]
        if x.device.type == "cpu" and x.shape[-1] == 2 and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)
