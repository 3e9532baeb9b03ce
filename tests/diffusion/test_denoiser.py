"""Preconditioning and loss against EDM's formulas and against exact posteriors."""

import math

import pytest
import torch
from torch import nn

from vader3d import latents
from vader3d.diffusion.denoiser import Denoiser, GaussianPrior, training_sigmas
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import heun

SHAPE = (3, 2, 2, 2)
DIMENSIONS = math.prod(SHAPE)


class Silent(nn.Module):
    """F = 0, and what it was asked."""

    def forward(self, x, noise):
        self.x, self.noise = x, noise
        return torch.zeros(len(x), *SHAPE)


class Linear(nn.Module):
    """F = 2 x + noise, on the first channels."""

    def forward(self, x, noise):
        return 2 * x[:, : SHAPE[0]] + noise.view(-1, 1, 1, 1, 1)


def edm(network: nn.Module) -> Denoiser:
    """As the paper has it: rank 0, sigma_data 0.5."""
    return Denoiser(network, GaussianPrior(DIMENSIONS, rest=0.25), sigma_data=0.5)


def correlated(count: int, seed: int = 0) -> torch.Tensor:
    """Draws of a Gaussian with a mean and few strong directions, [count, *SHAPE]."""
    generator = torch.Generator().manual_seed(0)
    mixing, mean = torch.randn(4, DIMENSIONS, generator=generator), torch.randn(DIMENSIONS, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    strong = torch.randn(count, 4, generator=generator) @ mixing
    return (mean + strong + 0.1 * torch.randn(count, DIMENSIONS, generator=generator)).view(-1, *SHAPE)


def covariance_of(prior: GaussianPrior) -> torch.Tensor:
    """[DIMENSIONS, DIMENSIONS], written out."""
    basis, variances, rest = prior.basis.double(), prior.variances.double(), prior.rest.double()
    return rest * torch.eye(DIMENSIONS, dtype=torch.float64) + basis.T @ torch.diag(variances - rest) @ basis


@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_rank_zero_is_table_1_of_edm(sigma):
    x, sigma_data = torch.randn(2, *SHAPE), 0.5
    c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    c_out = sigma * sigma_data / math.sqrt(sigma**2 + sigma_data**2)
    c_in = 1 / math.sqrt(sigma**2 + sigma_data**2)
    expected = c_skip * x + c_out * (2 * c_in * x + math.log(sigma) / 4)
    torch.testing.assert_close(edm(Linear())(x, torch.tensor(sigma)), expected, rtol=1e-5, atol=1e-5)


def test_the_loss_is_equation_8():
    x, noise, sigma = torch.randn(4, *SHAPE), torch.randn(4, *SHAPE), torch.tensor([0.01, 0.3, 1.0, 20.0])
    model = edm(Linear())
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    error = (model(x + sigma.view(-1, 1, 1, 1, 1) * noise, sigma) - x).square().flatten(1).mean(1)
    torch.testing.assert_close(model.loss(x, sigma, noise), weight * error, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.002, 0.05, 0.5, 5.0, 80.0])
def test_a_silent_network_has_loss_1_on_data_of_sigma_data(sigma):
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(4000, *SHAPE, generator=generator) for _ in range(2))
    loss = edm(Silent()).loss(0.5 * x, torch.full((4000,), sigma), noise)
    assert loss.shape == (4000,)
    assert float(loss.mean()) == pytest.approx(1, abs=0.02)


def test_what_the_network_sees_has_unit_deviation():
    network, sigma = Silent(), torch.full((4000,), 0.7)
    edm(network).loss(0.5 * torch.randn(4000, *SHAPE), sigma, torch.randn(4000, *SHAPE))
    assert float(network.x.std()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(network.noise, (sigma.log() / 4))


@pytest.mark.parametrize("decay", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("chunk", [100 * DIMENSIONS, 1 << 22])
def test_a_fit_is_the_full_singular_value_decomposition(decay, chunk, monkeypatch):
    """Variances, what the components hold of the latents, and what is left; however many are looked at at a time."""
    monkeypatch.setattr(latents, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 400, generator=generator)).Q for n in (450, 512))
    flat = 5 + 20 * (left * torch.arange(1.0, 401.0) ** -decay) @ right.mT
    prior = GaussianPrior(512, rank=12).fit(flat.view(-1, 8, 4, 4, 4))
    centred = (flat - flat.mean(0)).double()
    true = torch.linalg.svdvals(centred).square() / 449
    torch.testing.assert_close(prior.variances.double(), true[:12], rtol=0.02, atol=0.0)
    held = (centred @ prior.basis.double().mT).square().sum() / 449
    assert float(held / true[:12].sum()) == pytest.approx(1, abs=2e-3)
    assert float(prior.rest) == pytest.approx(float(true[12:].sum() / 500), rel=0.01)
    torch.testing.assert_close(prior.basis @ prior.basis.mT, torch.eye(12), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(prior.mean, flat.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 10.0])
def test_a_prior_denoises_as_the_exact_posterior(sigma):
    prior = GaussianPrior(DIMENSIONS, rank=4).fit(correlated(500))
    eye, covariance = torch.eye(DIMENSIONS, dtype=torch.float64), covariance_of(prior)
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * eye)
    x = correlated(5, seed=1) + sigma * torch.randn(5, *SHAPE)
    expected = prior.mean + (x.flatten(1) - prior.mean).double() @ gain.T
    best, left = prior.denoise(x, torch.full((5,), sigma))
    torch.testing.assert_close(best.flatten(1).double(), expected, rtol=1e-3, atol=1e-3)
    remaining = torch.trace(covariance - gain @ covariance) / DIMENSIONS
    torch.testing.assert_close(left.double(), remaining.expand(5), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 10.0])
