"""Copies are flagged and new draws are not, however the set is spread; neighbours and ranks against scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import mannwhitneyu

from vader3d.measures import neighbours as module
from vader3d.measures.memorisation import flagged_in_any, mann_whitney, memorisation


def latents(count: int, *, seed: int) -> torch.Tensor:
    return torch.randn(count, 2, 2, 2, 2, generator=torch.Generator().manual_seed(seed)) + 3


def spread(count: int, draw: torch.Generator) -> torch.Tensor:
    """Objects as far from one another everywhere."""
    return torch.randn(count, 32, generator=draw)


def clustered(count: int, draw: torch.Generator) -> torch.Tensor:
    """Twelve kinds of object, those of the loosest kind 20 times as unlike as those of the tightest."""
    kinds = torch.Generator().manual_seed(7)
    centres, widths = 4 * torch.randn(12, 16, generator=kinds), torch.logspace(-1, 0.3, 12)
    kind = torch.randint(12, (count,), generator=draw)
    return centres[kind] + widths[kind, None] * torch.randn(count, 16, generator=draw)


SETS = pytest.mark.parametrize("objects", [spread, clustered])


def drawing(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def copied_percent(samples, training) -> tuple[float, float]:
    """Of samples, and of the null."""
    report = memorisation(samples, training)
    return tuple(100 * float(side.flagged.double().mean()) for side in (report.samples, report.null))


def test_neighbours_and_local_ratios_equal_a_kd_tree_s(monkeypatch):
    monkeypatch.setattr(module, "DISTANCES_PER_BLOCK", 1000)  # several blocks, the last one smaller
    samples, training = latents(70, seed=0), latents(90, seed=1)
    report = memorisation(samples, training)
    points, seen = (side.flatten(1).double().numpy() for side in (samples, training))
    tree = cKDTree(seen)
    distances, nearest = tree.query(points)
    own = tree.query(seen, k=2)[0][:, 1]
    assert report.samples.nearest.tolist() == nearest.tolist()
    np.testing.assert_allclose(report.samples.distances, distances, rtol=1e-5)
    np.testing.assert_allclose(report.samples.ratios, distances / own[nearest], rtol=1e-5)
    np.testing.assert_allclose(report.null.distances, own, rtol=1e-5)
    for number in range(90):  # the null is the same judgement of one against the rest
        rest = np.delete(seen, number, 0)
        alone = memorisation(training[number : number + 1].flatten(1), torch.from_numpy(rest)).samples
        np.testing.assert_allclose(report.null.ratios[number], alone.ratios[0], rtol=1e-5)


@SETS
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.45])
def test_copies_displaced_by_a_share_of_the_way_to_the_next_object_are_flagged(objects, share):
    training = objects(400, drawing(0))
    own = memorisation(training, training).null.distances
    directions = torch.nn.functional.normalize(torch.randn(training.shape, generator=drawing(1)), dim=1)
    copies = training + share * own[:, None] * directions
    report = memorisation(copies, training)
    assert report.samples.flagged.all()
    assert report.samples.nearest.tolist() == [*range(400)]
    assert float(report.samples.ratios.median()) == pytest.approx(share, abs=1e-4)
    assert report.z_u < -6


@SETS
def test_new_draws_look_like_the_null(objects):
    draws = [objects(700, drawing(seed)).split([400, 300]) for seed in range(8)]
    reports = [memorisation(samples, training) for training, samples in draws]
    shares = [copied_percent(samples, training) for training, samples in draws]
    assert all(samples < 3 for samples, _ in shares)
    assert np.mean([samples - null for samples, null in shares]) == pytest.approx(0, abs=0.7)
    medians = [[float(side.ratios.median()) for side in (report.samples, report.null)] for report in reports]
    assert np.mean(medians, 0) == pytest.approx(np.mean(medians), rel=0.02)
    assert max(abs(report.z_u) for report in reports) < 3


@SETS
def test_independent_draws_shrunk_to_the_mean_are_no_copies(objects):
    training, samples = objects(1100, drawing(3)).split([400, 700])
    middle = training.mean(0)
    flagged, null = copied_percent(middle + 0.9 * (samples - middle), training)
    assert flagged <= null + 1


def test_a_share_of_copies_among_new_draws_is_counted():
    training = latents(400, seed=0)
    report = memorisation(torch.cat([training[:60] + 0.001, latents(140, seed=1)]), training)
    assert report.samples.flagged.tolist() == [True] * 60 + [False] * 140
    assert report.z_u < -4


def test_equal_training_objects_are_copies_of_each_other_and_samples_like_them_too():
    training = torch.cat([latents(10, seed=0), latents(1, seed=0).repeat(2, 1, 1, 1, 1)])
    report = memorisation(training[:1], training)
    assert (report.samples.ratios.tolist(), report.samples.flagged.tolist()) == ([0], [True])
    assert report.null.flagged.nonzero().flatten().tolist() == [0, 10, 11]
    assert report.null.ratios.isfinite().all()


def test_the_nearest_copy_stands_for_its_object_and_is_not_its_neighbour():
    training, turned, samples = latents(12, seed=0), latents(12, seed=1), latents(5, seed=2)
    alone, same = memorisation(samples, training), memorisation(samples, training.repeat(3, 1, 1, 1, 1), copies=3)
    for one, other in ((alone.samples, same.samples), (alone.null, same.null)):
        assert one.nearest.equal(other.nearest)
        torch.testing.assert_close(one.ratios, other.ratios)
    taken = memorisation(turned[3:5] + 0.001, torch.cat([training, turned]), copies=2)
    assert taken.samples.nearest.tolist() == [3, 4]
    assert taken.samples.flagged.all()
    assert not memorisation(turned[3:5] + 0.001, training).samples.flagged.any()


def test_z_u_is_scipy_s_u_as_a_standard_score():
    first, second = torch.randn(40, generator=drawing(0)).round(decimals=1), torch.randn(60, generator=drawing(1)) + 0.3
    second[:9] = first[:9]  # ties
    wanted = mannwhitneyu(first, second).statistic
    assert mann_whitney(first, second) == pytest.approx((wanted - 1200) / (40 * 60 * 101 / 12) ** 0.5)


def test_either_space_flags():
    training, features = latents(100, seed=0), latents(100, seed=1)
    new = latents(3, seed=2)
    samples, pictures = new.clone(), new.clone()
    samples[0], pictures[1] = training[7], features[9]
    spaces = [memorisation(samples, training).samples, memorisation(pictures, features).samples]
    assert flagged_in_any(spaces).tolist() == [True, True, False]
    assert spaces[1].nearest[1] == 9


@pytest.mark.parametrize(
    ("samples", "training", "named"),
    [
        (torch.zeros(3, 4), torch.zeros(5, 5), "samples"),
        (torch.zeros(0, 4), torch.zeros(5, 4), "samples"),
        (torch.zeros(3, 4), torch.zeros(2, 4), "training"),
        (torch.full((3, 4), torch.nan), torch.zeros(5, 4), "samples"),
    ],
)
def test_bad_input_is_refused_by_name(samples, training, named):
    with pytest.raises(ValueError, match=named):
        memorisation(samples, training)
