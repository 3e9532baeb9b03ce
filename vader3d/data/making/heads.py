"""Clips of heads and shoulders that move, with truth kept apart."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import heldout_views
from vader3d.data.making.busts import PARTS, Bust, BustPose, part_poses, posed_surface
from vader3d.data.making.conversion import Job, Output, PrepareReport, convert
from vader3d.data.making.people import body, person
from vader3d.data.making.raycast import embree_scene, pixel_directions, render_surface
from vader3d.data.making.surface import Surface
from vader3d.data.motion import composed
from vader3d.data.part_poses import KIND, beside
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import DISTANCE, FRONT_DEGREES, Cameras, look_at, orbit_cameras
from vader3d.geometry.skinning import inverse
from vader3d.snapshots import load_snapshot, read_header, save_snapshot

EDITION = 1  # rises whenever the same seed gives other clips
NOVEL_YAWS = (-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)  # degrees that novel views of a judged frame are turned by
SPREAD = {"head": (13.0, 6.0, 4.0), "torso": (7.0, 2.5, 2.0)}  # degrees of yaw, pitch, roll
TAILS = 5  # degrees of freedom of a clip's liveliness: most sit still, some turn far
FARTHEST_DEGREES = 60.0
RAYS_PER_SIDE = 3
SURFACE_POINTS = 2048
NOTHING = 255  # part of a pixel that shows nothing

Subject = Callable[[np.random.Generator], tuple[Bust, str, dict[str, str]]]


class Clip(NamedTuple):
    """A person, who moves before cameras [F]; `judged` is the frame whose truth is kept whole."""

    bust: Bust
    poses: list[BustPose]
    cameras: Cameras
    judged: int
    record: ObjectRecord


def novel_path(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.novel.zip")


def read_truth(archive: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """What `prepare_heads` knows of N clips of F frames, and the names of the K parts. ValueError: no such file.

    poses [N, F, K, 3, 4], from the part at rest to the camera; cameras [N, F, 4, 4], world_from_camera; surface
    [N, F, P, 3], float16, places on the body in the world, the same ones in all frames; seen [N, P], which of them the
    clip shows; judged [N], the frame that the rest is of; depth [N, H, W], along the camera's axis, 0 where nothing is;
    parts [N, H, W], the part's number, 255 where nothing is.
    """
    tensors, header = load_snapshot(beside(archive), KIND)
    if "seen" not in tensors:
        raise ValueError(f"{beside(archive)}: wanted where surfaces are; got an older file; make it anew")
    return tensors, tuple(header["parts"])


def is_new_take(archive: Path) -> bool:
    """Whether an archive has other clips of people than the first: names then tell who they are."""
    return bool(read_header(beside(archive), KIND).get("take"))


def prepare_heads(
    output: Path,
    *,
    count: int = 300,
    frames: int = 24,
    seed: int = 0,
    take: int = 0,
    size: int = 64,
    processes: int = 2,
    subject: Subject = person,
) -> PrepareReport:
    """`count` clips of `frames` pictures, each of another person, into the archive `output`, truth beside it.

    take: of the same people how many clips come before. The archive's cameras say how pictures are projected, not from
    where: all stand in front. ImportError: no `anny`.
    """
    if subject is person:
        body()  # once, before each process wants it
    given = {person_name(seed, index): (seed, index, take, frames, size, subject) for index in range(count)}
    title = f"heads: {count} clips, series {seed}, edition {EDITION}{f', take {take}' if take else ''}"
    novel = Output(novel_path(output), f"{title}, novel views", (size, size))
    convert([Job(name, novel_views, of) for name, of in given.items()], novel, processes=processes)
    report = convert(
        [Job(name, clip_views, of) for name, of in given.items()],
        Output(output, title, (size, size)),
        processes=processes,
    )
    names = [record.name for record in Archive(output).records]
    truths = [truth_of(*given[name]) for name in names]
    header = {"kind": KIND, "parts": PARTS, "names": names, "novel_yaws": NOVEL_YAWS, "edition": EDITION, "take": take}
    save_snapshot(beside(output), {key: torch.stack([truth[key] for truth in truths]) for key in truths[0]}, header)
    return report


def person_name(seed: int, index: int) -> str:
    """The same in all takes, and another's in none."""
    return f"head-{seed}-{index:05d}" if seed else f"head-{index:05d}"


def clip_of(seed: int, index: int, take: int, frames: int, size: int, subject: Subject) -> Clip:
    """Clip `index` of a seed, ever the same; others of the same person are other takes."""
    rng = np.random.default_rng([seed, index])
    bust, caption, tags = subject(rng)
    if take:
        rng = np.random.default_rng([seed, index, take])
    record = ObjectRecord(
        person_name(seed, index),
        (Caption(caption, "exact"),),
        category="person",
        tags=tuple(f"{key}:{value}" for key, value in tags.items()),
        creator="vader3d",
        licence="CC0-1.0 https://creativecommons.org/publicdomain/zero/1.0/",
        source=f"vader3d heads, edition {EDITION}, series {seed}, clip {index}{f', take {take}' if take else ''}",
    )
    poses, cameras = moves(rng, frames, len(bust.expressions)), handheld(rng, frames, size)
    return Clip(bust, poses, cameras, (heldout_views(frames) or [0])[0], record)


def clip_views(seed: int, index: int, take: int, frames: int, size: int, subject: Subject) -> PreparedObject:
    """The pictures of a clip; its cameras say how they are projected, and all stand in front."""
    clip = clip_of(seed, index, take, frames, size, subject)
    surfaces = [posed_surface(clip.bust, pose)[0] for pose in clip.poses]
    pictures = [
        render_surface(surface, clip.cameras[number : number + 1], rays_per_side=RAYS_PER_SIDE)[0]
        for number, surface in enumerate(surfaces)
    ]
    still = orbit_cameras(torch.full((frames,), FRONT_DEGREES), torch.zeros(frames), size=size)
    return PreparedObject(clip.record, np.stack(pictures), still)


