"""How good is a model: which objects, from where, against what.

Reconstructions are judged on views the training never saw. Generated objects are judged by the Frechet and kernel
distance of their pictures to pictures of the training objects, beside two baselines without diffusion (direct latent
sampling, METHOD A20) and two bounds (reconstructions of the training codes, real held-out views).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vader3d.autodecoder.model import Autodecoder
from vader3d.data.archive import AnyArchive, heldout_views, training_views
from vader3d.data.views import PosedViews, ViewBatch
from vader3d.evaluation.features import DEFAULT_FEATURES, load_features
from vader3d.evaluation.metrics import feature_moments, frechet_distance, iou, kernel_distance, psnr
from vader3d.evaluation.shape_scores import has_true_meshes, shape_scores
from vader3d.generate import Generator, sample_seed
from vader3d.geometry.cameras import Cameras
from vader3d.progress import track
from vader3d.render import RenderConfig, Volume, render_views

OBJECTS_PER_BATCH = 16


@dataclass(frozen=True)
class ProtocolConfig:
    """Counts and seeds of one evaluation; all sets of pictures have the same size."""

    objects: int = 128
    shapes: int = 64  # whose surfaces are compared, where true meshes are known
    views: int = 4  # of each object, from camera poses of the data set (METHOD A31)
    steps: int = 32
    seed: int = 0
    features: str = DEFAULT_FEATURES


def in_batches(count: int, title: str) -> Iterator[Tensor]:
    """The numbers 0 .. count - 1 in batches, with a progress bar."""
    batches = torch.arange(count).split(OBJECTS_PER_BATCH)
    return track(batches, title, total=len(batches))


@torch.no_grad()
def render_clamped(volume: Volume, cameras: Cameras, settings: RenderConfig) -> tuple[Tensor, Tensor]:
    """Pictures [B, V, 3, H, W] and opacity [B, V, 1, H, W], both in [0, 1]."""
    colour, opacity = render_views(volume, cameras, settings, skip_empty=True)
    return colour.clamp(0, 1).cpu(), opacity.clamp(0, 1).cpu()


@torch.no_grad()
def reconstruction_scores(model: Autodecoder, generator: Generator, heldout: PosedViews) -> dict[str, float]:
    """Means over all held-out views: PSNR in dB, PSNR inside the mask, IoU of opacity and mask."""
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for numbers in in_batches(len(heldout), "reconstruction on held-out views"):
        views = min(len(heldout.pictures[o]) for o in numbers.tolist())
        target = heldout.views_of(numbers, torch.arange(views).expand(len(numbers), views))
        volume = generator.decode(generator.to_latent(model.codes(numbers)))
        colour, opacity = render_clamped(volume, target.cameras, generator.settings)
        inside = target.mask.sum((-3, -2, -1)).clamp_min(1e-6) * 3
        error = ((colour - target.colour).square() * target.mask).sum((-3, -2, -1)) / inside
        foreground = -10 * error.clamp_min(1e-10).log10()
        columns.append((psnr(colour, target.colour), foreground, iou(opacity[:, :, 0], target.mask[:, :, 0])))
    scores = [float(torch.cat([column.flatten() for column in parts]).mean()) for parts in zip(*columns, strict=True)]
    return dict(zip(("heldout_psnr", "heldout_foreground_psnr", "heldout_iou"), scores, strict=True))


def chosen_views(views: PosedViews, config: ProtocolConfig, purpose: int) -> Callable[[Tensor], ViewBatch]:
    """Deterministic random views of object number i (modulo the data set), different for each `purpose`."""

    def choose(numbers: Tensor) -> ViewBatch:
        parts = []
        for number in numbers.tolist():
            draw = torch.Generator().manual_seed(sample_seed(config.seed * 16 + purpose, number))
            parts.append(views.random_views(torch.tensor([number % len(views)]), config.views, draw))
        cameras = Cameras(
            torch.cat([part.cameras.world_from_camera for part in parts]),
            torch.cat([part.cameras.intrinsics for part in parts]),
            *views.archive.resolution,
        )
        return ViewBatch(
            torch.cat([part.objects for part in parts]), cameras,
            torch.cat([part.colour for part in parts]), torch.cat([part.mask for part in parts]),
        )  # fmt: skip

    return choose


@torch.no_grad()
def generation_scores(
    model: Autodecoder, generator: Generator, training: PosedViews, heldout: PosedViews, config: ProtocolConfig,
) -> dict[str, Any]:  # fmt: skip
    """`frechet_*` and `kernel_*` (x 1000) of each set of pictures against training views; counts and the network."""
    features = load_features(config.features)
    count = min(config.objects, len(training))
    poses = chosen_views(heldout if len(heldout.pictures[0]) else training, config, purpose=2)
    mean, factor = model.codes.fitted_gaussian()

    def pictures_of(latents: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def pictures(numbers: Tensor) -> Tensor:
            volume = generator.decode(latents(numbers))
            return render_clamped(volume, poses(numbers).cameras, generator.settings)[0].flatten(0, 1)

        return pictures

    def gaussian(numbers: Tensor, size: int, purpose: int) -> Tensor:
        seeds = [sample_seed(config.seed * 16 + purpose, number) for number in numbers.tolist()]
        return torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    to_latent = generator.to_latent
    reference_views = chosen_views(training, config, purpose=1)
    sets: dict[str, Callable[[Tensor], Tensor]] = {
        "reference": lambda numbers: reference_views(numbers).colour.flatten(0, 1),
        "heldout_views": lambda numbers: poses(numbers).colour.flatten(0, 1),
        "reconstruction": pictures_of(lambda numbers: to_latent(model.codes(numbers))),
        "generated": pictures_of(
            lambda numbers: generator.sample_latents(
                [sample_seed(config.seed, number) for number in numbers.tolist()], steps=config.steps
            )
        ),
        "direct_latent_sampling": pictures_of(lambda numbers: to_latent(gaussian(numbers, len(mean), 3))),
        "direct_latent_sampling_fitted": pictures_of(
            lambda numbers: to_latent(gaussian(numbers, len(factor), 4) @ factor + mean)
        ),
    }
    scores: dict[str, Any] = {"feature_network": features.name, "feature_checksum": features.checksum}
    embedded = {}
    for name, pictures in sets.items():
        embedded[name] = features(torch.cat([pictures(numbers) for numbers in in_batches(count, name)]))
    reference = embedded.pop("reference")
    reference_moments = feature_moments(reference)
    for name, vectors in embedded.items():
        scores[f"frechet_{name}"] = frechet_distance(feature_moments(vectors), reference_moments)
        draw = torch.Generator().manual_seed(config.seed)
        scores[f"kernel_{name}"] = 1000 * kernel_distance(vectors, reference, generator=draw).mean
    return scores | {"objects": count, "views": config.views, "pictures": count * config.views}


def evaluate(model: Autodecoder, generator: Generator, archive: AnyArchive, config: ProtocolConfig) -> dict[str, Any]:
    """All scores of one model on the data set it was trained on. ValueError when they do not belong together."""
    if len(model.codes) != len(archive):
        raise ValueError(
            f"data: {archive.title or archive.path} has {len(archive)} objects, the model was trained on "
            f"{len(model.codes)}; give the data set it was trained on"
        )
    training, heldout = PosedViews(archive, training_views), PosedViews(archive, heldout_views)
    scores = reconstruction_scores(model, generator, heldout if len(heldout.pictures[0]) else training)
    scores |= generation_scores(model, generator, training, heldout, config)
    if has_true_meshes(archive):
        shapes = min(config.objects, config.shapes)
        scores |= shape_scores(generator, archive, shapes=shapes, steps=config.steps, seed=config.seed)
    return scores
