"""Pairs that stage 2 never meets: the same everywhere, no word unknown, no object that names one left in."""

import pytest

from vader3d.text.heldout import Pair, Said, held_out_pairs, kept_objects, pairs_of, said_of

COLOURS = ("red", "blue", "green", "black")
TYPES = ("chair", "table", "stool")
OBJECTS = [Said([f"a {colour} wooden {kind}"], kind) for colour in COLOURS for kind in TYPES]


def test_a_pair_is_the_first_colour_of_each_caption_with_the_type():
    said = Said(["A red chair with a blue cushion", "chair, black", "a chair"], "chair")
    assert pairs_of(said, COLOURS) == {Pair("red", "chair"), Pair("black", "chair")}
    assert pairs_of(Said(["a reddish chair"], "chair"), COLOURS) == set()
    assert pairs_of(Said(["a red thing"], ""), COLOURS) == set()


def test_what_is_held_out_depends_on_the_words_alone():
    found = held_out_pairs(OBJECTS, 0.25, COLOURS)
    assert found == [Pair("black", "stool"), Pair("blue", "table"), Pair("green", "stool")]  # for ever
    assert held_out_pairs([*reversed(OBJECTS), *OBJECTS], 0.25, COLOURS) == found


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_every_colour_and_type_stays_known_and_no_object_names_a_pair(share):
    held_out = held_out_pairs(OBJECTS, share, COLOURS)
    kept = [OBJECTS[number] for number in kept_objects(OBJECTS, held_out, COLOURS)]
    left = {pair for said in kept for pair in pairs_of(said, COLOURS)}
    assert 1 <= len(held_out) <= max(1, round(share * 12))
    assert {pair.colour for pair in left} == {*COLOURS}
    assert {pair.type for pair in left} == {*TYPES}
    assert not left & {*held_out}
    assert len(kept) == 12 - len(held_out)


def test_well_known_words_go_first_and_the_share_is_of_objects():
    """Many chairs and tables of each colour and a rarity of each; a pair costs an eighth."""
    many = [Said([f"a {colour} {kind}"], kind) for colour in COLOURS for kind in ("chair", "table") for _ in range(120)]
    rare = [Said([f"a {colour} {kind}"], kind) for colour in COLOURS for kind in ("egg", "cup")]
    held_out = held_out_pairs([*rare, *many], 0.15, COLOURS)
    assert len(held_out) == 1
    assert held_out[0].type in ("chair", "table")
    assert len(held_out_pairs([*rare, *many], 0.3, COLOURS)) == 2
    assert held_out_pairs(rare, 0.15, COLOURS)  # better than none


def test_an_object_is_left_out_by_any_of_its_captions_and_nothing_without_a_share():
    said = [*OBJECTS, Said(["a black stool", "green stool"], "stool"), Said([], "chair")]
    kept = kept_objects(said, held_out_pairs(OBJECTS, 0.25, COLOURS), COLOURS)
    assert 12 not in kept
    assert 13 in kept
    assert held_out_pairs(said, 0, COLOURS) == []
    assert kept_objects(said, [], COLOURS) == [*range(14)]


def test_captions_without_colours_cannot_be_held_out():
    with pytest.raises(ValueError, match="held_out: wanted captions that name colours"):
        held_out_pairs([Said(["a chair"], "chair")], 0.5, COLOURS)


def test_a_tag_tells_the_type_before_the_category_does():
    assert said_of(["a red chair"], "chair", []) == Said(["a red chair"], "chair")
    assert said_of([], "chair", ["wood", "type:stool"]) == Said([], "stool")
