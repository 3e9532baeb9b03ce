"""Rotations: from vectors, to the nearest one, and how far apart."""

import math

import torch
from torch import Tensor

MEDIAN_LENGTH = 1.538  # of a vector of three numbers from N(0, 1)


def cross_matrix(vectors: Tensor) -> Tensor:
    """[..., 3] -> [..., 3, 3], with cross_matrix(a) @ b = a x b."""
    axes = torch.eye(3).to(vectors).expand(*vectors.shape[:-1], 3, 3)
    return torch.linalg.cross(vectors[..., None, :].expand_as(axes), axes).mT


def rotation_from_vector(vectors: Tensor) -> Tensor:
    """Axis times angle in radians [..., 3] -> rotations [..., 3, 3]; has a gradient at 0 too."""
    return torch.matrix_exp(cross_matrix(vectors))


def vector_from_rotation(rotations: Tensor) -> Tensor:
    """Rotations [..., 3, 3] -> axis times angle in radians [..., 3], at most pi long; without a gradient."""
    from scipy.spatial.transform import Rotation

    vectors = Rotation.from_matrix(rotations.detach().double().cpu().reshape(-1, 3, 3).numpy()).as_rotvec()
    return torch.from_numpy(vectors).to(rotations).view(rotations.shape[:-1])


def random_turns(*shape: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Vectors [..., 3], as `rotation_from_vector` takes them, of random turns, `degrees` in the median."""
    return torch.randn(*shape, 3, generator=generator) * (math.radians(degrees) / MEDIAN_LENGTH)


def nearest_rotation(matrices: Tensor) -> Tensor:
    """The rotations [..., 3, 3] nearest to matrices, by least squares."""
    left, _, right = torch.linalg.svd(matrices)
    signs = torch.ones_like(matrices[..., 0])
    signs[..., 2] = torch.det(left @ right).sign()
    return left @ (signs[..., None] * right)


def degrees_between(rotations: Tensor, others: Tensor) -> Tensor:
    """Angles [...] in degrees, exact for small ones too."""
    chord = (rotations - others).square().sum((-1, -2)).sqrt() / math.sqrt(8)
    return 2 * torch.asin(chord.clamp_max(1)).rad2deg()
