"""Has a sample been seen before: its nearest training objects.

In any space where objects are points: normalised latents, or mean picture features over the same fixed views. Distances
are Euclidean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vader3d.measures.neighbours import blocks
from vader3d.measures.pictures import require_finite

QUANTILE = 0.05


@dataclass(frozen=True)
class Memorisation:
    """Of N samples against M training objects, in one space.

    nearest: number [N] of the training object nearest to each sample, to put their pictures side by side. distances:
    [N] to it. training_distances: [M] of each training object to its nearest other one. threshold: the low quantile of
    these. flagged: bool [N], nearer than the threshold.
    """

    nearest: Tensor
    distances: Tensor
    training_distances: Tensor
    threshold: float
    flagged: Tensor

    @property
    def ratios(self) -> Tensor:
        """[N]: distance of each sample, in medians of the training objects' own; far below 1 is a copy."""
        return self.distances / self.training_distances.median()


def memorisation(samples: Tensor, training: Tensor, *, quantile: float = QUANTILE) -> Memorisation:
    """Samples [N, ...] against training objects [M, ...] as points of one space; further sizes are flattened.

    A sample is flagged when it is nearer to a training object than the `quantile` of training objects are to another
    one. New draws of the training distribution itself are flagged at about that rate (a twentieth), since each of them
    stands to the M others as a training object does to the M - 1; copies are all flagged. A share well over the
    quantile is therefore memorisation, a share about it is none. ValueError: fewer than 2 training objects, unlike
    sizes, NaN.
    """
    if samples.ndim < 2 or training.shape[1:] != samples.shape[1:] or len(samples) == 0:
        raise ValueError(
            f"samples: wanted [N, ...] with N > 0 of the training objects' sizes {list(training.shape[1:])}; "
            f"got {list(samples.shape)}"
        )
    if len(training) < 2:
        raise ValueError(f"training: wanted at least 2 objects; got {len(training)}")
    if not 0 < quantile < 1:
        raise ValueError(f"quantile: wanted a share between 0 and 1; got {quantile}")
    require_finite(samples=samples, training=training)
    points, seen = samples.flatten(1).float(), training.flatten(1).float()
    middle = seen.mean(0)  # small coordinates lose the fewest digits
    points, seen = points - middle, seen - middle
    distances, nearest = nearest_other(points, seen, itself=False)
    training_distances, _ = nearest_other(seen, seen, itself=True)
    threshold = float(torch.quantile(training_distances, quantile))
    return Memorisation(nearest, distances, training_distances, threshold, distances < threshold)


def memorised_in_any(spaces: Mapping[str, Memorisation]) -> Tensor:
    """bool [N]: flagged in at least one of the spaces, e.g. {"latents": ..., "pictures": ...}.

    Latents tell a copied code even where the decoder hides it, pictures a copied look even where the code differs. With
    S spaces, draws of the training distribution are flagged at up to S times the quantile.
    """
    return torch.stack([space.flagged for space in spaces.values()]).any(0)


def nearest_other(points: Tensor, seen: Tensor, *, itself: bool) -> tuple[Tensor, Tensor]:
    """Distance to, and number of, the nearest of `seen` [M, d] for each point [N, d]; `itself`: but the point."""
    found, start = [], 0
    for block in blocks(points, seen):
        distances = torch.cdist(block, seen)
        if itself:
            distances.diagonal(start).fill_(torch.inf)
        found.append(distances.argmin(1))
        start += len(block)
    numbers = torch.cat(found)
    exact = (points - seen[numbers]).norm(dim=1)  # the product's rounding would keep copies from having distance 0
    return exact, numbers
