"""Published numbers beside ours, never mixed."""

from collections.abc import Mapping
from typing import Any

from vader3d.evaluation.protocol import Published
from vader3d.evaluation.score_table import score_of

# Our keys for the columns of published tables, and what brings our units to theirs.
COLUMNS = {
    "frechet": ("frechet_generated", 1),
    "kernel": ("kernel_generated", 1),
    "coverage": ("coverage", 1),
    "mmd": ("mmd", 1000),
    "psnr": ("reconstruction_psnr", 1),
    "lpips": ("reconstruction_lpips_vgg16", 100),
}
IN_FEATURES = ("frechet", "kernel")  # of a network: they compare with the same network's alone


def columns_of(published: tuple[Published, ...]) -> list[str]:
    """The columns that any row fills."""
    return [name for name in COLUMNS if any(getattr(row, name) is not None for row in published)]


def title_of(column: str) -> str:
    """What a column measures, in the published unit."""
    key, factor = COLUMNS[column]
    score = score_of(key)
    assert score is not None
    title = f"{score.name}, {score.unit}" if score.unit else score.name
    return title if factor == 1 else f"{title} x {factor:,}"


def model_rows(report: Mapping[str, Any], published: tuple[Published, ...]) -> dict[str, dict[str, float]]:
    """This model's scores in the units of the published columns, at each number of steps, and its baseline's."""
    columns = columns_of(published)
    *others, headline = report["steps"] or [None]
    rows = {f"this model, {steps} steps": in_features(report, f"generated_{steps}_steps", columns) for steps in others}
    whole: dict[str, float] = {}
    for column in columns:
        key, factor = COLUMNS[column]
        if key in report:
            whole[column] = factor * report[key]
    rows["this model" + (f", {headline} steps" if headline else "")] = whole
    rows["its direct latent sampling"] = in_features(report, "direct_latent_sampling", columns)
    return {name: row for name, row in rows.items() if row}


def in_features(report: Mapping[str, Any], name: str, columns: list[str]) -> dict[str, float]:
    """The distances of one set of pictures, of those columns that are such."""
    keys = {column: f"{column}_{name}" for column in columns if column in IN_FEATURES}
    return {column: report[key] for column, key in keys.items() if key in report}


def why_not_comparable(report: Mapping[str, Any], row: Published) -> str:
    """Why a row's numbers do not compare with ours, or nothing where only the data set may stand between them."""
    of_network = any(getattr(row, name) is not None for name in IN_FEATURES)
    if of_network and row.features != report.get("feature_network"):
        return f"not comparable: features of {row.features}, ours of {report.get('feature_network')}"
    if report["deviations"]:
        return "not comparable: ours departs from the protocol"
    return ""


def published_rows(report: Mapping[str, Any], published: tuple[Published, ...]) -> list[dict[str, Any]]:
    """The published table as plain values, each row with whether it compares with ours."""
    rows = []
    for row in published:
        values = {name: getattr(row, name) for name in COLUMNS if getattr(row, name) is not None}
        verdict = why_not_comparable(report, row) or f"comparable if this model was trained on {row.data}"
        rows.append(
            {
                "method": row.method,
                "data": row.data,
                "source": row.source,
                "steps": row.steps,
                **values,
                "verdict": verdict,
            }
        )
    return rows
