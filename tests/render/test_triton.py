"""The Triton back-end equals the reference, whatever the call."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from triton_calls import (
    DEVICE,
    MARCH,
    READ,
    assert_equal_to_reference,
    needs_interpreter,
    output_weights,
    passed_under_interpreter,
    rendered,
    runs_kernels,
    scene,
    values_and_gradients,
    wide_programs_and_nan,  # noqa: F401
)

from vader3d.render import March, Volume
from vader3d.render import triton as backend


@needs_interpreter
def test_the_interpreter_passes_this_file():
    assert passed_under_interpreter(__file__) >= 20


@runs_kernels
@pytest.mark.parametrize(
    ("rays", "channels", "size", "read", "march"),
    [
        (1, 4, (2, 2, 2), READ, MARCH),
        (31, 4, (5, 6, 7), READ, March(9)),
        (33, 4, (5, 6, 7), READ, March(9, seed=7, density_noise=0.7)),
        (33, 5, (4, 3, 9), ("softplus", 3.0), March(9, seed=(1 << 32) - 5, early_stop=0.0)),
        (31, 14, (6, 5, 4), ("softplus", 9.0), March(9, early_stop=1e-2)),
        (33, 8, (3, 3, 3), READ, March(1, seed=3, early_stop=0.0)),
        (31, 4, (1, 6, 1), READ, March(9, seed=3, early_stop=0.0)),
        (1, 4, (1, 1, 1), READ, MARCH),
    ],
)
def test_values_and_gradients_equal_the_reference(rays, channels, size, read, march):
    assert_equal_to_reference(scene(channels=channels, rays=rays, size=size), read=read, march=march)


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
    (objects, channels, rays, size), (noise, seed) = shape, noise_and_seed
    march = March(samples, density_noise=noise, seed=seed, early_stop=early_stop)
    inputs = scene(objects, channels, rays, size, seed=rays)
    assert_equal_to_reference(inputs, read=(activation, density_scale), march=march)


@runs_kernels
def test_many_programs_share_the_rays(monkeypatch):
    monkeypatch.setattr(backend, "WARP", 32)  # 66 rays: two programs full, one nearly empty, one with two objects
    assert_equal_to_reference(scene(rays=33), march=March(3, seed=2, early_stop=0.0))


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
    # eight samples: none on a face between voxels, where a gradient to the ray is either side's
    march = March(8, early_stop=0.0)
    assert_equal_to_reference((scene(objects=1)[0], rays[None, :, 0], rays[None, :, 1]), march=march)


@runs_kernels
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 3, 2), (2, 2, 2)])
def test_nothing_beyond_an_object_is_read(size):
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(objects=1, size=size))
    packed = backend.channels_last(grid)
    packed = torch.cat([packed, torch.full_like(packed, torch.nan)])[:1]
    constants = backend.constants_of(Volume(grid, *READ), March(3, early_stop=0.0))
    outputs = backend.march_operator(packed, origins, directions, None, *constants.packed())
    assert all(output.isfinite().all() for output in outputs)


@runs_kernels
def test_rays_that_miss_give_exact_zeros():
    grid, origins, directions = scene()
    inputs = (grid, origins.abs() + 1.5, directions.abs())  # before every face, and leaving
    found = values_and_gradients(inputs, torch.float32, output_weights(inputs))
    assert all((tensor == 0).all() for tensor in found)


@runs_kernels
@pytest.mark.parametrize(("objects", "rays"), [(2, 0), (0, 3)])
def test_no_rays_give_empty_pictures_and_no_gradient(objects, rays):
    inputs = scene(objects=objects, rays=rays)
    found = values_and_gradients(inputs, torch.float32, output_weights(inputs))
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
        outputs = rendered(leaf, origins, directions)
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
        outputs = rendered(*inputs)
        gradients = torch.autograd.grad(sum(output.sum() for output in outputs), inputs)  # expanded gradients come in
        sums.append([*outputs, *gradients])
    for plain, other in zip(*sums, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-6)


@runs_kernels
def test_gradients_are_made_for_those_who_ask():
    grid, origins, directions = (tensor.to(DEVICE) for tensor in scene(rays=5))
    together = [tensor.clone().requires_grad_() for tensor in (grid, origins, directions)]
    sum(output.sum() for output in rendered(*together)).backward()
    for asked in range(3):
        alone = [tensor.clone().requires_grad_(i == asked) for i, tensor in enumerate((grid, origins, directions))]
        sum(output.sum() for output in rendered(*alone)).backward()
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
    constants = backend.constants_of(Volume(grid.movedim(-1, 1)), March(4, early_stop=0.0))
    features, opacity, _ = backend.march_operator(grid, origins, directions, None, *constants.packed())
    assert opacity.flatten().tolist() == pytest.approx([1 - np.exp(-8.0), 1 - np.exp(-4.0)], abs=1e-5)
    torch.testing.assert_close(features[:, 0] / opacity, inner[:, :3].float(), rtol=0, atol=1e-5)
