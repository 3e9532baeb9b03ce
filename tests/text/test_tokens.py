"""Tokens in a file: computed once, anew when encoder or text change, whole; captions drawn from them at random."""

import hashlib

import pytest
import torch

from vader3d.files import checksum_of
from vader3d.frozen.vocabulary import Vocabulary
from vader3d.snapshots import load_snapshot, read_header
from vader3d.text import tokens as tokens_module
from vader3d.text.tokens import CaptionTokens, EncoderNote, note_of, read_tokens, remarks, store_tokens

TEXTS = ["a chair", "a red chair", "стол"]


class Letters:
    """An encoder that notes what it was asked: a token a letter, of its number twice."""

    name, width = "letters", 2

    def __init__(self, *, length: int = 5, secret: str = "", scale: float = 1.0):
        self.length, self.scale, self.asked = length, scale, []
        self.checksum = hashlib.sha256(secret.encode()).hexdigest()

    def encode(self, texts):
        self.asked += texts
        made = torch.zeros(len(texts), self.length, self.width)
        for row, text in zip(made, texts, strict=True):
            numbers = torch.tensor([float(ord(letter)) for letter in text[: self.length]])
            row[: len(numbers)] = self.scale * numbers[:, None]
        return made

    def cut(self, text):
        return text[self.length :]

    def unknown(self, text):
        return []


@pytest.mark.parametrize("batch", [2, 64])
def test_tokens_are_the_encoder_s_and_computed_once(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(tokens_module, "TEXTS_PER_BATCH", batch)
    path, encoder = tmp_path / "tokens.safetensors", Letters()
    store_tokens(path, encoder, TEXTS)
    tokens, note = read_tokens(path, TEXTS)
    assert tokens.dtype == torch.float16
    torch.testing.assert_close(tokens.float(), Letters().encode(TEXTS))
    assert note == note_of(encoder) == EncoderNote("letters", encoder.checksum, 2, 5)
    before = checksum_of(path)
    store_tokens(path, encoder, TEXTS)
    assert encoder.asked == TEXTS
    assert checksum_of(path) == before


def test_only_what_is_new_is_computed(tmp_path):
    path, encoder = tmp_path / "tokens.safetensors", Letters()
    store_tokens(path, encoder, TEXTS)
    encoder.asked.clear()
    store_tokens(path, encoder, ["a table", *TEXTS[1:]])
    assert encoder.asked == ["a table"]
    tokens, _ = read_tokens(path, ["a table", *TEXTS[1:]])
    torch.testing.assert_close(tokens.float(), Letters().encode(["a table", *TEXTS[1:]]))


@pytest.mark.parametrize("other", [{"secret": "x", "scale": 2.0}, {"length": 4}])
def test_another_encoder_makes_all_anew(tmp_path, other):
    path = tmp_path / "tokens.safetensors"
    store_tokens(path, Letters(), TEXTS)
    encoder = Letters(**other)
    store_tokens(path, encoder, TEXTS)
    assert encoder.asked == TEXTS
    tokens, note = read_tokens(path, TEXTS)
    torch.testing.assert_close(tokens.float(), Letters(**other).encode(TEXTS))
    assert (note.checksum, note.length) == (encoder.checksum, encoder.length)


@pytest.mark.parametrize("rubbish", [b"", b"rubbish" * 99])
def test_a_damaged_file_is_made_anew(tmp_path, rubbish):
    path, encoder = tmp_path / "tokens.safetensors", Letters()
    path.write_bytes(rubbish)
    store_tokens(path, encoder, TEXTS)
    assert encoder.asked == TEXTS
    assert len(read_tokens(path, TEXTS)[0]) == 3


def test_what_stops_in_the_middle_leaves_what_was_there(tmp_path):
    path = tmp_path / "tokens.safetensors"
    store_tokens(path, Letters(), TEXTS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="text_encoder: wanted tokens that float16 holds; got others of letters"):
        store_tokens(path, Letters(secret="x", scale=1e6), TEXTS)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_the_file_is_a_snapshot_that_says_what_made_it(tmp_path):
    path = tmp_path / "tokens.safetensors"
    store_tokens(path, Letters(), TEXTS)
    tensors, header = load_snapshot(path, "tokens")
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {"tokens": [3, 5, 2], "keys": [3, 32]}
    assert read_header(path)["encoder"] == header["encoder"]
    assert (header["encoder"]["name"], header["encoder"]["width"]) == ("letters", 2)


def test_tokens_of_other_texts_are_refused(tmp_path):
    path = tmp_path / "tokens.safetensors"
    store_tokens(path, Letters(), TEXTS)
    with pytest.raises(ValueError, match=r"tokens\.safetensors: keys: wanted the tokens of these captions; got others"):
        read_tokens(path, TEXTS[:2])


def test_another_encoder_is_named_beside_the_recorded_one():
    note = note_of(Letters())
    note.check(Letters())
    with pytest.raises(ValueError, match=r"text_encoder: wanted 'letters' \(e3b0c4.*5 tokens of 2\).*got 'letters' \("):
        note.check(Letters(length=4))
    with pytest.raises(ValueError, match="which the model learned with; got"):
        note.check(Letters(secret="x"))


def test_what_of_a_prompt_is_not_heeded_is_said():
    encoder = Vocabulary(["red", "chair", "table"], length=2)
    assert remarks(encoder, "a red chair") == []
    assert remarks(encoder, "a rad chair, a purple red table") == [
        "prompt 'a rad chair, a purple red table': not learned, left out: rad (nearest: red), purple",
        "prompt 'a rad chair, a purple red table': longer than 2 tokens, cut: table",
    ]


def captions() -> CaptionTokens:
    """Three objects with two, no and one caption; caption n is n + 1 everywhere."""
    tokens = torch.arange(1.0, 4.0).half()[:, None, None].expand(3, 2, 2)
    return CaptionTokens(tokens, [[0, 2], [], [1]])


def drawn(objects: torch.Tensor, *, dropout: float, seed: int = 0) -> torch.Tensor:
    return captions().draw(objects, dropout=dropout, generator=torch.Generator().manual_seed(seed))


def test_each_caption_of_an_object_is_drawn_as_often():
    counts = drawn(torch.zeros(4000, dtype=torch.long), dropout=0.0).bincount(minlength=3)
    assert counts[1] == 0
    assert float(counts[0] / 4000) == pytest.approx(0.5, abs=0.03)
    assert set(drawn(torch.full((50,), 2), dropout=0.0).tolist()) == {1}
    assert set(drawn(torch.full((50,), 1), dropout=0.0).tolist()) == {-1}


def test_texts_are_dropped_as_often_as_asked():
    dropped = drawn(torch.zeros(4000, dtype=torch.long), dropout=0.1) < 0
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert bool((drawn(torch.zeros(50, dtype=torch.long), dropout=1.0) < 0).all())


def test_draws_come_from_the_generator_alone():
    objects = torch.tensor([0, 2] * 20)
    one, again, other = (drawn(objects, dropout=0.1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_tokens_of_drawn_captions_and_zeros_for_none():
    made = captions().of(torch.tensor([2, -1, 0]))
    assert made.dtype == torch.float32
    assert made.flatten(1).tolist() == [[3.0] * 4, [0.0] * 4, [1.0] * 4]
