"""What the compiled back-ends share."""

import torch

from vader3d.render.reference import HIGHEST_NOISE
from vader3d.render.settings import March
from vader3d.render.volume import Volume

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CHANNEL_GROUP = 4  # channels come last, in whole groups: 16 bytes of float32 are loaded at once
EMPTY_DENSITY = 1e-6  # densities up to this are passed over: the longest way through absorbs under 4e-6


def padded_channels(channels: int) -> int:
    """Channels of a voxel as it is laid out."""
    return -(-channels // CHANNEL_GROUP) * CHANNEL_GROUP


def highest_empty(volume: Volume, march: March) -> float:
    """The raw density up to which nothing absorbs; conservative, for the strongest noise is reckoned with."""
    return volume.raw_from_density(EMPTY_DENSITY) - HIGHEST_NOISE * march.density_noise
