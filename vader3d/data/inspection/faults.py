"""Counts, pictures, cameras and faults of an archive."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vader3d.data.archive.format import ArchiveError, ObjectRecord, ObjectViews
from vader3d.data.archive.splits import heldout_views
from vader3d.data.dataset import DataSet, none_readable
from vader3d.data.inspection.camera_plot import camera_plot
from vader3d.data.inspection.doubts import colour_doubts
from vader3d.data.inspection.hull import agreement, explained_share, visual_hull
from vader3d.files import write_text, write_whole
from vader3d.geometry.placement import blind_views, inner_views
from vader3d.geometry.rays import cube_crossing

DARK, EXPLAINED, OUTSIDE, ALIKE = 24, 0.95, 0.02, 0.6  # mean of 255; shares
FAINT, FAINT_SHARE = 32, 0.2  # alpha below that shows nothing and is no background either; share of the background
DOUBTED_OBJECTS = 24  # evenly chosen: are asked about their colours, which takes a second each
SHEET_OBJECTS, SHEET_VIEWS, PLOTTED_OBJECTS = 48, 4, 12
GREY = 96  # behind the contact sheet's objects, so that black ones show


@dataclass
class InspectionReport:
    """What `inspect_archive` found; `problems` has one line a fault, worst kinds first by number."""

    title: str
    objects: int
    views: int
    resolution: tuple[int, int]
    categories: dict[str, int]
    contact_sheet: Path
    camera_plot: Path
    unposed: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        height, width = self.resolution
        lines = [f"{self.title}: {self.objects} objects, {self.views} views of {width} x {height} px"]
        lines += [f"  {count:5d} {name or '(no category)'}" for name, count in self.categories.items()]
        lines += [f"{self.unposed} objects without cameras: poses are learned (poses.source=keypoints)"] * bool(
            self.unposed
        )
        lines += [f"contact sheet: {self.contact_sheet}", f"cameras in 3D: {self.camera_plot}"]
        lines += [f"{len(self.problems)} problems" + (":" if self.problems else " found")]
        return "\n".join(lines + [f"  {problem}" for problem in self.problems])


def inspect_archive(archive: DataSet, output: Path) -> InspectionReport:
    """Read all of an archive and write `contact_sheet.png` and `cameras.html` into the folder `output`.

    Faults looked for: objects that cannot be read, empty masks, silhouettes that picture borders cut, cameras in the
    cube or looking past it, silhouettes whose rays miss the cube, silhouettes that no one shape explains (wrong
    camera axes) or that a few masks alone spoil, faint alpha, pictures that repeat, objects too dark to be seen, and of
    some objects colours that differ from view to view (focal lengths, poses that are shuffled or upside down).
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    shown: list[np.ndarray] = []
    plotted: list[tuple[str, ObjectViews, list[int]]] = []
    first_places: dict[bytes, tuple[str, int]] = {}
    records: list[ObjectRecord] = []
    doubted = {int(index) for index in np.linspace(0, len(archive) - 1, DOUBTED_OBJECTS)}
    for index in range(len(archive)):
        try:
            record = archive.records[index]
            records.append(record)
            views = archive.read(index)
        except ArchiveError as error:
            problems.append(str(error))
            continue
        faults = object_faults(views)
        if not faults and record.posed and len(views.pictures) > 3 and index in doubted:
            faults = colour_doubts(views)
        problems += [f"{record.name}: {fault}" for fault in faults]
        for view, picture in enumerate(views.pictures):
            place = first_places.setdefault(hashlib.sha256(picture.tobytes()).digest(), (record.name, view))
            if place != (record.name, view) and picture[..., 3].any():
                problems.append(f"{record.name}: view {view} repeats view {place[1]} of {place[0]}")
        if len(shown) < SHEET_OBJECTS:
            shown.append(contact_row(views))
        if record.posed and len(plotted) < PLOTTED_OBJECTS:
            plotted.append((record.name, views, heldout_views(len(views.pictures))))
    if not shown:
        raise none_readable(archive, problems)
    sheet, plot = output / "contact_sheet.png", output / "cameras.html"
    save_sheet(shown, sheet)
    write_text(plot, camera_plot(archive.title, plotted))
    return InspectionReport(
        title=archive.title,
        objects=len(archive),
        views=sum(record.views for record in records),
        resolution=archive.resolution,
        categories=dict(Counter(record.category for record in records).most_common()),
        contact_sheet=sheet,
        camera_plot=plot,
        unposed=sum(not record.posed for record in records),
        problems=problems,
    )