def test_unit_noise_becomes_what_the_posterior_leaves(sigma):
    prior = GaussianPrior(DIMENSIONS, rank=4).fit(correlated(500))
    eye, levels = torch.eye(DIMENSIONS).view(-1, *SHAPE), torch.full((DIMENSIONS,), sigma)
    root = prior.deviation(eye, levels).flatten(1).double()
    covariance = covariance_of(prior)
    left = covariance - covariance @ torch.linalg.inv(covariance + sigma**2 * eye.flatten(1)) @ covariance
    torch.testing.assert_close(root @ root.T, left, rtol=1e-3, atol=1e-5)


def test_the_network_has_no_say_where_latents_never_vary():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(50, 3, generator=generator) @ torch.randn(3, DIMENSIONS, generator=generator)
    prior = GaussianPrior(DIMENSIONS, rank=3).fit(flat.view(-1, *SHAPE))
    x, sigma = torch.randn(4, *SHAPE, generator=generator), torch.full((4,), 2.0)
    said = prior.deviation(torch.randn(4, *SHAPE, generator=generator), sigma).flatten(1)
    outside = said - said @ prior.basis.T @ prior.basis
    assert float(outside.abs().max()) < 1e-3 * float(said.abs().max())
    silent, loud = Denoiser(Silent(), prior)(x, sigma), Denoiser(Linear(), prior)(x, sigma)
    difference = (loud - silent).flatten(1)
    assert float(difference.norm()) > 0.1
    torch.testing.assert_close(difference @ prior.basis.T @ prior.basis, difference, rtol=1e-2, atol=1e-3)


def test_a_fitted_prior_has_the_data_s_mean_and_covariance():
    data = correlated(2000)
    prior = GaussianPrior(DIMENSIONS, rank=4).fit(data)
    torch.testing.assert_close(prior.basis @ prior.basis.T, torch.eye(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(prior.mean, data.flatten(1).mean(0))
    covariance = covariance_of(prior).float()
    true = torch.cov(data.flatten(1).T)
    torch.testing.assert_close(torch.trace(covariance), torch.trace(true), rtol=1e-4, atol=0)
    torch.testing.assert_close(covariance, true, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_a_silent_network_has_loss_1_on_data_of_the_prior(sigma):
    data = correlated(4000)
    model = Denoiser(Silent(), GaussianPrior(DIMENSIONS, rank=4).fit(data))
    loss = model.loss(
        data, torch.full((4000,), sigma), torch.randn(data.shape, generator=torch.Generator().manual_seed(2))
    )
    assert float(loss.mean()) == pytest.approx(1, abs=0.03)


def test_a_network_around_a_prior_also_sees_the_linear_estimate():
    network, x, sigma = Silent(), correlated(3), torch.full((3,), 0.7)
    prior = GaussianPrior(DIMENSIONS, rank=4).fit(correlated(100))
    Denoiser(network, prior)(x, sigma)
    assert network.x.shape == (3, 2 * SHAPE[0], *SHAPE[1:])
    torch.testing.assert_close(network.x[:, SHAPE[0] :], prior.denoise(x, sigma)[0] / 0.5)


def test_with_a_silent_network_samples_are_the_prior():
    data = correlated(500)
    model = Denoiser(Silent(), GaussianPrior(DIMENSIONS, rank=4).fit(data))
    noise = torch.randn(20_000, *SHAPE, generator=torch.Generator().manual_seed(3))
    samples = heun(model, noise, edm_sigmas(48)).flatten(1)
    seen, true = torch.cov(samples.T), torch.cov(data.flatten(1).T)
    assert float((samples.mean(0) - data.flatten(1).mean(0)).abs().max()) < 0.1
    assert float((seen - true).norm() / true.norm()) < 0.05


def test_the_prior_travels_with_the_weights():
    fitted = Denoiser(Silent(), GaussianPrior(DIMENSIONS, rank=4).fit(correlated(100)))
    other = Denoiser(Silent(), GaussianPrior(DIMENSIONS, rank=4))
    other.load_state_dict(fitted.state_dict())
    x, sigma = correlated(3), torch.full((3,), 0.4)
    assert torch.equal(other(x, sigma), fitted(x, sigma))


def test_training_levels_are_log_normal_even_within_a_batch():
    sigmas = training_sigmas(4096, torch.Generator().manual_seed(0))
    assert float(sigmas.log().mean()) == pytest.approx(-1.2, abs=0.01)
    assert float(sigmas.log().std()) == pytest.approx(1.2, abs=0.02)
    assert abs(torch.corrcoef(torch.stack([sigmas.log(), torch.arange(4096.0)]))[0, 1]) < 0.05
    means = torch.stack([training_sigmas(16, torch.Generator().manual_seed(s)).log().mean() for s in range(200)])
    assert float(means.std()) < 0.1  # independent draws would give 0.3
    assert float(means.mean()) == pytest.approx(-1.2, abs=0.05)


def test_training_levels_come_from_the_generator_alone():
    a, b = (training_sigmas(8, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, training_sigmas(8, torch.Generator().manual_seed(6)))
    assert training_sigmas(1, torch.Generator().manual_seed(0), P_mean=3.0, P_std=0.0).log() == pytest.approx(3.0)
