"""The nearest points of two sets against k-d trees, by every way they are found."""

import pytest
import torch
from scipy.spatial import cKDTree

from vader3d.measures import nearest
from vader3d.measures.nearest import nearest_in_torch, nearest_squares
from vader3d.native.library import library

COUNTS = [(1, 1), (3, 17), (8, 8), (9, 1), (1, 33), (700, 501), (2048, 2048)]


def points(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def judged(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = a.double().numpy(), b.double().numpy()
    return torch.tensor(cKDTree(b).query(a)[0] ** 2), torch.tensor(cKDTree(a).query(b)[0] ** 2)


@pytest.fixture(params=["torch", 1, 3])
def every_way(request, monkeypatch):
    """Plain torch, and each instruction set of the library that this machine has."""
    if request.param == "torch":
        monkeypatch.setattr(nearest, "library", lambda: (None, "left out"))
        yield
        return
    compiled, reason = library()
    if compiled is None:
        pytest.skip(f"no compiled library: {reason}")
    if compiled.vader3d_limit_level(request.param) < request.param:
        pytest.skip(f"no instruction set of level {request.param}")
    yield
    compiled.vader3d_limit_level(9)


@pytest.mark.parametrize("counts", COUNTS)
def test_both_ways_equal_k_d_trees(every_way, counts):
    a, b = points(counts[0], 0), points(counts[1], 1)
    for found, expected in zip(nearest_squares(a, b), judged(a, b), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_strided_points_are_read_as_they_are(every_way):
    a, b = points(50, 0).flip(0).T.contiguous().T, points(80, 1)[::2]
    for found, expected in zip(nearest_squares(a, b), judged(a, b), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_far_from_the_origin_no_digit_of_the_distance_is_lost(every_way):
    a, b = points(40, 0) + 100, points(30, 1) + 100
    for found, expected in zip(nearest_squares(a, b), judged(a, b), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_gradients_and_float64_go_through_torch():
    a, b = points(20, 0).double().requires_grad_(), points(30, 1).double()
    assert torch.autograd.gradcheck(nearest_squares, (a, b))
    wanted = points(20, 0).requires_grad_()
    nearest_squares(wanted, points(30, 1))[0].sum().backward()
    assert float(wanted.grad.abs().sum()) > 0
    torch.testing.assert_close(nearest_squares(a, b), nearest_in_torch(a, b))
