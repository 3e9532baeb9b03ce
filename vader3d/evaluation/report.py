"""An evaluation on disk: report.json, report.html, contact sheets."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.data.archive.format import ArchiveError
from vader3d.data.batches.views import ViewBatch
from vader3d.evaluation.measurements import SHOWN
from vader3d.evaluation.prompted_report import prompted_sections
from vader3d.evaluation.published import columns_of, model_rows, title_of
from vader3d.evaluation.runner import Evaluation
from vader3d.evaluation.score_sections import DISTANCES, facts, number_sections
from vader3d.evaluation.score_table import scores_in
from vader3d.evaluation.sets import POSES, RECONSTRUCTION, REFERENCE, PictureSets, render_clamped
from vader3d.export.turntable import contact_sheet, straight_alpha
from vader3d.files import write_text, write_whole
from vader3d.measures.memorisation import COPY, Memorisation, flagged_in_any
from vader3d.pages.charts import Curve
from vader3d.pages.page import Card, Chart, Charts, Comparison, Gallery, Section, Strip, Table, picture, write_page
from vader3d.render import Volume

NEAREST = 3
RECONSTRUCTIONS = 12
VIEWS = 4  # of each reconstruction

COLUMNS = 8  # of a contact sheet
CLOSEST = 12  # samples


def write_report(evaluation: Evaluation, output: Path) -> None:
    """`output`/report.html, the sheets, and last report.json: where that stands, all stands."""
    report, sets, measured, memorised, prompted = evaluation
    sections: list[Section] = prompted_sections(report, prompted, measured, output) if prompted else []
    for name, part in measured.items():
        if name.startswith("generated") and "latents" in part.tensors:
            latents, owners = (part.tensors[key][:SHOWN] for key in ("latents", "latent_owners"))
            shown = sample_pictures(sets, latents, owners)
            write_sheet(output / f"{name.replace('_', '-')}.png", shown, columns=COLUMNS)
            if name == "generated":
                sections.append(samples_section(sets, shown, latents, owners, output))
    if memorised:
        sections.append(closest_section(sets, measured["generated"].tensors, memorised, output))
    write_sheet(output / "references.png", reference_pictures(sets), columns=COLUMNS)
    pairs = reconstruction_pairs(sets)
    rows = torch.cat([torch.cat([side[: COLUMNS // 2] for side in sides]) for _, *sides in pairs])
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
    rows = [torch.stack([sample, *(view for _, view in near)]) for sample, near in zip(shown, beside, strict=True)]
    write_sheet(output / "nearest.png", torch.cat(rows), columns=len(rows[0]) * 2)
    cards = [
        Card(
            f"sample {number}",
            picture(sample, f"sample {number}"),
            beside=[picture(view, f"training object {object_name(sets, index)}") for index, view in near],
            beside_label="nearest in training",
        )
        for number, sample, near in zip(owners.tolist(), shown, beside, strict=True)
    ]
    return Gallery(
        "Samples", "Drawn from noise, none chosen; beside each the training objects of the nearest latents.", cards
    )


def closest_section(
    sets: PictureSets, generated: Mapping[str, Tensor], memorised: Mapping[str, Memorisation], output: Path
) -> Gallery:
    """The samples most like a training object in any space, each beside its nearest one in every space."""
    spaces = [space.samples for space in memorised.values()]
    ratios, flagged = torch.stack([space.ratios for space in spaces]).amin(0), flagged_in_any(spaces)
    order = ratios.argsort()[:CLOSEST]
    shown = sample_pictures(sets, generated["latents"][order], generated["latent_owners"][order])
    cards, rows = [], []
    for place, sample in zip(order.tolist(), shown, strict=True):
        nearest = [int(space.nearest[place]) for space in spaces]
        beside = [real_picture(sets, index) for index in nearest]
        words = [f"training object {object_name(sets, index)}" for index in nearest]
        title = f"sample {int(generated['latent_owners'][place])}: {float(ratios[place]):.2f}"
        title += ", flagged" if flagged[place] else ""
        pictures = [picture(view, alt) for view, alt in zip(beside, words, strict=True)]
        cards.append(Card(title, picture(sample, title), "", pictures, f"nearest by {', '.join(memorised)}"))
        rows.append(torch.stack([sample, *beside]))
    write_sheet(output / "closest.png", torch.cat(rows), columns=4 * len(rows[0]))
    text = (
        "The samples that lie nearest to a training object, and that object by each measure. Numbers are distances in "
        f"units of that object's own to its nearest other one, the smaller of both measures; below {COPY} is flagged."
    )
    return Gallery("Nearest to training", text, cards)


def over_steps(report: Mapping[str, Any]) -> list[Charts]:
    """The distances of samples over sampling steps, where there are several."""
    steps, charts = report["steps"], []
    for measure in DISTANCES:
        scores = scores_in(key for key in report if key.startswith(f"{measure}_generated"))
        if len(scores) == len(steps) > 1:
            curve = Curve(scores[0].name, steps, [report[score.key] for score in scores])
            charts.append(Chart(curve.name, [curve], "sampling steps", "distance"))
    return [Charts("Sampling steps", "All samples start from the same noise.", charts)] if charts else []


def tables(report: dict[str, Any], sets: PictureSets) -> list[Table]:
    """Published numbers beside this model's; how it was measured: departures from the protocol, what was left out."""
    protocol, made = sets.protocol, []
    if protocol.published:
        columns = columns_of(protocol.published)
        title = report["data_set"]["title"]
        rows = [
            [name, title, *(values.get(column) for column in columns), "this report"]
            for name, values in model_rows(report, protocol.published).items()
        ]
        rows += [
            [
                row["method"] + (f", {row['steps']} steps" if row["steps"] else ""),
                row["data"],
                *(row.get(name) for name in columns),
                f"{row['source']}; {row['verdict']}",
            ]
            for row in report["published"]
        ]
        heads = ["", "Data", *map(title_of, columns), "Source"]
        made.append(Table("Published numbers", "Beside this model's, never mixed with them.", heads, rows))
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


