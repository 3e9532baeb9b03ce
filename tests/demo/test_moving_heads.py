"""The demo of people who move, in seconds: balls on balls, whose clips drive new ones."""

import itertools
import json
import shutil
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from document import Document
from figures import two_balls

from vader3d.assets import Asset
from vader3d.autodecoder.parts import PartConfig
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.cli.main import main
from vader3d.data.archive.reader import Archive
from vader3d.demo import heads
from vader3d.demo.heads import HEADS, run_moving_demo
from vader3d.diffusion.train import DiffusionTask
from vader3d.evaluation.articulated import ArticulatedConfig
from vader3d.export.extras import needed
from vader3d.generate import animate, previews
from vader3d.presets import preset

PEOPLE, NEW = 3, 2
STEPS = {AutodecoderTask: 40, DiffusionTask: 8}
SECTIONS = ("New people", "Training", "Clips", "Known people from their sides", "Scores")


@pytest.fixture(scope="module", autouse=True)
def brief():
    pytest.importorskip("embreex")
    needed("av")
    tiny = preset("tiny")
    stage_1 = replace(
        tiny.autodecoder,
        decoder=replace(tiny.autodecoder.decoder, extra_channels=2, part_heights=(0.45, -0.45)),
        parts=PartConfig(poses="beside", start_noise=4.0, hold=0.9),
        poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
        loop=replace(tiny.autodecoder.loop, objects_seen=2 * STEPS[AutodecoderTask], batch=2, device="cpu"),
        views_per_object=2,
    )
    stage_2 = replace(tiny.diffusion, loop=replace(tiny.diffusion.loop, objects_seen=32 * STEPS[DiffusionTask]))
    recipe = replace(tiny, autodecoder=stage_1, diffusion=stage_2, objects=PEOPLE)
    judged = ArticulatedConfig(clips=2, refinement=4, grid=2, exported=1)
    clips = partial(heads.prepare_heads, frames=8, size=32, processes=1)
    values = {"preset": lambda name: recipe, "prepare_heads": clips, "NEW_PEOPLE": NEW, "FILM_PX": 24, "STEPS": 2}
    pictured = {"PREVIEWED": 4, "PREVIEW_STEPS": 2, "PREVIEW_PX": 16}
    fitted = {"FITTED": 2, "FITTED_PX": 24, "COMPARED": 2}
    with pytest.MonkeyPatch.context() as patch:
        for place, chosen in ((heads, values | {"JUDGED": judged}), (previews, pictured), (animate, fitted)):
            for name, value in chosen.items():
                patch.setattr(place, name, value)
        yield


