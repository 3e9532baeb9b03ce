"""EDM's denoiser: preconditioning and loss around any network F(x, c_noise).

Karras et al., arXiv:2206.00364, Table 1 and Eq. 7-8.
"""

import torch
from torch import Tensor, nn


class Denoiser(nn.Module):
    """D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)."""

    def __init__(self, network: nn.Module, *, sigma_data: float = 0.5):
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Noisy latents [B, C, D, H, W] and noise levels [B] (or a scalar) -> denoised latents, float32."""
        sigma_data, sigma = self.sigma_data, sigma.float().expand(len(x))
        s = sigma.view(-1, *(1,) * (x.dim() - 1))
        c_skip = sigma_data**2 / (s**2 + sigma_data**2)
        c_out = s * sigma_data / (s**2 + sigma_data**2).sqrt()
        c_in = 1 / (s**2 + sigma_data**2).sqrt()
        c_noise = sigma.log() / 4
        return c_skip * x + c_out * self.network(c_in * x, c_noise).float()

    def loss(self, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Eq. 8 for clean latents x, levels sigma [B] and unit noise shaped as x -> [B], mean over elements.

        1 where F is zero and the latents' standard deviation is sigma_data.
        """
        s = sigma.view(-1, *(1,) * (x.dim() - 1))
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return weight * (self(x + s * noise, sigma) - x).square().flatten(1).mean(1)


def training_sigmas(count: int, generator: torch.Generator, *, P_mean: float = -1.2, P_std: float = 1.2) -> Tensor:
    """ln sigma ~ N(P_mean, P_std^2), stratified over the batch: [count]."""
    uniform = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    normal = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6)).float()
    return (P_mean + P_std * normal[torch.randperm(count, generator=generator)]).exp()
