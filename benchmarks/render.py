"""Times every way to render volumes, interleaved in one run; writes a table of times and ratios.

    python benchmarks/render.py                      all cases on this machine's CPU, or on its GPU where there is one
    python benchmarks/render.py --cases A B --repeats 9
    OMP_NUM_THREADS=1 python benchmarks/render.py --clock processor      on a machine that others use too

A to C are fog: something absorbs everywhere, so nothing can be skipped. Results: benchmarks/results/render-*.{json,md}.
"""

import argparse
import ctypes
import json
import statistics
import time
from pathlib import Path

import independent
import torch
from yardsticks import processor

from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.geometry.rays import Rays
from vader3d.render import March, Volume, cpu, render_volume

# objects, views, picture size, samples a ray, voxels along an edge, channels, solid object without gradient
CASES = {
    "A": (4, 4, 64, 64, 32, 4, False),
    "B": (1, 4, 128, 128, 64, 4, False),
    "C": (1, 1, 128, 128, 128, 4, False),
    "A, 16 channels": (4, 4, 64, 64, 32, 16, False),
    "A, solid, skipping": (4, 4, 64, 64, 32, 4, True),
    "B, solid, skipping": (1, 4, 128, 128, 64, 4, True),
    "one ray": (1, 1, 1, 64, 32, 4, False),
    "64 rays": (1, 1, 8, 64, 32, 4, False),
}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
RESULTS = Path(__file__).with_name("results")


def scene(case: str, device: str) -> tuple[torch.Tensor, Rays, int]:
    """Grid [B, C, D, H, W], rays of all views, samples per ray."""
    objects, views, size, samples, voxels, channels, solid = CASES[case]
    grid = torch.rand(objects, channels, *[voxels] * 3, generator=torch.Generator().manual_seed(0))
    if solid:
        line = torch.linspace(-1, 1, voxels)
        distance = torch.stack(torch.meshgrid(line, line * 1.4, line * 0.8, indexing="ij")).norm(dim=0)
        grid[:, 3] = (0.6 - distance) * 400
    turn = torch.arange(objects * views) * (360 / (objects * views)) + 10
    flat = orbit_cameras(turn, torch.linspace(-20, 50, objects * views), distance=3.8, fov_degrees=36, size=size)
    shape = (objects, views)
    cameras = Cameras(flat.world_from_camera.unflatten(0, shape), flat.intrinsics.unflatten(0, shape), size, size)
    return grid.to(device), Rays(*(tensor.to(device) for tensor in cameras.rays())), samples


class Ours:
    """One of our back-ends, called as users call it."""

    def __init__(self, backend: str):
        self.backend = backend

    def __call__(self, grid, rays, samples, with_gradient, skip_empty=False):
        grid = grid.detach().requires_grad_(with_gradient)
        with torch.set_grad_enabled(with_gradient):
            march = March(samples, skip_empty=skip_empty)
            rendering = render_volume(Volume(grid), rays, march, backend=self.backend)
        parts = (rendering.colour, rendering.extra, rendering.opacity, rendering.depth)
        if with_gradient:
            return parts, torch.autograd.grad(sum(part.sum() for part in parts), grid)[0]
        return (torch.cat(parts[:2], -1) if grid.shape[1] > 4 else parts[0], *parts[2:]), None


def loads_only(grid, rays, samples):
    """What places all samples and loads their corners, and does nothing else: a floor under any march on the CPU."""
    done = cpu.march_forward(cpu.job_of(Volume(grid), rays.origins, March(samples)), grid, *rays)
    return lambda: cpu.library()[0].vader3d_floor(ctypes.byref(done.job))


def milliseconds(run, device: str, clock=time.perf_counter) -> float:
    """Of a call that follows another of its kind, as in a training: memory and caches are its own."""
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) * 1e3


