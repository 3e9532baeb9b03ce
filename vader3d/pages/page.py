"""Results as one HTML file that needs nothing beside it.

A page is facts, sections (`Gallery`, `Sheet`, `Comparison`, `Charts`, `Table`, `Numbers`, `Document`) in the order
given, and the whole report (the keys of `report.json`). Each section's `template` draws it.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vader3d.export.turntable import turntable_bytes
from vader3d.files import write_text
from vader3d.pages.charts import Curve, line_chart, value_text
from vader3d.pages.markup import markup

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser refuses anything from outside


@dataclass(frozen=True)
class Picture:
    """WebP data, what it shows in words (`alt`), and for an animation a still for those who want no motion."""

    data: bytes
    alt: str
    still: bytes | None = None

    @property
    def address(self) -> str:
        return data_address(self.data)

    @property
    def still_address(self) -> str:
        return data_address(self.still or self.data)


def data_address(webp_data: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp_data).decode()}"


def picture(pixels: Tensor, alt: str) -> Picture:
    """A picture of [C, H, W] in [0, 1], C = 3, or 4 with straight alpha."""
    array = (pixels.detach().clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).cpu().numpy()
    return Picture(webp(array), alt)


def turntable(frames: np.ndarray, alt: str, *, frames_per_second: float = 12) -> Picture:
    """An animation of uint8 frames [T, H, W, 3 or 4]."""
    return Picture(turntable_bytes(frames, frames_per_second=frames_per_second), alt, webp(frames[0]))


def webp(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="WEBP", quality=85)
    return file.getvalue()


@dataclass(frozen=True)
class Card:
    """A large picture with a name, an optional file to open (`link`, relative), and smaller ones to compare with.

    lines, warnings: texts below.
    """

    name: str
    picture: Picture
    link: str = ""
    beside: Sequence[Picture] = ()
    beside_label: str = ""
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def format(self) -> str:
        """The linked file's, in capitals."""
        return Path(self.link).suffix[1:].upper()


@dataclass(frozen=True)
class Gallery:
    """Cards side by side."""

    title: str
    text: str
    cards: Sequence[Card]
    template: ClassVar[str] = "gallery.html"


@dataclass(frozen=True)
class Sheet:
    """One picture as wide as the page."""

    title: str
    text: str
    picture: Picture
    template: ClassVar[str] = "sheet.html"


@dataclass(frozen=True)
class Strip:
    """Rows of pictures of one thing, column by column to compare: {"real": [...], "ours": [...]}."""

    name: str
    rows: Mapping[str, Sequence[Picture]]


@dataclass(frozen=True)
class Comparison:
    """Strips one under the other."""

    title: str
    text: str
    strips: Sequence[Strip]
    template: ClassVar[str] = "comparison.html"


@dataclass(frozen=True)
class Chart:
    """Curves on shared axes; `logarithmic` is of the values."""

    name: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    logarithmic: bool = False

    def drawing(self) -> str:
        return line_chart(self.curves, x_label=self.x_label, y_label=self.y_label, logarithmic=self.logarithmic)


@dataclass(frozen=True)
class Bar:
    """A value, and how it is written; `own`: what the page is about, beside what it is compared with."""

    name: str
    value: float
    text: str
    own: bool = False


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, the largest value as long as there is room, none shorter than half a percent of that."""

    name: str
    bars: Sequence[Bar]

    def drawing(self) -> str:
        longest = max(1e-12, *(bar.value for bar in self.bars))
        return markup("bars.html", {"bars": [(bar, max(0.5, 100 * bar.value / longest)) for bar in self.bars]})


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    title: str
    text: str
    charts: Sequence[Chart | Bars]
    template: ClassVar[str] = "charts.html"


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under `heads`; None is a dash."""

    title: str
    text: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    template: ClassVar[str] = "table.html"


@dataclass(frozen=True)
class Number:
    """A number, or a word, with its unit, its interval and what it means.

    note: a few words under the number. key: its name in the report.
    """

    name: str
    value: Any
    unit: str = ""
    text: str = ""
    note: str = ""
    key: str = ""
    interval: Sequence[float] | None = None


@dataclass(frozen=True)
class Numbers:
    """Numbers that are explained, one a row, under charts of some of them."""

    title: str
    text: str
    numbers: Sequence[Number]
    charts: Sequence[Chart | Bars] = field(default_factory=tuple)
    template: ClassVar[str] = "numbers.html"


@dataclass(frozen=True)
class Document:
    """A whole page of its own, shown within this one; its scripts run only where the page allows any."""

    title: str
    text: str
    html: str
    template: ClassVar[str] = "document.html"


Section = Gallery | Sheet | Comparison | Charts | Table | Numbers | Document


def write_page(
    path: str | Path,
    report: Mapping[str, Any],
    sections: Sequence[Section],
    *,
    title: str,
    text: str = "",
    facts: Sequence[Number] = (),
    refresh: float | None = None,
    scripts: bool = False,
) -> None:
    """Write the page, whole or not at all; `title`, `text` and the numbers `facts` open it.

    refresh: the browser reads it anew after so many seconds. scripts: documents within it may run theirs.
    """
    values = {
        "title": title,
        "text": text,
        "facts": facts,
        "sections": sections,
        "report": json.dumps(report, indent=2, ensure_ascii=False, default=str),
        "policy": POLICY + "; script-src 'unsafe-inline'" * scripts,
        "refresh": refresh,
        "short": value_text,
    }
    write_text(Path(path), markup("page.html", values))
