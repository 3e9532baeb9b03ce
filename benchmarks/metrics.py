"""What FID, KID, COV, MMD and 1-NNA cost against the rendering and the features they are made of.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py             1,000 samples x 10 views, 1,000 references
    OMP_NUM_THREADS=1 python benchmarks/metrics.py --shapes 200 --rendered 4     fewer, scaled up

Processor seconds. Pictures of --rendered objects are rendered and embedded, and the time scaled to all samples; with
fewer --shapes than samples the time of the shapes' scores is scaled by the square, which is too much. Result:
benchmarks/results/metrics.md.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vader3d.data.prepare.chairs import build, design
from vader3d.data.prepare.viewpoints import spread_cameras
from vader3d.evaluation.features import load_features
from vader3d.evaluation.metrics import feature_moments, frechet_distance, kernel_distance
from vader3d.evaluation.shapes import compare_shapes
from vader3d.export.mesh import sample_surface_points
from vader3d.geometry.cameras import Cameras
from vader3d.render import RenderConfig, Volume, render_views

POINTS = 2048


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def chair_points(seed: int, count: int) -> torch.Tensor:
    """[count, 2048, 3] of our parametric chairs."""
    return torch.stack([sample_surface_points(build(design(seed, i)), POINTS, seed=i) for i in range(count)])


def ball(side: int) -> Volume:
    """A ball of a third of the cube's volume, about as full of surface as a piece of furniture."""
    axis = torch.linspace(-1, 1, side)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    return Volume(torch.cat([torch.rand(3, side, side, side), (400 * (0.85 - radius))[None]])[None])


def pictures(count: int, views: int, *, side: int, size: int) -> torch.Tensor:
    posed = spread_cameras(views, size=size, seed=0)
    cameras = Cameras(posed.world_from_camera[None], posed.intrinsics[None], size, size)
    settings = RenderConfig()
    shown = [render_views(ball(side), cameras, settings, skip_empty=True)[0].clamp(0, 1)[0] for _ in range(count)]
    return torch.cat(shown)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--rendered", type=int, default=20, help="objects rendered and embedded, then scaled up")
    parser.add_argument("--shapes", type=int, default=1000, help="of each side")
    parser.add_argument("--grid", type=int, default=64)
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--features", default="EfficientNet-Lite0")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "metrics.md")
    options = parser.parse_args()
    network, scale = load_features(options.features), options.samples / options.rendered
    render, shown = timed(lambda: pictures(options.rendered, options.views, side=options.grid, size=options.size))
    embed, embedded = timed(lambda: network(shown))
    count, width = options.samples * options.views, embedded.shape[1]
    sides = [torch.randn(count, width, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    fid, _ = timed(lambda: frechet_distance(*map(feature_moments, sides)))
    kid, _ = timed(lambda: kernel_distance(*sides, generator=torch.Generator().manual_seed(0)))
    clouds = [chair_points(seed, options.shapes) for seed in range(2)]
    shapes, _ = timed(lambda: compare_shapes(*clouds))
    pairs = (options.samples / options.shapes) ** 2
    base, scores = scale * (render + embed), fid + kid + shapes * pairs
    rows = {
        f"rendering, {options.rendered} objects measured": render * scale,
        f"{network.name}, {options.rendered} objects measured": embed * scale,
        "Frechet distance": fid,
        "kernel distance, 100 subsets of 1,000": kid,
        f"COV, MMD and 1-NNA, {options.shapes} shapes a side measured": shapes * pairs,
        "**scores / (rendering + features of the samples)**": f"{100 * scores / base:.1f} %",
    }
    lines = [
        f"# What scores cost, {options.samples} samples x {options.views} views, {platform.machine()}",
        f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, pictures of {options.size} px, volumes of "
        f"{options.grid}^3, processor seconds.\n",
        "| what | s |\n|---|---|",
        *(f"| {name} | {value if isinstance(value, str) else format(value, '.1f')} |" for name, value in rows.items()),
    ]
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
