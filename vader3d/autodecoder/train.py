"""Stage 1: learn codes and decoder from posed pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vader3d.autodecoder.codes import storage_note
from vader3d.autodecoder.extract import extract_latents
from vader3d.autodecoder.found_poses import JUDGED_OBJECTS, found_scores, part_shares, place_found
from vader3d.autodecoder.losses import mask_loss, perceptual_loss, pixel_loss
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, save_autodecoder
from vader3d.autodecoder.part_start import learn_start, roughened, turn_as_far
from vader3d.autodecoder.parts import found_parts, part_scores, pull, started, true_poses
from vader3d.autodecoder.pose_table import most_views, nearest_hypotheses, place_table, table_of_poses_optimiser
from vader3d.autodecoder.posing import TRIED_PX, Hypotheses, chosen, leaning, picked, posing_optimiser, seen_by, smaller
from vader3d.autodecoder.start import start_from
from vader3d.autodecoder.unseen import unseen_scores
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.stream import open_views
from vader3d.data.batches.turned import with_copies
from vader3d.data.batches.views import EVERY_PIXEL, FrontViews, Pixels, PosedViews, ViewBatch, Views, drawn_pixels
from vader3d.data.dataset import DataSet
from vader3d.data.shards.format import INDEX
from vader3d.data.shards.reader import Shards
from vader3d.export.turntable import contact_sheet
from vader3d.files import checksum_of, held, write_bytes
from vader3d.frozen.vgg import load_trunk
from vader3d.machine import CPU, autocast
from vader3d.progress import console
from vader3d.randomness import noise_of
from vader3d.render import Volume, render_views
from vader3d.text.captions import OBJECTS, write_objects
from vader3d.training.distributed import Processes, join_processes
from vader3d.training.log import log_once
from vader3d.training.loop import train
from vader3d.training.optimisers import optimisers_for, slowed, table_optimiser
from vader3d.training.run import ROOMS, RunNotes
from vader3d.training.state import has_state

LEANING, BALANCED = 0.05, 0.1  # shares of the run in which these fade, where poses are learned


class AutodecoderTask:
    """Stage 1 as the loop sees it."""

    def __init__(
        self, config: AutodecoderConfig, views: Views, *, init: Path | None = None, device: torch.device = CPU
    ):
        if config.poses.source == "table" and config.parts.poses is None:
            config = replace(config, poses=replace(config.poses, table_views=most_views(config.poses, views)))
        count, channels = len(views), config.decoder.extra_channels
        if config.poses.source == "keypoints" and channels > 1:
            pictures = most_views(config.poses, views)
            parts, self.true_parts = found_parts(config.parts, views.archive.path, (count, pictures, channels))
            start = None
        else:
            parts, start = started(config.parts, views.archive, parts=channels)
            self.true_parts = None if start is None else true_poses(views.archive.path, start.shape)
        if start is not None and isinstance(views, PosedViews):
            views = FrontViews(views.archive, views.choose_views)
        config = replace(config, parts=parts)
        self.config, self.views, self.device = config, with_copies(views, config.yaw_copies), device
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
        posing = self.model.posing
        if posing is not None and config.yaw_copies > 1:
            raise ValueError(f"yaw_copies: wanted 1 where poses are learned; got {config.yaw_copies}")
        poses, moved = self.model.poses, self.model.parts
        if parts.passes and moved is not None and posing is None:
            raise ValueError(
                f"parts.passes: wanted 0 where no network learns the poses of the file; got {parts.passes}; "
                "--set poses.source=table"
            )
        if poses is not None and posing is not None:
            place_table(poses, config.poses, self.views, posing.bases[len(posing.bases) // 2], seed=config.loop.seed)
        if moved is not None and start is not None:
            self.rough_parts = roughened(start, noise=parts.start_noise, seed=config.loop.seed)
            moved.start.copy_(self.rough_parts.flatten(0, 1))
        table, head = self.model.codes.table, self.model.decoder.head.weight
        matrices = (head,) if config.decoder.subvoxels > 1 else ()  # most of the detail of sub-voxels is in the head
        optimiser = slowed(config.optimiser, config.decoder_rate)
        learned_poses = [module for module in (posing, poses, moved) if module is not None]
        apart = (table.weight, *(weight for module in learned_poses for weight in module.parameters()))
        self.optimisers = optimisers_for(self.model, optimiser, without=apart, matrices=matrices)
        self.optimisers.append(
            table_optimiser(table, config.codes.update, lr=config.code_lr, betas=config.optimiser.betas)
        )
        self.posing_seen: dict[str, float] = {}
        if moved is not None and self.model.finds_poses:
            moved.requires_grad_(False)  # filled at the end
        if posing is not None:
            self.posing_optimiser = posing_optimiser(posing)
            self.optimisers.append(self.posing_optimiser)
        if poses is not None:
            self.optimisers.append(table_of_poses_optimiser(poses, config.poses))
        if moved is not None and not self.model.finds_poses:
            self.optimisers.append(table_optimiser(moved.table, "rows", lr=parts.lr, betas=(0.9, 0.99)))

    def begin(self) -> None:
        """Before the first step: parts begin where their network sees them, if it is to learn their start."""
        passes = self.config.parts.passes
        if passes and self.model.parts is not None and not self.model.finds_poses:
            batch, each, seed = self.config.loop.batch, self.config.views_per_object, self.config.loop.seed
            learn_start(self.model, self.views, self.posing_optimiser, passes=passes, batch=batch, each=each, seed=seed)

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
            pixels=pixels if self.model.posing is None else EVERY_PIXEL,
            device=self.device,
        )
        self.check_posed(target)
        target = target.to(self.device)
        with autocast(config.loop.precision, self.device):
            codes = noisy = self.model.codes(target.objects)
            if config.code_noise:
                places = range(objects_seen, objects_seen + batch)[share]
                noise = noise_of(places, (codes.shape[1],), seed=seed, device=self.device)
                noisy = codes + config.code_noise * noise
            volume = self.model.decoder(noisy)
        posed: dict[str, Tensor] = {}
        moved = None
        if self.model.posing is not None:
            hypotheses = self.model.posing(torch.cat([target.colour, target.mask], 2), target.cameras, generator)
            self.posing_seen = {
                "poses_lost": float((~hypotheses.found).float().mean()),
                "depth_clamped": float(hypotheses.clamped),
            }
            posed = hypotheses.losses
            if self.model.finds_poses:
                volume = leaning(volume, config.poses.lean * (1 - progress / LEANING))
                target, moved = self.pose(target, volume, hypotheses, progress, pixels)
            elif self.model.parts is not None and target.numbers is not None:
                table = self.model.parts(target.objects, target.numbers)
                posed["distil"] = config.poses.distil * nearest_hypotheses(hypotheses.poses, table)[0]
                target = target.strided(pixels)
        if self.model.parts is not None and not self.model.finds_poses:
            if progress >= config.parts.turned and not self.model.parts.turned:
                turn_as_far(self.model.parts, self.rough_parts)
            moved = self.model.parts.of_batch(target, held=progress < config.parts.hold)
            if config.parts.stay and target.numbers is not None:
                posed["stay"] = config.parts.stay * self.model.parts.shifts(target.objects, target.numbers)
        if moved is not None and config.parts.pull:
            posed["pull"] = config.parts.pull * pull(moved, volume)
        faded = progress if config.noise_steps is None else min(1.0, objects_seen / batch / config.noise_steps)
        colour, opacity = render_views(
            volume,
            target.cameras,
            config.render,
            poses=moved,
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
        }
        used = {name: getattr(loss_weights, name) for name in terms if getattr(loss_weights, name)}
        return {name: weight * terms[name]() for name, weight in used.items()} | posed

    def check_posed(self, target: ViewBatch) -> None:
        """ValueError where cameras are the data's, and one object's are not known."""
        if self.model.posing is None and (unknown := target.cameras.world_from_camera.isnan().flatten(1).any(1)).any():
            records = self.views.archive.records
            raise without_cameras(records[int(target.objects[unknown][0]) % len(records)].name)

    def pose(
        self, target: ViewBatch, volume: Volume, hypotheses: Hypotheses, progress: float, pixels: Pixels
    ) -> tuple[ViewBatch, Tensor | None]:
        """What to compare, small at first, with the cameras that it is compared from, and the poses of parts."""
        config = self.config.poses
        if self.model.poses is None:
            balance = config.balance * max(0.0, 1 - progress / BALANCED)
            numbers = chosen(volume, hypotheses, target, balance=balance)
            poses = picked(hypotheses.poses, numbers)
        else:
            assert target.numbers is not None
            poses = self.model.poses(target.objects, target.numbers)[:, :, None]
            away, numbers = nearest_hypotheses(hypotheses.poses, poses)
            hypotheses.losses["distil"] = config.distil * away
            poses = poses.detach() if progress < config.hold else poses
        counts = torch.bincount(numbers.flatten(), minlength=hypotheses.found.shape[2]) / numbers.numel()
        self.posing_seen |= {f"hypothesis_{i}": value for i, value in enumerate(counts.tolist())}
        seen = smaller(target, TRIED_PX) if progress < config.coarse else target.strided(pixels)
        cameras, parts = seen_by(poses, seen.cameras)
        return replace(seen, cameras=cameras), parts

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
        if self.model.parts is not None and self.true_parts is not None and not self.model.finds_poses:
            numbers |= part_scores(self.model.parts, self.true_parts, self.config.parts.names)
        if self.model.parts is not None:
            few = objects[:: -(-len(objects) // JUDGED_OBJECTS)]
            numbers |= part_shares(self.model, few, self.config.parts.names)
        if self.model.posing is not None:
            numbers |= self.posing_seen | found_scores(self.model, self.views, self.true_parts, self.config.parts.names)
        return numbers

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
        if model.parts is not None and model.finds_poses:
            place_found(model, self.views.archive)
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


def without_cameras(name: str) -> ValueError:
    """The error of a training that was to take its cameras from an object without."""
    return ValueError(
        f"poses.source: wanted keypoints for objects without cameras; got given, and {name!r} has none; "
        "--preset chairs-no-cameras or --set poses.source=keypoints"
    )


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
