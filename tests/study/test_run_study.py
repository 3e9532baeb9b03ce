"""Studies end to end in miniature: trainings are shared, kept and continued."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import write_things

from vader3d.autodecoder.model import load_autodecoder
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.latents import load_latents
from vader3d.study import judge
from vader3d.study import run as running
from vader3d.study.plans import STUDIES, study_named, variants_of
from vader3d.study.run import run_study
from vader3d.study.trainings import LATENTS, code_facts, cut_latents, trained_autodecoder

BRIEF = (
    "autodecoder.loop.objects_seen=16",
    "diffusion.loop.objects_seen=32",
    "judge.objects=4",
    "judge.views=2",
    "judge.steps=2",
)


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
def no_weights(monkeypatch) -> None:
    """A perceptual distance that needs no download."""

    class Differences:
        name, checksum = "differences", "0" * 64

        def __call__(self, rendered: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (rendered - target).abs().mean((-3, -2, -1))

    monkeypatch.setattr(judge, "load_perceptual_distance", lambda name: Differences())


def study(name: str, data: Path, output: Path, *, seeds: int = 1):
    return run_study(name, str(data), output, seeds=seeds, preset_name="tiny", settings=BRIEF)


def folders(output: Path, kind: str) -> list[str]:
    return sorted(path.name for path in output.glob(f"{kind}-*"))


@pytest.mark.usefixtures("few")
def test_studies_in_one_folder_share_trainings(data, tmp_path):
    study("normalisation", data, tmp_path)
    assert [len(folders(tmp_path, kind)) for kind in ("autodecoder", "latents", "diffusion")] == [1, 2, 2]
    study("steps", data, tmp_path)  # samples the first variant's model
    assert [len(folders(tmp_path, kind)) for kind in ("autodecoder", "latents", "diffusion")] == [1, 2, 2]
    first, second = json.loads((tmp_path / "steps.json").read_text())["variants"]
    assert first["scores"][0]["diffusion"] == second["scores"][0]["diffusion"]
    assert first["scores"][0]["frechet_direct"] == second["scores"][0]["frechet_direct"]
    assert first["mean"]["frechet_ratio"] > 0


@pytest.mark.usefixtures("few")
def test_more_seeds_keep_the_first_and_measure_nothing_twice(data, tmp_path, monkeypatch):
    once = study("hash", data, tmp_path)
    measured = []
    monkeypatch.setattr(running, "measured", spying(running.measured, measured))
    twice = study("hash", data, tmp_path, seeds=2)
    assert measured == [1, 1]
    assert [row.scores[0] for row in twice] == [row.scores[0] for row in once]
    assert all(row.scores[0]["psnr"] != row.scores[1]["psnr"] for row in twice)
    assert [row.scores[0]["code_kilobytes"] for row in twice] == [4 * 32 * 4e-3, 64 * 32 * 4e-3]
    assert "| 2 |" in (tmp_path / "hash.md").read_text()


def spying(call, seeds: list[int]):
    def spied(*arguments, seed: int):
        seeds.append(seed)
        return call(*arguments, seed=seed)

    return spied


@pytest.mark.usefixtures("few")
def test_a_study_cut_short_goes_on_to_the_same_scores(data, tmp_path, monkeypatch):
    whole = study("hash", data, tmp_path / "whole")
    broken = []

    def stops(*arguments, seed: int):
        broken.append(seed)
        if len(broken) == 2:
            raise KeyboardInterrupt
        return real(*arguments, seed=seed)

    real = running.measured
    with monkeypatch.context() as patched:
        patched.setattr(running, "measured", stops)
        with pytest.raises(KeyboardInterrupt):
            study("hash", data, tmp_path / "cut")
    assert len(json.loads((tmp_path / "cut" / "hash.json").read_text())["variants"]) == 1
    assert [row.scores for row in study("hash", data, tmp_path / "cut")] == [row.scores for row in whole]


def test_latents_cut_anywhere_decode_to_the_same_volumes(data, tmp_path):
    archive = Archive(data)
    views = PosedViews(archive, training_views)
    variants = variants_of(study_named("fig3"), preset_name="tiny", settings=BRIEF)
    volumes, runs = [], set()
    for resolution in (4, 8, 16):
        config = variants[f"{resolution}^3, 16 steps"]
        trained = trained_autodecoder(archive, config, tmp_path)
        cut = cut_latents(trained, views, config, tmp_path)
        latents, _, header = load_latents(cut / LATENTS)
        assert latents.shape[-1] == resolution
        assert header["report"]["psnr_db"] > 0
        model, _, _ = load_autodecoder(cut)
        with torch.no_grad():
            volumes.append(model.decoder.to_volume(latents).grid)
        runs.add(trained)
    assert len(runs) == 1
    assert all(torch.allclose(volume, volumes[0], atol=1e-4) for volume in volumes)


def test_codes_that_clash_are_counted():
    hashed = variants_of(study_named("hash"), preset_name="small", settings=())["hashed, 16 variants a piece"]
    pieces = hashed.autodecoder.codes
    facts = code_facts(hashed.autodecoder, 163)
    assert facts["code_kilobytes"] == 16 * 64 * 4e-3
    assert facts["different_codes"] <= 163
    literal = replace(hashed.autodecoder, codes=replace(pieces, key_mix=False, codebook_size=64))
    assert code_facts(literal, 64)["different_codes"] == 2  # METHOD A2: the printed hash of consecutive numbers


def test_bad_requests_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="seeds: wanted at least 1; got 0"):
        study("hash", data, tmp_path, seeds=0)
    with pytest.raises(ValueError, match=r"nearest: judge\.objects"):
        run_study("hash", str(data), tmp_path, settings=("judge.objcts=3",))
