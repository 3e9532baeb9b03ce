"""Noise to latents: solvers of the diffusion's equations.

All are called `solver(denoiser, noise, sigmas, *, draw=None, callback=None)`, those of EDM also with a `churn`:

denoiser(x, sigma): noisy latents [B, ...] and a scalar noise level -> its estimate of the clean ones, shaped as x.
noise: unit noise [B, ...]. sigmas: falling noise levels [N + 1], float64, the last one 0 or above; on a GPU they may
stay on the CPU, so that nothing waits for them.
draw(): fresh unit noise shaped as `noise`, for solvers that add some; ValueError where one is needed and there is none.
callback(step, x, denoised): after each step, from 0 on, with the latents at its end and the estimate it was made from;
True ends the sampling with that estimate, a tensor takes the latents' place.

The state is float64, the denoiser sees the type of `noise`, which is also that of the result. An object does not depend
on the others of its batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from vader3d.config import Checked, ranged

Denoise = Callable[[Tensor, Tensor], Tensor]
Draw = Callable[[], Tensor]
Callback = Callable[[int, Tensor, Tensor], bool | Tensor | None]


class Solver(Protocol):
    """What all solvers take."""

    def __call__(
        self,
        denoiser: Denoise,
        noise: Tensor,
        sigmas: Tensor,
        *,
        draw: Draw | None = None,
        callback: Callback | None = None,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Churn(Checked):
    """Fresh noise while sampling; the default adds none. The paper's main results: `STOCHASTIC`."""

    amount: float = ranged(0.0, at_least=0)  # S_churn
    sigma_min: float = ranged(0.0, at_least=0)  # S_min
    sigma_max: float = ranged(float("inf"), at_least=0, at_most=float("inf"))  # S_max
    noise: float = ranged(1.0, at_least=0)  # S_noise


DETERMINISTIC = Churn()
STOCHASTIC = Churn(amount=40.0, sigma_min=0.05, sigma_max=50.0, noise=1.003)  # EDM's ImageNet-64 (A26)


def heun(
    denoiser: Denoise,
    noise: Tensor,
    sigmas: Tensor,
    *,
    churn: Churn = DETERMINISTIC,
    draw: Draw | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Algorithm 2 of EDM (arXiv:2206.00364), of order 2: N steps to 0 cost 2 N - 1 denoiser calls."""
    return edm_steps(denoiser, noise, sigmas, churn, draw, callback, second_order=True)


def euler(
    denoiser: Denoise,
    noise: Tensor,
    sigmas: Tensor,
    *,
    churn: Churn = DETERMINISTIC,
    draw: Draw | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The same without its second half, of order 1 (DDIM): a step costs one denoiser call."""
    return edm_steps(denoiser, noise, sigmas, churn, draw, callback, second_order=False)


def dpmpp_2m(
    denoiser: Denoise, noise: Tensor, sigmas: Tensor, *, draw: Draw | None = None, callback: Callback | None = None
) -> Tensor:
    """DPM-Solver++(2M) (arXiv:2211.01095), of order 2 at one denoiser call a step: remembers the step before."""
    return multistep(denoiser, noise, sigmas, 0.0, draw, callback)


def dpmpp_2m_sde(
    denoiser: Denoise,
    noise: Tensor,
    sigmas: Tensor,
    *,
    eta: float = 1.0,
    draw: Draw | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Its stochastic variant, SDE-DPM-Solver++(2M): a step costs one denoiser call and one draw, the last one none.

    eta: how much of the noise is fresh, from 0, which is `dpmpp_2m`.
    """
    return multistep(denoiser, noise, sigmas, eta, draw, callback)


SOLVERS: dict[str, Solver] = {"heun": heun, "euler": euler, "dpmpp_2m": dpmpp_2m, "dpmpp_2m_sde": dpmpp_2m_sde}


def edm_steps(
    denoiser: Denoise,
    noise: Tensor,
    sigmas: Tensor,
    churn: Churn,
    draw: Draw | None,
    callback: Callback | None,
    *,
    second_order: bool,
) -> Tensor:
    def estimate(x: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(x.to(noise.dtype), sigma.to(noise))

    steps = len(sigmas) - 1
    x = noise.double() * sigmas[0]
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if churn.amount > 0 and churn.sigma_min <= sigma <= churn.sigma_max:
            gamma = min(churn.amount / steps, 2**0.5 - 1)
            raised = sigma * (1 + gamma)
            x = x + (raised**2 - sigma**2).sqrt() * churn.noise * drawn(draw, f"churn.amount is {churn.amount}")
            sigma = raised
        denoised = estimate(x, sigma)
        slope = (x - denoised) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if second_order and sigma_next > 0:
            slope_next = (x_next - estimate(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * (slope + slope_next) / 2
        x, stopped = answered(callback, step, x_next, denoised)
        if stopped:
            return denoised
    return x.to(noise.dtype)


def multistep(
    denoiser: Denoise, noise: Tensor, sigmas: Tensor, eta: float, draw: Draw | None, callback: Callback | None
) -> Tensor:
    """Exact where the estimate is linear in ln sigma, through its last two values; a step to 0 takes the last one."""
    x = noise.double() * sigmas[0]
    before: tuple[Tensor, Tensor] | None = None  # the last step's estimate, and its length in ln sigma
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x.to(noise.dtype), sigma.to(noise))
        ratio = sigma_next / sigma
        length, aim = -ratio.log(), denoised.double()
        if before is not None and sigma_next > 0:
            aim = aim + (aim - before[0]) * (length / before[1]) / 2
        kept = ratio ** (1 + eta)
        x = kept * x + (1 - kept) * aim
        if eta > 0 and sigma_next > 0:
            x = x + sigma_next * (1 - ratio ** (2 * eta)).sqrt() * drawn(draw, f"eta is {eta}")
        before = denoised, length
        x, stopped = answered(callback, step, x, denoised)
        if stopped:
            return denoised
    return x.to(noise.dtype)


def answered(callback: Callback | None, step: int, x: Tensor, denoised: Tensor) -> tuple[Tensor, bool]:
    """The latents that a callback leaves, and whether it ends the sampling; unchanged ones keep all their digits."""
    answer = callback(step, x.to(denoised.dtype), denoised) if callback else None
    if not isinstance(answer, Tensor):
        return x, bool(answer)
    return (x if answer.shape == x.shape and answer.equal(x.to(answer)) else answer.to(x)), False


def drawn(draw: Draw | None, why: str) -> Tensor:
    if draw is None:
        raise ValueError(f"draw: wanted a source of unit noise, since {why}; got None")
    return draw()
