"""Inspection finds the faults that cost trainings, and none where there is none."""

import errno
import json
import re
from html import unescape

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from tiny import THINGS, Box, Sphere, pictures_of, ring

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.inspection.doubts import colour_doubts
from vader3d.data.inspection.faults import FLICKERS, inspect_archive, object_faults
from vader3d.data.inspection.hull import explained_share, visual_hull
from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import OBJECT_RADIUS, surface_from_scene
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.data.named import open_archive
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras, unposed_cameras


@pytest.fixture(scope="module")
def good() -> ObjectViews:
    """A lopsided thing: a low box with a tower on one corner."""
    tower = trimesh.creation.box((0.3, 0.3, 0.9)).apply_translation((0.35, 0.25, 0.45))
    mesh = trimesh.util.concatenate([trimesh.creation.box((1.0, 0.8, 0.3)), tower])
    cameras = spread_cameras(8, size=32, seed=1)
    return ObjectViews(render_surface(surface_from_scene(mesh).framed(), cameras, rays_per_side=2), cameras)


def turned(views: ObjectViews, signs) -> ObjectViews:
    matrices = views.cameras.world_from_camera.clone()
    matrices[:, :3, :3] *= torch.tensor(signs)
    return views._replace(cameras=Cameras(matrices, views.cameras.intrinsics, 32, 32))


def painted(views: ObjectViews, change) -> ObjectViews:
    pictures = views.pictures.copy()
    change(pictures)
    return views._replace(pictures=pictures)


def moved(views: ObjectViews, scale: float) -> ObjectViews:
    matrices = views.cameras.world_from_camera.clone()
    matrices[:, :3, 3] *= scale
    return views._replace(cameras=Cameras(matrices, views.cameras.intrinsics, 32, 32))


def test_a_good_object_has_no_fault(good):
    assert object_faults(good) == {}


def dimmed(pictures):
    pictures[..., 3] //= 255


def lifted(pictures):
    """As matting tools leave it: a little alpha everywhere."""
    pictures[..., 3] = np.maximum(pictures[..., 3], 3)


FAULTS = {
    "OpenGL axes": (lambda v: turned(v, (1.0, -1, -1)), "looks past the cube", range(8)),
    "upside down": (lambda v: turned(v, (-1.0, -1, 1)), "no one shape explains", []),
    "cameras inside": (lambda v: moved(v, 0.1), "stands inside the cube", range(8)),
    "scale too small": (lambda v: moved(v, 3.0), "reaches out of the cube", range(8)),
    "empty masks": (lambda v: painted(v, lambda p: p[2].fill(0)), "nothing to be seen (no alpha of 128 or more)", [2]),
    "masks of 0 and 1": (lambda v: painted(v, dimmed), "nothing to be seen (no alpha of 128 or more)", range(8)),
    "faint alpha": (lambda v: painted(v, lifted), "faint alpha, below 32, over the background", range(8)),
    "faint alpha upside down": (lambda v: turned(painted(v, lifted), (-1.0, -1, 1)), "no one shape explains", []),
    "a cut mask": (
        lambda v: painted(v, lambda p: p[5, 16:, :, 3].fill(0)),
        "the mask is unlike those of the other views",
        [5],
    ),
    "no masks": (lambda v: painted(v, lambda p: p[..., 3].fill(255)), "no background", range(8)),
    "cut": (lambda v: painted(v, lambda p: p[4, 0, 10:20, 3].fill(255)), "touches the border", [4]),
    "dark": (lambda v: painted(v, lambda p: p[..., :3].fill(9)), "very dark: mean 9 of 255", []),
    "one view": (lambda v: ObjectViews(v.pictures[:1], v.cameras[:1]), "one view only", []),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault, good):
    spoil, message, numbers = FAULTS[fault]
    found = object_faults(spoil(good))
    assert [*numbers] in [views for phrase, views in found.items() if message in phrase], found