def object_faults(views: ObjectViews) -> list[str]:
    """What is wrong with one object's pictures and cameras, a phrase each; empty when nothing is."""
    alpha, faults = views.pictures[..., 3], []
    solid = alpha >= 128

    def note(bad: Iterable[int], what: str) -> None:
        numbers = [int(view) for view in bad]
        if numbers:
            faults.append(f"{what} in {len(numbers)} of {len(alpha)} views (e.g. {numbers[0]})")

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
        faults.append(f"very dark: mean {visible.mean():.0f} of 255")
    if len(alpha) == 1:
        faults.append("one view only: nothing tells what the other sides look like, and none can be held out")
    if views.cameras.posed and len(alpha) > 1 and all(fault.startswith("faint") for fault in faults):
        note(np.flatnonzero(outside_share(views) > OUTSIDE), "the object reaches out of the cube")
        share = explained_share(views, visual_hull(views))
        odd = odd_masks(views) if share < EXPLAINED else []
        note(odd, "the mask is unlike those of the other views")
        if share < EXPLAINED and not odd:
            faults.append(f"no one shape explains more than {share:.0%} of the silhouettes: wrong camera axes?")
    return faults


def odd_masks(views: ObjectViews) -> list[int]:
    """Views whose masks alone spoil the shape that all others agree on: at most one in eight, else none."""
    most = len(views.pictures) // 8
    hull = visual_hull(views, misses=most)
    fits = np.array([agreement(views, view, hull) for view in range(len(views.pictures))])
    odd = np.flatnonzero(fits < ALIKE)
    rest = np.flatnonzero(fits >= ALIKE)
    if not 0 < len(odd) <= most:
        return []
    others = ObjectViews(views.pictures[rest], views.cameras[torch.from_numpy(rest)])
    return odd.tolist() if explained_share(others, visual_hull(others)) >= EXPLAINED else []


def outside_share(views: ObjectViews) -> np.ndarray:
    """For each view, the share of its silhouette whose rays miss the cube."""
    near, far = cube_crossing(*views.cameras[:, None].rays())
    solid = torch.from_numpy(views.pictures[..., 3] >= 128).flatten(1)
    return ((far <= near) & solid).sum(1).div(solid.sum(1).clamp_min(1)).numpy()


def contact_row(views: ObjectViews) -> np.ndarray:
    """A few views side by side on grey, uint8 [H, SHEET_VIEWS * W, 3]."""
    chosen = np.linspace(0, len(views.pictures) - 1, SHEET_VIEWS).round().astype(int)
    pictures = views.pictures[chosen].astype(np.float32)
    alpha = pictures[..., 3:] / 255
    return np.concatenate(np.rint(pictures[..., :3] * alpha + GREY * (1 - alpha)), 1).astype(np.uint8)


def save_sheet(rows: list[np.ndarray], path: Path) -> None:
    from PIL import Image

    columns = 4 if len(rows) > 8 else 1
    blank = np.full_like(rows[0], GREY)
    rows = rows + [blank] * (-len(rows) % columns)
    lines = [np.concatenate(rows[first : first + columns], 1) for first in range(0, len(rows), columns)]
    picture = Image.fromarray(np.concatenate(lines))
    write_whole(path, lambda temporary: picture.save(temporary, "PNG"))
