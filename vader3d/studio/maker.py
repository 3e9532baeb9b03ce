"""The process that makes, with the model in it, behind a pipe."""

import base64
import io
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vader3d.assets import Asset, AssetFolder, load_volume, turn
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.reconstruct import ReconstructConfig, still
from vader3d.config import config_from_dict, config_to_dict
from vader3d.data.archive.format import ObjectViews
from vader3d.export.placement import AS_IT_IS, ExportConfig
from vader3d.export.surface import SurfaceConfig, surface_for
from vader3d.export.turntable import turntable_bytes
from vader3d.files import checksum_of, write_bytes, write_text
from vader3d.generate import Generator
from vader3d.generate.animate import FilmConfig, check_parts, film_frames, moving_surface, save_animation
from vader3d.generate.generator import batches
from vader3d.generate.identities import clip_motion
from vader3d.generate.recipes import Recipe, digest, recipe_from_dict
from vader3d.generate.reconstruct import reconstructed
from vader3d.hub import autodecoder_file, model_folder
from vader3d.render import Volume
from vader3d.studio.jobs import NEAREST, UPLOADS, files_of
from vader3d.studio.nearest import Neighbour, Training
from vader3d.studio.requests import ALONE
from vader3d.studio.uploads import UPLOAD_ID, Uploads
from vader3d.text.tokens import remarks
from vader3d.untrusted import reason_of

BATCH = 4  # objects at once
PREVIEW_PX, PREVIEW_SHARE = 96, 0.3  # of the time, at most, goes into previews
ALWAYS = ("safetensors", "webp")  # of an object; a mesh besides
VOLUME = "safetensors"
MOST_PICTURES = 256  # of the training, remembered
MOST_FRAMES = 240  # of a motion; what comes later is left out
PICTURE_PX, CODE_STEPS = 64, 80  # of a reconstruction: pictures are read so large; steps if none are asked for


class Cancelled(Exception):
    """The job is no longer wanted."""


