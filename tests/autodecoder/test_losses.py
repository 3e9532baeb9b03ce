"""The losses of stage 1 against brute force."""

import math

import pytest
import torch

from vader3d.autodecoder.losses import antialias, filled, mask_loss, perceptual_loss, pixel_loss, pyramid
from vader3d.frozen.vgg import picture_gradients
from vader3d.render import Volume


def pictures(size: int = 24, count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blurred_pixel(picture: torch.Tensor, row: int, column: int, factor: int) -> torch.Tensor:
    """Gaussian of sigma (factor - 1) / 2, kernel 2 round(4 sigma) + 1, zeros outside; one pixel, by loops."""
    sigma = (factor - 1) / 2
    radius = round(4 * sigma)
    line = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-radius, radius + 1)]
    total = torch.zeros(picture.shape[0], dtype=picture.dtype)
    for i, a in enumerate(line):
        for j, b in enumerate(line):
            y, x = row + i - radius, column + j - radius
            if 0 <= y < picture.shape[1] and 0 <= x < picture.shape[2]:
                total += a * b * picture[:, y, x]
    return total / sum(line) ** 2


@pytest.mark.parametrize(("factor", "kernel"), [(2, 5), (4, 13), (8, 29)])
def test_small_pictures_are_gaussian_means_of_every_so_manieth_pixel(factor, kernel):
    assert 2 * round(4 * (factor - 1) / 2) + 1 == kernel
    picture = pictures(32)
    small = antialias(picture, factor)
    assert small.shape == (2, 3, 32 // factor, 32 // factor)
    for row, column in ((0, 0), (1, 2), (3, 3)):
        expected = blurred_pixel(picture[1], factor * row, factor * column, factor)
        torch.testing.assert_close(small[1, :, row, column], expected)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_constant_picture_stays_constant_away_from_the_border(factor):
    small = antialias(torch.full((1, 3, 64, 64), 0.37, dtype=torch.float64), factor)
    margin = math.ceil(round(4 * (factor - 1) / 2) / factor)
    inside = small[..., margin:-margin, margin:-margin]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.37))
    assert small[0, 0, 0, 0] < 0.37


@pytest.mark.parametrize(("size", "sides"), [(64, [64, 32, 16]), (48, [48, 24]), (32, [32, 16]), (16, [16]), (8, [8])])
def test_scales_that_would_be_too_small_are_dropped(size, sides):
    assert [picture.shape[-1] for picture in pyramid(pictures(size), (1, 2, 4))] == sides


def test_the_smaller_side_decides():
    assert len(pyramid(torch.rand(1, 3, 64, 20), (1, 2, 4))) == 1


def test_the_perceptual_loss_is_zero_for_identical_pictures():
    target = pictures(64)
    assert float(perceptual_loss(picture_gradients, target.clone(), target, (1, 2, 4))) == 0.0


def test_the_perceptual_loss_is_a_sum_of_means():
    """Eq. 1, written out for one scale and the three layers of `picture_gradients`."""
    a, b = pictures(20, seed=1), pictures(20, seed=2)
    difference = a - b
    expected = (
        difference.abs().mean()
        + (difference[:, :, 1:] - difference[:, :, :-1]).abs().mean()
        + (difference[..., 1:] - difference[..., :-1]).abs().mean()
    )
    torch.testing.assert_close(perceptual_loss(picture_gradients, a, b, (1,)), expected)
    big_a, big_b = pictures(40, seed=3), pictures(40, seed=4)
    scales = [perceptual_loss(picture_gradients, antialias(big_a, f), antialias(big_b, f), (1,)) for f in (1, 2)]
    torch.testing.assert_close(perceptual_loss(picture_gradients, big_a, big_b, (1, 2)), sum(scales))


def test_only_the_rendered_picture_gets_a_gradient():
    rendered, target = pictures(20, seed=1).requires_grad_(), pictures(20, seed=2).requires_grad_()
    perceptual_loss(picture_gradients, rendered, target, (1,)).backward()
    assert rendered.grad.abs().sum() > 0
    assert target.grad is None


def test_the_perceptual_gradient_is_right():
    rendered, target = pictures(17, count=1, seed=1), pictures(17, count=1, seed=2)
    assert torch.autograd.gradcheck(
        lambda x: perceptual_loss(picture_gradients, x, target, (1,)), rendered.requires_grad_(), fast_mode=True
    )


def test_the_plain_losses_by_hand():
    opacity, mask = torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    assert float(mask_loss(opacity, mask)) == 0.25
    assert float(pixel_loss(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))) == 2.5


def test_how_much_is_filled_is_what_a_ray_loses_in_a_voxel():
    """Half of the voxels let half of the light pass along an edge, the others all of it."""
    grid = torch.zeros(1, 4, 8, 8, 8)
    grid[:, 3] = -1e3
    grid[:, 3, :4] = math.log(math.expm1(math.log(2) / (2 / 8) / 5))
    volume = Volume(grid, "softplus", 5.0)
    assert float(filled(volume)) == pytest.approx(0.25, abs=1e-5)
