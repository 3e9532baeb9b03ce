"""Chamfer distance, coverage and matching distance against k-d trees and hand-made cases."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from vader3d.evaluation.shapes import chamfer_distance, chamfer_matrix, coverage_and_mmd


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


def test_chamfer_matrix_holds_every_pair():
    a, b = clouds(3, 40, seed=0), clouds(19, 30, seed=1)
    matrix = chamfer_matrix(a, b)
    assert matrix.shape == (3, 19)
    assert matrix[2, 17].item() == pytest.approx(judged_chamfer(a[2], b[17]), rel=1e-4)


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
        (lambda: chamfer_distance(torch.zeros(0, 3), torch.zeros(4, 3)), "a: expected points"),
        (lambda: chamfer_distance(torch.zeros(4, 3), torch.full((4, 3), torch.nan)), "b: expected finite"),
        (lambda: coverage_and_mmd(torch.zeros(0, 4, 3), torch.zeros(2, 4, 3)), "generated"),
        (lambda: coverage_and_mmd(torch.zeros(2, 4, 3), torch.zeros(4, 3)), "reference"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
