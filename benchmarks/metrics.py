"""What FID, KID, COV, MMD and 1-NNA cost against the rendering and the features they are made of.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py                 1,000 samples x 10 views, 1,000 references
    OMP_NUM_THREADS=1 python benchmarks/metrics.py --shapes 200    fewer shapes, scaled up piece by piece

Processor seconds. Pictures of --rendered objects are rendered and embedded, and the time scaled to all samples. With
fewer --shapes than samples the scores of shapes are scaled by their pieces: the bounds' tables as the count of shapes,
the product over the tables as its square, and the exact distances by their measured number, which grows from half of
the shapes to all of them by some power that is carried on. Result: benchmarks/results/metrics.md.
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

from vader3d.data.making.chairs import build, design
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.export.mesh import sample_surface_points
from vader3d.files import write_text
from vader3d.frozen.embeddings import load_features
from vader3d.geometry.cameras import Cameras
from vader3d.measures import shapes as scored
from vader3d.measures.distances import feature_moments, frechet_distance, kernel_distance
from vader3d.measures.nearest import nearest_squares
from vader3d.render import RenderConfig, Volume, render_views

POINTS = 2048


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %"


def chair_points(seed: int, count: int) -> torch.Tensor:
    """[count, 2048, 3] of our parametric chairs."""
    return torch.stack([sample_surface_points(build(design(seed, i)), POINTS, seed=i) for i in range(count)])


def shell(points: torch.Tensor, side: int) -> Volume:
    """Solid within 0.05 of the points [P, 3] of a surface."""
    axis = torch.linspace(-1, 1, side)
    places = torch.cartesian_prod(axis, axis, axis).flip(-1)  # x, y, z of voxels in the order z, y, x
    distance = nearest_squares(places, points)[0].sqrt().view(1, side, side, side)
    return Volume(torch.cat([torch.rand(3, side, side, side), 400 * (0.05 - distance)])[None])


def pictures(volumes: list[Volume], views: int, *, size: int) -> torch.Tensor:
    posed = spread_cameras(views, size=size, seed=0)
    cameras = Cameras(posed.world_from_camera[None], posed.intrinsics[None], size, size)
    settings = RenderConfig()
    return torch.cat([render_views(each, cameras, settings, skip_empty=True)[0].clamp(0, 1)[0] for each in volumes])


class ShapeTime(NamedTuple):
    """Seconds of all scores, of the bounds, of the exact distances, and how many of these there were."""

    total: float
    bounds: float
    exact: float
    pairs: int


def time_of_shapes(generated: torch.Tensor, reference: torch.Tensor) -> ShapeTime:
    spent: dict[str, list[float]] = {"lower_bounds": [], "chamfer_distance": []}

    def watched(name: str) -> Callable[..., Any]:
        call = getattr(scored, name)

        def timing(*given: torch.Tensor) -> Any:
            seconds, result = timed(lambda: call(*given))
            spent[name].append(seconds)
            return result

        return timing

    bounding, measuring = (mock.patch.object(scored, name, watched(name)) for name in spent)
    with bounding, measuring:
        total, _ = timed(lambda: scored.compare_shapes(generated, reference))
    bounds, exact = map(sum, spent.values())
    return ShapeTime(total, bounds, exact, len(spent["chamfer_distance"]))


def product_time(shapes: int) -> float:
    """Of the bounds' one matrix product, over as many corners as may be used."""
    table = torch.rand(shapes, (scored.CELLS + 1) ** 3)
    return timed(lambda: table @ table.mT)[0]


def scaled_to(count: int, half: ShapeTime, whole: ShapeTime, *, shapes: int) -> tuple[float, float, float]:
    """Seconds of `count` a side from those of `shapes` and half as many: all, the exact distances, and their number."""
    times = count / shapes
    product = product_time(2 * shapes)
    more = times ** math.log2(whole.pairs / half.pairs)
    search = (whole.total - whole.bounds) * more  # the exact distances, and sorting the bounds for them
    return (whole.bounds - product) * times + product * times**2 + search, whole.exact * more, whole.pairs * more


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--rendered", type=int, default=20, help="chairs rendered and embedded, then scaled up")
    parser.add_argument("--shapes", type=int, default=1000, help="of each side")
    parser.add_argument("--grid", type=int, default=64)
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--features", default="EfficientNet-Lite0")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "metrics.md")
    options = parser.parse_args()
    network = load_features(options.features)
    volumes = [shell(points, options.grid) for points in chair_points(2, options.rendered)]
    render, shown = timed(lambda: pictures(volumes, options.views, size=options.size))
    embed, embedded = timed(lambda: network(shown))
    count, width = options.samples * options.views, embedded.shape[1]
    sides = [torch.randn(count, width, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    fid, _ = timed(lambda: frechet_distance(*map(feature_moments, sides)))
    kid, _ = timed(lambda: kernel_distance(*sides, generator=torch.Generator().manual_seed(0)))
    clouds = [chair_points(seed, options.shapes) for seed in range(2)]
    whole = time_of_shapes(*clouds)
    shapes, exact, pairs = whole.total, whole.exact, float(whole.pairs)
    if options.shapes != options.samples:
        half = time_of_shapes(*(cloud[: options.shapes // 2] for cloud in clouds))
        shapes, exact, pairs = scaled_to(options.samples, half, whole, shapes=options.shapes)
    render, embed = (options.samples / options.rendered * seconds for seconds in (render, embed))
    scores = fid + kid + shapes
    rows = {
        f"rendering of the samples, {options.rendered} objects measured": render,
        f"{network.name} of the samples, {options.rendered} objects measured": embed,
        f"{network.name} of as many reference pictures": embed,
        "Frechet distance": fid,
        "kernel distance, 100 subsets of 1,000": kid,
        f"COV, MMD and 1-NNA, {options.shapes} shapes a side measured in {whole.total:.1f} s": shapes,
        f"of which {pairs:,.0f} exact Chamfer distances ({whole.pairs:,} measured)": exact,
        "**all scores / (rendering + features of samples and reference)**": percent(scores, render + 2 * embed),
        "all scores / (rendering + features of the samples alone)": percent(scores, render + embed),
    }
    lines = [
        f"# What scores cost, {options.samples} samples x {options.views} views, {platform.machine()}",
        f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, pictures of {options.size} px, chairs of "
        f"{options.grid}^3, processor seconds.\n",
        "| what | s |\n|---|---|",
        *(f"| {name} | {value if isinstance(value, str) else format(value, '.1f')} |" for name, value in rows.items()),
    ]
    write_text(options.output, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
