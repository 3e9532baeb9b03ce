"""The noise levels that solvers go through: EDM's and shorter ones.

Karras et al., arXiv:2206.00364, Eq. 5; docs/paper.md A26 and A27.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MULTISTEP = ("dpmpp_2m", "dpmpp_2m_sde")


def edm_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """Eq. 5: `steps` falling noise levels and a final 0, [steps + 1], float64."""
    if steps < 1:
        raise ValueError(f"steps: wanted at least 1; got {steps}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1, dtype=torch.float64)])


def sigmas_for(solver: str, steps: int, latent_shape: Sequence[int]) -> Tensor:
    """The levels for one of `SOLVERS` on latents [C, D, H, W], [steps + 1]: EDM's for the two solvers of EDM.

    Those of DPM-Solver++ leave out what would waste a few steps: above 10 sqrt(D H W), at most 80, noise drowns all
    that the cells say together, and below .03 one step to 0 does as well (docs/performance.md).
    """
    if solver not in MULTISTEP:
        return edm_sigmas(steps)
    return edm_sigmas(steps, sigma_min=0.03, sigma_max=min(80.0, 10 * math.prod(latent_shape[1:]) ** 0.5))
