"""A volume knows how its density is read, and hands that on with every part of it."""

import math

import pytest
import torch

from vader3d.render import Volume


def test_density_is_scale_times_activation_of_the_raw_channel():
    grid = torch.zeros(1, 4, 1, 1, 3)
    grid[0, 3, 0, 0] = raw = torch.tensor([-1.0, 0.0, 2.0])
    assert Volume(grid).density.flatten().tolist() == [0, 0, 2]
    assert Volume(grid, "relu", 3.0).density.flatten().tolist() == [0, 0, 6]
    torch.testing.assert_close(Volume(grid, "softplus", 3.0).density.flatten(), 3 * (1 + raw.exp()).log())
    assert torch.equal(Volume(grid, "softplus", 3.0).raw_density, grid[:, 3:4])


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("density", [1e-6, 0.3, 40.0])
def test_a_density_comes_back_from_its_raw_value(activation, density):
    volume = Volume(torch.zeros(1, 4, 2, 2, 2), activation, 25.0)
    raw = torch.tensor(volume.raw_from_density(density), dtype=torch.float64)
    assert float(volume.density_from_raw(raw)) == pytest.approx(density, rel=1e-9)


def test_parts_of_a_volume_are_read_as_the_whole():
    volume = Volume(torch.rand(3, 5, 2, 2, 2), "softplus", 25.0)
    parts = [volume.with_grid(volume.grid.half()), *volume.objects()]
    assert [len(part.grid) for part in parts] == [3, 1, 1, 1]
    assert all((part.activation, part.density_scale) == ("softplus", 25.0) for part in parts)
    assert torch.equal(torch.cat([part.grid for part in parts[1:]]), volume.grid)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scales_that_make_no_density_are_refused(scale):
    with pytest.raises(ValueError, match="density_scale: wanted above 0 and finite; got"):
        Volume(torch.zeros(1, 4, 2, 2, 2), density_scale=scale)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation: wanted one of relu, softplus; got 'tanh'"):
        Volume(torch.zeros(1, 4, 2, 2, 2), "tanh")
