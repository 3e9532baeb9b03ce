"""A dot plot of seeds and means as a small picture."""

import statistics
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from vader3d.pages.charts import labels, linear_ticks, placed

SCALE = 2  # pixels of the picture to one of the layout
WIDTH, ROW, TOP, BOTTOM, LEFT, RIGHT = 640, 26, 34, 30, 220, 24
INK, PALE, SEED, MEAN = (40, 40, 40), (222, 222, 222), (150, 180, 220), (20, 80, 160)


def draw_plot(rows: Sequence[tuple[str, Sequence[float]]], *, title: str) -> Image.Image:
    """rows: a name and the values of its seeds, or none. The axis spans all values and spreads."""
    height = TOP + ROW * len(rows) + BOTTOM
    picture = Image.new("RGB", (SCALE * WIDTH, SCALE * height), (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(SCALE * 12)
    everything = [value for _, values in rows for value in (*values, *reach(values))]
    low, high = (min(everything), max(everything)) if everything else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    x_of = placed(low, high, SCALE * LEFT, SCALE * (WIDTH - RIGHT), float)
    draw.text((SCALE * 8, SCALE * 8), title, fill=INK, font=font)
    ticks = linear_ticks(low, high)
    for tick, text in zip(ticks, labels(ticks), strict=True):
        draw.line([(x_of(tick), SCALE * TOP), (x_of(tick), SCALE * (height - BOTTOM))], fill=PALE, width=SCALE)
        place = (x_of(tick), SCALE * (height - BOTTOM + 4))
        draw.text(place, text, fill=INK, font=font, anchor="ma")
    for number, (name, values) in enumerate(rows):
        y = SCALE * (TOP + ROW * (number + 0.5))
        draw.text((SCALE * (LEFT - 10), y), name, fill=INK, font=font, anchor="rm")
        if not values:
            continue
        draw.line([(x_of(end), y) for end in reach(values)], fill=MEAN, width=2 * SCALE)
        for value in values:
            dot(draw, x_of(value), y, 3.5 * SCALE, SEED)
        dot(draw, x_of(statistics.fmean(values)), y, 4.5 * SCALE, MEAN)
    return picture


def reach(values: Sequence[float]) -> tuple[float, ...]:
    """Mean less and more the standard deviation; twice the value of a single seed."""
    if not values:
        return ()
    mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    return mean - spread, mean + spread


def dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse([(x - radius, y - radius), (x + radius, y + radius)], fill=colour)
