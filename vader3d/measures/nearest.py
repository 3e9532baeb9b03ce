"""Nearest points of two sets."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from vader3d.native.library import library

LANES = 8  # of the library's widest vectors
FAR = 1e15  # coordinates of points that are nobody's nearest; their squares stay finite
DISTANCES_PER_TILE = 1 << 17  # as many as stay in a core's cache between the product and its two minima


def nearest_squares(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of each point of a [P, 3] to the nearest of b [Q, 3], and of each of b's to a: [P] and [Q].

    P and Q are at least 1. Gradients, other types than float32 and other devices than the CPU: in torch.
    """
    compiled, _ = library()
    wants_gradients = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    if compiled is None or wants_gradients or a.is_cuda or not a.dtype == b.dtype == torch.float32:
        return nearest_in_torch(a, b)
    rows, columns = a.contiguous(), pad(b.mT, (0, -len(b) % LANES), value=FAR).contiguous()
    to_b, to_a = rows.new_empty(len(rows)), rows.new_empty(columns.shape[1])
    compiled.vader3d_nearest(
        rows.data_ptr(), len(to_b), columns.data_ptr(), len(to_a), to_a.data_ptr(), to_b.data_ptr()
    )
    return to_b, to_a[: len(b)]


def nearest_in_torch(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`nearest_squares` by |x - y|^2 = |x|^2 - 2 x y + |y|^2: about 1e-7 of rounding for points of size 1."""
    middle = (a.mean(0) + b.mean(0)) / 2  # small coordinates lose the fewest digits
    a, b = a - middle, b - middle
    square_a, square_b = a.square().sum(-1, keepdim=True), b.square().sum(-1, keepdim=True)
    left = torch.cat([-2 * a, square_a, torch.ones_like(square_a)], -1)
    right = torch.cat([b, torch.ones_like(square_b), square_b], -1).mT
    to_b, to_a = [], b.new_full((len(b),), torch.inf)
    for tile in left.split(max(1, DISTANCES_PER_TILE // len(b))):
        squares = tile @ right
        to_b.append(squares.amin(1))
        to_a = torch.minimum(to_a, squares.amin(0))
    return torch.cat(to_b).clamp_min(0), to_a.clamp_min(0)
