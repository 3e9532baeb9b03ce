"""Chamfer distance, coverage and matching distance against k-d trees and hand-made cases."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vader3d.measures.shapes import (
    CELLS,
    NEAR,
    ShapeDistances,
    chamfer_distance,
    compare_shapes,
    corner_squares,
    coverage_and_mmd,
    lower_bounds,
)


def clouds(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def judged_chamfer(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double().numpy(), b.double().numpy()
    return (cKDTree(a).query(b)[0] ** 2).mean() + (cKDTree(b).query(a)[0] ** 2).mean()


@pytest.mark.parametrize(("sizes", "counts"), [((3,), (700, 500)), ((2, 2), (33, 1)), ((), (2048, 2048))])
def test_chamfer_distance_equals_a_kd_tree(sizes, counts):
    a, b = clouds(*sizes, counts[0], seed=0), clouds(*sizes, counts[1], seed=1)
    measured = chamfer_distance(a, b)
    assert measured.shape == sizes
    for index in np.ndindex(sizes):
        assert measured[index].item() == pytest.approx(judged_chamfer(a[index], b[index]), rel=1e-4)


def test_chamfer_distance_of_a_set_with_itself_is_zero_and_of_two_points_twice_their_squared_distance():
    a = clouds(300, seed=0)
    assert chamfer_distance(a, a[torch.randperm(300)]).item() < 1e-6
    assert chamfer_distance(torch.tensor([[0.0, 0, 0]]), torch.tensor([[0.0, 3, 4]])).item() == pytest.approx(50)


def test_chamfer_distance_is_a_mean_so_repeated_points_change_nothing():
    a, b = clouds(50, seed=0), clouds(60, seed=1)
    assert chamfer_distance(a.repeat(3, 1), b).item() == pytest.approx(chamfer_distance(a, b).item(), rel=1e-5)


def surfaces(count: int, points: int, *, seed: int) -> torch.Tensor:
    """Points on ellipsoids of many proportions [N, P, 3]: shapes of which some are near to each other."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.rand(count, 1, 3, generator=generator) * 0.7 + 0.2
    return torch.nn.functional.normalize(torch.randn(count, points, 3, generator=generator), dim=-1) * axes


def judged_matrix(shapes: torch.Tensor) -> np.ndarray:
    return np.array([[judged_chamfer(a, b) for b in shapes] for a in shapes])


@pytest.mark.parametrize("shapes", [surfaces(14, 200, seed=0), clouds(9, 60, seed=1), clouds(5, 1, seed=2)])
def test_bounds_lie_below_every_distance_and_near_it(shapes):
    bounds, judged = lower_bounds(shapes).numpy(), judged_matrix(shapes)
    assert (bounds <= judged).all()
    if shapes.shape[1] == 200:
        assert np.corrcoef(bounds.flatten(), judged.flatten())[0, 1] > 0.98


def test_corners_near_the_points_are_exact_and_none_is_above_a_k_d_tree():
    points = (surfaces(1, 200, seed=0)[0] + 1) * CELLS / 2
    judged = cKDTree(points.numpy()).query(np.indices([CELLS + 1] * 3).reshape(3, -1).T)[0] ** 2
    squares, near = corner_squares(points).numpy(), judged < NEAR**2
    assert (squares <= judged + 1e-3).all()
    assert 0.01 < near.mean() < 0.5
    np.testing.assert_allclose(squares[near], judged[near], atol=1e-3)


def test_scores_equal_those_of_all_pairs_and_most_pairs_are_never_computed():
    generated, reference = surfaces(30, 150, seed=0), surfaces(25, 150, seed=1)
    everything = judged_matrix(torch.cat([generated, reference]))
    cross = everything[:30, 30:]
    np.fill_diagonal(everything, np.inf)
    own = np.arange(55) < 30
    scores = compare_shapes(generated, reference)
    assert scores.coverage == pytest.approx(100 * len(set(cross.argmin(1))) / 25)
    assert scores.mmd == pytest.approx(cross.min(0).mean(), rel=1e-4)
    assert scores.nearest_neighbour_accuracy == pytest.approx(100 * (own == own[everything.argmin(1)]).mean())
    assert coverage_and_mmd(generated, reference) == scores[:2]
    distances = ShapeDistances(torch.cat([generated, reference]))
    found = [distances.nearest(one, range(55))[0] for one in range(55)]
    assert found == everything.argmin(1).tolist()
    assert (~distances.known.isnan()).double().mean() < 0.4


def test_accuracy_is_half_for_one_distribution_and_whole_for_two():
    a, b = surfaces(60, 100, seed=0), surfaces(60, 100, seed=1)
    assert 30 < compare_shapes(a, b).nearest_neighbour_accuracy < 70
    assert compare_shapes(a * 0.3, b).nearest_neighbour_accuracy == 100
    assert compare_shapes(a, a + 1e-4).nearest_neighbour_accuracy == 0  # copies are nearer than their own kind


def test_coverage_counts_matched_references_and_mmd_averages_the_nearest():
    reference = torch.tensor([[[0.0, 0, 0]], [[1, 0, 0]], [[5, 0, 0]], [[9, 0, 0]]])
    generated = torch.tensor([[[0.0, 0, 0]], [[0.1, 0, 0]], [[5, 0, 0]]])
    coverage, mmd = coverage_and_mmd(generated, reference)
    assert coverage == 50  # both at 0 match the first, 5 the third
    assert mmd == pytest.approx(2 * (0 + 0.9**2 + 0 + 4**2) / 4, rel=1e-5)


def test_a_set_covers_itself_whole():
    shapes = clouds(12, 64, seed=0)
    coverage, mmd = coverage_and_mmd(shapes, shapes)
    assert coverage == 100
    assert mmd < 1e-6


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: chamfer_distance(torch.zeros(0, 3), torch.zeros(4, 3)), "a: wanted points"),
        (lambda: chamfer_distance(torch.zeros(4, 3), torch.full((4, 3), torch.nan)), "b: wanted finite"),
        (lambda: coverage_and_mmd(torch.zeros(0, 4, 3), torch.zeros(2, 4, 3)), "generated"),
        (lambda: coverage_and_mmd(torch.zeros(2, 4, 3), torch.zeros(4, 3)), "reference"),
        (lambda: coverage_and_mmd(torch.zeros(2, 4, 3), torch.zeros(2, 0, 3)), "reference"),
        (lambda: coverage_and_mmd(torch.zeros(2, 4, 3), torch.zeros(2, 5, 3)), "5 points"),
        (lambda: coverage_and_mmd(torch.full((2, 4, 3), torch.nan), torch.zeros(2, 4, 3)), "generated"),
        (lambda: compare_shapes(torch.zeros(1, 4, 3), torch.zeros(2, 4, 3)), "at least 2"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
