"""Networks that describe pictures, played by small ones with the interface of `transformers`."""

import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vader3d.frozen.captioners import PROMPT, ClipScorer, ImageCaptioner

PICTURES = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 200)])
WORDS = ["<pad>", "dark", "light", "hint"]


class Inputs(dict):
    def to(self, device):
        return self


class Processor:
    chat_template = None

    def __call__(self, images, text, padding, return_tensors, truncation=False):
        self.text = text
        values = torch.tensor([float(np.asarray(image).mean()) for image in images])
        return Inputs(input_ids=torch.full((len(text), 5), 3), pixel_values=values)

    def apply_chat_template(self, said, *, add_generation_prompt, tokenize):
        assert (add_generation_prompt, tokenize) == (True, False)
        return f"<chat>{said[0]['content'][1]['text']}"

    def batch_decode(self, tokens, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(WORDS[i] for i in row) for row in map(torch.Tensor.tolist, tokens)]


class Teller(nn.Module):
    """Repeats what it was asked, unless told otherwise, then says whether a picture is dark."""

    repeats = slice(None)

    def generate(self, input_ids, pixel_values, max_new_tokens, do_sample):
        assert not do_sample
        return torch.cat([input_ids[:, self.repeats], torch.where(pixel_values < 100, 1, 2)[:, None]], 1)


class Clip(nn.Module):
    def forward(self, input_ids, pixel_values):
        pictures = torch.nn.functional.normalize(torch.stack([pixel_values, 255 - pixel_values], 1), dim=1)
        return SimpleNamespace(text_embeds=torch.eye(2)[: len(input_ids)], image_embeds=pictures)


@pytest.fixture
def transformers(monkeypatch):
    """A module of that name, which notes what it was asked to load."""
    module, asked = ModuleType("transformers"), []

    def giving(make):
        def from_pretrained(name, *, local_files_only):
            asked.append((name, local_files_only))
            if name == "absent":
                raise OSError("no such files\nhere")
            return make()

        return SimpleNamespace(from_pretrained=from_pretrained)

    module.AutoModelForImageTextToText, module.AutoProcessor = giving(Teller), giving(Processor)
    module.CLIPModel, module.CLIPProcessor = giving(Clip), giving(Processor)
    module.asked = asked
    monkeypatch.setitem(sys.modules, "transformers", module)
    return module


def test_every_picture_is_described_without_the_question(transformers):
    captioner = ImageCaptioner("some/teller")
    assert captioner(PICTURES, "chair") == ["dark", "light"]
    assert captioner.processor.text == [PROMPT.replace("{name}", "chair")] * 2
    assert captioner.name == "teller"
    assert transformers.asked == [("some/teller", True)] * 2  # nothing is fetched


@pytest.mark.parametrize("repeats", [slice(None), slice(-1), slice(0)])
def test_the_answer_is_whole_whatever_is_repeated(transformers, monkeypatch, repeats):
    monkeypatch.setattr(Teller, "repeats", repeats)  # all of the question, all but its end mark, or nothing
    assert ImageCaptioner("teller")(PICTURES, "chair") == ["dark", "light"]


def test_a_nameless_object_has_no_hint_and_a_chat_has_its_form(transformers, monkeypatch):
    monkeypatch.setattr(Processor, "chat_template", "...")
    captioner = ImageCaptioner("teller", "What is {name}?", download=True)
    captioner(PICTURES, "")
    assert captioner.processor.text == ["<chat>What is an object?"] * 2
    assert transformers.asked[0] == ("teller", False)


def test_another_process_loads_a_network_once(transformers):
    """Whatever objects it is handed; the same network is told from others by name and prompt."""
    captioner, scorer = ImageCaptioner("some/teller", "What?", device="auto"), ClipScorer("some/clip")
    asked = len(transformers.asked)
    for network in (captioner, scorer):
        again = [pickle.loads(pickle.dumps(network)) for _ in range(2)]
        assert again[0] is again[1] is not network
        assert repr(again[0]) == repr(network)
        assert again[0].again == network.again
    assert len(transformers.asked) == asked + 4
    assert repr(captioner) == "teller asked What?"


def test_texts_are_scored_by_their_mean_cosine_with_the_views(transformers):
    scores = ClipScorer("clip")(["light", "dark"], PICTURES)
    light = [value / np.hypot(value, 255 - value) for value in (10, 200)]
    dark = [(255 - value) / np.hypot(value, 255 - value) for value in (10, 200)]
    assert scores == pytest.approx([np.mean(light), np.mean(dark)])


def test_networks_that_are_not_here_are_named_in_one_line(transformers):
    for load in (ImageCaptioner, ClipScorer):
        with pytest.raises(ValueError, match=r"model: wanted .*; got absent .*--download fetches one") as error:
            load("absent")
        assert "\n" not in str(error.value)


def test_the_package_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for load in (ImageCaptioner, ClipScorer):
        with pytest.raises(ImportError, match=r"pip install 'vader3d\[text\]'"):
            load("any")
