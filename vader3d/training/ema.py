"""Exponential moving average of a module's parameters and buffers."""

import copy
from collections.abc import Callable
from itertools import compress
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class MovingAverage(Generic[Network]):
    """A frozen copy of `module` that follows it with a half-life counted in images (or objects) seen.

    Early on the half-life is at most `ramp` of what was seen, so that the start is forgotten (as EDM). Parameters
    that a module's `not_averaged()` names are shared instead: large tables then cost nothing here.
    """

    def __init__(self, module: Network, *, half_life: float, ramp: float = 0.05):
        not_averaged: Callable[[], list[nn.Parameter]] = getattr(module, "not_averaged", list)
        shared = not_averaged()
        same_storage = {id(parameter): nn.Parameter(parameter.detach(), requires_grad=False) for parameter in shared}
        self.module = copy.deepcopy(module, dict(same_storage)).eval().requires_grad_(False)
        self.averaged = [id(parameter) not in same_storage for parameter in module.parameters()]
        self.half_life, self.ramp = half_life, ramp

    @torch.no_grad()
    def update(self, module: nn.Module, *, batch: int, objects_seen: int) -> None:
        half_life = max(min(self.half_life, objects_seen * self.ramp), 1e-8)
        weight = 1 - 0.5 ** (batch / half_life)
        own: list[Tensor] = list(compress(self.module.parameters(), self.averaged))
        new: list[Tensor] = list(compress(module.parameters(), self.averaged))
        torch._foreach_lerp_(own, new, weight)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def restore_buffers(self, module: nn.Module) -> None:
        """Put back `module`'s buffers as of the last update: norms have seen the values of a step that failed."""
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            theirs.copy_(mine)
