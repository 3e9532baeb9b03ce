"""The one command that trains classifiers fills its table and sheet."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from judged_models import write_model
from PIL import Image
from tiny import write_things

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.writer import read_object
from vader3d.generate import Generator

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "classifier.py"))


@pytest.fixture
def data(tmp_path) -> Archive:
    """Eight objects, every other one a chair, the others stools; six views each."""
    things = write_things(tmp_path / "things.zip", views=6)
    with ArchiveWriter(tmp_path / "typed.zip", title="typed", resolution=things.resolution) as archive:
        for number in range(8):
            kind = ("chair", "stool")[number % 2]
            record = ObjectRecord(f"{number}", (Caption(f"a {kind}"),), "thing", (f"type:{kind}",), views=6)
            archive.add(replace(read_object(things, number % len(things)), record=record))
    return Archive(tmp_path / "typed.zip")


def test_the_table_has_a_row_for_each_training(data, tmp_path, monkeypatch):
    model = write_model(tmp_path / "model", data)
    asked = []
    monkeypatch.setattr(Generator, "check_texts", lambda self, texts: asked.extend(texts))  # it knows no words
    BENCHMARK["main"]([str(model), str(data.path), "--quick", "--output", str(tmp_path)])
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "classifier.md").read_text().splitlines()[4:]]
    assert rows[0][3:] == ["chair", "stool"]
    assert [row[0] for row in rows[2:]] == ["real", "generated", "both"]
    assert all(0 <= float(row[1]) <= 100 for row in rows[2:])
    assert {text for text in asked if text} == {"a chair", "a stool"}
    with Image.open(tmp_path / "classifier.png") as sheet:
        assert sheet.size == (3 * 4 * 48, 2 * 48)


def test_no_object_is_in_training_and_test_and_rare_types_are_refused(data):
    by_type = BENCHMARK["objects_by_type"](data, types=2, least=4)
    assert {kind: sorted(objects) for kind, objects in by_type.items()} == {
        "chair": [0, 2, 4, 6],
        "stool": [1, 3, 5, 7],
    }
    with pytest.raises(ValueError, match=r"data: wanted 2 types of 5 or more objects; got \[4, 4\]"):
        BENCHMARK["objects_by_type"](data, types=2, least=5)


def test_places_are_spread_over_objects_and_then_over_views(data):
    places = BENCHMARK["places_of"](data, [3, 5], lambda count: [0, 2, count - 1], 8)
    assert places == [(3, 0), (5, 0), (3, 2), (5, 2), (3, 5), (5, 5), (3, 0), (5, 0)]
    pictures = BENCHMARK["pictures_of"](data, places)
    assert pictures.shape == (8, 3, 48, 48)
    assert torch.equal(pictures[0], pictures[6])


def test_a_classifier_learns_what_can_be_learned_and_nothing_else():
    draw = torch.Generator().manual_seed(0)
    pictures, labels = torch.rand(64, 3, 48, 48, generator=draw) * 0.5, torch.arange(64) % 2
    pictures[labels == 1, 0] += 0.4
    right = [
        BENCHMARK["shares_right"](BENCHMARK["learned"](shown, labels, 2, seed=0, steps=30), pictures, labels, 2).mean()
        for shown in (pictures, pictures.roll(1, 0))
    ]
    assert right[0] > 0.95
    assert right[1] < 0.05
