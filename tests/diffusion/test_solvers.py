"""The solvers against exact solutions, scipy's ODE solver, and their own arithmetic."""

import math
from itertools import pairwise

import pytest
import torch

from vader3d.diffusion.sampler import edm_sigmas, sigmas_for
from vader3d.diffusion.solvers import SOLVERS, STOCHASTIC, Churn, dpmpp_2m, dpmpp_2m_sde, euler, heun

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
    x = heun(gaussian, torch.tensor([[1.0]], dtype=torch.float64), edm_sigmas(1))
    assert float(x) == pytest.approx(float(gaussian(80.0, 80.0)))


def test_multistep_solvers_get_the_levels_that_matter():
    assert sigmas_for("heun", 9, (128, 1, 1, 1)).equal(edm_sigmas(9))
    assert sigmas_for("euler", 9, (128, 1, 1, 1)).equal(edm_sigmas(9))
    for name in ("dpmpp_2m", "dpmpp_2m_sde"):
        for cells, highest in ((1, 10), (2, 10 * 8**0.5), (8, 80)):
            sigmas = sigmas_for(name, 9, (16, cells, cells, cells))
            assert (float(sigmas[0]), float(sigmas[-2]), float(sigmas[-1])) == pytest.approx((highest, 0.03, 0))
            assert len(sigmas) == 10


def test_these_levels_are_better_for_few_steps():
    """Of a code: every sample lies nearer to where the exact flow takes it."""
    noise = torch.randn(200, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = exact_flow(80 * noise, 80.0, 0.0)
    narrow, edm = (
        dpmpp_2m(gaussian, noise, levels) for levels in (sigmas_for("dpmpp_2m", 10, (1, 1, 1, 1)), edm_sigmas(10))
    )
    assert float((narrow - exact).abs().mean()) < 0.5 * float((edm - exact).abs().mean())


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps: wanted at least 1; got 0"):
        edm_sigmas(0)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2), (dpmpp_2m, 2)])
