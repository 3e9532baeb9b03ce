"""Stage 1: learn codes and decoder from posed pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vader3d.autodecoder.codes import storage_note
from vader3d.autodecoder.extract import extract_latents
from vader3d.autodecoder.found_poses import JUDGED_OBJECTS, part_shares
from vader3d.autodecoder.losses import filled, mask_loss, perceptual_loss, pixel_loss
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, save_autodecoder
from vader3d.autodecoder.pose_learning import pose_learning, start_of, without_cameras
from vader3d.autodecoder.start import start_from
from vader3d.autodecoder.unseen import unseen_scores
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.stream import open_views
from vader3d.data.batches.turned import with_copies
from vader3d.data.batches.views import EVERY_PIXEL, Views, drawn_pixels
from vader3d.data.dataset import DataSet
from vader3d.data.shards.format import INDEX
from vader3d.data.shards.reader import Shards
from vader3d.export.turntable import contact_sheet
from vader3d.files import checksum_of, held, write_bytes
from vader3d.frozen.vgg import load_trunk
from vader3d.machine import CPU, autocast
from vader3d.progress import console
from vader3d.randomness import noise_of
from vader3d.render import render_views
from vader3d.text.captions import OBJECTS, write_objects
from vader3d.training.distributed import Processes, join_processes
from vader3d.training.log import log_once
from vader3d.training.loop import train
from vader3d.training.optimisers import optimisers_for, slowed, table_optimiser
from vader3d.training.run import ROOMS, RunNotes
from vader3d.training.state import has_state


class AutodecoderTask:
    """Stage 1 as the loop sees it."""

    def __init__(
        self, config: AutodecoderConfig, views: Views, *, init: Path | None = None, device: torch.device = CPU
    ):
        start = start_of(config, views)
        config, views = start.config, with_copies(start.views, config.yaw_copies)
        self.config, self.views, self.device = config, views, device
        torch.manual_seed(config.loop.seed)
        self.model = Autodecoder(config, len(self.views))
        if init is not None:
            start_from(self.model, config, init)
        self.model.to(device)
        self.blocks: list[nn.Module] = [block for level in self.model.decoder.levels for block in level.children()]
        self.views_per_object = config.views_per_object
        trunk = config.losses.trunk if config.losses.perceptual else "gradients"  # unused: no weights are asked for
        self.trunk = load_trunk(trunk, config.losses.trunk_weights if config.losses.perceptual else None)
        if isinstance(self.trunk, nn.Module):
            self.trunk.to(device)
        self.poses = pose_learning(self.model, start)
        table, head = self.model.codes.table, self.model.decoder.head.weight
        matrices = (head,) if config.decoder.subvoxels > 1 else ()  # most of the detail of sub-voxels is in the head
        optimiser = slowed(config.optimiser, config.decoder_rate)
        posing = [module for module in (self.model.posing, self.model.poses, self.model.parts) if module is not None]
        apart = (table.weight, *(weight for module in posing for weight in module.parameters()))
        self.optimisers = optimisers_for(self.model, optimiser, without=apart, matrices=matrices)
        self.optimisers.append(
            table_optimiser(table, config.codes.update, lr=config.code_lr, betas=config.optimiser.betas)
        )
        self.optimisers += self.poses.optimisers

    def begin(self) -> None:
        """Before the first step."""
        self.poses.begin()

    def losses(
        self, *, objects_seen: int, batch: int, progress: float, generator: torch.Generator, share: slice = slice(None)
    ) -> dict[str, Tensor]:
        """A share of one batch of objects, each seen in a few views: decode, render, compare."""
        config, seed = self.config, self.config.loop.seed
        pixels = drawn_pixels(config.pixel_stride, generator)
        target = self.views.training_batch(
            objects_seen=objects_seen,
            batch=batch,
            views=config.views_per_object,
            seed=seed,
            share=share,
            pixels=EVERY_PIXEL if self.poses.whole_pictures else pixels,
            device=self.device,
        )
        self.poses.check(target)
        target = target.to(self.device)
        with autocast(config.loop.precision, self.device):
            codes = noisy = self.model.codes(target.objects)
            if config.code_noise:
                places = range(objects_seen, objects_seen + batch)[share]
                noise = noise_of(places, (codes.shape[1],), seed=seed, device=self.device)
                noisy = codes + config.code_noise * noise
            volume = self.model.decoder(noisy)
        volume, target, parts, posed = self.poses.place(
            target, volume, progress=progress, pixels=pixels, generator=generator
        )
        faded = progress if config.noise_steps is None else min(1.0, objects_seen / batch / config.noise_steps)
        colour, opacity = render_views(
            volume,
            target.cameras,
            config.render,
            poses=parts,
            generator=generator,
            noise_factor=1 - faded,
            first_object=share.start or 0,
        )
        rendered, target_pictures = colour.flatten(0, 1), target.colour.flatten(0, 1)
        loss_weights = config.losses
        terms = {
            "perceptual": lambda: self.perceptual(rendered, target_pictures),
            "mask": lambda: mask_loss(opacity, target.mask.round() if loss_weights.binary_mask else target.mask),
            "pixel": lambda: pixel_loss(rendered, target_pictures),
            "code": lambda: codes.square().mean(),
            "matter": lambda: filled(volume),
        }
        used = {name: getattr(loss_weights, name) for name in terms if getattr(loss_weights, name)}
        return {name: weight * terms[name]() for name, weight in used.items()} | posed

    def perceptual(self, rendered: Tensor, target_pictures: Tensor) -> Tensor:
        """A trunk's convolutions in the run's precision; the cheap one without any in float32."""
        precision = self.config.loop.precision if isinstance(self.trunk, nn.Module) else "float32"
        with autocast(precision, self.device):
            return perceptual_loss(self.trunk, rendered, target_pictures, self.config.losses.scales)

    def names(self, *, objects_seen: int, batch: int, generator: torch.Generator, share: slice) -> list[str]:
        """The objects of a share of a batch."""
        target = self.views.training_batch(
            objects_seen=objects_seen, batch=batch, views=1, seed=self.config.loop.seed, share=share
        )
        records = self.views.archive.records
        return [records[number % len(records)].name for number in target.objects.tolist()]

    @torch.no_grad()
    def measures(self) -> dict[str, float]:
        """Of the codes of up to 1024 objects: mean, standard deviation, largest magnitude."""
        objects = torch.linspace(0, len(self.views) - 1, min(1024, len(self.views))).long().to(self.device)
        codes = self.model.codes(objects)
        numbers = {
            "code_mean": float(codes.mean()),
            "code_std": float(codes.std()),
            "code_largest": float(codes.abs().max()),
        }
        if self.model.parts is not None:
            few = objects[:: -(-len(objects) // JUDGED_OBJECTS)]
            numbers |= part_shares(self.model, few, self.config.parts.names)
        return numbers | self.poses.scores()

    @torch.no_grad()
    def preview(self, model: Autodecoder) -> Image | None:
        """The first view of eight objects, and below what the averaged model makes of it."""
        objects = self.views.readable(torch.linspace(0, len(self.views) - 1, min(8, len(self.views))).long())
        if not len(objects):
            return None
        target = self.views.views_of(objects, torch.zeros(len(objects), 1, dtype=torch.long)).to(self.device)
        volume = model(target.objects)
        cameras, parts = model.seen(volume, target)
        colour, _ = render_views(volume, cameras, self.config.render, poses=parts)
        return contact_sheet(torch.cat([target.colour, colour])[:, 0].cpu(), columns=len(objects))

    def snapshot(self, model: Autodecoder, path: Path) -> None:
        """The averaged autodecoder, whose table of parts has what its network finds, where that is all that finds."""
        self.poses.finish(model)
        save_autodecoder(path, model, self.config, data=self.views.archive.fingerprint)


def train_autodecoder(
    archive: DataSet, config: AutodecoderConfig, run: Path, *, init: Path | None = None, profile: int = 0
) -> Autodecoder:
    """Train on training views of `archive` in the folder `run`, or go on there; ends with model and latents on disk.

    Shards are streamed. Of objects that cannot be read no latents are written; the header then has `objects`. With
    `yaw_copies`, which it then has too, latent k N + o is that of object o turned by k * 360 / copies degrees.
    init: a trained autodecoder's weights, whose decoder is taken; `config.init` notes which. profile: so many steps are
    traced.
    """
    config = replace(config, init=checksum_of(init) if init else None)
    known = archive.records if isinstance(archive.records, list) else ()  # shards tell while they are read
    unposed = [record.name for record in known if not record.posed]
    if unposed and config.poses.source == "given":
        raise without_cameras(unposed[0])
    processes = join_processes(config.loop.device)
    with held(run, rooms=ROOMS, by=processes.is_main):
        return train_held(archive, config, run, processes, init=init, profile=profile)


def train_held(
    archive: DataSet, config: AutodecoderConfig, run: Path, processes: Processes, *, init: Path | None, profile: int
) -> Autodecoder:
    """`train_autodecoder` in a folder that no other command writes to."""
    notes = RunNotes("autodecoder", archive.fingerprint, config)
    notes.agree(processes)
    if processes.is_main:
        notes.check(run)
    views = open_views(archive, training_views, buffer=config.stream_buffer, report=console.print)
    task = AutodecoderTask(config, views, init=init, device=processes.device)
    config = task.config
    if processes.is_main:
        notes.write(run)  # now that all is there that training needs
        if isinstance(archive, Shards) and not archive.whole:
            write_bytes(run / INDEX, archive.index)
            console.print(f"{archive.path}: more is being made; this run is of the {len(archive)} objects so far")
        decoder = sum(parameter.numel() for parameter in task.model.decoder.parameters())
        console.print(storage_note(config.codes, len(task.views), config.decoder.code_length, decoder=decoder))
    if not has_state(run):
        task.begin()
    processes.wait()
    model = train(task, config.loop, run, title="autodecoder", processes=processes, profile=profile)
    readable = views.readable(torch.arange(len(views)).tensor_split(processes.size)[processes.rank])
    if processes.size > 1:
        readable = processes.gather_rows(readable.to(processes.device)).cpu()
    objects = (len(views) * torch.arange(config.yaw_copies)[:, None] + readable).flatten()
    header: dict[str, Any] = {} if config.yaw_copies == 1 else {"yaw_copies": config.yaw_copies}
    if len(readable) < len(views):
        header["objects"] = objects.tolist()
    if processes.is_main:
        if "objects" in header:
            console.print(f"{len(views) - len(readable)} of {len(views)} objects cannot be read: no latents of theirs")
        records = views.archive.records
        write_objects(run / OBJECTS, [records[number % len(views)] for number in objects.tolist()])

    def log(report: dict[str, float | None]) -> None:
        log_once(run, {f"latent_{name}": value for name, value in report.items() if value is not None})

    path = run / "latents.safetensors"
    extract_latents(model, task.views, config, path, objects=objects, header=header, told=log, processes=processes)
    if model.posing is not None and model.parts is None and processes.is_main:
        unseen = open_views(archive, heldout_views, buffer=config.stream_buffer, report=console.print)
        if scores := unseen_scores(model, unseen, config.render):
            log_once(run, scores)
    return model
