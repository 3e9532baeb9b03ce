"""The denoising network: sizes, silence before training, refusals."""

import math

import pytest
import torch

from vader3d.diffusion.unet import UNet, UNetConfig, group_norm, sinusoidal_embedding

SMALL = UNetConfig(model_channels=16, channel_multipliers=(1, 2), blocks_per_level=1, head_channels=8)


def unet(config: UNetConfig = SMALL, *, channels_in: int = 5, channels_out: int = 5, resolution: int = 8) -> UNet:
    torch.manual_seed(0)
    return UNet(config, channels_in=channels_in, channels_out=channels_out, resolution=resolution)


def awake(network: UNet) -> UNet:
    """With all zero-initialised layers set to something."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("linear_skip", [False, True])
@pytest.mark.parametrize("channels", [(5, 5), (10, 5)])
def test_it_says_nothing_before_training(linear_skip, channels):
    config = UNetConfig(16, (1, 2), 1, head_channels=8, linear_skip=linear_skip)
    network = unet(config, channels_in=channels[0], channels_out=channels[1])
    out = network(torch.randn(2, channels[0], 8, 8, 8), torch.randn(2))
    assert out.shape == (2, channels[1], 8, 8, 8)
    assert not out.any()


@pytest.mark.parametrize(("config", "millions"), [(UNetConfig(), 216), (UNetConfig(192, blocks_per_level=3), 620)])
def test_the_papers_networks_have_the_papers_sizes(config, millions):
    with torch.device("meta"):
        network = UNet(config, channels_in=256, channels_out=256, resolution=8)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.5)


@pytest.mark.parametrize("resolution", [1, 4, 8, 16])
def test_other_latents_have_their_networks(resolution):
    levels = (1,) if resolution == 1 else (1, 2)
    network = awake(unet(UNetConfig(16, levels, 1, head_channels=8), resolution=resolution)).eval()
    assert network(torch.randn(1, 5, *(resolution,) * 3), torch.zeros(1)).any()


def test_the_noise_level_matters_and_objects_do_not_mix():
    network, x = awake(unet()).eval(), torch.randn(2, 5, 8, 8, 8)
    out = network(x, torch.tensor([0.1, 0.7]))
    torch.testing.assert_close(network(x[1:], torch.tensor([0.7])), out[1:], rtol=1e-4, atol=1e-5)
    assert (network(x[1:], torch.tensor([0.1])) - out[1:]).abs().max() > 1e-3


def test_a_latent_of_one_voxel_has_convolutions_of_one_tap():
    network = unet(UNetConfig(16, (1,), 1, head_channels=8, linear_skip=True), resolution=1)
    kernels = {tuple(layer.kernel_size) for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)}
    assert kernels == {(1, 1, 1)}


def test_every_parameter_learns():
    network = awake(unet(UNetConfig(16, (1, 2), 2, head_channels=8, linear_skip=True)))
    network(torch.randn(2, 5, 8, 8, 8), torch.randn(2)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("resolution", [4, 8])
def test_weight_gradients_stay_finite_in_bfloat16_down_to_two_voxels(resolution):
    levels = {4: (1, 2), 8: (1, 1, 2)}[resolution]  # the last level has 2^3 voxels
    network = awake(unet(UNetConfig(16, levels, 1, head_channels=8), resolution=resolution))
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = network(torch.randn(4, 5, *(resolution,) * 3), torch.randn(4))
        out.float().square().sum().backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_a_latent_that_cannot_be_halved_so_often_is_refused():
    with pytest.raises(ValueError, match=r"channel_multipliers: wanted levels that halve 6; got 3"):
        unet(UNetConfig(16, (1, 1, 1)), resolution=6)


@pytest.mark.parametrize("base", [12, 20, 24, 48, 72])
def test_any_width_divides_into_groups(base):
    network = awake(unet(UNetConfig(base, (1, 2), 1, head_channels=base)))
    assert network(torch.randn(1, 5, 8, 8, 8), torch.zeros(1)).isfinite().all()


@pytest.mark.parametrize(("channels", "groups"), [(384, 32), (512, 32), (128, 32), (64, 16), (16, 4), (144, 24)])
def test_groups_are_at_most_32_and_at_least_4_wide(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"head_channels: .*divide.*40"):
        unet(UNetConfig(40, (1, 1), 1, head_channels=12))


def test_the_embedding_is_cosines_then_sines():
    embedding = sinusoidal_embedding(torch.tensor([0.0, 2.0]), 8)
    assert torch.equal(embedding[0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    expected = [f(2 * 10000 ** (-i / 4)) for f in (math.cos, math.sin) for i in range(4)]
    torch.testing.assert_close(embedding[1], torch.tensor(expected))
