"""Paths, variations and kept parts, against Gaussians whose answers are known."""

import math
from itertools import pairwise

import pytest
import torch

from vader3d.diffusion.edits import (
    agreeing,
    box_mask,
    coarsened,
    completed,
    interpolated,
    keeping,
    lerp,
    matter,
    slerp,
    strength_sigma,
    unlike_in,
    vary,
)
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import SOLVERS, dpmpp_2m, heun
from vader3d.render.volume import Volume

STD = 0.5
ALIKE = 0.9  # the correlation of neighbouring cells


def gaussian(x, sigma):
    """The exact denoiser of N(0, STD^2)."""
    return STD**2 * x / (STD**2 + sigma**2)


def twins(x, sigma):
    """The exact denoiser of two cells, [B, 1, 1, 1, 2], each N(0, STD^2), alike by ALIKE."""
    covariance = STD**2 * torch.tensor([[1, ALIKE], [ALIKE, 1]], dtype=x.dtype)
    return x @ torch.linalg.solve(covariance + sigma**2 * torch.eye(2, dtype=x.dtype), covariance)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawer(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


def test_a_path_of_noise_stays_as_long_as_noise():
    a, b = noise(8, 4, 4, 4), noise(8, 4, 4, 4, seed=1)
    path = interpolated(a, b, 7)
    assert path.shape == (7, 8, 4, 4, 4)
    assert path[0].equal(a)
    assert path[-1].equal(b)
    for frame in path:
        assert float(frame.norm()) == pytest.approx(float(a.norm()), rel=0.06)
    assert float(interpolated(a, b, 3, along=lerp)[1].norm()) < 0.8 * float(a.norm())  # what a straight way does
    angles = [math.acos(float((one * two).sum() / one.norm() / two.norm())) for one, two in pairwise(path)]
    assert max(angles) == pytest.approx(min(angles), rel=0.1)


def test_a_path_of_tokens_is_straight():
    a, b = noise(5, 8), noise(5, 8, seed=1)
    path = interpolated(a, b, 5, along=lerp)
    torch.testing.assert_close(path[1], 0.75 * a + 0.25 * b)
    assert path[-1].equal(b)


def test_a_path_between_the_same_is_the_same():
    a = noise(8, 2, 2, 2)
    torch.testing.assert_close(slerp(a, a.clone(), 0.3), a)


def test_paths_that_do_not_exist_are_refused():
    a = noise(8)
    with pytest.raises(ValueError, match="noise: wanted two that are not opposite"):
        slerp(a, -a, 0.5)
    with pytest.raises(ValueError, match="frames: wanted 2 or more; got 1"):
        interpolated(a, a, 1)
    with pytest.raises(ValueError, match=r"interpolate: wanted two of one shape; got \[8\] and \[4\]"):
        interpolated(a, noise(4), 3)


@pytest.mark.parametrize("name", SOLVERS)
def test_strength_0_changes_nothing_and_1_nearly_everything(name):
    clean, fresh = STD * noise(400, 1, 1, 1, 1), noise(400, 1, 1, 1, 1, seed=1)
    options = {"steps": 32, "solver": SOLVERS[name], "draw": drawer(400, 1, 1, 1, 1, seed=2)}
    assert vary(gaussian, clean, fresh, strength=0.0, **options).equal(clean)
    moved, alike = [], []
    for strength in (0.1, 0.3, 1.0):
        varied = vary(gaussian, clean, fresh, strength=strength, **options)
        assert float(varied.std()) == pytest.approx(STD, rel=0.25)  # still a sample, however strong
        moved.append(float((varied - clean).square().mean().sqrt()))
        alike.append(float(torch.corrcoef(torch.stack([varied.flatten(), clean.flatten()]))[0, 1]))
    assert moved == sorted(moved)
    assert alike[0] > 0.99
    assert abs(alike[-1]) < 0.15


def test_a_variation_follows_the_exact_flow():
    clean, fresh = torch.tensor([[0.4]]), torch.tensor([[-1.0]])
    level = strength_sigma(0.4)
    assert level == pytest.approx(0.965, abs=0.001)
    varied = vary(gaussian, clean, fresh, strength=0.4, steps=128)
    exact = (0.4 - level) * STD / math.sqrt(STD**2 + level**2)
    assert float(varied) == pytest.approx(exact, rel=2e-3)


def test_strength_is_a_share():
    assert strength_sigma(0) == pytest.approx(0.002)
    assert strength_sigma(1) == pytest.approx(80)
    with pytest.raises(ValueError, match=r"strength: wanted 0 \(the same object\) to 1 \(any object\); got 1.5"):
        vary(gaussian, noise(1, 1), noise(1, 1), strength=1.5, steps=4)


def test_a_box_is_the_voxels_whose_centres_it_holds():
    mask = box_mask(((-1, -1, 0.0), (1, 0.5, 1)), 5)  # centres at -1, -.5, 0, .5, 1
    assert mask.sum(dim=(1, 2)).tolist() == [0, 0, 20, 20, 20]  # z
    assert mask.sum(dim=(0, 2)).tolist() == [15, 15, 15, 15, 0]  # y
    assert mask.sum(dim=(0, 1)).tolist() == [12, 12, 12, 12, 12]  # x
    with pytest.raises(ValueError, match=r"box: wanted a part of \[-1, 1\]\^3, least corner first; got"):
        box_mask(((1, 1, 1), (-1, -1, -1)), 5)


def test_a_cell_is_kept_where_most_of_its_voxels_are():
    mask = torch.zeros(8, 8, 8, dtype=torch.bool)
    mask[:5] = True  # z: one cell whole, a quarter of the next two layers' first
    assert coarsened(mask, 2).flatten(1).all(1).tolist() == [True, False]
    assert coarsened(mask, 4).flatten(1).all(1).tolist() == [True, True, False, False]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("resample", [1, 3])
def test_what_is_kept_stays_and_the_rest_goes_with_it(name, resample):
    shape = (500, 1, 1, 1, 2)
    kept = torch.tensor([1.0, -7.0]).view(1, 1, 1, 1, 2)  # the second is not kept: its value must not matter
    mask = torch.tensor([True, False]).view(1, 1, 2)
    made = completed(
        twins, noise(*shape), kept, mask, edm_sigmas(16), solver=SOLVERS[name], draw=drawer(*shape), resample=resample
    )
    free = heun(twins, noise(*shape), edm_sigmas(16))
    assert made[..., 0].eq(1.0).all()
    assert abs(float(free[..., 1].mean())) < 0.1
    assert 0.4 < float(made[..., 1].mean()) < 1.0


def test_resampling_comes_nearer_to_what_goes_with_the_kept():
    """Exactly: mean ALIKE times what is kept, deviation STD sqrt(1 - ALIKE^2)."""
    shape = (2000, 1, 1, 1, 2)
    kept, mask = torch.ones(1, 1, 1, 1, 2), torch.tensor([True, False]).view(1, 1, 2)
    errors = []
    for resample in (1, 8):
        made = completed(twins, noise(*shape), kept, mask, edm_sigmas(12), draw=drawer(*shape), resample=resample)
        errors.append(abs(float(made[..., 1].mean()) - ALIKE) + abs(float(made[..., 1].std()) - STD * 0.436))
    assert errors[1] < 0.7 * errors[0]


def test_resampling_needs_noise():
    x = torch.zeros(1, 1, 1, 1, 2)
    with pytest.raises(ValueError, match="draw: wanted a source of unit noise, since resample is 2; got None"):
        completed(twins, x, x, torch.tensor([True, False]).view(1, 1, 2), edm_sigmas(4), resample=2)


def test_the_estimate_elsewhere_is_the_denoiser_s_own():
    x, mask = noise(1, 1, 1, 1, 2), torch.tensor([True, False]).view(1, 1, 2)
    known = keeping(twins, torch.full_like(x, 3.0), mask)(x, torch.tensor(0.7))
    assert known[..., 0] == 3
    assert known[..., 1].equal(twins(x, torch.tensor(0.7))[..., 1])


def test_samples_agree_with_what_is_known_of_what_they_decode_to():
    """A 'decoder' that adds the two numbers of a code, whose sum is known to be 1 within .05."""
    codes = noise(64, 2, 1, 1, 1)

    def unlike(z):
        return (z.sum((1, 2, 3, 4)) - 1).square() / (2 * 0.05**2)

    free = dpmpp_2m(gaussian, codes, edm_sigmas(16)).sum((1, 2, 3, 4))
    with torch.no_grad():
        made = dpmpp_2m(agreeing(gaussian, unlike), codes, edm_sigmas(16))
    assert float((free - 1).abs().mean()) > 0.6
    assert float((made.sum((1, 2, 3, 4)) - 1).abs().mean()) < 0.1
    difference = (made[:, 0] - made[:, 1]).flatten()  # of which nothing is known
    assert float(difference.std()) == pytest.approx(STD * 2**0.5, rel=0.35)


def test_an_agreement_leaves_the_objects_of_a_batch_alone():
    codes = noise(3, 2, 1, 1, 1)
    guided = agreeing(gaussian, lambda z: 50 * (z.sum((1, 2, 3, 4)) - 1).square())
    together = dpmpp_2m(guided, codes, edm_sigmas(6))
    assert together.equal(torch.cat([dpmpp_2m(guided, each, edm_sigmas(6)) for each in codes.split(1)]))
    assert not together.requires_grad


def halves(z):
    """A decoder of two numbers: how red the lower half of a block is, and how green the upper."""
    grid = torch.zeros(len(z), 4, 4, 4, 4) + torch.tensor([0.0, 0.0, 0.3, 5.0]).view(4, 1, 1, 1)
    lower, upper = (0.5 + z[:, i].flatten() for i in (0, 1))
    return Volume(
        torch.stack(
            [
                torch.cat([lower.view(-1, 1, 1, 1).expand(-1, 2, 4, 4), grid[:, 0, 2:]], 1),
                torch.cat([grid[:, 1, :2], upper.view(-1, 1, 1, 1).expand(-1, 2, 4, 4)], 1),
                grid[:, 2],
                grid[:, 3],
            ],
            1,
        )
    )


def test_a_kept_box_keeps_what_it_shows_and_frees_the_rest():
    kept = halves(torch.tensor([0.6, -0.6]).view(1, 2, 1, 1, 1))
    mask = box_mask(((-1, -1, -1), (1, 1, 0)), 4)
    codes = noise(32, 2, 1, 1, 1)
    made = dpmpp_2m(agreeing(gaussian, unlike_in(mask, kept, halves)), codes, edm_sigmas(12))
    free = dpmpp_2m(gaussian, codes, edm_sigmas(12))
    assert float((made[:, 0] - 0.6).abs().mean()) < 0.1
    assert float((free[:, 0] - 0.6).abs().mean()) > 0.4
    torch.testing.assert_close(made[:, 1], free[:, 1], rtol=0, atol=1e-3)


def test_an_empty_box_is_kept_empty():
    kept = halves(torch.tensor([0.6, -0.6]).view(1, 2, 1, 1, 1))
    mask = box_mask(((-1, -1, -1), (1, 1, 0)), 4)
    hollow = kept.with_grid(torch.where(mask & (torch.arange(4) == 3)[:, None], 0.0, kept.grid))
    unlike = unlike_in(mask, kept.with_grid(torch.where(mask, -1.0, kept.grid)), lambda z: hollow)
    assert float(unlike(torch.zeros(1, 2, 1, 1, 1))) > 100
    assert float(unlike_in(mask, hollow, lambda z: hollow)(torch.zeros(1, 2, 1, 1, 1))) == 0


def test_matter_is_opacity_and_what_colour_it_shows():
    grid = torch.tensor([0.5, 0.25, 0.0, 3.0]).view(1, 4, 1, 1, 1).expand(1, 4, 5, 5, 5)
    opacity = 1 - math.exp(-3.0 * 2.0 * 0.5)
    shown = matter(Volume(grid, density_scale=2.0))
    torch.testing.assert_close(shown[0, :, 0, 0, 0], torch.tensor([0.5 * opacity, 0.25 * opacity, 0.0, opacity]))
