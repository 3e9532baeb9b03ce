"""Guidance: its formula, its price in passes, and what scales, intervals and rescaling leave alone."""

import math

import pytest
import torch
from near import assert_but_for_rounding
from torch import nn

from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.denoiser import Denoiser, GaussianPrior
from vader3d.diffusion.unet import UNet, UNetConfig

SHAPE = (4, 2, 2, 2)


def denoiser(*, seed: int = 0, token_dim: int = 6) -> Denoiser:
    """A small one that reads tokens of 6 numbers, its branches open."""
    torch.manual_seed(seed)
    config = UNetConfig(
        model_channels=8,
        channel_multipliers=(1,),
        blocks_per_level=1,
        attention_resolutions=(),
        head_channels=8,
        dropout=0.0,
        token_dim=token_dim,
        token_resolutions=(2,),
    )
    network = UNet(config, channels_in=4, channels_out=4, resolution=2)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return Denoiser(network, GaussianPrior(math.prod(SHAPE), rest=0.25)).eval().requires_grad_(False)


class Counted:
    """A denoiser that notes of every call how many latents and texts it is asked for."""

    def __init__(self, inner: Denoiser):
        self.inner, self.batches = inner, []

    def __call__(self, x, sigma, tokens=None):
        self.batches.append((len(x), 0 if tokens is None else len(tokens)))
        return self.inner(x, sigma, tokens)


