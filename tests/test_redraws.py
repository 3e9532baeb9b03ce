"""Copies of training objects are made anew, and all else is left as it was."""

import pytest
import torch

from vader3d.generate import Generator
from vader3d.generate.files import like
from vader3d.generate.nearest import without_copies
from vader3d.generate.recipes import Recipe
from vader3d.measures.memorisation import COPY


@pytest.fixture(scope="module")
def ours() -> Generator:
    return Generator.from_pretrained(device="cpu")


def test_the_least_alike_of_all_draws_stays():
    """Ratios stand in for latents: the third is never new enough, and its best is its second draw."""
    drawn = {0: [0.9, 0.1, 0.2], 1: [0.0, 0.7, 0.4], 2: [0.0, 0.0, 0.3]}

    def again(rows, attempt):
        return torch.tensor([[drawn[attempt][row]] for row in rows.tolist()])

    latents, copies = without_copies(torch.tensor(drawn[0])[:, None], lambda x: x[:, 0].clone(), 2, again)
    assert latents[:, 0].tolist() == pytest.approx([0.9, 0.7, 0.4])
    assert copies.tolist() == [2]


def test_copies_are_made_anew_and_others_are_as_before(ours):
    plain = ours(count=48, seed=7, output_type="latent")
    anew = ours(count=48, seed=7, output_type="latent", redraws=8)
    copies = ours.local_ratios(plain) < COPY
    print(f"{copies.sum()} of {len(copies)} without redraws")
    assert 0 < copies.sum() < 48
    assert not (ours.local_ratios(anew) < COPY).any()
    assert torch.equal(plain[~copies], anew[~copies])


def test_an_object_does_not_depend_on_what_is_made_beside_it(ours):
    many = ours(count=24, seed=7, output_type="latent", redraws=8)
    copies = (ours.local_ratios(ours(count=24, seed=7, output_type="latent")) < COPY).nonzero()[:, 0].tolist()
    alone = ours.latents_of([Recipe(seed=7, index=copies[0], redraws=8)])
    torch.testing.assert_close(alone[0], many[copies[0]], rtol=1e-3, atol=1e-3)


def test_what_is_still_a_copy_is_said(ours, monkeypatch, capsys):
    monkeypatch.setattr(ours, "local_ratios", lambda latents: torch.linspace(0.1, 0.8, len(latents)))
    ours("a red car", count=2, output_type="latent", redraws=1)
    said = capsys.readouterr()
    assert "a-red-car-seed0-000: still nearly an object of the training" in said.out + said.err
    assert "seed0-001" not in said.out + said.err


def test_noise_that_is_given_and_what_goes_on_from_another_is_not_redrawn(ours):
    with pytest.raises(ValueError, match="redraws: wanted 0 where the noise is given; got 2"):
        ours(latents=torch.zeros(1, *ours.latent_shape), redraws=2)
    base = Recipe(redraws=3)
    with pytest.raises(ValueError, match="redraws: wanted 0 where another object is gone on from"):
        Recipe(start=base, redraws=3)
    (varied,) = like(base, "", 1, 5, strength=0.4)
    assert (varied.redraws, varied.start.redraws) == (0, 3)


def test_models_of_one_object_are_refused(ours, monkeypatch):
    monkeypatch.setattr(ours.trained, "known", False)
    with pytest.raises(ValueError, match="redraws: wanted none of a model of one object"):
        ours(redraws=1, output_type="latent")
    monkeypatch.setattr(ours, "trained", None)
    with pytest.raises(ValueError, match="redraws: wanted 0 of a model without its training's codes; got 1"):
        ours(redraws=1, output_type="latent")
