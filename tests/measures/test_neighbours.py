"""Precision, recall, density and coverage against other hands and against cases whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from vader3d.measures import neighbours as rooms
from vader3d.measures.neighbours import density_coverage, precision_recall


def features(count: int, *, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) * scale + shift


CASES = [(features(150, seed=0), features(120, seed=1)), (features(90, seed=2, scale=0.3), features(200, seed=3))]


@pytest.mark.parametrize(("generated", "reference"), CASES)
def test_precision_and_recall_equal_torch_fidelity(torch_fidelity, generated, reference, monkeypatch):
    from torch_fidelity.metric_prc import prc_features_to_metric

    judged = prc_features_to_metric(generated.double(), reference.double(), prc_neighborhood=3, verbose=False)
    monkeypatch.setattr(rooms, "DISTANCES_PER_BLOCK", 1000)  # several blocks, the last one smaller
    measured = precision_recall(generated.double(), reference.double())
    assert measured == pytest.approx((judged["precision"], judged["recall"]))
    assert 0 < measured.recall < 1


@pytest.mark.parametrize(("generated", "reference"), CASES)
def test_density_and_coverage_equal_brute_force(generated, reference):
    radii = np.sort(cdist(reference, reference), 1)[:, 5]
    inside = cdist(reference, generated) <= radii[:, None]
    measured = density_coverage(generated, reference)
    assert measured.density == pytest.approx(inside.sum() / (5 * len(generated)), abs=1e-3)
    assert measured.coverage == pytest.approx(inside.any(1).mean(), abs=1e-3)


def test_equal_distributions_score_high_and_distant_ones_nothing():
    a, b = features(400, seed=0), features(400, seed=1)
    assert min(precision_recall(a, b)) > 0.8
    density, coverage = density_coverage(a, b)
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9
    assert (*precision_recall(a + 50, b), *density_coverage(a + 50, b)) == (0, 0, 0, 0)


def test_a_generator_that_makes_one_thing_is_precise_but_recalls_and_covers_little():
    one, reference = features(300, seed=0, scale=0.05), features(300, seed=1)
    precision, recall = precision_recall(one, reference)
    assert precision > 0.9 > 0.1 > recall
    density, coverage = density_coverage(one, reference)
    assert density > 1
    assert coverage < 0.5


@pytest.mark.parametrize("score", [precision_recall, density_coverage])
@pytest.mark.parametrize(
    ("generated", "reference", "neighbours", "named"),
    [
        (torch.zeros(9, 4), torch.zeros(9, 5), 3, r"\[N, d\]"),
        (torch.zeros(3, 4), torch.zeros(9, 4), 3, "neighbours"),
        (torch.zeros(9, 4), torch.zeros(9, 4), 0, "neighbours"),
        (torch.full((9, 4), torch.nan), torch.zeros(9, 4), 3, "generated"),
    ],
)
def test_bad_input_is_refused_by_name(score, generated, reference, neighbours, named):
    with pytest.raises(ValueError, match=named):
        score(generated, reference, neighbours=neighbours)
