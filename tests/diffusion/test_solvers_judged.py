"""The solvers against those of diffusers: the same network, noise levels and noise."""

import pytest
import torch

from vader3d.diffusion.denoiser import Denoiser, GaussianPrior
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import dpmpp_2m, dpmpp_2m_sde, euler, heun
from vader3d.diffusion.unet import UNet, UNetConfig

diffusers = pytest.importorskip("diffusers", reason="the dev extra has it")

SHAPE = (3, 4, 2, 2, 2)
SIGMA_DATA = 0.5


@pytest.fixture(scope="module")
def denoiser():
    """A small network whose weights are all random, so that it is anything but linear."""
    torch.manual_seed(0)
    config = UNetConfig(16, (1,), 1, attention_resolutions=(2,), head_channels=8, dropout=0.0)
    network = UNet(config, channels_in=4, channels_out=4, resolution=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model = Denoiser(network, GaussianPrior(32, rest=SIGMA_DATA**2), sigma_data=SIGMA_DATA).eval()
    with torch.no_grad():
        yield model


@pytest.fixture
def noise():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def judged_edm(scheduler, denoiser, noise, steps, **how):
    """Where one of diffusers' schedulers for EDM's networks leads; it is told F, and makes D of it itself."""
    scheduler.set_timesteps(steps)
    torch.testing.assert_close(scheduler.sigmas.double(), edm_sigmas(steps), rtol=1e-5, atol=0)
    x = noise * scheduler.sigmas[0]
    for time, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        scheduler.scale_model_input(x, time)
        root = (sigma**2 + SIGMA_DATA**2).sqrt()
        network = (denoiser(x, sigma) - SIGMA_DATA**2 / root**2 * x) * root / (sigma * SIGMA_DATA)
        x = scheduler.step(network, time, x, **how).prev_sample
    return x


def assert_agree(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 20])
def test_dpm_solver_2m(denoiser, noise, steps):
    judge = diffusers.EDMDPMSolverMultistepScheduler(sigma_data=SIGMA_DATA)
    assert_agree(dpmpp_2m(denoiser, noise, edm_sigmas(steps)), judged_edm(judge, denoiser, noise, steps))


@pytest.mark.parametrize("steps", [3, 12, 20])
def test_sde_dpm_solver_2m(denoiser, noise, steps):
    judge = diffusers.EDMDPMSolverMultistepScheduler(sigma_data=SIGMA_DATA, algorithm_type="sde-dpmsolver++")
    theirs = judged_edm(judge, denoiser, noise, steps, generator=torch.Generator().manual_seed(2))
    fresh = torch.Generator().manual_seed(2)
    ours = dpmpp_2m_sde(denoiser, noise, edm_sigmas(steps), draw=lambda: torch.randn(SHAPE, generator=fresh))
    assert_agree(ours, theirs)


@pytest.mark.parametrize("steps", [2, 12])
def test_euler(denoiser, noise, steps):
    judge = diffusers.EDMEulerScheduler(sigma_data=SIGMA_DATA)
    assert_agree(euler(denoiser, noise, edm_sigmas(steps)), judged_edm(judge, denoiser, noise, steps))


@pytest.mark.parametrize("steps", [2, 12])
def test_heun(denoiser, noise, steps):
    """On that scheduler's own levels, each of which it lists twice; it is told (x - D) / sigma."""
    judge = diffusers.HeunDiscreteScheduler(use_karras_sigmas=True)
    judge.set_timesteps(steps)
    x = noise * judge.sigmas[0]
    for place, time in enumerate(judge.timesteps):
        sigma = judge.sigmas[place]
        x = judge.step((x - denoiser(x, sigma)) / sigma, time, x).prev_sample
    levels = torch.cat([judge.sigmas[:-1:2], judge.sigmas[-1:]]).double()
    assert_agree(heun(denoiser, noise, levels), x)
