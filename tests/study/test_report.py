"""Tables and plots say the seeds' mean and spread, and nothing that was not measured."""

import json

import numpy as np
import pytest

from vader3d.evaluation.score import Score
from vader3d.study.plans import Column, Study
from vader3d.study.plot import LEFT, MEAN, RIGHT, ROW, SCALE, TOP, WIDTH, draw_plot
from vader3d.study.report import Row, markdown_table, write_report

PSNR = Column(Score("psnr", "PSNR", "dB", "higher"), 2)
CLIP = Column(Score("clip", "clip"), 1)
UNMEASURED = Column(Score("lpips", "LPIPS", better="lower"), 3)
THREE = [27.1, 27.9, 26.3]


def rows() -> list[Row]:
    scores = [{"psnr": value, "clip": 3.0} for value in THREE]
    return [Row("whole", [], scores), Row("half", ["a=1"], [{"psnr": 20.0, "clip": None}]), Row("not yet", ["a=2"])]


def test_the_table_has_mean_and_sample_deviation():
    lines = markdown_table((PSNR, CLIP), rows()).splitlines()
    assert lines[0] == "| variant | seeds | PSNR, dB (higher is better) | Clip | difference |"
    assert lines[2] == f"| whole | 3 | {np.mean(THREE):.2f} ± {np.std(THREE, ddof=1):.2f} | 3.0 |  |"


def test_differences_pair_the_seeds():
    better = Row("better", ["a=3"], [{"psnr": THREE[0] + 0.4}, {"psnr": THREE[1] + 0.6}])
    last = markdown_table((PSNR,), [*rows(), better]).splitlines()[-1]
    assert last == "| better | 2 | 28.00 ± 0.71 | +0.50 ± 0.14 |"  # .14 = std(.4, .6)


def test_a_single_seed_has_no_spread_and_a_missing_number_is_a_dash():
    assert markdown_table((PSNR, CLIP), rows()).splitlines()[3] == "| half | 1 | 20.00 | - | -7.10 |"


def test_files_hold_every_score_and_leave_out_what_has_none(tmp_path):
    study = Study("Which?", "study-hash", (UNMEASURED, PSNR, CLIP), {"whole": (), "half": ("a=1",)})
    write_report(tmp_path, "hash", study, rows(), {"data": "things"})
    report = json.loads((tmp_path / "hash.json").read_text())
    whole, half = report["variants"]
    assert [scores["psnr"] for scores in whole["scores"]] == THREE
    assert whole["mean"]["psnr"] == pytest.approx(np.mean(THREE))
    assert whole["spread"]["psnr"] == pytest.approx(np.std(THREE, ddof=1))
    assert half["spread"] == {"psnr": None, "clip": None}
    assert report["data"] == "things"
    assert "not yet" not in (tmp_path / "hash.md").read_text()
    assert "LPIPS" not in (tmp_path / "hash.md").read_text()  # no variant has one
    assert (tmp_path / "hash.png").read_bytes().startswith(b"\x89PNG")


def mean_dot(pixels: np.ndarray, row: int) -> float:
    """Where the tall part of the dark dot of a row is, in pixels."""
    top = int(SCALE * (TOP + ROW * row))
    dark = (pixels[top : top + SCALE * ROW] == MEAN).all(-1)
    return float(np.flatnonzero(dark.sum(0) > 4 * SCALE).mean())


def test_dots_stand_where_their_values_are():
    pixels = np.asarray(draw_plot([("low", [1.0, 1.0]), ("none", []), ("high", [2.0, 2.0])], title="score"))
    low, high = mean_dot(pixels, 0), mean_dot(pixels, 2)
    width = SCALE * (WIDTH - LEFT - RIGHT)
    assert high - low == pytest.approx(width / 1.12, abs=2)  # the axis is a margin of 6 % wider on either side
    assert not (pixels[SCALE * (TOP + ROW) : SCALE * (TOP + 2 * ROW)] == MEAN).all(-1).any()


def test_spreads_stay_inside_the_picture():
    pixels = np.asarray(draw_plot([("wide", [1.0, 1.1, 1.2, 3.0]), ("narrow", [1.0])], title="score"))
    dark = (pixels == MEAN).all(-1).any(0)
    assert dark.any()
    assert not dark[: SCALE * LEFT].any()
    assert not dark[SCALE * (WIDTH - RIGHT) :].any()


def test_nothing_measured_yet_is_an_empty_plot():
    assert draw_plot([("later", [])], title="score").size[0] == SCALE * WIDTH
