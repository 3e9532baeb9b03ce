"""`evaluate --protocol articulated`: a report with every score's control, of a model that was hardly trained."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from figures import two_balls as toy

from vader3d.autodecoder.parts import PartConfig, moved_by
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.reconstruct import ReconstructConfig
from vader3d.autodecoder.train import train_autodecoder
from vader3d.data.archive.reader import Archive
from vader3d.data.making.heads import novel_path, prepare_heads, read_truth
from vader3d.evaluation.articulated import ArticulatedConfig, degrees_of, evaluate_articulated, known_people
from vader3d.presets import preset
from vader3d.text.captions import OBJECTS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three clips of two balls, and a model that saw them for a moment, from nearly true poses."""
    pytest.importorskip("embreex")
    folder = tmp_path_factory.mktemp("articulated")
    prepare_heads(folder / "heads.zip", count=3, frames=6, seed=1, size=24, processes=1, subject=toy)
    tiny = preset("tiny").autodecoder
    config = replace(
        tiny,
        decoder=replace(tiny.decoder, extra_channels=2, part_heights=(0.45, -0.45)),
        poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
        parts=PartConfig(poses="beside", start_noise=4.0, hold=0.9),
        loop=replace(tiny.loop, objects_seen=240, batch=3, device="cpu"),
        views_per_object=3,
    )
    train_autodecoder(Archive(folder / "heads.zip"), config, folder / "run")
    return folder


def test_a_report_has_every_score_beside_its_control(made):
    how = ArticulatedConfig(clips=3, refinement=8, grid=3, exported=1)
    report = evaluate_articulated(made / "run", made / "heads.zip", made / "out", how=how)
    assert report == json.loads((made / "out" / "report.json").read_text())
    assert (made / "out" / "novel.png").stat().st_size > 200
    pairs = {
        "head_rotation_error": "head_shuffled_error",
        "torso_rotation_error": "torso_constant_error",
        "head_yaw_correlation": "head_shuffled_yaw_correlation",
        "heldout_psnr": "heldout_psnr_at_start",
        "heldout_psnr_network": "heldout_psnr_at_start",
        "depth_correlation": "depth_correlation_of_another",
        "parts_iou": "parts_iou_of_one_part",
        "novel_psnr_15": "flat_card_psnr_15",
        "novel_psnr_45": "flat_card_psnr_45",
        "driver_leaked": "chance",
        "head_jitter": "head_true_jitter",
        "motion_chamfer": "motion_chamfer_of_another",
        "motion_chamfer_still": "motion_chamfer_least",
        "motion_seen": "motion_seen_of_another",
        "motion_seen_still": "motion_seen_least",
    }
    print({key: (report[key], report[control]) for key, control in pairs.items()}, report["export_psnr"])
    assert np.isfinite([report[key] for pair in pairs.items() for key in pair]).all()
    assert report["parts_iou"] > report["parts_iou_of_one_part"]
    assert report["heldout_psnr"] > report["heldout_psnr_at_start"] - 1


def test_novel_views_know_by_how_much_they_are_turned(made):
    truth, _ = read_truth(made / "heads.zip")
    _, cameras = Archive(novel_path(made / "heads.zip")).read(1)
    between = torch.linalg.inv(truth["cameras"][1, 5]) @ cameras.world_from_camera
    assert degrees_of(between) == [45, 30, 15, 15, 30, 45]
    assert torch.equal(moved_by(torch.eye(3, 4)[None], torch.zeros(1, 6)), torch.eye(3, 4)[None])


def test_people_whom_training_never_saw_are_judged_by_their_own_truth(made):
    prepare_heads(made / "others.zip", count=2, frames=6, seed=2, size=24, processes=1, subject=toy)
    search = ReconstructConfig(steps=20, fine_steps=2, candidates=2)
    how = ArticulatedConfig(strangers=2, search=search)
    report = evaluate_articulated(made / "run", made / "others.zip", made / "others", how=how)
    assert report == json.loads((made / "others" / "report.json").read_text())
    assert report["people"] == "unseen"
    for way in ("found", "network"):
        scores = [report[f"{part}_{way}_rotation_error"] for part in ("head", "torso")]
        assert 0 < min(scores) <= max(scores) < 60
        assert f"head_{way}_constant_error" in report
    assert report["heldout_psnr_code"] > report["heldout_psnr_mean"]
    assert (made / "others" / "novel.png").stat().st_size > 200


def test_other_takes_of_known_people_are_judged_by_what_is_found_in_them(made):
    prepare_heads(made / "takes.zip", count=2, frames=6, seed=1, take=1, size=24, processes=1, subject=toy)
    how = ArticulatedConfig(clips=2, refinement=8, strangers=2)
    report = evaluate_articulated(made / "run", made / "takes.zip", made / "takes", how=how)
    assert report["people"] == "training, other takes"
    first, refined, constant = (
        [report[f"{part}_{score}"] for part in ("head", "torso")]
        for score in ("first_rotation_error", "refined_rotation_error", "refined_constant_error")
    )
    print(first, refined, constant)
    assert 0 < min(refined) <= max(refined) < 60
    assert report["heldout_psnr"] > report["heldout_psnr_at_start"]
    assert report["novel_psnr_30"] > 0
    assert report["parts_iou"] > report["parts_iou_of_one_part"]
    assert not {"identity_kept", "export_psnr"} & report.keys()


def test_takes_of_people_whom_training_never_saw_are_of_strangers(made):
    prepare_heads(made / "else.zip", count=2, frames=6, seed=3, take=1, size=24, processes=1, subject=toy)
    names = [record.name for record in Archive(made / "else.zip").records]
    assert names == ["head-3-00000", "head-3-00001"]
    assert known_people(made / "run" / OBJECTS, Archive(made / "else.zip")) == []


def test_models_without_parts_are_refused(made, tmp_path):
    tiny = preset("tiny").autodecoder
    plain = replace(tiny, loop=replace(tiny.loop, objects_seen=4, device="cpu"))
    train_autodecoder(Archive(made / "heads.zip"), plain, tmp_path / "run")
    with pytest.raises(ValueError, match="model: wanted one that learned parts"):
        evaluate_articulated(tmp_path / "run", made / "heads.zip", tmp_path / "out")
