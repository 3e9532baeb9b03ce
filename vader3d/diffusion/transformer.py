"""Cross-attention from a latent's voxels to text tokens.

LDM's SpatialTransformer (arXiv:2112.10752) over the D*H*W voxels of a latent; every branch ends in a layer
that starts from zero, so that an untrained one is the identity.
"""

from torch import Tensor, nn

from vader3d.blocks import zero_initialised


class TokenAttention(nn.Module):
    """Attention of x [B, Q, C] to `source` [B, T, S]: projections without bias, heads of `head_channels`."""

    def __init__(self, channels: int, source_channels: int, *, head_channels: int):
        super().__init__()
        self.heads = max(1, channels // head_channels)
        if channels % self.heads:
            raise ValueError(f"head_channels: wanted a number that divides {channels} channels; got {head_channels}")
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(source_channels, channels, bias=False)
        self.value = nn.Linear(source_channels, channels, bias=False)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: Tensor, source: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """mask [B, 1, 1, T]: true where a token may be attended to."""
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, tokens in ((self.query, x), (self.key, source), (self.value, source))
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    """GEGLU (arXiv:2002.05202): one half of 4 C channels gated by the GELU of the other, then back to C."""

    def __init__(self, channels: int):
        super().__init__()
        self.widen = nn.Linear(channels, 8 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.widen(x).chunk(2, dim=-1)
        return self.narrow(value * nn.functional.gelu(gate))


class TransformerBlock(nn.Module):
    """Voxels attend to voxels, then to tokens, then a feed-forward layer; each added to its normalised input."""

    def __init__(self, channels: int, token_dim: int, *, head_channels: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(3)])
        self.to_voxels = TokenAttention(channels, channels, head_channels=head_channels)
        self.to_tokens = TokenAttention(channels, token_dim, head_channels=head_channels)
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        normalised = self.norms[0](x)
        x = x + self.to_voxels(normalised, normalised)
        x = x + self.to_tokens(self.norms[1](x), tokens, mask=mask)
        return x + self.feed_forward(self.norms[2](x))


class TokenTransformer3d(nn.Module):
    """x [B, C, D, H, W] and tokens [B, T, token_dim] -> x + what `depth` transformer blocks add to it."""

    def __init__(self, channels: int, token_dim: int, *, depth: int, head_channels: int, mask_padding: bool = False):
        super().__init__()
        most = min(32, max(1, channels // 2))  # a group of one number, of one voxel, would have no spread
        groups = next(count for count in range(most, 0, -1) if channels % count == 0)
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.project_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(
            [TransformerBlock(channels, token_dim, head_channels=head_channels) for _ in range(depth)]
        )
        self.project_out = zero_initialised(nn.Linear(channels, channels))
        self.mask_padding = mask_padding

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        mask = padding_mask(tokens) if self.mask_padding else None
        voxels = self.project_in(self.norm(x).flatten(2).mT)  # [B, D*H*W, C]
        for block in self.blocks:
            voxels = block(voxels, tokens, mask)
        return x + self.project_out(voxels).mT.unflatten(-1, x.shape[2:])


def padding_mask(tokens: Tensor) -> Tensor:
    """[B, 1, 1, T], true where a token is not all zeros; where all tokens are, true throughout (docs/paper.md, A25)."""
    written = (tokens != 0).any(-1)
    return (written | ~written.any(1, keepdim=True))[:, None, None]


def trimmed(tokens: Tensor) -> Tensor:
    """The tokens [B, T, S] without the zeros that all texts end in; one is left. The same where padding is masked."""
    last = (tokens != 0).any(-1).any(0).nonzero().flatten()
    return tokens[:, : int(last[-1]) + 1 if len(last) else 1]
