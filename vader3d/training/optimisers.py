"""Which optimiser moves which parameter."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vader3d.config import Checked, ranged

VANISHED = 1e-9  # of a moment that fades: no float32 sum sees it
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """Learning rates at the start. The paper: Adam throughout."""

    name: Literal["adam", "muon"] = "adam"  # Muon takes the convolutions, with Adam for the rest
    lr: float = ranged(5e-4, at_least=0)  # of Adam
    betas: tuple[float, float] = ranged((0.5, 0.999), at_least=0, below=1)  # of Adam: decay of the two moments
    # of Muon, scaled so that an update's root mean square is 0.2 muon_lr, as Adam's would be
    muon_lr: float = ranged(1e-2, at_least=0)
    momentum: float = ranged(0.95, at_least=0, below=1)  # of Muon


def slowed(config: OptimiserConfig, factor: float) -> OptimiserConfig:
    """The same with all learning rates multiplied."""
    return replace(config, lr=config.lr * factor, muon_lr=config.muon_lr * factor)


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
        rows, gradient = touched_rows(gradient)
        beta1, beta2 = group["betas"]
        steps = (state["steps"][rows] + 1)[:, None]
        mean = state["mean"][rows].lerp_(gradient, 1 - beta1)
        square = state["square"][rows].lerp_(gradient.square(), 1 - beta2)
        for name, value in (("steps", steps[:, 0]), ("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, value)
        scale = (square / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        table.index_add_(0, rows, mean / (1 - beta1**steps) / scale, alpha=-group["lr"])


def touched_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that a gradient [N, L] holds, each once, and their gradients; all rows of a dense one."""
    if not gradient.is_sparse:
        return torch.arange(len(gradient), device=gradient.device), gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


class FadedAdam(RowAdam):
    """The steps of torch's dense Adam on tables [N, L], at the cost of the rows that have a gradient.

    Dense Adam also moves a row that has none, by moments that fade: j steps after its last gradient they are
    beta1^j m and beta2^j v, and step k moves it by

        rate_k r^j m / sqrt(v)        rate_k = lr_k sqrt(1 - beta2^k) / (1 - beta1^k)        r = beta1 / sqrt(beta2)

    (eps is taken as of the step after the last gradient). The sum of rate_k r^j over all steps since is one number for
    all rows that were last visited at the same step s: `ahead[s]`, which stops changing once r^j has vanished. A row is
    brought up to date when it is visited, or by `settle`; what is read of a table in between has to be corrected:
    `correct_reads`. ValueError: betas whose r is not below 1.
    """

    of_any_length = ("ahead",)  # of its state: grows with the steps

    def __init__(self, tables: list[Tensor], *, lr: float, betas: tuple[float, ...] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(tables, lr=lr, betas=betas, eps=eps)
        if betas[0] ** 2 >= betas[1]:
            raise ValueError(f"optimiser.betas: wanted the first under the root of the second; got {list(betas)}")

    def update(self, table: Tensor, gradient: Tensor, group: dict) -> None:
        state, (beta1, beta2) = self.state[table], group["betas"]
        if not state:
            state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
            state["visited"] = table.new_zeros(len(table))  # step numbers; floats: exact up to 2^24
            state["ahead"], state["steps"] = table.new_zeros(1024), 0
        rows, gradient = touched_rows(gradient)
        self.bring_up(table, rows, group)
        step = state["steps"] = state["steps"] + 1
        mean = state["mean"][rows].lerp_(gradient, 1 - beta1)
        square = state["square"][rows].lerp_(gradient.square(), 1 - beta2)
        for name, value in (("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, value)
        state["visited"].index_fill_(0, rows, step)
        levelled = (1 - beta2**step) ** 0.5
        rate = group["lr"] * levelled / (1 - beta1**step)
        table.index_add_(0, rows, mean / square.sqrt().add_(group["eps"] * levelled), alpha=-rate)
        if step == len(state["ahead"]):
            state["ahead"] = torch.cat([state["ahead"], torch.zeros_like(state["ahead"])])
        ratio = max(beta1 / beta2**0.5, VANISHED)
        ages = torch.arange(min(step, math.ceil(math.log(VANISHED) / math.log(ratio))), 0, -1, device=table.device)
        state["ahead"][step - len(ages) : step] += rate * ratio**ages

    def bring_up(self, table: Tensor, rows: Tensor, group: dict) -> None:
        """Make the steps that these rows are behind, after which their last visit is now."""
        state = self.state[table]
        table.index_add_(0, rows, self.behind(table, rows, group), alpha=-1)
        gaps = (state["steps"] - state["visited"][rows]).double()[:, None]
        for name, beta in zip(("mean", "square"), group["betas"], strict=True):
            state[name].index_copy_(0, rows, state[name][rows] * (beta**gaps).to(table.dtype))
        state["visited"].index_fill_(0, rows, state["steps"])

    def behind(self, table: Tensor, rows: Tensor, group: dict) -> Tensor:
        """What has yet to be subtracted of rows [...], any of them repeatedly: [..., L]."""
        state, visited = self.state[table], self.state[table]["visited"][rows]
        levelled = (1 - group["betas"][1] ** (visited + 1)).sqrt()[..., None]
        scale = state["square"][rows].sqrt() + group["eps"] * levelled
        return state["ahead"][visited.long()][..., None] * state["mean"][rows] / scale

    @torch.no_grad()
    def settle(self) -> None:
        """Bring all rows up to date: the tables are then what dense Adam's would be. Costs O(N); done at the end."""
        for group in self.param_groups:
            for table in group["params"]:
                if self.state[table]:
                    for rows in torch.arange(len(table), device=table.device).split(ROWS_AT_ONCE):
                        self.bring_up(table, rows, group)

    def correct_reads(self, embedding: nn.Embedding) -> None:
        """From now on, what `embedding` gives in training mode is of rows that are up to date; its table stays."""
        group = next(group for group in self.param_groups if any(embedding.weight is t for t in group["params"]))

        def corrected(module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
            if not (module.training and self.state[embedding.weight]):
                return output
            with torch.no_grad():
                behind = self.behind(embedding.weight, arguments[0], group)
            return output - behind

        embedding.register_forward_hook(corrected)


def table_optimiser(
    embedding: nn.Embedding, update: str, *, lr: float, betas: tuple[float, ...]
) -> torch.optim.Optimizer:
    """What moves a table of codes, by the names of `codes.update`."""
    kinds = {"faded": FadedAdam, "rows": RowAdam, "sparse": torch.optim.SparseAdam, "dense": torch.optim.Adam}
    optimiser = kinds[update]([embedding.weight], lr=lr, betas=betas)
    if isinstance(optimiser, FadedAdam):
        optimiser.correct_reads(embedding)
    return optimiser
