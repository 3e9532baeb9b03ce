"""Counts, pictures, cameras and faults of an archive."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vader3d.captions import WEAK
from vader3d.data.archive.format import ArchiveError, ObjectRecord, ObjectViews
from vader3d.data.archive.splits import heldout_views
from vader3d.data.dataset import DataSet, none_readable
from vader3d.data.inspection.camera_plot import camera_plot
from vader3d.data.inspection.doubts import colour_doubts
from vader3d.data.inspection.flicker import EXPLAINED, odd_masks
from vader3d.data.inspection.looks import contact_row, outlined_square, save_sheet
from vader3d.files import write_text
from vader3d.geometry.placement import blind_views, inner_views
from vader3d.geometry.rays import cube_crossing

DARK, OUTSIDE = 24, 0.02  # mean of 255; share of a silhouette
FLICKERS = "the mask flickers: parts that other views have come and go"
FAINT, FAINT_SHARE = 32, 0.2  # alpha below that shows nothing and is no background either; share of the background
DOUBTED_OBJECTS = 24  # evenly chosen: are asked about their colours, which takes a second each
SHEET_OBJECTS, PLOTTED_OBJECTS = 48, 12
REPORT = "report.json"


@dataclass(frozen=True)
class Problem:
    """A fault of an object, "" where nobody knows which; of some of its views, by their numbers, or of all it has."""

    object: str
    fault: str
    views: tuple[int, ...] = ()
    all_views: int = 0

    @property
    def sentence(self) -> str:
        where = f" in {len(self.views)} of {self.all_views} views (e.g. {self.views[0]})" if self.views else ""
        return self.fault + where

    def __str__(self) -> str:
        return f"{self.object}: {self.sentence}" if self.object else self.sentence


@dataclass(frozen=True)
class Look:
    """An object as a page shows it: its record, its faults, and some views with their masks' outlines [H, W, 3]."""

    record: ObjectRecord
    faults: tuple[str, ...]
    picture: np.ndarray


@dataclass
class InspectionReport:
    """What `inspect_archive` found: `problems` in the objects' order; `looks` of faulty objects, then of others."""

    title: str
    objects: int
    views: int
    resolution: tuple[int, int]
    categories: dict[str, int]
    captioned: int
    unposed: int
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def contact_sheet(self) -> Path:
        return self.folder / "contact_sheet.png"

    @property
    def camera_plot(self) -> Path:
        return self.folder / "cameras.html"

    def facts(self) -> dict[str, Any]:
        """The report as plain values, for programs."""
        height, width = self.resolution
        facts = {"title": self.title, "objects": self.objects, "views": self.views, "width": width, "height": height}
        return {
            **facts,
            "categories": self.categories,
            "objects_with_captions": self.captioned,
            "objects_without_cameras": self.unposed,
            "problems": [{**asdict(problem), "views": list(problem.views)} for problem in self.problems],
        }

    def __str__(self) -> str:
        height, width = self.resolution
        lines = [f"{self.title}: {self.objects} objects, {self.views} views of {width} x {height} px"]
        lines += [f"  {count:5d} {name or '(no category)'}" for name, count in self.categories.items()]
        if self.unposed:
            lines += [f"{self.unposed} objects without cameras: poses are learned (poses.source=keypoints)"]
        lines += [f"contact sheet: {self.contact_sheet}", f"cameras in 3D: {self.camera_plot}"]
        lines += [f"{len(self.problems)} problems" + (":" if self.problems else " found")]
        return "\n".join(lines + [f"  {problem}" for problem in self.problems])


