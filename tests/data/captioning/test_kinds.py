"""Names become plain words, and the words a kind of thing."""

from collections import Counter

import pytest

from vader3d.data.captioning.kinds import KIND_OF, KINDS, clean_name, clean_tags, kind_of, with_article
from vader3d.data.captioning.template import attributes
from vader3d.data.named import open_archive

NAMES = {
    "Teck chair": ("teak chair", "chair"),
    "wood bank": ("wooden bench", "bench"),
    "Rounded type C plug": ("wall socket", "wall socket"),
    "hashtray": ("ashtray", "ashtray"),
    "Sofa 3 seats": ("sofa", "sofa"),
    "black table": ("table", "table"),
    "Double window 4 panes": ("double window", "window"),
    "TV stand": ("television stand", "cabinet"),
    "Chair with cushion": ("chair with cushion", "chair"),
    "Wood_logs-02": ("logs", "logs"),
    "table lamp": ("table lamp", "lamp"),
    "coffee table": ("coffee table", "table"),
    "A1_b2 3f": ("", ""),
    "стол": ("стол", "стол"),
    "Blend Swap": ("", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_cleaned_and_sorted(name):
    plain, kind = NAMES[name]
    assert clean_name(name) == plain
    assert kind_of(plain) == kind


def test_tags_tell_the_kind_of_brands_and_species():
    assert kind_of("renault scenic", ["Car"]) == "car"
    assert kind_of("acacia", ["Tree", "Outdoor"]) == "tree"
    assert kind_of("helmet", ["Motorcycle"]) == "helmet"
    assert clean_tags(["Blend Swap", "SCPTS", "Seat", "Seat", " "]) == ("Seat",)


def test_every_word_belongs_to_one_kind():
    assert len(KIND_OF) == sum(1 + len(words) for words in KINDS.values())


def test_articles_fit():
    assert [with_article(words) for words in ("red chair", "orange chair", "shelves", "white glass", "brown bus")] == [
        "a red chair",
        "an orange chair",
        "shelves",
        "a white glass",
        "a brown bus",
    ]
    assert with_article("green and red orchids", "orchids") == "green and red orchids"
    assert with_article("chair with four legs") == "a chair with four legs"


def test_the_embedded_furniture_is_captioned_by_colour_and_kind():
    records = open_archive("furniture-all").records
    kinds = {record.name: attributes(record.tags) for record in records}
    for record in records:
        said, texts = kinds[record.name], [caption.text for caption in record.captions]
        assert 2 <= len(texts) <= 3
        assert {caption.source for caption in record.captions} == {"template"}
        assert any(text.endswith(f"{said['colour']} {said['type']}") for text in texts) or said["type"] in texts[-1]
        assert not any(c.isdigit() for text in texts for c in text)
    counts = Counter(said["type"] for said in kinds.values())
    assert all(counts[kind] > 15 for kind in ("chair", "table", "lamp", "sofa", "cabinet", "bed", "plant"))
