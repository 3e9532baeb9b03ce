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

from vader3d import assets
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.cli.main import main
from vader3d.demo import clock, page, run
from vader3d.demo.run import run_demo
from vader3d.diffusion.train import DiffusionTask
from vader3d.evaluation import runner
from vader3d.export import mesh_pictures
from vader3d.generate import previews
from vader3d.presets import preset
from vader3d.snapshots import load_snapshot
from vader3d.training import loop
from vader3d.training.log import read_metrics

STEPS, ASSETS = 24, 2
OBJECTS, LATENTS = 4 * STEPS, 32 * STEPS
FOUND = ("heldout_psnr", "heldout_iou", "frechet_generated", "frechet_reconstruction", "frechet_heldout_views")


class Shown:
    """A page as it lies there at some moment."""

    def __init__(self, path: Path):
        self.source = path.read_text(encoding="utf-8") if path.is_file() else ""
        document = Document(self.source)
        self.text = " ".join(document.text.partition("vader3d demo")[2].split())
        self.pictures = sum(tag == "img" for tag, _ in document.elements)
        self.refreshes = any(attrs.get("http-equiv") == "refresh" for _, attrs in document.elements)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("data") / "things.zip"
    write_things(path)
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def brief():
    """A recipe of seconds, judged by a network that costs nothing."""

    def shortened(config, objects: int):
        return dataclasses.replace(config, loop=dataclasses.replace(config.loop, objects_seen=objects))

    tiny = preset("tiny")
    recipe = dataclasses.replace(
        tiny, autodecoder=shortened(tiny.autodecoder, OBJECTS), diffusion=shortened(tiny.diffusion, LATENTS)
    )
    small = {"preset": lambda name: recipe, "load_features": lambda: None, "ASSETS": ASSETS}
    pictured = {"PREVIEWED": 4, "PREVIEW_STEPS": 2, "PREVIEW_PX": 16}
    looked = {"LOOKS": 2, "COLOUR_LOOKS": 2, "LOOK_SIZE": 8}
    drawn = {"SAMPLES_PER_SIDE": 1}
    with pytest.MonkeyPatch.context() as patch:
        for place, values in ((run, small), (previews, pictured), (assets, looked), (mesh_pictures, drawn)):
            for name, value in values.items():
                patch.setattr(place, name, value)
        patch.setattr(runner, "load_features", lambda name, **_: judged_models.tiny_features("tiny"))
        yield


@pytest.fixture(scope="module")
def finished(data, brief, tmp_path_factory) -> tuple[Path, dict, Shown]:
    """A demo's folder, its report, and its page as it was when the scores were asked for."""
    output, early = tmp_path_factory.mktemp("demo") / "run", []

    def evaluate(*arguments, **options):
        assert [*(output / "assets").iterdir()]
        early.append(Shown(output / "index.html"))
        return runner.evaluate(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "evaluate", evaluate)
        return output, run_demo(data, output=output, seed=0), *early


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


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    return load_snapshot(output / "diffusion" / "model.safetensors")[0]


def test_a_slow_machine_shows_how_far_it_is_and_draws_the_same_later(finished, data, tmp_path, monkeypatch):
    slowness(monkeypatch, 3.0)
    seen: dict[type, list[Shown]] = {AutodecoderTask: [], DiffusionTask: []}
    output = tmp_path / "run"
    at_every_step(monkeypatch, lambda task: seen[type(task)].append(Shown(output / "index.html")))
    report = run_demo(data, output=output, seed=0)
    first, second = seen.values()
    assert [len(first), len(second)] == [STEPS, STEPS]
    assert all(shown.refreshes for shown in first + second)
    assert [shown.pictures for shown in (first[0], first[-1], second[0], second[-1])] == [0, 1, 1, 2]
    assert "stage 1" in first[0].text
    assert "Time left, about? min" in first[0].text
    assert re.search(r"Time left, about\d+ min.*Done of this part\d+%", first[-1].text)
    assert "stage 2" in second[-1].text
    assert all(len([*(output / stage / "previews").iterdir()]) > 3 for stage in ("autodecoder", "diffusion"))

    quick, whole, _ = finished
    assert report["seconds_diffusion"] > 10 * whole["seconds_diffusion"]
    assert timeless(report) == timeless(whole)
    others = weights_of(quick)
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights_of(output).items())
    assert read_metrics(output / "autodecoder")[-1]["seen"] == OBJECTS


