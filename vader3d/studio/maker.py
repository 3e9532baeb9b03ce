"""The process that makes, with the model in it, behind a pipe."""

import base64
import io
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vader3d.assets import Asset, AssetFolder, load_volume
from vader3d.config import config_from_dict, config_to_dict
from vader3d.export.placement import AS_IT_IS, ExportConfig
from vader3d.export.surface import SurfaceConfig, surface_for
from vader3d.files import write_text
from vader3d.generate import Generator
from vader3d.generate.generator import batches
from vader3d.generate.recipes import Recipe, recipe_from_dict
from vader3d.geometry.cameras import orbit_cameras
from vader3d.studio.jobs import NEAREST, files_of
from vader3d.studio.nearest import Neighbour, Training
from vader3d.text.tokens import remarks
from vader3d.untrusted import reason_of

BATCH = 4  # objects at once
PREVIEW_PX, PREVIEW_SHARE = 96, 0.3  # of the time, at most, goes into previews
ALWAYS = ("safetensors", "webp")  # of an object; a mesh besides
VOLUME = "safetensors"
MOST_PICTURES = 256  # of the training, remembered


class Cancelled(Exception):
    """The job is no longer wanted."""


class Maker:
    """What one process makes, one job after another; exports in between.

    Takes (job, id, recipes), (cancel, id) and (export, ticket, asset, format, ...) and sends (step, ...), (asset, ...),
    (ended, state, reason) and (exported, ticket, reason).
    """

    def __init__(self, generator: Generator, pipe: Connection, folder: Path, training: Training):
        self.generator, self.pipe, self.folder, self.training = generator, pipe, folder, training
        self.pictures: dict[int, str] = {}  # of objects of the training
        self.unwanted: set[str] = set()
        self.job = ""
        self.camera = orbit_cameras(torch.tensor([30.0]), torch.tensor([20.0]), size=PREVIEW_PX)
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

    def make(self, job: str, wanted: dict[str, dict[str, Any]]) -> None:
        """Objects of recipes by their assets' ids, those first that can be made together."""
        recipes = {identity: recipe_from_dict(values) for identity, values in wanted.items()}
        ids = {recipe: identity for identity, recipe in recipes.items()}
        texts = dict.fromkeys(text for recipe in recipes.values() for text in recipe.texts)
        self.generator.check_texts(texts)
        if self.generator.text_encoder:
            self.pipe.send(("remarks", [line for text in texts for line in remarks(self.generator.text_encoder, text)]))
        self.next_preview = 0.0
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
        """Called after each step: tells of it, with pictures of what it is becoming where there is time for them."""
        self.attend()
        pictures = {}
        start = time.monotonic()
        if start >= self.next_preview:
            latents = self.generator.statistics.denormalise(denoised[: len(names)].float().cpu())
            pictures = {name: self.picture(each[None]) for name, each in zip(names, latents, strict=False)}
            end = time.monotonic()
            self.next_preview = end + (end - start) * (1 / PREVIEW_SHARE - 1)
        self.pipe.send(("step", step + 1, len(self.generator.sigmas(part[0])) - 1, pictures))

    def picture(self, latent: Tensor) -> str:
        """A small picture of a raw latent [1, C, D, H, W] as a data: address."""
        seen, opacity = Asset(self.generator.decode(latent), self.generator.settings).render(self.camera)
        pixels = (torch.cat([seen, opacity], 1)[0] * 255).round().to(torch.uint8).movedim(0, -1).numpy()
        data = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(data, "WEBP", quality=70, method=0)
        return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()

    def known_picture(self, number: int) -> str:
        """A picture of what the model makes of an object of its training; the last ones are remembered."""
        if number not in self.pictures:
            if len(self.pictures) >= MOST_PICTURES:
                self.pictures.clear()
            self.pictures[number] = self.picture(self.training.latent(number))
        return self.pictures[number]

    def keep(self, identity: str, asset: Asset, near: list[Neighbour]) -> None:
        """Write an object's volume, turntable, mesh and neighbours, and tell what is known of them."""
        place = AssetFolder(self.folder / "assets" / identity)
        beside = [{**each._asdict(), "picture": self.known_picture(each.number)} for each in near]
        write_text(place.path / NEAREST, json.dumps(beside) + "\n")
        place.save(asset, ALWAYS, AS_IT_IS, surface_for(None))
        place.save(asset, ["glb"], AS_IT_IS, surface_for(None))
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
        pipe.send(("ready", str(generator.device)))
        Maker(generator, pipe, Path(folder), training).run()


def usual() -> tuple[dict[str, Any], dict[str, Any] | None]:
    """How files are written where nothing is asked for: configurations of export and surface, plain values."""
    surface = surface_for(None)
    return config_to_dict(AS_IT_IS), config_to_dict(surface) if surface else None
