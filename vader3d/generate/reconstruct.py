"""A new object from its posed pictures: files, and scores."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.autodecoder.found_poses import first_poses
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder, read_config, save_autodecoder
from vader3d.autodecoder.parts import from_rest, refined_parts
from vader3d.autodecoder.reconstruct import ReconstructConfig, Reconstruction, as_model, reconstruct, still, views_in
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import Picked, ViewBatch, view_batch
from vader3d.data.motion import FASTEST, FRAMES_PER_SECOND, write_motion
from vader3d.data.named import open_archive
from vader3d.data.reading.folders import object_folders, object_names
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.reader import Reading
from vader3d.data.shards.reader import holds_shards
from vader3d.data.videos.clips import listed_clips, mask_source
from vader3d.data.videos.objects import TAKEN, Videography
from vader3d.data.videos.prepare import prepare_videos
from vader3d.export.surface import SurfaceConfig
from vader3d.export.triangles import png_bytes
from vader3d.export.turntable import contact_sheet
from vader3d.files import LOCK, checksum_of, discard, held, write_bytes, write_text
from vader3d.frozen.matting import Matting
from vader3d.generate.animate import check_moves
from vader3d.geometry.cameras import front_camera, in_front
from vader3d.hub import autodecoder_file, model_folder
from vader3d.machine import chosen_device
from vader3d.measures.pictures import foreground_psnr, psnr
from vader3d.render import RenderConfig, render_views
from vader3d.snapshots import MODEL
from vader3d.text.captions import OBJECTS, write_objects

SHOWN = 8  # views in the picture
REPORT, PICTURE, MOTION, CLIP = "report.json", "pictures.png", "motion.json", "clip.zip"
REFINED, REFINING_RATE = 60, 0.02  # steps and rate in which a held-out frame's poses are found


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
    speed: float = FRAMES_PER_SECOND,
) -> dict[str, Any]:
    """Reconstruct an object of a data set, or of nerfstudio's transforms.json, into the folder `output`; the report.

    Its files: the model that knows this object alone, NAME.glb, NAME.webp, pictures.png (rows: what is true, and what
    was made at each stage), report.json with PSNRs. name: which of several objects; size: px of nerfstudio's pictures.
    Every sixth view is held out, and scores are of those. By a model of parts: a clip, whose cameras are not read; of
    held-out frames only poses are learned; motion.json says how it moves, `speed` frames a second.
    ValueError names what is wrong.
    """
    folder = model_folder(model)
    record, views = object_of(data, name, size)
    known, config, _ = load_autodecoder(source := autodecoder_file(folder))
    if known.parts is None and views.cameras.world_from_camera.isnan().any():
        raise ValueError(f"{data}: wanted pictures with cameras; got none; a model of parts (parts.poses) needs none")
    known = known.to(chosen_device(device))
    with held(output):
        found, judged, sheet, poses = reconstructed(known, config, views, how or ReconstructConfig())
        report = {"object": record.name, **judged}
        own, its_config = as_model(config, found, poses=poses)
        save_autodecoder(output / MODEL, own.cpu(), its_config, data="")
        write_objects(output / OBJECTS, [record])
        if own.parts is not None:
            motion = own.parts.motion(0, config.parts.names, front_camera(1).world_from_camera[0])
            write_motion(output / MOTION, replace(motion, frames_per_second=speed))
        provenance = {"autodecoder": checksum_of(output / MODEL), "from": checksum_of(source), "identity": 0}
        asset = Asset(found.volumes["fine"], config.render, record.name, provenance)
        asset.save(output / f"{record.name}.webp")
        asset.save(output / f"{record.name}.glb", mesh=asset.mesh(surface))
        write_bytes(output / PICTURE, png_bytes(sheet))
        write_text(output / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def reconstructed(
    known: Autodecoder, config: AutodecoderConfig, views: ObjectViews, how: ReconstructConfig, **more: Any
) -> tuple[Reconstruction, dict[str, Any], Any, Tensor | None]:
    """What is found by five of six views, how near the others are to it, the picture, and poses of parts in all views.

    more: as `reconstruct`'s.
    """
    count = len(views.pictures)
    picked = [Picked(views, range(count))]
    whole = view_batch(torch.zeros(1, dtype=torch.long), picked).to(next(known.parameters()).device)
    if known.parts is not None:
        whole = replace(whole, cameras=in_front(whole.cameras))
    seen, judged = (torch.tensor(rows(count)) for rows in (training_views, heldout_views))
    judged = judged if len(judged) else seen
    found = reconstruct(known, config, views_in(whole, seen), how, **more)
    truth, render = views_in(whole, judged), still(config)
    poses, every = None, None
    if known.parts is not None and found.poses is not None:
        poses = first_poses(known, found.volumes["fine"], truth, render)
        title, volume = "held-out poses", found.volumes["fine"]
        poses = refined_parts(volume, truth, poses, render, steps=REFINED, rate=REFINING_RATE, title=title)
        every = found.poses.new_zeros(count, *found.poses.shape[2:])
        every[judged], every[seen] = poses[0], found.poses[0]
        every = from_rest(every[None], whole.cameras)[0]
    scores, sheet = scored(found, truth, render, poses)
    about = {"views": len(seen), "judged": len(judged), "held_out": count > len(seen), **scores}
    return found, about, sheet, every


class Fitting(NamedTuple):
    """How a clip's subject is found: px a side of its pictures, masks and `largest` of `prepare video`, the search."""

    size: int = 64
    masks: str = "auto"
    largest: bool = False
    search: ReconstructConfig = ReconstructConfig()


