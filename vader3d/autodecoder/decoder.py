"""The volumetric autodecoder: code -> latent (G1) -> volume (G2).

Section 3.1 and B.1 of arXiv:2307.05445, docs/paper.md A4-A9: a linear layer makes 4^3 voxels of the code;
each level doubles the resolution with residual blocks, some end in self-attention; a head makes colour and density.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vader3d.blocks import Attention3d, upsample, upsampled_convolution
from vader3d.config import Checked, ranged
from vader3d.render.volume import Activation, Volume

BASE_RESOLUTION = 4


@dataclass(frozen=True)
class DecoderConfig(Checked):
    """channels[i] belongs to resolution 4 * 2^i; the last level is the volume's. Defaults: the paper's 64^3 decoder."""

    code_length: int = ranged(1024, at_least=1)  # numbers that an object is learned as
    # of the levels from 4^3 up, each twice as fine as the last
    channels: tuple[int, ...] = ranged((512, 256, 128, 64, 32), at_least=1)
    # d of Table 5: one up-sampling residual block and d - 1 of the same size (A7)
    blocks_per_level: int = ranged(4, at_least=1)
    attention_resolutions: tuple[int, ...] = ranged((8, 16), at_least=1)  # of the levels that end in self-attention
    # where to_latent ends and to_volume begins: 4, 8, 16 (A9); 1: the latent is the code
    latent_resolution: int = ranged(8, at_least=1)
    # the head makes subvoxels^3 voxels of each voxel of the last level; the paper: 1
    subvoxels: int = ranged(1, at_least=1)
    extra_channels: int = ranged(0, at_least=0)  # skinning logits beside colour and density, rendered as they are
    # z in the cube at which parts begin: the nearer a voxel, the larger the logits of that extra channel
    part_heights: tuple[float, ...] = ranged((), at_least=-1, at_most=1)
    part_steepness: float = ranged(3.0, at_least=0)  # how fast they fall off, by the square of the distance
    initial_density: float = ranged(0.0)  # bias of the raw density at the start
    norm_order: Literal["before", "after"] = "before"  # in residual blocks: ReLU, norm, conv; or conv, norm, ReLU (A5)
    # 1^3 convolutions in a row on the skip of each up-sampling block (A4)
    skip_convolutions: int = ranged(1, at_least=1)
    # voxels across that the last convolution sees; 3: as in the code the paper builds on (A6)
    head_kernel: int = ranged(1, at_least=1)
    colour_activation: Literal["identity", "sigmoid"] = "identity"  # of the volume's colours (A16)

    @property
    def volume_resolution(self) -> int:
        return self.subvoxels * BASE_RESOLUTION << (len(self.channels) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(C, D, H, W)."""
        if self.latent_resolution == 1:
            return (self.code_length, 1, 1, 1)
        level = (self.latent_resolution // BASE_RESOLUTION).bit_length() - 1
        return (self.channels[level], *(self.latent_resolution,) * 3)


class ResidualBlock3d(nn.Module):
    """ReLU, norm, 3^3 convolution, twice, added to the input; `up` doubles the size first (section B.1).

    norm_order "after": convolution, norm, ReLU instead.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        up: bool,
        norm_order: Literal["before", "after"] = "before",
        skip_convolutions: int = 1,
    ):
        super().__init__()
        self.up = up
        layers: list[nn.Module] = []
        for width in (channels_in, channels_out):
            convolution = nn.Conv3d(width, channels_out, 3, padding=1)
            if norm_order == "before":
                layers += [nn.ReLU(), nn.BatchNorm3d(width), convolution]
            else:
                layers += [convolution, nn.BatchNorm3d(channels_out), nn.ReLU()]
        self.main = nn.Sequential(*layers)
        skips = [nn.Conv3d(channels_in if i == 0 else channels_out, channels_out, 1) for i in range(skip_convolutions)]
        self.skip = nn.Identity() if not up else skips[0] if skip_convolutions == 1 else nn.Sequential(*skips)

    def forward(self, x: Tensor) -> Tensor:
        if not self.up:
            return self.skip(x) + self.main(x)
        # What treats each voxel alone is done before the size doubles; the same result for an eighth of the work.
        first = next(i for i, layer in enumerate(self.main) if isinstance(layer, nn.Conv3d))
        convolution = cast(nn.Conv3d, self.main[first])
        doubled = upsampled_convolution(self.main[:first](x), convolution.weight, convolution.bias)
        return upsample(self.skip(x)) + self.main[first + 1 :](doubled)


class Decoder(nn.Module):
    """Codes [B, code_length] -> Volume; `to_volume(to_latent(codes))` is the whole of it, bit for bit.

    activation, density_scale: how the raw densities it makes are read; its volumes carry them.
    """

    def __init__(self, config: DecoderConfig, *, activation: Activation = "relu", density_scale: float = 1.0):
        super().__init__()
        if config.head_kernel % 2 == 0:
            raise ValueError(f"head_kernel: wanted an odd number; got {config.head_kernel}")
        resolutions = [BASE_RESOLUTION << level for level in range(len(config.channels))]
        if config.latent_resolution not in (1, *resolutions):
            raise ValueError(f"latent_resolution: wanted one of {[1, *resolutions]}; got {config.latent_resolution}")
        self.config, self.activation, self.density_scale = config, activation, density_scale
        self.stem = nn.Linear(config.code_length, config.channels[0] * BASE_RESOLUTION**3)
        self.levels = nn.Sequential()
        for level, (channels_in, channels_out) in enumerate(zip(config.channels, config.channels[1:], strict=False)):
            layers: list[nn.Module] = []
            for number in range(config.blocks_per_level):
                width = channels_out if number else channels_in
                layers.append(
                    ResidualBlock3d(
                        width,
                        channels_out,
                        up=number == 0,
                        norm_order=config.norm_order,
                        skip_convolutions=config.skip_convolutions,
                    )
                )
            if BASE_RESOLUTION << (level + 1) in config.attention_resolutions:
                layers.append(Attention3d(channels_out, nn.BatchNorm3d(channels_out)))
            self.levels.append(nn.Sequential(*layers))
        self.norm = nn.BatchNorm3d(config.channels[-1])
        channels_out, kernel = (4 + config.extra_channels) * config.subvoxels**3, config.head_kernel
        self.head = nn.Conv3d(config.channels[-1], channels_out, kernel, padding=kernel // 2)
        with torch.no_grad():
            bias = cast(Tensor, self.head.bias).view(config.subvoxels**3, -1)
            grey = 0.5 if config.colour_activation == "identity" else 0.0
            bias[:, :3], bias[:, 3] = grey, config.initial_density
        if config.part_heights and len(config.part_heights) != config.extra_channels:
            raise ValueError(
                f"part_heights: wanted one for each of {config.extra_channels} extra channels; got "
                f"{len(config.part_heights)}"
            )
        self.latent_levels = max(0, (config.latent_resolution // BASE_RESOLUTION).bit_length() - 1)

    def base(self, codes: Tensor) -> Tensor:
        """Codes [B, code_length] -> the first 4^3 voxels."""
        x = self.stem(codes).unflatten(1, (-1, *(BASE_RESOLUTION,) * 3))
        return x.contiguous(memory_format=torch.channels_last_3d)  # 2-4 times faster convolutions on CPUs

    def to_latent(self, codes: Tensor) -> Tensor:
        """G1: codes [B, code_length] -> latents [B, C, D, H, W] (`config.latent_shape`)."""
        if self.config.latent_resolution == 1:
            return codes[..., None, None, None]
        return self.levels[: self.latent_levels](self.base(codes))

    def to_volume(self, latent: Tensor) -> Volume:
        """G2: latents -> Volume with grid [B, 4 + K, R, R, R], R = config.volume_resolution."""
        x = self.base(latent.flatten(1)) if self.config.latent_resolution == 1 else latent
        x = self.levels[self.latent_levels :](x)
        grid = interleave(self.head(self.norm(x)), self.config.subvoxels)
        if self.config.colour_activation == "sigmoid":
            grid = torch.cat([grid[:, :3].sigmoid(), grid[:, 3:]], 1)
        if self.config.part_heights:
            grid = torch.cat([grid[:, :4], grid[:, 4:] + self.part_prior.to(grid)], 1)
        return Volume(grid, self.activation, self.density_scale)

    @property
    def part_prior(self) -> Tensor:
        """[K, R, 1, 1], fixed: without it equal parts stay equal."""
        z, heights = torch.linspace(-1, 1, self.config.volume_resolution), torch.tensor(self.config.part_heights)
        return -self.config.part_steepness * (z - heights[:, None]).square()[..., None, None]

    def forward(self, codes: Tensor) -> Volume:
        return self.to_volume(self.to_latent(codes))


def interleave(x: Tensor, factor: int) -> Tensor:
    """[B, factor^3 * C, D, H, W] -> [B, C, factor D, factor H, factor W]: channels become voxels (pixel shuffle)."""
    if factor == 1:
        return x
    parts = x.unflatten(1, (factor, factor, factor, -1))  # [B, z, y, x, C, D, H, W]
    rows = parts.permute(0, 5, 1, 6, 2, 7, 3, 4)  # [B, D, z, H, y, W, x, C]
    return rows.reshape(len(x), *(factor * size for size in x.shape[2:]), -1).permute(0, 4, 1, 2, 3)
