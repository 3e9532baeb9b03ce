"""Rotations are scored after one turn of the world, beside a constant pose and the mirrored ones."""

import pytest
import torch

from vader3d.geometry.rotations import rotation_from_vector
from vader3d.measures.poses import aligned_degrees, rotation_scores


def drawn(count: int, spread: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rotation_from_vector(spread * torch.randn(count, 3, generator=generator, dtype=torch.float64))


def test_a_turn_of_the_world_costs_nothing():
    true = drawn(50, 0.7)
    assert aligned_degrees(true @ drawn(1, 1.0, 1), true).max() < 1e-5


def test_errors_are_those_of_the_poses_even_with_some_far_off():
    true = drawn(300, 0.7)
    noise = torch.zeros(300, 3, dtype=torch.float64)
    noise[:, 0] = torch.tensor([0.1, -0.1]).repeat(150)
    noise[:60, 2] = 3.0
    errors = aligned_degrees(rotation_from_vector(noise) @ true @ drawn(1, 1.0, 1), true)
    assert errors[60:].median() == pytest.approx(5.73, abs=0.6)
    assert errors[:60].min() > 90


def test_scores_tell_a_constant_pose_and_a_mirrored_one():
    yaws = torch.zeros(200, 3, dtype=torch.float64)
    yaws[:, 1] = torch.linspace(-1, 1, 200)
    true = rotation_from_vector(yaws)
    constant = rotation_scores(torch.eye(3).double().expand(200, 3, 3), true)
    assert constant["rotation_error"] == pytest.approx(28.6, abs=0.6)
    assert constant["constant_error"] == constant["rotation_error"]
    mirrored = rotation_scores(rotation_from_vector(-yaws), true)
    assert mirrored["mirrored_error"] < 1e-3
    assert mirrored["rotation_error"] > 20
    exact = rotation_scores(true.float(), true.float())
    assert exact["rotation_error"] < 0.1
    assert exact["within_15_degrees"] == 1
    assert exact["flipped"] == 0
    some = true.clone()
    some[::10] = rotation_from_vector(torch.tensor([[0, torch.pi, 0]]).double()) @ true[::10]
    assert rotation_scores(some, true)["flipped"] == pytest.approx(0.1)
