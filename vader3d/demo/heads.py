"""The demo of moving subjects: clips in, new people out, who move."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vader3d.assets import Asset
from vader3d.data.archive.reader import Archive
from vader3d.data.making.heads import Subject, prepare_heads
from vader3d.data.making.people import person
from vader3d.data.part_poses import beside
from vader3d.demo.clock import Clock
from vader3d.demo.page import DemoPage
from vader3d.demo.run import REPORT, finished_report, train_both
from vader3d.evaluation.articulated import ArticulatedConfig, evaluate_articulated
from vader3d.evaluation.report import write_sheet
from vader3d.evaluation.score_sections import times
from vader3d.export.mesh import EmptyVolumeError
from vader3d.files import held, write_bytes, write_text
from vader3d.generate.animate import FilmConfig, film_frames, save_animation, write_film
from vader3d.generate.generator import Opened, opened
from vader3d.generate.identities import clip_motion
from vader3d.latents import load_latents
from vader3d.pages.page import Bars, Card, Gallery, Number, Numbers, Picture, Section, Sheet, turntable, webp
from vader3d.presets import preset
from vader3d.progress import track
from vader3d.randomness import sample_seed

HEADS = "talking-heads"
NEEDED = {"av": "video", "embreex": "meshes", "anny": "heads"}  # packages and the extras that bring them
# Which share of the time each part usually takes. Clips are made once, and are not in what is asked for in minutes.
SHARES = {"autodecoder": 0.78, "diffusion": 0.18, "assets": 0.03, "evaluation": 0.01}
NEW_PEOPLE, SHOWN = 8, 8
JUDGED = ArticulatedConfig(clips=12, grid=8, exported=4)
FILM_PX, STEPS = 96, 32
ROOMS = ("assets", "evaluation")
NEW = (
    "Drawn from noise, and moved as the clip below each does: from in front, then from 30 degrees to its left and "
    "right; then the object at rest, turning, and the person learned whose latent is nearest. The file is a skinned "
    "mesh with that motion; the film, with depth and normals, lies beside it."
)
CLIPS = "Some of what both stages learn from: each of another person, before a camera that stands who knows where."
SIDES = (
    "Each row: a picture that training did not see, the volume there with its poses refined, the true picture 45 "
    "degrees aside, the volume there, a flat card."
)
MEANINGS = {
    "head_rotation_error": ("Head", "degrees off, median; one pose for all: {head_constant_error}"),
    "torso_rotation_error": ("Torso", "degrees off, median; one pose for all: {torso_constant_error}"),
    "head_yaw_correlation": ("Head's yaw", "correlation with the true one; reversed: {head_shuffled_yaw_correlation}"),
    "heldout_psnr": ("Held-out pictures", "dB inside the mask; poses of neighbours: {heldout_psnr_at_start}"),
    "novel_psnr_30": ("30 degrees aside", "dB inside the mask; a flat card: {flat_card_psnr_30}"),
    "depth_correlation": ("Depth", "correlation with the true one; another person's: {depth_correlation_of_another}"),
    "parts_iou": ("Parts", "mIoU in pictures; one part for all: {parts_iou_of_one_part}"),
    "driver_leaked": ("Drivers' looks that leak", "share; by chance {chance}"),
    "export_psnr": ("Skinned meshes", "dB from their volumes, inside the mask"),
    "seconds_total": ("Everything took", "seconds"),
}


def run_moving_demo(
    *, output: Path, seed: int, minutes: float | None = None, subject: Subject = person
) -> dict[str, Any]:
    """Make clips, train both stages, draw new people, drive them, judge; writes `output`/index.html. The report.

    As `run_demo` ends, goes on and refuses. subject: who is in the clips. ImportError: no package for people or films.
    """
    if report := finished_report(output, HEADS, minutes, seed):
        return report
    recipe, clock, data = preset("talking-heads-small"), Clock(output / "seconds.json", SHARES), output / "heads.zip"
    is_made = beside(data).is_file()  # which is written last
    check_packages("av", *(() if is_made else ("embreex",)), *(("anny",) if subject is person and not is_made else ()))
    page = DemoPage(output, clock)
    with held(output, rooms=ROOMS), page.following():
        with clock.part("data"):
            if not is_made:
                prepare_heads(data, count=recipe.objects, seed=seed, subject=subject)
            archive = Archive(data)
            page.given = [clips_section(archive)]
        train_both(archive, recipe, output, clock, minutes=minutes, seed=seed)
        with clock.part("assets"):
            page.sections = [Gallery("New people", NEW, new_people(output, archive, seed)), page.charts()]
            page.write_progress()
        with clock.part("evaluation"):
            scores = evaluate_articulated(output / "autodecoder", data, output / "evaluation", how=JUDGED)
        report = {**scores, "data": HEADS, "minutes": minutes, "seed": seed, "training_objects": len(archive)}
        report |= clock.report()
        text = f"A generator of people who move, learned from {len(archive)} clips without cameras."
        page.end(report, text, score_sections(report, output / "evaluation" / "novel.png"), numbers(report)[:4])
    write_text(output / REPORT, json.dumps(report, indent=2) + "\n")
    return report


def check_packages(*packages: str) -> None:
    """ImportError: some of them are not here; it names all, and what installs them."""
    if missing := [name for name in packages if find_spec(name) is None]:
        extras = ",".join(sorted(NEEDED[name] for name in missing))
        raise ImportError(
            f"{', '.join(missing)}: wanted for the demo of {HEADS}; got none; pip install 'vader3d[{extras}]'"
        )


def evenly(count: int, of: int) -> list[int]:
    """At most `count` numbers below `of`, spread over all."""
    return np.unique(np.linspace(0, of - 1, count).round().astype(int)).tolist()


def clips_section(archive: Archive) -> Gallery:
    cards = []
    for index in evenly(SHOWN, len(archive)):
        record = archive.records[index]
        cards.append(Card(record.name, shown(archive.read(index).pictures, record.name), lines=[record.caption]))
    return Gallery("Clips", CLIPS, cards)


def new_people(output: Path, archive: Archive, seed: int) -> list[Card]:
    """Cards of new people, each driven by another's clip.

    Of each in `output`/assets: a film, a skinned mesh with that motion, and a turntable at rest; all, as generated.png.
    """
    known, stills, cards = opened(output / "diffusion"), [], []
    latents, statistics, _ = load_latents(output / "autodecoder" / "latents.safetensors")
    drivers = np.linspace(0, len(archive) - 1, NEW_PEOPLE).round().astype(int).tolist()
    for number, driver in enumerate(track(drivers, "people", total=NEW_PEOPLE)):
        latent = known.generator.sample_latents([sample_seed(seed, number)], steps=STEPS)
        apart = (statistics.normalise(latents) - statistics.normalise(latent)).flatten(1).norm(dim=1)
        made = known.generator
        asset = Asset(made.decode(latent), made.settings, f"{number:03d}", made.checksums)
        card, still = driven_card(asset, known, archive, driver, int(apart.argmin()), output)
        cards.append(card)
        stills.append(still)
    write_sheet(output / "generated.png", torch.stack(stills), columns=8)
    return cards


def driven_card(
    asset: Asset, known: Opened, archive: Archive, driver: int, nearest: int, output: Path
) -> tuple[Card, torch.Tensor]:
    """A person moved as clip `driver` does, beside the learned one `nearest`: files, card, a picture [4, H, W]."""
    motion = clip_motion(output / "diffusion", known.parts, str(driver), known.config.parts.names)
    frames = film_frames(asset, motion, FilmConfig(FILM_PX), seen=archive.read(driver).pictures)
    write_film(output / "assets" / f"{asset.name}.mp4", frames, motion, asset.provenance)
    link = f"assets/{asset.name}.glb"
    try:
        save_animation(asset, motion, output / link)
    except EmptyVolumeError:
        link = ""
    rest = shown(asset.turntable(size=FILM_PX).numpy(), f"person {asset.name} at rest")
    write_bytes(output / "assets" / f"{asset.name}.webp", rest.data)
    clip, front, left, right, *_ = np.split(frames, frames.shape[2] // FILM_PX, 2)
    name = archive.records[nearest].name
    smaller = [shown(each, what) for each, what in ((clip, "the driver"), (left, "left"), (right, "right"))]
    smaller += [rest, Picture(webp(archive.read(nearest).pictures[0]), f"training object {name}")]
    title, label = f"person {asset.name}", "driver; from left; right; at rest; nearest in training"
    line = f"driven by {archive.records[driver].name}; nearest: {name}"
    still = torch.from_numpy(front[len(front) // 2].copy()).movedim(-1, 0) / 255
    return Card(title, shown(front, title), link, smaller, label, [line]), still


def shown(frames: np.ndarray, what: str) -> Picture:
    return turntable(np.ascontiguousarray(frames), f"{what}, moving")


def score_sections(report: Mapping[str, Any], pictures: Path) -> list[Section]:
    """The picture that the protocol made, its numbers, and where the time went."""
    with Image.open(pictures) as image:
        pixels = np.asarray(image.convert("RGB"))
    text = "By the protocol `articulated`, each beside its control."
    return [
        Sheet("Known people from their sides", SIDES, Picture(webp(pixels), "held-out pictures and novel views")),
        Numbers("Scores", text, numbers(report), [Bars("Seconds", times(report))]),
    ]


def numbers(report: Mapping[str, Any]) -> list[Number]:
    """What of the report is for readers, in words."""
    known = {key: meaning for key, meaning in MEANINGS.items() if report.get(key) is not None}
    return [Number(title, report[key], text=words.format(**report), key=key) for key, (title, words) in known.items()]
