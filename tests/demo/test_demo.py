"""The demo in seconds, by a clock of its own: a page from the beginning, scores last, alike at any speed."""

import dataclasses
import itertools
import json
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import judged_models
import pytest
import torch
from document import Document
from tiny import THINGS, write_things

from vader3d.autodecoder.train import AutodecoderTask
from vader3d.cli.main import main
from vader3d.demo import clock, page, run
from vader3d.demo.run import run_demo
from vader3d.diffusion.train import DiffusionTask
from vader3d.evaluation import runner
from vader3d.presets import preset
from vader3d.snapshots import load_snapshot
from vader3d.training import loop
from vader3d.training.log import read_metrics

OBJECTS, LATENTS, ASSETS = 160, 1280, 2  # 40 steps each
FOUND = ("heldout_psnr", "heldout_iou", "frechet_generated", "frechet_reconstruction", "frechet_heldout_views")


class Shown:
    """A page as it lies there at some moment."""

    def __init__(self, path: Path):
        self.source = path.read_text(encoding="utf-8") if path.is_file() else ""
        document = Document(self.source)
        self.text = " ".join(document.text.partition("vader3d demo")[2].split())
        self.pictures = sum(tag == "img" for tag, _ in document.elements)
        self.refreshes = any(attrs.get("http-equiv") == "refresh" for _, attrs in document.elements)


@pytest.fixture
def data(tmp_path) -> str:
    write_things(tmp_path / "things.zip")
    return str(tmp_path / "things.zip")


@pytest.fixture(autouse=True)
def brief(monkeypatch) -> None:
    """A recipe of a few seconds, judged by a network that costs nothing."""

    def shortened(config, objects: int):
        return dataclasses.replace(config, loop=dataclasses.replace(config.loop, objects_seen=objects))

    tiny = preset("tiny")
    recipe = dataclasses.replace(
        tiny, autodecoder=shortened(tiny.autodecoder, OBJECTS), diffusion=shortened(tiny.diffusion, LATENTS)
    )
    monkeypatch.setattr(run, "preset", lambda name: recipe)
    monkeypatch.setattr(run, "ASSETS", ASSETS)
    monkeypatch.setattr(run, "load_features", lambda: None)
    monkeypatch.setattr(runner, "load_features", lambda name, **_: judged_models.tiny_features("tiny"))


def slowness(monkeypatch, seconds: float) -> None:
    """A machine on which so many seconds pass between one look at the clock and the next."""
    ticks = itertools.count()
    fake = SimpleNamespace(monotonic=lambda: seconds * next(ticks), strftime=time.strftime)
    for module in (clock, page, run, loop):
        monkeypatch.setattr(module, "time", fake)


def at_every_step(monkeypatch, look) -> None:
    """Calls look(task) before each step of both trainings."""
    for kind in (AutodecoderTask, DiffusionTask):

        def losses(self, *, original=kind.losses, **step):
            look(self)
            return original(self, **step)

        monkeypatch.setattr(kind, "losses", losses)


def timeless(report: dict) -> dict:
    """Without what differs from one machine to the next."""
    return {key: value for key, value in report.items() if "seconds" not in key}


def test_while_it_trains_the_page_shows_pictures_and_the_time_left(data, tmp_path, monkeypatch):
    slowness(monkeypatch, 3.0)
    seen: dict[type, list[Shown]] = {AutodecoderTask: [], DiffusionTask: []}
    index = tmp_path / "run" / "index.html"
    at_every_step(monkeypatch, lambda task: seen[type(task)].append(Shown(index)))
    run_demo(data, output=tmp_path / "run", seed=0)
    first, second = seen.values()
    assert "stage 1" in first[0].text
    assert all(shown.refreshes for shown in first + second)
    assert [shown.pictures for shown in (first[0], first[20], second[0], second[20])] == [0, 1, 1, 2]
    assert "Time left, about? min" in first[0].text
    assert re.search(r"Time left, about\d+ min.*Of this part\d+%", first[20].text)
    assert "stage 2" in second[20].text
    newest = {path.name for stage in ("autodecoder", "diffusion") for path in (index.parent / stage).glob("previews/*")}
    assert len(newest) > 6


def test_assets_come_before_the_scores_and_the_finished_page_stands_still(data, tmp_path, monkeypatch):
    before: list[Shown] = []

    def evaluate(*arguments, **options):
        before.append(Shown(tmp_path / "run" / "index.html"))
        assert len([*(tmp_path / "run" / "assets").iterdir()]) > 0
        return runner.evaluate(*arguments, **options)

    monkeypatch.setattr(run, "evaluate", evaluate)
    report = run_demo(data, output=tmp_path / "run", seed=0)
    after = Shown(tmp_path / "run" / "index.html")
    (early,) = before
    assert ("The scores follow" in early.text, early.refreshes) == (True, True)
    assert ("The scores follow" in after.text, after.refreshes) == (False, False)
    assert early.pictures == after.pictures > ASSETS + 12 * 8 // len(THINGS)
    assert "Silhouette" not in early.text
    assert all(isinstance(report[key], float) for key in FOUND)
    assert report["samples"] == len(THINGS)
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    meshes = [*(tmp_path / "run" / "assets").glob("*.glb")]
    assert len(meshes) == ASSETS - report["empty_assets"]
    drawn = re.findall(r'class="key c\d">(\w+) <b>', after.source)
    assert drawn == ["perceptual", "mask", "pixel", "denoising"]
    assert not re.search(r"(src|href|srcset)=\"?\w+://", after.source)  # nothing from outside