def sample_pictures(sets: PictureSets, latents: Tensor, owners: Tensor) -> Tensor:
    """Each sample's first view: raw latents [n, ...] of the items `owners` [n] -> [n, 4, H, W]."""
    protocol, shown = sets.protocol, []
    common = sets.look_cameras()[:, :1].resized(*sets.size)  # where an item's object cannot be read
    for latent, number in zip(latents, owners.tolist(), strict=True):
        views = sets.readable_views([number], Counter(), split=protocol.poses, views=1, purpose=POSES)
        cameras = views[number].cameras if number in views else common
        volume = sets.generator.decode(latent[None])
        shown.append(straight_alpha(*render_clamped(volume, cameras, sets.generator.settings))[0, 0])
    return torch.stack(shown)


def real_picture(sets: PictureSets, index: int) -> Tensor:
    """The first view of a training object, [4, H, W]; empty where it cannot be read."""
    place = sets.order.index(index)
    views = sets.readable_views([place], Counter(), split="training", views=None, purpose=REFERENCE)
    if place not in views:
        return torch.zeros(4, *sets.size)
    return straight_alpha(views[place].colour, views[place].mask)[0, 0]


def object_name(sets: PictureSets, index: int) -> str:
    try:
        record = sets.judged.archive.records[index]
    except ArchiveError:
        return f"object {index}"
    return record.caption or record.name


@torch.no_grad()
def nearest_objects(sets: PictureSets, latents: Tensor, count: int = NEAREST) -> Tensor:
    """The training objects of the nearest normalised latents to raw latents [n, ...]: numbers [n, count]."""
    normalised = sets.generator.statistics.normalise(latents).flatten(1)
    distances = [torch.cdist(normalised, part.flatten(1)) for part in sets.training_latents()]
    to_objects = torch.cat(distances, 1).unflatten(1, (sets.judged.copies, -1)).amin(1)
    return to_objects.topk(min(count, len(sets.judged)), largest=False).indices


def reference_pictures(sets: PictureSets) -> Tensor:
    """Of the first objects of the reference one picture each."""
    numbers = range(min(SHOWN, len(sets.judged)))
    return torch.stack([real_picture(sets, sets.object_of(number)) for number in numbers])


def reconstruction_pairs(sets: PictureSets) -> list[tuple[int, Tensor, Tensor]]:
    """Object, held-out pictures and their reconstructions, [V, 4, H, W] each, of the first objects that can be read."""
    numbers = [*range(min(RECONSTRUCTIONS, len(sets.judged)))]
    targets = sets.readable_views(numbers, Counter(), split="heldout", views=VIEWS, purpose=RECONSTRUCTION)
    return [reconstruction_pair(sets, number, target) for number, target in targets.items()]


def reconstruction_pair(sets: PictureSets, number: int, target: ViewBatch) -> tuple[int, Tensor, Tensor]:
    volume: Volume = sets.generator.decode(sets.generator.to_latent(sets.codes("reconstruction", [number])))
    colour, opacity = render_clamped(volume, target.cameras, sets.generator.settings)
    return sets.object_of(number), straight_alpha(target.colour, target.mask)[0], straight_alpha(colour, opacity)[0]


def reconstruction_strips(sets: PictureSets, pairs: list[tuple[int, Tensor, Tensor]]) -> list[Strip]:
    """The pairs as strips of a page."""
    strips = []
    for index, target, rendered in pairs:
        name = object_name(sets, index)
        strips.append(
            Strip(
                name,
                {
                    "real": [picture(view, f"{name}, a held-out picture") for view in target],
                    "ours": [picture(view, f"{name}, reconstructed") for view in rendered],
                },
            )
        )
    return strips
