"""Masks by one call: of the picture, of a file, of a background, of a network of `transformers`."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vader3d.frozen import matting
from vader3d.frozen.matting import Matting, middle_segment

BLOCK = np.zeros((40, 60), bool)
BLOCK[12:30, 20:44] = True


def photo(tmp_path, name="a.jpg"):
    """A red block before a grey wall, RGBA without transparency, and its file."""
    pixels = np.full((40, 60, 4), (200, 200, 198, 255), np.uint8)
    pixels[BLOCK] = (200, 30, 20, 255)
    file = tmp_path / "images" / name
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels[..., :3]).save(file, quality=95)
    return pixels, file


def test_auto_takes_alpha_then_files_then_the_wall(tmp_path):
    pixels, file = photo(tmp_path)
    assert np.array_equal(Matting()(pixels, file) >= 128, BLOCK)
    (tmp_path / "masks").mkdir()
    beside = np.roll(BLOCK, 3, axis=1)
    Image.fromarray(beside).save(tmp_path / "masks" / "a.jpg.png")
    assert np.array_equal(Matting()(pixels, file) >= 128, beside)
    clear = pixels.copy()
    clear[:5, :, 3] = 7
    assert np.array_equal(Matting()(clear, file), clear[..., 3])
    assert np.array_equal(Matting("plain")(pixels, file) >= 128, BLOCK)


def test_what_is_asked_for_and_is_not_there_is_named(tmp_path):
    pixels, file = photo(tmp_path)
    with pytest.raises(ValueError, match="mask: wanted transparent pixels; got none"):
        Matting("alpha")(pixels, file)
    with pytest.raises(ValueError, match=r"mask: wanted a mask file; got .*a\.jpg without"):
        Matting("file")(pixels, file)


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 38)])
def test_masks_of_zero_and_one_are_scaled_and_small_ones_enlarged(tmp_path, values):
    pixels, file = photo(tmp_path)
    (tmp_path / "masks").mkdir()
    small = np.where(BLOCK[::2, ::2], values[1], values[0]).astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "masks" / "a.png")
    found = Matting("file")(pixels, file) >= 128
    assert (found & BLOCK).sum() / (found | BLOCK).sum() > 0.9


def test_a_mask_of_another_shape_is_refused(tmp_path):
    pixels, file = photo(tmp_path)
    (tmp_path / "masks").mkdir()
    Image.fromarray(BLOCK[:, :30]).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"mask: wanted \(60, 40\) px as its picture"):
        Matting("file")(pixels, file)


def test_the_object_is_what_fills_the_middle_and_not_the_border():
    segments = np.zeros((30, 30), int)
    segments[8:24, 9:22] = 4
    segments[20:, :] = 2
    assert middle_segment(segments) == 4


class Batch(dict):
    def to(self, device):
        return self


class Processor:
    def __call__(self, images, return_tensors):
        return Batch(pixel_values=torch.from_numpy(np.array(images)).float())

    def post_process_semantic_segmentation(self, outputs, target_sizes):
        assert [tuple(size) for size in target_sizes] == [outputs.shape]
        return [outputs]


class Segmenter(nn.Module):
    """Class 1 where it is red, 0 elsewhere."""

    config = SimpleNamespace(id2label={0: "wall", 1: "Chair"})

    def forward(self, pixel_values):
        return (pixel_values[..., 0] - pixel_values[..., 1] > 100).long()


@pytest.fixture
def transformers(monkeypatch):
    module, asked = ModuleType("transformers"), []

    def giving(make, known):
        def from_pretrained(name, local_files_only):
            asked.append((name, local_files_only))
            if name not in known:
                raise OSError(f"no {name}")
            return make()

        return SimpleNamespace(from_pretrained=from_pretrained)

    module.AutoImageProcessor = giving(Processor, ("semantic", "universal"))
    module.AutoModelForSemanticSegmentation = giving(Segmenter, ("semantic",))
    module.AutoModelForUniversalSegmentation = giving(Segmenter, ("universal",))
    monkeypatch.setitem(sys.modules, "transformers", module)
    matting.segmenter.cache_clear()
    yield asked
    matting.segmenter.cache_clear()


@pytest.mark.parametrize("name", ["semantic", "universal"])
def test_a_network_says_where_the_object_is(tmp_path, transformers, name):
    pixels, file = photo(tmp_path)
    made = pickle.loads(pickle.dumps(Matting(name)))
    assert np.array_equal(made(pixels, file) == 255, BLOCK)
    assert all(local for _, local in transformers)  # nothing is fetched unasked
    assert np.array_equal(Matting(name, ("wall",))(pixels, file) == 255, ~BLOCK)
    with pytest.raises(ValueError, match=r"labels: wanted classes of .*, such as wall, Chair; got sofa"):
        Matting(name, ("sofa",))(pixels, file)


def test_a_network_that_is_not_here_is_named_with_how_to_get_it(tmp_path, transformers):
    pixels, file = photo(tmp_path)
    with pytest.raises(ValueError, match=r"masks: wanted auto, .*; got nowhere \(OSError: no nowhere\); --download"):
        Matting("nowhere")(pixels, file)
    with pytest.raises(ValueError, match="got nowhere"):
        Matting("nowhere", download=True)(pixels, file)
    assert transformers[-1] == ("nowhere", False)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    pixels, file = photo(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    matting.segmenter.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'vader3d\[text\]'"):
        Matting("any")(pixels, file)
