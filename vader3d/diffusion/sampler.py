"""Noise to latents: EDM's schedule and Heun's method.

Karras et al., arXiv:2206.00364, Eq. 5 and Algorithm 2; docs/paper.md A26 and A27. Imports nothing of ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vader3d.config import Checked, ranged


@dataclass(frozen=True)
class Churn(Checked):
    """Fresh noise while sampling; the default adds none. The paper's main results: `STOCHASTIC`."""

    amount: float = ranged(0.0, at_least=0)  # S_churn
    sigma_min: float = ranged(0.0, at_least=0)  # S_min
    sigma_max: float = ranged(float("inf"), at_least=0, at_most=float("inf"))  # S_max
    noise: float = ranged(1.0, at_least=0)  # S_noise


DETERMINISTIC = Churn()
STOCHASTIC = Churn(amount=40.0, sigma_min=0.05, sigma_max=50.0, noise=1.003)  # EDM's ImageNet-64 (A26)


def edm_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Eq. 5: `steps` falling noise levels and a final 0, [steps + 1], float64."""
    if steps < 1:
        raise ValueError(f"steps: wanted at least 1; got {steps}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])


def sample(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    sigmas: Tensor,
    *,
    churn: Churn = DETERMINISTIC,
    draw: Callable[[], Tensor] | None = None,
    second_order: bool = True,
) -> Tensor:
    """Algorithm 2: unit noise [B, ...] -> samples. N steps cost 2 N - 1 denoiser calls (N where not second_order).

    draw() gives unit noise shaped as `noise`; ValueError without it where churn.amount > 0. The state is float64, the
    denoiser sees float32. On a GPU `sigmas` may stay on the CPU, so that nothing waits for it.
    """

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        denoised = denoiser(x.to(noise.dtype), sigma.to(noise))
        return (x - denoised) / sigma

    steps = len(sigmas) - 1
    x = noise.double() * sigmas[0]
    for sigma, sigma_next in pairwise(sigmas):
        if churn.amount > 0 and churn.sigma_min <= sigma <= churn.sigma_max:
            if draw is None:
                raise ValueError(
                    f"draw: wanted a source of unit noise where churn.amount is above 0 ({churn.amount}); got None"
                )
            gamma = min(churn.amount / steps, 2**0.5 - 1)
            raised = sigma * (1 + gamma)
            x = x + (raised**2 - sigma**2).sqrt() * churn.noise * draw()
            sigma = raised
        d = slope(x, sigma)
        x_next = x + (sigma_next - sigma) * d
        if second_order and sigma_next > 0:
            x_next = x + (sigma_next - sigma) * (d + slope(x_next, sigma_next)) / 2
        x = x_next
    return x.to(noise.dtype)
