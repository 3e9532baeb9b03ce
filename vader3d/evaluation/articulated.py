"""Models of moving subjects, judged by truth that training did not read.

By clips of `vader3d prepare heads`: those that training saw, other takes of their people, or other people. Held-out
frames' poses are refined by their own pictures; scores of the start stand beside. Each score has its control.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from vader3d.assets import Asset
from vader3d.autodecoder.found_poses import first_poses
from vader3d.autodecoder.model import Autodecoder, load_autodecoder
from vader3d.autodecoder.parts import PartPoses, from_rest, refined_parts
from vader3d.autodecoder.reconstruct import ReconstructConfig
from vader3d.config import Checked, ranged
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import Picked, ViewBatch, numbered, view_batch
from vader3d.data.making.heads import is_new_take, novel_path, read_truth
from vader3d.evaluation.motion import mean_scores, motion_scores
from vader3d.evaluation.new_people import judge_new_people
from vader3d.evaluation.strangers import judge_strangers
from vader3d.export.mesh import EmptyVolumeError
from vader3d.export.triangles import png_bytes
from vader3d.export.turntable import contact_sheet
from vader3d.files import held, write_bytes, write_text
from vader3d.generate.animate import agreement, skinned
from vader3d.generate.generator import opened
from vader3d.geometry.cameras import DISTANCE, Cameras, front_camera
from vader3d.geometry.skinning import nearest_pose
from vader3d.hub import autodecoder_file, model_folder
from vader3d.measures.articulated import correlation, flat_card, jitter, leakage, moving_scores, parts_iou
from vader3d.measures.pictures import foreground_psnr
from vader3d.progress import track
from vader3d.render import RenderConfig, Volume, render_views, render_volume
from vader3d.snapshots import MODEL
from vader3d.text.captions import OBJECTS, read_objects

NAME = "articulated"
DENSITY_SHOWN = 0.5  # opacity from which a pixel shows something
FEATURE_PX = 4  # of the small pictures by which identities are told


@dataclass(frozen=True)
class ArticulatedConfig(Checked):
    """How much is judged."""

    clips: int = ranged(24, at_least=2)
    refinement: int = ranged(60, at_least=0)  # steps that a held-out frame's poses learn by its picture
    rate: float = ranged(0.02, above=0)
    grid: int = ranged(12, at_least=2)  # identities, each driven by the clips of all
    new_people: int = ranged(64, at_least=2)  # drawn by stage 2, where there is one
    exported: int = ranged(12, at_least=1)  # objects whose skinned meshes are compared with their volumes
    strangers: int = ranged(6, at_least=1)  # clips that training did not see, in which poses are found
    search: ReconstructConfig = field(default_factory=ReconstructConfig)  # by which those are found


def evaluate_articulated(
    model: str | Path, data: str | Path, output: Path, *, how: ArticulatedConfig | None = None
) -> dict[str, Any]:
    """Judge a model of parts by its clips' truth, or by that of others; report.json, novel.png. The report.

    ValueError: a model without parts, or data without truth beside them.
    """
    how, folder = how or ArticulatedConfig(), model_folder(model)
    known, config, header = load_autodecoder(autodecoder_file(folder))
    if known.parts is None:
        raise ValueError("model: wanted one that learned parts (parts.poses); got another")
    archive, (truth, names) = Archive(data), read_truth(Path(data))
    if len(names) != known.parts.parts:
        raise ValueError(f"data: wanted clips of {known.parts.parts} parts; got {', '.join(names)}")
    learned = archive.fingerprint == header.get("data")
    people = list(range(len(archive))) if learned else known_people(folder / OBJECTS, archive)
    with held(output):
        if people:
            novel = Archive(novel_path(Path(data)))
            judge = Judge(known, known.parts, config.render, archive, novel, truth, people, learned)
            report, sheet = judge.report(names, how)
            if learned and autodecoder_file(folder) != folder / MODEL:
                report |= judge_new_people(opened(folder, device="cpu"), archive, count=how.new_people)
        else:
            report, sheet = judge_strangers(
                known, config, archive, truth, names, clips=how.strangers, search=how.search
            )
        whom = "training" if learned else "training, other takes" if people else "unseen"
        report = {"protocol": NAME, "people": whom, **report}
        write_bytes(output / "novel.png", png_bytes(sheet))
        write_text(output / "report.json", json.dumps(report, indent=1, sort_keys=True) + "\n")
    return report


def known_people(objects: Path, archive: Archive) -> list[int]:
    """The numbers, among the model's objects, of the people in other takes; []: others than it learned from."""
    if not is_new_take(Path(archive.path)) or not objects.is_file():
        return []
    numbers = {each.name: number for number, each in enumerate(read_objects(objects))}
    names = [record.name for record in archive.records]
    return [numbers[name] for name in names] if numbers.keys() >= {*names} else []


