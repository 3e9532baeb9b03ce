"""Camera poses from points and where they are seen, with gradients.

Three solvers of one problem: points X [B, N, 3] of an object are seen at y [B, N, 2] = (x / z, y / z) in the camera's
axes; wanted are R, t with y = projection of R X + t, weighted by w [B, N]. Gradients flow to X, y and w.

`posit`: a weak-perspective camera by least squares, and a few fixed-point steps to perspective; it is singular only
where all points lie in a plane seen edge-on. `implicit`: the least-squares pose, found without a gradient; the
derivative is that of one more Gauss-Newton step. `epnp`: the paper's solver, by eigenvectors; noise and collapsed
points upset it (A37).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from vader3d.geometry.rotations import cross_matrix, nearest_rotation, rotation_from_vector

NEAREST = 1e-3  # depth that a projection divides by at least
GAUSS_NEWTON_STEPS, DAMPING = 6, 1e-3
PAIRS = ((0, 0, 0, 1, 1, 2), (1, 2, 3, 2, 3, 3))  # of EPnP's four control points


class Solution(NamedTuple):
    """Camera from object: `rotation` [B, 3, 3], `translation` [B, 3]; `error` [B], the mean distance of y to it.

    `found` [B]: finite, and in front of the camera. Where not, the pose is the identity at depth 1, the error infinite,
    and there is no gradient: callers count these and decide.
    """

    rotation: Tensor
    translation: Tensor
    error: Tensor
    found: Tensor


def posit(
    points: Tensor,
    seen: Tensor,
    weights: Tensor | None = None,
    *,
    iterations: int = 4,
    ridge: float = 1e-4,
    depth: tuple[float, float] = (1e-2, 1e6),
) -> Solution:
    """Poses as `Solution` from points [B, N, 3] seen at [B, N, 2], by POSIT; safe in float32.

    iterations: 10 are exact to 1e-8 where there is no noise. ridge: of the points' covariance, relative to its mean;
    keeps flat sets of points from blowing up. depth: the centre's distance is clamped to it.
    """
    points, seen, weights = prepared(points, seen, weights)
    share = (weights / weights.sum(-1, keepdim=True))[..., None]
    centre = (share * points).sum(1, keepdim=True)
    centred = points - centre
    covariance = centred.mT @ (share * centred)
    eye = torch.eye(3).to(points)
    damped = covariance + ridge * covariance.diagonal(dim1=-1, dim2=-2).mean(-1)[:, None, None] * eye
    solver = torch.linalg.solve_ex(damped, (share * centred).mT)[0]  # [B, 3, N]
    stretch = torch.ones_like(share)  # depth of each point over the centre's
    for _ in range(iterations):
        flat = seen * stretch
        offset = (share * flat).sum(1)
        rows = (solver @ (flat - offset[:, None])).mT  # [B, 2, 3]: the camera's x and y axis over the depth
        scale = (rows.square().sum((-1, -2)) / 2 + 1e-12).sqrt()
        first, second = normalize(rows[:, 0], dim=-1), normalize(rows[:, 1], dim=-1)
        halfway, across = normalize(first + second, dim=-1), normalize(first - second, dim=-1)
        x, y = (halfway + across) * 0.5**0.5, (halfway - across) * 0.5**0.5
        forward = torch.linalg.cross(x, y)
        distance = (1 / scale).clamp(*depth)
        stretch = 1 + (centred @ forward[..., None]) / distance[:, None, None]
    rotation = torch.stack([x, y, forward], -2)
    translation = torch.cat([offset, torch.ones_like(scale)[:, None]], -1) * distance[:, None]
    return solution(points, seen, weights, rotation, translation - (rotation @ centre.mT)[..., 0], points.dtype)


def implicit(
    points: Tensor,
    seen: Tensor,
    weights: Tensor | None = None,
    *,
    start: Callable[..., Solution] = posit,
    depth: tuple[float, float] = (1e-2, 1e6),
) -> Solution:
    """Poses as `Solution` with the least squared error, from points [B, N, 3] seen at [B, N, 2]; float64 inside.

    start: the solver whose poses are refined. depth: as that of `posit`, for the start.
    """
    kind = points.dtype
    points, seen, weights = prepared(points, seen, weights, torch.float64)
    with torch.no_grad():
        rotation, translation, _, found = start(points, seen, weights, depth=depth)
        for _ in range(GAUSS_NEWTON_STEPS):
            rotation, translation = gauss_newton(points, seen, weights, rotation, translation)
        translation[~found] = torch.nan
    rotation, translation = gauss_newton(points, seen, weights, rotation, translation)
    return solution(points, seen, weights, rotation, translation, kind)


def gauss_newton(
    points: Tensor, seen: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor]:
    """One damped step from poses towards the least squared error; only what is left of it has a gradient."""
    turned = points @ rotation.mT
    local = turned + translation[:, None]
    projected, inverse = projection(local), 1 / local[..., 2].clamp_min(NEAREST)
    left = (seen - projected)[..., None]
    zero = torch.zeros_like(inverse)
    slope = torch.stack(  # of the projection, by the point in the camera's axes
        [inverse, zero, -projected[..., 0] * inverse, zero, inverse, -projected[..., 1] * inverse], -1
    ).unflatten(-1, (2, 3))
    jacobian = torch.cat([slope @ -cross_matrix(turned), slope], -1).detach()
    weighted = jacobian.mT * weights[..., None, None]
    normal = (weighted @ jacobian).sum(1)
    normal = normal + torch.diag_embed(DAMPING * normal.diagonal(dim1=-1, dim2=-2) + 1e-9)
    step = torch.linalg.solve_ex(normal, (weighted @ left).sum(1))[0][..., 0]
    return rotation_from_vector(step[:, :3]) @ rotation, translation + step[:, 3:]


def epnp(
    points: Tensor, seen: Tensor, weights: Tensor | None = None, *, depth: tuple[float, float] = (1e-2, 1e6)
) -> Solution:
    """Poses as `Solution` from points [B, N, 3] seen at [B, N, 2], by EPnP as the paper has it; float64 inside.

    Four control points and a kernel of four eigenvectors; of four candidates the one with the least error; scale and
    pose by Umeyama's method. depth: poses whose centre lies beyond are not found.
    """
    kind = points.dtype
    points, seen, weights = prepared(points, seen, weights, torch.float64)
    controls = control_points(points.detach())
    # Every point as a weighted sum of the control points, in the object and in the camera alike.
    sums = torch.linalg.solve_ex(pad(controls, (0, 1), value=1.0).mT, pad(points, (0, 1), value=1.0).mT)[0].mT
    scaled = sums * weights[..., None]
    zero = torch.zeros_like(scaled)
    across = torch.stack([scaled, zero, -seen[..., :1] * scaled], -1).flatten(-2)
    down = torch.stack([zero, scaled, -seen[..., 1:] * scaled], -1).flatten(-2)
    system = torch.cat([across, down], 1)  # [B, 2 N, 12]: 0 for the control points in the camera's axes
    square = system.mT @ system
    apart = 1e-10 * torch.arange(12).to(square) * square.diagonal(dim1=-1, dim2=-2).mean(-1, keepdim=True)
    usable_square = (square + torch.diag_embed(apart)).nan_to_num(nan=0, posinf=0, neginf=0)
    kernel = torch.linalg.eigh(usable_square)[1][..., :4].mT.unflatten(-1, (4, 3))  # [B, 4 vectors, 4 points, 3]
    local = sums[:, None] @ torch.einsum("bck,bkjx->bcjx", candidates(kernel, controls), kernel)  # [B, 4, N, 3]
    local = local * torch.where(local[..., 2].mean(-1) < 0, -1.0, 1.0)[..., None, None]
    rotation, translation = similarity(points[:, None], local, weights[:, None])
    moved = points[:, None] @ rotation.mT + translation[..., None, :]
    errors = ((projection(moved) - seen[:, None]).norm(dim=-1) * weights[:, None]).mean(-1)
    best = errors.detach().nan_to_num(nan=torch.inf).argmin(-1)
    every = torch.arange(len(points), device=points.device)
    rotation, translation = rotation[every, best], translation[every, best]
    distance = (rotation[:, 2] * points.mean(1)).sum(-1) + translation[:, 2]
    inside = (distance >= depth[0]) & (distance <= depth[1])
    translation = torch.where(inside[:, None], translation, torch.nan)
    return solution(points, seen, weights, rotation, translation, kind)


def control_points(points: Tensor) -> Tensor:
    """The mean [B, 4, 3] of the points, and beside it one along each axis, as far as the points spread."""
    centre = points.mean(1, keepdim=True)
    spread = (points - centre).square().sum(-1).mean(-1).sqrt().clamp_min(1e-6)
    axes = torch.cat([torch.eye(3), torch.zeros(1, 3)]).to(points)
    return centre + axes * spread[:, None, None]


def candidates(kernel: Tensor, controls: Tensor) -> Tensor:
    """Factors [B, 4 candidates, 4] of the kernel's vectors that keep the control points' distances.

    The first vector alone, and three solutions of equations for products of factors, each with other products left out.
    """
    first, second = PAIRS
    distances = (controls[:, first] - controls[:, second]).square().sum(-1)  # [B, 6]
    sides = kernel[:, :, first] - kernel[:, :, second]  # [B, 4, 6, 3]
    products = {(a, b): (sides[:, a] * sides[:, b]).sum(-1) * (1 + (a != b)) for a in range(4) for b in range(a, 4)}

    def solved(*pairs: tuple[int, int]) -> list[Tensor]:
        equations = torch.stack([products[pair] for pair in pairs], -1)
        return list((torch.linalg.pinv(equations) @ distances[..., None])[..., 0].unbind(-1))

    def root(square: Tensor) -> Tensor:
        return square.abs().clamp_min(1e-18).sqrt()

    a, ab, ac, ad = solved((0, 0), (0, 1), (0, 2), (0, 3))
    sign, zero = torch.where(a < 0, -1.0, 1.0), torch.zeros_like(a)
    found = [torch.stack([torch.ones_like(a), zero, zero, zero], -1)]
    found.append(torch.stack([root(a), *(sign * x / root(a) for x in (ab, ac, ad))], -1))
    a, ab, bb = solved((0, 0), (0, 1), (1, 1))
    found.append(torch.stack([root(a), root(bb) * a.sign() * ab.sign(), zero, zero], -1))
    a, ab, bb, ac, _ = solved((0, 0), (0, 1), (1, 1), (0, 2), (1, 2))
    found.append(torch.stack([root(a), root(bb) * a.sign() * ab.sign(), a.sign() * ac / root(a), zero], -1))
    return torch.stack(found, 1)


def similarity(points: Tensor, local: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation and translation, over the scale, of the similarity that takes points [..., N, 3] to local ones."""
    share = (weights / weights.sum(-1, keepdim=True))[..., None]
    centre, local_centre = (share * points).sum(-2), (share * local).sum(-2)
    centred = points - centre[..., None, :]
    mixed = (share * (local - local_centre[..., None, :])).mT @ centred
    rotation = nearest_rotation(mixed.nan_to_num(nan=0, posinf=0, neginf=0))
    scale = (rotation * mixed).sum((-1, -2)) / (share * centred.square()).sum((-1, -2)).clamp_min(1e-12)
    translation = local_centre / scale.clamp_min(1e-9)[..., None] - (rotation @ centre[..., None])[..., 0]
    return rotation, translation


