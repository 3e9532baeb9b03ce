"""Which objects of the training lie nearest to new ones."""

from collections.abc import Callable
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from vader3d.autodecoder.codes import Codes
from vader3d.measures.memorisation import COPY, Nearness, nearest_others, nearness

MOST_NUMBERS = 1 << 27  # of all latents, half a GB; of more none is looked for


class TrainingLatents:
    """Normalised latents of all training objects, made of their codes when first asked for.

    to_normalised: codes [N, L] -> latents [N, C, D, H, W]. copies: of each object, turned (`yaw_copies`).
    """

    def __init__(
        self, codes: Codes, to_normalised: Callable[[Tensor], Tensor], *, copies: int, latent_shape: tuple[int, ...]
    ):
        self.codes, self.to_normalised, self.copies = codes, to_normalised, copies
        self.objects = len(codes) // copies
        self.known = self.objects > 1 and len(codes) * prod(latent_shape) <= MOST_NUMBERS

    def check(self) -> None:
        """ValueError: there are too many objects to look for the nearest, or one alone."""
        if not self.known:
            raise ValueError(
                f"redraws: wanted none of a model of one object, or of more than {MOST_NUMBERS} numbers of latents; "
                f"got {self.objects} objects; leave it at 0"
            )

    @cached_property
    def points(self) -> tuple[Tensor, Tensor]:
        """All latents around their middle, [N, C D H W] and [C D H W]: small coordinates lose the fewest digits."""
        points = torch.cat([self.to_normalised(codes).flatten(1) for codes in self.codes.batches()])
        middle = points.mean(0)
        return points - middle, middle

    def nearest(self, latents: Tensor, *, count: int = 1) -> tuple[Tensor, Tensor, Nearness]:
        """Of normalised latents [B, C, D, H, W] the `count` nearest objects' distances and numbers, [B, count] both.

        And how near each is to the first of these.
        """
        seen, middle = self.points
        points = latents.flatten(1) - middle
        distances, numbers = nearest_others(points, seen, self.copies, count=count, itself=False)
        own, _ = nearest_others(seen[numbers[:, 0]], seen, self.copies, count=2, itself=False)
        return distances, numbers, nearness(distances[:, 0], numbers[:, 0], own[:, 1])


def without_copies(
    latents: Tensor, local_ratios: Callable[[Tensor], Tensor], redraws: int, again: Callable[[Tensor, int], Tensor]
) -> tuple[Tensor, Tensor]:
    """Latents [B, ...], of which copies of training objects are drawn again, at most so many times; what still is one.

    local_ratios: of latents, [B] (`Nearness`). again: rows [R] and the attempt's number, from 1 on, to other latents of
    theirs. The least alike one stays.
    """
    ratios = local_ratios(latents) if redraws else torch.ones(len(latents))
    for attempt in range(1, 1 + redraws):
        rows = (ratios < COPY).nonzero()[:, 0]
        if not len(rows):
            break
        others = again(rows, attempt)
        found = local_ratios(others)
        farther = found > ratios[rows]
        latents[rows[farther]], ratios[rows[farther]] = others[farther], found[farther]
    return latents, (ratios < COPY).nonzero()[:, 0]
