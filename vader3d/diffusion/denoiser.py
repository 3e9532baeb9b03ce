"""EDM's preconditioning and loss around any network F(x, c_noise).

Karras et al., arXiv:2206.00364, Table 1 and Eq. 7-8, derived for data ~ N(0, sigma_data^2 I):

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)    c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)
    c_in = 1 / sqrt(sigma^2 + sigma_data^2)              c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)
    c_noise = ln(sigma) / 4

That is a `GaussianPrior` of rank 0. Around another Gaussian the same derivation gives matrices: c_skip is the best
linear denoiser of that Gaussian (Wiener filter), c_out the square root of what it leaves. The network then learns only
what is not Gaussian about the data.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from vader3d.latents import chunks, total
from vader3d.randomness import seeded

ROUNDS, EXTRA = 4, 10  # of subspace iteration: passes, and directions beside twice those wanted


class GaussianPrior(nn.Module):
    """N(mean, sum_k variances_k basis_k basis_k^T + rest (I - basis^T basis)) over latents [C, D, H, W].

    Buffers: mean [d], orthonormal basis [r, d], variances [r], rest (a scalar), d = C D H W. EDM's own preconditioning
    is r = 0, mean = 0, rest = sigma_data^2.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    rest: Tensor

    def __init__(self, dimensions: int, *, rank: int = 0, rest: float = 0.0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("basis", torch.zeros(rank, dimensions))
        self.register_buffer("variances", torch.zeros(rank))
        self.register_buffer("rest", torch.tensor(float(rest)))

    @torch.no_grad()
    def fit(self, latents: Tensor, normalise: Callable[[Tensor], Tensor] = Tensor.float) -> "GaussianPrior":
        """Mean, leading principal components and mean leftover variance of `normalise(latents)` [N, C, D, H, W].

        Reads the latents a part at a time.
        """
        rank, objects, dimensions = len(self.variances), len(latents), len(self.mean)
        self.mean.copy_(total(normalise(part).flatten(1).double().sum(0) for part in chunks(latents)) / objects)

        def rows() -> Iterator[Tensor]:
            return (normalise(part).flatten(1) - self.mean for part in chunks(latents))

        basis, variances = principal_components(rows, dimensions, width=min(2 * rank + EXTRA, objects, dimensions))
        self.basis.copy_(basis[:rank])
        self.variances.copy_(variances[:rank] / max(1, objects - 1))
        left = sum(float((row - row @ self.basis.mT @ self.basis).square().sum(dtype=torch.float64)) for row in rows())
        self.rest.fill_(left / max(1, objects - 1) / max(1, dimensions - rank))
        return self

    def shrinkage(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What noise sigma [B] leaves of the way from the mean: along each component [B, r], elsewhere [B, 1]."""
        noise = sigma.square()[:, None]
        return self.variances / (self.variances + noise), self.rest / (self.rest + noise)

    def denoise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """E[y | y + sigma n = x] for x [B, C, D, H, W] and sigma [B], and the mean variance [B] that remains of y."""
        shrink, shrink_rest = self.shrinkage(sigma)
        centred = x.flatten(1).float() - self.mean
        along = (centred @ self.basis.mT) * (shrink - shrink_rest)
        best = self.mean + shrink_rest * centred + along @ self.basis
        dimensions = len(self.mean)
        left = shrink.sum(1) + (dimensions - len(self.variances)) * shrink_rest[:, 0]
        return best.view_as(x), sigma.square() * left / dimensions

    def deviation(self, unit: Tensor, sigma: Tensor) -> Tensor:
        """Cov(y | y + sigma n)^(1/2) unit: unit noise [B, C, D, H, W] as what remains unknown of y at sigma [B]."""
        along, rest = (sigma[:, None] * share.sqrt() for share in self.shrinkage(sigma))
        flat = unit.flatten(1).float()
        return (rest * flat + ((flat @ self.basis.mT) * (along - rest)) @ self.basis).view_as(unit)


def principal_components(rows: Callable[[], Iterable[Tensor]], dimensions: int, *, width: int) -> tuple[Tensor, Tensor]:
    """Orthonormal directions [width, d] along which centred rows [N, d] vary most, and their sums of squares [width].

    By subspace iteration from a fixed random start, which reads the rows ROUNDS + 1 times: good to the last few for
    the first half of the directions, exact where `width` is all there are.
    """
    found = torch.randn(dimensions, width, generator=seeded(0))
    for _ in range(ROUNDS):
        found = torch.linalg.qr(total(part.mT @ (part @ found) for part in rows())).Q
    along = (part @ found for part in rows())
    squares, turn = torch.linalg.eigh(total(part.mT.double() @ part.double() for part in along))
    return (found @ turn.flip(1).float()).mT, squares.flip(0)


class Denoiser(nn.Module):
    """D(x; sigma) = prior's best linear estimate + c_out F(c_in x, c_noise).

    c_out is the square root of the covariance that the prior leaves: a matrix, so that F has unit variance in every
    direction and says nothing where the latents never vary.
    """

    def __init__(self, network: nn.Module, prior: GaussianPrior, *, sigma_data: float = 0.5):
        super().__init__()
        self.network, self.prior = network, prior
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, sigma: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Noisy latents [B, C, D, H, W], noise levels [B] (or a scalar), tokens [B, T, S] -> denoised, float32.

        Tokens [K B, T, S] are K texts for each latent, B after B -> [K B, C, D, H, W], in one pass.
        """
        return self.parts(x, sigma.to(x.device, torch.float32).expand(len(x)), tokens)[0]

    def parts(self, x: Tensor, sigma: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The denoised latents and the mean variance [B] that the prior leaves: c_out^2 where it has no rank."""
        with torch.autocast(x.device.type, enabled=False):
            linear, variance = self.prior.denoise(x, sigma)
        column = (-1, *(1,) * (x.dim() - 1))
        c_in = (sigma**2 + self.sigma_data**2).rsqrt().view(column)
        c_noise = sigma.log() / 4
        scaled = c_in * x
        if len(self.prior.variances):  # the linear estimate says more than x alone
            scaled = torch.cat([scaled, linear / self.sigma_data], 1)
        predicted = self.network(scaled, c_noise) if tokens is None else self.network(scaled, c_noise, tokens)
        texts = len(predicted) // len(x)
        with torch.autocast(x.device.type, enabled=False):
            deviation = self.prior.deviation(predicted.float(), sigma.repeat(texts))
            return linear.repeat(texts, *(1,) * (x.dim() - 1)) + deviation, variance

    def loss(self, x: Tensor, sigma: Tensor, noise: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Eq. 8 for clean latents x, levels sigma [B] and unit noise shaped as x -> [B], mean over elements.

        1 where F is zero and the latents are as the prior says.
        """
        denoised, variance = self.parts(x + sigma.view(-1, *(1,) * (x.dim() - 1)) * noise, sigma, tokens)
        return (denoised - x).square().flatten(1).mean(1) / variance


def training_sigmas(count: int, generator: torch.Generator, *, P_mean: float = -1.2, P_std: float = 1.2) -> Tensor:
    """ln sigma ~ N(P_mean, P_std^2), stratified over the batch (A34): [count]."""
    uniform = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    normal = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6)).float()
    return (P_mean + P_std * normal[torch.randperm(count, generator=generator)]).exp()
