"""The main job in one command: pictures in, new assets out."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vader3d.assets import Asset, save_assets
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.train import train_autodecoder
from vader3d.config import override
from vader3d.data.dataset import DataSet
from vader3d.data.named import open_archive, readable_objects
from vader3d.demo.page import write_demo_page
from vader3d.diffusion.model import build_denoiser
from vader3d.diffusion.train import train_diffusion
from vader3d.evaluation.chunks import CHUNK
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.measurements import has_true_meshes
from vader3d.evaluation.protocol import Protocol
from vader3d.evaluation.runner import evaluate, protocol_run, with_samples
from vader3d.files import write_text
from vader3d.frozen.embeddings import load_features
from vader3d.generate import Generator
from vader3d.geometry.cameras import orbit_cameras
from vader3d.latents import load_latents
from vader3d.presets import Preset, preset
from vader3d.progress import console, track
from vader3d.randomness import sample_seed
from vader3d.render import render_views
from vader3d.untrusted import read_json, reading

ASSETS = 16
TRAININGS = ("autodecoder", "diffusion")
ASSET_FORMATS = ("glb", "webp")
AUTODECODER_SHARE = 0.31  # of all the time
SAFETY = 1.1  # what follows training is expected to take so many times what the rehearsal measured
PAGE_SECONDS = 10.0
SPARE = 0.02  # of all the time, for a machine that slows down
PICTURE_SETS = 6  # that the evaluation renders and embeds
SMALLEST_EVALUATION = 16  # objects


class Clock:
    """Seconds each part took; those of the trainings, which a second call continues, over all calls."""

    def __init__(self, path: Path):
        self.path = path
        found = read_json(path) if path.is_file() else {}
        with reading(path, "seconds by name"):
            self.parts: dict[str, float] = {name: float(found[name]) for name in TRAININGS if name in found}

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def without(self, *names: str) -> float:
        """Seconds of all other parts."""
        return sum(seconds for name, seconds in self.parts.items() if name not in names)

    def report(self) -> dict[str, float]:
        parts = {f"seconds_{name}": round(seconds, 1) for name, seconds in self.parts.items()}
        return parts | {"seconds_total": round(self.total, 1)}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part, finished or interrupted."""
        before, start = self.parts.get(name, 0.0), time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = before + time.monotonic() - start
            write_text(self.path, json.dumps(self.parts, indent=2) + "\n")


def run_demo(data: str, *, minutes: float, output: Path, seed: int) -> dict[str, Any]:
    """Train both stages within `minutes`, generate, judge, and write `output`/index.html; returns the report.

    The same call goes on where an earlier one stopped. ValueError: less than half a minute, or another run there.
    """
    if minutes < 0.5:
        raise ValueError(f"minutes: wanted at least 0.5; got {minutes}")
    finished = output / "report.json"
    if finished.is_file():
        report = read_json(finished)
        with reading(finished, "a report of `vader3d demo`"):
            found = (report["data"], report["minutes"], report["seed"])
        if found == (data, minutes, seed):
            console.print(f"{output}: finished before; delete the folder, or name another, to start anew")
            return report
    output.mkdir(parents=True, exist_ok=True)
    budget, clock, recipe = (1 - SPARE) * 60 * minutes, Clock(output / "seconds.json"), preset("small")
    load_features()  # says at once, not after training, when its weights are missing
    with clock.part("data"):
        archive, problems = readable_objects(open_archive(data))
    for problem in problems:
        console.print(f"skipped: {problem}")

    # Stage 1 gets its share of the time. What follows stage 2 is then rehearsed; stage 2 gets all the time between.
    stage1 = within(recipe.autodecoder, AUTODECODER_SHARE * (budget - clock.without(*TRAININGS)), seed)
    with clock.part("autodecoder"):
        train_autodecoder(archive, stage1, output / "autodecoder")
    with clock.part("rehearsal"):
        costs = rehearse(recipe, output / "autodecoder", archive, (run := protocol_run("quick", seed=seed)).protocol)
    objects = min(run.protocol.samples, len(archive))
    after = SAFETY * (ASSETS * costs.asset + objects * costs.object + PAGE_SECONDS)
    stage2 = within(recipe.diffusion, budget - clock.without("diffusion") - after, seed)
    with clock.part("diffusion"):
        train_diffusion(output / "autodecoder", stage2, output / "diffusion")

    # New objects, their scores, and the page; fewer objects are judged where the machine has become slower.
    judged = open_judged_model(output / "diffusion", archive)
    with clock.part("assets"):
        assets, report = new_assets(judged.generator, output / "assets", run.protocol)
    affordable = int((budget - clock.total - PAGE_SECONDS) / costs.object)
    if affordable < objects:
        run = with_samples(run, max(SMALLEST_EVALUATION, affordable))
    with clock.part("evaluation"):
        evaluation = evaluate(judged, run, output / "evaluation")
        assert evaluation is not None
        report |= evaluation.report
    report |= {
        "data": data,
        "minutes": minutes,
        "seed": seed,
        "skipped_objects": len(problems),
        "training_objects": len(archive),
    }
    with clock.part("page"):
        write_demo_page(output, report | clock.report(), evaluation.sets, assets)
    report |= clock.report()
    write_text(finished, json.dumps(report, indent=2) + "\n")
    return report


