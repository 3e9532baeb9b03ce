"""Words as tokens: what is the same word, what is a phrase, what is bound to what, what is said of the unknown."""

import subprocess
import sys

import pytest
import torch
from processes import environment

from vader3d.frozen.vocabulary import WORD_WIDTH, Vocabulary, phrases_of, vector_of, words_of

CAPTIONS = ("a red seat with blue legs", "Wooden tables, round", "a glass shelf and two shelves", "高い椅子")


def vocabulary(length: int = 8) -> Vocabulary:
    return Vocabulary(words_of(CAPTIONS), length=length)


def vector(word: str) -> torch.Tensor:
    return torch.from_numpy(vector_of(word))


def test_words_are_those_of_the_captions_in_the_singular():
    assert vocabulary().words == tuple(
        sorted(["red", "seat", "blue", "leg", "wooden", "table", "round", "glass", "shelf", "two", *"高い椅子"])
    )


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("legs", "leg"),
        ("benches", "bench"),
        ("boxes", "box"),
        ("glasses", "glass"),
        ("vases", "vase"),
        ("shelves", "shelf"),
        ("bodies", "body"),
        ("brass", "brass"),
        ("gas", "gas"),
        ("canvas", "canva"),  # odd, but the same odd word always
    ],
)
def test_plurals_are_their_singulars(plural, one):
    assert phrases_of(plural) == phrases_of(one) == [[one]]


def test_a_token_says_its_word_and_what_its_phrase_is_about():
    tokens = vocabulary().encode(["a red seat with two blue legs"])[0]
    expected = [("red", "seat"), ("seat", "seat"), ("two", "leg"), ("blue", "leg"), ("leg", "leg")]
    for token, (word, last) in zip(tokens, expected, strict=False):
        assert torch.equal(token, torch.cat([vector(word), vector(last)]))
    assert not tokens[5:].any()


@pytest.mark.parametrize("other", ["RED seats, blue leg", "the red seat and its blue legs", "(red seat) blue-legs."])
def test_wordings_that_say_the_same_have_the_same_tokens(other):
    one, two = vocabulary().encode(["a red seat with blue legs", other])
    assert torch.equal(one, two)


def test_colours_swapped_are_other_tokens():
    one, two = vocabulary().encode(["a red seat with blue legs", "a blue seat with red legs"])
    rows = [{tuple(token.tolist()) for token in tokens} for tokens in (one, two)]
    assert len(rows[0] - rows[1]) == len(rows[1] - rows[0]) == 2  # the colours


def test_words_are_far_apart_and_the_same_in_every_process():
    words = [f"word{number}x" for number in range(300)]
    vectors = torch.stack([vector(word) for word in words]) / WORD_WIDTH**0.5
    cosines = vectors @ vectors.T - torch.eye(300)
    assert float(cosines.abs().max()) < 0.6
    code = "from vader3d.frozen.vocabulary import vector_of; print(*vector_of('chair').astype(int))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert [int(number) for number in result.stdout.split()] == vector("chair").int().tolist()
    assert vector("chair")[:8].int().tolist() == CHAIR


CHAIR = [-1, -1, 1, 1, 1, 1, -1, -1]  # models that were trained with these words rely on it


def test_unknown_words_are_said_with_the_nearest_and_leave_no_token():
    encoder = vocabulary()
    assert encoder.unknown("a rad seat with purple xylophones") == [("rad", ["red"]), ("purple", []), ("xylophone", [])]
    assert encoder.unknown("TWO blue seats") == encoder.unknown(" ") == []
    assert [encoder.unknown(text) for text in ("\U0001fa91 ", "the")] == [[("\U0001fa91", [])], [("the", [])]]
    assert torch.equal(*encoder.encode(["a seat", "a purple seat"]))
    assert not encoder.encode(["purple xylophones", "", "the", " ,;"]).any()


def test_other_alphabets_are_words_too():
    assert words_of(["красный стул", "Красные стулья"]) == ["красные", "красный", "стул", "стулья"]
    assert phrases_of("高い椅子") == [["高", "い", "椅", "子"]]
    assert phrases_of("लाल कुर्सी") == [["लाल", "कुर्सी"]]
    assert phrases_of("cafe\u0301") == phrases_of("CAFÉ") == [["café"]]
    assert vocabulary().unknown("椅子") == []


def test_what_does_not_fit_is_cut_at_the_end():
    encoder = vocabulary(length=3)
    text = "a red seat with blue legs, wooden, purple"
    assert encoder.cut(text) == "leg wooden"
    assert encoder.cut("a red seat") == ""
    tokens = encoder.encode([text])
    assert tokens.shape == (1, 3, encoder.width)
    assert torch.equal(tokens, vocabulary().encode([text])[:, :3])


def test_the_checksum_is_that_of_words_and_length():
    one = vocabulary()
    assert one.checksum == Vocabulary(reversed(one.words), length=8).checksum
    assert one.checksum != vocabulary(length=9).checksum
    assert one.checksum != Vocabulary(one.words[1:], length=8).checksum


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "words: wanted captions with words; got none"),
        (["two words"], "words: wanted single words, at least one; got 'two words'"),
        (["Chairs"], "got 'Chairs'"),
        (["the"], "got 'the'"),
    ],
)
def test_what_are_no_words_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        Vocabulary(words, length=8)
