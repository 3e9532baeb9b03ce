"""Has a sample been seen before: how near it lies to training objects.

In any space where objects are points: normalised latents, or pictures from the same fixed views. Distances are
Euclidean. Whether one is small is judged where it is measured: by how far the nearest training object has to its own
nearest other one. One threshold for the whole set would call new objects among like ones copies, and copies of lone
objects new.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vader3d.measures.neighbours import blocks
from vader3d.measures.pictures import require_finite

COPY = 0.5  # local ratios below it are flagged: the sample stands less than half as far off as another object would
SMALLEST = 1e-38  # of an object's own distance, which is 0 where another one equals it


@dataclass(frozen=True)
class Nearness:
    """How near N points lie to the training objects.

    nearest: number [N] of the training object nearest to each point, to put their pictures side by side. distances:
    [N] to it. ratios: [N], distances over that object's own distance to its nearest other one (local ratios).
    """

    nearest: Tensor
    distances: Tensor
    ratios: Tensor

    @property
    def flagged(self) -> Tensor:
        """bool [N]: copies, by their local ratios."""
        return self.ratios < COPY


@dataclass(frozen=True)
class Memorisation:
    """N samples against M training objects in one space, and beside it each training object against the M - 1 others.

    The latter is the null: the set split into one and the rest, M times. New draws of the training distribution stand
    to the M as each of these does to the M - 1.
    """

    samples: Nearness
    null: Nearness

    @property
    def z_u(self) -> float:
        """Mann-Whitney's U of the samples' distances against the null's, as a standard score (arXiv 2512.23628).

        Far below 0: samples lie nearer to training objects than these do to each other; far above: farther. The null
        stands in for the distances of held-out objects. The score grows with the counts: compare at like ones.
        """
        return mann_whitney(self.samples.distances, self.null.distances)


def memorisation(samples: Tensor, training: Tensor, *, copies: int = 1) -> Memorisation:
    """Samples [N, ...] against training objects [M, ...] as points of one space; further sizes are flattened.

    copies: of each object, training then being all objects once, then all again [copies * M, ...]; the nearest copy
    stands for its object.
    ValueError: fewer than 3 training objects, unlike sizes, NaN.
    """
    if samples.ndim < 2 or training.shape[1:] != samples.shape[1:] or len(samples) == 0:
        raise ValueError(
            f"samples: wanted [N, ...] with N > 0 of the training objects' sizes {list(training.shape[1:])}; "
            f"got {list(samples.shape)}"
        )
    objects = len(training) // copies
    if objects < 3:
        raise ValueError(f"training: wanted at least 3 objects; got {objects}")
    require_finite(samples=samples, training=training)
    points, seen = samples.flatten(1).float(), training.flatten(1).float()
    middle = seen.mean(0)  # small coordinates lose the fewest digits
    points, seen = points - middle, seen - middle
    distances, nearest = nearest_others(points, seen, copies, count=1, itself=False)
    own, others = nearest_others(seen[:objects], seen, copies, count=2, itself=True)
    # For the null an object's nearest is asked for its own distance without that object.
    back = others[others[:, 0], 0] == torch.arange(objects, device=seen.device)
    without = torch.where(back, own[others[:, 0], 1], own[others[:, 0], 0])
    return Memorisation(
        nearness(distances[:, 0], nearest[:, 0], own[nearest[:, 0], 0]), nearness(own[:, 0], others[:, 0], without)
    )


def nearness(distances: Tensor, nearest: Tensor, own: Tensor) -> Nearness:
    """own: [N], the nearest objects' own distances."""
    return Nearness(nearest, distances, distances.double() / own.double().clamp_min(SMALLEST))


def flagged_in_any(spaces: Iterable[Nearness]) -> Tensor:
    """bool [N]: the same N points flagged in at least one of the spaces, e.g. by latents or by pictures.

    Latents tell a copied code even where the decoder hides it, pictures a copied look even where the code differs.
    """
    return torch.stack([space.flagged for space in spaces]).any(0)


def mann_whitney(first: Tensor, second: Tensor) -> float:
    """Standard score of Mann-Whitney's U of values [N] against [M]: below 0 where the first are the smaller ones."""
    order, (n, m) = second.sort().values, (len(first), len(second))
    below, not_above = (torch.searchsorted(order, first, right=right).double().sum() for right in (False, True))
    u = float(below + not_above) / 2  # ties count half
    return (u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5


def nearest_others(points: Tensor, seen: Tensor, copies: int, *, count: int, itself: bool) -> tuple[Tensor, Tensor]:
    """Distances to, and numbers of, the `count` nearest objects for each of points [N, d]: [N, count] both.

    seen: [copies * M, d], the objects' points. itself: the points are its first M, and none is its own neighbour.
    """
    objects = len(seen) // copies
    found, rows, start = [], [], 0
    for block in blocks(points, seen):
        distances, copy = torch.cdist(block, seen).unflatten(1, (copies, objects)).min(1)
        if itself:
            distances.diagonal(start).fill_(torch.inf)
        found.append(distances.topk(count, largest=False).indices)
        rows.append(found[-1] + objects * copy.gather(1, found[-1]))
        start += len(block)
    # The product's rounding would keep copies from having distance 0.
    exact = torch.stack([(points - seen[column]).norm(dim=1) for column in torch.cat(rows).T], 1)
    return exact, torch.cat(found)
