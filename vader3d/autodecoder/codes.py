"""One learned vector per training object."""

import torch
from torch import Tensor, nn


class CodeTable(nn.Module):
    """A plain table of N codes, initialised N(0, initial_std^2).

    Gradients are sparse: a step touches only the codes of its batch, whatever N is.
    """

    def __init__(self, objects: int, code_length: int, *, initial_std: float = 1.0):
        super().__init__()
        self.table = nn.Embedding(objects, code_length, sparse=True)
        nn.init.normal_(self.table.weight, std=initial_std)

    def forward(self, objects: Tensor) -> Tensor:
        """Object numbers [B] -> codes [B, code_length]."""
        return self.table(objects)

    @torch.no_grad()
    def fitted_gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean [L] and a factor F [N, L] with covariance F^T F: draw N(0, I_N) @ F + mean (METHOD A20)."""
        codes = self.table.weight
        mean = codes.mean(0)
        return mean, (codes - mean) / max(1, len(codes) - 1) ** 0.5
