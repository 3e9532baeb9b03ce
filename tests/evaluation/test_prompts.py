"""Which prompts are asked: new wordings of what training knows, pairs that it does not, captions of what it saw."""

from dataclasses import replace

import pytest
from tiny import Box, write_things

from vader3d.captions import Caption
from vader3d.colour import COLOURS
from vader3d.data.archive.format import ObjectRecord
from vader3d.evaluation.prompts import KnownObjects, caption_prompts, filled_in, names_of, template_prompts
from vader3d.evaluation.protocol import Prompts
from vader3d.text.heldout import held_out_pairs

ASKED = Prompts(templates=("a {colour} {type}", "one {type}, {colour}"), attributes=("arms", "legs"))
THINGS = {f"{colour} {kind}": (Box((0.5, 0.5, 0.5)),) for colour in ("red", "blue", "green") for kind in ("box", "cup")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Its captions are `a red box` and so on."""
    return write_things(tmp_path_factory.mktemp("prompts") / "things.zip", THINGS, views=6, size=8)


def without_some(data) -> KnownObjects:
    """Of a model that never met two of the six pairs."""
    return KnownObjects(data, held_out_pairs(KnownObjects(data, []).said, 0.3, COLOURS))


def test_attributes_are_those_of_tags_else_of_category_and_caption():
    plain = ObjectRecord("it", (Caption("a lamp of red paper"),), category="lamp", tags=("paper",))
    assert names_of(plain) == {"type": "lamp", "colour": "red", "pair": "red lamp"}
    tagged = replace(plain, tags=("type:chair", "colour:light brown", "arms:yes"))
    assert names_of(tagged) == {"type": "chair", "colour": "brown", "arms": "yes", "pair": "brown chair"}
    assert names_of(ObjectRecord("it")) == {}


def test_a_template_names_what_is_there_by_its_name_and_an_before_vowels():
    names = {"colour": "orange", "type": "chair", "arms": "yes"}
    assert filled_in("a {colour} {type} with {arms}", names) == "an orange chair with arms"


def test_a_wording_that_is_a_caption_is_not_asked(data):
    found = template_prompts(KnownObjects(data, []), ASKED, seed=0)
    assert sorted(prompt.text for prompt in found) == sorted(
        f"one {kind}, {colour}" for colour, kind in map(str.split, THINGS)
    )
    assert {prompt.group for prompt in found} == {"prompts"}
    assert found[0].names["pair"] == f"{found[0].names['colour']} {found[0].names['type']}"
    none = replace(ASKED, templates=("a {colour} {type}",))
    assert [prompt.text for prompt in template_prompts(KnownObjects(data, []), none, seed=0)] == []


def test_pairs_that_are_held_out_are_asked_apart_and_all_of_them(data):
    known = without_some(data)
    found = template_prompts(known, replace(ASKED, of_each=1), seed=0)
    groups = {
        group: {one.names["pair"] for one in found if one.group == group} for group in ("prompts", "heldout_pairs")
    }
    assert len(known.held_out) == len(groups["heldout_pairs"]) == 2
    assert len(groups["prompts"]) == 1
    assert groups["heldout_pairs"] == {" ".join(pair) for pair in known.held_out}
    assert not {data.records[index].name for index in known.kept} & groups["heldout_pairs"]


def test_captions_are_those_of_objects_that_the_model_saw(data):
    known = without_some(data)
    order = [3, 1, 5, 0, 2, 4, 3]
    found = caption_prompts(known, order)
    assert len(found) == 7
    texts = {f"a {data.records[index].name}" for index in known.kept}
    assert {prompt.text for prompt in found} <= texts
    kept = [place for place, index in enumerate(order) if index in known.kept]
    assert [found[place].text for place in kept] == [f"a {data.records[order[place]].name}" for place in kept]


def test_different_seeds_ask_for_different_ones_of_many(data):
    some = replace(ASKED, of_each=3)
    asked = [
        [prompt.text for prompt in template_prompts(KnownObjects(data, []), some, seed=seed)] for seed in (0, 0, 1)
    ]
    assert asked[0] == asked[1] != asked[2]
    assert len(asked[0]) == 3
