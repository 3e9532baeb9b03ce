"""Guidance: a denoiser follows its text more closely than it was taught.

Classifier-free guidance arXiv:2207.12598, its interval arXiv:2404.07724, its rescaling arXiv:2305.08891, autoguidance
arXiv:2406.02507.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vader3d.diffusion.denoiser import Denoiser


def guided(
    denoiser: Denoiser,
    tokens: Tensor | None,
    *,
    guidance_scale: float | Tensor = 3.0,
    negative_tokens: Tensor | None = None,
    interval: tuple[float, float] = (0.0, math.inf),
    rescale: float = 0.0,
    guide: Denoiser | None = None,
) -> Callable[[Tensor, Tensor], Tensor]:
    """A denoiser(x, sigma) that goes from what speaks against towards what speaks for: D_u + s (D_c - D_u) (A24).

    D_c knows the tokens [B, T, S]. D_u knows none, or negative_tokens (as many, or one text for all); both run in one
    pass. guide: D_u comes of this one (an earlier snapshot), of the same tokens or the negative ones; it guides
    without any text too. guidance_scale: s, or one for each sample [B]; at 1, and for sigma outside of (interval],
    only D_c runs. rescale: from 0 to 1, how far each sample's deviation is brought back to that of D_c.
    ValueError: a number out of its range, or tokens that do not fit each other.
    """
    scale = torch.as_tensor(guidance_scale, dtype=torch.float32)
    low, high = interval
    if not (scale.isfinite().all() and scale.dim() <= 1):
        raise ValueError(f"guidance_scale: wanted a finite number, or one for each sample; got {guidance_scale}")
    if not 0 <= low <= high:
        raise ValueError(f"interval: wanted noise levels, the lower one first; got {interval}")
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale: wanted 0 to 1; got {rescale}")
    against, both = negative_tokens, None
    if tokens is not None:
        if against is None:
            against = tokens if guide else torch.zeros_like(tokens)
        elif against.shape[1:] != tokens.shape[1:] or len(against) not in (1, len(tokens)):
            raise ValueError(f"negative_tokens: wanted {list(tokens.shape)} or one text; got {list(against.shape)}")
        against = against.expand_as(tokens)
        both = torch.cat([against, tokens])
    elif against is not None:
        raise ValueError("negative_tokens: wanted none without tokens; got some; give tokens of zeros for no prompt")
    plain = bool((scale == 1).all()) or (tokens is None and guide is None)
    everywhere = low == 0 and high == math.inf

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        levels = sigma.to(x.device, torch.float32).expand(len(x))
        weight = scale.to(x.device)
        if not (plain or everywhere):
            weight = torch.where((levels > low) & (levels <= high), weight, 1.0)
        if plain or (not everywhere and bool((weight == 1).all())):
            return denoiser(x, levels, tokens)
        if guide is None:
            without, with_text = denoiser(x, levels, both).chunk(2)
        else:
            without, with_text = guide(x, levels, against), denoiser(x, levels, tokens)
        weight = weight.expand(len(x)).view(-1, *(1,) * (x.dim() - 1))
        made = with_text + (weight - 1) * (with_text - without)  # exactly D_c where the scale is 1
        if rescale:
            made = made * (1 + rescale * (deviation(with_text) / deviation(made).clamp_min(1e-12) - 1))
        return made

    return denoise


def deviation(x: Tensor) -> Tensor:
    """Of each sample's numbers, [B, 1, ...]."""
    return x.flatten(1).std(1).view(-1, *(1,) * (x.dim() - 1))
