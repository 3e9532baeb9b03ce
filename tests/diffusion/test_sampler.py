"""The sampler against exact solutions, scipy's ODE solver, and its own arithmetic."""

import math
from itertools import pairwise

import pytest
import torch

from vader3d.diffusion.sampler import STOCHASTIC, Churn, edm_sigmas, sample

MEAN, STD = 0.3, 0.5


def gaussian(x, sigma):
    """The exact denoiser of N(MEAN, STD^2)."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def two_points(x, sigma):
    """The exact denoiser of the points -1 and 1, equally likely."""
    return torch.tanh(x / sigma**2)


def exact_flow(start, sigma_from, sigma_to):
    """Where the probability flow of `gaussian` takes `start`."""
    scale = math.sqrt((STD**2 + sigma_to**2) / (STD**2 + sigma_from**2))
    return MEAN + (start - MEAN) * scale


class Recorder:
    """A denoiser that notes the noise levels it is asked at."""

    def __init__(self):
        self.sigmas, self.dtypes = [], set()

    def __call__(self, x, sigma):
        self.sigmas.append(float(sigma))
        self.dtypes |= {x.dtype, sigma.dtype}
        return gaussian(x, sigma)


def drawer(shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator)


@pytest.mark.parametrize("steps", [2, 18, 64])
def test_the_schedule_is_equation_5(steps):
    sigmas = edm_sigmas(steps)
    for i in (0, 1, steps // 2, steps - 1):
        expected = (80 ** (1 / 7) + i / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        assert float(sigmas[i]) == pytest.approx(expected, rel=1e-9)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_one_step_jumps_to_the_estimate():
    x = sample(gaussian, torch.tensor([[1.0]], dtype=torch.float64), edm_sigmas(1))
    assert float(x) == pytest.approx(float(gaussian(80.0, 80.0)))


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps: wanted at least 1; got 0"):
        edm_sigmas(0)


@pytest.mark.parametrize(("second_order", "order"), [(False, 1), (True, 2)])
def test_euler_is_of_order_1_and_heun_of_order_2(second_order, order):
    start = torch.tensor([[0.7]], dtype=torch.float64)
    errors = []
    for steps in (64, 128, 256):
        sigmas = edm_sigmas(steps)[:-1]  # without the last step to zero, which is Euler's
        end = sample(gaussian, start, sigmas, second_order=second_order)
        errors.append(abs(float(end - exact_flow(80 * start, 80.0, 0.002))))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_the_flow_ends_where_scipy_s_solver_does():
    from scipy.integrate import solve_ivp

    noise = torch.randn(8, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def slope(sigma, x):
        x = torch.from_numpy(x)
        return ((x - two_points(x, torch.tensor(sigma))) / sigma).numpy()

    start = 80 * noise.flatten().numpy()
    judged = solve_ivp(slope, (80.0, 0.05), start, method="LSODA", rtol=1e-9, atol=1e-10)
    sigmas = edm_sigmas(400, sigma_min=0.05)[:-1]
    ours = sample(two_points, noise, sigmas).flatten()
    torch.testing.assert_close(ours, torch.from_numpy(judged.y[:, -1]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("churn", "steps", "tolerance"),
    [(Churn(), 32, 0.02), (Churn(), 64, 0.02), (STOCHASTIC, 64, 0.04), (STOCHASTIC, 256, 0.02)],
)
def test_samples_have_the_data_s_mean_and_deviation(churn, steps, tolerance):
    """Churn makes the steps longer, so it wants more of them for the same accuracy."""
    shape = (100_000, 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    samples = sample(gaussian, noise, edm_sigmas(steps), churn=churn, draw=drawer(shape))
    assert float(samples.mean()) == pytest.approx(MEAN, rel=tolerance)
    assert float(samples.std()) == pytest.approx(STD, rel=tolerance)


def test_churned_samples_are_normal_and_forget_their_start():
    shape = (50_000, 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept = sample(gaussian, noise, edm_sigmas(64))
    churned = sample(gaussian, noise, edm_sigmas(64), churn=STOCHASTIC, draw=drawer(shape))
    assert abs(torch.corrcoef(torch.cat([noise, churned], 1).T)[0, 1]) < 0.3
    assert torch.corrcoef(torch.cat([noise, kept], 1).T)[0, 1] > 0.999
    units = (churned - churned.mean()) / churned.std()
    assert float(units.pow(4).mean()) == pytest.approx(3, abs=0.15)


def test_two_points_are_found():
    noise = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    samples = sample(two_points, noise, edm_sigmas(32))
    assert (samples.abs() - 1).abs().max() < 0.01
    assert float((samples > 0).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("second_order", "calls"), [(True, 2 * 16 - 1), (False, 16)])
def test_n_steps_cost_what_the_docstring_says(second_order, calls):
    recorder = Recorder()
    sample(recorder, torch.zeros(1, 1), edm_sigmas(16), second_order=second_order)
    assert len(recorder.sigmas) == calls
    assert recorder.dtypes == {torch.float32}


def test_churn_raises_the_level_only_where_it_may_and_at_most_so_far():
    recorder, draws = Recorder(), []

    def draw():
        draws.append(1)
        return torch.randn(1, 1)

    churn = Churn(amount=1e9, sigma_min=1.0, sigma_max=10.0)
    sigmas = edm_sigmas(8)
    sample(recorder, torch.zeros(1, 1), sigmas, churn=churn, draw=draw, second_order=False)
    for sigma, asked in zip(sigmas[:-1].tolist(), recorder.sigmas, strict=True):
        assert asked == pytest.approx(sigma * math.sqrt(2) if 1 <= sigma <= 10 else sigma, rel=1e-6)
    assert len(draws) == int(((sigmas >= 1) & (sigmas <= 10)).sum())


def test_the_churn_of_one_step_is_spread_over_all():
    recorder = Recorder()
    sample(
        recorder, torch.zeros(1, 1), edm_sigmas(200), churn=Churn(amount=40), draw=drawer((1, 1)), second_order=False
    )
    assert recorder.sigmas[0] == pytest.approx(80 * 1.2)


def test_objects_of_a_batch_are_sampled_one_by_one():
    noise = torch.randn(6, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    together = sample(gaussian, noise, edm_sigmas(8))
    alone = torch.cat([sample(gaussian, part, edm_sigmas(8)) for part in noise.split(1)])
    torch.testing.assert_close(together, alone)
