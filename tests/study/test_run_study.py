"""Studies end to end in miniature: trainings and evaluations are shared, kept and continued."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import judged_models
import pytest
import torch
from tiny import write_things

import vader3d.study
from vader3d.cli.main import main
from vader3d.evaluation import chunks, runner
from vader3d.evaluation.sets import PictureSets
from vader3d.study import evaluations
from vader3d.study.plans import STUDIES
from vader3d.study.run import run_study

BRIEF = ("autodecoder.loop.objects_seen=16", "diffusion.loop.objects_seen=32")
FEW = ("protocol.samples=4", "protocol.views=2", "protocol.steps=[1,2]")


class Differences:
    """A perceptual distance that needs no download."""

    name, checksum, heads_checksum = "lpips-vgg16-hed", "0" * 64, "1" * 64

    def __call__(self, rendered: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (rendered - target).abs().mean((-3, -2, -1))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("things") / "things.zip"
    write_things(path, size=16)
    return path


@pytest.fixture
def few(monkeypatch) -> None:
    """Two variants a study."""
    for name, study in STUDIES.items():
        chosen = dict(list(study.variants.items())[:2])
        monkeypatch.setitem(STUDIES, name, replace(study, variants=chosen))


@pytest.fixture(autouse=True)
def quick_networks(monkeypatch) -> None:
    """Frozen networks that cost nothing, and several chunks of everything."""
    monkeypatch.setattr(chunks, "CHUNK", judged_models.SMALL_CHUNK)
    monkeypatch.setattr(runner, "load_features", lambda name, **_: judged_models.tiny_features("tiny"))
    monkeypatch.setattr(runner, "load_perceptual_distance", lambda name, **_: Differences())


def study(name: str, data: Path, output: Path, *, seeds: int = 1, more: tuple[str, ...] = ()):
    settings = (*BRIEF, *more)
    return run_study(name, str(data), output, seeds=seeds, preset_name="tiny", settings=settings)


def folders(output: Path, kind: str) -> list[str]:
    return sorted(path.name for path in output.glob(f"{kind}-*"))


def timeless(scores: list[dict]) -> list[dict]:
    """Without what differs from one run to the next."""
    return [{key: value for key, value in each.items() if not key.startswith("cpu_seconds")} for each in scores]


@pytest.mark.usefixtures("few")
def test_studies_in_one_folder_share_trainings(data, tmp_path):
    study("normalisation", data, tmp_path, more=FEW)
    assert [len(folders(tmp_path, kind)) for kind in ("autodecoder", "latents", "diffusion")] == [1, 2, 2]
    study("steps", data, tmp_path, more=FEW)  # samples the first variant's model
    assert [len(folders(tmp_path, kind)) for kind in ("autodecoder", "latents", "diffusion")] == [1, 2, 2]
    report = json.loads((tmp_path / "steps.json").read_text())
    assert len({variant["scores"][0]["diffusion"] for variant in report["variants"]}) == 1
    assert report["deviations"] == [
        "samples 4 instead of 96",
        "views 2 instead of 4",
        "steps [1, 2] instead of [8, 16, 32, 64]",
    ]
    assert report["networks"] == {"tiny": "0" * 64}


def test_rows_of_steps_come_from_one_evaluation(data, tmp_path):
    rows = study("steps", data, tmp_path, more=FEW)
    assert [row.name for row in rows] == [
        f"{kind}, {steps} steps" for kind in ("deterministic", "churned") for steps in (1, 2)
    ]
    one, two, churned, _ = (row.scores[0] for row in rows)
    assert one["evaluation"] == two["evaluation"] != churned["evaluation"]
    assert len([*(tmp_path / "evaluations").iterdir()]) == 2
    report = json.loads((tmp_path / "evaluations" / one["evaluation"] / "report.json").read_text())
    assert one["frechet_generated"] == report["frechet_generated_1_steps"] != report["frechet_generated"]
    assert two["frechet_generated"] == report["frechet_generated"]
    baseline = report["frechet_direct_latent_sampling"]
    assert [each["frechet_ratio"] for each in (one, two)] == [
        each["frechet_generated"] / baseline for each in (one, two)
    ]
    assert 0 < one["cpu_seconds_per_sample_generated"] == report["cpu_seconds_per_sample_generated_1_steps"]


@pytest.mark.usefixtures("few")
def test_more_seeds_keep_the_first_and_measure_nothing_twice(data, tmp_path, monkeypatch):
    once = study("hash", data, tmp_path)
    real, seeds = evaluations.evaluate, []

    def spied(judged, protocol_run, output):
        seeds.append(protocol_run.protocol.seed)
        return real(judged, protocol_run, output)

    monkeypatch.setattr(evaluations, "evaluate", spied)
    twice = study("hash", data, tmp_path, seeds=2)
    assert seeds == [1, 1]
    assert [row.scores[0] for row in twice] == [row.scores[0] for row in once]
    assert all(row.scores[0]["heldout_psnr"] != row.scores[1]["heldout_psnr"] for row in twice)
    assert [row.scores[0]["code_kilobytes"] for row in twice] == [4 * 32 * 4e-3, 64 * 32 * 4e-3]
    assert "| 2 |" in (tmp_path / "hash.md").read_text()


@pytest.mark.usefixtures("few")
def test_a_study_cut_short_goes_on_with_the_next_chunk_to_the_same_scores(data, tmp_path, monkeypatch):
    whole = study("normalisation", data, tmp_path / "whole", more=FEW)
    real, rendered = PictureSets.rendered, []

    def stops(self, *arguments):
        rendered.append(1)
        if len(rendered) == 8:  # in the second variant: each renders 2 chunks of 3 sets
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(PictureSets, "rendered", stops)
        with pytest.raises(KeyboardInterrupt):
            study("normalisation", data, tmp_path / "cut", more=FEW)
    assert len(json.loads((tmp_path / "cut" / "normalisation.json").read_text())["variants"]) == 2  # rows of the first
    before = chunk_times(tmp_path / "cut")
    again = study("normalisation", data, tmp_path / "cut", more=FEW)
    after = chunk_times(tmp_path / "cut")
    assert before.items() < after.items()
    assert len(after) - len(before) == 5
    assert [timeless(row.scores) for row in again] == [timeless(row.scores) for row in whole]


def chunk_times(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in output.glob("evaluations/*/features/*")}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [("hash", "autodecoder", "heldout_psnr"), ("normalisation", "diffusion", "frechet_generated")],
)
def test_a_study_says_what_evaluate_says_by_the_same_protocol(name, kind, key, data, tmp_path, capsys):
    row, _ = study(name, data, tmp_path)
    (scores,) = row.scores
    model = tmp_path / scores[kind]
    capsys.readouterr()
    main(["evaluate", "--protocol", f"study-{name}", "--model", str(model), "--data", str(data)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.endswith(f" {key}")]
    found = [word for word in line.split() if word.replace(".", "", 1).isdigit()]
    assert f"{float(found[-1]):.3g}" == f"{scores[key]:.3g}"
    own = json.loads((model / f"evaluation-study-{name}" / "report.json").read_text())
    theirs = json.loads((tmp_path / "evaluations" / scores["evaluation"] / "report.json").read_text())
    differing = {each for each in own if own[each] != theirs[each]}
    assert differing <= {"seconds_by_stage", "cpu_seconds_per_sample_generated"}


def test_a_study_measures_nothing_itself():
    assert find_spec("vader3d.study.judge") is None
    for file in Path(vader3d.study.__file__).parent.glob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert not any(room in source for room in ("vader3d.measures", "vader3d.frozen", "vader3d.render")), file.name


def test_missing_weights_are_said_before_anything_is_trained(data, tmp_path, monkeypatch):
    def missing(name, **_):
        raise ValueError("trunk: wanted weights")

    monkeypatch.setattr(runner, "load_perceptual_distance", missing)
    with pytest.raises(ValueError, match=r"got none \(.*trunk: wanted weights.*go without: --set .*perceptual=\[\]"):
        study("hash", data, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_bad_requests_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="seeds: wanted at least 1; got 0"):
        study("hash", data, tmp_path, seeds=0)
    with pytest.raises(ValueError, match=r"nearest: protocol\.samples"):
        study("hash", data, tmp_path, more=("protocol.smples=3",))
    with pytest.raises(ValueError, match="memorisation: wanted at most `samples`"):
        study("steps", data, tmp_path, more=("protocol.memorisation=97",))
