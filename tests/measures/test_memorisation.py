"""Copies are flagged, new draws of the same distribution are not; nearest neighbours against scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vader3d.measures import neighbours as module
from vader3d.measures.memorisation import memorisation, memorised_in_any


def latents(count: int, *, seed: int) -> torch.Tensor:
    return torch.randn(count, 2, 2, 2, 2, generator=torch.Generator().manual_seed(seed)) + 3


def test_nearest_objects_and_distances_equal_a_kd_tree(monkeypatch):
    monkeypatch.setattr(module, "DISTANCES_PER_BLOCK", 1000)  # several blocks, the last one smaller
    samples, training = latents(70, seed=0), latents(90, seed=1)
    report = memorisation(samples, training)
    tree = cKDTree(training.flatten(1).double().numpy())
    distances, nearest = tree.query(samples.flatten(1).double().numpy())
    assert report.nearest.tolist() == nearest.tolist()
    np.testing.assert_allclose(report.distances, distances, rtol=1e-5)
    others = tree.query(training.flatten(1).double().numpy(), k=2)[0][:, 1]
    np.testing.assert_allclose(report.training_distances, others, rtol=1e-5)
    assert report.threshold == pytest.approx(np.quantile(others, 0.05), rel=1e-5)


def test_copies_with_tiny_noise_are_flagged_and_point_to_their_originals():
    training = latents(300, seed=0)
    chosen = torch.randperm(300, generator=torch.Generator().manual_seed(1))[:40]
    copies = training[chosen] + 0.01 * latents(40, seed=2)
    report = memorisation(copies, training)
    assert report.flagged.all()
    assert report.nearest.tolist() == chosen.tolist()
    assert report.ratios.max() < 0.2
    assert memorisation(training[:5], training).distances.tolist() == [0] * 5


@pytest.mark.parametrize("quantile", [0.05, 0.2])
def test_new_draws_of_the_same_distribution_are_flagged_at_the_quantile_s_rate(quantile):
    shares = [
        memorisation(latents(400, seed=seed), latents(400, seed=100 + seed), quantile=quantile).flagged.double().mean()
        for seed in range(30)
    ]
    assert np.mean(shares) == pytest.approx(quantile, rel=0.35)


def test_a_share_of_copies_among_new_draws_is_counted():
    training = latents(400, seed=0)
    samples = torch.cat([training[:60] + 0.001, latents(140, seed=1)])
    report = memorisation(samples, training)
    assert report.flagged[:60].all()
    assert 0.3 <= report.flagged.double().mean() < 0.3 + 0.7 * 0.12


def test_either_space_flags():
    training, features = latents(100, seed=0), latents(100, seed=1)
    new = latents(3, seed=2)
    samples, pictures = new.clone(), new.clone()
    samples[0], pictures[1] = training[7], features[9]
    spaces = {"latents": memorisation(samples, training), "pictures": memorisation(pictures, features)}
    assert memorised_in_any(spaces)[:2].tolist() == [True, True]
    assert spaces["pictures"].nearest[1] == 9


@pytest.mark.parametrize(
    ("samples", "training", "quantile", "named"),
    [
        (torch.zeros(3, 4), torch.zeros(5, 5), 0.05, "samples"),
        (torch.zeros(0, 4), torch.zeros(5, 4), 0.05, "samples"),
        (torch.zeros(3, 4), torch.zeros(1, 4), 0.05, "training"),
        (torch.full((3, 4), torch.nan), torch.zeros(5, 4), 0.05, "samples"),
        (torch.zeros(3, 4), torch.zeros(5, 4), 0, "quantile"),
    ],
)
def test_bad_input_is_refused_by_name(samples, training, quantile, named):
    with pytest.raises(ValueError, match=named):
        memorisation(samples, training, quantile=quantile)
