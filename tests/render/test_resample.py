"""Volumes read at any places: held to torch's `grid_sample`, values and both gradients."""

import pytest
import torch
from counted import largest_made
from near import assert_near, nan_filled
from torch import Tensor
from torch.nn.functional import grid_sample

from vader3d.render import cpu, resample
from vader3d.render.resample import resampled

compiled = pytest.mark.skipif(cpu.why_not(torch.zeros(1, 4, 2, 2, 2)) is not None, reason="no C++ compiler")
UNFIT = [((2, 4, 3, 3, 3), (1, 5, 3)), ((1, 4, 3, 3), (1, 5, 3)), ((1, 4, 3, 3, 3), (1, 5, 2))]  # volumes, places
SIZES = [(1, 1, 1), (1, 5, 2), (4, 1, 1), (3, 2, 1), (7, 6, 5), (2, 2, 33)]


def reference(volume: Tensor, places: Tensor) -> Tensor:
    listed = places.flatten(1, -2)[:, :, None, None]
    read = grid_sample(volume, listed, padding_mode="border", align_corners=True)
    return read.reshape(*volume.shape[:2], *places.shape[1:-1])


def drawn_places(objects: int, count: int) -> Tensor:
    """Within, without, far off, and on voxels of grids of 2, 3, 5, ... along an edge, the border's among them."""
    within, without = torch.rand(2, objects, count, 3) * 2 - 1
    on_voxels = torch.randint(-4, 5, (objects, count, 3)) / 4.0
    return torch.cat([within, without * 1.5, on_voxels, without * 1e20], 1)


def with_gradients(read, volume: Tensor, places: Tensor) -> list[Tensor]:
    """Values, and gradients of some loss of them."""
    leaves = [tensor.clone().requires_grad_() for tensor in (volume, places)]
    values = read(*leaves)
    weights = torch.linspace(-1, 2, values.numel()).view_as(values)
    return [values, *torch.autograd.grad((weights * values.sin()).sum(), leaves)]


def assert_same(volume: Tensor, places: Tensor) -> None:
    found, wanted = (with_gradients(read, volume, places) for read in (resampled, reference))
    for what, a, b in zip(("values", "volume's gradient", "places' gradient"), found, wanted, strict=True):
        assert_near(a, b, what=what)


@compiled
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [1, 4, 7, 16])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_equals_grid_sample(size, channels, threads, monkeypatch):
    monkeypatch.setattr(resample, "PLACES_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with nan_filled():
            assert_same(torch.randn(2, channels, *size), drawn_places(2, 170))
    finally:
        torch.set_num_threads(before)


@compiled
def test_volumes_larger_than_a_cache_are_read_as_well():
    assert_same(torch.randn(1, 4, 81, 82, 83), drawn_places(1, 500))


@compiled
@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("channels", [4, 12])
def test_every_instruction_set_reads_the_same(level, channels):
    library = cpu.library()[0]
    if library.vader3d_limit_level(level) < level:
        pytest.skip(f"this processor lacks x86-64-v{level}")
    try:
        assert_same(torch.randn(2, channels, 5, 6, 7), drawn_places(2, 33))
    finally:
        library.vader3d_limit_level(9)


@compiled
def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(resample, "PLACES_PER_THREAD", 1)
    volume, places = torch.randn(1, 4, 9, 8, 7), drawn_places(1, 3000)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 9):
            torch.set_num_threads(threads)
            results.append(with_gradients(resampled, volume, places))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


def test_voxels_are_read_exactly_those_of_the_border_too():
    volume = torch.randn(1, 5, 3, 5, 9) * 10 ** torch.randint(-8, 8, (1, 5, 3, 5, 9)).float()
    lines = [torch.linspace(-1, 1, count) for count in volume.shape[2:]]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)[None]
    assert torch.equal(resampled(volume, places), volume)


