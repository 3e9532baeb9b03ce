"""A new object from its posed pictures: files, and scores."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vader3d.assets import Asset
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder, save_autodecoder
from vader3d.autodecoder.reconstruct import ReconstructConfig, Reconstruction, as_model, reconstruct, views_in
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import Picked, ViewBatch, view_batch
from vader3d.data.named import open_archive
from vader3d.data.reading.folders import object_folders, object_names
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.reader import Reading
from vader3d.data.shards.reader import holds_shards
from vader3d.export.surface import SurfaceConfig
from vader3d.export.triangles import png_bytes
from vader3d.export.turntable import contact_sheet
from vader3d.files import checksum_of, held, write_bytes, write_text
from vader3d.hub import autodecoder_file, model_folder
from vader3d.machine import chosen_device
from vader3d.measures.pictures import foreground_psnr, psnr
from vader3d.render import render_views
from vader3d.snapshots import MODEL
from vader3d.text.captions import OBJECTS, write_objects

SHOWN = 8  # views in the picture
REPORT, PICTURE = "report.json", "pictures.png"


def reconstruct_object(
    model: str | Path,
    data: str | Path,
    output: Path,
    *,
    name: str = "",
    size: int = 64,
    how: ReconstructConfig | None = None,
    surface: SurfaceConfig | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Reconstruct an object of a data set, or of nerfstudio's transforms.json, into the folder `output`; the report.

    Its files: the model that knows this object alone, NAME.glb, NAME.webp, pictures.png (rows: what is true, and what
    was made at each stage), report.json with PSNRs. name: which of several objects; size: px of nerfstudio's pictures.
    Every sixth view is held out, and scores are of those. ValueError names what is wrong.
    """
    folder = model_folder(model)
    record, views = object_of(data, name, size)
    known, config, _ = load_autodecoder(source := autodecoder_file(folder))
    with held(output):
        found, judged, sheet = reconstructed(known.to(chosen_device(device)), config, views, how or ReconstructConfig())
        report = {"object": record.name, **judged}
        own, its_config = as_model(config, found)
        save_autodecoder(output / MODEL, own.cpu(), its_config, data="")
        write_objects(output / OBJECTS, [record])
        provenance = {"autodecoder": checksum_of(output / MODEL), "from": checksum_of(source), "identity": 0}
        asset = Asset(found.volumes["fine"], config.render, record.name, provenance)
        asset.save(output / f"{record.name}.webp")
        asset.save(output / f"{record.name}.glb", mesh=asset.mesh(surface))
        write_bytes(output / PICTURE, png_bytes(sheet))
        write_text(output / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def reconstructed(
    known: Autodecoder, config: AutodecoderConfig, views: ObjectViews, how: ReconstructConfig, **more: Any
) -> tuple[Reconstruction, dict[str, Any], Any]:
    """What was found by five of six views, how near the others are to it, and the picture. more: as `reconstruct`'s."""
    count = len(views.pictures)
    picked = [Picked(views, range(count))]
    whole = view_batch(torch.zeros(1, dtype=torch.long), picked).to(next(known.parameters()).device)
    seen, judged = (torch.tensor(rows(count)) for rows in (training_views, heldout_views))
    judged = judged if len(judged) else seen
    found = reconstruct(known, config, views_in(whole, seen), how, **more)
    scores, sheet = scored(found, views_in(whole, judged), replace(config.render, density_noise=0.0))
    about = {"views": len(seen), "judged": len(judged), "held_out": count > len(seen), **scores}
    return found, about, sheet


def object_of(data: str | Path, name: str, size: int) -> tuple[ObjectRecord, ObjectViews]:
    """One object of an archive, of shards, or of a folder with transforms.json. ValueError: which is not said."""
    place = Path(data)
    if place.is_dir() and not holds_shards(place):
        folders = object_folders(NERFSTUDIO, place)
        names = object_names(folders, place)
        number = numbered(names, name)
        made = NERFSTUDIO.read_object(folders[number], names[number], Reading(size))
        return made.record, ObjectViews(made.pictures, made.cameras)
    archive = open_archive(data)
    number = numbered([record.name for record in archive.records], name)
    return archive.records[number], archive.read(number)


def numbered(names: list[str], name: str) -> int:
    """The number of the object called so, or of the only one."""
    if name in names:
        return names.index(name)
    if len(names) == 1 and not name:
        return 0
    some = ", ".join(names[:3])
    raise ValueError(f"object: wanted the name of one of {len(names)}, such as {some}; got {name or 'none'}")


@torch.no_grad()
def scored(found: Reconstruction, truth: ViewBatch, render: Any) -> tuple[dict[str, dict[str, float]], Any]:
    """Mean PSNRs in dB by what made the volume, and a picture of some views: true ones, and a row for each volume."""
    rows, scores = [truth.colour[0]], dict[str, dict[str, float]](psnr={}, foreground_psnr={})
    for stage, volume in found.volumes.items():
        colour, _ = render_views(volume, truth.cameras, render)
        scores["psnr"][stage] = round(float(psnr(colour, truth.colour).mean()), 2)
        inside = foreground_psnr(colour.clamp(0, 1), truth.colour, truth.mask)
        scores["foreground_psnr"][stage] = round(float(inside.mean()), 2)
        rows.append(colour[0].clamp(0, 1))
    some = np.unique(np.linspace(0, len(rows[0]) - 1, SHOWN).round().astype(int))
    return scores, contact_sheet(torch.cat([row[some] for row in rows]).cpu(), columns=len(some))