def within(config: Any, seconds: float, seed: int) -> Any:
    """The configuration, ended by the clock alone (after at least five seconds)."""
    return override(
        config, [f"loop.seconds={max(5.0, seconds)}", "loop.objects_seen=1000000000000", f"loop.seed={seed}"]
    )


class Costs(NamedTuple):
    """Measured seconds for one asset with its files, and for one object of each compared set."""

    asset: float
    object: float


def rehearse(recipe: Preset, autodecoder_run: Path, archive: DataSet, protocol: Protocol) -> Costs:
    """What generation and evaluation will cost on this machine as it is now, with an untrained denoiser."""
    autodecoder, config, _ = load_autodecoder(autodecoder_run)
    latents, statistics, _ = load_latents(autodecoder_run / "latents.safetensors")
    denoiser = build_denoiser(recipe.diffusion, tuple(latents.shape[1:]), rank=0).eval().requires_grad_(False)
    generator = Generator(autodecoder.decoder, config.render, denoiser, statistics)
    features = load_features(protocol.features[0])

    def seconds(call: Callable[[], Any]) -> float:
        call()  # what is done once does not count
        start = time.monotonic()
        call()
        return time.monotonic() - start

    batch = CHUNK
    assets = [Asset(generator.decode(latents[:1]), config.render, "rehearsal")]
    with tempfile.TemporaryDirectory() as folder:
        files = seconds(lambda: save_assets(assets, Path(folder), formats=ASSET_FORMATS))
    one = seconds(lambda: generator.sample_latents([0], steps=protocol.steps[-1]))
    many = seconds(lambda: generator.sample_latents(range(batch), steps=protocol.steps[-1]))
    side = max(archive.resolution)
    azimuths, elevations = torch.arange(protocol.views) * 90.0, torch.full((protocol.views,), 20.0)
    cameras = orbit_cameras(azimuths, elevations, size=side)[None]
    volume = generator.decode(latents[:1])
    render = seconds(lambda: render_views(volume, cameras, config.render))
    embed = seconds(lambda: features(torch.rand(batch * protocol.views, 3, side, side)))
    shape = 2 * files if has_true_meshes(archive) else 0.0
    return Costs(one + files, many / batch + PICTURE_SETS * (render + embed / batch) + shape)


def new_assets(
    generator: Generator, folder: Path, protocol: Protocol
) -> tuple[list[tuple[Asset, Tensor]], dict[str, Any]]:
    """Objects made one at a time, as a user would, with raw latents and files; the mean seconds one took."""
    assets, empty, start = [], 0, time.monotonic()
    for number in track(range(ASSETS), "assets", total=ASSETS):
        latents = generator.sample_latents([sample_seed(protocol.seed, number)], steps=protocol.steps[-1])
        asset = Asset(generator.decode(latents), generator.settings, f"{number:03d}")
        empty += save_assets([asset], folder, formats=ASSET_FORMATS)[1]
        assets.append((asset, latents))
    return assets, {"seconds_per_sample": (time.monotonic() - start) / ASSETS, "empty_assets": empty}