@dataclass
class Judge:
    """A model beside the truth of clips of the people it knows, `people` [N] among its objects.

    learned: it learned from these clips, and its table has their poses; or else they are found.
    """

    model: Autodecoder
    parts: PartPoses
    render: RenderConfig
    archive: Archive
    novel: Archive
    truth: dict[str, Tensor]
    people: list[int]
    learned: bool

    def report(self, names: tuple[str, ...], how: ArticulatedConfig) -> tuple[dict[str, Any], Image]:
        clips = np.unique(np.linspace(0, len(self.archive) - 1, how.clips).round().astype(int)).tolist()
        report: dict[str, Any] = {"clips": len(clips), "parts": list(names)}
        report |= self.poses(names) if self.learned else self.found(clips[: how.strangers], names, how)
        each, rows = [], []
        for clip in track(clips, "clips", total=len(clips)):
            scores, row = self.judged_frame(clip, how)
            each.append(scores)
            rows.append(row)
        report |= {key: round(sum(scores[key] for scores in each) / len(each), 4) for key in each[0]}
        if self.learned:
            report |= self.grid(clips[: how.grid])
            report |= self.exported(clips[: how.exported], names)
        shown = rows[:8]
        return report, contact_sheet(torch.cat(shown), columns=len(shown[0]))

    @torch.no_grad()
    def poses(self, names: tuple[str, ...]) -> dict[str, float]:
        """Of the training frames, by part."""
        frames = torch.tensor(training_views(self.parts.pictures))
        found = self.parts(torch.arange(len(self.archive)), frames.expand(len(self.archive), -1))
        scores: dict[str, float] = {}
        for part, name in enumerate(names):
            ours, true = found[:, :, part, :, :3], self.truth["poses"][:, frames, part, :, :3]
            scores |= {f"{name}_{key}": round(value, 3) for key, value in moving_scores(ours, true).items()}
            scores |= {f"{name}_jitter": round(jitter(ours), 3), f"{name}_true_jitter": round(jitter(true), 3)}
        return scores

    def found(self, clips: list[int], names: tuple[str, ...], how: ArticulatedConfig) -> dict[str, float]:
        """Of all frames of clips, by part: poses as they are first found, and as they are refined by the pictures."""
        ways: dict[str, list[Tensor]] = {"first": [], "refined": []}
        moving: list[dict[str, float]] = []
        for clip in track(clips, "poses", total=len(clips)):
            target = self.frames(clip, range(self.truth["poses"].shape[1]))
            with torch.no_grad():
                volume = self.volume(clip)
                first = self.start(volume, target)
            refined = refined_parts(volume, target, first, self.render, steps=how.refinement, rate=how.rate)
            for way, poses in (("first", first), ("refined", refined)):
                ways[way].append(from_rest(poses, target.cameras)[0])
            with torch.no_grad(), suppress(EmptyVolumeError):
                moving.append(motion_scores(Asset(volume, self.render), ways["refined"][-1], self.truth, clip))
        scores: dict[str, float] = {}
        for way, each in ways.items():
            turns = torch.stack(each)[..., :3]
            for part, name in enumerate(names):
                these = moving_scores(turns[:, :, part], self.truth["poses"][clips, :, part, :, :3])
                scores |= {f"{name}_{way}_{key}": round(value, 3) for key, value in these.items()}
        return scores | mean_scores(moving)

    def volume(self, clip: int) -> Volume:
        return self.model(torch.tensor([self.people[clip]]))

    def start(self, volume: Volume, target: ViewBatch) -> Tensor:
        """Poses, from the world to rest, before they are refined: the table's, or what is found in the pictures."""
        if self.learned:
            return self.parts.of_batch(target)
        return first_poses(self.model, volume, target, self.render)

    def judged_frame(self, clip: int, how: ArticulatedConfig) -> tuple[dict[str, float], Tensor]:
        """Scores of the held-out frame of a clip, from where it was seen and from its sides, and pictures of those."""
        frame = int(self.truth["judged"][clip])
        target = self.frames(clip, [frame])
        with torch.no_grad():
            volume = self.volume(clip)
            start = self.start(volume, target)
            rough, _ = render_views(volume, target.cameras, self.render, poses=start)
        poses = refined_parts(volume, target, start, self.render, steps=how.refinement, rate=how.rate)
        scores = {"heldout_psnr_at_start": self.inside(rough, target)}
        if self.model.posing is not None:
            with torch.no_grad():
                seen_as = first_poses(self.model, volume, target, self.render)
                predicted, _ = render_views(volume, target.cameras, self.render, poses=seen_as)
            scores["heldout_psnr_network"] = self.inside(predicted, target)
        with torch.no_grad():
            seen = render_volume(
                with_shares(volume, self.parts.parts), target.cameras.rays(), self.render.march(), poses=poses
            )
        size = (target.cameras.height, target.cameras.width)
        colour = seen.colour.view(1, 1, *size, 3).movedim(-1, 2)
        scores["heldout_psnr"] = self.inside(colour, target)
        true_depth, labels = self.truth["depth"][clip], self.truth["parts"][clip].long()
        solid = (labels != 255) & (seen.opacity.view(size) > DENSITY_SHOWN)
        depth = seen.depth.view(size) / seen.opacity.view(size).clamp_min(1e-3)
        scores["depth_correlation"] = correlation(depth, true_depth, solid)
        other = self.truth["depth"][(clip + 1) % len(self.archive)]
        scores["depth_correlation_of_another"] = correlation(other, true_depth, solid & (other > 0))
        scores["parts_iou"] = parts_iou(seen.extra.view(*size, -1).argmax(-1), labels, self.parts.parts)
        scores["parts_iou_of_one_part"] = parts_iou(torch.zeros_like(labels), labels, self.parts.parts)
        sides, row = self.sides(clip, frame, volume, poses, target)
        return scores | sides, torch.cat([target.colour[0, :1], colour[0].clamp(0, 1), row])

    def frames(self, clip: int, numbers: Sequence[int]) -> ViewBatch:
        picked = [Picked(self.archive.read(clip), numbers)]
        return numbered(view_batch(torch.tensor([clip]), picked), picked)

    @torch.no_grad()
    def sides(
        self, clip: int, frame: int, volume: Volume, poses: Tensor, target: ViewBatch
    ) -> tuple[dict[str, float], Tensor]:
        """PSNRs inside the mask of novel views of a frame, by how far they are turned, and of a flat card there."""
        views = self.novel.read(clip)
        true = view_batch(torch.tensor([0]), [Picked(views, range(len(views.pictures)))])
        between = torch.linalg.inv(self.truth["cameras"][clip, frame]) @ views.cameras.world_from_camera
        matrices = target.cameras.world_from_camera[0] @ between
        count = len(matrices)
        cameras = Cameras(matrices[None], true.cameras.intrinsics, target.cameras.height, target.cameras.width)
        colour, _ = render_views(volume, cameras, self.render, poses=poses.expand(1, count, -1, -1, -1))
        picture = target.colour[0, 0]
        card = flat_card(picture, target.cameras.intrinsics[0, 0], between, DISTANCE)
        turned = degrees_of(between)
        ours = foreground_psnr(colour[0].clamp(0, 1), true.colour[0], true.mask[0])
        flat = foreground_psnr(card, true.colour[0], true.mask[0])
        scores = {}
        for degrees in sorted({*turned}):
            some = torch.tensor([each == degrees for each in turned])
            scores[f"novel_psnr_{degrees}"] = float(ours[some].mean())
            scores[f"flat_card_psnr_{degrees}"] = float(flat[some].mean())
        return scores, torch.cat([true.colour[0, -1:], colour[0, -1:].clamp(0, 1), card[-1:]])

    @torch.no_grad()
    def grid(self, clips: list[int]) -> dict[str, float]:
        """Identities driven by one another's clips: whose look is kept, and whether the driver's shows through.

        They are told by how they look in one pose, the mean of all: how each turns in its own clip would tell it too.
        """
        frame = self.parts.pictures // 2
        targets = [self.frames(clip, [frame]) for clip in clips]
        poses = torch.cat([self.parts.of_batch(target) for target in targets], 1)
        poses = torch.cat([poses, nearest_pose(poses.mean(1, keepdim=True))], 1)
        cameras = targets[0].cameras[:, [0] * poses.shape[1]]  # all stand alike
        pictures = [
            features(render_views(self.model(torch.tensor([clip])), cameras, self.render, poses=poses)[0][0])
            for clip in clips
        ]
        *swapped, own = torch.stack(pictures, 1)
        return {key: round(value, 4) for key, value in leakage(torch.stack(swapped, 1), own).items()}

    @torch.no_grad()
    def exported(self, clips: list[int], names: tuple[str, ...]) -> dict[str, float | None]:
        """Of skinned meshes: PSNR in dB with the volumes' own frames, inside the mask, None where all are empty; and
        `motion_scores`.
        """
        psnrs, moving = [], []
        rows = torch.arange(self.truth["poses"].shape[1])[None]
        for clip in clips:
            asset = Asset(self.volume(clip), self.render)
            motion = self.parts.motion(clip, names, front_camera(1).world_from_camera[0])
            try:
                psnrs.append(agreement(asset, *skinned(asset), motion))
                moving.append(motion_scores(asset, self.parts(torch.tensor([clip]), rows)[0], self.truth, clip))
            except EmptyVolumeError:
                continue
        return {"export_psnr": round(sum(psnrs) / len(psnrs), 2) if psnrs else None, **mean_scores(moving)}

    @staticmethod
    def inside(colour: Tensor, target: ViewBatch) -> float:
        return float(foreground_psnr(colour.clamp(0, 1), target.colour, target.mask).mean())


def with_shares(volume: Volume, parts: int) -> Volume:
    """The volume with the parts' shares behind the skinning logits: they are rendered."""
    grid = volume.grid
    return volume.with_grid(torch.cat([grid[:, : 4 + parts], grid[:, 4 : 4 + parts].softmax(1)], 1))


def degrees_of(between: Tensor) -> list[int]:
    """By how much cameras [V, 4, 4] are turned beside another, to 15 degrees."""
    angles = between[:, 2, 2].clamp(-1, 1).arccos().rad2deg()
    return [int(each) for each in (angles / 15).round() * 15]


def features(pictures: Tensor) -> Tensor:
    """Small pictures [N, C] of pictures [N, 3, H, W]: colours, and hardly where they are."""
    return torch.nn.functional.interpolate(pictures, size=(FEATURE_PX,) * 2, mode="area").flatten(1)
