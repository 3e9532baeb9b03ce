"""What a machine can do: times, large products and convolutions, and a step's own layers each alone.

Times are the shortest of many, with medians beside: other work on the machine disturbs one way only. On one CPU thread
they are the process's CPU time.
"""

import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from vader3d.machine import PEAK_SIDE

LARGE = {  # batch, channels, side of the convolutions that "conv peak" is the best of
    "cpu": [(8, 64, 16), (8, 128, 16), (8, 256, 8), (16, 512, 8)],
    "cuda": [(64, 256, 16), (64, 512, 16), (256, 512, 8)],
}


def timed(run: Callable[[], object], device: torch.device, *, seconds: float, least: int = 3) -> tuple[float, float]:
    """The shortest and the median of calls over `seconds`, at least `least`, after two that warm up."""
    for _ in range(2):
        once(run, device)
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        times.append(once(run, device))
    return min(times), statistics.median(times)


def once(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def layer_run(kind: str, x: torch.Tensor, weight: torch.Tensor, padding: int, dtype: torch.dtype) -> Callable[[], None]:
    """A convolution or linear layer, forward and backward as far as gradients are wanted, all in `dtype`."""
    function = getattr(nn.functional, kind)
    layout = {"conv2d": torch.channels_last, "conv3d": torch.channels_last_3d}.get(kind, torch.contiguous_format)
    leaves = [
        t.detach().to(dtype).contiguous(memory_format=layout).requires_grad_(t.requires_grad) for t in (x, weight)
    ]
    options = {"padding": padding} if kind != "linear" else {}
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    upstream = torch.randn_like(function(*leaves, **options))

    def run() -> None:
        out = function(*leaves, **options)
        if wanted:
            torch.autograd.grad(out, wanted, upstream)

    return run


def matrix_peak(device: torch.device, dtype: torch.dtype, *, seconds: float) -> float:
    """Operations a second of a large matrix product."""
    a, b = torch.randn(2, PEAK_SIDE[device.type], PEAK_SIDE[device.type], device=device).to(dtype)
    return 2 * len(a) ** 3 / timed(lambda: a @ b, device, seconds=seconds, least=5)[0]


def conv_peak(device: torch.device, dtype: torch.dtype, *, seconds: float, quick: bool = False) -> float:
    """Operations a second of the best of the large convolutions, forward and backward."""
    rates = []
    for batch, channels, side in [(2, 64, 8)] if quick else LARGE[device.type]:
        x = torch.randn(batch, channels, side, side, side, device=device, requires_grad=True)
        weight = torch.randn(channels, channels, 3, 3, 3, device=device, requires_grad=True)
        shortest, _ = timed(layer_run("conv3d", x, weight, 1, dtype), device, seconds=seconds)
        rates.append(3 * 2 * x.numel() * channels * 27 / shortest)
    return max(rates)


@contextmanager
def layers_called() -> Iterator[Counter]:
    """How often each size of layer is called inside: its kind, shapes, padding, which gradients are wanted."""
    calls: Counter = Counter()

    def note(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        kind = {nn.Conv2d: "conv2d", nn.Conv3d: "conv3d", nn.Linear: "linear"}
        for cls, name in kind.items():
            if isinstance(layer, cls):
                padding = 0 if name == "linear" else layer.padding[0]
                grads = (inputs[0].requires_grad, layer.weight.requires_grad and output.requires_grad)
                calls[name, tuple(inputs[0].shape), tuple(layer.weight.shape), padding, grads] += 1

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        yield calls
    finally:
        hook.remove()


def layers_alone(calls: Counter, device: torch.device, dtype: torch.dtype, *, seconds: float) -> float:
    """Seconds that these layers take one by one."""
    total = 0.0
    for (kind, shape, weights, padding, grads), count in calls.items():
        x = torch.randn(shape, device=device, requires_grad=grads[0])
        weight = torch.randn(weights, device=device, requires_grad=grads[1])
        shortest, _ = timed(layer_run(kind, x, weight, padding, dtype), device, seconds=seconds / len(calls), least=5)
        total += count * shortest
    return total


def processor() -> str:
    """The name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
