"""The denoising network: ADM's U-Net in three dimensions.

Section 3.4 and Table 5 of arXiv:2307.05445; ADM: arXiv:2105.05233. Encoder and decoder of residual blocks that take
the noise level as scale and shift; self-attention, and cross-attention to text tokens, at chosen resolutions; every
encoder output is a skip connection.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vader3d.blocks import Attention3d, downsample, upsample, zero_initialised
from vader3d.config import Checked, ranged
from vader3d.cpu_layers import Conv3d, GroupNorm
from vader3d.diffusion.transformer import TokenTransformer3d

Resampler = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class UNetConfig(Checked):
    """Defaults: the paper's U-Net for ABO tables and chairs at 8^3 x 256 (216 M parameters)."""

    model_channels: int = ranged(128, at_least=1)  # what channel_multipliers multiply
    channel_multipliers: tuple[int, ...] = ranged((3, 4), at_least=1)  # one a level, each level half the resolution
    blocks_per_level: int = ranged(2, at_least=1)  # residual blocks on the way down; one more on the way up
    attention_resolutions: tuple[int, ...] = ranged((8, 4), at_least=1)  # of the levels with self-attention
    head_channels: int = ranged(64, at_least=1)  # of each attention head
    dropout: float = ranged(0.1, at_least=0, at_most=1)  # in residual blocks
    # width of text tokens; 0: that of text_encoder, without one no cross-attention. The paper: 1024, T5-11B's
    token_dim: int = ranged(0, at_least=0)
    token_resolutions: tuple[int, ...] = ranged((8, 4), at_least=1)  # where tokens are attended to
    transformer_depth: int = ranged(1, at_least=1)  # blocks of each cross-attention
    token_attention: Literal["after", "instead"] = "after"  # after the self-attention, or instead of it as LDM (A28)
    mask_padding: bool = False  # tokens of zeros are not attended to (A25)
    linear_skip: bool = False  # adds conv1(x) * gate(sigma), gate from zero: for networks narrower than the latent


