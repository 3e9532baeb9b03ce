"""Adam for tables of which a step touches few rows: its cost does not depend on how many there are."""

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """Every row [L] of a table [N, L] learns as if it were alone, by Adam that counts the row's own steps.

    Kingma and Ba, arXiv:1412.6980, Algorithm 1, with t the number of gradients this row has had. torch's SparseAdam
    counts all steps instead: a row whose first gradient comes at step t then moves sqrt(1 - beta2^t) / sqrt(1 - beta2)
    times (1 - beta1) / (1 - beta1^t) the learning rate, 16 times too far for betas of (0.5, 0.999).
    """

    def __init__(self, tables: list[Tensor], *, lr: float, betas: tuple[float, ...] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(tables, {"lr": lr, "betas": tuple(betas), "eps": eps})

    @torch.no_grad()
    def step(self) -> None:
        """One step along the sparse gradients (or along dense ones: then every row has one)."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self.update(table, group)

    def update(self, table: Tensor, group: dict) -> None:
        gradient, state = table.grad, self.state[table]
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
