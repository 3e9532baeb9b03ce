"""The demo's page: what was made, beside what it was learned from."""

from pathlib import Path
from typing import Any

import torch

from vader3d.assets import Asset
from vader3d.evaluation.report import (
    nearest_objects,
    object_name,
    real_picture,
    reconstruction_pairs,
    reconstruction_strips,
    write_sheet,
)
from vader3d.evaluation.score_sections import facts, number_sections
from vader3d.evaluation.sets import PictureSets
from vader3d.pages.charts import Curve
from vader3d.pages.page import Card, Chart, Charts, Comparison, Gallery, Section, picture, turntable, write_page
from vader3d.training.log import read_metrics

LOSSES = ("perceptual", "mask", "pixel", "code", "denoising")  # the terms of both stages

NEW_OBJECTS = (
    "Volumes made from noise; below each the mesh in its file, and the training objects of the nearest latents."
)


def write_demo_page(
    output: Path, report: dict[str, Any], sets: PictureSets, assets: list[tuple[Asset, torch.Tensor]]
) -> None:
    """`output`/index.html and generated.png. `assets`: each object with its raw latent [1, C, D, H, W]."""
    cards, stills = [], []
    nearest = nearest_objects(sets, torch.cat([latent for _, latent in assets])).tolist()
    for (asset, _), near in zip(assets, nearest, strict=True):
        frames = asset.turntable().numpy()
        beside = [picture(real_picture(sets, index), object_name(sets, index)) for index in near]
        link = f"assets/{asset.name}.glb" if (output / "assets" / f"{asset.name}.glb").exists() else ""
        label = "nearest in training"
        if link:  # to a mesh, which is shown too: the large picture is the volume's
            frames_of_mesh, label = asset.mesh_turntable(12, size=96), "its mesh; nearest in training"
            beside.insert(0, turntable(frames_of_mesh, f"mesh of object {asset.name}, turning", frames_per_second=6))
        shown = turntable(frames, f"generated object {asset.name}, turning")
        cards.append(Card(f"object {asset.name}", shown, link, beside, label))
        stills.append(torch.from_numpy(frames[2]).movedim(-1, 0) / 255)
    write_sheet(output / "generated.png", torch.stack(stills), columns=8)
    pairs = reconstruction_pairs(sets)
    charts = [
        loss_chart(output / "autodecoder", "Stage 1: autodecoder"),
        loss_chart(output / "diffusion", "Stage 2: diffusion"),
    ]
    sections: list[Section] = [
        Gallery("New objects", NEW_OBJECTS, cards),
        Comparison("Reconstructions", "Views that training never saw.", reconstruction_strips(sets, pairs)),
        Charts("Training", "Weighted loss terms over objects seen.", charts),
        *number_sections(report),
    ]
    text = f"A generator of 3D assets, learned from pictures of {report['training_objects']} objects."
    write_page(output / "index.html", report, sections, title="vader3d demo", text=text, facts=facts(report))


def loss_chart(run: Path, title: str) -> Chart:
    """The weighted loss terms that the run logged; its other numbers are in TensorBoard."""
    lines = read_metrics(run)
    curves = []
    for name in LOSSES:
        known = [line for line in lines if name in line]
        if known:
            curves.append(Curve(name, [line["seen"] for line in known], [line[name] for line in known]))
    return Chart(title, curves, x_label="objects seen", y_label="loss", logarithmic=True)
