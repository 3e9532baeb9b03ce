"""A run folder is for one configuration on one data set."""

import dataclasses
import json

import pytest

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import override
from vader3d.training.run import flatten, open_run

CONFIG = AutodecoderConfig()


def test_a_new_folder_is_made_and_opened_again(tmp_path):
    run = tmp_path / "deep" / "run"
    for _ in range(2):
        open_run(run, kind="autodecoder", config=CONFIG, data="abc")
    assert (run / "run.json").is_file()


@pytest.mark.parametrize("change", ["loop.seconds=60", "loop.objects_seen=5", "loop.checkpoint_seconds=1"])
def test_how_long_and_how_often_may_change(tmp_path, change):
    open_run(tmp_path, kind="autodecoder", config=CONFIG, data="abc")
    open_run(tmp_path, kind="autodecoder", config=override(CONFIG, [change]), data="abc")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("decoder.code_length=64", r"config\.decoder\.code_length: 1024 there, 64 wanted"),
        ("decoder.channels=[8, 4]", r"config\.decoder\.channels"),
        ("optimiser.lr=1e-4", r"config\.optimiser\.lr: 0\.0005 there, 0\.0001 wanted"),
    ],
)
def test_another_configuration_is_refused_by_the_field_s_name(tmp_path, change, said):
    open_run(tmp_path, kind="autodecoder", config=CONFIG, data="abc")
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ValueError, match=said):
        open_run(tmp_path, kind="autodecoder", config=override(CONFIG, [change]), data="abc")
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "said"), [({"kind": "diffusion"}, "kind: 'autodecoder'"), ({"data": "b"}, "data: 'a'")]
)
def test_another_kind_or_data_set_is_refused(tmp_path, changed, said):
    plain = {"kind": "autodecoder", "config": CONFIG, "data": "a"}
    open_run(tmp_path, **plain)
    with pytest.raises(ValueError, match=f"another configuration .*{said}.*choose another --output"):
        open_run(tmp_path, **{**plain, **changed})


def test_a_strange_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match=r"holds files but no run\.json"):
        open_run(tmp_path, kind="autodecoder", config=CONFIG, data="a")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_garbled_run_file_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"kind": "autod')
    with pytest.raises(ValueError, match=r"run\.json: not readable"):
        open_run(tmp_path, kind="autodecoder", config=CONFIG, data="a")


def test_many_differences_are_counted_not_listed(tmp_path):
    open_run(tmp_path, kind="autodecoder", config=CONFIG, data="a")
    other = dataclasses.replace(
        CONFIG,
        views_per_object=1,
        code_lr=1.0,
        code_std=2.0,
        pixel_stride=2,
        decoder=dataclasses.replace(CONFIG.decoder, code_length=2, subvoxels=2),
    )
    with pytest.raises(ValueError, match="and 2 more"):
        open_run(tmp_path, kind="autodecoder", config=other, data="a")


def test_flattened_names_are_dotted():
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}


def test_a_run_of_a_version_without_some_field_goes_on_with_its_default(tmp_path):
    open_run(tmp_path, kind="autodecoder", config=CONFIG, data="abc")
    path = tmp_path / "run.json"
    notes = json.loads(path.read_text())
    del notes["config"]["losses"]["binary_mask"]
    path.write_text(json.dumps(notes))
    with pytest.raises(ValueError, match=r"config\.losses\.binary_mask: False there, True wanted"):
        open_run(tmp_path, kind="autodecoder", config=override(CONFIG, ["losses.binary_mask=true"]), data="abc")
    open_run(tmp_path, kind="autodecoder", config=CONFIG, data="abc")
    assert json.loads(path.read_text())["config"]["losses"]["binary_mask"] is False
