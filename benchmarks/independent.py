"""The same integral by renderers of other hands: what ours is timed against besides its own reference.

`pip install nerfacc drjit` makes them available; Dr.Jit also wants LLVM's shared library (DRJIT_LIBLLVM_PATH).
"""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from vader3d.geometry.rays import Rays, cube_crossing

Outputs = tuple[Tensor, Tensor, Tensor]  # colour [B, R, 3], opacity and depth [B, R]
Renderer = Callable[[Tensor, Rays, int, bool], tuple[Outputs, Tensor | None]]  # grid, rays, samples, with gradient


def render_with_nerfacc(grid: Tensor, rays: Rays, samples: int, with_gradient: bool) -> tuple[Outputs, Tensor | None]:
    """nerfacc's torch path: its transmittance and sums, torch's trilinear sampling."""
    import nerfacc

    grid = grid.detach().requires_grad_(with_gradient)
    near, far = cube_crossing(*rays)
    edges = near[..., None] + (far - near)[..., None] * torch.linspace(0, 1, samples + 1, device=grid.device)
    middles = (edges[..., 1:] + edges[..., :-1]) / 2
    with torch.set_grad_enabled(with_gradient):
        points = rays.origins[:, :, None] + middles[..., None] * rays.directions[:, :, None]
        sampled = torch.nn.functional.grid_sample(grid, points[:, :, :, None], align_corners=True)[..., 0]
        sampled = sampled.permute(0, 2, 3, 1)
        weights, _, _ = nerfacc.render_weight_from_density(edges[..., :-1], edges[..., 1:], sampled[..., 3].relu())
        outputs = ((weights[..., None] * sampled[..., :3]).sum(-2), weights.sum(-1), (weights * middles).sum(-1))
        if not with_gradient:
            return outputs, None
        return outputs, torch.autograd.grad(sum(output.sum() for output in outputs), grid)[0]


def render_with_drjit(grid: Tensor, rays: Rays, samples: int, with_gradient: bool) -> tuple[Outputs, Tensor | None]:
    """Dr.Jit on LLVM: one symbolic loop over the samples of all rays of an object."""
    import march_in_drjit

    near, far = cube_crossing(*rays)
    outputs, gradients = [], []
    for volume, origins, directions, start, length in zip(grid.detach(), *rays, near, far - near, strict=True):
        values, gradient = march_in_drjit.render(
            volume, origins, directions, start, length / samples, samples, with_gradient
        )
        outputs.append(values)
        gradients.append(gradient)
    joined = torch.stack(outputs)
    return (joined[..., :3], joined[..., 3], joined[..., 4]), torch.stack(gradients) if with_gradient else None


def available(device: str) -> dict[str, Renderer]:
    """Those that are installed and take tensors on `device`."""
    known = {"nerfacc": render_with_nerfacc, "drjit": render_with_drjit if device == "cpu" else None}
    return {name: run for name, run in known.items() if run and importlib.util.find_spec(name)}
