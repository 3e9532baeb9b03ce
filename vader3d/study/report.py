"""A study's table (Markdown and JSON) and plot."""

import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vader3d.files import write_text, write_whole
from vader3d.study.plans import Column, Study
from vader3d.study.plot import draw_plot


@dataclass
class Row:
    """One variant: its scores, a dictionary a seed."""

    name: str
    settings: list[str]
    scores: list[dict[str, Any]] = field(default_factory=list)

    def values(self, column: Column) -> list[float]:
        """Of all seeds that have one."""
        found = [scores.get(column.key) for scores in self.scores]
        return [value for value in found if value is not None]

    def mean_and_spread(self, column: Column) -> tuple[float, float] | None:
        """Mean and sample standard deviation over the seeds (NaN of a single one); None without values."""
        return mean_and_spread(self.values(column))

    def against(self, other: "Row", column: Column) -> tuple[float, float] | None:
        """The same of the differences from `other` with the same seed: what both owe to the seed falls out."""
        pairs = zip(self.scores, other.scores, strict=False)
        found = [(mine.get(column.key), theirs.get(column.key)) for mine, theirs in pairs]
        return mean_and_spread([mine - theirs for mine, theirs in found if mine is not None and theirs is not None])


def mean_and_spread(values: list[float]) -> tuple[float, float] | None:
    if not values:
        return None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def write_report(output: Path, name: str, study: Study, rows: list[Row], facts: dict[str, Any]) -> None:
    """`output`/NAME.json with every score, NAME.md and NAME.png."""
    known = [row for row in rows if row.scores]
    columns = tuple(column for column in study.columns if any(row.values(column) for row in known))
    variants = [
        {
            "name": row.name,
            "settings": row.settings,
            "seeds": len(row.scores),
            "mean": {column.key: numbers(row, column, 0) for column in columns},
            "spread": {column.key: numbers(row, column, 1) for column in columns},
            "scores": row.scores,
        }
        for row in known
    ]
    report = {"question": study.question, **facts, "variants": variants}
    write_text(output / f"{name}.json", json.dumps(report, indent=2) + "\n")
    write_text(output / f"{name}.md", f"{study.question}\n\n{markdown_table(columns, known)}\n\n{PLUS_MINUS}\n")
    first = columns[0]
    picture = draw_plot([(row.name, row.values(first)) for row in known], title=heading(first)).quantize(16)
    write_whole(output / f"{name}.png", lambda temporary: picture.save(temporary, "PNG", optimize=True))


PLUS_MINUS = (
    "Mean ± sample standard deviation over the seeds. The last column: differences of the first score from the first "
    "variant's with the same seed."
)


def numbers(row: Row, column: Column, which: int) -> float | None:
    """Mean (0) or spread (1) as JSON takes it."""
    both = row.mean_and_spread(column)
    return None if both is None or math.isnan(both[which]) else both[which]


def heading(column: Column) -> str:
    """Title, unit, and the direction that is better."""
    title = ", ".join(filter(None, (column.score.title, column.score.unit)))
    return f"{title} ({column.score.direction})" if column.score.better else title


def markdown_table(columns: tuple[Column, ...], rows: list[Row]) -> str:
    """The first column's differences from the first row stand last."""
    lines = [["variant", "seeds", *(heading(column) for column in columns), "difference"]]
    lines.append(["---"] + ["---:"] * (len(columns) + 2))
    for row in rows:
        scores = [cell(row.mean_and_spread(column), column.digits) for column in columns]
        difference = "" if row is rows[0] else cell(row.against(rows[0], columns[0]), columns[0].digits, sign="+")
        lines.append([row.name, str(len(row.scores)), *scores, difference])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(both: tuple[float, float] | None, digits: int, *, sign: str = "") -> str:
    """27.12 ± 0.05; without ± where a single seed was run or all agree."""
    if both is None:
        return "-"
    mean, spread = both
    text = f"{mean:{sign}.{digits}f}"
    return text if math.isnan(spread) or spread == 0 else f"{text} ± {spread:.{digits}f}"
