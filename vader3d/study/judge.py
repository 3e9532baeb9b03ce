"""How good a variant is: the same objects, poses and networks for all."""

import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from vader3d.autodecoder.model import load_autodecoder
from vader3d.config import fingerprint
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import PosedViews, ViewBatch
from vader3d.data.named import AnyArchive
from vader3d.diffusion.sampler import STOCHASTIC, Churn
from vader3d.evaluation.sets import render_clamped
from vader3d.frozen.embeddings import FeatureNetwork, load_features
from vader3d.frozen.lpips import PerceptualDistance, load_perceptual_distance
from vader3d.generate import Generator
from vader3d.geometry.cameras import Cameras
from vader3d.machine import autocast
from vader3d.measures.distances import Moments, feature_moments, frechet_distance
from vader3d.measures.pictures import iou, psnr
from vader3d.progress import track
from vader3d.randomness import sample_seed
from vader3d.render import Volume
from vader3d.study.plans import JudgeConfig, Study

OBJECTS_PER_BATCH = 16


class Judge:
    """One data set's pictures, and what was already measured of them."""

    def __init__(self, archive: AnyArchive):
        self.training, self.heldout = PosedViews(archive, training_views), PosedViews(archive, heldout_views)
        if not len(self.heldout.pictures[0]):
            self.heldout = self.training  # too few views for any to be held out
        self.references: dict[str, Moments] = {}
        self.baselines: dict[tuple[Path, str], float] = {}
        self.features, self.perceptual = cache(load_features), cache(load_perceptual_distance)

    def network(self, study: Study, config: JudgeConfig) -> FeatureNetwork | PerceptualDistance:
        """The frozen network the study rests on. ValueError or ImportError: no weights."""
        if study.judged == "generation":
            return self.features(config.features)
        return self.perceptual(config.perceptual)

    def batches(self, config: JudgeConfig, title: str) -> Iterator[Tensor]:
        """The numbers of the judged objects."""
        batches = torch.arange(min(config.objects, len(self.training))).split(OBJECTS_PER_BATCH)
        return track(batches, title, total=len(batches))

    @torch.no_grad()
    def reconstruction(self, run: Path, config: JudgeConfig) -> dict[str, float]:
        """Means over held-out views: PSNR in dB, perceptual distance x 100, IoU of silhouettes."""
        model, settings, _ = load_autodecoder(run)
        perceptual = self.perceptual(config.perceptual)
        columns: list[Tensor] = []
        for numbers in self.batches(config, "reconstruction on held-out views"):
            target = first_views(self.heldout, numbers, config.views)
            with autocast("auto", torch.device("cpu")):
                volume = Volume(model(numbers).grid.float())
            colour, opacity = render_clamped(volume, target.cameras, settings.render)
            distance = perceptual(colour, target.colour).flatten()
            overlap = iou(opacity[:, :, 0], target.mask[:, :, 0])
            columns.append(torch.stack([psnr(colour, target.colour).flatten(), 100 * distance, overlap.flatten()], 1))
        means = torch.cat([column.double() for column in columns]).mean(0).tolist()
        return dict(zip(("psnr", "perceptual", "iou"), means, strict=True))

    @torch.no_grad()
    def generation(self, run: Path, config: JudgeConfig, *, autodecoder: Path, seed: int) -> dict[str, float]:
        """Frechet distances to training views: of generated objects, and as a ratio to codes drawn from N(0, I).

        `run` is of stage 2; `autodecoder` names the stage-1 run, whose baseline all its children share.
        """
        generator = Generator.from_pretrained(run)
        churn, seconds = STOCHASTIC if config.churned else Churn(), 0.0

        def sampled(numbers: Tensor) -> Tensor:
            nonlocal seconds
            start = time.process_time()
            seeds = [sample_seed(seed, number) for number in numbers.tolist()]
            latents = generator.sample_latents(seeds, steps=config.steps, churn=churn)
            seconds += time.process_time() - start
            return latents

        distance = self.frechet(generator, sampled, config, seed, "generated")
        key = (autodecoder, fingerprint(JudgeConfig(config.objects, config.views, features=config.features)))
        if key not in self.baselines:
            self.baselines[key] = self.frechet(generator, normal_codes(generator, seed), config, seed, "N(0, I) codes")
        return {
            "frechet": distance,
            "frechet_ratio": distance / self.baselines[key],
            "frechet_direct": self.baselines[key],
            "cpu_seconds_per_sample": seconds / min(config.objects, len(self.training)),
            "denoiser_parameters": float(sum(p.numel() for p in generator.denoiser.network.parameters())),
        }

    def frechet(
        self, generator: Generator, latents: Callable[[Tensor], Tensor], config: JudgeConfig, seed: int, title: str
    ) -> float:
        """Of pictures of decoded `latents(numbers)`, from held-out poses, against training views."""

        def pictures(numbers: Tensor) -> Tensor:
            cameras = random_views(self.heldout, numbers, config.views, seed=2 * seed).cameras
            return render_clamped(generator.decode(latents(numbers)), cameras, generator.settings)[0].flatten(0, 1)

        def reference(numbers: Tensor) -> Tensor:
            return random_views(self.training, numbers, config.views, seed=2 * seed + 1).colour.flatten(0, 1)

        key = f"{config.features} {config.objects} {config.views} {seed}"
        if key not in self.references:
            self.references[key] = self.moments(reference, config, "real views")
        return frechet_distance(self.moments(pictures, config, title), self.references[key])

    def moments(self, pictures: Callable[[Tensor], Tensor], config: JudgeConfig, title: str) -> Moments:
        network = self.features(config.features)
        return feature_moments(torch.cat([network(pictures(numbers)) for numbers in self.batches(config, title)]))


def normal_codes(generator: Generator, seed: int) -> Callable[[Tensor], Tensor]:
    """Direct latent sampling (METHOD A20): latents of codes drawn from N(0, I)."""
    length = generator.decoder.config.code_length

    def latents(numbers: Tensor) -> Tensor:
        draws = [torch.Generator().manual_seed(sample_seed(seed, number)) for number in numbers.tolist()]
        return generator.to_latent(torch.stack([torch.randn(length, generator=draw) for draw in draws]))

    return latents


def first_views(views: PosedViews, numbers: Tensor, count: int) -> ViewBatch:
    """The first views of each object, as many of all."""
    count = min(count, *(views.view_count(number) for number in numbers.tolist()))
    return views.views_of(numbers, torch.arange(count).expand(len(numbers), count))


def random_views(views: PosedViews, numbers: Tensor, count: int, *, seed: int) -> ViewBatch:
    """Random views of each object, of which each has its own seed."""
    parts = []
    for number in numbers.tolist():
        generator = torch.Generator().manual_seed(sample_seed(seed, number))
        order = torch.randperm(views.view_count(number), generator=generator)
        extra = torch.randint(len(order), (max(0, count - len(order)),), generator=generator)
        parts.append(views.views_of(torch.tensor([number]), torch.cat([order, extra])[None, :count]))
    cameras = Cameras(
        torch.cat([part.cameras.world_from_camera for part in parts]),
        torch.cat([part.cameras.intrinsics for part in parts]),
        *views.archive.resolution,
    )
    colour, mask = torch.cat([part.colour for part in parts]), torch.cat([part.mask for part in parts])
    return ViewBatch(numbers, cameras, colour, mask)
