"""Which optimiser moves which parameter."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimiserConfig:
    """Learning rates at the start. The paper: Adam throughout."""

    name: Literal["adam", "muon"] = "adam"
    lr: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    muon_lr: float = 1e-2  # scaled so that an update's root mean square is 0.2 muon_lr, as Adam's would be
    momentum: float = 0.95  # of Muon


class MatrixMuon:
    """torch's Muon for weights of any shape: each is seen as the matrix [out, everything else].

    Muon (Jordan et al. 2024) steps along the orthogonalised momentum, so that all directions of a weight learn at
    one speed; torch's own takes matrices only. State lives in the inner optimiser.
    """

    def __init__(self, weights: list[nn.Parameter], *, lr: float, momentum: float, weight_decay: float = 0.0):
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(f"optimiser 'muon' needs torch >= 2.9; this is {torch.__version__}: choose 'adam'")
        self.weights = weights
        self.matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in weights]
        assert all(m.data_ptr() == w.data_ptr() for m, w in zip(self.matrices, weights, strict=True))
        self.inner = torch.optim.Muon(
            self.matrices, lr=lr, momentum=momentum, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )

    @property
    def param_groups(self) -> list[dict]:
        return self.inner.param_groups

    @torch.no_grad()
    def step(self) -> None:
        for matrix, weight in zip(self.matrices, self.weights, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        self.inner.step()

    def state_dict(self) -> dict:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.inner.load_state_dict(state)


def optimisers_for(
    model: nn.Module, config: OptimiserConfig, *, without: tuple[Tensor, ...] = ()
) -> list[torch.optim.Optimizer]:
    """Adam for all parameters but those in `without`; with 'muon', 3^3 convolutions go to `MatrixMuon` instead."""
    left_out = {id(parameter) for parameter in without}
    parameters = [parameter for parameter in model.parameters() if id(parameter) not in left_out]
    muon = [p for p in parameters if config.name == "muon" and p.dim() == 5 and p[0, 0].numel() > 1]
    chosen = {id(parameter) for parameter in muon}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    optimisers: list = [torch.optim.Adam(rest, lr=config.lr, betas=config.betas)]
    return optimisers + ([MatrixMuon(muon, lr=config.muon_lr, momentum=config.momentum)] if muon else [])
