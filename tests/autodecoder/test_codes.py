"""Codes of the training objects, and the Gaussian fitted to them."""

import pytest
import torch

from vader3d.autodecoder.codes import CodeTable


def test_codes_start_with_the_configured_deviation():
    torch.manual_seed(0)
    table = CodeTable(400, 64, initial_std=0.3).table.weight.detach()
    assert float(table.std()) == pytest.approx(0.3, rel=0.02)
    assert float(table.mean()) == pytest.approx(0, abs=0.01)


def test_objects_get_their_own_rows_and_only_those_learn():
    table = CodeTable(5, 3)
    codes = table(torch.tensor([4, 1, 4]))
    assert torch.equal(codes, table.table.weight[[4, 1, 4]])
    codes.sum().backward()
    assert table.table.weight.grad.is_sparse
    touched = table.table.weight.grad.to_dense().sum(1)
    assert torch.equal(touched, torch.tensor([0.0, 3, 0, 0, 6]))


@pytest.mark.parametrize("objects", [40, 5])
def test_the_fitted_gaussian_has_the_codes_mean_and_covariance(objects):
    torch.manual_seed(1)
    table = CodeTable(objects, 8)
    with torch.no_grad():
        table.table.weight.copy_(torch.randn(objects, 8) @ torch.randn(8, 8) + 3)
    mean, factor = table.fitted_gaussian()
    torch.testing.assert_close(mean, table.table.weight.mean(0))
    torch.testing.assert_close(factor.T @ factor, torch.cov(table.table.weight.T), rtol=1e-4, atol=1e-4)


def test_draws_from_the_fitted_gaussian_are_distributed_so():
    torch.manual_seed(2)
    table = CodeTable(30, 4)
    mean, factor = table.fitted_gaussian()
    draws = torch.randn(200_000, 30) @ factor + mean
    torch.testing.assert_close(draws.mean(0), mean.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), torch.cov(table.table.weight.T).detach(), atol=0.03, rtol=0)


def test_a_single_object_has_no_spread():
    mean, factor = CodeTable(1, 4).fitted_gaussian()
    assert not factor.any()
    assert mean.isfinite().all()
