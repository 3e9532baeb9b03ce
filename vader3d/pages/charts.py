"""Line charts as plain inline SVG, coloured by the page's style."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vader3d.pages.markup import markup

WIDTH, HEIGHT = 540, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 28, 42
MOST_POINTS = 240  # a curve with more is drawn as the means of as many stretches

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One line: `values` over `positions`, equally long, positions rising."""

    name: str
    positions: Sequence[float]
    values: Sequence[float]


def line_chart(curves: Sequence[Curve], *, x_label: str, y_label: str, logarithmic: bool = False) -> str:
    """An <svg> and its legend: all curves on shared axes, each with its running mean; `logarithmic` is of the values.

    Points that are not finite, or not positive on a logarithmic axis, are left out. Without a point left, a sentence.
    """
    drawn = [(curve.name, thinned(drawable(curve, logarithmic))) for curve in curves]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return markup("line_chart.html", {"lines": []})
    xs, ys = ([point[axis] for _, points in drawn for point in points] for axis in (0, 1))
    y_ticks = logarithmic_ticks(min(ys), max(ys)) if logarithmic else linear_ticks(min(ys), max(ys))
    x_ticks = [tick for tick in linear_ticks(min(xs), max(xs)) if min(xs) <= tick <= max(xs)]
    transform = math.log if logarithmic else float
    x_of = placed(min(xs), max(xs), LEFT, WIDTH - RIGHT, float)
    y_of = placed(min(*ys, *y_ticks), max(*ys, *y_ticks), HEIGHT - BOTTOM, TOP, transform)
    places = [[(x_of(x), y_of(y)) for x, y in points] for _, points in drawn]
    ends = [(name, compact(points[0][1]), compact(points[-1][1])) for name, points in drawn]
    summary = "; ".join(f"{name} from {first} to {last}" for name, first, last in ends)
    values = {
        "box": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "bottom": HEIGHT - BOTTOM},
        "x_ticks": list(zip(map(x_of, x_ticks), labels(x_ticks), strict=True)),
        "y_ticks": list(zip(map(y_of, y_ticks), labels(y_ticks), strict=True)),
        "x_label": x_label,
        "y_label": y_label,
        "lines": [(coordinates(line), coordinates(smoothed(line))) for line in places],
        "legend": [(name, last) for name, _, last in ends],
        "label": f"{y_label} over {x_label}: {summary}",
    }
    return markup("line_chart.html", values)


def coordinates(places: list[Point]) -> str:
    """As <polyline> takes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def compact(number: float, digits: int = 3) -> str:
    """Significant digits, thousands as k and M: 0.0123, 4.5, 12k, 1.2M."""
    for unit, size in (("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            return f"{number / (1e6 if unit == 'M' else 1e3):.{digits}g}{unit}"
    return f"{number:.{digits}g}" if abs(number) < 1000 else f"{number:.{max(0, digits - 4)}f}"


def labels(ticks: Sequence[float]) -> list[str]:
    """With three digits, or as many more as tell them apart."""
    texts = [[compact(tick, digits) for tick in ticks] for digits in range(3, 13)]
    return next((each for each in texts if len({*each}) == len(ticks)), texts[0])


def drawable(curve: Curve, logarithmic: bool) -> list[Point]:
    """The points that have a place on the axes."""
    points = zip(curve.positions, curve.values, strict=True)
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not logarithmic)]


def thinned(points: list[Point]) -> list[Point]:
    """At most MOST_POINTS points, each the mean of a stretch."""
    stretch = max(1, -(-len(points) // MOST_POINTS))
    parts = [points[start : start + stretch] for start in range(0, len(points), stretch)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def smoothed(points: list[Point]) -> list[Point]:
    """The running mean of the heights over about a twelfth of the curve, shorter towards its ends."""
    reach = len(points) // 24
    means = []
    for number, (x, _) in enumerate(points):
        near = min(reach, number, len(points) - 1 - number)
        part = points[number - near : number + near + 1]
        means.append((x, sum(y for _, y in part) / len(part)))
    return means


def placed(low: float, high: float, start: float, end: float, transform: Callable) -> Callable[[float], float]:
    """The map of [low, high] onto pixels [start, end]; one single value stands in the middle."""
    if transform(high) == transform(low):
        return lambda value: (start + end) / 2
    scale = (end - start) / (transform(high) - transform(low))
    return lambda value: start + (transform(value) - transform(low)) * scale


def linear_ticks(low: float, high: float) -> list[float]:
    """About five round numbers within [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Round numbers (1, 2, 5 times powers of ten) around [low, high]; over many decades, powers of ten alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) < 4 else (1,)
    ticks = [factor * 10.0**decade for decade in decades for factor in factors]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside or [low]


def value_text(value: Any) -> str:
    """A number in a few digits, None as a dash, anything else as it stands; long checksums are cut."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return compact(value) if abs(value) < 10 or abs(value) >= 1000 else f"{value:.1f}"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
