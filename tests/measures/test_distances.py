"""Distances of features against judges of other hands, and against cases whose answer is known."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from vader3d.measures.distances import feature_moments, frechet_distance, kernel_distance
from vader3d.measures.pictures import iou, psnr, ssim


def features(count: int, width: int, *, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(99)) / width**0.5
    return torch.randn(count, width, generator=generator) @ mixing + shift


def test_moments_equal_numpy_and_merge_exactly():
    x = features(50, 7, seed=0, shift=3)
    whole, merged = feature_moments(x), feature_moments(x[:11]).merged(feature_moments(x[11:]))
    np.testing.assert_allclose(whole.covariance.numpy(), np.cov(x.double().numpy(), rowvar=False), rtol=1e-9)
    assert merged.count == whole.count
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-10)


def test_frechet_distance_equals_scipy_and_torchmetrics():
    a, b = feature_moments(features(200, 32, seed=0)), feature_moments(features(300, 32, seed=1, shift=0.2) * 1.3)
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    judged = ((a.mean - b.mean) ** 2).sum() + (a.covariance + b.covariance).trace() - 2 * np.trace(root.real)
    assert frechet_distance(a, b) == pytest.approx(float(judged), rel=1e-7)
    assert frechet_distance(a, b) == pytest.approx(
        float(_compute_fid(a.mean, a.covariance, b.mean, b.covariance)), rel=1e-7
    )


def test_frechet_distance_is_exact_for_fewer_pictures_than_features():
    x = features(40, 64, seed=0)
    a, b = feature_moments(x), feature_moments(x + 0.5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(64 * 0.25, rel=1e-6)
    wide = feature_moments(features(30, 64, seed=1))
    root = np.linalg.svd(factor(x).T @ factor(features(30, 64, seed=1)), compute_uv=False).sum()
    judged = ((a.mean - wide.mean) ** 2).sum() + (a.covariance + wide.covariance).trace() - 2 * root
    assert frechet_distance(a, wide) == pytest.approx(float(judged), rel=1e-8)


def factor(x: torch.Tensor) -> np.ndarray:
    """[d, N] whose product with its transpose is the covariance of features [N, d]."""
    x = x.double().numpy()
    return (x - x.mean(0)).T / np.sqrt(len(x) - 1)


def test_frechet_distance_of_one_dimensional_gaussians_is_the_formula():
    x = features(500, 1, seed=3)
    a, b = feature_moments(x), feature_moments(3 * x + 2)
    shift, spread = (b.mean - a.mean).item(), a.covariance.item() ** 0.5
    assert frechet_distance(a, b) == pytest.approx(shift**2 + (3 * spread - spread) ** 2, rel=1e-9)


def test_kernel_distance_equals_torchmetrics_on_whole_sets():
    a, b = features(120, 24, seed=0), features(120, 24, seed=1, shift=0.3)
    measured = kernel_distance(a, b, generator=torch.Generator().manual_seed(0))
    assert measured.mean == pytest.approx(poly_mmd(a.double(), b.double()).item(), rel=1e-4)
    assert (measured.subset_size, measured.subsets, measured.deviation) == (120, 1, 0)


def test_frechet_and_kernel_distance_equal_torch_fidelity(torch_fidelity):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = features(300, 32, seed=0).double(), features(250, 32, seed=1, shift=0.2).double() * 1.3
    judged = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)
    measured = frechet_distance(feature_moments(a), feature_moments(b))
    assert measured == pytest.approx(judged["frechet_inception_distance"], rel=1e-7)
    sizes = {"kid_subset_size": 100, "kid_subsets": 60}
    judged = kid_features_to_metric(a, b, **sizes, verbose=False)  # other subsets than ours
    ours = kernel_distance(a, b, generator=torch.Generator().manual_seed(0), subset_size=100, subsets=60)
    error = judged["kernel_inception_distance_std"] / 60**0.5
    assert ours.mean == pytest.approx(judged["kernel_inception_distance_mean"], abs=5 * error)
    assert ours.deviation == pytest.approx(judged["kernel_inception_distance_std"], rel=0.5)
    whole = kid_features_to_metric(a[:250], b, kid_subset_size=250, kid_subsets=1, verbose=False)
    ours = kernel_distance(a[:250], b, generator=torch.Generator())
    assert ours.mean == pytest.approx(whole["kernel_inception_distance_mean"], rel=1e-9)


def test_kernel_distance_is_unbiased_and_says_its_subset_size():
    a, b = features(400, 16, seed=0), features(300, 16, seed=1)
    same = kernel_distance(a, b, generator=torch.Generator().manual_seed(0), subset_size=100, subsets=60)
    assert abs(same.mean) < 0.02 < same.deviation * 10
    far = kernel_distance(a, b + 0.5, generator=torch.Generator().manual_seed(0), subset_size=100, subsets=60)
    assert far.mean > 5 * abs(same.mean)
    assert far == kernel_distance(a, b + 0.5, generator=torch.Generator().manual_seed(0), subset_size=100, subsets=60)
    lowered = kernel_distance(a, b, generator=torch.Generator().manual_seed(0), subsets=3)
    assert (lowered.subset_size, lowered.subsets) == (300, 3)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5)), "rendered"),
        (lambda: psnr(torch.full((3, 4, 4), torch.nan), torch.zeros(3, 4, 4)), "rendered"),
        (lambda: ssim(torch.zeros(3, 16, 16), torch.zeros(3, 16, 17)), "rendered"),
        (lambda: ssim(torch.zeros(3, 10, 16), torch.zeros(3, 10, 16)), "11 px"),
        (lambda: ssim(torch.zeros(3, 16, 16), torch.full((3, 16, 16), torch.nan)), "target"),
        (lambda: iou(torch.zeros(4, 4), torch.full((4, 4), torch.nan)), "mask"),
        (lambda: feature_moments(torch.zeros(0, 4)), "features"),
        (lambda: feature_moments(torch.full((3, 4), torch.inf)), "features"),
        (
            lambda: frechet_distance(feature_moments(torch.zeros(1, 4)), feature_moments(torch.zeros(3, 4))),
            "at least 2",
        ),
        (lambda: frechet_distance(feature_moments(torch.zeros(3, 4)), feature_moments(torch.zeros(3, 5))), "wide"),
        (lambda: kernel_distance(torch.zeros(1, 4), torch.zeros(3, 4), generator=torch.Generator()), "at least 2"),
        (lambda: kernel_distance(torch.zeros(3, 4), torch.zeros(3, 5), generator=torch.Generator()), r"\[N, d\]"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
