"""A tiny untrained model with its data, and a tiny protocol: what evaluation tests judge.

As a program, by torchrun: `judged_models.py MODEL DATA PROTOCOL OUTPUT` evaluates as one of several processes.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, get_args

import torch

from vader3d.autodecoder.train import AutodecoderTask
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.dataset import DataSet
from vader3d.diffusion.train import DiffusionTask
from vader3d.evaluation import chunks, runner
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.protocol import PictureSet
from vader3d.evaluation.report import write_report
from vader3d.evaluation.runner import evaluate, protocol_run
from vader3d.frozen.embeddings import FeatureNetwork, load_features
from vader3d.latents import robust_statistics
from vader3d.presets import preset
from vader3d.training.distributed import ONE_PROCESS, Processes, join_processes, leave_processes

PROTOCOL = {
    "name": "tiny",
    "version": 1,
    "measures": "tests",
    "source": "vader3d",
    "samples": 6,
    "views": 2,
    "features": ["tiny"],
    "poses": "heldout",
    "steps": [1, 2],
    "sets": list(get_args(PictureSet)),
    "metrics": ["frechet", "kernel", "precision_recall"],
    "reference": {"views": 2},
    "reconstruction": {"split": "heldout"},
    "memorisation": 4,
    "resamples": 50,
}
SMALL_CHUNK = 2  # so that tiny sets have several


def tiny_features(name: str, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """Twelve numbers of a picture: a network that costs nothing and needs no weights."""
    if name != "tiny":
        return load_features(name, device=device)
    mix = torch.randn(48, 12, generator=torch.Generator().manual_seed(0))
    return FeatureNetwork("tiny", "0" * 64, 4, lambda pictures: (pictures.flatten(1) @ mix).tanh())


def write_model(folder: Path, archive: DataSet, **changes: Any) -> Path:
    """The run folder of a stage 2 that was never trained; its volumes are not empty."""
    torch.manual_seed(0)
    tiny = preset("tiny")
    config = dataclasses.replace(tiny.autodecoder, code_std=1.0, **changes)
    task = AutodecoderTask(config, PosedViews(archive, training_views))
    with torch.no_grad():
        task.model.decoder.head.bias.fill_(0.5)
    task.snapshot(task.model.eval(), folder / "autodecoder.safetensors")
    latents = task.model.decoder.to_latent(task.model.codes(torch.arange(len(task.model.codes)))).detach()
    diffusion = DiffusionTask(tiny.diffusion, latents, robust_statistics(latents))
    diffusion.snapshot(diffusion.model, folder / "model.safetensors")
    return folder


def write_protocol(path: Path, **changes) -> Path:
    path.write_text(json.dumps(PROTOCOL | changes))
    return path


def judged_report(
    model: Path, data: Path, protocol: Path, output: Path, *, processes: Processes = ONE_PROCESS
) -> dict | None:
    """The report without its seconds."""
    evaluation = evaluate(
        open_judged_model(model, Archive(data), device="cpu"), protocol_run(protocol), output, processes=processes
    )
    if evaluation is None:
        return None
    write_report(evaluation, output)
    return timeless(json.loads((output / "report.json").read_text()))


def timeless(report: dict) -> dict:
    """Without what differs from one run to the next."""
    assert report.pop("seconds_by_stage")
    return {key: value for key, value in report.items() if not key.startswith("cpu_seconds_per_sample")}


if __name__ == "__main__":
    chunks.CHUNK, runner.load_features = SMALL_CHUNK, tiny_features
    processes = join_processes("cpu")
    judged_report(*map(Path, sys.argv[1:]), processes=processes)
    leave_processes()
