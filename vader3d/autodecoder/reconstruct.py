"""An unseen object from its pictures: its code, then the decoder.

Where a model knows parts, each picture's begin at those of a known one that looks most alike, and learn with the code.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.autodecoder.codes import CodeConfig
from vader3d.autodecoder.decoder import Decoder
from vader3d.autodecoder.found_poses import first_poses
from vader3d.autodecoder.losses import LossConfig, mask_loss, perceptual_loss, pixel_loss
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.autodecoder.parts import moved_by, smoothed
from vader3d.autodecoder.posing import TRIED_PX, TRIED_SAMPLES, shrunk
from vader3d.config import Checked, ranged
from vader3d.data.batches.views import ViewBatch, drawn_pixels
from vader3d.frozen.vgg import load_trunk
from vader3d.progress import track
from vader3d.randomness import seeded
from vader3d.render import RenderConfig, Volume, render_views


@dataclass(frozen=True)
class ReconstructConfig(Checked):
    """How an object is found. Rates and noise of codes are in the standard deviations that known codes have."""

    steps: int = ranged(300, at_least=0)  # in which the code alone learns
    fine_steps: int = ranged(100, at_least=0)  # in which the decoder learns, too
    views: int = ranged(4, at_least=1)  # compared in a step
    candidates: int = ranged(64, at_least=0)  # known objects, of which the most alike is the start; 0: their mean is
    code_lr: float = ranged(0.05, above=0)
    code_noise: float = ranged(0.5, at_least=0)  # on the code, gone after half of its steps
    fine_lr: float = ranged(1e-4, above=0)  # of the decoder
    pose_lr: float = ranged(1e-2, above=0)  # of parts: radians, and units of the cube
    keep: float = ranged(0.1, at_least=0)  # weight of how far the volume leaves that of the code alone
    seed: int = ranged(0, at_least=0, below=1 << 63)


class Reconstruction(NamedTuple):
    """The code [L] and its decoder; volumes by what made them: mean and nearest (controls), code, fine.

    poses: of a model's parts in the pictures, [1, V, K, 3, 4], from the world to rest.
    """

    code: Tensor
    decoder: Decoder
    volumes: dict[str, Volume]
    poses: Tensor | None = None


def reconstruct(
    model: Autodecoder,
    config: AutodecoderConfig,
    target: ViewBatch,
    how: ReconstructConfig,
    *,
    told: Callable[[int, Volume], None] = lambda step, volume: None,
) -> Reconstruction:
    """One object from `target`, its views [1, V] with their cameras, by a trained model on the same device.

    told: is called after each step, with its number, of the code's and the decoder's together, and its volume.

    ValueError: the model learned poses of its own, in whose world the cameras do not stand.
    """
    if config.poses.source != "given" and model.parts is None:
        raise ValueError(
            "model: wanted one that learned from the data's cameras; got one with poses.source="
            f"{config.poses.source}, whose world is its own"
        )
    generator = seeded(how.seed)
    codes = torch.cat([*model.codes.batches()])
    mean, spread = codes.mean(0), codes.std(0, correction=0).clamp_min(1e-6)
    decoder = copy.deepcopy(model.decoder).eval().requires_grad_(False)
    start, volumes = mean, {"mean": decoded(decoder, mean)}
    poses = None if model.parts is None else first_poses(model, volumes["mean"], target, still(config))
    if how.candidates:
        start = nearest(decoder, codes, target, config, how.candidates, poses=poses)
        volumes["nearest"] = decoded(decoder, start)
    if model.parts is not None:
        poses = first_poses(model, decoded(decoder, start), target, still(config))
        poses = smoothed(poses, config.parts.smooth)
    compare = Comparison(config, target, how.views, generator, poses=poses)

    away = torch.zeros_like(mean, requires_grad=True)
    optimiser = compare.optimiser([away], how.code_lr, how.pose_lr)
    for step in track(range(how.steps), "code", total=how.steps):
        noise = max(0.0, 1 - 2 * step / how.steps) ** 2 * how.code_noise
        drawn = noise * torch.randn(away.shape, generator=generator).to(away)
        slow_down(optimiser, step / how.steps)
        volume = decoder((start + spread * (away + drawn))[None])
        learn(optimiser, compare(volume))
        told(step + 1, volume)
    code = (start + spread * away).detach()
    volumes["code"] = decoded(decoder, code)

    fine = copy.deepcopy(decoder).requires_grad_(True)
    optimiser = compare.optimiser([*fine.parameters()], how.fine_lr, how.pose_lr)
    for step in track(range(how.fine_steps), "decoder", total=how.fine_steps):
        slow_down(optimiser, step / how.fine_steps)
        volume = fine(code[None])
        kept = (volume.grid - volumes["code"].grid).abs().mean()
        learn(optimiser, compare(volume) + how.keep * kept)
        told(how.steps + step + 1, volume)
    volumes["fine"] = decoded(fine.requires_grad_(False), code)
    return Reconstruction(code, fine, volumes, compare.poses())


class Comparison:
    """The losses that the model was trained with, of some views and pixels of one object.

    poses: where its parts are at first; `moves` are what to learn of that.
    """

    def __init__(
        self,
        config: AutodecoderConfig,
        target: ViewBatch,
        views: int,
        generator: torch.Generator,
        *,
        poses: Tensor | None = None,
    ):
        self.config, self.target, self.generator, self.start = config, target, generator, poses
        self.moves = [] if poses is None else [poses.new_zeros(*poses.shape[:3], 6).requires_grad_()]
        self.views = min(views, target.colour.shape[1])
        losses: LossConfig = config.losses
        self.trunk = load_trunk(losses.trunk, losses.trunk_weights) if losses.perceptual else None
        if isinstance(self.trunk, torch.nn.Module):
            self.trunk.to(target.colour.device)

    def poses(self) -> Tensor | None:
        """As learned so far, without a gradient."""
        return None if self.start is None else moved_by(self.start, self.moves[0].detach())

    def optimiser(self, weights: list[Tensor], lr: float, pose_lr: float) -> torch.optim.Optimizer:
        """Of these weights, and of poses."""
        groups = [{"params": weights, "lr": lr}, {"params": self.moves, "lr": pose_lr}]
        return torch.optim.Adam(groups, betas=(0.9, 0.99))

    def __call__(self, volume: Volume) -> Tensor:
        rows = torch.randperm(self.target.colour.shape[1], generator=self.generator)[: self.views]
        seen = views_in(self.target, rows).strided(drawn_pixels(self.config.pixel_stride, self.generator))
        render, losses = still(self.config), self.config.losses
        poses = None if self.start is None else moved_by(self.start[:, rows], self.moves[0][:, rows])
        colour, opacity = render_views(volume, seen.cameras, render, poses=poses, generator=self.generator)
        rendered, pictures = colour.flatten(0, 1), seen.colour.flatten(0, 1)
        total = losses.mask * mask_loss(opacity, seen.mask) + losses.pixel * pixel_loss(rendered, pictures)
        if self.trunk is not None:
            total = total + losses.perceptual * perceptual_loss(self.trunk, rendered, pictures, losses.scales)
        return total


def learn(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def slow_down(optimiser: torch.optim.Optimizer, progress: float) -> None:
    """The whole rates at first, then linearly to nothing."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("whole", group["lr"]) * min(1.0, 2 * (1 - progress))


