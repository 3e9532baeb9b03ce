"""Sampling and decoding: on the right device throughout, and the same when compiled."""

import copy
import dataclasses
from dataclasses import replace

import pytest
import torch
from near import assert_but_for_rounding

from vader3d.autodecoder.decoder import Decoder
from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.model import build_denoiser, save_denoiser
from vader3d.diffusion.solvers import STOCHASTIC
from vader3d.frozen.vocabulary import Vocabulary
from vader3d.generate import Generator
from vader3d.generate.recipes import Recipe
from vader3d.latents import LatentStatistics
from vader3d.machine import chosen_device
from vader3d.presets import preset
from vader3d.randomness import sample_seed
from vader3d.text.tokens import note_of

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


WORDS = ("red", "blue", "chair", "table")


def generator(device: str = "cpu", *, token_dim: int = 0, encoder: Vocabulary | None = None) -> Generator:
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
    for block in [*denoiser.network.encoder, *denoiser.network.middle, *denoiser.network.decoder]:
        if block.transformer is not None:
            torch.nn.init.normal_(block.transformer.project_out.weight, std=0.2)
    return Generator(decoder.to(device), render, denoiser.to(device), statistics, text_encoder=encoder)


@pytest.fixture(scope="module")
def speaking() -> Generator:
    """One that knows some words."""
    encoder = Vocabulary(WORDS, length=8)
    return generator(token_dim=encoder.width, encoder=encoder)


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
    one, two = (made(count=1, num_inference_steps=2)[0].turntable(frames=2, size=32) for made in (one, two))
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count: wanted 1 or more; got 0"),
        ({"batch": 0}, "batch: wanted 1 or more; got 0"),
        ({"num_inference_steps": 0}, "steps: wanted 1 or more; got 0"),
        ({"seed": -1}, "seed: wanted at least 0 .*; got -1"),
        ({"output_type": "mesh"}, "output_type: wanted one of asset, latent, pil, np, pt; got 'mesh'"),
        ({"latents": torch.zeros(2, 64, 4, 4, 4)}, r"latents: wanted \[1, .*\], finite; got \[2, 64, 4, 4, 4\]"),
        ({"count": 2, "generator": [torch.Generator()]}, "generator: wanted one, or one for each of 2 objects; got 1"),
        ({"prompt": "a chair"}, "prompt: wanted none, the model was trained without texts; got 'a chair'"),
        ({"prompt": 7}, "prompt: wanted"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_drawn(wrong, message, monkeypatch):
    made = generator()
    monkeypatch.setattr(made, "noises", None)
    with pytest.raises(ValueError, match=message):
        made(**wrong)


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


# The contract of diffusers' pipelines, as far as the names are theirs.
def latents(made: Generator, *arguments, **options) -> torch.Tensor:
    return made(*arguments, output_type="latent", num_inference_steps=2, **options)


def test_one_object_is_what_it_is_in_any_batch(speaking):
    many = latents(
        speaking, ["a red chair", "", "a blue table"], count=2, seed=[3, 3, 4], guidance_scale=[3.0, 1.0, 5.0]
    )
    assert many.shape == (6, *speaking.latent_shape)
    again = latents(
        speaking, ["a red chair", "", "a blue table"], count=2, seed=[3, 3, 4], guidance_scale=[3, 1, 5], batch=1
    )
    assert_but_for_rounding(many, again)
    assert_but_for_rounding(many[:2], latents(speaking, "a red chair", count=2, seed=3))
    assert_but_for_rounding(many[2:3], latents(speaking, seed=3, guidance_scale=1.0))
    assert_but_for_rounding(many[5:], latents(speaking, "a blue table", count=2, seed=4, guidance_scale=5.0)[1:])


def test_words_guidance_and_negative_prompts_matter(speaking):
    plain = latents(speaking, "a red chair")
    for other in (
        latents(speaking, "a blue chair"),
        latents(speaking),
        latents(speaking, "a red chair", guidance_scale=1.0),
        latents(speaking, "a red chair", negative_prompt="a table"),
    ):
        assert not near(plain, other)
    assert torch.equal(latents(speaking, ""), latents(speaking, None))
    assert torch.equal(latents(speaking, "  "), latents(speaking, guidance_scale=7.0))


def test_guidance_has_an_interval_and_a_rescaling(speaking):
    plain = latents(speaking, "a red chair")
    assert torch.equal(latents(speaking, "a red chair", guidance_interval=(0.0, 1e9), guidance_rescale=0.0), plain)
    never = latents(speaking, "a red chair", guidance_interval=(1e8, 1e9))
    assert torch.equal(never, latents(speaking, "a red chair", guidance_scale=1.0))
    for changed in ({"guidance_interval": (0.0, 1.0)}, {"guidance_rescale": 0.5}):
        assert not torch.equal(latents(speaking, "a red chair", **changed), plain)


def snapshot_of(made: Generator, path, *, change: float, median: float = 0.0):
    """Its denoiser as a file, changed a little."""
    tiny = preset("tiny").diffusion
    unet = dataclasses.replace(tiny.unet, token_dim=made.text_encoder.width, token_resolutions=(4,))
    denoiser = copy.deepcopy(made.denoiser)
    weight = denoiser.network.conv_out.weight
    weight += 0.02 * change * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    statistics = LatentStatistics(torch.full((1, 1, 1, 1, 1), median), torch.ones(1, 1, 1, 1, 1))
    config = dataclasses.replace(tiny, unet=unet)
    save_denoiser(path, denoiser, config, statistics, made.latent_shape, text=note_of(made.text_encoder))
    return path


def test_an_earlier_snapshot_guides_with_and_without_words(speaking, tmp_path):
    same, earlier = (snapshot_of(speaking, tmp_path / f"{change}.safetensors", change=change) for change in (0, 1))
    unguided = latents(speaking, "a red chair", guidance_scale=1.0)
    assert_but_for_rounding(latents(speaking, "a red chair", guide=same), unguided)  # it leads nowhere
    assert near(latents(speaking, guide=same), latents(speaking))
    for asked in ({"prompt": "a red chair"}, {}, {"prompt": "a red chair", "negative_prompt": "a table"}):
        assert not near(latents(speaking, **asked, guide=earlier), latents(speaking, **asked))
    prompts, options = ["a red chair", "", "a blue table"], {"guide": earlier, "guidance_rescale": 0.7}
    many = latents(speaking, prompts, negative_prompt=["", "", "red"], **options)
    assert_but_for_rounding(many, latents(speaking, prompts, negative_prompt=["", "", "red"], batch=1, **options))


def test_a_guide_of_another_run_is_refused(speaking, tmp_path):
    other = snapshot_of(speaking, tmp_path / "other.safetensors", change=1, median=0.5)
    with pytest.raises(ValueError, match=r"guide: wanted an earlier snapshot of the model's own run; got .*other"):
        latents(speaking, guide=other)
    with pytest.raises(ValueError, match="guide: wanted the snapshot abc; got none; name it: --guide"):
        speaking.check([Recipe(start=Recipe(guide="abc"))])


def test_the_other_names_of_diffusers_mean_the_same(speaking):
    assert torch.equal(latents(speaking, "a chair", num_images_per_prompt=2), latents(speaking, "a chair", count=2))
    tokens = speaking.tokens(["a red chair"])
    assert torch.equal(latents(speaking, prompt_embeds=tokens), latents(speaking, "a red chair"))
    noise = torch.randn(2, *speaking.latent_shape, generator=torch.Generator().manual_seed(7))
    given = latents(speaking, "a chair", count=2, latents=noise)
    assert torch.equal(given, latents(speaking, "a chair", count=2, generator=torch.Generator().manual_seed(7)))
    one_each = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    first = torch.randn(speaking.latent_shape, generator=torch.Generator().manual_seed(2))
    assert_but_for_rounding(latents(speaking, count=2, generator=one_each)[1:], latents(speaking, latents=first[None]))


def test_a_callback_sees_every_step_and_may_stop(speaking):
    seen = []

    def each(made, step, sigma, values):
        seen.append((step, sigma, values["latents"].shape))
        made.interrupt = step == stop

    stop = -1
    latents(speaking, "a chair", count=3, callback_on_step_end=each)
    assert [step for step, _, _ in seen] == [0, 1]
    assert seen[0][1] == pytest.approx(80)  # 10 sqrt(4^3)
    assert seen[0][2] == (3, *speaking.latent_shape)
    seen.clear()
    stop = 0
    stopped = speaking(
        "a chair", count=3, num_inference_steps=9, output_type="latent", callback_on_step_end=each, batch=2
    )
    assert len(seen) == 1
    assert len(stopped) == 2  # those of the batch it stopped in


def test_a_callback_may_give_back_other_latents(speaking):
    plain = latents(speaking, "a chair")
    same = latents(speaking, "a chair", callback_on_step_end=lambda made, step, sigma, values: values)
    assert torch.equal(same, plain)
    zeros = latents(
        speaking, "a chair", callback_on_step_end=lambda made, step, sigma, values: {"latents": 0 * values["latents"]}
    )
    assert torch.equal(zeros, speaking.statistics.denormalise(torch.zeros_like(plain)))


def test_outputs_are_of_the_type_that_is_asked_for(speaking):
    kinds = {
        kind: speaking("a chair", count=2, num_inference_steps=1, output_type=kind)
        for kind in ("asset", "pil", "np", "pt")
    }
    assert [asset.name for asset in kinds["asset"]] == ["a-chair-seed0-000", "a-chair-seed0-001"]
    assert kinds["asset"][1].provenance["prompt"] == "a chair"
    assert kinds["pil"][0].size == (128, 128)
    assert kinds["np"].shape == (2, 128, 128, 3)
    assert kinds["pt"].shape == (2, 3, 128, 128)


def test_ways_lead_from_one_recipe_to_the_other(speaking):
    a, b = Recipe(prompt="a red chair", seed=1, steps=2), Recipe(prompt="a blue table", seed=2, steps=2)
    way = [replace(a, towards=b, fraction=fraction) for fraction in (0.0, 0.5, 1.0)]
    start, middle, end = speaking.latents_of(way)
    assert near(start, speaking.latents_of([a])[0])
    assert near(end, speaking.latents_of([b])[0])
    assert not near(start, middle)


def test_variations_are_as_far_as_their_strength(speaking):
    base = Recipe(seed=1, steps=4)
    one = speaking.latents_of([base])
    near_one, far = (
        speaking.latents_of([Recipe(seed=2, steps=4, start=base, strength=strength)]) for strength in (0.1, 0.9)
    )
    assert (near_one - one).norm() < 0.2 * (far - one).norm()
    assert near(speaking.latents_of([Recipe(seed=2, start=base, strength=0.0)]), one)


def test_a_box_is_kept(speaking):
    base = Recipe(seed=1, steps=8)
    lower_half = (-1.0, -1.0, -1.0, 1.0, 1.0, 0.0)
    free, kept = (
        speaking.latents_of([Recipe(seed=2, steps=8, start=base, strength=1.0, keep_box=box)])
        for box in (None, lower_half)
    )
    one = speaking.latents_of([base])
    below = slice(0, 2)  # of the latent's four layers
    assert near(kept[:, :, below], one[:, :, below])
    assert not near(kept[:, :, 2:], one[:, :, 2:])
    assert not near(free[:, :, below], one[:, :, below])
