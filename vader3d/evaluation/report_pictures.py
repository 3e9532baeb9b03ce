"""The pictures of a report: samples beside their nearest training objects, reconstructions beside the truth.

All are RGBA with straight alpha, [4, H, W] in [0, 1], in the protocol's size.
"""

from collections import Counter

import torch
from torch import Tensor

from vader3d.data.views import ViewBatch
from vader3d.evaluation.picture_sets import POSES, RECONSTRUCTION, REFERENCE, PictureSets, render_clamped
from vader3d.evaluation.stages import SHOWN
from vader3d.export.turntable import straight_alpha
from vader3d.pages.page import Strip, picture
from vader3d.render import Volume

NEAREST = 3
RECONSTRUCTIONS = 12
VIEWS = 4  # of each reconstruction


def sample_pictures(sets: PictureSets, latents: Tensor, owners: Tensor) -> Tensor:
    """Each sample's first view: raw latents [n, ...] of the items `owners` [n] -> [n, 4, H, W]."""
    protocol, shown = sets.protocol, []
    common = sets.look_cameras()[:, :1].resized(*sets.size)  # where an item's object cannot be read
    for latent, number in zip(latents, owners.tolist(), strict=True):
        found = sets.readable_views([number], Counter(), split=protocol.poses, views=1, purpose=POSES)
        cameras = found[number].cameras if number in found else common
        volume = sets.generator.decode(latent[None])
        shown.append(straight_alpha(*render_clamped(volume, cameras, sets.generator.settings))[0, 0])
    return torch.stack(shown)


def real_picture(sets: PictureSets, index: int) -> Tensor:
    """The first view of a training object, [4, H, W]; empty where it cannot be read."""
    place = sets.order.index(index)
    found = sets.readable_views([place], Counter(), split="training", views=None, purpose=REFERENCE)
    if place not in found:
        return torch.zeros(4, *sets.size)
    return straight_alpha(found[place].colour, found[place].mask)[0, 0]


def object_name(sets: PictureSets, index: int) -> str:
    record = sets.subject.archive.records[index]
    return record.caption or record.name


@torch.no_grad()
def nearest_objects(sets: PictureSets, latents: Tensor, count: int = NEAREST) -> Tensor:
    """The training objects of the nearest normalised latents to raw latents [n, ...]: numbers [n, count]."""
    ours = sets.generator.statistics.normalise(latents).flatten(1)
    distances = [torch.cdist(ours, part.flatten(1)) for part in sets.training_latents()]
    return torch.cat(distances, 1).topk(min(count, len(sets.subject)), largest=False).indices


def reference_pictures(sets: PictureSets) -> Tensor:
    """Of the first objects of the reference one picture each."""
    numbers = range(min(SHOWN, len(sets.subject)))
    return torch.stack([real_picture(sets, sets.object_of(number)) for number in numbers])


def reconstruction_pairs(sets: PictureSets) -> list[tuple[int, Tensor, Tensor]]:
    """Object, held-out pictures and their reconstructions, [V, 4, H, W] each, of the first objects that can be read."""
    numbers = [*range(min(RECONSTRUCTIONS, len(sets.subject)))]
    found = sets.readable_views(numbers, Counter(), split="heldout", views=VIEWS, purpose=RECONSTRUCTION)
    return [reconstruction_pair(sets, number, target) for number, target in found.items()]


def reconstruction_pair(sets: PictureSets, number: int, target: ViewBatch) -> tuple[int, Tensor, Tensor]:
    volume: Volume = sets.generator.decode(sets.generator.to_latent(sets.codes("reconstruction", [number])))
    colour, opacity = render_clamped(volume, target.cameras, sets.generator.settings)
    return sets.object_of(number), straight_alpha(target.colour, target.mask)[0], straight_alpha(colour, opacity)[0]


def reconstruction_strips(sets: PictureSets, pairs: list[tuple[int, Tensor, Tensor]]) -> list[Strip]:
    """The pairs as strips of a page."""
    strips = []
    for index, real, ours in pairs:
        name = object_name(sets, index)
        strips.append(Strip(name, {
            "real": [picture(view, f"{name}, a held-out picture") for view in real],
            "ours": [picture(view, f"{name}, reconstructed") for view in ours],
        }))  # fmt: skip
    return strips
