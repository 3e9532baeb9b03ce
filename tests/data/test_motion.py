"""Motions: a file gives back what was written, and says what is wrong with another."""

import json
import re
from pathlib import Path

import pytest
import torch
from figures import nodding
from near import assert_near

from vader3d.data.motion import Motion, composed, quaternions, read_motion, write_motion
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.geometry.skinning import moved


def test_a_motion_is_read_as_it_was_written(tmp_path):
    motion = nodding(5)
    write_motion(tmp_path / "a.json", motion)
    found = read_motion(tmp_path / "a.json")
    assert found.names == motion.names
    assert found.frames_per_second == 24
    assert_near(found.poses, motion.poses)


def test_a_relative_motion_starts_at_rest_and_goes_the_same_way():
    motion = nodding(4)
    relative = motion.relative()
    assert_near(relative.poses[0], torch.eye(3, 4).expand(2, 3, 4))
    points = torch.rand(2, 5, 3)
    there = moved(points, motion.poses[0])
    assert_near(moved(there, relative.poses[2]), moved(points, motion.poses[2]))
    assert_near(
        moved(points, composed(motion.poses[1], motion.poses[2])),
        moved(moved(points, motion.poses[2]), motion.poses[1]),
    )


def test_quaternions_never_jump_to_their_opposites():
    angles = torch.linspace(0, 4 * torch.pi, 40)
    found = quaternions(rotation_from_vector(torch.stack([0 * angles, 0 * angles, angles], -1)))
    assert abs(found[1:] - found[:-1]).max() < 0.2


def written(tmp_path, **changes) -> str:
    write_motion(tmp_path / "a.json", nodding(3))
    whole = json.loads((tmp_path / "a.json").read_text()) | changes
    (tmp_path / "a.json").write_text(json.dumps(whole))
    return str(tmp_path / "a.json")


STILL = {"name": "head", "rotations": [[0, 0, 0, 1]], "translations": [[0, 0, 0]]}
BAD = {
    "another format": ({"format": "x"}, "format: wanted vader3d-motion"),
    "another version": ({"version": 2}, "version: wanted 1; got 2"),
    "no parts": ({"parts": []}, "parts: wanted as many frames of each; got {}"),
    "unlike frames": (
        {"parts": [STILL, {**STILL, "name": "b", "rotations": [[0, 0, 0, 1]] * 2, "translations": [[0, 0, 0]] * 2}]},
        "parts: wanted as many frames of each; got {'head': 1, 'b': 2}",
    ),
    "a rotation without a translation": (
        {"parts": [{**STILL, "translations": []}]},
        "head: wanted a rotation and a tran",
    ),
    "matrices": ({"parts": [{**STILL, "rotations": [[1, 0, 0, 0, 1, 0, 0, 0, 1]]}]}, "wanted a motion; got a damaged"),
    "no unit quaternion": ({"parts": [{**STILL, "rotations": [[0, 0, 0, 2]]}]}, "head: wanted rotations as unit quat"),
    "names twice": ({"parts": [STILL, STILL]}, "names: wanted each once"),
    "NaN": ({"parts": [{**STILL, "translations": [[float("nan"), 0, 0]]}]}, "poses: wanted finite"),
    "no speed": ({"frames_per_second": 0}, "frames_per_second: wanted"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_motion_is_named_with_the_reason(tmp_path, case):
    changes, message = BAD[case]
    path = Path(written(tmp_path, **changes))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}") as error:
        read_motion(path)
    assert "\n" not in str(error.value)


def test_poses_are_rigid_and_fit_their_names():
    with pytest.raises(ValueError, match=r"poses: wanted \[F, 1, 3, 4\], .*; got \[3, 2, 3, 4\]"):
        Motion(("head",), nodding(3).poses)
    with pytest.raises(ValueError, match="poses: wanted finite rotations"):
        Motion(("torso", "head"), 1.1 * nodding(3).poses)
