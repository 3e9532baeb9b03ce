"""The demo's page: what was made, beside what it was learned from."""

from pathlib import Path
from typing import Any

import torch

from vader3d.autodecoder.model import Autodecoder
from vader3d.data.archive import AnyArchive, heldout_views, training_views
from vader3d.data.views import PosedViews
from vader3d.evaluation.charts import Curve
from vader3d.evaluation.page import Card, Chart, Charts, Comparison, Gallery, Strip, picture, turntable, write_page
from vader3d.evaluation.protocols import render_clamped
from vader3d.export.turntable import contact_sheet
from vader3d.generate import Asset, Generator
from vader3d.training.log import read_metrics

NEAREST = 3
RECONSTRUCTIONS = 12


def write_demo_page(
    output: Path, report: dict[str, Any], archive: AnyArchive, model: Autodecoder, generator: Generator,
    assets: list[tuple[Asset, torch.Tensor]],
) -> None:  # fmt: skip
    """`output`/index.html and generated.png. `assets`: each object with its raw latent [1, C, D, H, W]."""
    views = PosedViews(archive, lambda count: training_views(count)[:1])
    latents = generator.statistics.normalise(generator.to_latent(torch.cat(list(model.codes.batches()))))
    cards, stills = [], []
    for asset, latent in assets:
        frames = asset.turntable().numpy()
        distances = (latents - generator.statistics.normalise(latent)).flatten(1).norm(dim=1)
        beside = [training_picture(archive, views, number) for number in distances.topk(NEAREST, largest=False).indices]
        link = f"assets/{asset.name}.glb" if (output / "assets" / f"{asset.name}.glb").exists() else ""
        shown = turntable(frames, f"generated object {asset.name}, turning")
        cards.append(Card(f"object {asset.name}", shown, link, beside, "nearest in training"))
        stills.append(torch.from_numpy(frames[2]).movedim(-1, 0) / 255)
    contact_sheet(torch.stack(stills), columns=8).save(output / "generated.png")
    charts = [
        loss_chart(output / "autodecoder", "Stage 1: autodecoder"),
        loss_chart(output / "diffusion", "Stage 2: diffusion"),
    ]
    sections: list[Gallery | Comparison | Charts] = [
        Gallery("New objects", "Made from noise; beside each, the training objects of the nearest latents.", cards),
        Comparison("Reconstructions", "Views that training never saw.", reconstructions(archive, model, generator)),
        Charts("Training", "Losses over objects seen.", charts),
    ]
    text = f"A generator of 3D assets, learned from pictures of {report['training_objects']} objects."
    write_page(output / "index.html", report, sections, title="vader3d demo", text=text)


def training_picture(archive: AnyArchive, views: PosedViews, number) -> Any:
    record = archive.records[int(number)]
    return picture(views.pictures[int(number)][0].movedim(-1, 0) / 255, record.caption or record.name)


def reconstructions(archive: AnyArchive, model: Autodecoder, generator: Generator) -> list[Strip]:
    """Held-out views of some objects, spread over the data set, above their reconstructions."""
    heldout = PosedViews(archive, lambda count: heldout_views(count) or training_views(count))
    strips = []
    for number in torch.linspace(0, len(archive) - 1, min(RECONSTRUCTIONS, len(archive))).long().unique():
        count = len(heldout.pictures[int(number)])
        target = heldout.views_of(number[None], torch.arange(min(4, count))[None])
        volume = generator.decode(generator.to_latent(model.codes(number[None])))
        colour, opacity = render_clamped(volume, target.cameras, generator.settings)
        name = archive.records[int(number)].caption or archive.records[int(number)].name
        real = torch.cat([target.colour / target.mask.clamp_min(1e-3), target.mask], 2)[0]
        made = torch.cat([colour / opacity.clamp_min(1e-3), opacity], 2)[0]
        strips.append(Strip(name, {
            "real": [picture(view, f"{name}, a held-out picture") for view in real],
            "ours": [picture(view, f"{name}, reconstructed") for view in made],
        }))  # fmt: skip
    return strips


def loss_chart(run: Path, title: str) -> Chart:
    """All loss terms that the run logged."""
    lines = read_metrics(run)
    apart = {"seen", "time", "seconds", "objects_per_second", "gradient_norm", "loss"}
    names = sorted({name for line in lines for name in line} - apart)
    curves = [
        Curve(name, [line["seen"] for line in lines if name in line], [line[name] for line in lines if name in line])
        for name in names
    ]
    return Chart(title, curves, x_label="objects seen", y_label="loss", logarithmic=True)
