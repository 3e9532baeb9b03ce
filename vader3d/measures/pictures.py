"""Scores of pictures against pictures: PSNR, SSIM, silhouettes."""

import torch
from torch import Tensor

SMALLEST_SQUARED_ERROR = 1e-10  # bounds PSNR at 100 dB, so that one identical pair does not make a mean infinite
SMALLEST_MASK = 1e-6  # pixels
SSIM_REACH, SSIM_SIGMA = 5, 1.5  # px: an 11 x 11 window
SSIM_LUMINANCE, SSIM_CONTRAST = 0.01**2, 0.03**2  # what keeps the quotients finite, for pictures in [0, 1]


def require_finite(**values: Tensor) -> None:
    """Raise ValueError, by name, for the first tensor that holds NaN or infinity: no score is made of those."""
    for name, value in values.items():
        if not value.isfinite().all():
            raise ValueError(
                f"{name}: wanted finite numbers; got NaN or infinity; leave those items out and count them"
            )


def require_like(rendered: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both are pictures [..., C, H, W] of one shape."""
    if rendered.shape != target.shape or rendered.ndim < 3:
        raise ValueError(f"rendered: wanted the target's shape {list(target.shape)}; got {list(rendered.shape)}")


def psnr(rendered: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture: [..., C, H, W] twice -> [...], at most 100.

    -10 log10(mean squared error) of values clamped to [0, 1]. Raises ValueError for unlike shapes or NaN.
    """
    require_like(rendered, target)
    require_finite(rendered=rendered, target=target)
    error = (rendered.double().clamp(0, 1) - target.double().clamp(0, 1)).square().mean((-3, -2, -1))
    return -10 * error.clamp_min(SMALLEST_SQUARED_ERROR).log10()


def foreground_psnr(rendered: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The same of the object alone, in dB: [..., C, H, W] twice, its mask [..., 1, H, W] in [0, 1] -> [...].

    Squared errors are averaged with the mask as weights, so that an even background earns nothing; 100 for an empty
    mask. Raises ValueError for unlike shapes or NaN.
    """
    require_like(rendered, target)
    if mask.shape != (*target.shape[:-3], 1, *target.shape[-2:]):
        raise ValueError(f"mask: wanted one channel of the target's shape {list(target.shape)}; got {list(mask.shape)}")
    require_finite(rendered=rendered, target=target, mask=mask)
    weight = mask.sum((-3, -2, -1)).clamp_min(SMALLEST_MASK) * target.shape[-3]
    error = ((rendered - target).square() * mask).sum((-3, -2, -1)) / weight
    return -10 * error.clamp_min(SMALLEST_SQUARED_ERROR).log10()


def ssim(rendered: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each picture: [..., C, H, W] twice -> [...], at most 1 (Wang et al. 2004).

    Gaussian window of 11 x 11 (sigma 1.5), averaged over channels and all places where the window fits. Values are
    clamped to [0, 1]. Raises ValueError for unlike shapes, sides under 11 px, NaN.
    """
    require_like(rendered, target)
    if min(target.shape[-2:]) <= 2 * SSIM_REACH:
        raise ValueError(f"target: wanted sides of at least {2 * SSIM_REACH + 1} px; got {list(target.shape[-2:])}")
    require_finite(rendered=rendered, target=target)
    x, y = (side.double().clamp(0, 1).reshape(-1, 1, *side.shape[-2:]) for side in (rendered, target))
    places = torch.arange(-SSIM_REACH, SSIM_REACH + 1, dtype=x.dtype, device=x.device)
    window = torch.softmax(-0.5 * (places / SSIM_SIGMA).square(), 0)

    def blurred(maps: Tensor) -> Tensor:
        rows = torch.nn.functional.conv2d(maps, window.view(1, 1, -1, 1))
        return torch.nn.functional.conv2d(rows, window.view(1, 1, 1, -1))

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x.square(), blurred(y * y) - mean_y.square()
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_LUMINANCE) / (mean_x.square() + mean_y.square() + SSIM_LUMINANCE)
    structure = (2 * covariance + SSIM_CONTRAST) / (variance_x + variance_y + SSIM_CONTRAST)
    return (luminance * structure).flatten(1).mean(1).view(target.shape[:-2]).mean(-1)


def iou(occupancy: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of two soft silhouettes, each cut at 0.5: [..., H, W] twice -> [...].

    Two empty silhouettes agree: 1. Raises ValueError for unlike shapes or NaN.
    """
    if occupancy.shape != mask.shape or occupancy.ndim < 2:
        raise ValueError(f"occupancy: wanted the mask's shape {list(mask.shape)}; got {list(occupancy.shape)}")
    require_finite(occupancy=occupancy, mask=mask)
    rendered, target = occupancy > 0.5, mask > 0.5
    union = (rendered | target).sum((-2, -1))
    return torch.where(union > 0, (rendered & target).sum((-2, -1)) / union.clamp_min(1), 1.0)
