"""Which optimiser moves which parameter."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimiserConfig:
    """Learning rates at the start. The paper: Adam throughout."""

    name: Literal["adam", "muon"] = "adam"  # Muon takes the convolutions, with Adam for the rest
    lr: float = 5e-4  # of Adam
    betas: tuple[float, float] = (0.5, 0.999)  # of Adam: decay of the two moments
    muon_lr: float = 1e-2  # of Muon, scaled so that an update's root mean square is 0.2 muon_lr, as Adam's would be
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
    """About U V^T of each matrix U S V^T: [N, out, in], by five Newton-Schulz steps.

    A step multiplies X by a polynomial of its Gram matrix X X^T, and all of these commute: so the steps are taken on
    the small Gram matrix alone and X is read twice. In float32: rounded further, the Gram matrix of a weight of low
    rank has negative eigenvalues, which grow.
    """
    x = matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    gram = x @ x.mT
    product = torch.eye(gram.shape[1], device=x.device).expand_as(gram)
    for _ in range(5):
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        factor.diagonal(dim1=1, dim2=2).add_(3.4445)
        product, gram = factor @ product, factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x


def optimisers_for(
    model: nn.Module, config: OptimiserConfig, *, without: Iterable[Tensor] = (), matrices: Iterable[Tensor] = ()
) -> list[torch.optim.Optimizer]:
    """Adam for all parameters but those in `without`; with 'muon', 3^3 convolutions and `matrices` go to `Muon`."""
    left_out, named = ({id(parameter) for parameter in some} for some in (without, matrices))
    parameters = [parameter for parameter in model.parameters() if id(parameter) not in left_out]
    inner = [p for p in parameters if id(p) in named or (p.dim() == 5 and p[0, 0].numel() > 1)]
    muon = inner if config.name == "muon" else []
    chosen = {id(parameter) for parameter in muon}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    # fused: one call for all of the many small parameters, a fifth of the time on a CPU
    optimisers: list = [torch.optim.Adam(rest, lr=config.lr, betas=config.betas, fused=True)]
    return optimisers + ([Muon(muon, lr=config.muon_lr, momentum=config.momentum)] if muon else [])


class RowAdam(torch.optim.Optimizer):
    """Every row [L] of a table [N, L] learns as if it were alone, by Adam that counts the row's own steps.

    Kingma and Ba, arXiv:1412.6980, Algorithm 1, with t the number of gradients this row has had. torch's SparseAdam
    counts all steps instead: a row whose first gradient comes at step t then moves sqrt(1 - beta2^t) / sqrt(1 - beta2)
    times (1 - beta1) / (1 - beta1^t) the learning rate, 16 times too far for betas of (0.5, 0.999).
    """

    def __init__(self, tables: list[Tensor], *, lr: float, betas: tuple[float, ...] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(tables, {"lr": lr, "betas": tuple(betas), "eps": eps})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: losses are not evaluated anew
        """One step along the sparse gradients (or along dense ones: then every row has one)."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self.update(table, table.grad, group)

    def update(self, table: Tensor, gradient: Tensor, group: dict) -> None:
        state = self.state[table]
        if not state:
            state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
            state["steps"] = torch.zeros(len(table), device=table.device)  # floats: exact up to 2^24
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            rows, gradient = gradient.indices()[0], gradient.values()
        else:
            rows = torch.arange(len(table), device=table.device)
        beta1, beta2 = group["betas"]
        steps = (state["steps"][rows] + 1)[:, None]
        mean = state["mean"][rows].lerp_(gradient, 1 - beta1)
        square = state["square"][rows].lerp_(gradient.square(), 1 - beta2)
        for name, value in (("steps", steps[:, 0]), ("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, value)
        scale = (square / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        table.index_add_(0, rows, mean / (1 - beta1**steps) / scale, alpha=-group["lr"])
