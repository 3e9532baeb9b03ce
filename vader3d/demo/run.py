"""The main job in one command: pictures in, new assets out."""

import json
import math
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from vader3d.assets import Asset, save_assets
from vader3d.autodecoder.train import train_autodecoder
from vader3d.config import override
from vader3d.data.dataset import DataSet
from vader3d.data.named import open_archive, readable_objects
from vader3d.demo.clock import Clock
from vader3d.demo.page import DemoPage
from vader3d.diffusion.train import train_diffusion
from vader3d.evaluation.judged import JudgedModel, open_judged_model
from vader3d.evaluation.protocol import Protocol
from vader3d.evaluation.runner import CHUNKS, ProtocolRun, evaluate, protocol_run, with_samples
from vader3d.evaluation.sets import PictureSets
from vader3d.files import held, write_text
from vader3d.frozen.embeddings import load_features
from vader3d.generate.generator import Generator
from vader3d.generate.previews import samples_drawn
from vader3d.presets import Preset, preset
from vader3d.progress import console, track
from vader3d.randomness import sample_seed
from vader3d.untrusted import read_json, reading

ASSETS = 16
REPORT = "report.json"
ASSET_FORMATS = ("glb", "webp")
ROOMS = ("assets", "evaluation", f"evaluation/{CHUNKS}")  # below the folder, beside those that trainings hold
PREVIEW_SECONDS = 20.0
FEWEST_JUDGED = 16  # objects, where a clock leaves time for no more


def run_demo(data: str, *, output: Path, seed: int, minutes: float | None = None) -> dict[str, Any]:
    """Train both stages, generate, judge, and write `output`/index.html from the beginning on; returns the report.

    Training ends after the preset's numbers of objects, the same on every machine; with `minutes`, by the clock. The
    same call goes on where an earlier one stopped. ValueError: less than half a minute, or another run there.
    """
    if report := finished_report(output, data, minutes, seed):
        return report
    recipe, run, clock = preset("small"), protocol_run("demo", seed=seed), Clock(output / "seconds.json")
    load_features()  # says at once, not after training, when its weights are missing
    page = DemoPage(output, clock)
    with held(output, rooms=ROOMS), page.following():
        with clock.part("data"):
            archive, problems = readable_objects(open_archive(data))
        for problem in problems:
            console.print(f"skipped: {problem}")
        train_both(archive, recipe, output, clock, minutes=minutes, seed=seed)
        judged = open_judged_model(output / "diffusion", archive)
        with clock.part("assets"):
            assets, made = new_assets(judged.generator, output / "assets", run.protocol)
            page.show(PictureSets(judged, run.protocol), assets)
        with clock.part("evaluation"):
            if minutes is not None:
                run = affordable(judged, run, output / "evaluation", 60 * minutes * clock.shares["evaluation"])
            evaluation = evaluate(judged, run, output / "evaluation")
            assert evaluation is not None
        report = {**made, **evaluation.report, "data": data, "minutes": minutes, "seed": seed}
        report |= {"skipped_objects": len(problems), "training_objects": len(archive), **clock.report()}
        page.finish(report)
    write_text(output / REPORT, json.dumps(report, indent=2) + "\n")
    return report


def finished_report(output: Path, data: str, minutes: float | None, seed: int) -> dict[str, Any] | None:
    """The report of a demo that is finished in the folder `output`. ValueError: minutes that are none, another run."""
    if minutes is not None and not 0.5 <= minutes < math.inf:
        raise ValueError(f"minutes: wanted at least 0.5; got {minutes}")
    finished = output / REPORT
    if not finished.is_file():
        return None
    report = read_json(finished)
    with reading(finished, "a report of `vader3d demo`"):
        found = (report["data"], report["minutes"], report["seed"])
    if found != (data, minutes, seed):
        return None
    console.print(f"{output}: finished before; delete the folder, or name another, to start anew")
    return report


def train_both(
    archive: DataSet, recipe: Preset, output: Path, clock: Clock, *, minutes: float | None, seed: int
) -> None:
    """Stage 1 and then stage 2, in the folder `output`, to their ends or by the clock."""
    shares = clock.shares
    with clock.part("autodecoder"):
        seconds = minutes and 60 * minutes * shares["autodecoder"]
        train_autodecoder(archive, lasting(recipe.autodecoder, seconds, seed), output / "autodecoder")
    with clock.part("diffusion"):
        before = sum(clock.parts[name] for name in ("data", "autodecoder") if name in shares)
        seconds = minutes and 60 * minutes * (1 - shares["assets"] - shares["evaluation"]) - before
        draw = samples_drawn(output / "autodecoder", seed=seed)
        config = lasting(recipe.diffusion, seconds, seed)
        train_diffusion(output / "autodecoder", config, output / "diffusion", draw=draw)


def lasting(config: Any, seconds: float | None, seed: int) -> Any:
    """The configuration, ended by the clock alone (after at least five seconds) where `seconds` are given."""
    clock = [] if seconds is None else [f"loop.seconds={max(5.0, seconds)}", "loop.objects_seen=1000000000000"]
    return override(config, [*clock, f"loop.seed={seed}", f"loop.preview_seconds={PREVIEW_SECONDS}"])


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


def affordable(judged: JudgedModel, run: ProtocolRun, folder: Path, seconds: float) -> ProtocolRun:
    """The protocol with as many samples as can be judged in `seconds`, by what the first of them take."""
    start = time.monotonic()
    evaluate(judged, with_samples(run, FEWEST_JUDGED), folder)  # is kept, and not computed again
    count = int(seconds / (time.monotonic() - start) * FEWEST_JUDGED)
    return with_samples(run, min(run.protocol.samples, max(FEWEST_JUDGED, count)))
