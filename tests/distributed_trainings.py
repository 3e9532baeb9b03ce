"""Short trainings of both stages, alone or as one of several processes.

As a program, by torchrun: `distributed_trainings.py FOLDER` trains both stages in FOLDER whole, from `half-alone` on,
up to half, and with batches in two parts.
"""

import dataclasses
import signal
import sys
from pathlib import Path

import torch

from vader3d.autodecoder.extract import extract_latents
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.diffusion.train import DiffusionTask
from vader3d.latents import robust_statistics
from vader3d.presets import preset
from vader3d.training.distributed import ONE_PROCESS, Processes, join_processes, leave_processes
from vader3d.training.errors import Terminated
from vader3d.training.loop import train

BATCH, STEPS = 4, 6
HALF = BATCH * STEPS // 2
STAGES = ("autodecoder", "diffusion")


def short(config, **changes):
    """The configuration with a loop of a few exact steps that logs each of them."""
    loop = dataclasses.replace(
        config.loop,
        objects_seen=BATCH * STEPS,
        batch=BATCH,
        precision="float32",
        log_seconds=0.0,
        gradient_clip=1.0,
        checkpoint_seconds=1e9,
        preview_seconds=1e9,
        device="cpu",
        **changes,
    )
    return dataclasses.replace(config, loop=loop)


def task_of(stage: str, folder: Path, **changes):
    """`fresh_task`, whose Adams do not make long steps of gradients that are rounding errors (biases before norms)."""
    task = fresh_task(stage, folder, **changes)
    for optimiser in task.optimisers:
        optimiser.param_groups[0]["eps"] = 1e-4
    return task


def fresh_task(stage: str, folder: Path, **changes):
    """A task of the tiny preset, with all the randomness there is, on the same data everywhere."""
    recipe = preset("tiny")
    if stage == "autodecoder":
        config = short(recipe.autodecoder, **changes)
        render = dataclasses.replace(config.render, density_noise=0.5)
        codes = dataclasses.replace(config.codes, update="faded")
        config = dataclasses.replace(config, render=render, code_noise=0.05, codes=codes)
        return AutodecoderTask(config, PosedViews(Archive(folder / "things.zip"), training_views))
    latents = torch.randn(6, 4, 4, 4, 4, generator=torch.Generator().manual_seed(7))
    return DiffusionTask(short(recipe.diffusion, **changes), latents, robust_statistics(latents))


def stopping(task, at: int, *, processes: Processes):
    """The task, with a SIGTERM to the last process in the step that begins at `at`."""
    losses = task.losses

    def stopped(*, objects_seen, **step):
        if objects_seen == at and processes.rank == processes.size - 1:
            signal.raise_signal(signal.SIGTERM)
        return losses(objects_seen=objects_seen, **step)

    task.losses = stopped
    return task


def trained(folder: Path, name: str, *, stop: bool = False, processes: Processes = ONE_PROCESS, **changes) -> None:
    """Both stages in folder/name/stage; with `stop`, up to half."""
    for stage in STAGES:
        run = folder / name / stage
        run.mkdir(parents=True, exist_ok=True)
        task = task_of(stage, folder, **changes)
        task = stopping(task, HALF - BATCH, processes=processes) if stop else task
        try:
            train(task, task.config.loop, run, title=stage, processes=processes)
        except Terminated:
            assert stop


def extracted(folder: Path, name: str, *, processes: Processes = ONE_PROCESS) -> None:
    """The latents of an untrained stage 1, as float16."""
    task = task_of("autodecoder", folder)
    config = dataclasses.replace(task.config, latents=dataclasses.replace(task.config.latents, stored="float16"))
    objects = torch.arange(len(task.views))
    path = folder / f"{name}.safetensors"
    extract_latents(task.model, task.views, config, path, objects=objects, processes=processes)


if __name__ == "__main__":
    folder, processes = Path(sys.argv[1]), join_processes("cpu")
    trained(folder, "whole-together", processes=processes)
    trained(folder, "half-alone", processes=processes)
    trained(folder, "half-together", processes=processes, stop=True)
    trained(folder, "accumulated-together", processes=processes, accumulate=2)
    extracted(folder, "latents-together", processes=processes)
    leave_processes()
