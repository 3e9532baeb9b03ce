"""Subjects in parts, with truth: two striped blobs, and motions of theirs."""

import math

import numpy as np
import torch
import trimesh

from vader3d.assets import Asset
from vader3d.data.making.busts import Bust, framed
from vader3d.data.motion import Motion
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.render import RenderConfig, Volume

PARTS = ("torso", "head")
NECK = (0.0, 0.0, -0.05)  # round which the head turns


def figure(resolution: int = 48, *, others: int = 0) -> Asset:
    """A head on a torso, solid, softly striped; logits part them along z, `others` are parts without any."""
    axis = torch.linspace(-1, 1, resolution)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    head = 1 - ((x / 0.35) ** 2 + (y / 0.35) ** 2 + ((z - 0.3) / 0.4) ** 2).sqrt()
    torso = 1 - ((x / 0.6) ** 2 + (y / 0.35) ** 2 + ((z + 0.5) / 0.4) ** 2).sqrt()
    colours = [0.5 + 0.3 * torch.sin(4 * place + phase) for place, phase in ((x, 0), (y, 1), (z, 2))]
    logits = [-20 * (z - seed) ** 2 for seed in (-0.45, 0.35)] + [torch.full_like(z, -30.0)] * others
    grid = torch.stack([*colours, 40 * torch.maximum(head, torso), *logits])[None]
    return Asset(Volume(grid, "softplus", 25.0), RenderConfig(96, "softplus", 25.0, 0.0), "figure", {"seed": 7})


def nodding(frames: int = 6, *, degrees: float = 25.0) -> Motion:
    """The head turns round the neck and nods, the torso sways and shifts; the first frame is not at rest."""
    phase = torch.linspace(0.3, 2 * math.pi, frames)
    angle = math.radians(degrees) * phase.sin()
    still = torch.zeros_like(angle)
    turns = torch.stack(
        [
            rotation_from_vector(torch.stack([still, still, 0.3 * angle], -1)),
            rotation_from_vector(torch.stack([0.4 * angle, still, angle], -1)),
        ],
        1,
    )
    neck = torch.tensor(NECK)
    shifts = neck - turns @ neck + torch.stack([0.05 * phase.cos(), still, still], -1)[:, None]
    return Motion(PARTS, torch.cat([turns, shifts[..., None]], -1))


def two_balls(rng: np.random.Generator) -> tuple[Bust, str, dict[str, str]]:
    """A ball on a larger one, each of its own colour; smiling, the head grows."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    count, head = len(ball.vertices), np.repeat([1.0, 0.0], len(ball.vertices))
    vertices = np.concatenate([0.35 * ball.vertices + [0, 0, 0.5], 0.5 * ball.vertices + [0, 0, -0.4]])
    colours = np.repeat(rng.uniform(0.2, 0.9, (2, 3)), count, 0)
    faces = np.concatenate([ball.faces, ball.faces + count])
    grown = 0.05 * head[:, None] * np.tile(ball.vertices, (2, 1))
    joints = np.array([0, 0, 0.1]), np.array([0, 0, 0.3])
    return framed(Bust(vertices, faces, colours, head, 0 * head, *joints, grown[None])), "two balls", {"hair": "no"}