class Maker:
    """What one process makes, one job after another; exports in between.

    Takes (job, id, recipes, request), (cancel, id) and (export, ticket, asset, format, ...) and sends (step, ...),
    (remarks, ...), (asset, ...), (ended, state, reason) and (exported, ticket, reason).
    """

    def __init__(self, generator: Generator, pipe: Connection, folder: Path, training: Training):
        self.generator, self.pipe, self.folder, self.training = generator, pipe, folder, training
        self.uploads = Uploads(folder / UPLOADS)
        self.pictures: dict[int, str] = {}  # of objects of the training
        self.unwanted: set[str] = set()
        self.job = ""
        self.camera = turn(1, size=PREVIEW_PX)
        self.next_preview = 0.0

    def run(self) -> None:
        """Until the other end closes."""
        while True:
            self.take(self.pipe.recv())

    def take(self, message: tuple[Any, ...]) -> None:
        kind, *rest = message
        if kind == "cancel":
            self.unwanted.add(rest[0])
        elif kind == "export":
            ticket, *what = rest
            self.pipe.send(("exported", ticket, said(lambda: self.export(*what))))
        else:
            self.job = rest[0]
            state, reason = "done", ""
            try:
                self.make(*rest)
            except Cancelled:
                state = "cancelled"
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                state, reason = "failed", reason_of(error)
            self.unwanted.clear()
            self.pipe.send(("ended", state, reason))

    def attend(self) -> None:
        """What came meanwhile. Cancelled: this job is unwanted."""
        while self.pipe.poll():
            self.take(self.pipe.recv())
        if self.job in self.unwanted:
            raise Cancelled

    def make(self, job: str, wanted: dict[str, dict[str, Any]], request: dict[str, Any]) -> None:
        """Objects of recipes by their assets' ids, those first that can be made together."""
        self.next_preview = 0.0
        if request["kind"] in ALONE:
            for identity in wanted:
                (self.animate if request["kind"] == "animate" else self.reconstruct)(identity, request)
            return
        recipes = {identity: recipe_from_dict(values) for identity, values in wanted.items()}
        ids = {recipe: identity for identity, recipe in recipes.items()}
        texts = dict.fromkeys(text for recipe in recipes.values() for text in recipe.texts)
        self.generator.check_texts(texts)
        if self.generator.text_encoder:
            self.pipe.send(("remarks", [line for text in texts for line in remarks(self.generator.text_encoder, text)]))
        for part in batches(recipes.values(), BATCH):
            names = [ids[recipe] for recipe in part]
            latents = self.generator.latents_of(
                part, callback=lambda *at, names=names, part=part: self.step(names, part, *at)
            )
            self.attend()
            near = self.training.nearest(latents)
            for identity, recipe, latent, beside in zip(names, part, latents, near, strict=True):
                self.attend()
                self.keep(identity, self.generator.asset(recipe, latent[None]), beside)

    def step(self, names: Sequence[str], part: Sequence[Recipe], step: int, x: Tensor, denoised: Tensor) -> None:
        """Called after each step of denoising."""

        def pictures() -> dict[str, str]:
            latents = self.generator.statistics.denormalise(denoised[: len(names)].float().cpu())
            return {name: self.latent_picture(each[None]) for name, each in zip(names, latents, strict=False)}

        self.tell(step + 1, len(self.generator.sigmas(part[0])) - 1, pictures)

    def tell(self, step: int, steps: int, pictures: Callable[[], dict[str, str]]) -> None:
        """How far it is, with pictures of what it becomes where there is time for them. Cancelled: it is unwanted."""
        self.attend()
        shown = {}
        start = time.monotonic()
        if start >= self.next_preview:
            shown = pictures()
            end = time.monotonic()
            self.next_preview = end + (end - start) * (1 / PREVIEW_SHARE - 1)
        self.pipe.send(("step", step, steps, shown))

    def latent_picture(self, latent: Tensor) -> str:
        """Of a raw latent [1, C, D, H, W]."""
        return self.picture(Asset(self.generator.decode(latent), self.generator.settings))

    def picture(self, asset: Asset) -> str:
        """A small picture as a data: address."""
        seen, opacity = asset.render(self.camera)
        pixels = (torch.cat([seen, opacity], 1)[0] * 255).round().to(torch.uint8).movedim(0, -1).numpy()
        data = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(data, "WEBP", quality=70, method=0)
        return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()

    def known_picture(self, number: int) -> str:
        """A picture of what the model makes of an object of its training; the last ones are remembered."""
        if number not in self.pictures:
            if len(self.pictures) >= MOST_PICTURES:
                self.pictures.clear()
            self.pictures[number] = self.latent_picture(self.training.latent(number))
        return self.pictures[number]

    def animate(self, identity: str, request: dict[str, Any]) -> None:
        """An object of the gallery that moves: a skinned mesh, and a film instead of the turntable."""
        source = self.folder / "assets" / request["source"]
        asset = load_volume(source / f"{files_of(source)['name']}.{VOLUME}")
        driving, known = request["driving"], self.training
        if UPLOAD_ID.fullmatch(driving):
            motion = self.uploads.motion(driving)
        else:
            motion = clip_motion(model_folder(known.model), known.parts, driving, known.config.parts.names)
        motion = motion.relative() if request["relative"] else motion
        motion = replace(motion, poses=motion.poses[:MOST_FRAMES])
        check_parts(asset, motion)
        count, moving = len(motion.poses), replace(asset, provenance={**asset.provenance, "driving": driving})
        frames = film_frames(moving, motion, FilmConfig(), told=lambda number: self.tell(number, count, dict))

        def write(name: Path) -> None:
            film = turntable_bytes(frames, frames_per_second=motion.frames_per_second, provenance=moving.provenance)
            write_bytes(name.with_name(f"{name.name}.webp"), film)
            save_animation(moving, motion, name.with_name(f"{name.name}.glb"), surface=moving_surface())

        self.keep(identity, moving, [], over=write)

    def reconstruct(self, identity: str, request: dict[str, Any]) -> None:
        """An object of pictures that were sent; how near the held-out ones are is remarked."""
        room = self.folder / "exports" / identity
        try:
            made = self.uploads.object(request["pictures"], room, size=PICTURE_PX)
        finally:
            shutil.rmtree(room, ignore_errors=True)
        known, config, _ = load_autodecoder(autodecoder_file(model_folder(self.training.model)))
        steps = request["steps"] or CODE_STEPS
        how = ReconstructConfig(steps=steps, fine_steps=steps // 2, seed=request["seeds"][0])
        settings = still(config)

        def told(step: int, volume: Volume) -> None:
            seen = Asset(volume.with_grid(volume.grid.detach().float()), settings)
            self.tell(step, how.steps + how.fine_steps, lambda: {identity: self.picture(seen)})

        views = ObjectViews(made.pictures, made.cameras)
        found, about, *_ = reconstructed(known.to(self.generator.device), config, views, how, told=told)
        held_out = "held-out pictures" if about["held_out"] else "of its own pictures, too few to hold any out"
        scores = f"{about['psnr']['fine']:.1f} dB, the nearest known object {about['psnr']['nearest']:.1f}"
        self.pipe.send(("remarks", [f"{about['judged']} {held_out}: {scores}"]))
        name = f"pictures-{digest(repr(request['pictures']))}"
        provenance = {**self.generator.checksums, "pictures": [*request["pictures"]]}
        self.keep(identity, Asset(found.volumes["fine"], settings, name, provenance), [])

    def keep(
        self, identity: str, asset: Asset, near: list[Neighbour], *, over: Callable[[Path], None] | None = None
    ) -> None:
        """Write an object's volume, turntable, mesh and neighbours, and tell what is known of them.

        over: writes others in their places, FOLDER/NAME.webp and so on.
        """
        place = AssetFolder(self.folder / "assets" / identity)
        beside = [{**each._asdict(), "picture": self.known_picture(each.number)} for each in near]
        write_text(place.path / NEAREST, json.dumps(beside) + "\n")
        place.save(asset, ALWAYS, AS_IT_IS, surface_for(None))
        place.save(asset, ["glb"], AS_IT_IS, surface_for(None))
        if over:
            over(place.path / asset.name)
            files = place.objects[asset.name]["files"]
            files |= {name: checksum_of(place.path / name) for name in files}
        place.write_list()
        self.pipe.send(("asset", identity, about(place.path)))

    def export(self, identity: str, form: str, config: dict, surface: dict | None, folder: str) -> None:
        """Write an asset in another format, into a folder; into its own as it is usually written."""
        known = files_of(self.folder / "assets" / identity)
        asset = load_volume(self.folder / "assets" / identity / f"{known['name']}.{VOLUME}")
        place = AssetFolder(Path(folder))
        chosen = None if surface is None else config_from_dict(SurfaceConfig, surface)
        place.save(asset, [form], config_from_dict(ExportConfig, config), chosen)
        if place.objects[asset.name]["empty"]:
            raise ValueError("asset: wanted something to see; got an empty object; take its turntable")
        place.write_list()


def about(folder: Path) -> dict[str, Any]:
    """What the gallery remembers of an asset."""
    known = files_of(folder)
    mesh = known.get("mesh") or {}
    return {
        "state": "empty" if known["empty"] else "ready",
        "name": known["name"],
        "likeness": known["mesh_likeness"],
        **{name: mesh.get(name) for name in ("faces", "watertight", "shells")},
    }


def said(work: Callable[[], None]) -> str:
    """What went wrong, in a line; empty where nothing did."""
    try:
        work()
    except Exception as error:
        return reason_of(error)
    return ""


def make_for(pipe: Connection, model: str, device: str, folder: str) -> None:
    """The process: load the model, say so, and work until the other end closes; Ctrl-C is the other's to answer."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pipe, suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody is there any more
        try:
            generator = Generator.from_pretrained(model, device=device)
            generator.denoiser  # noqa: B018  ValueError: stage 1 alone
            training = Training(generator, model)
        except (ValueError, OSError, ImportError) as error:
            pipe.send(("unusable", str(error)))
            return
        pipe.send(("ready", str(generator.device), training.can))
        Maker(generator, pipe, Path(folder), training).run()


def usual() -> tuple[dict[str, Any], dict[str, Any] | None]:
    """How files are written where nothing is asked for: configurations of export and surface, plain values."""
    surface = surface_for(None)
    return config_to_dict(AS_IT_IS), config_to_dict(surface) if surface else None
