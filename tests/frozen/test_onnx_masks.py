"""Masks by networks in ONNX files: tiny ones, made here, that know red from grey."""

import hashlib
import json
import pickle
import sys

import numpy as np
import pytest

from vader3d.frozen import onnx_masks, weights
from vader3d.frozen.matting import Matting

onnx = pytest.importorskip("onnx", reason="needs onnx, to write networks")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

BLOCK = np.zeros((40, 60), bool)
BLOCK[12:30, 20:44] = True
PICTURE = np.full((40, 60, 4), (120, 120, 118, 255), np.uint8)
PICTURE[BLOCK] = (200, 30, 20, 255)
RED = [1.0, -1.0, 0.0]


def write_network(path, rows, *, bias=(), size=(40, 60), last=False):
    """A 1 x 1 convolution: a channel for each of `rows` [C, 3], of RGB first or last."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = [1, *size, 3] if last else [1, 3, *size]
    filters = helper.make_tensor("w", kind, [len(rows), 3, 1, 1], np.ravel(rows))
    offset = helper.make_tensor("b", kind, [len(rows)], bias or [0.0] * len(rows))
    nodes = [helper.make_node("Conv", ["first" if last else "x", "w", "b"], ["values" if last else "y"])]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["values"], ["y"], perm=[0, 2, 3, 1]))
    given = helper.make_tensor_value_info("x", kind, shape)
    taken = helper.make_tensor_value_info("y", kind, [1, None, None, None])
    graph = helper.make_graph(nodes, "red", [given], [taken], [filters, offset])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return str(path)


def is_block(alpha):
    inside = alpha >= 128
    return (inside & BLOCK).sum() / (inside | BLOCK).sum() > 0.9


def test_one_channel_is_alpha_of_rgb_first_in_imagenets_range_or_last_in_its_own(tmp_path):
    masks = write_network(tmp_path / "a.onnx", [[9.0, -9.0, 0.0]], bias=[-9.0])
    matting = pickle.loads(pickle.dumps(Matting(masks)))
    assert is_block(matting(PICTURE))
    assert is_block(Matting(write_network(tmp_path / "b.onnx", [[9.0, -9.0, 0.0]], bias=[-3.0], last=True))(PICTURE))


def test_masks_of_another_size_and_range_are_enlarged_as_the_file_beside_says(tmp_path):
    said = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "size": {"height": 20, "width": 30}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    masks = write_network(tmp_path / "a.onnx", [[9.0, -9.0, 0.0]], bias=[-3.0], size=("h", "w"))
    assert onnx_masks.onnx_masks(masks).size == (20, 30)
    assert is_block(Matting(masks)(PICTURE))


def test_two_channels_are_background_and_object(tmp_path):
    masks = write_network(tmp_path / "a.onnx", [[0, 0, 0], [9.0, -9.0, 0.0]], bias=[9.0, 0.0])
    assert is_block(Matting(masks)(PICTURE))


def test_more_channels_are_classes_of_which_the_middle_or_the_named_is_taken(tmp_path):
    masks = write_network(tmp_path / "a.onnx", [[0, 0, 0], RED, [-1.0, 0, 0]], bias=[0.2, -0.9, -9.0])
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "wall", "1": "Chair", "2": "floor"}}))
    assert is_block(Matting(masks)(PICTURE))
    assert is_block(255 - Matting(masks, ("wall", "floor"))(PICTURE))
    assert is_block(Matting(masks, ("1",))(PICTURE))
    with pytest.raises(ValueError, match=r"labels: wanted classes of .*a\.onnx, such as wall, Chair, floor; got sofa"):
        Matting(masks, ("sofa",))(PICTURE)


def test_what_is_no_network_of_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"masks: wanted an ONNX file; got .*none\.onnx, which does not exist"):
        Matting(str(tmp_path / "none.onnx"))(PICTURE)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"bad\.onnx: wanted an ONNX network; got a damaged or foreign one"):
        Matting(str(tmp_path / "bad.onnx"))(PICTURE)
    masks = write_network(tmp_path / "large.onnx", [RED], size=(9000, 9000))
    with pytest.raises(ValueError, match=r"large\.onnx: masks: wanted a network of 1 to 4096 px a side; got 9000"):
        Matting(masks)(PICTURE)


def test_an_address_is_fetched_once_and_only_if_asked_and_right(tmp_path, monkeypatch):
    write_network(tmp_path / "a.onnx", [[9.0, -9.0, 0.0]], bias=[-9.0])
    data = (tmp_path / "a.onnx").read_bytes()
    asked = []

    def chunks(wanted, target):
        asked.append(wanted.url)
        yield data

    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "chunks", chunks)
    url, right = "https://example.org/a.onnx", hashlib.sha256(data).hexdigest()
    with pytest.raises(ValueError, match=r"got no such file; --download fetches it"):
        Matting(f"{url}#{right}")(PICTURE)
    with pytest.raises(ValueError, match=r"wanted https://\.\.\./NAME\.onnx#SHA256"):
        Matting(url, download=True)(PICTURE)
    assert asked == []
    assert is_block(Matting(f"{url}#{right}", download=True)(PICTURE))
    assert is_block(Matting(f"{url}#{right}")(PICTURE))
    assert asked == [url]
    with pytest.raises(ValueError, match="weights: wanted a SHA-256 of 000"):
        Matting(f"{url}#{'0' * 64}", download=True)(PICTURE)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'vader3d\[masks\]'"):
        Matting("never.onnx")(PICTURE)
