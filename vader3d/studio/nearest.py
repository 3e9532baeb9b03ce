"""Which objects of the training lie nearest to a new one."""

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vader3d.autodecoder.model import load_autodecoder
from vader3d.generate import Generator
from vader3d.generate.identities import names_of
from vader3d.hub import autodecoder_file, model_folder
from vader3d.measures.memorisation import nearest_others, nearness

SHOWN = 3
MOST_NUMBERS = 1 << 27  # of all latents, half a GB; of more none is looked for


class Neighbour(NamedTuple):
    """An object of the training by its number; `copy`: far nearer than another training object would be."""

    number: int
    distance: float  # of normalised latents
    copy: bool


class Training:
    """What a model was trained on, as far as its codes tell: they lie in its first stage."""

    def __init__(self, generator: Generator, model: str):
        autodecoder, config, _ = load_autodecoder(autodecoder_file(model_folder(model)))
        self.generator, self.codes, self.copies = generator, autodecoder.codes, config.yaw_copies
        self.model, self.config, self.clips, self.parts = model, config, list[str](), autodecoder.parts
        if self.parts is not None:
            self.clips = names_of(model_folder(model), len(self.codes)) or [*map(str, range(len(self.codes)))]
        self.objects = len(self.codes) // self.copies
        self.known = self.objects > 1 and len(self.codes) * prod(generator.latent_shape) <= MOST_NUMBERS
        self.middle, self.seen = torch.zeros(0), torch.zeros(0)
        if self.known:
            latents = [generator.to_latent(codes) for codes in self.codes.batches()]
            points = generator.statistics.normalise(torch.cat(latents)).flatten(1)
            self.middle = points.mean(0)  # small coordinates lose the fewest digits
            self.seen = points - self.middle

    def nearest(self, latents: Tensor) -> list[list[Neighbour]]:
        """The nearest objects of raw latents [B, C, D, H, W], the nearest first; none where there are too many."""
        if not self.known:
            return [[] for _ in latents]
        points = self.generator.statistics.normalise(latents).flatten(1) - self.middle
        count = min(SHOWN, self.objects)
        distances, numbers = nearest_others(points, self.seen, self.copies, count=count, itself=False)
        own, _ = nearest_others(self.seen[numbers[:, 0]], self.seen, self.copies, count=2, itself=False)
        copies = nearness(distances[:, 0], numbers[:, 0], own[:, 1]).flagged.tolist()
        return [
            [Neighbour(number, round(distance, 4), copy and i == 0) for i, (number, distance) in enumerate(found)]
            for found, copy in zip(map(zip, numbers.tolist(), distances.tolist()), copies, strict=True)
        ]

    @property
    def can(self) -> dict[str, Any]:
        """What the model can do besides making objects: how many parts of them move, as what; new ones of pictures."""
        still = self.config.poses.source == "given" and self.parts is None
        return {"parts": self.config.decoder.extra_channels, "clips": self.clips, "reconstruct": still}

    def latent(self, number: int) -> Tensor:
        """The raw latent [1, C, D, H, W] of an object."""
        with torch.no_grad():
            return self.generator.to_latent(self.codes(torch.tensor([number])))