@pytest.fixture(scope="module")
def finished(brief, tmp_path_factory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("demo") / "run"
    return output, run_moving_demo(output=output, seed=0, subject=two_balls)


def page_of(output: Path) -> Document:
    return Document((output / "index.html").read_text(encoding="utf-8"))


def timeless(report: dict) -> dict:
    return {key: value for key, value in report.items() if "seconds" not in key}


def test_clips_become_new_people_that_others_clips_drive(finished):
    """Each new person has a film, a mesh that moves and a turntable; the page shows them, and what they come from."""
    output, report = finished
    assert report == json.loads((output / "report.json").read_text())
    assert {"head_rotation_error", "heldout_psnr", "driver_leaked", "seconds_total"} <= report.keys()
    assert {f"seconds_{part}" for part in ("data", *heads.SHARES)} <= report.keys()
    assert report["training_objects"] == PEOPLE
    made = {path.name for path in (output / "assets").iterdir()}
    assert made == {f"{number:03d}.{end}" for number in range(NEW) for end in ("mp4", "glb", "webp")}
    document = page_of(output)
    places = [document.text.index(title) for title in SECTIONS]
    assert places == sorted(places)
    assert "degrees off, median; one pose for all" in document.text
    assert "driven by head-00002" in document.text
    links = {attrs.get("href") for tag, attrs in document.elements if tag == "a"}
    assert {f"assets/{number:03d}.glb" for number in range(NEW)} <= links
    assert sum(tag == "img" for tag, _ in document.elements) == 6 * NEW + PEOPLE + 1


def stopped(monkeypatch, output: Path, where: str) -> Document:
    """The page of a demo that Ctrl-C ended in the middle of a training, or as another part began or went on."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where.startswith("stage"):
            kind = AutodecoderTask if where == "stage 1" else DiffusionTask
            original, steps = kind.losses, itertools.count()

            def losses(self, **step):
                if next(steps) == STEPS[kind] // 2:
                    signal.raise_signal(signal.SIGINT)
                return original(self, **step)

            patch.setattr(kind, "losses", losses)
        else:
            ends = {"data": "making.heads.truth_of", "people": "assets.Asset.turntable", "scores": "demo.heads."}
            place = {"data": f"vader3d.data.{ends['data']}", "people": f"vader3d.{ends['people']}"}
            patch.setattr(place.get(where, "vader3d.demo.heads.evaluate_articulated"), stop)
        with pytest.raises(KeyboardInterrupt):
            run_moving_demo(output=output, seed=0, subject=two_balls)
    return page_of(output) if (output / "index.html").is_file() else Document("")


def test_stopped_everywhere_the_same_call_goes_on_and_comes_to_the_same(finished, tmp_path, monkeypatch):
    output, learned = tmp_path / "run", []
    assert stopped(monkeypatch, output, "data").text == ""
    for where in ("stage 1", "stage 2", "people", "scores"):
        document = stopped(monkeypatch, output, where)
        assert "Stopped. The same command" in document.text
        assert "Clips" in document.text
        if where != "stage 1":
            learned.append((output / "autodecoder" / "model.safetensors").read_bytes())
    assert "New people" in document.text
    report = run_moving_demo(output=output, seed=0, subject=two_balls)
    assert len({*learned}) == 1
    assert timeless(report) == timeless(finished[1])
    assert "Stopped" not in page_of(output).text


def test_a_finished_demo_is_left_as_it_is(finished, monkeypatch, capsys):
    output, report = finished
    monkeypatch.setattr(heads, "train_both", lambda *arguments, **options: pytest.fail("it trains"))
    page = (output / "index.html").read_bytes()
    assert run_moving_demo(output=output, seed=0) == report
    main(["demo", "--data", HEADS, "--output", str(output)])
    said = capsys.readouterr().out
    assert "one pose for all" in said
    assert f"{output / 'assets' / '000.glb'}" in said
    assert f"animate --model {output / 'diffusion'}" in said
    assert (output / "index.html").read_bytes() == page


def test_an_empty_person_has_a_film_and_no_mesh(finished, tmp_path, monkeypatch):
    def empty(asset: Asset, *arguments, **options):
        raise heads.EmptyVolumeError("volume: wanted a surface; got an empty one")

    output = shutil.copytree(finished[0], tmp_path / "run")
    shutil.rmtree(output / "assets")
    monkeypatch.setattr(heads, "save_animation", empty)
    cards = heads.new_people(output, Archive(output / "heads.zip"), 0)
    assert [card.link for card in cards] == [""] * NEW
    assert {path.suffix for path in (output / "assets").iterdir()} == {".mp4", ".webp"}


def test_minutes_are_of_what_comes_after_the_clips(finished, tmp_path, monkeypatch):
    asked = {}

    def trained(archive, config, *arguments, **options):
        asked[type(config).__name__] = config.loop.seconds
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("vader3d.demo.run.train_autodecoder", trained)
    monkeypatch.setattr("vader3d.demo.run.train_diffusion", trained)
    monkeypatch.setattr("vader3d.demo.run.samples_drawn", lambda *arguments, **options: None)
    output = tmp_path / "run"
    output.mkdir()
    for path in finished[0].glob("heads.zip*"):
        shutil.copy(path, output)
    (output / "seconds.json").write_text('{"data": 3000.0}')
    with pytest.raises(KeyboardInterrupt):
        run_moving_demo(output=output, seed=0, minutes=10.0, subject=two_balls)
    first, second = asked.values()
    assert first == pytest.approx(600 * heads.SHARES["autodecoder"])
    assert second == pytest.approx(600 * (1 - heads.SHARES["assets"] - heads.SHARES["evaluation"]), abs=5)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("anny",), "anny: wanted for the demo of talking-heads; got none; pip install 'vader3d[heads]'"),
        (("anny", "av"), "av, anny: wanted for the demo of talking-heads; got none; pip install 'vader3d[heads,video]"),
    ],
)
def test_without_its_packages_nothing_is_begun(missing, said, tmp_path, monkeypatch, capsys):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit):
        main(["demo", "--data", HEADS, "--output", str(tmp_path / "run")])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
