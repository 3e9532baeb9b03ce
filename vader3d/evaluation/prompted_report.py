"""Prompted samples for readers: pictures, and scores over guidance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vader3d.evaluation.chunks import Measured
from vader3d.evaluation.prompted import PromptedMeasurements
from vader3d.evaluation.prompts import Prompt
from vader3d.evaluation.sweep import draw_grid, draw_sweep, sweep_charts
from vader3d.files import write_whole
from vader3d.pages.page import Card, Charts, Gallery, Section, picture

SHOWN_PROMPTS = 12  # of each group; no picture is chosen
TITLES = {
    "prompts": ("Prompts", "New wordings of what training knows"),
    "heldout_pairs": ("Held-out pairs", "A colour and a type that training never met together"),
    "captions": ("Captions", "Those of training objects"),
}


def prompted_sections(
    report: Mapping[str, Any], prompted: PromptedMeasurements, measured: Mapping[str, Measured], output: Path
) -> list[Section]:
    """The sections; `output`/sweep.png and prompts.png: rows are prompts, columns scales of guidance."""
    scale, scales = prompted.asked.guidance_scale, prompted.asked.guidance_scales
    pictures = {each: shown_pictures(measured[prompted.name(each)]) for each in scales}
    sections: list[Section] = []
    rows: dict[str, list[Tensor]] = {}
    for group, (title, text) in TITLES.items():
        chosen = first_items(prompted, group)
        cards = [
            Card(prompt.text, picture(pictures[scale][item], prompt.text))
            for item, prompt in chosen.items()
            if item in pictures[scale]
        ]
        if cards:
            sections.append(Gallery(title, f"{text}; guidance {scale:g}, first of each, none chosen.", cards))
        for item, prompt in chosen.items():
            if group != "captions" and all(item in each for each in pictures.values()):
                rows[prompt.text] = [pictures[each][item] for each in scales]
    if rows:
        grid = draw_grid(rows, [f"guidance {each:g}" for each in scales])
        write_whole(output / "prompts.png", lambda temporary: grid.save(temporary, "PNG"))
    if charts := sweep_charts(report):
        drawn = draw_sweep(charts)
        write_whole(output / "sweep.png", lambda temporary: drawn.save(temporary, "PNG"))
        text = "All scales have the same prompts and the same noise."
        sections.append(Charts("Guidance", text, charts))
    return sections


def shown_pictures(part: Measured) -> dict[int, Tensor]:
    """The kept pictures [4, H, W] in [0, 1] by item."""
    if "shown" not in part.tensors:
        return {}
    return dict(zip(part.tensors["shown_owners"].tolist(), part.tensors["shown"].float() / 255, strict=True))


def first_items(prompted: PromptedMeasurements, group: str) -> dict[int, Prompt]:
    """The first item of each of the group's first prompts."""
    found: dict[int, Prompt] = {}
    for place, prompt in enumerate(prompted.prompts):
        if prompt.group == group and len(found) < SHOWN_PROMPTS:
            found[prompted.prompt_of.index(place)] = prompt
    return found