@compiled
def test_layouts_are_read_as_they_are():
    places = torch.randn(3, 2, 4, 5).transpose(1, 3)[:, ::2, :, [1, 0, 1]].expand(2, -1, -1, -1, -1).flatten(0, 1)
    volume = torch.randn(5, 6, 7, 8, 6).permute(4, 0, 2, 3, 1)[:, :4]
    assert not volume.is_contiguous()
    assert_same(volume, places)
    assert_same(volume.contiguous(memory_format=torch.channels_last_3d), places)
    assert_same(torch.randn(1, 4, 2, 3, 4).expand(6, -1, -1, -1, -1), places)
    upstream = torch.randn(6, 4, *places.shape[1:-1])
    channels_last = upstream.movedim(1, -1).contiguous().movedim(-1, 1)
    for gradient in (upstream, upstream[:, :1].expand_as(upstream), channels_last):
        found, wanted = (
            torch.autograd.grad(read(leaf := volume.clone().requires_grad_(), places), leaf, gradient)[0]
            for read in (resampled, reference)
        )
        assert_near(found, wanted)


@compiled
@pytest.mark.parametrize("wanted", [0, 1])
def test_one_gradient_comes_without_the_other(wanted):
    tensors = torch.randn(1, 4, 3, 4, 5), torch.randn(1, 9, 3)
    both = with_gradients(resampled, *tensors)[1:]
    leaves = [tensor.clone().requires_grad_(number == wanted) for number, tensor in enumerate(tensors)]
    values = resampled(*leaves)
    (torch.linspace(-1, 2, values.numel()).view_as(values) * values.sin()).sum().backward()
    assert torch.equal(leaves[wanted].grad, both[wanted])
    assert leaves[1 - wanted].grad is None


def test_any_number_of_places_and_objects_is_read_none_too():
    for objects, shape in ((2, (0,)), (2, (3, 0)), (0, (5,)), (2, ())):
        volume, places = torch.randn(objects, 4, 3, 4, 5, requires_grad=True), torch.randn(objects, *shape, 3)
        values = resampled(volume, places)
        assert values.shape == (objects, 4, *shape)
        values.sum().backward()
        assert bool(volume.grad.any()) == bool(values.numel())


@compiled
def test_a_place_that_is_not_a_number_shows_and_no_other_does():
    volume, places = torch.randn(1, 4, 5, 5, 5), drawn_places(1, 100)
    clean = resampled(volume, places)
    broken = places.index_put((torch.tensor(0), torch.tensor(7), torch.tensor(2)), torch.tensor(torch.nan))
    values, to_volume, to_places = with_gradients(resampled, volume, broken)
    assert values[:, :, 7].isnan().all()
    assert torch.equal(values[:, :, 8:], clean[:, :, 8:])
    assert to_volume.isnan().any()
    assert to_places[:, 8:].isfinite().all()


def test_views_read_one_volume():
    volume, places = torch.randn(1, 4, 24, 24, 24, requires_grad=True), torch.rand(1, 20, 50, 3)
    with largest_made() as largest:
        resampled(volume, places).sum().backward()
    assert largest.bytes == volume.nbytes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_float32(dtype):
    volume, places = torch.randn(1, 4, 5, 5, 5).to(dtype), drawn_places(1, 20)
    found = resampled(volume, places)
    assert found.dtype == torch.float32
    assert torch.equal(found, resampled(volume.float(), places))


def test_float64_is_differentiated_as_often_as_one_likes():
    volume = torch.randn(2, 2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    places = (torch.rand(2, 4, 3, dtype=torch.float64) * 2.4 - 1.2).requires_grad_()
    assert torch.autograd.gradcheck(resampled, (volume, places))


def test_without_the_library_torch_reads(monkeypatch):
    volume, places = torch.randn(2, 4, 5, 6, 7), drawn_places(2, 30)
    found = resampled(volume, places)
    monkeypatch.setattr(resample, "why_not", lambda volume: "left out")
    without = resampled(volume, places)
    assert torch.equal(without, reference(volume, places))
    assert_near(found, without)


@pytest.mark.parametrize(("volume", "places"), UNFIT)
def test_what_does_not_fit_is_named(volume, places):
    with pytest.raises(ValueError, match=r"places: wanted \[B, ..., 3\] in volumes \[B, C, D, H, W\]; got"):
        resampled(torch.zeros(volume), torch.zeros(places))
