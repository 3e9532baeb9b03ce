"""The decoder: shapes, the two halves, the paper's sizes."""

import pytest
import torch

from vader3d.autodecoder.decoder import Decoder, DecoderConfig, ResidualBlock3d, interleave
from vader3d.blocks import upsample

SMALL = DecoderConfig(code_length=6, channels=(8, 6, 4), blocks_per_level=2, attention_resolutions=(8,))


def decoder_of(config: DecoderConfig) -> Decoder:
    """A decoder whose batch norms have seen something."""
    torch.manual_seed(0)
    decoder = Decoder(config)
    decoder(torch.randn(4, config.code_length))
    return decoder.eval()


@pytest.mark.parametrize("subvoxels", [1, 2, 4])
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("latent_resolution", [1, 4, 8, 16])
def test_shapes_are_what_the_configuration_says(subvoxels, extra, latent_resolution):
    config = DecoderConfig(
        code_length=6,
        channels=(8, 6, 4),
        blocks_per_level=1,
        attention_resolutions=(8,),
        subvoxels=subvoxels,
        extra_channels=extra,
        latent_resolution=latent_resolution,
    )
    decoder = decoder_of(config)
    latent = decoder.to_latent(torch.randn(2, 6))
    assert latent.shape == (2, *config.latent_shape)
    assert config.latent_shape == ({1: 6, 4: 8, 8: 6, 16: 4}[latent_resolution], *(latent_resolution,) * 3)
    volume = decoder.to_volume(latent)
    assert config.volume_resolution == 16 * subvoxels
    assert volume.grid.shape == (2, 4 + extra, *(16 * subvoxels,) * 3)
    assert volume.colour.shape[1] == 3
    assert volume.raw_density.shape[1] == 1
    assert volume.extra.shape[1] == extra


@pytest.mark.parametrize("latent_resolution", [1, 4, 8, 16])
@pytest.mark.parametrize("subvoxels", [1, 2])
def test_the_two_halves_are_the_whole_bit_for_bit(latent_resolution, subvoxels):
    config = DecoderConfig(
        code_length=6,
        channels=(8, 6, 4),
        attention_resolutions=(8, 16),
        latent_resolution=latent_resolution,
        subvoxels=subvoxels,
    )
    decoder, codes = decoder_of(config), torch.randn(3, 6)
    assert torch.equal(decoder.to_volume(decoder.to_latent(codes)).grid, decoder(codes).grid)


def test_both_ways_to_a_volume_say_how_its_density_is_read():
    decoder = Decoder(SMALL, activation="softplus", density_scale=25.0).eval()
    codes = torch.randn(2, 6)
    for volume in (decoder(codes), decoder.to_volume(decoder.to_latent(codes))):
        assert (volume.activation, volume.density_scale) == ("softplus", 25.0)
    with pytest.raises(ValueError, match="activation: wanted one of relu, softplus; got 'tanh'"):
        Decoder(SMALL, activation="tanh")(codes)


def test_a_latent_from_the_disk_decodes_as_the_same_object():
    """Memory layout must not matter: stored latents come back contiguous."""
    decoder, codes = decoder_of(SMALL), torch.randn(3, 6)
    latent = decoder.to_latent(codes).contiguous().clone()
    torch.testing.assert_close(decoder.to_volume(latent).grid, decoder(codes).grid, rtol=1e-5, atol=1e-6)


def test_objects_of_a_batch_do_not_mix_in_evaluation_mode():
    decoder, codes = decoder_of(SMALL), torch.randn(3, 6)
    alone = torch.cat([decoder(code[None]).grid for code in codes])
    torch.testing.assert_close(decoder(codes).grid, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("blocks", "millions"), [(4, 55.3), (2, 45.85)])
def test_the_papers_decoder_has_the_papers_size(blocks, millions):
    with torch.device("meta"):
        decoder = Decoder(DecoderConfig(blocks_per_level=blocks))
    assert decoder.config.volume_resolution == 64
    assert decoder.config.latent_shape == (256, 8, 8, 8)
    assert sum(p.numel() for p in decoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert decoder.stem.weight.numel() / 1e6 == pytest.approx(33.6, abs=0.05)


def test_the_paper_attends_at_the_ends_of_8_and_16():
    with torch.device("meta"):
        decoder = Decoder(DecoderConfig())
    attending = [type(level[-1]).__name__ == "Attention3d" for level in decoder.levels]
    assert attending == [True, True, False, False]
    assert [len(level) for level in decoder.levels] == [5, 5, 4, 4]


def test_a_latent_resolution_between_levels_is_refused():
    with pytest.raises(ValueError, match=r"latent_resolution: wanted one of \[1, 4, 8, 16\]; got 12"):
        Decoder(DecoderConfig(channels=(8, 6, 4), latent_resolution=12))


@pytest.mark.parametrize("subvoxels", [1, 2])
def test_an_untrained_head_leans_to_grey_and_the_configured_density(subvoxels):
    decoder = Decoder(DecoderConfig(code_length=6, channels=(8, 4), subvoxels=subvoxels, initial_density=0.7))
    torch.nn.init.zeros_(decoder.head.weight)
    volume = decoder.to_volume(torch.randn(1, 4, 8, 8, 8))
    assert torch.equal(volume.colour, torch.full_like(volume.colour, 0.5))
    torch.testing.assert_close(volume.raw_density, torch.full_like(volume.raw_density, 0.7))


def test_interleaved_channels_become_the_voxels_they_stand_for():
    factor, channels, size = 2, 3, 4
    x = torch.randn(2, factor**3 * channels, size, size, size)
    big = interleave(x, factor)
    assert big.shape == (2, channels, 8, 8, 8)
    for z, y, x_, c in ((0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 2), (0, 0, 1, 0), (1, 1, 1, 2)):
        source = ((z * factor + y) * factor + x_) * channels + c
        assert torch.equal(big[:, c, z::2, y::2, x_::2], x[:, source])


def test_interleave_by_one_is_the_input():
    x = torch.randn(1, 4, 3, 3, 3)
    assert interleave(x, 1) is x


@pytest.mark.parametrize("norm_order", ["before", "after"])
def test_an_up_sampling_block_is_that_of_the_doubled_input(norm_order):
    """Values, gradients and running statistics: the size is doubled where it is cheapest, not where it is written."""
    torch.manual_seed(0)
    up = ResidualBlock3d(4, 3, up=True, norm_order=norm_order).double()
    plain = ResidualBlock3d(4, 3, up=True, norm_order=norm_order).double()
    plain.load_state_dict(up.state_dict())
    plain.up = False  # its input is doubled here
    x = torch.randn(2, 4, 3, 3, 3, dtype=torch.float64)
    ours, theirs = up(x), plain(upsample(x))
    torch.testing.assert_close(ours, theirs)
    for output in (ours, theirs):
        output.square().sum().backward()
    for mine, other in zip(up.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    for mine, other in zip(up.buffers(), plain.buffers(), strict=True):  # unbiased variances: of n and of 8 n
        torch.testing.assert_close(mine.double(), other.double(), rtol=0.02, atol=1e-3)


def test_a_residual_block_adds_to_its_resized_input():
    """Section B.1: skip + main, ReLU before norm, no activation on what comes out."""
    block = ResidualBlock3d(4, 2, up=True).eval()
    torch.nn.init.zeros_(block.main[-1].weight)
    torch.nn.init.zeros_(block.main[-1].bias)
    x = torch.randn(1, 4, 2, 2, 2)
    big = x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(block(x), block.skip(big))
    assert [type(layer).__name__ for layer in block.main[:3]] == ["ReLU", "BatchNorm3d", "Conv3d"]
