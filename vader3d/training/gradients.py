"""How long gradients are, sparse ones included."""

import torch
from torch import nn


def gradient_norm(model: nn.Module) -> float:
    """Euclidean norm over all gradients, sparse ones included."""
    gradients = [
        p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters() if p.grad is not None
    ]
    return float(torch.stack(torch._foreach_norm(gradients)).norm()) if gradients else 0.0


def scale_gradients(model: nn.Module, factor: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
