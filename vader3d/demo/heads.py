"""The demo of subjects that move: clips in, new people out, driven by others' clips."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vader3d.assets import Asset
from vader3d.data.archive.reader import Archive
from vader3d.data.making.heads import Subject, prepare_heads
from vader3d.data.making.people import body, person
from vader3d.data.part_poses import beside
from vader3d.demo.clock import Clock
from vader3d.demo.page import DemoPage
from vader3d.demo.run import REPORT, finished_report, train_both
from vader3d.evaluation.articulated import ArticulatedConfig, evaluate_articulated
from vader3d.export.extras import needed
from vader3d.export.mesh import EmptyVolumeError
from vader3d.files import held, write_text
from vader3d.generate.animate import FilmConfig, film_frames, save_animation, write_film
from vader3d.generate.generator import opened
from vader3d.generate.identities import clip_motion
from vader3d.latents import load_latents
from vader3d.pages.page import Card, Gallery, Number, Numbers, Picture, Section, Sheet, turntable, webp
from vader3d.presets import preset
from vader3d.progress import track
from vader3d.randomness import sample_seed

HEADS = "talking-heads"
NEW_PEOPLE = 8
JUDGED = ArticulatedConfig(clips=12, grid=8, exported=4)
FILM_PX, STEPS = 96, 32
ROOMS = ("assets", "evaluation")
NEW = (
    "Drawn from noise, and moved as the clip below each does: from in front, then from 30 degrees to its left and "
    "right; beside them the person learned whose latent is nearest. The file is a skinned mesh with that motion."
)
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
}


def run_moving_demo(
    *, output: Path, seed: int, minutes: float | None = None, subject: Subject = person
) -> dict[str, Any]:
    """Make clips, train both stages, draw new people, drive them, judge; writes `output`/index.html. The report.

    As `run_demo` ends, goes on and refuses. subject: who is in the clips. ImportError: no package for people or films.
    """
    if report := finished_report(output, HEADS, minutes, seed):
        return report
    recipe, clock, data = preset("talking-heads-small"), Clock(output / "seconds.json"), output / "heads.zip"
    needed("av")
    if subject is person and not beside(data).is_file():
        body()
    page = DemoPage(output, clock)
    with held(output, rooms=ROOMS), page.following():
        with clock.part("data"):
            if not beside(data).is_file():  # which is written last
                prepare_heads(data, count=recipe.objects, seed=seed, subject=subject)
            archive = Archive(data)
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


def new_people(output: Path, archive: Archive, seed: int) -> list[Card]:
    """Cards of new people, each driven by another's clip; a film and a skinned mesh of each in `output`/assets."""
    known = opened(output / "diffusion")
    generator, names = known.generator, known.config.parts.names
    latents, statistics, _ = load_latents(output / "autodecoder" / "latents.safetensors")
    drivers = np.linspace(0, len(archive) - 1, NEW_PEOPLE).round().astype(int).tolist()
    cards = []
    for number, driver in enumerate(track(drivers, "people", total=NEW_PEOPLE)):
        latent = generator.sample_latents([sample_seed(seed, number)], steps=STEPS)
        apart = (statistics.normalise(latents) - statistics.normalise(latent)).flatten(1).norm(dim=1)
        asset = Asset(generator.decode(latent), generator.settings, f"{number:03d}", generator.checksums)
        motion = clip_motion(output / "diffusion", known.parts, str(driver), names)
        clip, near = (archive.read(index).pictures for index in (driver, int(apart.argmin())))
        frames = film_frames(asset, motion, FilmConfig(FILM_PX), seen=clip)
        write_film(output / "assets" / f"{asset.name}.mp4", frames, motion, asset.provenance)
        link = f"assets/{asset.name}.glb"
        try:
            save_animation(asset, motion, output / link)
        except EmptyVolumeError:
            link = ""
        driving, front, left, right, *_ = np.split(frames, frames.shape[2] // FILM_PX, 2)
        smaller = [shown(each, what) for each, what in ((driving, "driver"), (left, "left"), (right, "right"))]
        smaller.append(Picture(webp(near[0]), archive.records[int(apart.argmin())].name))
        card = Card(
            f"person {asset.name}", shown(front, f"person {asset.name}"), link, smaller, "driver; sides; nearest"
        )
        cards.append(card)
    return cards


def shown(frames: np.ndarray, what: str) -> Picture:
    return turntable(np.ascontiguousarray(frames), f"{what}, moving")


def score_sections(report: Mapping[str, Any], pictures: Path) -> list[Section]:
    """The picture that the protocol made, and its numbers."""
    with Image.open(pictures) as image:
        pixels = np.asarray(image.convert("RGB"))
    return [
        Sheet("Known people from their sides", SIDES, Picture(webp(pixels), "held-out pictures and novel views")),
        Numbers("Scores", "By the protocol `articulated`, each beside its control.", numbers(report)),
    ]


def numbers(report: Mapping[str, Any]) -> list[Number]:
    known = {key: meaning for key, meaning in MEANINGS.items() if report.get(key) is not None}
    return [Number(title, report[key], text=words.format(**report), key=key) for key, (title, words) in known.items()]
