"""The report's numbers for readers."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from vader3d.evaluation.meanings import BARS, MEANINGS, RATIOS
from vader3d.pages.charts import compact, value_text
from vader3d.pages.page import Prepared

STAGES = {
    "data": "Reading the pictures",
    "autodecoder": "Stage 1: training the autodecoder",
    "rehearsal": "Rehearsing what follows",
    "diffusion": "Stage 2: training the diffusion model",
    "assets": "Generating the objects above",
    "evaluation": "Measuring",
    "page": "Writing this page",
}
GENERATED = re.compile(r"frechet_generated_(\d+)_steps")
HEADLINES = ("training_objects", "heldout_psnr", "heldout_iou", "seconds_per_sample")


def facts(report: Mapping[str, Any]) -> str:
    """The headline numbers, those of them that the report has."""
    shown = [(MEANINGS[key].name, report[key], MEANINGS[key].unit) for key in HEADLINES if key in report]
    if "seconds_total" in report:
        shown.append(("Everything took", report["seconds_total"] / 60, "min"))
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value_text(value)} <small>{unit}</small></dd></div>"
        for name, value, unit in shown
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def number_sections(report: Mapping[str, Any]) -> list[Prepared]:
    """Scores and times, where there are any."""
    return [section for section in (scores_section(report), times_section(report)) if section]


def scores_section(report: Mapping[str, Any]) -> Prepared | None:
    """Bars of the Frechet and kernel distances, then every known key with its meaning."""
    rows = [(key, MEANINGS[key], report[key]) for key in MEANINGS if key in report]
    if not rows:
        return None
    table = "".join(
        f"<tr><th>{escape(meaning.name)}<br><code>{key}</code></th>"
        f'<td class="value">{value_text(value)} {meaning.unit}{interval_text(report, key)}</td>'
        f"<td>{escape(meaning.text)}</td></tr>"
        for key, meaning, value in rows
    )
    ratios = "".join(
        f'<tr><th>{name}</th><td class="value">{compact(report["frechet_generated"] / report[key])}</td>'
        "<td>Ratio of the Frechet distances. Below 1, diffusion is better than sampling codes.</td></tr>"
        for key, name in RATIOS.items()
        if report.get(key) and "frechet_generated" in report
    )
    text = "What the numbers mean, and the baselines and bounds that let them be read."
    bars = distance_bars(report, "frechet", "Frechet distance") + distance_bars(
        report, "kernel", "Kernel distance times 1,000"
    )
    charts = f'<div class="charts">{bars}</div>' if bars else ""
    return Prepared("Scores", text, f'{charts}<div class="scroll"><table>{ratios}{table}</table></div>')


def distance_bars(report: Mapping[str, Any], measure: str, title: str) -> str:
    """One measure of all sets of pictures as bars; nothing where the report has none."""
    other_steps = [found[1] for key in report if (found := GENERATED.fullmatch(key))]
    names = BARS | {f"generated_{steps}_steps": f"Generated objects, {steps} steps" for steps in other_steps}
    values = [(key, name, report[f"{measure}_{key}"]) for key, name in names.items() if f"{measure}_{key}" in report]
    return bars_figure(f"{title}, less is better", [(n, v, compact(v), key == "generated") for key, n, v in values])


def times_section(report: Mapping[str, Any]) -> Prepared | None:
    """Bars of the seconds that each part took."""
    values = [(name, report[f"seconds_{key}"]) for key, name in STAGES.items() if f"seconds_{key}" in report]
    if not values:
        values = [(name.replace("_", " "), s) for name, s in report.get("seconds_by_stage", {}).items()]
    if not values:
        return None
    bars = bars_figure("Seconds", [(name, seconds, f"{seconds:.1f} s", False) for name, seconds in values])
    return Prepared("Times", "Where the time went, on the machine that wrote this page.", bars)


def bars_figure(title: str, bars: list[tuple[str, float, str, bool]]) -> str:
    """Horizontal bars (name, value, its text, whether it is ours), none for an empty list."""
    if not bars:
        return ""
    longest = max(1e-12, *(value for _, value, _, _ in bars))
    items = "".join(
        f'<div><dt>{escape(name)}</dt><dd><div class="bar{" ours" if ours else ""}" '
        f'style="width: {max(0.5, 100 * value / longest):.1f}%"></div></dd><dd>{text}</dd></div>'
        for name, value, text, ours in bars
    )
    return f'<figure class="chart"><h3>{escape(title)}</h3><dl class="bars">{items}</dl></figure>'


def interval_text(report: Mapping[str, Any], key: str) -> str:
    """The interval of a score below it, where there is one."""
    ends = report.get("intervals", {}).get(key)
    return f"<br><small>{value_text(ends[0])} to {value_text(ends[1])}</small>" if ends else ""
