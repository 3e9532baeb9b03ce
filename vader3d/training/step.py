"""The gradients of one batch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vader3d.randomness import mixed, step_generator
from vader3d.training.distributed import Processes, synchronise_norms


class Losses(nn.Module):
    """`task.losses` as the forward pass of a module that owns the task's parameters."""

    def __init__(self, task: Any):
        super().__init__()
        self.model, self.losses = task.model, task.losses

    def forward(self, **step: Any) -> dict[str, Tensor]:
        return self.losses(**step)


class GradientStep:
    """Called with where the run is, leaves the mean gradient of the whole batch in the model, on every process.

    Every part of the batch draws from the same step's randomness, for the whole batch, and takes its places; so
    neither `accumulate` nor the number of processes changes what is drawn, and norms see a part at a time.
    """

    def __init__(
        self,
        task: Any,
        *,
        processes: Processes,
        batch: int,
        accumulate: int,
        seed: int,
        recompute: bool,
        compiled: bool,
        synchronised_norms: bool,
    ):
        self.model, self.processes, self.batch, self.accumulate, self.seed = (
            task.model,
            processes,
            batch,
            accumulate,
            seed,
        )
        processes.share(batch, parts=accumulate)  # says at once when it cannot be shared
        if synchronised_norms:
            synchronise_norms(task.model, processes)
        for block in task.blocks:
            forward = torch.compile(block.forward) if compiled else block.forward
            block.forward = recomputed(block, forward) if recompute else forward
        self.losses = processes.parallel(Losses(task))

    def __call__(self, *, objects_seen: int, progress: float) -> dict[str, float]:
        """The named loss terms of this process's share, means over the parts."""
        means: dict[str, float] = {}
        for part in range(self.accumulate):
            share = self.processes.share(self.batch, part=part, parts=self.accumulate)
            torch.manual_seed(mixed(self.seed, objects_seen, share.start))  # of dropout
            with self.apart_until_the_last(part):
                terms = self.losses(
                    objects_seen=objects_seen,
                    batch=self.batch,
                    progress=progress,
                    generator=step_generator(self.seed, objects_seen),
                    share=share,
                )
                (torch.stack(list(terms.values())).sum() / self.accumulate).backward()
            for name, value in terms.items():
                means[name] = means.get(name, 0.0) + value.item() / self.accumulate
        self.processes.exchange_sparse(self.model)
        return means

    def apart_until_the_last(self, part: int) -> AbstractContextManager:
        """Gradients are averaged over all processes once a step, with those of the last part."""
        if self.processes.size == 1 or part == self.accumulate - 1:
            return nullcontext()
        return self.losses.no_sync()  # type: ignore[operator]


def recomputed(block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` of a block that keeps its input only and runs again in the backward pass (activation checkpointing)."""

    @contextmanager
    def second_time() -> Iterator[None]:
        """Running statistics of norms follow the first pass alone; SyncBatchNorm wants something to count on."""
        norms = [layer for layer in block.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        try:
            for norm in norms:
                count = norm.num_batches_tracked
                norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
            yield
        finally:
            for norm, (momentum, count) in zip(norms, before, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count

    def called(*arguments: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments)
        contexts = lambda: (nullcontext(), second_time())  # noqa: E731
        return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts)

    return called


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
