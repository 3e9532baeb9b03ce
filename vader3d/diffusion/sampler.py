"""The noise levels that solvers go through: EDM's schedule.

Karras et al., arXiv:2206.00364, Eq. 5; docs/paper.md A26 and A27.
"""

import torch
from torch import Tensor

from vader3d.diffusion.solvers import DETERMINISTIC as DETERMINISTIC
from vader3d.diffusion.solvers import STOCHASTIC as STOCHASTIC
from vader3d.diffusion.solvers import Churn as Churn
from vader3d.diffusion.solvers import heun

sample = heun  # as generation calls it


def edm_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Eq. 5: `steps` falling noise levels and a final 0, [steps + 1], float64."""
    if steps < 1:
        raise ValueError(f"steps: wanted at least 1; got {steps}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])