@pytest.fixture(scope="module")
def ball() -> ObjectViews:
    """A ball of many patches: silhouettes are alike from everywhere, colours are not."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    patches = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3))
    x, y, z = ((mesh.triangles_center + 1) * 1.99).astype(int).T
    mesh.visual.face_colors = patches[x, y, z]
    cameras = spread_cameras(12, size=64, seed=1)
    return ObjectViews(render_surface(surface_from_scene(mesh).framed(), cameras, rays_per_side=2), cameras)


def focused(views: ObjectViews, factor: float) -> ObjectViews:
    lenses = views.cameras.intrinsics * torch.tensor([factor, factor, 1, 1])
    return views._replace(cameras=Cameras(views.cameras.world_from_camera, lenses, 64, 64))


def stood_on_its_head(views: ObjectViews) -> ObjectViews:
    matrices = views.cameras.world_from_camera @ torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    return views._replace(cameras=Cameras(matrices, views.cameras.intrinsics, 64, 64))


def shuffled(views: ObjectViews) -> ObjectViews:
    return views._replace(pictures=views.pictures[np.random.default_rng(3).permutation(12)])


DOUBTS = {
    "focal length too short": (lambda v: focused(v, 0.5), "colours agree better with focal lengths of 2 times these"),
    "focal length too long": (lambda v: focused(v, 2.0), "colours agree better with focal lengths of 0.5 times these"),
    "upside down": (stood_on_its_head, "colours agree better with pictures turned by 180 degrees"),
    "shuffled": (shuffled, "colours agree no better than those of shuffled pictures"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_colours_tell_what_silhouettes_do_not(doubt, ball):
    spoil, message = DOUBTS[doubt]
    assert any(message in found for found in colour_doubts(spoil(ball))), colour_doubts(spoil(ball))


def test_colours_of_good_objects_and_of_plain_ones_leave_no_doubt(good, ball):
    assert colour_doubts(ball) == []
    assert colour_doubts(good) == []
    assert colour_doubts(painted(stood_on_its_head(ball), lambda p: p[..., :3].fill(90))) == []


def test_light_and_shade_of_a_plain_box_leave_no_doubt():
    cameras = spread_cameras(24, size=128, seed=3)
    box = surface_from_scene(trimesh.creation.box((2, 2, 2))).framed()
    views = ObjectViews(render_surface(box, cameras, rays_per_side=2), cameras)
    assert colour_doubts(views) == []


def test_inspection_asks_for_colours(ball, tmp_path):
    with ArchiveWriter(tmp_path / "a.zip", title="things", resolution=(64, 64)) as writer:
        writer.add(PreparedObject(ObjectRecord("ball", (Caption("a ball"),)), *shuffled(ball)))
    (problem,) = inspect_archive(open_archive(tmp_path / "a.zip"), tmp_path / "look").problems
    assert str(problem).startswith("ball: colours agree no better than")


def test_a_few_cut_masks_are_told_from_wrong_cameras(good):
    def cut(views):
        alpha = views.pictures.copy()
        middle = int(alpha[3, ..., 3].any(0).nonzero()[0].mean())
        alpha[3, :, middle:, 3] = 0
        return views._replace(pictures=alpha)

    assert object_faults(cut(good)) == {"the mask is unlike those of the other views": [3]}


@pytest.fixture(scope="module")
def often() -> ObjectViews:
    """A lopsided thing in the middle of 24 pictures."""
    cameras = ring(24, 48)
    thing = (Box((0.2, 0.6, 0.3), half=(0.7, 0.3, 0.25)), Sphere((0.9, 0.2, 0.1), (0.4, 0.2, 0.4), 0.35))
    return ObjectViews(pictures_of(thing, cameras), cameras)


def blotted(views: ObjectViews, numbers, *, alpha: int) -> ObjectViews:
    """The left half of each of these masks away (alpha 0), or a spot in a corner there (255)."""
    pictures = views.pictures.copy()
    for view in numbers:
        middle = int(np.nonzero(pictures[view, ..., 3])[1].mean())
        spot = np.s_[:, :middle] if alpha == 0 else np.s_[2:12, 2:12]
        pictures[view, ..., 3][spot] = alpha
    return views._replace(pictures=pictures)


@pytest.mark.parametrize(("alpha", "numbers"), [(0, [2, 5, 11, 12, 20]), (255, [3, 4, 9, 17])])
def test_masks_that_flicker_are_told_from_wrong_cameras(often, alpha, numbers):
    spoilt = blotted(often, numbers, alpha=alpha)
    views = object_faults(spoilt)[FLICKERS]
    assert len({*views} & {*numbers}) >= len(numbers) - 1
    assert len({*views} - {*numbers}) <= 1
    assert object_faults(often) == {}


def test_wrong_cameras_are_not_called_flickering(often):
    rng = np.random.default_rng(1)
    (phrase,) = object_faults(often._replace(pictures=often.pictures[rng.permutation(24)]))
    assert phrase.startswith("no one shape explains")


def test_the_hull_of_right_cameras_holds_the_object_and_little_else(good):
    hull = visual_hull(good, cells=32)
    unframed = np.linalg.norm([0.5, 0.4, 0.525]) / OBJECT_RADIUS
    z, y, x = (grid * unframed for grid in np.meshgrid(*[(np.arange(32) + 0.5) / 16 - 1] * 3, indexing="ij"))
    z = z + 0.375
    inside = (abs(x) < 0.5) & (abs(y) < 0.4) & (abs(z) < 0.15)
    inside |= (abs(x - 0.35) < 0.15) & (abs(y - 0.25) < 0.15) & (abs(z - 0.45) < 0.45)
    assert hull[inside].all()
    assert hull.sum() < 4 * inside.sum()
    assert explained_share(good, hull) > 0.99


def test_the_report_counts_and_its_files_can_be_opened(good, tmp_path):
    with ArchiveWriter(tmp_path / "a.zip", title="things <1>", resolution=(32, 32)) as writer:
        for name in ("good", "twin </script>".replace("/", "|")):
            writer.add(PreparedObject(ObjectRecord(name, (Caption("a thing"),), "thing"), *good))
    report = inspect_archive(open_archive(tmp_path / "a.zip"), tmp_path / "look")
    assert (report.objects, report.views, report.categories) == (2, 16, {"thing": 2})
    assert [*map(str, report.problems)] == ["twin <|script>: the picture repeats one of good in 8 of 8 views (e.g. 0)"]
    assert json.loads((tmp_path / "look" / "report.json").read_text("utf-8")) == report.facts()
    (problem,) = report.facts()["problems"]
    assert problem == {
        "object": "twin <|script>",
        "fault": "the picture repeats one of good",
        "views": [*range(8)],
        "all_views": 8,
    }
    assert report.facts()["objects_with_captions"] == 2
    assert "2 objects, 16 views of 32 x 32 px" in str(report)
    with Image.open(tmp_path / "look" / "contact_sheet.png") as sheet:
        assert sheet.size == (4 * 32, 2 * 32)
    page = (tmp_path / "look" / "cameras.html").read_text("utf-8")
    assert "things &lt;1&gt;" in page
    assert page.count("<script") == page.count("</script>") == 2
    scenes = json.loads(page.split('id="scenes">')[1].split("</script>")[0])
    assert [(scene["name"], len(scene["cameras"])) for scene in scenes] == [("good", 8), ("twin <|script>", 8)]
    assert "default-src 'none'" in unescape(page)
    assert not re.search(r"(src|href)=.?https?:", page)


def test_a_full_disk_is_one_error_that_names_the_file(good, tmp_path, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with ArchiveWriter(tmp_path / "a.zip", title="things", resolution=(32, 32)) as writer:
        writer.add(PreparedObject(ObjectRecord("good", (Caption("a thing"),)), *good))
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match=r"could not write .*contact_sheet\.png: No space left on device"):
        inspect_archive(open_archive(tmp_path / "a.zip"), tmp_path / "look")


def test_objects_without_cameras_are_counted_and_only_their_pictures_judged(tmp_path):
    cameras = unposed_cameras(3, size=24)
    with ArchiveWriter(tmp_path / "clips.zip", title="clips", resolution=(24, 24)) as writer:
        for name, thing in THINGS.items():
            pictures = pictures_of(thing, ring(3, 24))
            pictures[1] = 0 if name == "blue box" else pictures[1]
            writer.add(PreparedObject(ObjectRecord(name), pictures, cameras))
    report = inspect_archive(open_archive(tmp_path / "clips.zip"), tmp_path / "look")
    assert report.unposed == 4
    assert "4 objects without cameras" in str(report)
    assert [str(problem) for problem in report.problems if "repeats" not in problem.fault] == [
        "blue box: nothing to be seen (no alpha of 128 or more) in 1 of 3 views (e.g. 1)"
    ]
