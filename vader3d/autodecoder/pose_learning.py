"""Where poses come from while objects are learned, way by way."""

from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vader3d.autodecoder.found_poses import found_scores, place_found
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.autodecoder.part_start import learn_start, roughened, turn_as_far
from vader3d.autodecoder.parts import found_parts, part_scores, pull, started, true_poses
from vader3d.autodecoder.pose_table import most_views, nearest_hypotheses, place_table, table_of_poses_optimiser
from vader3d.autodecoder.posing import TRIED_PX, Hypotheses, chosen, leaning, picked, posing_optimiser, seen_by, smaller
from vader3d.data.batches.views import FrontViews, Pixels, PosedViews, ViewBatch, Views
from vader3d.render import Volume
from vader3d.training.optimisers import table_optimiser

T = TypeVar("T")
LEANING, BALANCED = 0.05, 0.1  # shares of the run in which these fade


class Start(NamedTuple):
    """What a training of poses begins with: configuration and views as they need be; of parts poses [N, F, K, 3, 4].

    poses: where parts begin; None: nowhere that is known. true: what scores compare with, where it is known.
    """

    config: AutodecoderConfig
    views: Views
    poses: Tensor | None = None
    true: Tensor | None = None


def start_of(config: AutodecoderConfig, views: Views) -> Start:
    """ValueError: a file of poses that is not there or does not fit."""
    if config.poses.source == "table" and config.parts.poses is None:
        config = replace(config, poses=replace(config.poses, table_views=most_views(config.poses, views)))
    channels, path = config.decoder.extra_channels, views.archive.path
    if config.poses.source == "keypoints" and channels > 1:
        shape = (len(views), most_views(config.poses, views), channels)
        parts, true = found_parts(config.parts, path, shape)
        return Start(replace(config, parts=parts), views, None, true)
    parts, poses = started(config.parts, views.archive, parts=channels)
    if poses is None:
        return Start(replace(config, parts=parts), views)
    if isinstance(views, PosedViews):
        views = FrontViews(views.archive, views.choose_views)
    return Start(replace(config, parts=parts), views, poses, true_poses(path, poses.shape))


class Placed(NamedTuple):
    """What is rendered and what it is compared with; `parts`: poses for `render_views`; `losses` of the poses."""

    volume: Volume
    target: ViewBatch
    parts: Tensor | None
    losses: dict[str, Tensor]


class GivenPoses:
    """The data's own cameras: nothing is learned."""

    whole_pictures = False  # whether they are seen whole before some of their pixels are compared

    def __init__(self, model: Autodecoder, start: Start):
        self.model, self.start = model, start
        self.optimisers: list[torch.optim.Optimizer] = []

    def begin(self) -> None:
        """Before the first step of a run, and not where one goes on."""

    def check(self, target: ViewBatch) -> None:
        """ValueError where cameras are the data's, and one object's are not known; before a batch goes to a GPU."""
        if self.model.posing is None and (unknown := target.cameras.world_from_camera.isnan().flatten(1).any(1)).any():
            records = self.start.views.archive.records
            raise without_cameras(records[int(target.objects[unknown][0]) % len(records)].name)

    def place(
        self, target: ViewBatch, volume: Volume, *, progress: float, pixels: Pixels, generator: torch.Generator
    ) -> Placed:
        """Whence a batch is seen after that share of the run; of it `pixels` are compared."""
        return Placed(volume, target, None, {})

    def scores(self) -> dict[str, float]:
        return {}

    def finish(self, model: Autodecoder) -> None:
        """What an averaged model lacks before it is saved."""


