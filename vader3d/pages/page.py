"""Results as one HTML file that needs nothing beside it.

A page is facts, sections (`Gallery`, `Comparison`, `Charts`, `Table`, `Prepared`) in the order given, and the whole
report (the keys of `report.json`).
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vader3d.export.turntable import turntable_bytes
from vader3d.files import write_text
from vader3d.pages.charts import Curve, line_chart, value_text
from vader3d.pages.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser refuses anything from outside


@dataclass(frozen=True)
class Picture:
    """WebP data, what it shows in words (`alt`), and for an animation a still for those who want no motion."""

    data: bytes
    alt: str
    still: bytes | None = None


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
    """A large picture with a name, an optional file to open (`link`, relative), and smaller ones to compare with."""

    name: str
    picture: Picture
    link: str = ""
    beside: Sequence[Picture] = ()
    beside_label: str = ""

    def html(self) -> str:
        link = (
            f'<a href="{escape(self.link)}" download>{escape(Path(self.link).suffix[1:].upper())}</a>'
            if self.link
            else ""
        )
        label = f"<span>{escape(self.beside_label)}</span>" if self.beside_label else ""
        beside = f'<div class="beside">{label}{"".join(map(image, self.beside))}</div>' if self.beside else ""
        caption = f"<figcaption><strong>{escape(self.name)}{link}</strong>{beside}</figcaption>"
        return f'<figure class="card">{image(self.picture)}{caption}</figure>'


@dataclass(frozen=True)
class Gallery:
    """Cards side by side."""

    title: str
    text: str
    cards: Sequence[Card]

    def html(self) -> str:
        return f'<div class="cards">{"".join(card.html() for card in self.cards)}</div>'


@dataclass(frozen=True)
class Strip:
    """Rows of pictures of one thing, column by column to compare: {"real": [...], "ours": [...]}."""

    name: str
    rows: Mapping[str, Sequence[Picture]]

    def html(self) -> str:
        rows = (
            f'<div class="row"><span>{escape(label)}</span><div>{"".join(map(image, pictures))}</div></div>'
            for label, pictures in self.rows.items()
        )
        return f'<div class="strip"><h3>{escape(self.name)}</h3>{"".join(rows)}</div>'


@dataclass(frozen=True)
class Comparison:
    """Strips one under the other."""

    title: str
    text: str
    strips: Sequence[Strip]

    def html(self) -> str:
        return f'<div class="strips">{"".join(strip.html() for strip in self.strips)}</div>'


@dataclass(frozen=True)
class Chart:
    """Curves on shared axes; `logarithmic` is of the values."""

    name: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    logarithmic: bool = False

    def html(self) -> str:
        drawing = line_chart(self.curves, x_label=self.x_label, y_label=self.y_label, logarithmic=self.logarithmic)
        return f'<figure class="chart"><h3>{escape(self.name)}</h3>{drawing}</figure>'


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    title: str
    text: str
    charts: Sequence[Chart] = field(default_factory=tuple)

    def html(self) -> str:
        return f'<div class="charts">{"".join(chart.html() for chart in self.charts)}</div>'


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under `heads`; None is a dash."""

    title: str
    text: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]

    def html(self) -> str:
        heads = "".join(f"<th>{escape(head)}</th>" for head in self.heads) if any(self.heads) else ""
        rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in self.rows)
        return f'<div class="scroll"><table>{f"<tr>{heads}</tr>" if heads else ""}{rows}</table></div>'


def cell(value: str | float | None) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="value">{"-" if value is None else value_text(float(value))}</td>'


@dataclass(frozen=True)
class Prepared:
    """A section whose HTML was made elsewhere, whatever comes from a user escaped in it."""

    title: str
    text: str
    body: str

    def html(self) -> str:
        return self.body


Section = Gallery | Comparison | Charts | Table | Prepared


def write_page(
    path: str | Path,
    report: Mapping[str, Any],
    sections: Sequence[Section],
    *,
    title: str,
    text: str = "",
    facts: str = "",
) -> None:
    """Write the page, whole or not at all. `title`, `text` (plain, not HTML) and `facts` (HTML) open it."""
    bodies = [(section.title, section.text, section.html()) for section in sections]
    nav = "".join(f'<a href="#part-{number}">{escape(name)}</a>' for number, (name, _, _) in enumerate(bodies))
    parts = "".join(
        f'<section id="part-{number}"><h2>{escape(name)}</h2><p>{escape(words)}</p>{html}</section>'
        for number, (name, words, html) in enumerate(bodies)
    )
    whole = escape(json.dumps(report, indent=2, ensure_ascii=False, default=str), quote=False)
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head><body>'
        f"<header><h1>{escape(title)}</h1><p>{escape(text)}</p><nav>{nav}</nav>{facts}</header>"
        f"<main>{parts}<details><summary>The whole report (report.json)</summary><pre>{whole}</pre></details></main>"
        f"<footer>Written by vader3d, an implementation of 3D VADER (arXiv:2307.05445).</footer></body></html>\n"
    )
    write_text(Path(path), document)


def image(shown: Picture) -> str:
    """An <img>, or for an animation a <picture> that stands still for those who asked their system for less motion."""
    element = f'<img src="{inline(shown.data)}" alt="{escape(shown.alt)}">'
    if shown.still is None:
        return element
    calm = f'<source media="(prefers-reduced-motion: reduce)" srcset="{inline(shown.still)}">'
    return f"<picture>{calm}{element}</picture>"


def inline(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
