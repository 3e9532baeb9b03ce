"""The Triton back-end keeps torch's rules, skips what is empty, and its kernels build for the GPUs we name."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from triton_calls import (
    DEVICE,
    INTERPRETED,
    MARCH,
    READ,
    needs_interpreter,
    on_cuda,
    passed_under_interpreter,
    rendered,
    runs_kernels,
    scene,
    wide_programs_and_nan,  # noqa: F401
)

from vader3d.render import March, Volume
from vader3d.render import triton as backend


@needs_interpreter
def test_the_interpreter_passes_this_file():
    assert passed_under_interpreter(__file__) >= 20


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
        whole = rendered(grid, origins, directions)
        skipped = rendered(grid, origins, directions, march=replace(MARCH, skip_empty=True))
    assert whole[1].max() > 0.5
    for one, other in zip(whole, skipped, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


@runs_kernels
def test_nothing_is_skipped_while_gradients_are_asked_for():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5, size=(3, 3, 3)))
    grid[:, 3] = -15.0  # a softplus of 3e-7: passed over in inference, learned from in training
    call = {"read": ("softplus", 3.0), "march": replace(MARCH, skip_empty=True)}
    aimed = slice(1, None)  # ray 0 misses
    with torch.no_grad():
        assert (rendered(grid, origins, directions, **call)[1] == 0).all()
    opacity = rendered(grid.requires_grad_(), origins, directions, **call)[1][:, aimed]
    assert (opacity > 0).all()
    opacity.sum().backward()
    assert (grad := grid.grad[:, 3]).max() > 0
    assert grad.min() >= 0


@runs_kernels
def test_blocks_marked_empty_are_not_looked_at():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=17, size=(6, 6, 6)))
    packed, nothing = backend.channels_last(grid), torch.zeros(2, 2, 2, 2, dtype=torch.uint8, device=DEVICE)
    constants = backend.constants_of(Volume(grid, *READ), March(3, early_stop=0.0))
    _, opacity, _ = backend.march_operator(packed, origins, directions, nothing, *constants.packed())
    assert (opacity == 0).all()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 5, 6), (4, 8, 9), (13, 14, 16)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_block_is_empty_only_if_no_sample_of_it_can_absorb(size, noise):
    raw = torch.randn(2, *size, generator=torch.Generator().manual_seed(0)) - 3.5
    volume = Volume(raw[:, None].expand(-1, 4, -1, -1, -1), "relu", 2.0)
    blocks = backend.occupied_blocks(volume, March(1, density_noise=noise, seed=0))
    cells = [max(1, extent - 1) for extent in size]
    assert blocks.shape == (2, *(-(-count // 4) for count in cells))
    for z, y, x in np.ndindex(*blocks.shape[1:]):
        inside = raw[:, 4 * z : 4 * z + 5, 4 * y : 4 * y + 5, 4 * x : 4 * x + 5].flatten(1).amax(1)
        assert blocks[:, z, y, x].bool().tolist() == (inside + noise * 510 / (65535 / 3) ** 0.5 > 5e-7).tolist()


def test_a_softplus_block_is_empty_only_below_the_threshold_and_nan_is_never_empty():
    raw = torch.full((3, 5, 5, 5), -10.0)
    raw[1], raw[2, 0, 0, 0] = -20.0, torch.nan
    volume = Volume(raw[:, None].expand(-1, 4, -1, -1, -1), "softplus")
    assert backend.occupied_blocks(volume, MARCH).flatten().tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", [None, 0, 1, 3, (1 << 31) + 1, (1 << 32) - 1])
def test_every_seed_takes_the_same_kernel(seed):
    key = backend.constants_of(Volume(torch.zeros(2, 4, 4, 5, 6)), March(8, seed=seed)).seed_key
    assert -(1 << 31) <= key < 1 << 31  # triton would compile anew for a 64-bit number
    assert (key - (seed or 0) * 0x9E3779B9) % (1 << 32) == 0


@runs_kernels
def test_the_operators_keep_torchs_rules():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(channels=5, rays=2, size=(2, 3, 2)))
    volume, march = Volume(grid, "softplus", 3.0), March(2, density_noise=0.1, seed=7)
    packed = backend.constants_of(volume, march).packed()
    inputs = [backend.channels_last(grid), origins, directions]
    outputs = [*backend.march_operator(*inputs, None, *packed)]
    gradients = [torch.ones_like(output) for output in outputs]
    torch.library.opcheck(backend.march_backward, (gradients, outputs, inputs, [False, True], *packed))
    torch.library.opcheck(backend.march_operator, (*(tensor.requires_grad_() for tensor in inputs), None, *packed))


def test_constants_come_back_from_the_lists_that_the_operators_take():
    volume = Volume(torch.zeros(1, 5, 2, 2, 2), "softplus", 3.0)
    constants = backend.constants_of(volume, March(2, density_noise=0.1, seed=7, early_stop=0.25))
    assert backend.Constants.unpacked(*constants.packed()) == constants
    assert constants[:4] == (5, 2, 1, 1)
    assert constants[5:] == (3.0, 0.1, 0.25)


@runs_kernels
def test_compiling_and_autocast_change_nothing():
    grid, origins, directions = (tensor.to(DEVICE).requires_grad_() for tensor in scene(rays=3))

    def render(*inputs):
        assert backend.why_not(inputs[0]) is None
        return rendered(*inputs)

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
        outputs = rendered(*inputs)
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
        march = replace(MARCH, samples_per_ray=samples)
        sum(output.sum() for output in rendered(grid, origins, directions, march=march)).backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[2] <= peaks[1]


def test_why_not_says_what_is_in_the_way(monkeypatch):
    assert "float64" in backend.why_not(torch.zeros(1, 4, 2, 2, 2, dtype=torch.float64))
    assert "31 bits" in backend.why_not(torch.zeros(1, 1, 1, 1, 1).expand(1, 4, 1 << 11, 1 << 10, 1 << 10))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "CUDA device" in backend.why_not(torch.zeros(1, 4, 2, 2, 2))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.why_not(torch.zeros(1, 4, 2, 2, 2)) is None
    monkeypatch.setattr(backend, "INSTALLED", False)
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

    volume, march = Volume(torch.zeros(1, channels, 1, 1, 1)), March(1, density_noise=0.5, seed=1)
    packed = backend.channels_last(volume.grid)
    constants = backend.variant(packed, backend.constants_of(volume, march)) | flags
    options = {"num_warps": constants.pop("num_warps")}
    counts = {"ray_count", "rays_per_object", "samples", "depth_size", "height", "width", "seed_key"}
    kinds = dict.fromkeys(kernel.arg_names, "*fp32") | {"occupied": "*u8"} | dict.fromkeys(counts, "i32")
    kinds |= dict.fromkeys(("scale", "noise_scale", "early_stop"), "fp32") | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds[name] for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).asm["ptx"]
