"""The page of a preparation of photographs: a picture an object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vader3d.files import held
from vader3d.pages.page import Number, Section, Sheet, Table, picture, write_page

HEADS = ("object", "outcome", "frames", "registered", "error, px", "views", "explained", "masks", "reason")


def write_photographs_page(rooms: Path, summary: Mapping[str, Any]) -> Path:
    """`index.html` in the folder of rooms, from `summary` as in its report.json and each room's sheet.jpg."""
    facts = summary["facts"]
    sections: list[Section] = [Table("Objects", "What became of each.", HEADS, [row(each) for each in facts])]
    for each in facts:
        sheet = rooms / each["name"] / "sheet.jpg"
        if sheet.is_file():
            pixels = torch.from_numpy(np.array(Image.open(sheet))).movedim(-1, 0) / 255
            text = "Above: photographs with the outlines of their masks. Below: what the data set has of it."
            text = each["reason"] if each["reason"] else text
            sections.append(Sheet(f"{each['name']}: {each['outcome']}", text, picture(pixels, each["name"])))
    numbers = [("objects", summary["objects"]), ("posed", summary["posed"])]
    numbers += [("without cameras", len(summary["without_cameras"])), ("broken", len(summary["broken"]))]
    page = rooms / "index.html"
    with held(rooms, page.name, wait=True):  # which other commands may be writing too
        write_page(page, summary, sections, title="Photographs", facts=[Number(name, value) for name, value in numbers])
    return page


def row(facts: Mapping[str, Any]) -> list[str | float | None]:
    keys = ("frames", "registered", "error_px", "views", "explained")
    masks = "; ".join(facts.get("masks", ()))
    return [facts["name"], facts["outcome"], *(facts.get(key) for key in keys), masks, facts.get("reason", "")]
