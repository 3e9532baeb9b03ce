"""The Triton back-end equals the reference, and its kernels build for the GPUs we name.

The kernels run on a GPU where there is one. Elsewhere one test runs this file again in a process of its own under
Triton's interpreter, which has to be chosen before the kernels are imported.
"""

import os
import re
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from vader3d.render import reference
from vader3d.render import triton as backend

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED or not torch.cuda.is_available() else "cuda"
runs_kernels = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="run by the test of the interpreter")
on_cuda = pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
SETTINGS = {
    "samples_per_ray": 9,
    "activation": "relu",
    "density_scale": 3.0,
    "density_noise": 0.0,
    "seed": None,
    "early_stop": 0.0,
}


@pytest.fixture(autouse=True)
def _wide_programs_and_nan(monkeypatch):
    """The interpreter's time goes by the program, so let it have few; and let what is not written be seen."""
    if INTERPRETED:
        monkeypatch.setattr(backend, "WARP", 256)
    for name in ("empty_outputs", "empty_gradients"):
        empty = getattr(backend, name)
        monkeypatch.setattr(backend, name, lambda *args, empty=empty: tuple(x.fill_(torch.nan) for x in empty(*args)))


def scene(objects=2, channels=4, rays=31, size=(5, 6, 7), seed=0):
    """A random grid, and rays from outside and inside towards random points of the cube; every tenth one misses."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(objects, channels, *size, generator=generator)
    origins = torch.randn(objects, rays, 3, generator=generator) * 1.5
    targets = torch.rand(objects, rays, 3, generator=generator) * 1.6 - 0.8
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    directions[:, ::10] *= -1
    return grid, origins, directions


def values_and_gradients(render, inputs, dtype, weights, **settings):
    """Outputs and the gradients to every input of their weighted sum, as float64 on the CPU."""
    inputs = [tensor.detach().to(DEVICE, dtype).requires_grad_() for tensor in inputs]
    outputs = render(*inputs, **settings)
    loss = sum((output * weight.to(output)).sum() for output, weight in zip(outputs, weights, strict=True))
    gradients = torch.autograd.grad(loss, inputs)
    return [tensor.detach().double().cpu() for tensor in (*outputs, *gradients)]


def output_weights(inputs):
    """One random weight for each number of the outputs."""
    grid, origins, _ = inputs
    generator = torch.Generator().manual_seed(1)
    shapes = ((*origins.shape[:2], grid.shape[1] - 1), origins.shape[:2], origins.shape[:2])
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def assert_equal_to_reference(inputs, **changes):
    """Values and gradients, elementwise and as vectors, against the reference in float64."""
    settings, weights = SETTINGS | changes, output_weights(inputs)
    wanted = values_and_gradients(reference.render_rays, inputs, torch.float64, weights, **settings)
    got = values_and_gradients(backend.render_rays, inputs, torch.float32, weights, **settings, skip_empty=False)
    for name, truth, ours in zip(
        ("features", "opacity", "depth", "grid", "origins", "directions"), wanted, got, strict=True
    ):
        scale = max(1.0, float(truth.abs().max()))
        torch.testing.assert_close(
            ours, truth, rtol=1e-5, atol=1e-5 * scale, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert (ours - truth).norm() <= 1e-5 * truth.norm() + 1e-12, name
        if truth.norm() > 0:
            assert torch.cosine_similarity(ours.flatten(), truth.flatten(), 0) > 1 - 1e-9, name


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="the kernels run in this very process")
def test_the_interpreter_passes_this_file():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20


@runs_kernels
@pytest.mark.parametrize(
    ("rays", "channels", "size", "changes"),
    [
        (1, 4, (2, 2, 2), {}),
        (31, 4, (5, 6, 7), {"early_stop": 1e-4}),
        (33, 4, (5, 6, 7), {"seed": 7, "density_noise": 0.7, "early_stop": 1e-4}),
        (33, 5, (4, 3, 9), {"activation": "softplus", "seed": (1 << 32) - 5}),
        (31, 14, (6, 5, 4), {"activation": "softplus", "early_stop": 1e-2, "density_scale": 9.0}),
        (33, 8, (3, 3, 3), {"seed": 3, "samples_per_ray": 1}),
        (31, 4, (1, 6, 1), {"seed": 3}),
        (1, 4, (1, 1, 1), {}),
    ],
)
def test_values_and_gradients_equal_the_reference(rays, channels, size, changes):
    assert_equal_to_reference(scene(channels=channels, rays=rays, size=size), **changes)


@runs_kernels
@hypothesis.settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(
    shape=st.tuples(st.integers(1, 3), st.integers(4, 13), st.integers(1, 33), st.tuples(*[st.integers(1, 6)] * 3)),
    samples=st.integers(1, 12),
    activation=st.sampled_from(["relu", "softplus"]),
    density_scale=st.floats(0.5, 20.0),
    noise_and_seed=st.one_of(st.just((0.0, None)), st.tuples(st.floats(0.0, 1.0), st.integers(0, (1 << 32) - 1))),
    early_stop=st.sampled_from([0.0, 1e-4]),
)
def test_any_call_equals_the_reference(shape, samples, activation, density_scale, noise_and_seed, early_stop):
    objects, channels, rays, size = shape
    assert_equal_to_reference(
        scene(objects, channels, rays, size, seed=rays),
        samples_per_ray=samples,
        activation=activation,
        density_scale=density_scale,
        density_noise=noise_and_seed[0],
        seed=noise_and_seed[1],
        early_stop=early_stop,
    )


@runs_kernels
def test_many_programs_share_the_rays(monkeypatch):
    monkeypatch.setattr(backend, "WARP", 32)  # 66 rays: two programs full, one nearly empty, one with two objects
    assert_equal_to_reference(scene(rays=33), samples_per_ray=3, seed=2)


@runs_kernels
def test_rays_through_edges_in_faces_and_along_axes_equal_the_reference():
    rays = torch.tensor(
        [
            [[2.0, 2.0, 0.3], [-1.0, -1.0, 0.1]],
            [[2.0, 2.0, 2.0], [-1.0, -1.0, -1.0]],
            [[0.1, 0.2, -3.0], [0.0, 0.0, 1.0]],
            [[0.1, 0.2, 0.3], [0.0, -0.0, 1.0]],
            [[-2.0, -1.0, 0.3], [1.0, 0.0, 0.0]],
            [[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        ]
    )
    assert_equal_to_reference((scene(objects=1)[0], rays[None, :, 0], rays[None, :, 1]))


@runs_kernels
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 3, 2), (2, 2, 2)])
def test_nothing_beyond_an_object_is_read(size):
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(objects=1, size=size))
    packed = backend.channels_last(grid)
    packed = torch.cat([packed, torch.full_like(packed, torch.nan)])[:1]
    outputs = backend.march(packed, origins, directions, None, 4, 3, "relu", 3.0, 0.0, None, 0.0)
    assert all(output.isfinite().all() for output in outputs)


@runs_kernels
def test_rays_that_miss_give_exact_zeros():
    grid, origins, directions = scene()
    inputs = (grid, origins.abs() + 1.5, directions.abs())  # before every face, and leaving
    settings = SETTINGS | {"skip_empty": False}
    found = values_and_gradients(backend.render_rays, inputs, torch.float32, output_weights(inputs), **settings)
    assert all((tensor == 0).all() for tensor in found)


@runs_kernels
@pytest.mark.parametrize(("objects", "rays"), [(2, 0), (0, 3)])
def test_no_rays_give_empty_pictures_and_no_gradient(objects, rays):
    inputs = scene(objects=objects, rays=rays)
    settings = SETTINGS | {"skip_empty": False}
    found = values_and_gradients(backend.render_rays, inputs, torch.float32, output_weights(inputs), **settings)
    assert [tensor.shape for tensor in found[:2]] == [(objects, rays, 3), (objects, rays)]
    assert found[3].shape == inputs[0].shape
    assert (found[3] == 0).all()


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_grids_are_rendered_in_single_precision(dtype):
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5))
    half = grid.to(dtype).requires_grad_()
    full = half.detach().float().requires_grad_()
    sums = []
    for leaf in (half, full):
        outputs = backend.render_rays(leaf, origins, directions, **SETTINGS, skip_empty=False)
        sums.append(sum(output.sum() for output in outputs))
        sums[-1].backward()
    assert sums[0].dtype == torch.float32
    assert half.grad.dtype == dtype
    assert float(sums[0].detach()) == pytest.approx(float(sums[1].detach()), rel=1e-6)
    torch.testing.assert_close(half.grad, full.grad.to(dtype), rtol=1e-2, atol=1e-5)


@runs_kernels
def test_layout_in_memory_changes_nothing():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5, channels=5))
    strided = (
        grid.contiguous(memory_format=torch.channels_last_3d),
        origins.transpose(1, 2).contiguous().transpose(1, 2),
        directions.repeat_interleave(2, 1)[:, ::2],
    )
    assert not any(tensor.is_contiguous() for tensor in strided)
    sums = []
    for inputs in ((grid, origins, directions), strided):
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        outputs = backend.render_rays(*inputs, **SETTINGS, skip_empty=False)
        gradients = torch.autograd.grad(sum(output.sum() for output in outputs), inputs)  # expanded gradients come in
        sums.append([*outputs, *gradients])
    for plain, other in zip(*sums, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-6)


@runs_kernels
def test_gradients_are_made_for_those_who_ask():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5))
    together = [tensor.clone().requires_grad_() for tensor in (grid, origins, directions)]
    sum(output.sum() for output in backend.render_rays(*together, **SETTINGS, skip_empty=False)).backward()
    for asked in range(3):
        alone = [tensor.clone().requires_grad_(i == asked) for i, tensor in enumerate((grid, origins, directions))]
        sum(output.sum() for output in backend.render_rays(*alone, **SETTINGS, skip_empty=False)).backward()
        torch.testing.assert_close(alone[asked].grad, together[asked].grad, rtol=1e-6, atol=1e-6)
        assert all((tensor.grad is None) == (i != asked) for i, tensor in enumerate(alone))


@runs_kernels
def test_offsets_pass_2_to_the_31_within_an_object_and_between_objects():
    shape = (2, 600, 1024, 1024, 4)  # 10 GB, of which the CPU only touches the pages that are written or read
    if DEVICE == "cuda":
        if torch.cuda.mem_get_info()[0] < 12e9:
            pytest.skip("needs 12 GB of GPU memory")
        grid = torch.zeros(shape, dtype=torch.float16, device=DEVICE)
    else:
        grid = torch.from_numpy(np.zeros(shape, dtype=np.float16))
    inner = torch.tensor([[0.25, 0.5, 0.75, 4.0], [0.5, 0.75, 1.0, 2.0]], dtype=torch.float16, device=DEVICE)
    grid[:, 598:600, 511:513] = inner[:, None, None, None]
    height = 598.5 / 599 * 2 - 1
    origins = torch.tensor([[-2.0, 0.0, height]], device=DEVICE).expand(2, 1, 3).contiguous()
    directions = torch.tensor([[1.0, 0.0, 0.0]], device=DEVICE).expand(2, 1, 3).contiguous()
    features, opacity, _ = backend.march(grid, origins, directions, None, 4, 4, "relu", 1.0, 0.0, None, 0.0)
    assert opacity.flatten().tolist() == pytest.approx([1 - np.exp(-8.0), 1 - np.exp(-4.0)], abs=1e-5)
    torch.testing.assert_close(features[:, 0] / opacity, inner[:, :3].float(), rtol=0, atol=1e-5)


def ball(size=13, reach=0.5):
    """A grid that is empty (raw density -1) but for a ball."""
    axis = torch.linspace(-1, 1, size)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    grid = torch.rand(2, 4, size, size, size, generator=torch.Generator().manual_seed(0))
    grid[:, 3] = torch.where(radius < reach, 5.0, -1.0)
    return grid


@runs_kernels
def test_skipping_empty_blocks_changes_no_number():
    _, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=17))
    grid = ball().to(DEVICE)
    with torch.no_grad():
        whole = backend.render_rays(grid, origins, directions, **SETTINGS, skip_empty=False)
        skipped = backend.render_rays(grid, origins, directions, **SETTINGS, skip_empty=True)
    assert whole[1].max() > 0.5
    for one, other in zip(whole, skipped, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


@runs_kernels
def test_nothing_is_skipped_while_gradients_are_asked_for():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5, size=(3, 3, 3)))
    grid[:, 3] = -15.0  # a softplus of 3e-7: passed over in inference, learned from in training
    settings = SETTINGS | {"activation": "softplus", "skip_empty": True}
    aimed = slice(1, None)  # ray 0 misses
    with torch.no_grad():
        assert (backend.render_rays(grid, origins, directions, **settings)[1] == 0).all()
    opacity = backend.render_rays(grid.requires_grad_(), origins, directions, **settings)[1][:, aimed]
    assert (opacity > 0).all()
    opacity.sum().backward()
    assert (grad := grid.grad[:, 3]).max() > 0
    assert grad.min() >= 0


@runs_kernels
def test_blocks_marked_empty_are_not_looked_at():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=17, size=(6, 6, 6)))
    packed, nothing = backend.channels_last(grid), torch.zeros(2, 2, 2, 2, dtype=torch.uint8, device=DEVICE)
    _, opacity, _ = backend.march(packed, origins, directions, nothing, 4, 3, "relu", 3.0, 0.0, None, 0.0)
    assert (opacity == 0).all()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 6), (4, 8, 9), (13, 14, 16)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_block_is_empty_only_if_no_sample_of_it_can_absorb(size, noise):
    raw = torch.randn(2, *size, generator=torch.Generator().manual_seed(0)) - 3.5
    blocks = backend.occupied_blocks(raw, activation="relu", scale=2.0, noise=noise)
    cells = [max(1, extent - 1) for extent in size]
    assert blocks.shape == (2, *(-(-count // 4) for count in cells))
    for z, y, x in np.ndindex(*blocks.shape[1:]):
        inside = raw[:, 4 * z : 4 * z + 5, 4 * y : 4 * y + 5, 4 * x : 4 * x + 5].flatten(1).amax(1)
        assert blocks[:, z, y, x].bool().tolist() == (inside + noise * 510 / (65535 / 3) ** 0.5 > 5e-7).tolist()


def test_a_softplus_block_is_empty_only_below_the_threshold_and_nan_is_never_empty():
    raw = torch.full((3, 5, 5, 5), -10.0)
    raw[1], raw[2, 0, 0, 0] = -20.0, torch.nan
    assert backend.occupied_blocks(raw, activation="softplus", scale=1.0, noise=0.0).flatten().tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", [None, 0, 1, 3, (1 << 31) + 1, (1 << 32) - 1])
def test_every_seed_takes_the_same_kernel(seed):
    origins = torch.zeros(2, 3, 3)
    key = backend.numbers(torch.zeros(2, 4, 5, 6, 4), origins, 8, 1.0, 0.0, seed, 0.0)[6]
    assert -(1 << 31) <= key < 1 << 31  # triton would compile anew for a 64-bit number
    assert (key - (seed or 0) * 0x9E3779B9) % (1 << 32) == 0


@runs_kernels
def test_the_operators_keep_torchs_rules():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(channels=5, rays=2, size=(2, 3, 2)))
    settings = (5, 2, "softplus", 3.0, 0.1, 7, 1e-4)
    forward = [backend.channels_last(grid), origins, directions]
    outputs = backend.march(*forward, None, *settings)
    gradients = [torch.ones_like(output) for output in outputs]
    torch.library.opcheck(backend.march_backward, (*gradients, *outputs, *forward, False, True, *settings))
    torch.library.opcheck(backend.march, (*(tensor.requires_grad_() for tensor in forward), None, *settings))


@runs_kernels
def test_compiling_and_autocast_change_nothing():
    grid, origins, directions = (tensor.to(DEVICE).requires_grad_() for tensor in scene(rays=3))

    def render(*inputs):
        assert backend.why_not(inputs[0]) is None
        return backend.render_rays(*inputs, **SETTINGS, skip_empty=False)

    found = []
    compiled = torch.compile(render, fullgraph=True, backend="inductor" if DEVICE == "cuda" else "aot_eager")
    for function, casting in ((render, False), (compiled, False), (render, True)):
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=casting):
            outputs = function(grid, origins, directions)
            loss = sum(output.sum() for output in outputs)
        found.append([*outputs, *torch.autograd.grad(loss, (grid, origins, directions))])
    for plain, *others in zip(*found, strict=True):
        for other in others:
            torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-6)


@on_cuda
def test_a_cuda_graph_replays_forward_and_backward():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=33))
    inputs = [tensor.requires_grad_() for tensor in (grid, origins, directions)]

    def run():
        outputs = backend.render_rays(*inputs, **SETTINGS, skip_empty=False)
        return *outputs, *torch.autograd.grad(sum(output.sum() for output in outputs), inputs)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    with torch.no_grad():
        grid.copy_(torch.randn_like(grid))
    graph.replay()
    for ours, eager in zip(captured, run(), strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-5, atol=1e-5)


@on_cuda
def test_memory_does_not_grow_with_the_samples():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(objects=1, rays=10_000, size=(32, 32, 32)))
    grid.requires_grad_()
    peaks = []
    for samples in (16, 16, 512):  # the first call warms up
        torch.cuda.reset_peak_memory_stats()
        settings = SETTINGS | {"samples_per_ray": samples}
        sum(
            output.sum() for output in backend.render_rays(grid, origins, directions, **settings, skip_empty=False)
        ).backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[2] <= peaks[1]


def test_why_not_says_what_is_in_the_way(monkeypatch):
    assert "float64" in backend.why_not(torch.zeros(1, 4, 2, 2, 2, dtype=torch.float64))
    assert "31 bits" in backend.why_not(torch.zeros(1, 1, 1, 1, 1).expand(1, 4, 1 << 11, 1 << 10, 1 << 10))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "CUDA device" in backend.why_not(torch.zeros(1, 4, 2, 2, 2))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.why_not(torch.zeros(1, 4, 2, 2, 2)) is None
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "not installed" in backend.why_not(torch.zeros(1, 4, 2, 2, 2))


def test_the_back_end_is_imported_without_triton():
    code = "import sys; sys.modules['triton'] = None; import vader3d.render.triton"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(INTERPRETED, reason="the compiler is away under the interpreter")
@pytest.mark.parametrize(("capability", "channels"), [(80, 4), (90, 4), (90, 14), (100, 4)])
def test_kernels_build_with_vector_loads_and_vector_reductions(capability, channels, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from vader3d.render import triton_kernels as kernels

    forward = ptx(kernels.march_forward, capability, channels, SKIP=True)
    backward = ptx(kernels.march_backward, capability, channels, TO_GRID=True, TO_RAYS=True)
    for text in (forward, backward):
        assert len(re.findall(r"ld\.global\.v4\.[bf]32", text)) == 8
    if capability >= 90:  # before, the hardware has no vector reductions
        assert len(re.findall(r"(?:red|atom)\.global[\w.]*\.add\.v4\.f32", backward)) == 8
    else:
        assert len(re.findall(r"(?:red|atom)\.global[\w.]*\.add\.f32", backward)) == 32


def ptx(kernel, capability, channels, **flags):
    """The kernel as it would be launched on an fp32 grid, compiled with no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget

    packed = backend.channels_last(torch.zeros(1, channels, 1, 1, 1))
    constants = backend.variant(packed, channels, "relu", 0.5, 1) | flags
    options = {"num_warps": constants.pop("num_warps")}
    counts = {"ray_count", "rays_per_object", "samples", "depth_size", "height", "width", "seed_key"}
    kinds = dict.fromkeys(kernel.arg_names, "*fp32") | {"occupied": "*u8"} | dict.fromkeys(counts, "i32")
    kinds |= dict.fromkeys(("scale", "noise_scale", "early_stop"), "fp32") | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds[name] for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).asm["ptx"]