class FoundPoses(GivenPoses):
    """A network finds them in the pictures, or learns those of a table, which the pictures teach."""

    whole_pictures = True

    def __init__(self, model: Autodecoder, start: Start):
        super().__init__(model, start)
        config, seed, posing = start.config.poses, start.config.loop.seed, needed(model.posing)
        if start.config.yaw_copies > 1:
            raise ValueError(f"yaw_copies: wanted 1 where poses are learned; got {start.config.yaw_copies}")
        if model.poses is not None:
            place_table(model.poses, config, start.views, posing.bases[len(posing.bases) // 2], seed=seed)
        if model.parts is not None and start.poses is None:
            model.parts.requires_grad_(False)  # filled at the end
        self.optimisers = [posing_optimiser(posing)]
        if model.poses is not None:
            self.optimisers.append(table_of_poses_optimiser(model.poses, config))
        self.seen: dict[str, float] = {}

    def hypotheses(self, target: ViewBatch, generator: torch.Generator) -> Hypotheses:
        found = needed(self.model.posing)(torch.cat([target.colour, target.mask], 2), target.cameras, generator)
        lost, clamped = float((~found.found).float().mean()), float(found.clamped)
        self.seen = {"poses_lost": lost, "depth_clamped": clamped}
        return found

    def place(
        self, target: ViewBatch, volume: Volume, *, progress: float, pixels: Pixels, generator: torch.Generator
    ) -> Placed:
        config, found = self.start.config.poses, self.hypotheses(target, generator)
        losses = found.losses
        volume = leaning(volume, config.lean * (1 - progress / LEANING))
        if self.model.poses is None:
            balance = config.balance * max(0.0, 1 - progress / BALANCED)
            numbers = chosen(volume, found, target, balance=balance)
            poses = picked(found.poses, numbers)
        else:
            assert target.numbers is not None
            poses = self.model.poses(target.objects, target.numbers)[:, :, None]
            away, numbers = nearest_hypotheses(found.poses, poses)
            losses["distil"] = config.distil * away
            poses = poses.detach() if progress < config.hold else poses
        counts = torch.bincount(numbers.flatten(), minlength=found.found.shape[2]) / numbers.numel()
        self.seen |= {f"hypothesis_{i}": value for i, value in enumerate(counts.tolist())}
        seen = smaller(target, TRIED_PX) if progress < config.coarse else target.strided(pixels)
        cameras, parts = seen_by(poses, seen.cameras)
        if parts is not None and self.start.config.parts.pull:
            losses["pull"] = self.start.config.parts.pull * pull(parts, volume)
        return Placed(volume, replace(seen, cameras=cameras), parts, losses)

    def scores(self) -> dict[str, float]:
        names = self.start.config.parts.names
        return self.seen | found_scores(self.model, self.start.views, self.start.true, names)

    def finish(self, model: Autodecoder) -> None:
        if model.parts is not None:
            place_found(model, self.start.views.archive)


class PartTable(GivenPoses):
    """Parts' poses in a table, from a start; a network may learn them beside, and their start before."""

    def __init__(self, model: Autodecoder, start: Start):
        super().__init__(model, start)
        config, parts = start.config.parts, needed(model.parts)
        self.network = None if model.posing is None else FoundPoses(model, start)
        self.whole_pictures = self.network is not None
        if config.passes and self.network is None:
            raise ValueError(
                f"parts.passes: wanted 0 where no network learns the poses of the file; got {config.passes}; "
                "--set poses.source=table"
            )
        self.rough = roughened(needed(start.poses), noise=config.start_noise, seed=start.config.loop.seed)
        parts.start.copy_(self.rough.flatten(0, 1))
        table = table_optimiser(parts.table, "rows", lr=config.lr, betas=(0.9, 0.99))
        self.optimisers = [*(self.network.optimisers if self.network else ()), table]

    def begin(self) -> None:
        """Parts begin where their network sees them, if it is to learn their start."""
        config, passes = self.start.config, self.start.config.parts.passes
        if passes and self.network is not None:
            batch, each, seed = config.loop.batch, config.views_per_object, config.loop.seed
            (optimiser,) = self.network.optimisers
            learn_start(self.model, self.start.views, optimiser, passes=passes, batch=batch, each=each, seed=seed)

    def place(
        self, target: ViewBatch, volume: Volume, *, progress: float, pixels: Pixels, generator: torch.Generator
    ) -> Placed:
        config, parts, losses = self.start.config.parts, needed(self.model.parts), dict[str, Tensor]()
        if self.network is not None and target.numbers is not None:
            found = self.network.hypotheses(target, generator)
            away, _ = nearest_hypotheses(found.poses, parts(target.objects, target.numbers))
            losses = found.losses | {"distil": self.start.config.poses.distil * away}
            target = target.strided(pixels)
        if progress >= config.turned and not parts.turned:
            turn_as_far(parts, self.rough)
        poses = parts.of_batch(target, held=progress < config.hold)
        if config.stay and target.numbers is not None:
            losses["stay"] = config.stay * parts.shifts(target.objects, target.numbers)
        if config.pull:
            losses["pull"] = config.pull * pull(poses, volume)
        return Placed(volume, target, poses, losses)

    def scores(self) -> dict[str, float]:
        known = {}
        if self.start.true is not None:
            known = part_scores(needed(self.model.parts), self.start.true, self.start.config.parts.names)
        return known | (self.network.scores() if self.network is not None else {})


def pose_learning(model: Autodecoder, start: Start) -> GivenPoses:
    """How the poses of a training with that start are learned. ValueError: settings that do not go together."""
    if start.poses is not None:
        return PartTable(model, start)
    return GivenPoses(model, start) if model.posing is None else FoundPoses(model, start)


def without_cameras(name: str) -> ValueError:
    """The error of a training that was to take its cameras from an object without."""
    return ValueError(
        f"poses.source: wanted keypoints for objects without cameras; got given, and {name!r} has none; "
        "--preset chairs-no-cameras or --set poses.source=keypoints"
    )


def needed(module: T | None) -> T:
    """What its configuration made sure of."""
    assert module is not None
    return module
