"""Scores over scales of guidance: as charts, and as one picture."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vader3d.export.turntable import contact_sheet
from vader3d.pages.charts import Curve, labels, linear_ticks, placed
from vader3d.pages.page import Chart

X_LABEL = "guidance scale"
GROUPS = {"prompts": "new wordings", "heldout_pairs": "held-out pairs", "captions": "captions"}
SHUFFLED = "prompts shuffled"
SCALE = 2  # pixels of the picture to one of the layout
WIDTH, HEIGHT, LEFT, RIGHT, TOP, LINE = 340, 250, 46, 14, 34, 17
INK, PALE = (40, 40, 40), (222, 222, 222)
GAP, CELL = 16, 132  # pixels of the grid of pictures
LINES = ((20, 80, 160), (200, 90, 30), (60, 140, 70), (150, 150, 150))


def sweep_charts(report: Mapping[str, Any]) -> list[Chart]:
    """One for each attribute, with the control; the Frechet distance beside that without prompts; copies."""
    made = [
        Chart(f"{name} right, %", curves, X_LABEL, "%")
        for name in ("colour", "type", "pair", "legs", "back", "arms")
        if (curves := [*attribute_curves(report, name)])
    ]
    if distances := curve(report, "with prompts", "frechet_prompted"):
        plain = Curve("without", distances.positions, [report["frechet_generated"]] * len(distances.values))
        made.append(Chart("Frechet distance", [distances, plain], X_LABEL, "distance"))
    copies = [curve(report, title, f"copied_percent_{group}_pictures") for group, title in GROUPS.items()]
    if known := [each for each in copies if each]:
        positions = known[0].positions
        null = Curve("the null", positions, [report.get("copied_percent_null_pictures", 0.0)] * len(positions))
        made.append(Chart("Flagged as copies, %", [*known, null], X_LABEL, "%"))
    return made


def attribute_curves(report: Mapping[str, Any], name: str) -> Iterator[Curve]:
    """Of one attribute: each group's, and the control of the first."""
    found = [
        (group, each) for group, title in GROUPS.items() if (each := curve(report, title, f"{name}_percent_{group}"))
    ]
    yield from (each for _, each in found)
    if found and (control := curve(report, SHUFFLED, f"{name}_percent_{found[0][0]}_shuffled")):
        yield control


def curve(report: Mapping[str, Any], title: str, key: str) -> Curve | None:
    """One key of the sweep over the scales that have it; None where none has."""
    known = sorted((each["guidance_scale"], each[key]) for each in report["sweep"] if key in each)
    return Curve(title, [scale for scale, _ in known], [value for _, value in known]) if known else None


def draw_sweep(charts: Sequence[Chart], *, columns: int = 3) -> Image.Image:
    """All charts in one RGB picture, each with its own legend."""
    legend = LINE * max(len(chart.curves) for chart in charts)
    height, rows = HEIGHT + legend, -(-len(charts) // columns)
    columns = min(columns, len(charts))
    picture = Image.new("RGB", (SCALE * WIDTH * columns, SCALE * height * rows), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for number, chart in enumerate(charts):
        draw_chart(draw, chart, SCALE * WIDTH * (number % columns), SCALE * height * (number // columns))
    return picture


def draw_chart(draw: ImageDraw.ImageDraw, chart: Chart, left: int, top: int) -> None:
    """One chart whose upper left corner is there, in pixels."""
    font = ImageFont.load_default(SCALE * 11)
    xs, ys = ([x for each in chart.curves for x in axis(each)] for axis in (positions_of, values_of))
    x_of = placed(min(xs), max(xs), left + SCALE * LEFT, left + SCALE * (WIDTH - RIGHT), float)
    low, high = min(0.0, *ys), max(1.0, *ys)
    ticks = linear_ticks(low, high)
    y_of = placed(low, high, top + SCALE * (HEIGHT - 2 * LINE), top + SCALE * TOP, float)
    draw.text((left + SCALE * 8, top + SCALE * 8), chart.name, fill=INK, font=font)
    for tick, text in zip(ticks, labels(ticks), strict=True):
        draw.line([(left + SCALE * LEFT, y_of(tick)), (left + SCALE * (WIDTH - RIGHT), y_of(tick))], fill=PALE, width=1)
        draw.text((left + SCALE * (LEFT - 6), y_of(tick)), text, fill=INK, font=font, anchor="rm")
    bottom = top + SCALE * (HEIGHT - 2 * LINE + 4)
    scales = sorted({*xs})
    for scale, text in zip(scales, labels(scales), strict=True):
        draw.text((x_of(scale), bottom), text, fill=INK, font=font, anchor="ma")
    middle = left + SCALE * (LEFT + WIDTH - RIGHT) // 2
    draw.text((middle, bottom + SCALE * LINE * 0.8), chart.x_label, fill=INK, font=font, anchor="ma")
    for number, each in enumerate(chart.curves):
        colour = LINES[-1] if number and number == len(chart.curves) - 1 else LINES[number]
        places = [(x_of(x), y_of(y)) for x, y in zip(each.positions, each.values, strict=True)]
        draw.line(places, fill=colour, width=2 * SCALE)
        for x, y in places:
            draw.ellipse([(x - 3 * SCALE, y - 3 * SCALE), (x + 3 * SCALE, y + 3 * SCALE)], fill=colour)
        y = top + SCALE * (HEIGHT + LINE * number)
        draw.line([(left + SCALE * LEFT, y), (left + SCALE * (LEFT + 16), y)], fill=colour, width=2 * SCALE)
        draw.text((left + SCALE * (LEFT + 22), y), each.name, fill=INK, font=font, anchor="lm")


def draw_grid(rows: Mapping[str, Sequence[Tensor]], heads: Sequence[str]) -> Image.Image:
    """Pictures [4, H, W] with straight alpha on white: a row for each text, a column for each head."""
    font = ImageFont.load_default(SCALE * 11)
    words = max(font.getlength(text) for text in rows) + 2 * GAP
    picture = Image.new("RGB", (int(words) + CELL * len(heads), 3 * GAP + CELL * len(rows)), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for column, head in enumerate(heads):
        draw.text((words + CELL * (column + 0.5), GAP), head, fill=INK, font=font, anchor="ma")
    for row, (text, pictures) in enumerate(rows.items()):
        top = 3 * GAP + CELL * row
        draw.text((GAP, top + CELL / 2), text, fill=INK, font=font, anchor="lm")
        for column, each in enumerate(pictures):
            cell = contact_sheet(each[None], columns=1).resize((CELL - 4, CELL - 4), Image.Resampling.BICUBIC)
            picture.paste(cell, (int(words) + CELL * column, top))
    return picture


def positions_of(each: Curve) -> Sequence[float]:
    return each.positions


def values_of(each: Curve) -> Sequence[float]:
    return each.values
