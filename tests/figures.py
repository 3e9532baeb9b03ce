"""Subjects in parts, with truth: two striped blobs, and motions of theirs."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from vader3d.assets import Asset
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.busts import Bust, framed
from vader3d.data.motion import Motion, composed
from vader3d.data.part_poses import beside
from vader3d.data.writer import PreparedObject
from vader3d.export.turntable import straight_alpha
from vader3d.generate.animate import posed_assets
from vader3d.geometry.cameras import Cameras, front_camera, unposed_cameras
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.geometry.skinning import inverse
from vader3d.render import RenderConfig, Volume
from vader3d.snapshots import save_snapshot

PARTS = ("torso", "head")
NECK = (0.0, 0.0, -0.05)  # round which the head turns
CLIPS, FRAMES, SIZE = 3, 8, 24
FRONT = front_camera(SIZE)


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


def clip_motion(number: int) -> Motion:
    """How the figure moves in one of `write_clips`."""
    return nodding(FRAMES, degrees=(30.0, -25.0, 40.0)[number])


def clip_poses() -> torch.Tensor:
    """From each part at rest to the camera, in all clips: [N, F, 2, 3, 4]."""
    to_camera = inverse(FRONT.world_from_camera[:, :3])
    return torch.stack([composed(to_camera, clip_motion(number).poses) for number in range(CLIPS)])


def write_clips(path: Path, *, posed: bool = True) -> Path:
    """Clips of the figure in three tints, rendered by its own volume; poses beside them.

    posed: the camera is said to stand in front, or nothing is said of it.
    """
    still = Cameras(FRONT.world_from_camera.repeat(FRAMES, 1, 1), FRONT.intrinsics.repeat(FRAMES, 1), SIZE, SIZE)
    if not posed:
        still = replace(still, world_from_camera=unposed_cameras(FRAMES, size=SIZE).world_from_camera)
    with ArchiveWriter(path, title="clips", resolution=(SIZE, SIZE)) as writer:
        for number in range(CLIPS):
            asset = figure(24)
            tint = torch.ones(1, 6, 1, 1, 1)
            tint[:, number] = 0.5
            asset = replace(asset, volume=asset.volume.with_grid(asset.volume.grid * tint))
            frames = [straight_alpha(*posed.render(FRONT))[0] for posed in posed_assets(asset, clip_motion(number))]
            pictures = (torch.stack(frames) * 255).round().to(torch.uint8).movedim(1, -1).numpy()
            writer.add(PreparedObject(ObjectRecord(f"clip {number}"), pictures, still))
    save_snapshot(beside(path), {"poses": clip_poses()}, {"kind": "truth", "parts": PARTS})
    return path


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