class OneByOne(Counted):
    """A denoiser whose products do not depend on the size of its batch, as those of a CPU do."""

    def __call__(self, x, sigma, tokens=None):
        texts = [None] * len(x) if tokens is None else tokens.split(1)
        rows = [row for _ in range(len(texts) // len(x)) for row in zip(x.split(1), sigma.split(1), strict=True)]
        return torch.cat([self.inner(*row, text) for row, text in zip(rows, texts, strict=True)])


def inputs(count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    return draw(count, *SHAPE), torch.tensor(0.7), draw(count, 5, 6)


def near(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [-1.0, 0.0, 1.0, 3.0])
def test_guidance_is_a_step_from_the_unconditional_to_the_conditional(scale):
    model, (x, sigma, tokens) = denoiser(), inputs()
    without, with_text = model(x, sigma), model(x, sigma, tokens)
    assert not torch.allclose(without, with_text, atol=1e-3)
    near(guided(model, tokens, guidance_scale=scale)(x, sigma), without + scale * (with_text - without))


def test_guidance_is_one_pass_of_two_texts_a_latent_and_scale_1_a_plain_one():
    model, (x, sigma, tokens) = Counted(denoiser()), inputs()
    guided(model, tokens, guidance_scale=3.0)(x, sigma)
    plain = guided(model, tokens, guidance_scale=1.0)(x, sigma)
    guided(model, tokens, guidance_scale=torch.ones(3))(x, sigma)
    guided(model, None, guidance_scale=3.0)(x, sigma)  # nothing to guide to
    assert model.batches == [(3, 6), (3, 3), (3, 3), (3, 0)]
    assert torch.equal(plain, model.inner(x, sigma, tokens))


def test_every_sample_has_its_own_scale_and_1_leaves_it_as_it_is():
    model, (x, sigma, tokens) = denoiser(), inputs()
    mixed = guided(model, tokens, guidance_scale=torch.tensor([1.0, 2.0, 5.0]))(x, sigma)
    for row, scale in enumerate((1.0, 2.0, 5.0)):
        near(mixed[row], guided(model, tokens, guidance_scale=scale)(x, sigma)[row])
    conditional = model(x, sigma, torch.cat([torch.zeros_like(tokens), tokens]))[3:]
    assert torch.equal(mixed[0], conditional[0])


def test_outside_of_the_interval_the_text_alone_is_heeded():
    model, (x, _, tokens) = Counted(denoiser()), inputs()
    within = guided(model, tokens, guidance_scale=3.0, interval=(0.3, 2.0))
    always = guided(model, tokens, guidance_scale=3.0)
    for sigma, inside in ((0.1, False), (0.3, False), (0.31, True), (2.0, True), (2.1, False)):
        model.batches.clear()
        made = within(x, torch.tensor(sigma))
        assert model.batches == [(3, 6 if inside else 3)]
        expected = always(x, torch.tensor(sigma)) if inside else model.inner(x, torch.tensor(sigma), tokens)
        assert torch.equal(made, expected)
    levels = torch.tensor([0.1, 1.0, 5.0])
    made, plain = within(x, levels), model.inner(x, levels, tokens)
    near(made[[0, 2]], plain[[0, 2]])
    assert not torch.allclose(made[1], plain[1], atol=1e-3)


def test_rescaling_brings_each_sample_s_deviation_back():
    model, (x, sigma, tokens) = denoiser(), inputs()
    conditional = model(x, sigma, tokens)
    plain, half, whole = (guided(model, tokens, guidance_scale=30.0, rescale=r)(x, sigma) for r in (0.0, 0.5, 1.0))
    deviation = lambda made: made.flatten(1).std(1)  # noqa: E731
    near(deviation(whole), deviation(conditional))
    near(half, (plain + whole) / 2)  # the paper's mixture
    assert float((deviation(plain) / deviation(conditional) - 1).abs().max()) > 0.1


def test_negative_tokens_stand_in_for_no_tokens():
    model, (x, sigma, tokens) = denoiser(), inputs()
    negative = tokens.flip(0)
    against, with_text = model(x, sigma, negative), model(x, sigma, tokens)
    made = guided(model, tokens, guidance_scale=3.0, negative_tokens=negative)(x, sigma)
    near(made, against + 3 * (with_text - against))
    one = guided(model, tokens, guidance_scale=3.0, negative_tokens=negative[:1])(x, sigma)
    near(one[0], made[0])
    none = guided(model, tokens, guidance_scale=3.0, negative_tokens=torch.zeros(1, 5, 6))(x, sigma)
    near(none, guided(model, tokens, guidance_scale=3.0)(x, sigma))


def test_an_earlier_self_guides_with_text_and_without():
    model, earlier, (x, sigma, tokens) = denoiser(), denoiser(seed=1), inputs()
    good, bad = model(x, sigma, tokens), earlier(x, sigma, tokens)
    near(guided(model, tokens, guidance_scale=2.0, guide=earlier)(x, sigma), bad + 2 * (good - bad))
    model, earlier = denoiser(token_dim=0), denoiser(seed=1, token_dim=0)
    good, bad = model(x, sigma), earlier(x, sigma)
    near(guided(model, None, guidance_scale=2.0, guide=earlier)(x, sigma), bad + 2 * (good - bad))


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("more", [{}, {"interval": (0.5, 2.0), "rescale": 0.7}])
def test_a_batch_of_one_equals_its_place_in_any_batch(scale, more):
    model, (x, sigma, tokens) = OneByOne(denoiser()), inputs(4)
    whole = guided(model, tokens, guidance_scale=torch.tensor([scale, 2.0, 1.0, 6.0]), **more)(x, sigma)
    alone = guided(model, tokens[:1], guidance_scale=scale, **more)(x[:1], sigma)
    assert_but_for_rounding(whole[:1], alone)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"guidance_scale": math.nan}, "guidance_scale: wanted a finite number"),
        ({"guidance_scale": torch.ones(2, 2)}, "guidance_scale: wanted a finite number, or one for each sample"),
        ({"interval": (2.0, 1.0)}, "interval: wanted noise levels, the lower one first"),
        ({"rescale": 1.5}, "rescale: wanted 0 to 1; got 1.5"),
        (
            {"negative_tokens": torch.zeros(3, 4, 6)},
            r"negative_tokens: wanted \[3, 5, 6\] or one text; got \[3, 4, 6\]",
        ),
    ],
)
def test_what_does_not_fit_is_named(settings, said):
    _, _, tokens = inputs()
    with pytest.raises(ValueError, match=said):
        guided(denoiser(), tokens, **settings)


def test_negative_tokens_alone_are_refused():
    with pytest.raises(ValueError, match="negative_tokens: wanted none without tokens"):
        guided(denoiser(), None, negative_tokens=torch.zeros(1, 5, 6))