def reconstruct_clip(
    model: str | Path,
    clip: Path,
    output: Path,
    *,
    name: str = "",
    fitting: Fitting,
    surface: SurfaceConfig | None = None,
    device: str = "auto",
    argument: str = "video",
) -> dict[str, Any]:
    """`reconstruct_object` of the subject of a clip, or of a folder of frames, by a model of parts.

    It is prepared in OUTPUT/clip.zip. name: of which, in a folder of several. argument: what errors call the clip.
    ValueError says why it cannot be used, and nothing of it is left; or why the model cannot.
    """
    folder = model_folder(model)
    check_clip(folder, clip, argument)
    path = output / CLIP
    how = Videography(size=fitting.size, trim=0.0, least_kilobytes=0.0, largest=fitting.largest)
    with held(output):
        try:
            report = prepare_videos(clip, path, how, Matting(fitting.masks), processes=1)
        except ValueError as error:
            shutil.rmtree(path.with_name(f"{path.name}.videos"), ignore_errors=True)
            raise ValueError(f"{argument}: {str(error).splitlines()[-1].strip()}") from error
    taken = [facts for facts in report.facts if facts["outcome"] == TAKEN]
    facts = taken[numbered([each["name"] for each in taken], name)]
    seconds = facts.get("shown_seconds", 0.0)  # of what is there since before that was noted: unknown
    speed = min((facts["views"] - 1) / seconds, FASTEST) if seconds else FRAMES_PER_SECOND
    return reconstruct_object(
        folder, path, output, name=facts["name"], how=fitting.search, surface=surface, device=device, speed=speed
    )


def check_clip(folder: Path, clip: Path, argument: str) -> list[str]:
    """The names of the clips that there are. ValueError: none, or the model in a folder finds no motion in any."""
    if not clip.exists():
        raise ValueError(f"{argument}: wanted a clip or a folder of its frames; got {clip}, which does not exist")
    config = read_config(autodecoder_file(folder))
    check_moves(config.decoder.extra_channels)
    if not config.parts.names:
        raise ValueError(
            "model: wanted one that learned poses of parts (parts.poses), from which a clip's are found; got one that "
            "cannot tell poses of pictures; a motion in JSON drives its objects"
        )
    try:
        return [each.name for each in listed_clips(clip).clips]
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error


def kept_clip(
    folder: Path,
    clip: Path,
    beside: Path,
    *,
    fitting: Fitting,
    surface: SurfaceConfig | None,
    device: str,
    argument: str,
) -> Path:
    """The folder that `reconstruct_clip` makes of one clip, in the folder `beside`; one that is whole there is taken.

    Its name changes with the clip's bytes, the model and the fitting.
    """
    found = beside / f"{clip.resolve().stem}.{clip_key(clip, checksum_of(autodecoder_file(folder)), fitting)}.found"
    with held(beside, found.name, wait=True):
        if not (found / REPORT).is_file():  # which is written last
            reconstruct_clip(folder, clip, found, fitting=fitting, surface=surface, device=device, argument=argument)
        discard(found / LOCK)  # of one who was killed as it let go: nobody else is in there
    return found


def clip_key(clip: Path, *settings: object) -> str:
    """Eight digits that change with settings and the bytes of a clip, or of a folder of frames, and of its masks."""
    digest = hashlib.sha256(repr(settings).encode())
    for place in filter(None, (clip, mask_source(clip))):
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                digest.update(f"{path.relative_to(place)} {checksum_of(path)} ".encode())
    return digest.hexdigest()[:8]


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
def scored(
    found: Reconstruction, truth: ViewBatch, render: RenderConfig, poses: Tensor | None = None
) -> tuple[dict[str, dict[str, float]], Any]:
    """Mean PSNRs in dB by what made the volume, and a picture of some views: true ones, and a row for each volume."""
    rows, scores = [truth.colour[0]], dict[str, dict[str, float]](psnr={}, foreground_psnr={})
    for stage, volume in found.volumes.items():
        colour, _ = render_views(volume, truth.cameras, render, poses=poses)
        scores["psnr"][stage] = round(float(psnr(colour, truth.colour).mean()), 2)
        inside = foreground_psnr(colour.clamp(0, 1), truth.colour, truth.mask)
        scores["foreground_psnr"][stage] = round(float(inside.mean()), 2)
        rows.append(colour[0].clamp(0, 1))
    some = np.unique(np.linspace(0, len(rows[0]) - 1, SHOWN).round().astype(int))
    return scores, contact_sheet(torch.cat([row[some] for row in rows]).cpu(), columns=len(some))
