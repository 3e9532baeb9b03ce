"""Which objects of the training lie nearest to a new one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vader3d.autodecoder.model import load_autodecoder
from vader3d.generate import Generator
from vader3d.generate.identities import names_of
from vader3d.hub import autodecoder_file, model_folder

SHOWN = 3


class Neighbour(NamedTuple):
    """An object of the training by its number; `copy`: far nearer than another training object would be."""

    number: int
    distance: float  # of normalised latents
    copy: bool


class Training:
    """What a model was trained on, as far as its codes tell: they lie in its first stage."""

    def __init__(self, generator: Generator, model: str):
        autodecoder, config, _ = load_autodecoder(autodecoder_file(model_folder(model)))
        self.generator, self.codes = generator, autodecoder.codes
        self.model, self.config, self.clips, self.parts = model, config, list[str](), autodecoder.parts
        if self.parts is not None:
            self.clips = names_of(model_folder(model), len(self.codes)) or [*map(str, range(len(self.codes)))]

    def nearest(self, latents: Tensor) -> list[list[Neighbour]]:
        """The nearest objects of raw latents [B, C, D, H, W], the nearest first; none where there are too many."""
        trained = self.generator.trained
        if trained is None or not trained.known:
            return [[] for _ in latents]
        normalised = self.generator.statistics.normalise(latents)
        distances, numbers, first = trained.nearest(normalised, count=min(SHOWN, trained.objects))
        return [
            [Neighbour(number, round(distance, 4), copy and i == 0) for i, (number, distance) in enumerate(found)]
            for found, copy in zip(map(zip, numbers.tolist(), distances.tolist()), first.flagged.tolist(), strict=True)
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
