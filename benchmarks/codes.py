"""How long a step spends on codes as objects get many: look-up, gradient, its norm, Adam, moving average.

    python benchmarks/codes.py                       1e3 to 1e6 objects, codes of 64 numbers, batches of 32

Only the ways that touch a batch's rows alone should take the same time at every size.
Result: benchmarks/results/codes.md.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vader3d.autodecoder.codes import CodeConfig
from vader3d.autodecoder.decoder import DecoderConfig
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.training.ema import MovingAverage
from vader3d.training.optimisers import table_optimiser
from vader3d.training.step import gradient_norm

WAYS = {
    "table, touched rows, faded": CodeConfig(),
    "table, touched rows": CodeConfig(update="rows"),
    "table, torch's SparseAdam": CodeConfig(update="sparse"),
    "64 hashed pieces, touched rows, faded": CodeConfig(
        "hashed", num_codebooks=64, codebook_size=1 << 12, allow_clashes=True
    ),
    "table, touched rows, averaged": CodeConfig(update="rows", average=True),
    "table, dense Adam, averaged": CodeConfig(update="dense", average=True),
}


def step_of(config: CodeConfig, objects: int, *, length: int, batch: int) -> Callable[[], None]:
    """One training step of a model that is nearly all codes."""
    decoder = DecoderConfig(code_length=length, channels=(1, 1), blocks_per_level=1, attention_resolutions=())
    model = Autodecoder(AutodecoderConfig(codes=config, decoder=decoder), objects)
    optimiser = table_optimiser(model.codes.table, config.update, lr=1e-3, betas=(0.5, 0.999))
    average = MovingAverage(model, half_life=1000)

    def step() -> None:
        model.codes(torch.randint(objects, (batch,))).square().mean().backward()
        gradient_norm(model)
        optimiser.step()
        average.update(model, batch=batch, objects_seen=batch)
        model.zero_grad(set_to_none=True)

    return step


def milliseconds(step: Callable[[], None], *, seconds: float) -> float:
    """Median over `seconds`, at least 5 steps after 2 that warm up."""
    for _ in range(2):
        step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--note", default="", help="a sentence for the result's heading, e.g. what else was running")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "codes.md")
    options = parser.parse_args()
    lines = [
        f"# A step's time on codes, {platform.processor() or platform.machine()}",
        f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, codes of {options.length} numbers, batches "
        f"of {options.batch}, median over {options.seconds:g} s; ms a step. {options.note}\n",
        f"| way | {' | '.join(f'{count:.0e} objects' for count in options.objects)} |",
        "|---" * (len(options.objects) + 1) + "|",
    ]
    for name, config in WAYS.items():
        row = []
        for objects in options.objects:
            step = step_of(config, objects, length=options.length, batch=options.batch)
            row.append(f"{milliseconds(step, seconds=options.seconds):.3g}")
        lines.append(f"| {name} | {' | '.join(row)} |")
        print(lines[-1], flush=True)
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
