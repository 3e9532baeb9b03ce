"""The protocol of prompts on planted truths: what heeds them scores 100, what does not scores chance."""

import json
from dataclasses import replace

import judged_models
import pytest
import torch
from document import Document
from prompted import BLIND, HALF, PERFECT, Joint, World, silhouettes, write_world

from vader3d.evaluation import chunks, runner
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.report import write_report
from vader3d.evaluation.runner import evaluate, protocol_run
from vader3d.evaluation.score_table import score_of
from vader3d.text.heldout import Pair

HELD_OUT = (Pair("blue", "tower"), Pair("red", "box"))
PROMPTS = {
    "templates": ["a {colour} {type}"],
    "guidance_scales": [BLIND, PERFECT, HALF],
    "guidance_scale": PERFECT,
    "samples_each": 2,
    "neighbours": 3,
    "retrieval": [1, 5],
}
CHANGES = {"samples": 12, "poses": "all", "steps": [2], "sets": ["generated"], "metrics": ["frechet"]}
CHANGES |= {"reconstruction": None, "memorisation": 12, "prompts": PROMPTS}


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", 5)
        patch.setattr(runner, "load_features", silhouettes)
        patch.setattr(runner, "load_joint_encoder", lambda folder, *, device: Joint())
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder that holds all, the judged model that was not shown all pairs, its generator, the finished report."""
    folder = tmp_path_factory.mktemp("prompted")
    archive = write_world(folder / "world.zip")
    judged_models.write_model(folder / "model", archive)
    judged_models.write_protocol(folder / "text.json", **CHANGES)
    judged = replace(open_judged_model(folder / "model", archive, device="cpu"), held_out=HELD_OUT)
    drawn = World()
    return folder, judged, drawn, judge(folder, judged, drawn, "out", clip=folder)


def judge(folder, judged, draw, output, *, protocol="text.json", **settings) -> dict:
    evaluation = evaluate(judged, protocol_run(folder / protocol), folder / output, draw=draw, **settings)
    assert evaluation is not None
    write_report(evaluation, folder / output)
    return json.loads((folder / output / "report.json").read_text())


def at(report: dict, guidance_scale: float) -> dict:
    return next(each for each in report["sweep"] if each["guidance_scale"] == guidance_scale)


def test_a_perfect_generator_scores_100_and_its_control_is_chance(world):
    *_, report = world
    for group in ("prompts", "heldout_pairs", "captions", "real"):
        for name in ("colour", "type", "pair"):
            assert report[f"{name}_percent_{group}"] == 100
            assert report[f"{name}_percent_{group}_shuffled"] < 70
    assert report["asked_prompts"] == 4
    assert report["asked_heldout_pairs"] == len(report["held_out_pairs"]) == 2
    assert report["heldout_ratio_pair"] == 1
    assert report["colour_percent_real_shuffled"] == pytest.approx(100 / 3)
    assert report["type_percent_real_shuffled"] == pytest.approx(50)
    assert report["pair_percent_real_shuffled"] == pytest.approx(100 / 6)
    assert report["intervals"]["pair_percent_prompts"] == [100, 100]


def test_some_real_objects_may_stand_for_all(world):
    folder, judged, drawn, _ = world
    prompts = PROMPTS | {"real_objects": 4, "guidance_scales": [PERFECT]}
    judged_models.write_protocol(folder / "few.json", **CHANGES | {"prompts": prompts})
    report = judge(folder, judged, drawn, "few", protocol="few.json")
    assert report["colour_percent_real"] == report["type_percent_real"] == 100
    counted = {name: len([*(folder / name / "features").glob("real_attributes-*")]) for name in ("out", "few")}
    assert counted == {"out": 3, "few": 1}  # chunks of 5


def test_a_blind_generator_scores_exactly_its_control(world):
    *_, report = world
    blind = at(report, BLIND)
    for group in ("prompts", "captions"):
        for name in ("colour", "type", "pair"):
            key = f"{name}_percent_{group}"
            assert blind[key] == pytest.approx(blind[f"{key}_shuffled"])
            assert blind[key] < 70
    assert blind["retrieval_5_captions"] == pytest.approx(blind["retrieval_5_captions_shuffled"])


def test_a_colour_that_is_right_for_a_known_share_of_samples_scores_that_share(world):
    _, _, drawn, report = world
    new = [(prompt, colour) for prompt, colour, _ in drawn.drawn[HALF] if not any(digit in prompt for digit in "12")]
    held_out = [[*pair.split()] for pair in report["held_out_pairs"]]
    known = [colour in prompt for prompt, colour in new if not any(c in prompt and k in prompt for c, k in held_out)]
    assert 0 < sum(known) < len(known) == 8
    assert at(report, HALF)["colour_percent_prompts"] == pytest.approx(100 * sum(known) / len(known))
    assert at(report, HALF)["type_percent_prompts"] == 100


def test_a_caption_is_found_among_all_but_not_before_its_twin(world):
    """Two objects of each kind have captions that the encoder takes for one another."""
    *_, report = world
    assert report["retrieval_5_captions"] == report["retrieval_5_real"] == 100
    assert report["retrieval_1_captions"] == report["retrieval_1_captions_shuffled"] == 0


def test_frechet_distance_and_copies_stand_beside_those_without_prompts(world):
    *_, report = world
    assert report["frechet_ratio_prompted"] == report["frechet_prompted"] / report["frechet_generated"]
    assert at(report, BLIND)["frechet_prompted"] > report["frechet_prompted"]
    assert {f"copied_percent_{group}_pictures" for group in ("prompts", "heldout_pairs", "captions")} <= report.keys()
    assert "copied_percent_null_pictures" in report


def test_every_number_is_explained_and_the_sweep_is_drawn(world):
    folder, _, _, report = world
    plain = [key for key, value in report.items() if not isinstance(value, dict | list) and value is not None]
    assert [key for key in plain if score_of(key) is None] == []
    text = Document((folder / "out" / "report.html").read_text(encoding="utf-8")).text
    assert "Guidance" in text
    assert "one tower" not in text
    assert "a red box" in text
    for name in ("sweep.png", "prompts.png"):
        assert (folder / "out" / name).read_bytes()[1:4] == b"PNG"


def test_what_was_drawn_is_not_drawn_again(world):
    folder, judged, _, report = world
    idle = World()
    again = judge(folder, judged, idle, "out", clip=folder)
    assert idle.drawn == {}
    assert judged_models.timeless(again) == judged_models.timeless(dict(report))


def test_without_an_encoder_of_both_r_at_k_is_left_out_and_said(world):
    folder, judged, _, _ = world
    report = judge(folder, judged, World(), "no-clip")
    assert not [key for key in report if key.startswith("retrieval")]
    assert any("R@k was not measured" in line for line in report["deviations"])
    assert report["pair_percent_prompts"] == 100


def test_samples_that_are_empty_or_not_finite_are_wrong_or_left_out(world):
    folder, judged, _, _ = world

    class Broken(World):
        def asset(self, prompt, seed, guidance_scale):
            asset = super().asset(prompt, seed, guidance_scale)
            if prompt == "a 1 red box":
                asset.volume.grid.fill_(torch.nan)
            if prompt.startswith("a 2"):
                asset.volume.grid[:, 3] = -1.0
            return asset

    report = judge(folder, replace(judged, held_out=()), Broken(), "broken")
    assert report["excluded"]["objects with NaN or infinity, prompted_guidance_3"] == 1
    assert report["colour_percent_captions"] == pytest.approx(100 * 5 / 11)
    assert report["held_out_pairs"] == []
    assert report["asked_heldout_pairs"] == 0


def test_a_model_without_texts_is_refused(world):
    folder, judged, _, _ = world
    with pytest.raises(ValueError, match="wanted one that was trained with texts"):
        evaluate(judged, protocol_run(folder / "text.json"), folder / "refused")
    assert not (folder / "refused").exists()
