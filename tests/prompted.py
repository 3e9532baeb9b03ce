"""A world of boxes and towers in three colours, and generators of them that heed their prompts more or less."""

from pathlib import Path

import torch
from tiny import Box, write_things
from torch import Tensor

from vader3d.assets import Asset
from vader3d.data.archive.reader import Archive
from vader3d.data.making.chairs import PAINTS
from vader3d.frozen.embeddings import FeatureNetwork
from vader3d.render import RenderConfig, Volume

COLOURS = ("red", "blue", "green")
HALVES = {"box": (0.8, 0.8, 0.25), "tower": (0.25, 0.25, 0.8)}
SIDE = 20  # voxels
BLIND, PERFECT, HALF = 1.0, 3.0, 5.0  # scales of guidance


def write_world(path: Path) -> Archive:
    """Two objects of each colour and type: `1 red box` and so on, whose captions are `a 1 red box`."""
    things = {
        f"{number} {colour} {kind}": (Box(PAINTS[colour], half=tuple(size - 0.04 * number for size in half)),)
        for number in (1, 2)
        for colour in COLOURS
        for kind, half in HALVES.items()
    }
    return write_things(path, things)


def volume_of(colour: str, kind: str) -> Volume:
    grid = torch.full((1, 4, SIDE, SIDE, SIDE), -1.0)
    grid[:, :3] = torch.tensor(PAINTS[colour]).view(3, 1, 1, 1)
    axis = torch.linspace(-1, 1, SIDE)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    half = HALVES[kind]
    grid[0, 3][(x.abs() <= half[0]) & (y.abs() <= half[1]) & (z.abs() <= half[2])] = 1.0
    return Volume(grid, density_scale=100.0)


class World:
    """A generator by prompts that keeps what it drew: (prompt, colour, type) at each scale of guidance.

    At BLIND a red box whatever is asked, at PERFECT what is asked, at HALF another colour for every other seed.
    """

    def __init__(self):
        self.drawn: dict[float, list[tuple[str, str, str]]] = {}

    def __call__(self, prompts, seeds, guidance_scale, *, steps, solver):
        assert (steps, solver) == (2, "heun")
        return [self.asset(*each, guidance_scale) for each in zip(prompts, seeds, strict=True)]

    def asset(self, prompt: str, seed: int, guidance_scale: float) -> Asset:
        colour = next(word for word in COLOURS if word in prompt)
        kind = next(word for word in HALVES if word in prompt)
        if guidance_scale == BLIND:
            colour, kind = "red", "box"
        elif guidance_scale == HALF and seed % 2:
            colour = COLOURS[(COLOURS.index(colour) + 1) % 3]
        self.drawn.setdefault(guidance_scale, []).append((prompt, colour, kind))
        return Asset(volume_of(colour, kind), RenderConfig())


def silhouettes(name: str, *, device: torch.device | str = "cpu") -> FeatureNetwork:
    """Features that know shapes and no colours."""
    return FeatureNetwork("tiny", "0" * 64, 8, lambda pictures: (pictures.amax(1) > 0.05).float().flatten(1) - 0.5)


class Joint:
    """An encoder of both pictures and texts, by mean colour and by how high the object stands."""

    name, checksum = "joint", "1" * 64

    def pictures(self, pictures: Tensor) -> Tensor:
        seen = (pictures.amax(1, keepdim=True) > 0.05).float()
        colour = (pictures * seen).sum((2, 3)) / seen.sum((2, 3)).clamp_min(1)
        rows, columns = seen.amax(3).sum((1, 2)), seen.amax(2).sum((1, 2))
        tall = (rows > columns).float()[:, None]
        return torch.cat([torch.nn.functional.normalize(colour, dim=1), tall, 1 - tall], 1)

    def texts(self, texts) -> Tensor:
        colours = torch.tensor([PAINTS[next(word for word in COLOURS if word in text)] for text in texts])
        tall = torch.tensor([[float("tower" in text)] for text in texts])
        return torch.cat([torch.nn.functional.normalize(colours, dim=1), tall, 1 - tall], 1)