def group_norm(channels: int) -> GroupNorm:
    """At most 32 groups of at least 4 channels, as many as divide them evenly."""
    groups = next(count for count in range(min(32, max(1, channels // 4)), 0, -1) if channels % count == 0)
    return GroupNorm(groups, channels, eps=1e-5)


def convolution(channels_in: int, channels_out: int, at: int) -> Conv3d:
    """Of 3^3 voxels; of the only one where the resolution `at` is 1."""
    kernel = 1 if at == 1 else 3
    return Conv3d(channels_in, channels_out, kernel, padding=kernel // 2)


class UNetBlock(nn.Module):
    """norm, SiLU, conv [resampled], noise-level scale and shift, SiLU, conv (zero), skip; then attention if asked,
    then attention to tokens if asked."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        config: UNetConfig,
        *,
        at: int,
        attention: bool,
        tokens: bool,
        resample: Resampler | None = None,
    ):
        super().__init__()
        self.resample: Resampler = resample or nn.Identity()
        self.norm1 = group_norm(channels_in)
        self.conv1 = convolution(channels_in, channels_out, at)
        self.affine = nn.Linear(4 * config.model_channels, 2 * channels_out)
        self.norm2 = group_norm(channels_out)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = zero_initialised(convolution(channels_out, channels_out, at))
        self.skip = nn.Identity() if channels_in == channels_out else Conv3d(channels_in, channels_out, 1)
        self.attention: nn.Module = nn.Identity()
        if attention:
            mixing = Attention3d(channels_out, group_norm(channels_out), head_channels=config.head_channels)
            zero_initialised(mixing.projection)
            self.attention = mixing
        self.transformer: TokenTransformer3d | None = None
        if tokens:
            self.transformer = TokenTransformer3d(
                channels_out,
                config.token_dim,
                depth=config.transformer_depth,
                head_channels=config.head_channels,
                mask_padding=config.mask_padding,
            )

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None = None) -> Tensor:
        h = self.conv1(self.resample(nn.functional.silu(self.norm1(x))))
        scale, shift = repeated(self.affine(embedding), len(x))[..., None, None, None].chunk(2, dim=1)
        h = nn.functional.silu(torch.addcmul(shift, self.norm2(h), scale + 1))
        x = self.skip(self.resample(x)) + self.conv2(self.dropout(h))
        x = self.attention(x)
        return x if self.transformer is None or tokens is None else self.transformer(repeated(x, len(tokens)), tokens)


def repeated(x: Tensor, count: int) -> Tensor:
    """x [B, ...] over and over, in the same layout, until there are `count` rows."""
    return x if len(x) == count else torch.cat([x] * (count // len(x)))


class UNet(nn.Module):
    """F(x, noise, tokens): latents [B, C, D, H, W], c_noise [B], tokens [B, T, token_dim] -> [B, C, D, H, W].

    Exactly zero before training. No tokens are one token of zeros, which is the unconditional case (A24): keys and
    values have no bias, so that any number of zeros says the same. Tokens of K B texts are K for each latent, B after B
    -> [K B, C, D, H, W]; what comes before the first cross-attention is the same for all K, and computed once.
    """

    def __init__(self, config: UNetConfig, *, channels_in: int, channels_out: int, resolution: int):
        super().__init__()
        if resolution % (1 << (len(config.channel_multipliers) - 1)):
            raise ValueError(
                f"channel_multipliers: wanted levels that halve {resolution}; got {len(config.channel_multipliers)}"
            )
        self.config = config
        base = config.model_channels
        self.embed = nn.Sequential(nn.Linear(base, 4 * base), nn.SiLU(), nn.Linear(4 * base, 4 * base), nn.SiLU())

        def block(
            channels_in: int,
            channels_out: int,
            at: int,
            *,
            attention: bool | None = None,
            resample: Resampler | None = None,
        ) -> UNetBlock:
            attending = at in config.attention_resolutions if attention is None else attention
            reading = bool(config.token_dim) and at in config.token_resolutions and attention is not False
            attending = attending and not (reading and config.token_attention == "instead")
            return UNetBlock(
                channels_in, channels_out, config, at=at, attention=attending, tokens=reading, resample=resample
            )

        widths = [base * multiplier for multiplier in config.channel_multipliers]
        width, skips, at = widths[0], [widths[0]], resolution
        self.conv_in = convolution(channels_in, width, at)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, target in enumerate(widths):
            if level > 0:
                at //= 2
                self.encoder.append(block(width, width, at, attention=False, resample=downsample))
                skips.append(width)
            for _ in range(config.blocks_per_level):
                self.encoder.append(block(width, target, at))
                width = target
                skips.append(width)
        self.middle = nn.ModuleList([block(width, width, at, attention=True), block(width, width, at, attention=False)])
        for level, target in reversed(list(enumerate(widths))):
            for _ in range(config.blocks_per_level + 1):
                self.decoder.append(block(width + skips.pop(), target, at))
                width = target
            if level > 0:
                at *= 2
                self.decoder.append(block(width, width, at, attention=False, resample=upsample))
        self.norm_out = group_norm(width)
        self.conv_out = zero_initialised(convolution(width, channels_out, at))
        if config.linear_skip:
            self.linear = Conv3d(channels_in, channels_out, 1, bias=False)
            nn.init.dirac_(self.linear.weight)
            self.gate = zero_initialised(nn.Linear(4 * base, channels_out))

    def forward(self, x: Tensor, noise: Tensor, tokens: Tensor | None = None) -> Tensor:
        tokens = self.checked(tokens, x)
        embedding = self.embed(sinusoidal_embedding(noise, self.config.model_channels))
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last_3d))
        skips = [h]
        for block in self.encoder:
            h = block(h, embedding, tokens)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding, tokens)
        for block in self.decoder:
            if block.resample is not upsample:
                h = torch.cat([h, repeated(skips.pop(), len(h))], 1)
            h = block(h, embedding, tokens)
        out = self.conv_out(nn.functional.silu(self.norm_out(h)))
        if self.config.linear_skip:
            out = out + repeated(self.linear(x) * self.gate(embedding)[..., None, None, None], len(out))
        return out if tokens is None else repeated(out, len(tokens))

    def checked(self, tokens: Tensor | None, x: Tensor) -> Tensor | None:
        """The tokens as cross-attention takes them; ValueError where they do not fit the network or the batch."""
        width = self.config.token_dim
        if tokens is None:
            return x.new_zeros(len(x), 1, width) if width else None
        if not width:
            raise ValueError(
                f"tokens: wanted none, unet.token_dim is 0; got {list(tokens.shape)}; train with text_encoder set"
            )
        if tokens.dim() != 3 or not len(tokens) or len(tokens) % len(x) or tokens.shape[2] != width:
            raise ValueError(f"tokens: wanted [{len(x)}, T, {width}]; got {list(tokens.shape)}")
        return tokens


def sinusoidal_embedding(values: Tensor, channels: int) -> Tensor:
    """[B] -> [B, channels]: cosines then sines of values * 10000^(-i / (channels / 2))."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)
