"""Published numbers beside ours, never mixed: who measured what, and whether the two compare at all."""

from collections.abc import Mapping
from typing import Any

from vader3d.evaluation.protocol import Published

# Our names and units for the columns of published tables; the first name that the report has counts.
COLUMNS: dict[str, tuple[tuple[str, ...], float]] = {
    "frechet": (("frechet_generated",), 1.0),
    "kernel": (("kernel_generated",), 1.0),
    "coverage": (("coverage",), 1.0),
    "mmd": (("mmd",), 1000.0),
    "psnr": (("reconstruction_psnr", "heldout_psnr"), 1.0),
    "lpips": (("reconstruction_lpips_vgg16",), 100.0),
}
TITLES = {
    "frechet": "Frechet distance", "kernel": "Kernel distance x 1,000", "coverage": "Coverage %",
    "mmd": "MMD x 1,000", "psnr": "PSNR dB", "lpips": "LPIPS x 100",
}  # fmt: skip
IN_FEATURES = ("frechet", "kernel")  # of a network: they compare with the same network's alone


def columns_of(published: tuple[Published, ...]) -> list[str]:
    """The columns that any row fills."""
    return [name for name in COLUMNS if any(getattr(row, name) is not None for row in published)]


def our_values(report: Mapping[str, Any], published: tuple[Published, ...]) -> dict[str, float]:
    """Our scores in the units of the published columns."""
    found = {}
    for column in columns_of(published):
        names, unit = COLUMNS[column]
        name = next((name for name in names if name in report), None)
        if name is not None:
            found[column] = unit * report[name]
    return found


def why_not_comparable(report: Mapping[str, Any], row: Published) -> str:
    """Why a row's numbers do not compare with ours, or nothing where only the data set may stand between them."""
    in_features = any(getattr(row, name) is not None for name in IN_FEATURES)
    if in_features and row.features != report.get("feature_network"):
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
        rows.append({
            "method": row.method, "data": row.data, "source": row.source, "steps": row.steps, **values,
            "verdict": verdict,
        })  # fmt: skip
    return rows
