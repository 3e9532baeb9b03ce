"""The page of a preparation of clips: a picture an object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vader3d.files import held
from vader3d.pages.page import Number, Section, Sheet, Table, picture, write_page

HEADS = ("clip", "outcome", "frames", "shots", "views", "left out", "reason")
SHEETS = 200  # pictures are shown of so many clips at most


def write_videos_page(rooms: Path, summary: Mapping[str, Any]) -> Path:
    """`index.html` in the folder of rooms, from `summary` as in its report.json and each room's sheet.jpg."""
    facts = summary["facts"]
    sections: list[Section] = [Table("Clips", "What became of each.", HEADS, [row(each) for each in facts])]
    with_sheets = [each for each in facts if (rooms / each["name"] / "sheet.jpg").is_file()]
    for each in with_sheets[:SHEETS]:
        pixels = np.array(Image.open(rooms / each["name"] / "sheet.jpg"))
        text = "Above: frames with the outlines of their masks. Below: what the data set has of it."
        shown = picture(torch.from_numpy(pixels).movedim(-1, 0) / 255, each["name"])
        sections.append(Sheet(f"{each['name']}: {each['outcome']}", each["reason"] or text, shown))
    counts = (("clips", summary["clips"]), ("taken", summary["taken"]), ("skipped", len(summary["skipped"])))
    page = rooms / "index.html"
    with held(rooms, page.name, wait=True):  # which other commands may be writing too
        write_page(page, summary, sections, title="Clips", facts=[Number(name, value) for name, value in counts])
    return page


def row(facts: Mapping[str, Any]) -> list[str | float | None]:
    left_out = {"trimmed": facts.get("trimmed", 0), **facts.get("dropped", {})}
    said = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
    return [facts["name"], facts["outcome"], *map(facts.get, ("frames", "shots", "views")), said, facts["reason"]]
