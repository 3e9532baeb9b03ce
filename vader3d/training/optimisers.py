"""Which optimiser moves which parameter."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vader3d.machine import working_dtype


@dataclass(frozen=True)
class OptimiserConfig:
    """Learning rates at the start. The paper: Adam throughout."""

    name: Literal["adam", "muon"] = "adam"
    lr: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    muon_lr: float = 1e-2  # scaled so that an update's root mean square is 0.2 muon_lr, as Adam's would be
    momentum: float = 0.95  # of Muon


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum, so that all directions of a weight learn at one speed.

    Muon (Jordan et al. 2024) with Nesterov's momentum, as torch's own >= 2.9 where it is scaled to Adam's steps. That
    one takes matrices, one after the other; here a weight of any shape is the matrix [out, everything else], and
    weights of one shape go together: a third of the time on a CPU.
    """

    def __init__(self, weights: list[nn.Parameter], *, lr: float, momentum: float):
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: losses are not evaluated anew
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(weight.shape, []).append(weight)
            for weights in alike.values():
                self.update(weights, lr=group["lr"], momentum=group["momentum"])

    def update(self, weights: list[Tensor], *, lr: float, momentum: float) -> None:
        """One step of weights of one shape."""
        gradients = [cast(Tensor, weight.grad).flatten(1) for weight in weights]
        for weight, gradient in zip(weights, gradients, strict=True):
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(gradient)
        momenta = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        steps = orthogonalised(torch.stack(torch._foreach_lerp(gradients, momenta, momentum)))
        length = 0.2 * max(steps.shape[1:]) ** 0.5  # their root mean square is 0.2, as Adam's would be
        torch._foreach_add_(weights, [step.view(weights[0].shape) for step in steps.float()], alpha=-lr * length)


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T: [N, out, in], by five Newton-Schulz steps in the machine's fast type."""
    x = matrices.to(working_dtype("auto", matrices.device))
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


def optimisers_for(
    model: nn.Module, config: OptimiserConfig, *, without: tuple[Tensor, ...] = ()
) -> list[torch.optim.Optimizer]:
    """Adam for all parameters but those in `without`; with 'muon', 3^3 convolutions go to `Muon` instead."""
    left_out = {id(parameter) for parameter in without}
    parameters = [parameter for parameter in model.parameters() if id(parameter) not in left_out]
    muon = [p for p in parameters if config.name == "muon" and p.dim() == 5 and p[0, 0].numel() > 1]
    chosen = {id(parameter) for parameter in muon}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    # fused: one call for all of the many small parameters, a fifth of the time on a CPU
    optimisers: list = [torch.optim.Adam(rest, lr=config.lr, betas=config.betas, fused=True)]
    return optimisers + ([Muon(muon, lr=config.muon_lr, momentum=config.momentum)] if muon else [])
