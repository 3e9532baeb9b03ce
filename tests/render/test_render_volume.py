"""Rendering along rays: what is true of every back-end, parity with the reference, bad calls."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from near import EARLY_STOP_TOLERANCE, assert_near, nan_filled

from vader3d.geometry.cameras import orbit_cameras
from vader3d.geometry.rays import Rays, cube_crossing
from vader3d.render import March, RenderConfig, Volume, cpu, render_views, render_volume

CPU_WORKS = cpu.why_not(torch.zeros(1, 4, 2, 2, 2)) is None
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.skipif(not CPU_WORKS, reason="no C++ compiler"))]


def random_rays(objects: int, rays: int) -> Rays:
    origins = torch.nn.functional.normalize(torch.randn(objects, rays, 3), dim=-1) * 3
    targets = torch.rand(objects, rays, 3) * 2.4 - 1.2  # some miss
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1))


def straight_ray() -> Rays:
    return Rays(torch.tensor([[[-3.0, 0.1, 0.2]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [1, 7, 64])
def test_a_uniform_slab_lets_through_what_beer_lambert_says(backend, samples):
    grid = torch.full((1, 4, 3, 3, 3), 0.7)
    rendering = render_volume(Volume(grid), straight_ray(), March(samples, early_stop=0), backend=backend)
    assert rendering.opacity.item() == pytest.approx(1 - math.exp(-0.7 * 2), abs=1e-6)
    assert rendering.colour[0, 0].tolist() == pytest.approx([0.7 * rendering.opacity.item()] * 3, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_black_and_shows_the_background(backend):
    grid = torch.cat([torch.rand(1, 3, 4, 4, 4), torch.full((1, 1, 4, 4, 4), -1.0)], 1)
    colour = torch.tensor([0.1, 0.2, 0.3])
    rendering = render_volume(Volume(grid), random_rays(1, 50), March(8), background=colour, backend=backend)
    assert rendering.opacity.abs().max() == 0
    assert torch.allclose(rendering.colour, colour.expand(1, 50, 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bright_voxel_lands_where_the_camera_says(backend):
    grid = torch.zeros(1, 4, 17, 17, 17)
    grid[0, :, 12, 4, 9] = 50.0  # z, y, x
    point = torch.tensor([[9.0, 4.0, 12.0]]) / 8 - 1
    cameras = orbit_cameras(
        torch.tensor([30.0, 200.0]), torch.tensor([20.0, -5.0]), distance=4, fov_degrees=40, size=64
    )
    _, opacity = render_views(Volume(grid), cameras[None], RenderConfig(samples_per_ray=256), backend=backend)
    pixels, _ = cameras.project(point.expand(2, 1, 3))
    for view in range(2):
        row, column = divmod(int(opacity[0, view, 0].argmax()), 64)
        assert abs(column + 0.5 - pixels[view, 0, 0]) < 1
        assert abs(row + 0.5 - pixels[view, 0, 1]) < 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_ball_has_a_ball_s_silhouette_depth_and_normals(backend):
    line = torch.linspace(-1, 1, 41)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    density = (0.6 - (x**2 + y**2 + z**2).sqrt()) * 400
    grid = torch.cat([torch.ones(3, 41, 41, 41), density[None]])[None]
    offsets = torch.linspace(-0.95, 0.95, 39)
    origins = torch.stack([torch.full_like(offsets, -3), offsets, torch.zeros_like(offsets)], -1)[None]
    rays = Rays(origins, torch.tensor([1.0, 0, 0]).expand_as(origins))
    rendering = render_volume(Volume(grid), rays, March(200), normals=True, backend=backend)
    inside = offsets.abs() < 0.55
    assert (rendering.opacity[0, inside] > 0.99).all()
    assert (rendering.opacity[0, offsets.abs() > 0.65] < 0.01).all()
    # Behind the surface at depth 2.4 density grows as 400 s, so light reaches sqrt(pi / 800) further in the mean.
    middle = len(offsets) // 2
    assert rendering.depth[0, middle].item() == pytest.approx(2.4 + math.sqrt(math.pi / 800), abs=5e-3)
    assert rendering.normals[0, middle].tolist() == pytest.approx([-1, 0, 0], abs=0.05)


SIZES = [(1, 1, 2, 4), (31, 33, 5, 4), (33, 31, 8, 7), (4, 1, 33, 14)]


@pytest.mark.skipif(not CPU_WORKS, reason="no C++ compiler")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rays", "samples", "voxels", "channels"), SIZES)
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_cpu_equals_the_reference(rays, samples, voxels, channels, activation, threads):
    grid = torch.randn(2, channels, voxels, voxels + 1, voxels + 2)
    bundle, march = random_rays(2, rays), March(samples, density_noise=0.3, seed=1, early_stop=0)
    found, wanted = [], []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with nan_filled():
            for backend, results, dtype in (("cpu", found, torch.float32), ("reference", wanted, torch.float64)):
                leaves = [part.to(dtype, copy=True).requires_grad_() for part in (grid, *bundle)]
                rendering = render_volume(Volume(leaves[0], activation, 3.0), Rays(*leaves[1:]), march, backend=backend)
                weight = torch.linspace(0.5, 1.5, rays, dtype=dtype)
                features = rendering.colour.sin().sum(-1) + rendering.extra.square().sum(-1)
                ((features + rendering.opacity * 2 + rendering.depth) * weight).sum().backward()
                results += [*rendering[:4], *(leaf.grad for leaf in leaves)]
    finally:
        torch.set_num_threads(before)
    names = ("colour", "opacity", "depth", "extra", "grid's gradient", "origins' gradient", "directions' gradient")
    for name, a, b in zip(names, found, wanted, strict=True):
        assert_near(a, b, what=name)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_skipping_what_is_empty_changes_nothing_that_shows(backend, activation):
    line = torch.linspace(-1, 1, 33)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    density = 40 * (0.4 - ((x - 0.3) ** 2 + y**2 + (z + 0.2) ** 2).sqrt()) - (20 if activation == "softplus" else 0)
    volume = Volume(torch.cat([torch.rand(3, 33, 33, 33), density[None]])[None], activation, 25.0)
    whole = render_volume(volume, rays := random_rays(1, 300), March(48), backend="reference")
    quick = render_volume(volume, rays, March(48, skip_empty=True), backend=backend)
    assert whole.opacity.max() > 0.5 or activation == "softplus"
    for name, a, b in zip(("colour", "opacity", "depth"), whole, quick, strict=False):
        assert (a - b).abs().max() < EARLY_STOP_TOLERANCE * max(1, float(a.abs().max())), name


@pytest.mark.skipif(not CPU_WORKS, reason="no C++ compiler")
@settings(max_examples=60, deadline=None)
@given(
    objects=st.integers(1, 3),
    rays=st.integers(0, 40),
    samples=st.integers(1, 40),
    depth=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    jitter=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_cpu_equals_the_reference_on_any_shape(objects, rays, samples, depth, width, seed, jitter, dtype):
    torch.manual_seed(seed)
    grid = torch.randn(objects, 4, depth, 3, width).to(dtype)
    bundle = random_rays(objects, rays)
    march, results = March(samples, seed=seed if jitter else None, early_stop=0), []
    exact = grid.double(), Rays(*(part.double() for part in bundle))  # rays that graze want it
    for backend, (voxels, rays_) in (("cpu", (grid, bundle)), ("reference", exact)):
        results.append(render_volume(Volume(voxels), rays_, march, backend=backend))
    for name, a, b in zip(results[0]._fields, *results, strict=True):
        if b is not None:
            assert_near(a, b, what=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_early_stop_costs_little(backend):
    grid, rays = torch.rand(1, 4, 8, 8, 8) * 20, random_rays(1, 200)
    exact = render_volume(Volume(grid), rays, March(64, early_stop=0), backend="reference")
    stopped = render_volume(Volume(grid), rays, March(64), backend=backend)
    assert (exact.opacity - stopped.opacity).abs().max() < EARLY_STOP_TOLERANCE


def test_the_reference_has_the_gradient_of_its_values():
    grid = torch.randn(1, 5, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    bundle = random_rays(1, 6)
    origins, directions = (part.double().requires_grad_() for part in bundle)

    def render(grid, origins, directions):
        rendering = render_volume(Volume(grid, "softplus"), Rays(origins, directions), March(5, early_stop=0))
        return rendering.colour, rendering.opacity, rendering.depth, rendering.extra

    assert torch.autograd.gradcheck(render, (grid, origins, directions))


def test_chunks_change_nothing(monkeypatch):
    from vader3d.render import reference

    def run():
        grid = torch.randn(2, 4, 5, 5, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(3)
        march = March(9, density_noise=0.2, seed=4)
        rendering = render_volume(Volume(grid), random_rays(2, 37), march, backend="reference")
        rendering.colour.square().sum().backward()
        return rendering.colour, grid.grad

    whole = run()
    monkeypatch.setattr(reference, "POINTS_PER_CHUNK", 90)
    for a, b in zip(run(), whole, strict=True):
        assert_near(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_perturbed_camera_is_found_by_descent(backend):
    line = torch.linspace(-1, 1, 16)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    blob = torch.exp(-4 * ((x - 0.3) ** 2 + (y + 0.2) ** 2 + z**2)) + torch.exp(-6 * ((x + 0.5) ** 2 + (z - 0.4) ** 2))
    volume = Volume(torch.stack([blob, blob * x, blob * y, 3 * blob])[None])
    camera = orbit_cameras(torch.tensor([20.0]), torch.tensor([15.0]), distance=4, fov_degrees=40, size=24)
    rays = camera[None].rays()
    target = render_volume(volume, rays, March(24)).colour
    shift = torch.tensor([0.12, -0.1, 0.08], requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=0.02)
    for _ in range(120):
        moved = Rays(rays.origins + shift, rays.directions)
        colour = render_volume(volume, moved, March(24), backend=backend).colour
        loss = (colour - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert shift.norm() < 0.02


def test_rays_through_the_cube_enter_and_leave_it():
    rays = random_rays(1, 500)
    near, far = cube_crossing(*rays)
    hit = far > near
    for depth in (near, far):
        points = rays.origins + depth[..., None] * rays.directions
        assert (points[hit].abs().amax(-1) - 1).abs().max() < 1e-4
    assert 0 < hit.sum() < 500


GRID, RAYS = torch.zeros(2, 4, 3, 3, 3), Rays(torch.full((2, 5, 3), 2.0), torch.ones(2, 5, 3))
BAD = {
    "a grid without density": ({"volume": Volume(torch.zeros(2, 3, 3, 3, 3))}, "volume"),
    "a flat grid": ({"volume": Volume(torch.zeros(2, 4, 3, 3))}, "volume"),
    "an empty grid": ({"volume": Volume(torch.zeros(2, 4, 0, 3, 3))}, "volume"),
    "an integer grid": ({"volume": Volume(torch.zeros(2, 4, 3, 3, 3, dtype=torch.int32))}, "volume"),
    "rays of other objects": ({"rays": Rays(torch.ones(3, 5, 3), torch.ones(3, 5, 3))}, "rays.origins"),
    "fewer directions": ({"rays": Rays(torch.ones(2, 5, 3), torch.ones(2, 4, 3))}, "rays.directions"),
    "a direction of no length": ({"rays": Rays(torch.ones(2, 5, 3), torch.zeros(2, 5, 3))}, "rays.directions"),
    "a direction that is NaN": (
        {"rays": Rays(torch.ones(2, 5, 3), torch.full((2, 5, 3), math.nan))},
        "rays.directions",
    ),
    "devices that differ": ({"rays": Rays(torch.ones(2, 5, 3, device="meta"), torch.ones(2, 5, 3))}, "rays"),
    "an unknown back-end": ({"backend": "gpu"}, "backend"),
    "a back-end that cannot": (
        {"backend": "cpu", "volume": Volume(GRID.double())},
        "backend: wanted one for this call; got cpu, but",
    ),
    "skipping under training": (
        {"march": March(4, skip_empty=True), "volume": Volume(GRID.clone().requires_grad_())},
        "skip_empty",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_are_refused_by_name(case):
    changed, wanted = BAD[case]
    with pytest.raises(ValueError, match=wanted):
        render_volume(**{"volume": Volume(GRID), "rays": RAYS, "march": March(4)} | changed)


def test_values_that_are_not_finite_are_refused_on_demand(monkeypatch):
    grid = GRID.clone()
    grid[0, 0, 0, 0, 0] = math.nan
    monkeypatch.setenv("VADER3D_CHECK_FINITE", "1")
    with pytest.raises(ValueError, match="volume: wanted finite"):
        render_volume(Volume(grid), RAYS, March(4))


def test_the_environment_names_the_back_end(monkeypatch):
    monkeypatch.setenv("VADER3D_RENDER_BACKEND", "fastest")
    with pytest.raises(ValueError, match="fastest"):
        render_volume(Volume(GRID), RAYS, March(4))


def test_no_rays_make_no_pixels():
    rendering = render_volume(Volume(GRID), Rays(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3)), March(4))
    assert rendering.colour.shape == (2, 0, 3)
