"""The page of an inspection: masks' outlines, cameras in 3D, problems."""

from pathlib import Path

import torch

from vader3d.data.inspection.faults import InspectionReport, Look
from vader3d.pages.page import Card, Document, Gallery, Number, Section, Table, picture, write_page

SHOWN = 500  # problems in the table; report.json has all
FEW = 3  # captions of an object on its card
OUTLINES = "A magenta line goes round all that a mask takes for the object. Objects with problems come first."
CAMERAS = "Of the first objects. The dots are the shape that all masks allow: where it does not look like the object, "
CAMERAS += "the cameras or the masks are wrong."


def write_inspection_page(report: InspectionReport) -> Path:
    """`index.html` in the report's folder, which needs no other file."""
    sections: list[Section] = []
    if report.problems:
        rows: list[list[str | float | None]]
        rows = [[problem.object, problem.fault, listed(problem.views)] for problem in report.problems[:SHOWN]]
        more = f"The first {SHOWN} of {len(report.problems)}." if len(report.problems) > SHOWN else ""
        sections.append(Table("Problems", more, ("object", "problem", "views"), rows))
    sections.append(Gallery("Objects", OUTLINES, [card(look) for look in report.looks]))
    sections.append(Document("Cameras", CAMERAS, report.camera_plot.read_text("utf-8")))
    categories: list[list[str | float | None]] = [
        [name or "(none)", count] for name, count in report.categories.items()
    ]
    sections.append(Table("Categories", "", ("category", "objects"), categories))
    height, width = report.resolution
    facts = [("objects", report.objects, ""), ("views", report.views, ""), ("pictures", f"{width} x {height}", "px")]
    facts += [("objects with captions", report.captioned, ""), ("problems", len(report.problems), "")]
    page = report.folder / "index.html"
    numbers = [Number(name, value, unit) for name, value, unit in facts]
    write_page(page, report.facts(), sections, title=report.title, facts=numbers, scripts=True)
    return page


def card(look: Look) -> Card:
    captions = [caption.text for caption in look.record.captions[:FEW]]
    pixels = torch.from_numpy(look.picture).movedim(-1, 0) / 255
    return Card(
        look.record.name, picture(pixels, f"{look.record.name} with its masks"), lines=captions, warnings=look.faults
    )


def listed(views: tuple[int, ...]) -> str:
    """Numbers of views, the first of many."""
    return ", ".join(map(str, views[:8])) + (", ..." if len(views) > 8 else "")
