"""An evaluation on disk: report.json, report.html that needs nothing beside it, contact sheets as PNG."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.evaluation.picture_sets import PictureSets
from vader3d.evaluation.published import TITLES, columns_of, our_rows
from vader3d.evaluation.report_pictures import (
    nearest_objects,
    object_name,
    real_picture,
    reconstruction_pairs,
    reconstruction_strips,
    reference_pictures,
    sample_pictures,
)
from vader3d.evaluation.runner import Evaluation
from vader3d.evaluation.score_sections import facts, number_sections
from vader3d.evaluation.stages import SHOWN
from vader3d.export.turntable import contact_sheet
from vader3d.files import write_text, write_whole
from vader3d.measures.memorisation import Memorisation, memorised_in_any
from vader3d.pages.charts import Curve
from vader3d.pages.page import Card, Chart, Charts, Comparison, Gallery, Section, Table, picture, write_page

COLUMNS = 8  # of a contact sheet
CLOSEST = 12  # samples


def write_report(evaluation: Evaluation, output: Path) -> None:
    """`output`/report.html, the sheets, and last report.json: where that stands, all stands."""
    report, sets, found, memorised = evaluation
    sections: list[Section] = []
    for name, part in found.items():
        if name.startswith("generated") and "latents" in part.tensors:
            latents, owners = (part.tensors[key][:SHOWN] for key in ("latents", "latent_owners"))
            shown = sample_pictures(sets, latents, owners)
            write_sheet(output / f"{name.replace('_', '-')}.png", shown, columns=COLUMNS)
            if name == "generated":
                sections.append(samples_section(sets, shown, latents, owners, output))
    if memorised:
        sections.append(closest_section(sets, found["generated"].tensors, memorised, output))
    write_sheet(output / "references.png", reference_pictures(sets), columns=COLUMNS)
    pairs = reconstruction_pairs(sets)
    rows = torch.cat([torch.cat([real[: COLUMNS // 2], ours[: COLUMNS // 2]]) for _, real, ours in pairs])
    write_sheet(output / "reconstructions.png", rows, columns=2 * len(pairs[0][1]))
    text = "Pictures that judge, and what the decoder makes of their objects' codes."
    sections.append(Comparison("Reconstructions", text, reconstruction_strips(sets, pairs)))
    sections += [*over_steps(report), *tables(report, sets), *number_sections(report)]
    title, text = f"vader3d: {report['protocol']}", sets.protocol.measures
    write_page(output / "report.html", report, sections, title=title, text=text, facts=facts(report))
    write_text(output / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def samples_section(sets: PictureSets, shown: Tensor, latents: Tensor, owners: Tensor, output: Path) -> Gallery:
    """Samples with the training objects of the nearest latents; the same side by side as a sheet."""
    nearest = nearest_objects(sets, latents)
    beside = [[(index, real_picture(sets, index)) for index in row] for row in nearest.tolist()]
    rows = [torch.stack([sample, *(real for _, real in near)]) for sample, near in zip(shown, beside, strict=True)]
    write_sheet(output / "nearest.png", torch.cat(rows), columns=len(rows[0]) * 2)
    cards = [
        Card(f"sample {number}", picture(sample, f"sample {number}"), beside=[
            picture(real, f"training object {object_name(sets, index)}") for index, real in near
        ], beside_label="nearest in training")
        for number, sample, near in zip(owners.tolist(), shown, beside, strict=True)
    ]  # fmt: skip
    return Gallery(
        "Samples", "Drawn from noise, none chosen; beside each the training objects of the nearest latents.", cards
    )


def closest_section(
    sets: PictureSets, generated: Mapping[str, Tensor], memorised: Mapping[str, Memorisation], output: Path
) -> Gallery:
    """The samples most like a training object in any space, each beside its nearest one in every space."""
    ratios = torch.stack([space.ratios for space in memorised.values()]).amin(0)
    order = ratios.argsort()[:CLOSEST]
    flagged = memorised_in_any(memorised)
    shown = sample_pictures(sets, generated["latents"][order], generated["latent_owners"][order])
    cards, rows = [], []
    for place, sample in zip(order.tolist(), shown, strict=True):
        nearest = [int(space.nearest[place]) for space in memorised.values()]
        beside = [real_picture(sets, index) for index in nearest]
        words = [f"training object {object_name(sets, index)}" for index in nearest]
        title = f"sample {int(generated['latent_owners'][place])}: {float(ratios[place]):.2f}"
        title += ", flagged" if flagged[place] else ""
        pictures = [picture(real, alt) for real, alt in zip(beside, words, strict=True)]
        cards.append(Card(title, picture(sample, title), "", pictures, f"nearest by {', '.join(memorised)}"))
        rows.append(torch.stack([sample, *beside]))
    write_sheet(output / "closest.png", torch.cat(rows), columns=4 * len(rows[0]))
    text = (
        "The samples that lie nearest to a training object, and that object by each measure. Numbers are distances in "
        "medians of those from one training object to the next; far below 1 is a copy."
    )
    return Gallery("Nearest to training", text, cards)


def over_steps(report: Mapping[str, Any]) -> list[Charts]:
    """The distances of samples over sampling steps, where there are several."""
    steps = report["steps"]
    names = [f"generated_{count}_steps" for count in steps[:-1]] + ["generated"]
    charts = [
        Chart(
            title, [Curve(title, steps, [report[f"{measure}_{name}"] for name in names])], "sampling steps", "distance"
        )
        for measure, title in (("frechet", "Frechet distance"), ("kernel", "Kernel distance times 1,000"))
        if len(steps) > 1 and all(f"{measure}_{name}" in report for name in names)
    ]
    return [Charts("Sampling steps", "All samples start from the same noise.", charts)] if charts else []


def tables(report: dict[str, Any], sets: PictureSets) -> list[Table]:
    """Published numbers beside ours; how the protocol was departed from; what was left out; how it was measured."""
    protocol, made = sets.protocol, []
    if protocol.published:
        columns = columns_of(protocol.published)
        title = report["data_set"]["title"]
        rows = [
            [name, title, *(ours.get(column) for column in columns), "this report"]
            for name, ours in our_rows(report, protocol.published).items()
        ]
        rows += [
            [row["method"] + (f", {row['steps']} steps" if row["steps"] else ""), row["data"],
             *(row.get(name) for name in columns), f"{row['source']}; {row['verdict']}"]
            for row in report["published"]
        ]  # fmt: skip
        heads = ["", "Data", *(TITLES[name] for name in columns), "Source"]
        made.append(Table("Published numbers", "Beside ours, never mixed with them.", heads, rows))
    about = [["Departures from the protocol", text] for text in report["deviations"] or ["none"]]
    excluded = [f"{count} {reason}" for reason, count in report["excluded"].items()]
    about += [["Left out", text] for text in excluded or ["nothing"]]
    about += [["Note", text] for text in protocol.notes]
    made.append(
        Table(
            "How it was measured", f"{protocol.name}, version {protocol.version}: {protocol.source}.", ["", ""], about
        )
    )
    return made


def write_sheet(path: Path, pictures: Tensor, *, columns: int) -> None:
    """A contact sheet as PNG, whole or not at all."""
    sheet = contact_sheet(pictures, columns=columns)
    write_whole(path, lambda temporary: sheet.save(temporary, "PNG"))
