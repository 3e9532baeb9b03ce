"""Blend skinning: rigid where parts agree, each part's own where it has all of a point, undone where it can be."""

import pytest
import torch
from torch import Tensor

from vader3d.geometry.rotations import cross_matrix, degrees_between, nearest_rotation, rotation_from_vector
from vader3d.geometry.skinning import at_rest, inverse, moved, posed


def drawn_poses(*shape: int, turn: float = 0.5, shift: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    vectors = turn * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    offsets = shift * torch.randn(*shape, 3, 1, generator=generator, dtype=torch.float64)
    return torch.cat([rotation_from_vector(vectors), offsets], -1)


def drawn_points(*shape: int) -> Tensor:
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5


def drawn_logits(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_equal_poses_move_rigidly_whatever_the_logits():
    pose = drawn_poses(2, 3, 1)
    points = drawn_points(2, 3, 20)
    rest, shares = at_rest(points, pose.expand(-1, -1, 4, -1, -1), drawn_logits(2, 4, 5, 5, 5))
    assert torch.allclose(rest, moved(points, pose[:, :, 0]), atol=1e-12)
    assert torch.allclose(shares.sum(2), torch.ones(2, 3, 20).double())
    assert torch.allclose(at_rest(points, pose, drawn_logits(2, 0, 5, 5, 5))[0], rest)


def test_a_part_that_has_all_of_a_point_moves_it_alone():
    """The cube's upper half (z > 0) is part 1's, the lower part 0's, with a voxel between."""
    poses = drawn_poses(1, 2, 2, turn=0.1, shift=0.0)
    logits = torch.zeros(1, 2, 9, 9, 9, dtype=torch.float64)
    logits[:, 0, :4], logits[:, 1, 5:] = 1e3, 1e3
    points = drawn_points(1, 2, 200)
    rest, shares = at_rest(points, poses, logits)
    for part, side in ((0, -1), (1, 1)):
        far = side * points[..., 2] > 0.4
        assert far.any()
        assert torch.allclose(rest[far], moved(points, poses[:, :, part])[far])
        assert (shares[:, :, part][far] > 0.999).all()


def test_logits_are_read_at_each_parts_own_guess():
    """Part 1 comes from far away: at its guesses, and there alone, its logit is large."""
    poses = drawn_poses(1, 1, 2, turn=0.0, shift=0.0)
    poses[0, 0, 1, 0, 3] = 0.9
    logits = torch.zeros(1, 2, 3, 3, 41, dtype=torch.float64)
    logits[0, 1, :, :, 30:] = 100.0
    points = torch.tensor([[[[-0.2, 0.0, 0.0], [0.0, 0.1, 0.3], [-0.8, 0.0, 0.0], [0.6, 0.0, 0.0]]]]).double()
    _, shares = at_rest(points, poses, logits)
    assert torch.allclose(shares[0, 0, 1], torch.tensor([1.0, 1.0, 0.5, 0.5]).double(), atol=1e-6)


def test_the_blend_is_undone_where_it_has_an_inverse():
    """Constant shares: of pure translations, and of one part alone with any pose."""
    points = drawn_points(1, 2, 30)
    logits = torch.tensor([0.3, -0.5, 1.0]).double().view(1, 3, 1, 1, 1).expand(1, 3, 4, 4, 4)
    for poses, values in ((drawn_poses(1, 2, 3, turn=0.0), logits), (drawn_poses(1, 2, 3, shift=0.02), 1e4 * logits)):
        rest, shares = at_rest(points, poses, values)
        assert torch.allclose(posed(rest, poses, shares), points, atol=1e-12)


def test_gradients_reach_points_poses_and_logits():
    points, poses, logits = drawn_points(1, 1, 5), drawn_poses(1, 1, 2, shift=0.02), drawn_logits(1, 2, 4, 4, 4)
    inputs = tuple(tensor.requires_grad_() for tensor in (points, poses, logits))
    assert torch.autograd.gradcheck(lambda *tensors: at_rest(*tensors), inputs)


def test_poses_are_inverted():
    poses, points = drawn_poses(4), drawn_points(4, 6)
    assert torch.allclose(moved(moved(points, poses), inverse(poses)), points)


def test_rotations():
    vectors = torch.tensor([[0.0, 0, 0], [0, 0, torch.pi / 2], [1e-4, 0, 0]], requires_grad=True)
    rotations = rotation_from_vector(vectors)
    assert torch.allclose(rotations[1] @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)
    angles = degrees_between(rotations, torch.eye(3))
    assert torch.allclose(angles, vectors.detach().norm(dim=-1).rad2deg(), rtol=1e-3)
    rotations[0, 1, 0].backward()
    assert vectors.grad[0].tolist() == [0, 0, 1]
    a, b = drawn_points(5), drawn_points(5).flip(0)
    assert torch.allclose((cross_matrix(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))
    turn = drawn_poses(6)[..., :3]
    assert torch.allclose(nearest_rotation(3 * turn), turn)
    assert torch.allclose(torch.det(nearest_rotation(-turn)), torch.ones(6).double())


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"poses: wanted \[2, V, K, 3, 4\]; got \[1, 2, 3, 3, 4\]"):
        at_rest(drawn_points(2, 2, 3), drawn_poses(1, 2, 3), drawn_logits(2, 3, 4, 4, 4))
    with pytest.raises(ValueError, match="as many parts as the volume has skinning channels, 2; got 3"):
        at_rest(drawn_points(2, 2, 3), drawn_poses(2, 2, 3), drawn_logits(2, 2, 4, 4, 4))
