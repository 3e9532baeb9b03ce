"""Every key of every report has its entry in the table of scores, and the table says what a key says."""

import json
from pathlib import Path

import pytest

from vader3d.cli.evaluate import print_scores
from vader3d.evaluation.protocol import PictureSet
from vader3d.evaluation.score_table import SETS, TABLE, ratios_of, score_of, scores_in

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
REPORTS = sorted([*RESULTS.glob("judged-*.json"), *RESULTS.glob("demo-*.json")])


def plain_keys(report: dict) -> list[str]:
    """Those whose value is a number or a word."""
    return [key for key, value in report.items() if not isinstance(value, dict | list) and value is not None]


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_no_key_of_a_kept_report_lacks_its_meaning(path):
    keys = plain_keys(json.loads(path.read_text()))
    assert len(keys) > 30
    assert [key for key in keys if score_of(key) is None] == []
    assert [score.key for score in scores_in(keys) if not score.meaning] == []


def test_every_entry_has_a_title_of_its_own_and_whole_sentences():
    assert all(key == score.key for key, score in TABLE.items())
    assert len({score.title for score in TABLE.values()}) == len(TABLE)
    assert all(score.meaning.endswith(".") for score in TABLE.values())
    assert {*SETS} == {*PictureSet.__args__}


def test_titles_and_meanings_are_composed_of_the_measure_and_its_set():
    score = score_of("frechet_reconstruction")
    assert score.title == "Reconstructions, Frechet distance"
    assert score.heading == "Reconstructions, Frechet distance (lower is better)"
    assert "feature space" in score.meaning
    assert "Decoded training codes" in score.meaning
    assert score_of("heldout_psnr").heading == "Reconstruction, PSNR (higher is better)"
    assert (score_of("heldout_psnr").unit, score_of("coverage").unit) == ("dB", "%")
    assert score_of("nearest_neighbour_accuracy").heading == "Shapes, 1-nearest-neighbour accuracy"  # 50 is best


def test_ratios_begin_with_the_strongest_baseline():
    baselines = ("", "_own_std", "_fitted")
    report = {"frechet_generated": 60.0} | {f"frechet_direct_latent_sampling{name}": 120.0 for name in baselines}
    assert [*ratios_of(report)] == ["frechet_ratio_fitted", "frechet_ratio_own_std", "frechet_ratio"]
    assert [score.key for score in scores_in(ratios_of(report))] == [*ratios_of(report)]
    keys = [score.key for score in scores_in(report)]
    assert keys[1:] == [f"frechet_direct_latent_sampling{name}" for name in reversed(baselines)]
    assert [*ratios_of({"frechet_generated": 60.0, "frechet_direct_latent_sampling": 120.0})] == ["frechet_ratio"]


def test_any_number_of_sampling_steps_is_known():
    score = score_of("frechet_generated_16_steps")
    assert (score.key, score.title) == ("frechet_generated_16_steps", "Generated objects, 16 steps, Frechet distance")
    assert score.better == score_of("frechet_generated").better == "lower"
    keys = ["kernel_generated", "heldout_iou", "frechet_generated", "frechet_generated_8_steps"]
    order = ["heldout_iou", "frechet_generated", "frechet_generated_8_steps", "kernel_generated"]
    assert [score.key for score in scores_in(keys)] == order


def test_an_unknown_key_has_no_score():
    unknown = ["frechet", "frechet_generated_many_steps", "psnr", "nothing_generated_16_steps"]
    assert [key for key in unknown if score_of(key)] == []
    assert scores_in(unknown) == []


def test_the_console_aligns_title_value_and_key(capsys):
    print_scores({"heldout_psnr": 28.4317, "feature_network": None, "steps": [16], "frechet_generated_16_steps": 9.0})
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("   ")[0] == "Reconstruction, PSNR (higher is better)"
    assert first.split()[-3:] == ["28.4", "dB", "heldout_psnr"]
    assert first.index("heldout_psnr") == second.index("frechet_generated_16_steps")
    assert first.index("28.4") == second.index("9")