def test_a_solver_is_of_its_order(solver, order):
    start = torch.tensor([[0.7]], dtype=torch.float64)
    errors = []
    for steps in (64, 128, 256):
        sigmas = edm_sigmas(steps)[:-1]  # without the last step to zero, which is Euler's
        end = solver(gaussian, start, sigmas)
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
    ours = heun(two_points, noise, sigmas).flatten()
    torch.testing.assert_close(ours, torch.from_numpy(judged.y[:, -1]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("churn", "steps", "tolerance"),
    [(Churn(), 32, 0.02), (Churn(), 64, 0.02), (STOCHASTIC, 64, 0.04), (STOCHASTIC, 256, 0.02)],
)
def test_samples_have_the_data_s_mean_and_deviation(churn, steps, tolerance):
    """Churn makes the steps longer, so it wants more of them for the same accuracy."""
    shape = (100_000, 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    samples = heun(gaussian, noise, edm_sigmas(steps), churn=churn, draw=drawer(shape))
    assert float(samples.mean()) == pytest.approx(MEAN, rel=tolerance)
    assert float(samples.std()) == pytest.approx(STD, rel=tolerance)


def test_churned_samples_are_normal_and_forget_their_start():
    shape = (50_000, 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept = heun(gaussian, noise, edm_sigmas(64))
    churned = heun(gaussian, noise, edm_sigmas(64), churn=STOCHASTIC, draw=drawer(shape))
    assert abs(torch.corrcoef(torch.cat([noise, churned], 1).T)[0, 1]) < 0.3
    assert torch.corrcoef(torch.cat([noise, kept], 1).T)[0, 1] > 0.999
    units = (churned - churned.mean()) / churned.std()
    assert float(units.pow(4).mean()) == pytest.approx(3, abs=0.15)


def test_two_points_are_found():
    noise = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    samples = heun(two_points, noise, edm_sigmas(32))
    assert (samples.abs() - 1).abs().max() < 0.01
    assert float((samples > 0).float().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "calls", "draws"),
    [("heun", 2 * 16 - 1, 0), ("euler", 16, 0), ("dpmpp_2m", 16, 0), ("dpmpp_2m_sde", 16, 15)],
)
def test_n_steps_cost_what_the_docstring_says(name, calls, draws):
    recorder, drawn = Recorder(), []
    SOLVERS[name](recorder, torch.zeros(1, 1), edm_sigmas(16), draw=lambda: drawn.append(1) or torch.zeros(1, 1))
    assert len(drawn) == draws
    assert len(recorder.sigmas) == calls
    assert recorder.dtypes == {torch.float32}


def test_churn_raises_the_level_only_where_it_may_and_at_most_so_far():
    recorder, draws = Recorder(), []

    def draw():
        draws.append(1)
        return torch.randn(1, 1)

    churn = Churn(amount=1e9, sigma_min=1.0, sigma_max=10.0)
    sigmas = edm_sigmas(8)
    euler(recorder, torch.zeros(1, 1), sigmas, churn=churn, draw=draw)
    for sigma, asked in zip(sigmas[:-1].tolist(), recorder.sigmas, strict=True):
        assert asked == pytest.approx(sigma * math.sqrt(2) if 1 <= sigma <= 10 else sigma, rel=1e-6)
    assert len(draws) == int(((sigmas >= 1) & (sigmas <= 10)).sum())


def test_the_churn_of_one_step_is_spread_over_all():
    recorder = Recorder()
    euler(recorder, torch.zeros(1, 1), edm_sigmas(200), churn=Churn(amount=40), draw=drawer((1, 1)))
    assert recorder.sigmas[0] == pytest.approx(80 * 1.2)


@pytest.mark.parametrize("solver", [heun, dpmpp_2m])
def test_objects_of_a_batch_are_sampled_one_by_one(solver):
    noise = torch.randn(6, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    together = solver(gaussian, noise, edm_sigmas(8))
    alone = torch.cat([solver(gaussian, part, edm_sigmas(8)) for part in noise.split(1)])
    assert together.equal(alone)


def spread_of(steps, *, eta):
    """The exact deviation of what SDE-DPM-Solver++(2M) makes of `gaussian`: each noise's share, by linearity."""
    shares, drawn = torch.eye(steps + 1, dtype=torch.float64), iter(range(1, steps + 1))
    shares = torch.cat([shares, shares.new_zeros(1, steps + 1)])  # the last row: no noise at all
    sigmas = edm_sigmas(steps + 1)[:-1]
    ends = dpmpp_2m_sde(gaussian, shares[:, :1], sigmas, eta=eta, draw=lambda: shares[:, next(drawn), None])
    return float((ends[:-1] - ends[-1]).norm())


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_the_stochastic_solver_nears_the_true_deviation(eta):
    """Exactly, without sampling error: at order 1 with fresh noise, for its estimates lag behind the noise."""
    errors = [abs(spread_of(steps, eta=eta) - math.sqrt(STD**2 + 0.002**2)) for steps in (128, 256, 512)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) > 0.8
    assert errors[-1] < 0.01 * STD


def test_without_fresh_noise_the_stochastic_solver_is_the_other():
    noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert dpmpp_2m_sde(two_points, noise, edm_sigmas(9), eta=0.0).equal(dpmpp_2m(two_points, noise, edm_sigmas(9)))


def test_multistep_samples_have_the_data_s_mean_and_deviation():
    shape = (20_000, 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for solver, steps in ((dpmpp_2m, 32), (dpmpp_2m_sde, 96)):
        samples = solver(gaussian, noise, edm_sigmas(steps), draw=drawer(shape))
        assert float(samples.mean()) == pytest.approx(MEAN, rel=0.03)
        assert float(samples.std()) == pytest.approx(STD, rel=0.03)


def test_a_step_without_noise_to_draw_says_so():
    with pytest.raises(ValueError, match=r"draw: wanted a source of unit noise, since churn.amount is 40.0; got None"):
        heun(gaussian, torch.zeros(1, 1), edm_sigmas(4), churn=STOCHASTIC)
    with pytest.raises(ValueError, match=r"draw: wanted a source of unit noise, since eta is 1.0; got None"):
        dpmpp_2m_sde(gaussian, torch.zeros(1, 1), edm_sigmas(4))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_callback_sees_every_step_and_may_stop(name):
    noise, sigmas, seen = torch.ones(2, 3), edm_sigmas(6), []
    end = SOLVERS[name](gaussian, noise, sigmas, draw=drawer((2, 3)), callback=lambda *step: seen.append(step))
    assert [step for step, _, _ in seen] == [*range(6)]
    assert {x.dtype for _, *both in seen for x in both} == {torch.float32}
    assert seen[-1][1].equal(end)
    recorder = Recorder()
    stopped = SOLVERS[name](recorder, noise, sigmas, draw=drawer((2, 3)), callback=lambda step, *_: step == 2)
    assert stopped.equal(seen[2][2])  # the estimate, not the latents that are still noisy
    assert len(set(recorder.sigmas)) <= 4


@pytest.mark.parametrize("name", SOLVERS)
def test_what_a_callback_gives_back_takes_the_latents_place_and_the_same_changes_no_digit(name):
    noise, sigmas = torch.ones(2, 3), edm_sigmas(6)

    def drawn(callback):
        return SOLVERS[name](gaussian, noise, sigmas, draw=drawer((2, 3)), callback=callback)

    assert drawn(lambda step, x, _: x).equal(drawn(None))
    steered = drawn(lambda step, x, _: x.mul_(0) if step == 5 else x)  # in place, as of diffusers' callbacks
    assert not steered.any()
    assert not drawn(lambda step, x, _: x + 1 if step == 0 else None).equal(drawn(None))
