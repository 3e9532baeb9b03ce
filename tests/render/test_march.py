"""One March of settings for all back-ends: its ranges, what a model's own settings make of it, the seeds it gets."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch
from near import assert_near

from vader3d.geometry.cameras import orbit_cameras
from vader3d.geometry.rays import Rays
from vader3d.render import March, RenderConfig, Volume, backends, reference, render_views, render_volume
from vader3d.render.reference import seed_from

BAD = {
    "no samples": ({"samples_per_ray": 0}, "samples_per_ray: wanted at least 1; got 0"),
    "negative samples": ({"samples_per_ray": -4}, "samples_per_ray"),
    "negative noise": ({"density_noise": -0.1, "seed": 1}, "density_noise: wanted at least 0; got -0.1"),
    "endless noise": ({"density_noise": math.inf, "seed": 1}, "density_noise"),
    "noise that is NaN": ({"density_noise": math.nan, "seed": 1}, "density_noise"),
    "noise from nowhere": ({"density_noise": 0.5}, "seed: wanted one to draw density_noise 0.5 from; got None"),
    "a negative seed": ({"seed": -1}, r"seed: wanted at least 0 and below 4294967296; got -1"),
    "a seed of 33 bits": ({"seed": 1 << 32}, "seed"),
    "no light to stop at": ({"early_stop": 1.0}, r"early_stop: wanted at least 0 and below 1; got 1.0"),
    "a negative stop": ({"early_stop": -1e-3}, "early_stop"),
}


@pytest.mark.parametrize("case", BAD)
def test_values_out_of_range_are_refused_by_name(case):
    changed, message = BAD[case]
    with pytest.raises(ValueError, match=f"^{message}"):
        March(**{"samples_per_ray": 4} | changed)


def test_a_model_s_settings_make_the_march_of_its_pictures():
    config = RenderConfig(samples_per_ray=7, activation="softplus", density_scale=25.0, density_noise=0.5)
    assert config.march() == March(7)
    assert config.march(noise_factor=0.5, seed=3) == March(7, density_noise=0.25, seed=3)
    assert config.march(skip_empty=True) == March(7, skip_empty=True)


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_every_back_end_takes_the_same_call(name):
    call = inspect.signature(backends.BACKENDS["reference"].render_rays)
    assert list(call.parameters) == ["volume", "origins", "directions", "march"]
    assert inspect.signature(backends.BACKENDS[name].render_rays) == call


def test_one_march_gives_the_same_on_every_back_end_that_can_take_it():
    grid, origins = torch.randn(2, 5, 4, 5, 6), torch.nn.functional.normalize(torch.randn(2, 40, 3), dim=-1) * 3
    rays = Rays(origins, torch.nn.functional.normalize(-origins + torch.randn(2, 40, 3) * 0.3, dim=-1))
    march = March(23, density_noise=0.4, seed=9, early_stop=0.0, skip_empty=True)
    volume = Volume(grid, "softplus", 2.0)
    able = [name for name in backends.BACKENDS if backends.why_not(name, grid) is None]
    target, *others = [render_volume(volume, rays, march, backend=name) for name in reversed(able)]
    for rendering in others:
        for a, b in zip(rendering[:4], target[:4], strict=True):
            assert_near(a, b)


@pytest.mark.parametrize("first_object", [0, 3])
def test_views_are_drawn_from_one_number_of_the_generator(first_object):
    """The same draws as ever: trainings go on as they began."""
    volume, config = Volume(torch.randn(1, 4, 5, 5, 5)), RenderConfig(samples_per_ray=8, density_noise=0.5)
    cameras = orbit_cameras(torch.tensor([20.0]), torch.tensor([15.0]), distance=4, fov_degrees=40, size=6)[None]
    one, two = (torch.Generator().manual_seed(5) for _ in range(2))
    colour, _ = render_views(
        volume, cameras, config, generator=one, noise_factor=0.5, first_object=first_object, backend="reference"
    )
    seed = seed_from(int(torch.randint(1 << 32, (), generator=two)), first_object * 36 * 8)
    march = March(8, density_noise=0.25, seed=seed)
    target = render_volume(volume, cameras.rays(), march, backend="reference").colour
    assert torch.equal(colour.flatten(3).movedim(2, -1).flatten(1, 2), target)
    assert torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=two))


def test_noise_is_as_strong_on_the_cpu_as_in_the_definition():
    """A standard deviation in float32 there and here: the sums of many thicknesses agree to its precision."""
    grid, origins = torch.zeros(1, 4, 2, 2, 2), torch.tensor([[[-3.0, 0.0, 0.0]]]).expand(1, 500, 3)
    if backends.why_not("cpu", grid) is not None:
        pytest.skip("no C++ compiler")
    march, sums = March(16, density_noise=1.0, seed=4, early_stop=0.0), []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        rays = Rays(origins.to(dtype), torch.tensor([1.0, 0.0, 0.0], dtype=dtype).expand(1, 500, 3))
        opacity = render_volume(Volume(grid.to(dtype)), rays, march, backend=backend).opacity
        sums.append(float(-torch.log1p(-opacity.double()).sum()))
    assert sums[0] == pytest.approx(sums[1], rel=5e-7)


def test_constants_are_written_alike_wherever_noise_is_made():
    """Hashes' factors, the mean of four bytes; what divides their sum is written once, as `BYTES_STD`."""
    package = Path(reference.__file__).parents[1]
    definition = "".join((package / name).read_text() for name in ("render/reference.py", "randomness.py"))
    compiled = "".join(path.read_text() for path in sorted((package / "native" / "csrc").iterdir()))
    kernels = (package / "render" / "triton_kernels.py").read_text()

    def factors(text: str) -> set[int]:
        one = "3F800000"  # as a float
        return {int(digits, 16) for digits in re.findall(r"0x([0-9A-Fa-f]{8})u?\b", text) if digits != one}

    assert len(factors(compiled)) == 4
    assert factors(compiled) <= factors(definition)
    assert len(factors(kernels)) == 3
    assert factors(kernels) <= factors(definition)
    assert f"total - {reference.BYTES_MEAN}" in compiled
    for text in (compiled, kernels):
        numbers = [float(number) for number in re.findall(r"\b\d+\.\d*(?:e-?\d+)?", text)]
        for constant in (1 / reference.BYTES_STD, reference.BYTES_STD):
            assert not [number for number in numbers if abs(number / constant - 1) < 1e-2]
    assert reference.BYTES_STD == 21845**0.5
