"""How fast training is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.files import write_text, write_whole
from vader3d.progress import console

WARMUP_STEPS = 3  # not traced: what is done once is no step


@contextmanager
def counted_flops() -> Iterator[list[float]]:
    """Gives a list of the operations of every convolution and linear layer called inside, of their gradients too.

    Two for each multiply-add. What attention and rendering do besides is left out: it is little at the paper's sizes.
    """
    counts: list[float] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            gradients = (inputs[0].requires_grad + layer.weight.requires_grad) * output.requires_grad
            counts.append(2.0 * output.numel() * layer.weight[0].numel() * (1 + gradients))

    hook = nn.modules.module.register_module_forward_hook(count)
    try:
        yield counts
    finally:
        hook.remove()


@contextmanager
def profiled(run: Path, steps: int) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after every step; `steps` of the first ones are traced, 0 = none.

    Leaves `profile/trace.json`, for chrome://tracing or ui.perfetto.dev, and `profile/summary.txt`.
    """
    if not steps:
        yield lambda: None
        return
    folder = run / "profile"

    def write(profiler: torch.profiler.profile) -> None:
        write_whole(folder / "trace.json", lambda temporary: profiler.export_chrome_trace(str(temporary)))
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        write_text(folder / "summary.txt", profiler.key_averages().table(sort_by=by, row_limit=40))
        console.print(f"{folder / 'trace.json'}: a trace of {steps} steps")

    schedule = torch.profiler.schedule(wait=WARMUP_STEPS - 1, warmup=1, active=steps, repeat=1)
    with torch.profiler.profile(schedule=schedule, on_trace_ready=write, record_shapes=True) as profiler:
        yield profiler.step
