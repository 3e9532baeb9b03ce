"""A CLIP model from its folder: pictures and texts in one space; what is missing is named."""

import json
import sys

import pytest
import torch

from vader3d.frozen.joint import load_joint_encoder

LETTERS = "redbluchaig"


@pytest.fixture
def folder(tmp_path):
    """A tiny CLIP model with random weights, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers")
    vocabulary = [letter + end for letter in dict.fromkeys(LETTERS) for end in ("", "</w>")]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    last = len(vocabulary) - 1
    ends = {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    text = sizes | ends | {"vocab_size": len(vocabulary), "max_position_embeddings": 8}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    tokenizer = transformers.CLIPTokenizer(vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt"))
    tokenizer.save_pretrained(tmp_path)
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_pictures_and_texts_meet_in_one_space(folder):
    encoder = load_joint_encoder(folder)
    assert encoder.pictures(torch.rand(3, 3, 24, 24)).shape == (3, 12)
    alone, among = encoder.texts(["a red"]), encoder.texts(["blue", "a red", "a red chair that is too long for it"])
    torch.testing.assert_close(among[1:2], alone)
    assert among.shape == (3, 12)
    assert (encoder.name, len(encoder.checksum)) == (folder.name, 64)


def test_pictures_are_normalised_as_the_model_was_trained(folder):
    """Another mean and spread in the file are other pictures of the old ones."""
    pictures = torch.rand(2, 3, 16, 16)
    old = load_joint_encoder(folder).pictures(pictures * 0.5 + 0.2)
    settings = {"image_mean": [0.6, 0.4, 0.2], "image_std": [0.4, 0.4, 0.4]}  # (0.5 x + 0.2 - mean) / 0.2
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    torch.testing.assert_close(load_joint_encoder(folder).pictures(pictures), old)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"clip: wanted the folder of a CLIP model; .*model\.safetensors"):
        load_joint_encoder(tmp_path)
    for name in ("model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        load_joint_encoder(tmp_path)
