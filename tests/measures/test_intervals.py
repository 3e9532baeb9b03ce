"""Bootstrap intervals against scipy, and against the spread of scores over sets that were really drawn anew."""

import numpy as np
import pytest
import scipy.stats
import torch

from vader3d.measures.distances import feature_moments, frechet_distance, squared_mmd
from vader3d.measures.intervals import bootstrap_interval, frechet_interval, kernel_interval


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def objects(count: int, *, seed: int, views: int = 3, width: int = 8, shift: float = 0.0) -> torch.Tensor:
    """Features [N, V, d] of which most is the object's and little the view's."""
    generator = seeded(seed)
    own = torch.randn(count, 1, width, generator=generator)
    return (own + 0.3 * torch.randn(count, views, width, generator=generator)).tanh() + shift


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    return frechet_distance(feature_moments(a.flatten(0, 1)), feature_moments(b.flatten(0, 1)))


def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
    return squared_mmd(a.flatten(0, 1), b.flatten(0, 1))


def test_the_interval_of_a_mean_equals_scipy_s():
    values = torch.rand(80, generator=seeded(), dtype=torch.float64).square()
    judged = scipy.stats.bootstrap((values.numpy(),), np.mean, n_resamples=20000, method="percentile", rng=0)
    ours = bootstrap_interval(values, generator=seeded(), resamples=20000)
    assert ours == pytest.approx(tuple(judged.confidence_interval), abs=2e-3)


def test_views_of_one_object_do_not_count_as_so_many_objects():
    values = torch.rand(40, 1, generator=seeded()).expand(40, 50)
    assert bootstrap_interval(values, generator=seeded()) == pytest.approx(
        bootstrap_interval(values[:, 0], generator=seeded())
    )


@pytest.mark.parametrize(("interval", "score"), [(frechet_interval, frechet), (kernel_interval, kernel)])
def test_intervals_are_as_wide_as_the_spread_over_new_sets(interval, score):
    pairs = [(objects(80, seed=n), objects(80, seed=9000 + n, shift=0.3)) for n in range(30)]
    scores = np.array([score(*pair) for pair in pairs])
    intervals = np.array([interval(*pair, generator=seeded(), resamples=200) for pair in pairs[:8]])
    widths = (intervals[:, 1] - intervals[:, 0]) / (2 * 1.96)
    assert np.median(widths) == pytest.approx(scores.std(), rel=0.4)
    assert ((intervals[:, 0] <= scores.mean()) & (scores.mean() <= intervals[:, 1])).mean() > 0.7


def test_the_frechet_interval_lies_around_the_distance_and_moves_as_real_redrawing_does():
    a, b = objects(200, seed=0), objects(200, seed=1, shift=0.3)
    low, high = frechet_interval(a, b, generator=seeded())
    assert low < frechet(a, b) < high
    draws = [frechet(a[torch.randint(200, (200,))], b[torch.randint(200, (200,))]) for _ in range(60)]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(draws), rel=0.4)


def test_the_kernel_interval_without_redrawing_is_the_unbiased_distance(monkeypatch):
    a, b = objects(30, seed=0), objects(30, seed=1, shift=0.3)
    monkeypatch.setattr(
        "vader3d.measures.intervals.resampling_weights",
        lambda count, generator, resamples: torch.ones(resamples, count, dtype=torch.float64),
    )
    assert kernel_interval(a, b, generator=seeded()) == pytest.approx((kernel(a, b),) * 2, rel=1e-5)


def test_intervals_of_fewer_pictures_than_features_are_finite_and_repeatable():
    a, b = objects(10, seed=0, width=60), objects(12, seed=1, width=60)
    first, again = (frechet_interval(a, b, generator=seeded(3)) for _ in range(2))
    assert first == again
    assert np.isfinite(first).all()
    assert first.low < first.high


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: bootstrap_interval(torch.zeros(1), generator=seeded()), "values"),
        (lambda: bootstrap_interval(torch.full((4,), torch.nan), generator=seeded()), "values"),
        (lambda: frechet_interval(torch.zeros(4, 8), torch.zeros(4, 2, 8), generator=seeded()), "generated"),
        (lambda: kernel_interval(torch.zeros(4, 2, 8), torch.zeros(1, 2, 8), generator=seeded()), "reference"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
