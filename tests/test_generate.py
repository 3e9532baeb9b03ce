"""Sampling and decoding: on the right device throughout, and the same when compiled."""

import dataclasses

import pytest
import torch

from vader3d.autodecoder.decoder import Decoder
from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.model import build_denoiser
from vader3d.diffusion.solvers import STOCHASTIC
from vader3d.generate import Generator
from vader3d.latents import LatentStatistics
from vader3d.machine import chosen_device
from vader3d.presets import preset
from vader3d.randomness import sample_seed

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def generator(device: str = "cpu", *, token_dim: int = 0) -> Generator:
    """Untrained networks of the tiny preset, their last layers not silent."""
    torch.manual_seed(0)
    tiny = preset("tiny")
    unet = dataclasses.replace(tiny.diffusion.unet, token_dim=token_dim, token_resolutions=(4,))
    config = dataclasses.replace(tiny.diffusion, unet=unet)
    render = tiny.autodecoder.render
    decoder = Decoder(tiny.autodecoder.decoder, activation=render.activation, density_scale=render.density_scale)
    decoder = decoder.eval().requires_grad_(False)
    denoiser = build_denoiser(config, decoder.config.latent_shape, rank=0).eval().requires_grad_(False)
    torch.nn.init.normal_(denoiser.network.conv_out.weight, std=0.02)
    statistics = LatentStatistics(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1))
    return Generator(decoder.to(device), render, denoiser.to(device), statistics)


def near(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Alike but for the rounding of bfloat16 and another order of sums."""
    return bool((one - two).abs().max() < 0.03 * one.abs().max())


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_draws_what_the_cpu_draws(compiled):
    one, two = generator(), generator("cuda")
    two = two.compiled() if compiled else two
    latents = one.sample_latents([1, 2], steps=4, churn=STOCHASTIC)
    assert near(latents, two.sample_latents([1, 2], steps=4, churn=STOCHASTIC))
    assert near(one.to_latent(torch.ones(1, 32)), two.to_latent(torch.ones(1, 32)))
    assert near(one.decode(latents).grid, two.decode(latents).grid.cpu())
    one, two = (made(1, steps=2)[0].turntable(frames=2, size=32) for made in (one, two))
    assert (one.int() - two.int()).abs().float().mean() < 3


@pytest.mark.gpu
@GPU
def test_guidance_runs_on_a_gpu():
    made = generator("cuda", token_dim=8)
    denoiser = guided(made.denoiser, torch.randn(2, 5, 8, device="cuda"), guidance_scale=3.0)
    assert made.sample_latents([1, 2], steps=2, denoiser=denoiser).isfinite().all()


def test_a_compiled_generator_draws_the_same(monkeypatch):
    """Traced as ever, but run by torch's own kernels: compiling others takes half a minute."""
    plain, compile_with = generator(), torch.compile
    monkeypatch.setattr("torch.compile", lambda what, *, mode, dynamic: compile_with(what, backend="aot_eager"))
    compiled = plain.compiled()
    assert compiled is not plain
    assert compiled.denoiser is not plain.denoiser
    one, two = plain.sample_latents([3, 4], steps=2), compiled.sample_latents([3, 4], steps=2)
    assert near(one, two)
    assert not torch.equal(one[0], one[1])


def test_a_gpu_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("model.safetensors", "autodecoder.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"device: wanted cuda; got a machine without a CUDA device"):
        Generator.from_pretrained(tmp_path, device="cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:0", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ValueError, match=f"device: wanted auto, cpu or cuda; got '{name}'"):
        chosen_device(name)


@pytest.mark.parametrize(("number", "least"), [("count", 1), ("batch", 1), ("steps", 1), ("seed", 0)])
def test_numbers_too_small_are_named_before_anything_is_drawn(number, least):
    with pytest.raises(ValueError, match=f"{number}: wanted {least} or more; got {least - 1}"):
        generator()(**{number: least - 1})


def test_every_object_of_every_seed_has_noise_of_its_own():
    numbers = {
        float(torch.randn((), generator=torch.Generator().manual_seed(sample_seed(seed, index))))
        for seed in range(20)
        for index in range(50)
    }
    assert len(numbers) > 995  # the number has 24 bits: a few may meet by chance
    seeds = {sample_seed(seed, index) for seed in range(100) for index in range(10_000)}
    assert len(seeds) == 1_000_000
    assert max(seeds) < 1 << 32


def test_another_seed_draws_other_objects():
    made = generator()
    one, again, other = (made.sample_latents([sample_seed(seed, 0)], steps=2) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not near(other, one)
