"""Cross-attention to texts: against torch's own attention, and what zeros and padding mean."""

import pytest
import torch
from torch import nn

from vader3d.diffusion.transformer import TokenAttention, TokenTransformer3d, padding_mask
from vader3d.diffusion.unet import UNet, UNetConfig


def network(*, token_resolutions: tuple[int, ...] = (4, 2), **settings) -> UNet:
    """A small U-Net that reads tokens of 6 numbers, all its branches open."""
    torch.manual_seed(0)
    config = UNetConfig(
        model_channels=8,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        attention_resolutions=(4, 2),
        head_channels=8,
        dropout=0.0,
        token_dim=6,
        token_resolutions=token_resolutions,
        linear_skip=True,
        **settings,
    )
    made = UNet(config, channels_in=4, channels_out=4, resolution=4).eval()
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return made


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    return draw(2, 4, 4, 4, 4), draw(2), draw(2, 5, 6)


def test_attention_to_tokens_is_torch_s():
    ours = TokenAttention(16, 6, head_channels=4)
    judge = nn.MultiheadAttention(16, 4, bias=False, kdim=6, vdim=6, batch_first=True)
    judge.q_proj_weight, judge.k_proj_weight, judge.v_proj_weight = (
        ours.query.weight,
        ours.key.weight,
        ours.value.weight,
    )
    judge.out_proj.weight, judge.out_proj.bias = ours.projection.weight, ours.projection.bias
    x, tokens = torch.randn(2, 7, 16), torch.randn(2, 5, 6)
    torch.testing.assert_close(ours(x, tokens), judge(x, tokens, tokens)[0])


@pytest.mark.parametrize("channels", [1, 8, 32, 48, 208])
def test_one_voxel_of_any_width_is_normalised(channels):
    layer = TokenTransformer3d(channels, 6, depth=1, head_channels=1)
    assert channels == 1 or layer.norm.num_channels >= 2 * layer.norm.num_groups
    assert layer(torch.randn(2, channels, 1, 1, 1), torch.randn(2, 3, 6)).isfinite().all()


def test_untrained_it_is_the_identity():
    x = torch.randn(2, 8, 2, 2, 2)
    assert torch.equal(TokenTransformer3d(8, 6, depth=2, head_channels=4)(x, torch.randn(2, 3, 6)), x)


@pytest.mark.parametrize("attention", ["after", "instead"])
def test_no_tokens_are_tokens_of_zeros_and_texts_matter(attention):
    net, (x, noise, tokens) = network(token_attention=attention), inputs()
    unconditional = net(x, noise)
    torch.testing.assert_close(net(x, noise, torch.zeros(2, 32, 6)), unconditional)
    assert not torch.allclose(net(x, noise, tokens), unconditional, atol=1e-3)


def test_instead_leaves_out_the_self_attention_beside_it():
    after, instead = (sum(p.numel() for p in network(token_attention=a).parameters()) for a in ("after", "instead"))
    assert instead < after


@pytest.mark.parametrize("masked", [False, True])
def test_padding_changes_nothing_where_it_is_masked(masked):
    net, (x, noise, tokens) = network(mask_padding=masked), inputs()
    padded = torch.cat([tokens, torch.zeros(2, 3, 6)], 1)
    same = torch.allclose(net(x, noise, padded), net(x, noise, tokens), atol=1e-5)
    assert same == masked


def test_a_text_of_zeros_alone_is_attended_to():
    tokens = torch.zeros(2, 3, 6)
    tokens[0, 1] = 1
    assert padding_mask(tokens)[:, 0, 0].tolist() == [[False, True, False], [True, True, True]]


@pytest.mark.parametrize("resolutions", [(4, 2), (2,), (1,)])
def test_several_texts_of_a_latent_are_as_many_latents_and_share_what_comes_before_them(resolutions):
    net, (x, noise, tokens) = network(token_resolutions=resolutions), inputs()
    tokens = torch.cat([torch.zeros_like(tokens), tokens, tokens.flip(0)])
    expected = net(x.repeat(3, 1, 1, 1, 1), noise.repeat(3), tokens)
    rows: list[int] = []
    for block in net.encoder:
        block.conv1.register_forward_hook(lambda _, __, made: rows.append(len(made)))
    torch.testing.assert_close(net(x, noise, tokens), expected)
    first_with_text = {(4, 2): 1, (2,): 3, (1,): 3}[resolutions]  # of three blocks, the last two of 2^3
    assert rows == [2] * first_with_text + [6] * (3 - first_with_text)
    with pytest.raises(ValueError, match=r"tokens: wanted \[2, T, 6\]; got \[3, 5, 6\]"):
        net(x, noise, tokens[:3])