def still(config: AutodecoderConfig) -> RenderConfig:
    """How to render without noise."""
    return replace(config.render, density_noise=0.0)


@torch.no_grad()
def decoded(decoder: Decoder, code: Tensor) -> Volume:
    """The volume of a code [L]."""
    volume = decoder(code[None])
    return volume.with_grid(volume.grid.float())


def views_in(target: ViewBatch, rows: Tensor) -> ViewBatch:
    """Some of the views."""
    rows = rows.to(target.colour.device)
    return ViewBatch(target.objects, target.cameras[:, rows], target.colour[:, rows], target.mask[:, rows])


@torch.no_grad()
def nearest(
    decoder: Decoder,
    codes: Tensor,
    target: ViewBatch,
    config: AutodecoderConfig,
    most: int,
    *,
    poses: Tensor | None = None,
) -> Tensor:
    """The code [L], of at most so many of the known ones, whose small pictures are most like the target's."""
    cameras = target.cameras.resized(TRIED_PX, TRIED_PX)
    render = replace(still(config), samples_per_ray=TRIED_SAMPLES)
    wanted = shrunk(target, TRIED_PX)[0]
    some = codes[torch.linspace(0, len(codes) - 1, min(most, len(codes))).long()]
    errors = []
    for code in track(some, "known objects", total=len(some)):
        seen = torch.cat(render_views(decoded(decoder, code), cameras, render, poses=poses), 2)[0]
        errors.append(float((seen - wanted).square().mean()))
    return some[int(torch.tensor(errors).argmin())]


def as_model(
    config: AutodecoderConfig, found: Reconstruction, *, poses: Tensor | None = None
) -> tuple[Autodecoder, AutodecoderConfig]:
    """A model that knows one object, the reconstructed one, and its configuration.

    poses: [V, K, 3, 4] from parts at rest to the camera, of a clip.
    """
    own = replace(config, codes=CodeConfig(update="dense"), yaw_copies=1, init=None)
    if poses is not None:
        own = replace(own, parts=replace(own.parts, pictures=len(poses)))
    model = Autodecoder(own, 1)
    model.decoder.load_state_dict(found.decoder.state_dict())
    with torch.no_grad():
        model.codes.table.weight.copy_(found.code[None])
        if poses is not None and model.parts is not None:
            model.parts.start.copy_(poses)
    return model.eval(), own
