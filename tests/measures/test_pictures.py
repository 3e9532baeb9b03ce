"""Scores of pictures equal those of other hands."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.classification import binary_jaccard_index
from torchmetrics.functional.image import structural_similarity_index_measure

from vader3d.measures.pictures import foreground_psnr, iou, psnr, ssim


def test_psnr_equals_scikit_image():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 3, 20, 17, generator=generator)
    rendered = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    measured = psnr(rendered, target)
    assert measured.shape == (2, 3)
    for index in np.ndindex(2, 3):
        judged = peak_signal_noise_ratio(target[index].double().numpy(), rendered[index].double().numpy(), data_range=1)
        assert measured[index].item() == pytest.approx(judged, abs=1e-6)


def test_psnr_clamps_colours_and_stays_finite_for_identical_pictures():
    target = torch.ones(1, 3, 4, 4)
    assert psnr(target * 7, target).item() == 100
    assert psnr(target * 0.9, target).item() == pytest.approx(20, abs=1e-4)


def test_foreground_psnr_is_scikit_images_over_the_masked_pixels():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 3, 20, 17, generator=generator)
    rendered = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    mask = (torch.rand(2, 3, 1, 20, 17, generator=generator) > 0.6).float()
    measured = foreground_psnr(rendered, target, mask)
    assert measured.shape == (2, 3)
    for index in np.ndindex(2, 3):
        inside = mask[index][0] > 0
        sides = (side[index][:, inside].double().numpy() for side in (target, rendered))
        assert measured[index].item() == pytest.approx(peak_signal_noise_ratio(*sides, data_range=1), abs=1e-4)


def test_an_even_background_earns_nothing_in_foreground_psnr():
    target, mask = torch.zeros(3, 8, 8), torch.zeros(1, 8, 8)
    target[:, :2, :2], mask[:, :2, :2] = 1, 1
    rendered = 0.9 * target
    assert foreground_psnr(rendered, target, mask).item() == pytest.approx(20, abs=1e-4)
    assert psnr(rendered, target).item() == pytest.approx(20 + 10 * np.log10(16), abs=1e-4)
    assert foreground_psnr(rendered, target, 0.5 * mask).item() == pytest.approx(20, abs=1e-4)
    assert foreground_psnr(rendered, target, 0 * mask).item() == 100


def test_unlike_shapes_and_numbers_that_are_not_finite_are_refused():
    target, mask = torch.zeros(3, 12, 12), torch.ones(1, 12, 12)
    for score in (psnr, ssim, lambda rendered, target: foreground_psnr(rendered, target, mask)):
        with pytest.raises(ValueError, match=r"rendered: wanted the target's shape \[3, 12, 12\]; got \[3, 12, 11\]"):
            score(target[..., 1:], target)
        with pytest.raises(ValueError, match="rendered: wanted finite numbers; got NaN or infinity"):
            score(target * torch.nan, target)
    with pytest.raises(ValueError, match="mask: wanted one channel"):
        foreground_psnr(target, target, mask[0])


@pytest.mark.parametrize("size", [(11, 11), (24, 33)])
def test_ssim_equals_scikit_image_and_torchmetrics(size):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 2, 3, *size, generator=generator, dtype=torch.float64)
    rendered = (target + 0.2 * torch.randn(target.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    measured = ssim(rendered, target)
    assert measured.shape == (2, 2)
    for index in np.ndindex(2, 2):
        judged = structural_similarity(
            target[index].numpy(),
            rendered[index].numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert measured[index].item() == pytest.approx(judged, abs=1e-9)
    _, places = structural_similarity_index_measure(  # its mean takes in places where the window does not fit
        rendered.flatten(0, 1), target.flatten(0, 1), data_range=1.0, reduction="none", return_full_image=True
    )
    inner = places[..., 5:-5, 5:-5].mean((1, 2, 3))
    np.testing.assert_allclose(measured.flatten().numpy(), inner.numpy(), atol=1e-9)


def test_ssim_of_identical_pictures_is_one_and_of_a_negative_is_small():
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert ssim(picture, picture).item() == pytest.approx(1, abs=1e-12)
    assert ssim(1 - picture, picture).item() < -0.5


def test_iou_equals_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    occupancy, mask = torch.rand(2, 5, 16, 16, generator=generator).sqrt().unbind(0)
    judged = [binary_jaccard_index(one, (two > 0.5).int()).item() for one, two in zip(occupancy, mask, strict=True)]
    np.testing.assert_allclose(iou(occupancy, mask).numpy(), judged, atol=1e-6)


def test_iou_of_empty_silhouettes_is_one_and_of_disjoint_ones_zero():
    left = torch.zeros(4, 4)
    left[:, :2] = 1
    assert iou(torch.zeros(4, 4), torch.zeros(4, 4)).item() == 1
    assert iou(left, 1 - left).item() == 0
    assert iou(left, torch.ones(4, 4)).item() == 0.5
