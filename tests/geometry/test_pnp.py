"""Solvers of poses from points: exact without noise, near with it, with gradients that stay finite."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from vader3d.geometry.pnp import SOLVERS, Solution, epnp, implicit, posit
from vader3d.geometry.rotations import degrees_between, nearest_rotation

# Median and 95th percentile in degrees that 256 cases may err, by field of view and noise (share of the half picture).
EXACT = (1e-5, 1e-4)
TABLE = {
    ("posit", 10, 0.0): (5e-3, 0.05),
    ("posit", 30, 0.0): (0.1, 1.0),
    ("posit", 10, 0.05): (3.0, 6.0),
    ("posit", 30, 0.05): (3.0, 6.0),
    ("implicit", 10, 0.0): EXACT,
    ("implicit", 30, 0.0): EXACT,
    ("implicit", 10, 0.05): (3.0, 6.0),
    ("implicit", 30, 0.05): (3.0, 6.0),
    ("epnp", 10, 0.0): EXACT,
    ("epnp", 30, 0.0): EXACT,
    ("epnp", 10, 0.05): (20.0, 70.0),
    ("epnp", 30, 0.05): (8.0, 30.0),
}
LARGEST_GRADIENT = {"posit": 1e5, "implicit": 1e5, "epnp": math.inf}  # of points that all are seen within 1e-4


def cases(count: int, fov_degrees: float, noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Points, where they are seen, true rotations and translations, and the distance that frames the cube."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    slope = math.tan(math.radians(fov_degrees / 2))
    distance = 1.07 / slope
    rotation = nearest_rotation(draw(count, 3, 3))
    points = (torch.rand(count, 27, 3, generator=generator, dtype=torch.float64) - 0.5) * 1.2
    translation = torch.cat([0.05 * draw(count, 2), distance * (1 + 0.04 * draw(count, 1))], 1)
    local = points @ rotation.mT + translation[:, None]
    seen = local[..., :2] / local[..., 2:]
    return points, seen + noise * slope * draw(seen.shape), rotation, translation, distance


def solve(name: str, points: Tensor, seen: Tensor, distance: float) -> Solution:
    return SOLVERS[name](points, seen, depth=(0.3 * distance, 3 * distance))


@pytest.mark.parametrize(("name", "fov_degrees", "noise"), TABLE)
def test_poses_are_as_near_as_the_table_says(name, fov_degrees, noise):
    points, seen, rotation, _, distance = cases(256, fov_degrees, noise)
    found = solve(name, points, seen, distance)
    errors = degrees_between(found.rotation, rotation)
    median, rare = TABLE[name, fov_degrees, noise]
    assert found.found.all()
    assert errors.median() < median
    assert errors.quantile(0.95) < rare


def test_the_papers_solver_errs_more_than_the_others_in_a_narrow_view():
    points, seen, rotation, translation, distance = cases(256, 10, 0.05)
    poses = {name: solve(name, points, seen, distance) for name in SOLVERS}
    turned = {name: float(degrees_between(pose.rotation, rotation).median()) for name, pose in poses.items()}
    moved = {name: float((pose.translation - translation).norm(dim=-1).median()) for name, pose in poses.items()}
    assert turned["epnp"] > 3 * max(turned["posit"], turned["implicit"])
    assert moved["epnp"] > 2 * max(moved["posit"], moved["implicit"])


def test_posit_is_exact_after_more_steps():
    points, seen, rotation, translation, _ = cases(64, 10, 0.0)
    found = posit(points, seen, iterations=10, ridge=1e-9)
    assert degrees_between(found.rotation, rotation).median() < 1e-6
    assert torch.allclose(found.translation, translation, atol=1e-5)
    assert found.error.max() < 1e-7


@pytest.mark.parametrize("name", ["epnp", "implicit"])
def test_a_grid_of_points_at_the_papers_distance(name):
    """125 points round (0, 0, 10.5), the pose undone: c2w x_cam recovers x."""
    _, _, rotation, _, _ = cases(8, 10, 0.0)
    line = torch.linspace(-0.6, 0.6, 5, dtype=torch.float64)
    points = torch.cartesian_prod(line, line, line).expand(8, -1, -1)
    local = points @ rotation.mT + torch.tensor([0.02, -0.03, 10.5])
    found = SOLVERS[name](points, local[..., :2] / local[..., 2:])
    assert degrees_between(found.rotation, rotation).max() < 1e-4
    centre = -(found.rotation.mT @ found.translation[..., None])[..., 0]
    back = local @ found.rotation + centre[:, None]
    assert (back - points).abs().max() < 1e-4


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_take_wrong_points_out(name):
    points, seen, rotation, _, distance = cases(16, 30, 0.0)
    spoilt = seen.clone()
    spoilt[:, :5] += 0.3
    weights = torch.ones(16, 27, dtype=torch.float64)
    weights[:, :5] = 0
    solver = partial(SOLVERS[name], depth=(0.3 * distance, 3 * distance))
    assert degrees_between(solver(points, spoilt, weights).rotation, rotation).median() < 0.1
    assert degrees_between(solver(points, spoilt).rotation, rotation).median() > 2


@pytest.mark.parametrize("name", SOLVERS)
def test_gradients_are_those_of_differences(name):
    """Of points and of where they are seen, without noise: there the implicit gradient is exact.

    EPnP's of where they are seen alone: its control points move with the points, but have no gradient.
    """
    points, seen, _, _, distance = cases(4, 30, 0.0)
    generator = torch.Generator().manual_seed(1)
    weigh_rotation, weigh_translation, towards_points, towards_seen = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 3, 3), (4, 3), points.shape, seen.shape)
    )
    towards_points = towards_points * (name != "epnp")

    def score(amount: Tensor) -> Tensor:
        found = solve(name, points + amount * towards_points, seen + amount * towards_seen, distance)
        return (found.rotation * weigh_rotation).sum() + (found.translation * weigh_translation).sum()

    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(score(amount), amount)
    difference = (score(torch.tensor(1e-6).double()) - score(torch.tensor(-1e-6).double())) / 2e-6
    assert gradient.item() == pytest.approx(difference.item(), rel=5e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_gradients_of_collapsed_points_are_finite_and_bounded(name):
    points, _, _, _, distance = cases(64, 30, 0.0)
    generator = torch.Generator().manual_seed(2)
    points = points.float().requires_grad_()
    seen = (1e-4 * torch.randn(64, 27, 2, generator=generator)).requires_grad_()
    found = solve(name, points, seen, distance)
    ((found.rotation * torch.randn(64, 3, 3, generator=generator)).sum() + found.translation.sum()).backward()
    assert seen.grad.isfinite().all()
    assert points.grad.isfinite().all()
    assert seen.grad.flatten(1).norm(dim=1).max() < LARGEST_GRADIENT[name]
    assert seen.grad.any()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_diverged_pose_is_marked_and_spoils_no_other(name):
    points, seen, rotation, _, distance = cases(4, 30, 0.0)
    seen[1, 3] = torch.nan
    points, seen = points.float().requires_grad_(), seen.float().requires_grad_()
    found = solve(name, points, seen, distance)
    assert found.found.tolist() == [True, False, True, True]
    assert found.error[1] == torch.inf
    assert degrees_between(found.rotation[[0, 2, 3]], rotation[[0, 2, 3]]).max() < 2
    (found.rotation.sum() + found.translation.sum()).backward()
    assert seen.grad.isfinite().all()
    assert seen.grad[0].any()


@pytest.mark.parametrize("name", SOLVERS)
def test_what_does_not_fit_is_named(name):
    points, seen, *_ = cases(2, 30, 0.0)
    with pytest.raises(ValueError, match=r"points: wanted \[B, N, 3\] seen at \[B, N, 2\]"):
        SOLVERS[name](points, seen[:, :5])
    with pytest.raises(ValueError, match=r"weights: wanted \[2, 27\]; got \[27\]"):
        SOLVERS[name](points, seen, torch.ones(27))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_opencv_finds_the_same_poses(noise):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    points, seen, _, _, distance = cases(16, 30, noise)
    ours = implicit(points, seen, start=partial(posit, iterations=10), depth=(0.3 * distance, 3 * distance))
    papers = epnp(points, seen)
    eye = torch.eye(3).double().numpy()
    for i in range(16):
        point, place = points[i].numpy(), seen[i].numpy()
        _, vector, translation = cv2.solvePnP(point, place, eye, None, flags=cv2.SOLVEPNP_ITERATIVE)
        theirs = torch.from_numpy(cv2.Rodrigues(vector)[0])
        assert degrees_between(ours.rotation[i], theirs) < 1e-2
        assert torch.allclose(ours.translation[i], torch.from_numpy(translation[:, 0]), atol=2e-3)
        if not noise:
            _, vector, _ = cv2.solvePnP(point, place, eye, None, flags=cv2.SOLVEPNP_EPNP)
            assert degrees_between(papers.rotation[i], torch.from_numpy(cv2.Rodrigues(vector)[0])) < 1e-4