def test_assets_come_before_the_scores_and_the_finished_page_stands_still(finished):
    output, report, early = finished
    after = Shown(output / "index.html")
    assert ("The scores follow" in early.text, early.refreshes) == (True, True)
    assert ("The scores follow" in after.text, after.refreshes) == (False, False)
    assert early.pictures == after.pictures > ASSETS + len(THINGS)
    assert "silhouette" in after.text
    assert "silhouette" not in early.text
    assert all(isinstance(report[key], float) for key in FOUND)
    assert report["samples"] == len(THINGS)
    assert json.loads((output / "report.json").read_text()) == report
    assert len([*(output / "assets").glob("*.glb")]) == ASSETS - report["empty_assets"]


def test_the_page_needs_nothing_from_outside_and_its_charts_draw_every_loss_term(finished):
    output, _, _ = finished
    source = Shown(output / "index.html").source
    assert not re.search(r"(src|href|srcset)=\"?\w+://", source)
    drawn = re.findall(r'class="key c\d">(\w+) <b>', source)
    assert drawn == ["perceptual", "mask", "pixel", "denoising"]
    for stage in ("autodecoder", "diffusion"):
        for line in (line for line in read_metrics(output / stage) if "loss" in line):  # the last may be of latents
            assert sum(line.get(name, 0) for name in drawn) == pytest.approx(line["loss"], rel=1e-5)


def test_a_clock_ends_both_trainings_and_bounds_the_scores(data, tmp_path, monkeypatch):
    slowness(monkeypatch, 0.5)
    report = run_demo(data, output=tmp_path / "run", seed=0, minutes=2.0)
    assert report["seconds_autodecoder"] == pytest.approx(120 * clock.SHARES["autodecoder"], rel=0.2)
    training = report["seconds_total"] - report["seconds_assets"] - report["seconds_evaluation"]
    assert training == pytest.approx(120 * (1 - clock.SHARES["assets"] - clock.SHARES["evaluation"]), rel=0.2)
    assert report["deviations"][0].endswith("samples instead of 64")


@pytest.mark.parametrize(("seconds", "samples"), [(0.1, 16), (6.0, 24), (1000.0, 64)])
def test_as_many_samples_are_judged_as_the_time_allows(seconds, samples, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(
        run, "evaluate", lambda judged, asked, folder: now.append(now.pop() + asked.protocol.samples / 4)
    )
    assert run.affordable(None, runner.protocol_run("demo"), Path(), seconds).protocol.samples == samples


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_clock_without_time_is_refused(minutes, tmp_path):
    with pytest.raises(ValueError, match="minutes: wanted"):
        run_demo("furniture", output=tmp_path / "run", seed=0, minutes=minutes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["stage 1", "stage 2", "assets", "scores"])
def test_stopped_anywhere_the_page_says_so_and_the_same_call_goes_on(where, finished, data, tmp_path, monkeypatch):
    slowness(monkeypatch, 1.0)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where.startswith("stage"):
            kind, steps = (AutodecoderTask if where == "stage 1" else DiffusionTask), itertools.count()
            look = lambda task: type(task) is kind and next(steps) == STEPS // 2 and signal.raise_signal(signal.SIGINT)  # noqa: E731
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
    assert timeless(report) == timeless(finished[1])


def test_a_finished_demo_is_not_done_again_and_other_data_leave_it_alone(finished, data, tmp_path, monkeypatch, capsys):
    output, report, _ = finished
    index = (output / "index.html").read_bytes()
    at_every_step(monkeypatch, lambda task: pytest.fail("trained again"))
    assert run_demo(data, output=output, seed=0) == report
    main(["demo", "--data", data, "--output", str(output)])
    said = capsys.readouterr().out.splitlines()[-3:]
    assert [str(output / name) in line for name, line in zip(("index.html", "assets", "diffusion"), said, strict=True)]
    assert Path(said[1].split()[-1]).is_file()
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
        assert again.left() == pytest.approx(40 + 110 * 0.2 / 0.7)
    assert again.report()["seconds_diffusion"] == 40.0
