"""People whom a model of moving subjects never saw, judged by truth."""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from vader3d.assets import Asset
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.autodecoder.posing import found_in
from vader3d.autodecoder.reconstruct import ReconstructConfig
from vader3d.data.archive.reader import Archive
from vader3d.data.batches.views import Picked, view_batch
from vader3d.evaluation.motion import mean_scores, motion_scores
from vader3d.export.mesh import EmptyVolumeError
from vader3d.generate.reconstruct import reconstructed
from vader3d.measures.articulated import moving_scores
from vader3d.progress import track


def judge_strangers(
    model: Autodecoder,
    config: AutodecoderConfig,
    archive: Archive,
    truth: dict[str, Tensor],
    names: tuple[str, ...],
    *,
    clips: int,
    search: ReconstructConfig,
) -> tuple[dict[str, Any], Image]:
    """Some clips of people whom the model never saw, each found as `vader3d reconstruct` does: report and picture.

    truth: what `read_truth` gives of all clips. By part: `NAME_found_...`, of what the search finds, and
    `NAME_network_...`, where a network tells poses, each with its controls (`moving_scores`). PSNR inside the mask of
    held-out frames by the mean person, the nearest known one, the code found, and the decoder after it.
    """
    chosen = np.unique(np.linspace(0, len(archive) - 1, clips).round().astype(int)).tolist()
    ways: dict[str, list[Tensor]] = {}
    psnrs: list[dict[str, float]] = []
    moving: list[dict[str, float]] = []
    for clip in track(chosen, "strangers", total=len(chosen)):
        views = archive.read(clip)
        found, judged, sheet, searched = reconstructed(model, config, views, search)
        assert searched is not None
        ways.setdefault("found", []).append(searched)
        if model.posing is not None:
            whole = view_batch(torch.zeros(1, dtype=torch.long), [Picked(views, range(len(views.pictures)))])
            whole = whole.to(searched.device)
            with torch.no_grad():
                ways.setdefault("network", []).append(found_in(model.posing, found.volumes["fine"], whole)[0])
        psnrs.append(judged["foreground_psnr"])
        with torch.no_grad(), suppress(EmptyVolumeError):
            asset = Asset(found.volumes["fine"], config.render)
            moving.append(motion_scores(asset, searched.cpu(), truth, clip))
    report: dict[str, Any] = {"clips": len(chosen), "parts": list(names)}
    for way, each in ways.items():
        turns = torch.stack(each).cpu()[..., :3]
        for part, name in enumerate(names):
            scores = moving_scores(turns[:, :, part], truth["poses"][chosen, :, part, :, :3])
            report |= {f"{name}_{way}_{key}": round(value, 3) for key, value in scores.items()}
    report |= {f"heldout_psnr_{by}": round(sum(each[by] for each in psnrs) / len(psnrs), 2) for by in psnrs[0]}
    report |= mean_scores(moving)
    return report, sheet
