"""The report's numbers for readers."""

from collections.abc import Mapping
from typing import Any

from vader3d.evaluation.score import Score
from vader3d.evaluation.score_table import PARTS, ratios_of, score_of, scores_in
from vader3d.pages.charts import compact
from vader3d.pages.page import Bar, Bars, Charts, Number, Numbers, Section

HEADLINES = ("training_objects", "heldout_psnr", "heldout_iou", "seconds_per_sample")
TIMES = {f"seconds_{part}" for part in PARTS}
DISTANCES = ("frechet", "kernel")


def facts(report: Mapping[str, Any]) -> list[Number]:
    """The headline numbers, those of them that the report has."""
    known = [score for key in HEADLINES if (score := score_of(key)) and key in report]
    shown = [Number(score.title, report[score.key], score.unit) for score in known]
    if "seconds_total" in report:
        shown.append(Number("Everything took", report["seconds_total"] / 60, "min"))
    return shown


def number_sections(report: Mapping[str, Any]) -> list[Section]:
    """Scores and times, where there are any."""
    made: list[Section] = []
    known = {key: value for key, value in report.items() if value is not None and key not in TIMES}
    if numbers := [*ratios(report), *(number(score, report) for score in scores_in(known))]:
        text = "What the numbers mean, and the baselines and bounds that let them be read."
        charts = [bars for name in DISTANCES if (bars := distances(report, name))]
        made.append(Numbers("Scores", text, numbers, charts))
    if seconds := times(report):
        text = "Where the time went, on the machine that wrote this page."
        made.append(Charts("Times", text, [Bars("Seconds", seconds)]))
    return made


def number(score: Score, report: Mapping[str, Any]) -> Number:
    """One key of the report with its meaning and its interval."""
    ends = report.get("intervals", {}).get(score.key)
    return Number(score.title, report[score.key], score.unit, score.meaning, score.direction, score.key, ends)


def ratios(report: Mapping[str, Any]) -> list[Number]:
    """The Frechet distance of generated objects in terms of each baseline's."""
    known = [(score, ratio) for key, ratio in ratios_of(report).items() if (score := score_of(key))]
    return [Number(score.title, ratio, "", score.meaning, score.direction) for score, ratio in known]


def distances(report: Mapping[str, Any], measure: str) -> Bars | None:
    """One measure of all sets of pictures as bars; None where the report has none."""
    scores = [score for score in scores_in(key for key in report if key.startswith(f"{measure}_")) if score.of]
    if not scores:
        return None
    bars = [
        Bar(score.of, report[score.key], compact(report[score.key]), own=score.key == f"{measure}_generated")
        for score in scores
    ]
    return Bars(f"{scores[0].name}, {scores[0].direction}", bars)


def times(report: Mapping[str, Any]) -> list[Bar]:
    """The seconds that each part took: of the whole road, else of the evaluation."""
    parts = {score.name: report[score.key] for score in scores_in(key for key in report if key in TIMES)}
    if not parts:
        parts = {name.replace("_", " "): seconds for name, seconds in report.get("seconds_by_stage", {}).items()}
    return [Bar(name, seconds, f"{seconds:.1f} s") for name, seconds in parts.items()]
