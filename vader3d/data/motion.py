"""Motions: where the parts of a subject are, frame by frame."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vader3d.config import Range
from vader3d.files import write_text
from vader3d.geometry.skinning import inverse
from vader3d.untrusted import read_json, reading

FORMAT, VERSION = "vader3d-motion", 1
FRAMES_PER_SECOND, FASTEST = 24.0, 120.0
MOST_FRAMES, MOST_PARTS = 1 << 14, 64
SPEEDS = Range(above=0, at_most=FASTEST)


@dataclass(frozen=True)
class Motion:
    """Rigid `poses` [F, K, 3, 4] of K named parts, each from the object at rest to where it is in the world (z up).

    ValueError: names or frames that do not fit them, another speed than `SPEEDS`, what is not rigid.
    """

    names: tuple[str, ...]
    poses: Tensor
    frames_per_second: float = FRAMES_PER_SECOND

    def __post_init__(self) -> None:
        SPEEDS.check("frames_per_second", self.frames_per_second)
        shape, parts = list(self.poses.shape), len(self.names)
        if shape[1:] != [parts, 3, 4] or not (1 <= shape[0] <= MOST_FRAMES and 1 <= parts <= MOST_PARTS):
            limits = f"1 to {MOST_FRAMES} frames of 1 to {MOST_PARTS} parts"
            raise ValueError(f"poses: wanted [F, {parts}, 3, 4], {limits}; got {shape}")
        if not all(self.names) or len(set(self.names)) < parts:
            raise ValueError(f"names: wanted each once, none empty; got {list(self.names)}")
        turns = self.poses[..., :3].double()
        skew = (turns @ turns.mT - torch.eye(3).double()).abs().amax()
        if not (self.poses.isfinite().all() and skew < 1e-3 and (torch.det(turns) > 0).all()):
            raise ValueError("poses: wanted finite rotations and translations; got others")

    def relative(self) -> "Motion":
        """The same motion from the first frame on: that frame is at rest."""
        return replace(self, poses=composed(self.poses, inverse(self.poses[:1])))


def composed(poses: Tensor, first: Tensor) -> Tensor:
    """The poses [..., 3, 4] that do what `first` does, and then what `poses` do."""
    turned = poses[..., :3] @ first
    return torch.cat([turned[..., :3], turned[..., 3:] + poses[..., 3:]], -1)


def read_motion(path: Path) -> Motion:
    """What docs/animation.md describes. ValueError: it names the file that is something else; OSError: no such file."""
    found = read_json(path, "a motion")
    with reading(path, "a motion"):
        return motion_from(found)


def motion_from(found: Any) -> Motion:
    """The motion of a document. ValueError, KeyError, TypeError: it is something else."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"format: wanted {FORMAT}; got another; docs/animation.md says what a motion's file holds")
    if found.get("version") != VERSION:
        raise ValueError(f"version: wanted {VERSION}; got {found.get('version')!r}")
    parts = found["parts"]
    poses = [part_poses(str(part["name"]), part["rotations"], part["translations"]) for part in parts]
    if not poses or len({len(each) for each in poses}) > 1:
        frames = {str(part["name"]): len(each) for part, each in zip(parts, poses, strict=True)}
        raise ValueError(f"parts: wanted as many frames of each; got {frames}")
    names = tuple(str(part["name"]) for part in parts)
    return Motion(names, torch.stack(poses, 1), float(found.get("frames_per_second", FRAMES_PER_SECOND)))


def part_poses(name: str, rotations: list, translations: list) -> Tensor:
    """Unit quaternions (x, y, z, w) and translations of one part -> poses [F, 3, 4]."""
    from scipy.spatial.transform import Rotation

    turns, shifts = (
        np.array(numbers, np.float64).reshape(-1, size) for numbers, size in ((rotations, 4), (translations, 3))
    )
    if len(turns) != len(shifts) or not len(turns):
        raise ValueError(f"{name}: wanted a rotation and a translation a frame; got {len(turns)} and {len(shifts)}")
    if not (np.abs(np.linalg.norm(turns, axis=1) - 1) < 1e-2).all():
        raise ValueError(f"{name}: wanted rotations as unit quaternions (x, y, z, w); got others")
    matrices = Rotation.from_quat(turns).as_matrix()
    return torch.from_numpy(np.concatenate([matrices, shifts[..., None]], -1)).float()


def write_motion(path: Path, motion: Motion) -> None:
    """What `read_motion` reads."""
    parts = [
        {"name": name, "rotations": quaternions(poses[..., :3]).round(7).tolist(), "translations": shifts.tolist()}
        for name, poses in zip(motion.names, motion.poses.unbind(1), strict=True)
        for shifts in [poses[..., 3].double().numpy().round(7)]
    ]
    whole = {"format": FORMAT, "version": VERSION, "frames_per_second": motion.frames_per_second, "parts": parts}
    write_text(path, json.dumps(whole) + "\n")


def quaternions(rotations: Tensor) -> np.ndarray:
    """Rotations [F, 3, 3] -> unit quaternions (x, y, z, w) [F, 4], none farther than need be from the one before."""
    from scipy.spatial.transform import Rotation

    found = Rotation.from_matrix(rotations.double().numpy()).as_quat()
    signs = np.sign((found[1:] * found[:-1]).sum(1))
    found[1:] *= np.cumprod(np.where(signs < 0, -1.0, 1.0))[:, None]
    return found
