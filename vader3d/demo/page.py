"""The demo's page: how far it is, and then what was made."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vader3d.assets import Asset
from vader3d.demo.clock import Clock
from vader3d.evaluation.report import (
    nearest_objects,
    object_name,
    real_picture,
    reconstruction_pairs,
    reconstruction_strips,
    write_sheet,
)
from vader3d.evaluation.score_sections import facts, number_sections
from vader3d.evaluation.score_table import PARTS
from vader3d.evaluation.sets import PictureSets
from vader3d.pages.charts import Curve
from vader3d.pages.page import (
    Card,
    Chart,
    Charts,
    Comparison,
    Gallery,
    Number,
    Picture,
    Section,
    Sheet,
    picture,
    turntable,
    webp,
    write_page,
)
from vader3d.progress import console, watched
from vader3d.training.log import read_metrics

LOSSES = ("perceptual", "mask", "pixel", "code", "denoising")  # the terms of both stages
REFRESH_SECONDS = 10.0
PREVIEWS = {
    "diffusion": ("New objects so far", "What stage 2 draws from noise at this moment."),
    "autodecoder": ("Reconstructions so far", "Real pictures, and below them what stage 1 makes of the same objects."),
}
NEW_OBJECTS = (
    "Volumes made from noise; below each the mesh in its file, and the training objects of the nearest latents."
)


class DemoPage:
    """`output`/index.html, from the first step of training on."""

    def __init__(self, output: Path, clock: Clock):
        self.output, self.clock = output, clock
        self.given: list[Section] = []  # what is learned from
        self.sections: list[Section] = []  # of what was made
        self.written: float | None = None
        self.shown: list[Path] = []

    @contextmanager
    def following(self) -> Iterator[None]:
        """Inside, every progress bar keeps the page up to date; it says so when this is left before the end."""
        try:
            with watched(self.tell):
                yield
        except BaseException:
            if self.written is not None:
                with suppress(OSError):  # a full disk may be why
                    self.write("Stopped. The same command (make demo, or vader3d demo) goes on from here.")
            raise

    def tell(self, title: str, share: float) -> str:
        """Words on the time left; the page is written with every new preview, and every few seconds."""
        if title == self.clock.running:
            self.clock.tell(share)
        if self.clock.running in ("", "data"):
            return ""
        if self.written is None:
            console.print(f"open {self.output / 'index.html'} in a browser: it shows how far the demo is")
        if self.written is None or time.monotonic() - self.written > REFRESH_SECONDS or self.previews() != self.shown:
            self.write_progress()
        return f" (whole demo: {time_left(self.clock.left())})"

    def previews(self) -> list[Path]:
        """The newest of each training, that of the later one first."""
        found = [[*(self.output / name / "previews").glob("*.png")] for name in PREVIEWS]
        return [max(paths, key=lambda path: path.stat().st_mtime) for paths in found if paths]

    def write_progress(self) -> None:
        left, done = self.clock.left(), f"{self.clock.share:.0%}"
        numbers = [
            Number("Time left, about", "?" if left is None else math.ceil(left / 60), "min"),
            Number("So far", self.clock.total / 60, "min"),
            *([Number("Done of this part", done)] if self.clock.share else []),
        ]
        what = f"Now {PARTS[self.clock.running]}." + (" The scores follow." if self.sections else "")
        self.write(
            f"{what} This page renews itself; it was written at {time.strftime('%X')}.", numbers, REFRESH_SECONDS
        )

    def write(self, text: str, numbers: Sequence[Number] = (), refresh: float | None = None) -> None:
        self.shown, self.written = self.previews(), time.monotonic()
        sections = [*(self.sections or [sheet(path) for path in self.shown]), *self.given]
        report = self.clock.report()
        path = self.output / "index.html"
        write_page(path, report, sections, title="vader3d demo", text=text, facts=numbers, refresh=refresh)

    def show(self, sets: PictureSets, assets: list[tuple[Asset, torch.Tensor]]) -> None:
        """What was made, also as generated.png. `assets`: each object with its raw latent [1, C, D, H, W]."""
        cards, stills = [], []
        nearest = nearest_objects(sets, torch.cat([latent for _, latent in assets])).tolist()
        for (asset, _), near in zip(assets, nearest, strict=True):
            frames = asset.turntable().numpy()
            beside = [picture(real_picture(sets, index), object_name(sets, index)) for index in near]
            link = f"assets/{asset.name}.glb" if (self.output / "assets" / f"{asset.name}.glb").exists() else ""
            label = "nearest in training"
            if link:  # to a mesh, which is shown too: the large picture is the volume's
                mesh, label = asset.mesh_turntable(12, size=96), "its mesh; nearest in training"
                beside.insert(0, turntable(mesh, f"mesh of object {asset.name}, turning", frames_per_second=6))
            shown = turntable(frames, f"generated object {asset.name}, turning")
            cards.append(Card(f"object {asset.name}", shown, link, beside, label))
            stills.append(torch.from_numpy(frames[2]).movedim(-1, 0) / 255)
        write_sheet(self.output / "generated.png", torch.stack(stills), columns=8)
        pairs = reconstruction_pairs(sets)
        self.sections = [
            Gallery("New objects", NEW_OBJECTS, cards),
            Comparison("Reconstructions", "Views that training never saw.", reconstruction_strips(sets, pairs)),
            self.charts(),
        ]
        self.write_progress()

    def charts(self) -> Charts:
        """How both trainings went."""
        charts = [
            loss_chart(self.output / "autodecoder", "Stage 1: autodecoder"),
            loss_chart(self.output / "diffusion", "Stage 2: diffusion"),
        ]
        return Charts("Training", "Weighted loss terms over objects seen.", charts)

    def finish(self, report: dict[str, Any]) -> None:
        """The whole page, with the scores."""
        text = f"A generator of 3D assets, learned from pictures of {report['training_objects']} objects."
        self.end(report, text, number_sections(report), facts(report))

    def end(self, report: dict[str, Any], text: str, scores: Sequence[Section], numbers: Sequence[Number]) -> None:
        """The page as it stays: `scores` behind what was made."""
        path, sections = self.output / "index.html", [*self.sections, *self.given, *scores]
        write_page(path, report, sections, title="vader3d demo", text=text, facts=numbers)


def time_left(seconds: float | None) -> str:
    """In words."""
    if seconds is None:
        return "time left not known yet"
    return f"about {math.ceil(seconds / 60)} min left" if seconds > 60 else "less than a minute left"


def sheet(preview: Path) -> Sheet:
    """A preview of a training run, enlarged."""
    title, text = PREVIEWS[preview.parent.parent.name]
    with Image.open(preview) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Sheet(title, text, Picture(webp(pixels), title))


def loss_chart(run: Path, title: str) -> Chart:
    """The weighted loss terms that the run logged; its other numbers are in TensorBoard."""
    lines = read_metrics(run)
    curves = []
    for name in LOSSES:
        known = [line for line in lines if name in line]
        if known:
            curves.append(Curve(name, [line["seen"] for line in known], [line[name] for line in known]))
    return Chart(title, curves, x_label="objects seen", y_label="loss", logarithmic=True)
