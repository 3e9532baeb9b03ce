"""Times `render.resample` beside torch's `grid_sample`, and posed volumes beside the literal march.

    OMP_NUM_THREADS=1 python benchmarks/resample.py --clock processor
    OMP_NUM_THREADS=2 python benchmarks/resample.py

Least of interleaved runs, ms, without gradients and with both. Volumes are read along turned grids, one a view.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from render import CLOCKS, milliseconds
from torch import Tensor
from torch.nn.functional import grid_sample
from yardsticks import processor

from vader3d.geometry.rays import Rays
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.render import March, render_volume
from vader3d.render.posed import cube_points
from vader3d.render.resample import resampled

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "render")]
from test_posed import figure, front, literal_march, part_poses  # noqa: E402  the definition that tests hold us to

CASES = [(4, 6, 32, 4), (1, 4, 64, 4), (1, 1, 128, 4), (4, 6, 32, 16)]  # volumes, views of each, voxels, channels
FIGURES = [(16, 24, 2), (16, 24, 4), (16, 24, 10), (64, 48, 2)]  # px, samples a ray, parts
VIEWS = 24


def by_grid_sample(volume: Tensor, places: Tensor) -> Tensor:
    listed = places.flatten(1, -2)[:, :, None, None]
    return grid_sample(volume, listed, padding_mode="border", align_corners=True)


def literal(grid: Tensor, poses: Tensor, *, rays: Rays, march: March) -> Tensor:
    return literal_march(figure().with_grid(grid), rays, march, poses)[0]


def posed(grid: Tensor, poses: Tensor, *, rays: Rays, march: March) -> Tensor:
    return render_volume(figure().with_grid(grid), rays, march, poses=poses).colour


def with_gradients(call: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    """`call` and its gradients to the inputs; the gradient of what it returns lies as that does."""
    leaves = [tensor.requires_grad_() for tensor in inputs]
    upstream = torch.ones_like(call(*leaves))

    def run() -> None:
        torch.autograd.grad(call(*leaves), leaves, upstream)

    return run


def without(call: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    @torch.no_grad()
    def run() -> None:
        call(*inputs)

    return run


def compared(old: Callable[..., Tensor], new: Callable[..., Tensor], inputs: tuple[Tensor, ...], options) -> str:
    """Cells of a table: forward of both and their ratio, forward and backward of both and theirs."""
    runs = [way(call, inputs) for way in (without, with_gradients) for call in (old, new)]
    rounds = [[milliseconds(run, "cpu", CLOCKS[options.clock]) for run in runs] for _ in range(options.repeats)]
    forward, ours, both, our_both = (min(times) for times in zip(*rounds, strict=True))
    cells = (forward, ours), (both, our_both)
    return " | ".join(f"{old:.1f} | {new:.1f} | {old / new:.1f}" for old, new in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: seconds of work, for one thread")
    options = parser.parse_args()
    print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.clock} clock\n")
    print("| volumes x views, voxels, channels | grid_sample | ours | x | with gradients | ours | x |")
    print("|---|---|---|---|---|---|---|")
    for volumes, views, voxels, channels in CASES:
        volume = torch.rand(volumes, channels, *[voxels] * 3)
        turns = rotation_from_vector(torch.randn(volumes, views, 3) * 0.5)
        places = cube_points((voxels,) * 3) @ turns
        name = f"{volumes} x {views}, {voxels}^3, {channels}"
        print(f"| {name} | {compared(by_grid_sample, resampled, (volume, places), options)} |", flush=True)
    print("\n| px, samples, parts | literal march | posed volume | x | with gradients | posed volume | x |")
    print("|---|---|---|---|---|---|---|")
    for size, samples, parts in FIGURES:
        shown = {"rays": front(VIEWS, size).rays(), "march": March(samples)}
        inputs = figure(parts=parts).grid, part_poses(VIEWS, parts, 30)
        cells = compared(partial(literal, **shown), partial(posed, **shown), inputs, options)
        print(f"| {size}, {samples}, {parts} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
