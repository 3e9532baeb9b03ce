"""What guidance costs: a guided pass over a plain one, at batch 1.

    OMP_NUM_THREADS=1 python benchmarks/guidance.py furniture medium-text mvimgnet --repeats 50

Models by name or folder, else untrained networks of presets. Both passes in turn; processor seconds, so that other work
disturbs little. `counted` is the same ratio in multiplications. Result: docs/performance.md.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.model import build_denoiser, load_denoiser
from vader3d.hub import model_folder
from vader3d.machine import CPU, autocast
from vader3d.presets import PRESETS
from vader3d.snapshots import MODEL

WORDS = 5  # of 32 tokens


def opened(name: str) -> tuple[Denoiser, tuple[int, ...]]:
    """A model's denoiser, or that of a preset, with the shape of its latents."""
    if name not in PRESETS:
        denoiser, _, header = load_denoiser(model_folder(name) / MODEL)
        return denoiser.eval(), tuple(header["latent_shape"])
    shape = PRESETS[name].autodecoder.decoder.latent_shape
    return build_denoiser(PRESETS[name].diffusion, shape, rank=0).eval(), shape


def seconds(call: Callable[[], Tensor]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def counted(call: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@torch.no_grad()
def measure(name: str, repeats: int, precision: str) -> str:
    denoiser, shape = opened(name)
    x, sigma = torch.randn(1, *shape), torch.ones(1)
    tokens = torch.zeros(1, 32, denoiser.network.config.token_dim)
    tokens[:, :WORDS] = torch.randn(1, WORDS, tokens.shape[2])
    plain, twofold = (guided(denoiser, tokens, guidance_scale=scale) for scale in (1.0, 3.0))
    calls = [lambda: plain(x, sigma), lambda: twofold(x, sigma)]
    with autocast(precision, CPU):
        flops = [counted(call) for call in calls]
        rows = [[seconds(call) for call in calls] for _ in range(repeats)]
    plain_ms, guided_ms = (1e3 * median(column) for column in zip(*rows, strict=True))
    ratios = sorted(two / one for one, two in rows)
    spread = f"{ratios[len(ratios) // 4]:.2f}-{ratios[-1 - len(ratios) // 4]:.2f}"
    size = sum(weight.numel() for weight in denoiser.parameters()) / 1e6
    return (
        f"| {name}, {precision} | {size:.1f} | {plain_ms:.1f} | {guided_ms:.1f} | {median(ratios):.2f} ({spread}) | "
        f"{flops[1] / flops[0]:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    print("| network | million parameters | plain, CPU ms | guided, CPU ms | guided / plain | counted |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in arguments.names:
        print(measure(name, arguments.repeats, arguments.precision), flush=True)


if __name__ == "__main__":
    main()