def peak_megabytes(run, device: str) -> float | None:
    """The most memory that `run` takes above what is held before it."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the highest resident size so far (Linux)
        before = _status("VmRSS")
        run()
        return (_status("VmHWM") - before) / 2**10
    except OSError:
        return None


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def measure(case: str, repeats: int, device: str, clock: str) -> dict:
    """Medians over interleaved runs: {renderer: {forward_ms, both_ms, peak_mb, error}}."""
    grid, rays, samples = scene(case, device)
    solid = CASES[case][-1]
    renderers = {"reference": Ours("reference"), "triton" if device == "cuda" else "cpu": None}
    for name in renderers:
        renderers[name] = Ours(name)
    if grid.shape[1] == 4 and not solid:
        renderers |= independent.available(device)
    runs = {}
    for name, render in renderers.items():
        extra = {"skip_empty": True} if solid and isinstance(render, Ours) else {}
        runs[name, "forward_ms"] = lambda render=render, extra=extra: render(grid, rays, samples, False, **extra)
        if not solid:
            runs[name, "both_ms"] = lambda render=render: render(grid, rays, samples, True)
    if device == "cpu":
        runs["loads only", "forward_ms"] = loads_only(grid, rays, samples)
    times = {key: [] for key in runs}
    for key, run in runs.items():
        run()  # warms up: compilers, caches
        if key[1] == "forward_ms" and solid:
            continue
    for _ in range(repeats):
        for key, run in runs.items():
            times[key].append(milliseconds(run, device, CLOCKS[clock]))
    table = {name: {} for name, _ in runs}
    for (name, what), values in times.items():
        table[name][what] = statistics.median(values)
    truth = Ours("reference")(grid.double(), Rays(*(tensor.double() for tensor in rays)), samples, False)[0]
    for name, render in renderers.items():
        last = runs.get((name, "both_ms"), runs[name, "forward_ms"])
        table[name]["peak_mb"] = peak_megabytes(last, device)
        found = render(grid, rays, samples, False)[0]
        table[name]["error"] = max(float((a.double() - b).abs().max()) for a, b in zip(found, truth, strict=True))
    points = CASES[case][0] * CASES[case][1] * CASES[case][2] ** 2 * samples
    table["points"] = points
    return table


def gigabytes_per_second_of_cache(device: str) -> float | None:
    """How fast the GPU reads what lies in its second-level cache: sums of 16 MB, again and again."""
    if device != "cuda":
        return None
    values = torch.ones(1 << 22, device=device)
    spent = min(milliseconds(lambda: [values.sum() for _ in range(50)], device) for _ in range(5))
    return 50 * values.numel() * 4 / spent / 1e6


def as_markdown(report: dict) -> str:
    lines = [
        f"# Rendering on {report['machine']}",
        "",
        f"{report['threads']} threads, torch {report['torch']}, median of {report['repeats']} interleaved runs, "
        f"{report['clock']} clock. "
        "`x` is the reference's time over this one's; `floor` is the forward's time over that of a kernel that only "
        "places samples and loads their corners. Error: largest difference from float64 in any output.",
        "",
        "| case | renderer | forward ms | x | floor | forward + backward ms | x | peak MB | error | GB/s loaded |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, table in report["cases"].items():
        reference, floor = table["reference"], table.get("loads only", {}).get("forward_ms")
        for name, row in table.items():
            if name == "points":
                continue
            forward, both = row["forward_ms"], row.get("both_ms")
            loaded = table["points"] * 8 * CASES[case][5] * 4 / forward / 1e6
            cells = [
                case,
                name,
                f"{forward:.3g}",
                f"{reference['forward_ms'] / forward:.1f}",
                f"{forward / floor:.2f}" if floor and not CASES[case][-1] else "",
                f"{both:.3g}" if both else "",
                f"{reference['both_ms'] / both:.1f}" if both else "",
                f"{row['peak_mb']:.1f}" if row.get("peak_mb") is not None else "",
                f"{row['error']:.1e}" if "error" in row else "",
                f"{loaded:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    if report["cache_gb_per_second"]:
        lines += ["", f"The GPU's second-level cache was read at {report['cache_gb_per_second']:.0f} GB/s."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: seconds of work, for one thread")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for render-<device>.json and .md")
    options = parser.parse_args()
    machine = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    report = {
        "machine": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "repeats": options.repeats,
        "clock": options.clock,
        "cache_gb_per_second": gigabytes_per_second_of_cache(options.device),
        "cases": {},
    }
    for case in options.cases:
        report["cases"][case] = measure(case, options.repeats, options.device, options.clock)
        print(json.dumps({case: report["cases"][case]}), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"render-{options.device}"
    path.with_suffix(".json").write_text(json.dumps(report, indent=1))
    path.with_suffix(".md").write_text(as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
