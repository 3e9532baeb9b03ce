"""Where rays cross the cube."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vader3d.geometry.rays import cube_crossing

coordinate = st.floats(-3, 3, allow_nan=False, width=32)
vector = st.tuples(coordinate, coordinate, coordinate)


@given(vector, vector.filter(lambda v: sum(x * x for x in v) > 0.01))
def test_points_between_near_and_far_are_the_points_inside(origin, direction):
    origin, direction = (torch.tensor(v, dtype=torch.float64) for v in (origin, direction))
    near, far = cube_crossing(origin, direction)
    assert 0 <= near <= far
    depths = torch.linspace(0, 40, 401, dtype=torch.float64)
    reach = (origin + depths[:, None] * direction).abs().amax(-1)
    clearly = (reach - 1).abs() > 1e-6
    inside = (depths >= near) & (depths <= far) & (far > near)
    assert torch.equal(inside[clearly], (reach < 1)[clearly])


def test_a_straight_shot():
    near, far = cube_crossing(torch.tensor([-3.0, 0.2, 0.0]), torch.tensor([1.0, 0.0, 0.0]))
    assert (float(near), float(far)) == (2.0, 4.0)


def test_misses_and_cubes_behind_are_empty():
    origins = torch.tensor([[-3.0, 1.5, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    near, far = cube_crossing(origins, directions)
    assert torch.equal(near, far)


def test_from_inside_the_march_begins_at_the_eye():
    near, far = cube_crossing(torch.tensor([0.5, 0.0, 0.0]), torch.tensor([-1.0, 0.0, 0.0]))
    assert (float(near), float(far)) == (0.0, 1.5)


def test_rays_along_an_axis_are_finite_and_differentiable():
    origins = torch.tensor([[-3.0, 0.0, 0.0], [-3.0, 1.0, 0.0]], requires_grad=True)
    directions = torch.tensor([[1.0, 0.0, -0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    near, far = cube_crossing(origins, directions)
    (far - near).sum().backward()
    assert far.isfinite().all()
    assert origins.grad.isfinite().all()
    assert directions.grad.isfinite().all()


def test_the_crossing_is_differentiable_in_both_arguments():
    generator = torch.Generator().manual_seed(0)
    origins = 3 * torch.nn.functional.normalize(torch.randn(8, 3, generator=generator, dtype=torch.float64), dim=-1)
    directions = 0.3 * torch.randn(8, 3, generator=generator, dtype=torch.float64) - origins
    arguments = (origins.requires_grad_(), directions.requires_grad_())
    assert torch.autograd.gradcheck(cube_crossing, arguments)