def projection(local: Tensor) -> Tensor:
    """Points [..., 3] in the camera's axes -> (x / z, y / z)."""
    return local[..., :2] / local[..., 2:].clamp_min(NEAREST)


def solution(
    points: Tensor, seen: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor, kind: torch.dtype
) -> Solution:
    """The poses with their errors, in the type `kind`, marked where they are none."""
    local = points @ rotation.mT + translation[:, None]
    error = ((projection(local) - seen).norm(dim=-1) * weights).mean(-1)
    found = error.isfinite() & rotation.isfinite().all((1, 2)) & (local[..., 2].mean(-1) > 0)
    rotation = rotation.where(found[:, None, None], torch.eye(3).to(rotation))
    translation = translation.where(found[:, None], translation.new_tensor([0.0, 0.0, 1.0]))
    error = error.where(found, error.new_tensor(torch.inf))
    return Solution(rotation.to(kind), translation.to(kind), error.to(kind), found)


def prepared(
    points: Tensor, seen: Tensor, weights: Tensor | None, kind: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Points, where they are seen, and weights (1 where there are none) in the type `kind`, with finite gradients.

    ValueError for shapes that do not fit.
    """
    if points.dim() != 3 or points.shape[2] != 3 or seen.shape != (*points.shape[:2], 2) or points.shape[1] < 6:
        raise ValueError(
            f"points: wanted [B, N, 3] seen at [B, N, 2], N 6 or more; got {list(points.shape)}, {list(seen.shape)}"
        )
    if weights is None:
        weights = torch.ones_like(points[..., 0])
    if weights.shape != points.shape[:2]:
        raise ValueError(f"weights: wanted {list(points.shape[:2])}; got {list(weights.shape)}")
    kind = kind or points.dtype
    return finite_gradient(points.to(kind)), finite_gradient(seen.to(kind)), finite_gradient(weights.to(kind))


def finite_gradient(x: Tensor) -> Tensor:
    """`x`, whose gradient is 0 where it is not finite."""
    if not x.requires_grad:
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient.nan_to_num(nan=0, posinf=0, neginf=0))
    return x


SOLVERS: dict[str, Callable[..., Solution]] = {"posit": posit, "implicit": implicit, "epnp": epnp}
