"""Scores of moving parts: what is right scores well, and each control as badly as it must."""

import math

import pytest
import torch

from vader3d.geometry.cameras import orbit_cameras
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.measures.articulated import correlation, flat_card, jitter, leakage, moving_scores, parts_iou, yaws


def turning(clips: int = 4, frames: int = 12, *, noise: float = 0.0) -> torch.Tensor:
    """Yaws that swing, each clip's in its own way, and tremble by so many degrees."""
    phase = torch.arange(frames) / frames * math.pi
    yaw = torch.stack([30 * torch.sin(phase * (1 + clip) + clip) for clip in range(clips)]).deg2rad()
    vectors = torch.stack([0 * yaw, 0 * yaw, yaw], -1)
    tremble = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0)) * math.radians(noise)
    return rotation_from_vector(vectors) @ rotation_from_vector(tremble)


def test_turned_worlds_are_forgiven_and_shuffled_frames_are_not():
    true = turning()
    found = true @ rotation_from_vector(torch.tensor([0.3, 0.2, -0.5]))
    scores = moving_scores(found, true)
    assert scores["rotation_error"] < 0.1
    assert scores["shuffled_error"] > 5
    assert scores["constant_error"] > 5


def test_yaws_are_told_past_the_camera_and_by_correlation():
    to_camera = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # it stands at -y
    turn = rotation_from_vector(torch.tensor([[0.0, 0, 0], [0, 0, math.radians(20)], [0.3, 0, 0]]))
    assert yaws(to_camera @ turn).tolist() == pytest.approx([0, 20, 0], abs=1e-3)
    true = to_camera @ turning()
    shaken = to_camera @ turning(noise=6.0)
    same, rough = moving_scores(true, true), moving_scores(shaken, true)
    assert same["yaw_correlation"] == pytest.approx(1)
    assert 0.9 < rough["yaw_correlation"] < 0.999
    assert rough["shuffled_yaw_correlation"] < 0.8


def test_depth_is_told_by_correlation():
    depth = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = depth > 0.2
    assert correlation(3 * depth + 1, depth, mask) == pytest.approx(1)
    assert correlation(-depth, depth, mask) == pytest.approx(-1)
    assert correlation(torch.ones_like(depth), depth, mask) == 0
    assert abs(correlation(depth.flip(0), depth, mask)) < 0.5


def test_a_card_seen_straight_is_the_picture_and_from_the_side_it_is_narrow():
    picture = torch.ones(1, 32, 32)
    picture[:, :, :8], picture[:, :, 24:] = 0, 0
    cameras = orbit_cameras(torch.tensor([-90.0, -45.0, -110.0]), torch.zeros(3), size=32)
    between = torch.linalg.inv(cameras.world_from_camera[:1]) @ cameras.world_from_camera
    shown = flat_card(picture, cameras.intrinsics[0], between, 4.0)
    assert torch.allclose(shown[0], picture, atol=1e-4)
    widths = shown[:, 0, 16].sum(-1)
    assert 0.55 < widths[1] / widths[0] < 0.85  # about cos 45
    assert 0.85 < widths[2] / widths[0] < 1


def test_parts_may_have_other_names_and_one_part_for_all_scores_badly():
    true = torch.full((8, 8), 255)
    true[:4, 2:6], true[4:, 1:7] = 0, 1
    swapped = torch.where(true == 255, 0, 1 - true)
    assert parts_iou(swapped, true, 2) == pytest.approx(1)
    assert parts_iou(torch.zeros_like(true), true, 2) < 0.5


def test_a_driver_that_shows_through_is_noticed():
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(8, 20, generator=generator)
    noise = 0.1 * torch.randn(8, 8, 20, generator=generator)
    clean = leakage(own[:, None] + noise, own)
    assert clean["identity_kept"] == 1
    assert clean["driver_leaked"] < 0.3
    assert clean["chance"] == pytest.approx(1 / 7)
    leaking = leakage(0.6 * own[:, None] + 0.4 * own[None] + noise, own)
    assert leaking["driver_leaked"] > 0.6


def test_trembling_is_told_from_moving():
    assert jitter(turning(frames=60, noise=5.0)) > 3 * jitter(turning(frames=60))
    assert jitter(turning()[:, :1].expand(-1, 6, 3, 3)) < 1e-3
