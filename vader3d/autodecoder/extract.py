"""The end of stage 1: all latents and how well they decode."""

import os
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.data.batches.views import Views
from vader3d.latents import IQR_TO_STD, LatentStatistics, LatentsWriter, chunks, distribution, latent_statistics
from vader3d.measures.pictures import psnr
from vader3d.render import Volume, render_views
from vader3d.training.distributed import ONE_PROCESS, Processes
from vader3d.training.errors import TrainingDiverged

CLIPS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0)
CLIP_LOSS_DB = 0.1
OBJECTS_PER_BATCH = 16


@torch.no_grad()
def training_latents(model: Autodecoder, objects: Tensor | None = None) -> Iterator[Tensor]:
    """G1 of every code, or of those of `objects`, in evaluation mode: [n, C, D, H, W] in float32, a batch at a time.

    TrainingDiverged: some are not finite.
    """
    model.eval()
    numbers = torch.arange(len(model.codes)) if objects is None else objects
    for part in numbers.to(model.codes.table.weight.device).split(OBJECTS_PER_BATCH):
        yield finite(model.decoder.to_latent(model.codes(part)).float().cpu(), what="latents", source="weights")


def finite(values: Tensor, *, what: str, source: str) -> Tensor:
    """The values; TrainingDiverged where there is nothing that could be handed on."""
    if not values.isfinite().all():
        raise TrainingDiverged(f"{what}: wanted finite ones; got others from finite {source}; lower the learning rate")
    return values


@torch.no_grad()
def decode(model: Autodecoder, latents: Tensor) -> Volume:
    """G2 in evaluation mode, in batches."""
    model.eval()
    device = model.decoder.stem.weight.device
    volumes = [model.decoder.to_volume(part.to(device, torch.float32)) for part in latents.split(OBJECTS_PER_BATCH)]
    return volumes[0].with_grid(torch.cat([volume.grid for volume in volumes]))


@torch.no_grad()
def mean_psnr(model: Autodecoder, latents: Tensor, objects: Tensor, views: Views, config: AutodecoderConfig) -> float:
    """Mean PSNR in dB of the first two views of `objects` as decoded from `latents` [len(objects), ...].

    TrainingDiverged: they decode to pictures that are not finite.
    """
    numbers = torch.arange(2).clamp_max(min(views.view_count(o) for o in objects.tolist()) - 1)
    target = views.views_of(objects, numbers.expand(len(objects), 2))
    volume = decode(model, latents)
    target = target.to(volume.grid.device)
    cameras, parts = model.seen(volume, target)
    colour, _ = render_views(volume, cameras, config.render, poses=parts)
    return float(psnr(finite(colour, what="pictures", source="latents"), target.colour).mean())


def some_rows(latents: Tensor) -> Tensor:
    """The numbers of up to 32 latents, evenly spread."""
    return torch.linspace(0, len(latents) - 1, min(len(latents), 32)).long().unique()


def measured_clip(
    model: Autodecoder,
    latents: Tensor,
    statistics: LatentStatistics,
    views: Views,
    config: AutodecoderConfig,
    *,
    objects: Tensor,
) -> tuple[float | None, float]:
    """The smallest clip that costs less than 0.1 dB on training views, or None, and the dB it costs (A12)."""
    rows = some_rows(latents)
    latents, objects = latents[rows], objects[rows]
    unclipped = mean_psnr(model, latents, objects, views, config)
    for clip in CLIPS:
        clipped = LatentStatistics(statistics.median, statistics.spread, statistics.latent_scale, clip)
        through = clipped.denormalise(clipped.normalise(latents))
        loss = unclipped - mean_psnr(model, through, objects, views, config)
        if loss < CLIP_LOSS_DB:
            return clip, loss
    return None, 0.0


def extract_latents(
    model: Autodecoder,
    views: Views,
    config: AutodecoderConfig,
    path: Path,
    *,
    objects: Tensor,
    header: dict[str, Any] | None = None,
    told: Callable[[dict[str, float | None]], None] = lambda report: None,
    processes: Processes = ONE_PROCESS,
) -> None:
    """Write latents [N, C, D, H, W] of `objects` [N] to `path`, with the statistics stage 2 normalises them with.

    A batch at a time is in memory; each of the processes writes its share of the objects. `told` gets a report on their
    tails before the file takes its name, which is the last thing done; the file's header has the report beside
    `header` (A11, A12): the clip, what it costs and touches;
    median and interquartile range, means over the groups (by moments: the mean, and that range of a normal
    distribution); PSNR in dB of training views decoded from plain and from normalised, clipped latents; true moments;
    of latents stored as float16 the root mean square and the largest of what rounding took, in spreads.
    """
    shape, stored = (len(objects), *config.decoder.latent_shape), config.latents.stored
    shares = objects.tensor_split(processes.size)
    first = sum(len(share) for share in shares[: processes.rank])
    if not processes.is_main:
        began = int(processes.gather([0.0])[0, 0])
        with LatentsWriter(path, shape, header or {}, stored=stored, help=began) as helper:
            helper.begin(first)
            for part in training_latents(model, shares[processes.rank]):
                helper.add(part)
        processes.gather(helper.rounding.tolist())
        return
    with LatentsWriter(path, shape, header or {}, stored=stored) as writer:
        processes.gather([float(os.getpid())])  # the file is there
        for part in training_latents(model, shares[0]):
            writer.add(part)
        rounding = processes.gather(writer.rounding.tolist())  # all is in it
        statistics, report = described(writer.written, model, views, config, objects=objects)
        if stored != "float32":
            spread = float(statistics.spread.mean())
            report["rounding"] = float(rounding[:, 0].sum() / prod(shape)) ** 0.5 / spread
            report["largest_rounding"] = float(rounding[:, 1].max()) / spread
        told(report)
        writer.finish(statistics, {"report": report})


def described(
    latents: Tensor, model: Autodecoder, views: Views, config: AutodecoderConfig, *, objects: Tensor
) -> tuple[LatentStatistics, dict[str, float | None]]:
    """The statistics of latents [N, C, D, H, W], and the report of `extract_latents`."""
    settings = config.latents
    statistics = latent_statistics(latents, settings)
    clip, clip_loss = settings.clip, 0.0
    if settings.measure_clip and clip is None:
        clip, clip_loss = measured_clip(model, latents, statistics, views, config, objects=objects)
        statistics = LatentStatistics(statistics.median, statistics.spread, settings.latent_scale, clip)
    report = {"clip": clip, "clip_loss_db": clip_loss, "clipped_share": statistics.clipped_share(latents)}
    report |= {"median": float(statistics.median.mean()), "iqr": float(statistics.spread.mean()) / IQR_TO_STD}
    rows = some_rows(latents)
    through = statistics.denormalise(statistics.normalise(latents[rows]))
    report["psnr_db"] = mean_psnr(model, latents[rows], objects[rows], views, config)
    report["clipped_psnr_db"] = mean_psnr(model, through, objects[rows], views, config)
    report |= {f"raw_{name}": value for name, value in distribution(chunks(latents)).items()}
    normalised = distribution(map(statistics.normalise, chunks(latents)))
    return statistics, report | {f"normalised_{name}": value for name, value in normalised.items()}