def inspect_archive(archive: DataSet, output: Path) -> InspectionReport:
    """Read all of an archive and write contact_sheet.png, cameras.html and report.json into the folder `output`.

    Faults looked for: objects that cannot be read, masks that are empty, full, cut by the border, or that flicker,
    cameras in the cube or looking past it, silhouettes whose rays miss the cube, silhouettes that no one shape explains
    (wrong camera axes) or that a few masks alone spoil, faint alpha, pictures that repeat, objects too dark to be seen,
    and of some objects colours that differ from view to view (focal lengths, poses that are shuffled or upside down).
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    shown: list[np.ndarray] = []
    bad: list[Look] = []
    good: list[Look] = []
    plotted: list[tuple[str, ObjectViews, list[int]]] = []
    first_places: dict[bytes, str] = {}
    records: list[ObjectRecord] = []
    doubted = {int(index) for index in np.linspace(0, len(archive) - 1, DOUBTED_OBJECTS)}
    for index in range(len(archive)):
        try:
            record = archive.records[index]
            records.append(record)
            views = archive.read(index)
        except ArchiveError as error:
            problems.append(Problem("", str(error)))
            continue
        faults = object_faults(views)
        if not faults and record.posed and len(views.pictures) > 3 and index in doubted:
            faults = {doubt: [] for doubt in colour_doubts(views)}
        faults |= repeats(record, views, first_places)
        own = [Problem(record.name, fault, tuple(numbers), len(views.pictures)) for fault, numbers in faults.items()]
        problems += own
        if len(looks := bad if own else good) < SHEET_OBJECTS:
            worst = sorted({view for problem in own for view in problem.views})
            looks.append(Look(record, tuple(problem.sentence for problem in own), outlined_square(views, worst)))
        if len(shown) < SHEET_OBJECTS:
            shown.append(contact_row(views))
        if record.posed and len(plotted) < PLOTTED_OBJECTS:
            plotted.append((record.name, views, heldout_views(len(views.pictures))))
    if not shown:
        raise none_readable(archive, list(map(str, problems)))
    report = InspectionReport(
        title=archive.title,
        objects=len(archive),
        views=sum(record.views for record in records),
        resolution=archive.resolution,
        categories=dict(Counter(record.category for record in records).most_common()),
        captioned=sum(any(caption.source not in WEAK for caption in record.captions) for record in records),
        unposed=sum(not record.posed for record in records),
        folder=output,
        problems=problems,
        looks=[*bad, *good[: SHEET_OBJECTS - len(bad)]],
    )
    save_sheet(shown, report.contact_sheet)
    write_text(report.camera_plot, camera_plot(archive.title, plotted))
    write_text(output / REPORT, json.dumps(report.facts(), indent=1, ensure_ascii=False))
    return report


def repeats(record: ObjectRecord, views: ObjectViews, first_places: dict[bytes, str]) -> dict[str, list[int]]:
    """The views that were there before, by what is said of them; `first_places` remembers whose pictures were first."""
    found: dict[str, list[int]] = {}
    own: set[bytes] = set()
    for view, picture in enumerate(views.pictures):
        digest = hashlib.sha256(picture.tobytes()).digest()
        first = first_places.setdefault(digest, record.name)
        if (first != record.name or digest in own) and picture[..., 3].any():
            other = "its own" if first == record.name else first
            found.setdefault(f"the picture repeats one of {other}", []).append(view)
        own.add(digest)
    return found


def object_faults(views: ObjectViews) -> dict[str, list[int]]:
    """What is wrong with one object's pictures and cameras: phrases with the views they are of, none: with all."""
    alpha, faults = views.pictures[..., 3], dict[str, list[int]]()
    solid = alpha >= 128

    def note(bad: Iterable[int], what: str) -> None:
        numbers = [int(view) for view in bad]
        if numbers:
            faults[what] = numbers

    note(np.flatnonzero(~solid.any((1, 2))), "nothing to be seen (no alpha of 128 or more)")
    faint = ((alpha > 0) & (alpha < FAINT)).sum((1, 2)) > FAINT_SHARE * (~solid).sum((1, 2)).clip(1)
    note(np.flatnonzero(faint & solid.any((1, 2))), f"faint alpha, below {FAINT}, over the background")
    note(np.flatnonzero((alpha == 255).all((1, 2))), "no background, the mask covers all")
    rim = np.concatenate([solid[:, 0], solid[:, -1], solid[:, :, 0], solid[:, :, -1]], 1)
    note(np.flatnonzero(rim.any(1) & ~solid.all((1, 2))), "the object touches the border")
    if views.cameras.posed:
        note(inner_views(views.cameras), "the camera stands inside the cube")
        note(blind_views(views.cameras), "the camera looks past the cube")
    visible = views.pictures[..., :3][solid]
    if len(visible) and visible.mean() < DARK:
        faults[f"very dark: mean {visible.mean():.0f} of 255"] = []
    if len(alpha) == 1:
        faults["one view only: nothing tells what the other sides look like, and none can be held out"] = []
    if views.cameras.posed and len(alpha) > 1 and all(fault.startswith("faint") for fault in faults):
        note(np.flatnonzero(outside_share(views) > OUTSIDE), "the object reaches out of the cube")
        odd, share = odd_masks(views)
        note(odd, FLICKERS if len(odd) > len(alpha) // 8 else "the mask is unlike those of the other views")
        if share < EXPLAINED:
            faults[f"no one shape explains more than {share:.0%} of the silhouettes: wrong camera axes?"] = []
    return faults


def outside_share(views: ObjectViews) -> np.ndarray:
    """For each view, the share of its silhouette whose rays miss the cube."""
    near, far = cube_crossing(*views.cameras[:, None].rays())
    solid = torch.from_numpy(views.pictures[..., 3] >= 128).flatten(1)
    return ((far <= near) & solid).sum(1).div(solid.sum(1).clamp_min(1)).numpy()
