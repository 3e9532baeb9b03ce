"""The demo of people who move, in seconds: balls on balls, whose clips drive new ones."""

import json
from dataclasses import replace

import pytest
from document import Document
from figures import two_balls

from vader3d.assets import Asset
from vader3d.autodecoder.parts import PartConfig
from vader3d.autodecoder.posing import PoseConfig
from vader3d.cli.main import main
from vader3d.data.making import people
from vader3d.demo import heads
from vader3d.demo.heads import HEADS, run_moving_demo
from vader3d.evaluation.articulated import ArticulatedConfig
from vader3d.generate import previews
from vader3d.presets import preset
from vader3d.training.errors import Terminated

PEOPLE = 3


@pytest.fixture(scope="module", autouse=True)
def brief():
    pytest.importorskip("embreex")
    tiny = preset("tiny")
    stage_1 = replace(
        tiny.autodecoder,
        decoder=replace(tiny.autodecoder.decoder, extra_channels=2, part_heights=(0.45, -0.45)),
        parts=PartConfig(poses="beside", start_noise=4.0, hold=0.9),
        poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
        loop=replace(tiny.autodecoder.loop, objects_seen=160, batch=2, device="cpu"),
        views_per_object=2,
    )
    stage_2 = replace(tiny.diffusion, loop=replace(tiny.diffusion.loop, objects_seen=256))
    recipe = replace(tiny, autodecoder=stage_1, diffusion=stage_2, objects=PEOPLE)
    judged = ArticulatedConfig(clips=2, refinement=4, grid=2, exported=1)
    values = {"preset": lambda name: recipe, "NEW_PEOPLE": 2, "FILM_PX": 24, "STEPS": 2, "JUDGED": judged}
    pictured = {"PREVIEWED": 4, "PREVIEW_STEPS": 2, "PREVIEW_PX": 16}
    with pytest.MonkeyPatch.context() as patch:
        for place, chosen in ((heads, values), (previews, pictured)):
            for name, value in chosen.items():
                patch.setattr(place, name, value)
        yield


def test_clips_become_new_people_that_others_clips_drive(tmp_path, monkeypatch):
    """Stopped as stage 2 begins it goes on; in the end each new person has a film and a mesh that moves."""
    output = tmp_path / "run"

    def stop(*arguments, **options):
        raise Terminated

    with monkeypatch.context() as patch:
        patch.setattr("vader3d.demo.run.train_diffusion", stop)
        with pytest.raises(Terminated):
            run_moving_demo(output=output, seed=0, subject=two_balls)
    assert "Stopped." in (output / "index.html").read_text(encoding="utf-8")
    learned = (output / "autodecoder" / "model.safetensors").read_bytes()
    report = run_moving_demo(output=output, seed=0, subject=two_balls)
    assert (output / "autodecoder" / "model.safetensors").read_bytes() == learned
    assert report == json.loads((output / "report.json").read_text())
    assert {"head_rotation_error", "heldout_psnr", "driver_leaked", "seconds_total"} <= report.keys()
    assert report["training_objects"] == PEOPLE
    films = sorted(path.name for path in (output / "assets").glob("*.mp4"))
    assert films == ["000.mp4", "001.mp4"]
    document = Document((output / "index.html").read_text(encoding="utf-8"))
    assert "New people" in document.text
    assert "Known people from their sides" in document.text
    assert "degrees off, median; one pose for all" in document.text
    assert sum(tag == "img" for tag, _ in document.elements) > 2 * 4
    links = {attrs.get("href") for tag, attrs in document.elements if tag == "a"}
    assert {f"assets/{path.name}" for path in (output / "assets").glob("*.glb")} <= links


def test_a_finished_demo_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "train_both", lambda *arguments, **options: pytest.fail("it trains"))
    known = {"data": HEADS, "minutes": None, "seed": 0, "head_rotation_error": 2.5}
    (tmp_path / "report.json").write_text(json.dumps(known))
    assert run_moving_demo(output=tmp_path, seed=0, subject=two_balls) == known


def test_an_empty_person_has_a_film_and_no_mesh(tmp_path, monkeypatch):
    def empty(asset: Asset, *arguments, **options):
        raise heads.EmptyVolumeError("volume: wanted a surface; got an empty one")

    monkeypatch.setattr(heads, "save_animation", empty)
    run_moving_demo(output=tmp_path, seed=0, subject=two_balls)
    assert len([*(tmp_path / "assets").glob("*.mp4")]) == 2
    assert not [*(tmp_path / "assets").glob("*.glb")]


def test_without_the_package_for_people_nothing_is_begun(tmp_path, monkeypatch, capsys):
    def missing():
        raise ImportError("anny: wanted for people; got none; pip install 'vader3d[heads]'")

    monkeypatch.setattr(heads, "body", missing)
    assert heads.person is people.person
    with pytest.raises(SystemExit):
        main(["demo", "--data", HEADS, "--output", str(tmp_path / "run")])
    assert "pip install 'vader3d[heads]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
