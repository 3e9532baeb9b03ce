"""The processes that train together.

A single process pays nothing for what is here. Many are started by torchrun or `accelerate launch` and meet through
`accelerate`. Networks are averaged by DistributedDataParallel while the backward pass still runs;
tables with sparse gradients are not its business (NCCL adds no sparse tensors): their touched rows are gathered.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vader3d.machine import CPU, chosen_device


@dataclass(frozen=True)
class Processes:
    """This process's place among `size` processes; by default the only one."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    accelerator: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    def share(self, batch: int, *, part: int = 0, parts: int = 1) -> slice:
        """This process's places in part `part` of `parts` of a batch; ValueError where it cannot be shared evenly."""
        length, left = divmod(batch, parts * self.size)
        if left or not length:
            raise ValueError(
                f"loop.batch: wanted a multiple of {parts * self.size} (loop.accumulate {parts} x {self.size} "
                f"processes); got {batch}"
            )
        start = (part * self.size + self.rank) * length
        return slice(start, start + length)

    def gather(self, numbers: list[float]) -> Tensor:
        """Every process's numbers, as many from each: [size, len(numbers)], float64, on the CPU."""
        own = torch.tensor(numbers, dtype=torch.float64)
        return own[None] if self.size == 1 else torch.stack(self.gather_tensors(own.to(self.device))).cpu()

    def gather_tensors(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, of one shape."""
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        try:
            torch.distributed.all_gather(found, tensor.contiguous())
        except RuntimeError as error:
            raise ConnectionError(f"process {self.rank}: another process is gone ({error})") from error
        return found

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            self.gather([0.0])

    def parallel(self, module: nn.Module) -> nn.Module:
        """`module` with gradients that are means over all processes, but for its sparse ones: see `exchange_sparse`."""
        if self.size == 1:
            return module
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        left_out = [names[id(table.weight)] for table in sparse_tables(module)]
        torch.nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, left_out)
        return self.accelerator.prepare_model(module)

    @torch.no_grad()
    def exchange_sparse(self, module: nn.Module) -> None:
        """Make the gradients of sparse tables means over the processes: all touched rows, on every process."""
        if self.size == 1:
            return
        for table in sparse_tables(module):
            assert table.weight.grad is not None
            gradient = table.weight.grad.coalesce()
            rows, values = self.gather_rows(gradient.indices()[0]), self.gather_rows(gradient.values())
            gradient = torch.sparse_coo_tensor(rows[None], values / self.size, gradient.shape, check_invariants=False)
            table.weight.grad = gradient.coalesce()

    def gather_rows(self, tensor: Tensor) -> Tensor:
        """The rows of all processes' tensors [n, ...], n of each its own, one below the other."""
        counts = [int(count) for count in self.gather([len(tensor)])[:, 0]]
        padded = tensor.new_zeros((max(counts), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        return torch.cat([rows[:count] for rows, count in zip(self.gather_tensors(padded), counts, strict=True)])


ONE_PROCESS = Processes()


def sparse_tables(module: nn.Module) -> list[nn.Embedding]:
    embeddings = (layer for layer in module.modules() if isinstance(layer, nn.Embedding))
    return [layer for layer in embeddings if layer.sparse and layer.weight.requires_grad]


def join_processes(device: str = "auto") -> Processes:
    """The processes that torchrun or `accelerate launch` started with this one; it alone where neither did.

    device: auto (a GPU for each process where there are some), cpu, or cuda. ValueError: no such device.
    """
    chosen = chosen_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes(device=chosen)
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise ImportError(
            f"accelerate: wanted for {size} processes; got none; pip install 'vader3d[distributed]'"
        ) from error
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1^3 kernels: any strides are the same ones
    # Norms are synchronised as they run, so that buffers are alike without being sent around.
    settings = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=chosen.type == "cpu", kwargs_handlers=[settings])
    return Processes(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)


def leave_processes() -> None:
    """Close the connections of `join_processes`, if there are any, and end the process with code 0 then.

    The group's threads outlive it, and one that still drops the tensors of the last exchange would abort the process
    where it meets an interpreter that is being taken down.
    """
    if "accelerate" in sys.modules and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class GatherStatistics(torch.autograd.Function):
    """[K] -> [size, K]; backward, everyone's gradient of one's own row."""

    @staticmethod
    def forward(context: Any, own: Tensor, processes: Processes) -> Tensor:
        context.processes = processes
        return torch.stack(processes.gather_tensors(own))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total[context.processes.rank], None


class DistributedBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d over the equal shares of all processes; torch's own SyncBatchNorm takes GPUs only."""

    processes: Processes
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor | None
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            own = torch.stack(torch.var_mean(x.float(), (0, 2, 3, 4), correction=0))
            variances, means = GatherStatistics.apply(own, self.processes).unbind(1)
            mean = means.mean(0)
            variance = (variances + (means - mean).square()).mean(0)
            if self.track_running_stats:
                count = x.numel() // x.shape[1] * self.processes.size
                with torch.no_grad():
                    self.running_mean.lerp_(mean, self.momentum)
                    self.running_var.lerp_(variance * count / (count - 1), self.momentum)
                    if self.num_batches_tracked is not None:
                        self.num_batches_tracked += 1
            scale = self.weight * (variance + self.eps).rsqrt()
            shift = self.bias - mean * scale
            normalised = x.float() * scale.view(1, -1, 1, 1, 1) + shift.view(1, -1, 1, 1, 1)
        return normalised.to(x.dtype)


def synchronise_norms(module: nn.Module, processes: Processes) -> None:
    """Make every BatchNorm3d below `module` see the batch of all processes; parameters and buffers stay the same."""
    if processes.size == 1:
        return
    if processes.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for layer in module.modules():
        if type(layer) is nn.BatchNorm3d:
            layer.__class__ = DistributedBatchNorm3d
            layer.processes = processes  # type: ignore[assignment]