def novel_views(seed: int, index: int, take: int, frames: int, size: int, subject: Subject) -> PreparedObject:
    """The judged frame of a clip from its sides."""
    clip = clip_of(seed, index, take, frames, size, subject)
    surface, _ = posed_surface(clip.bust, clip.poses[clip.judged])
    turned = clip.cameras[clip.judged : clip.judged + 1].turned(torch.tensor(NOVEL_YAWS))
    turned = replace(turned, intrinsics=turned.intrinsics.expand(len(NOVEL_YAWS), 4))
    return PreparedObject(clip.record, render_surface(surface, turned, rays_per_side=RAYS_PER_SIDE), turned)


def truth_of(seed: int, index: int, take: int, frames: int, size: int, subject: Subject) -> dict[str, Tensor]:
    """What `read_truth` gives of one clip."""
    clip = clip_of(seed, index, take, frames, size, subject)
    world = torch.from_numpy(np.stack([part_poses(clip.bust, pose)[: len(PARTS)] for pose in clip.poses])).float()
    truth = {
        "cameras": clip.cameras.world_from_camera,
        "judged": torch.tensor(clip.judged),
        "poses": composed(inverse(clip.cameras.world_from_camera[:, None, :3]), world),
    } | places_on(clip)
    surface, parts = posed_surface(clip.bust, clip.poses[clip.judged])
    return truth | geometry_of(surface, parts, clip.cameras[clip.judged])


def places_on(clip: Clip) -> dict[str, Tensor]:
    """Where places on a person, even by area, are in each frame [F, P, 3], and whether the clip shows them [P]."""
    surfaces = [posed_surface(clip.bust, pose)[0].triangles for pose in clip.poses]
    rng, corners = np.random.default_rng(0), surfaces[clip.judged]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    faces = rng.choice(len(areas), SURFACE_POINTS, p=areas / areas.sum())
    shares = rng.dirichlet(np.ones(3), SURFACE_POINTS)  # even over a triangle
    places = np.stack([np.einsum("pc,pcd->pd", shares, triangles[faces]) for triangles in surfaces])
    shown = np.zeros(len(areas), bool)
    for number, triangles in enumerate(surfaces):
        hit = first_hits(triangles, clip.cameras[number])["primID"]
        shown[hit[hit >= 0]] = True
    return {"surface": torch.from_numpy(places).half(), "seen": torch.from_numpy(shown[faces])}


def wandering(rng: np.random.Generator, frames: int, spread: tuple[float, ...]) -> np.ndarray:
    """[F, len(spread)]: smooth over the frames, of these standard deviations over all clips."""
    noise = rng.normal(size=(3 * frames, len(spread)))
    width = frames / 8
    kernel = np.exp(-0.5 * (np.arange(-frames, frames + 1) / width) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    smooth = np.stack([np.convolve(row, kernel, "same") for row in noise.T], 1)[frames : 2 * frames]
    return smooth * np.array(spread)


def moves(rng: np.random.Generator, frames: int, expressions: int) -> list[BustPose]:
    """How somebody sits and talks: yaw of the head about N(0, 15) degrees with tails, the torso less."""
    lively = np.sqrt(TAILS / rng.chisquare(TAILS)) * math.sqrt((TAILS - 2) / TAILS)
    head, torso = (
        np.deg2rad((lively * wandering(rng, frames, SPREAD[part])).clip(-FARTHEST_DEGREES, FARTHEST_DEGREES))
        for part in PARTS
    )
    shifts, said = wandering(rng, frames, (0.03,) * 3), wandering(rng, frames, (0.4,) * expressions).clip(0, 1)
    return [BustPose(*each) for each in zip(torso, head, shifts, said, strict=True)]


def handheld(rng: np.random.Generator, frames: int, size: int) -> Cameras:
    """Cameras [F] before somebody, about 4 away, that sway a little."""
    level = rng.uniform(-3, 8)
    azimuths, elevations = (wandering(rng, frames, (3.0, 1.5)) + np.array([FRONT_DEGREES, level])).T
    sway, distance = torch.from_numpy(wandering(rng, frames, (0.015,) * 3)).float(), DISTANCE * rng.normal(1, 0.03)
    cameras = orbit_cameras(torch.from_numpy(azimuths).float(), torch.from_numpy(elevations).float(), size=size)
    eyes = cameras.centres * (distance / DISTANCE)
    return replace(cameras, world_from_camera=look_at(eyes + sway, sway / 2, torch.tensor([0.0, 0, 1])))


def first_hits(triangles: np.ndarray, camera: Cameras) -> dict[str, np.ndarray]:
    """What embree says of the rays through the middles of a camera's pixels."""
    directions = pixel_directions(camera, 0, camera.width, 0, camera.height, 1)
    origins = np.tile(camera.centres.numpy().astype(np.float32), (len(directions), 1))
    return embree_scene(triangles).run(origins, directions, query="INTERSECT", output=True)


def geometry_of(surface: Surface, parts: np.ndarray, camera: Cameras) -> dict[str, Tensor]:
    """Depth along the camera's axis [H, W], 0 where nothing is, and the part that each pixel's middle shows [H, W]."""
    hits = first_hits(surface.triangles, camera)
    met = hits["primID"] >= 0
    depth = np.where(met, hits["tfar"], 0).reshape(camera.height, camera.width)
    shown = np.where(met, parts[hits["primID"]], NOTHING).reshape(camera.height, camera.width)
    return {"depth": torch.from_numpy(depth).float(), "parts": torch.from_numpy(shown).to(torch.uint8)}