def test_a_slow_machine_draws_the_same_later(data, tmp_path, monkeypatch):
    made = []
    for name, seconds in (("quick", 0.001), ("slow", 5.0)):
        slowness(monkeypatch, seconds)
        report = run_demo(data, output=tmp_path / name, seed=0)
        weights, _ = load_snapshot(tmp_path / name / "diffusion" / "model.safetensors")
        made.append((timeless(report), weights, report["seconds_total"]))
        assert read_metrics(tmp_path / name / "autodecoder")[-1]["seen"] == OBJECTS
    (one, weights, quick), (two, others, slow) = made
    assert slow > 100 * quick
    assert one == two
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


def test_a_clock_ends_both_trainings_and_bounds_the_scores(data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FEWEST_JUDGED", 2)
    slowness(monkeypatch, 0.25)
    report = run_demo(data, output=tmp_path / "run", seed=0, minutes=2.0)
    assert report["seconds_autodecoder"] == pytest.approx(120 * clock.SHARES["autodecoder"], rel=0.1)
    training = report["seconds_total"] - report["seconds_assets"] - report["seconds_evaluation"]
    assert training == pytest.approx(120 * (1 - clock.SHARES["assets"] - clock.SHARES["evaluation"]), rel=0.1)
    # Both looks at the clock around the first two samples are one tick apart: 6 s are enough for 48.
    assert report["deviations"][0] == "48 samples instead of 64"


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_clock_without_time_is_refused(minutes, tmp_path):
    with pytest.raises(ValueError, match="minutes: wanted"):
        run_demo("furniture", output=tmp_path / "run", seed=0, minutes=minutes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["stage 1", "stage 2", "assets", "scores"])
def test_stopped_anywhere_the_page_says_so_and_the_same_call_goes_on(where, data, tmp_path, monkeypatch):
    slowness(monkeypatch, 1.0)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where.startswith("stage"):
            kind, steps = (AutodecoderTask if where == "stage 1" else DiffusionTask), itertools.count()
            look = lambda task: type(task) is kind and next(steps) == 20 and signal.raise_signal(signal.SIGINT)  # noqa: E731
            at_every_step(patch, look)
        else:
            patch.setattr(run, {"assets": "save_assets", "scores": "evaluate"}[where], stop)
        with pytest.raises(KeyboardInterrupt):
            run_demo(data, output=tmp_path / "run", seed=0)
    stopped = Shown(tmp_path / "run" / "index.html")
    assert "Stopped. The same command" in stopped.text
    assert not stopped.refreshes
    assert stopped.pictures
    report = run_demo(data, output=tmp_path / "run", seed=0)
    assert "Stopped" not in Shown(tmp_path / "run" / "index.html").text
    assert timeless(report) == timeless(run_demo(data, output=tmp_path / "whole", seed=0))


def test_a_finished_demo_is_not_done_again_and_other_data_leave_it_alone(data, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    main(["demo", "--data", data, "--output", str(output)])
    said = capsys.readouterr().out
    assert all(name in said for name in (str(output / "index.html"), "generate --model " + str(output / "diffusion")))
    found = [line.split()[-1] for line in said.splitlines() if "first of the new objects" in line]
    assert [Path(mesh).is_file() for mesh in found] == [True] * len(found)
    index = (output / "index.html").read_bytes()
    at_every_step(monkeypatch, lambda task: pytest.fail("trained again"))
    assert run_demo(data, output=output, seed=0) == json.loads((output / "report.json").read_text())
    write_things(tmp_path / "others.zip", dict(list(THINGS.items())[:3]))
    with pytest.raises(ValueError, match="another configuration"):
        run_demo(str(tmp_path / "others.zip"), output=output, seed=0)
    assert (output / "index.html").read_bytes() == index


def test_the_time_left_is_of_all_parts_and_begins_with_the_first_rate(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(clock, "SHARES", {"data": 0.1, "autodecoder": 0.3, "diffusion": 0.4, "assets": 0.2})
    watch = clock.Clock(tmp_path / "seconds.json")
    with watch.part("data"):
        now[0] = 10.0
        assert watch.left() is None
    with watch.part("autodecoder"):
        watch.tell(0.0)
        assert watch.left() is None
        now[0] = 16.0
        watch.tell(0.2)  # 30 s in all: a hundredth of all is a second
        assert watch.left() == pytest.approx(24 + 40 + 20)
        now[0] = 40.0
        watch.tell(1.0)
        assert watch.left() == pytest.approx(60)
    with watch.part("diffusion"):
        assert watch.left() == pytest.approx(60)  # as expected, before it has shown its own rate
        watch.tell(0.0)
        now[0] = 60.0
        watch.tell(0.25)  # 80 s instead of 40: so will be the rest
        assert watch.left() == pytest.approx(60 + 110 * 0.2 / 0.7)
    again = clock.Clock(tmp_path / "seconds.json")
    with again.part("autodecoder"):
        again.tell(1.0)
    with again.part("diffusion"):
        again.tell(0.25)
        now[0] = 80.0
        again.tell(0.5)
        assert again.left() == pytest.approx(40 + 90 * 0.2 / 0.7)
    assert again.report()["seconds_diffusion"] == 40.0
