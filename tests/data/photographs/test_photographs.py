"""Folders of photographs become objects: with cameras that came along, or found; what fails is named."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from photographed import rotation_errors, table_session, wall_session, write_photos, write_posed_photos
from PIL import Image
from tiny import THINGS, Sphere, pictures_of, ring

from vader3d.cli.main import main
from vader3d.data.named import open_archive
from vader3d.data.photographs import objects, structure
from vader3d.data.photographs.objects import Photography, object_of
from vader3d.data.photographs.prepare import object_names, object_sources, prepare_photographs
from vader3d.data.reading.colmap_model import read_model
from vader3d.frozen.matting import Matting
from vader3d.geometry.cameras import Cameras

NAMES = ("blue box", "yellow tower")
needs_pycolmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="structure from motion needs pycolmap"
)


@pytest.fixture(scope="module")
def wall_photos(tmp_path_factory):
    """Two things before a grey wall, 12 photographs each."""
    folder = tmp_path_factory.mktemp("wall")
    for seed, name in enumerate(NAMES):
        write_posed_photos(folder / name, wall_session(THINGS[name], ring(12, 96), seed=seed))
    return folder


def prepared(source, tmp_path, **options):
    return prepare_photographs(source, tmp_path / "out.zip", Photography(size=48), Matting(), processes=1, **options)


def test_photographs_before_a_wall_become_objects(wall_photos, tmp_path):
    report = prepared(wall_photos, tmp_path)
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == list(NAMES)
    scores = []
    for number, name in enumerate(NAMES):
        pictures, cameras = archive.read(number)
        facts = report.facts[number]
        world = Cameras(cameras.world_from_camera.clone(), cameras.intrinsics, 48, 48)
        world.world_from_camera[:, :3, 3] = cameras.centres / facts["scale"] + torch.tensor(facts["offset"]).float()
        true = pictures_of(THINGS[name], world)[..., 3] >= 128  # the ring's rows are level: no turn
        found = pictures[..., 3] >= 128
        scores += [(a & b).sum() / (a | b).sum() for a, b in zip(found, true, strict=True)]
        extent = np.abs(np.argwhere(found)[:, 1:] - 23.5).max()
        assert 18 < extent < 24  # fills the picture, touches no border
    print(f"masks against truth: IoU {np.mean(scores):.3f}, least {min(scores):.3f}")
    assert np.mean(scores) >= 0.97
    assert "2 objects" in str(report)


def test_the_same_command_goes_on_with_the_masks_that_there_are(wall_photos, tmp_path, monkeypatch):
    prepared(wall_photos, tmp_path)
    before = (tmp_path / "out.zip").read_bytes()
    monkeypatch.setattr(Matting, "__call__", lambda *_: pytest.fail("made a mask again"))
    prepared(wall_photos, tmp_path)
    assert (tmp_path / "out.zip").read_bytes() == before
    monkeypatch.undo()
    (wall_photos / NAMES[0] / "images" / "IMG_0003.JPG").touch()
    monkeypatch.setattr(Matting, "__call__", lambda *_: np.zeros((96, 96), np.uint8))
    report = prepared(wall_photos, tmp_path)
    assert [facts["outcome"] for facts in report.facts] == ["broken", "posed"]


def test_a_broken_object_is_named_and_the_others_are_there(wall_photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    write_posed_photos(folder / "good", wall_session(THINGS["blue box"], ring(12, 96)))
    write_posed_photos(folder / "cut", wall_session(THINGS["blue box"], ring(12, 96)))
    next((folder / "cut" / "images").glob("*")).write_bytes(b"\xff\xd8 no picture")
    main(["prepare", "photos", str(folder), "--output", str(tmp_path / "my.zip"), "--size", "16", "--processes", "1"])
    said = capsys.readouterr().out
    assert "1 objects" in said
    assert "1 broken:\n  cut: " in said
    assert (tmp_path / "my.zip.photos" / "good" / "sheet.jpg").is_file()
    report = json.loads((tmp_path / "my.zip.photos" / "report.json").read_text())
    assert (report["posed"], report["broken"]) == (1, ["cut"])
    page = (tmp_path / "my.zip.photos" / "index.html").read_text()
    assert "good: posed" in page


def test_views_whose_masks_the_picture_cuts_are_left_out(tmp_path):
    cameras = ring(16, 96)
    aside = cameras.intrinsics.clone()
    aside[2, 2] -= 40
    shifted = Cameras(cameras.world_from_camera, aside, 96, 96)
    folder = write_posed_photos(tmp_path / "ball", wall_session((Sphere((0.8, 0.2, 0.1)),), shifted))
    document = json.loads((folder / "transforms.json").read_text())
    document["frames"][2]["cx"] = float(aside[2, 2])
    (folder / "transforms.json").write_text(json.dumps(document))
    made = object_of(folder, "ball", tmp_path / "room", Photography(size=32), Matting())
    assert len(made.pictures) == 15


def test_folders_clips_and_single_objects_are_found(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "many" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "many" / name / "1.jpg")
    (tmp_path / "many" / "c").mkdir()
    (tmp_path / "many" / "c" / "VID.MOV").write_bytes(b"")
    (tmp_path / "many" / "d.mp4").write_bytes(b"")
    (tmp_path / "many" / "._d.mp4").write_bytes(b"")
    (tmp_path / "many" / "empty").mkdir()
    names = [path.relative_to(tmp_path / "many").as_posix() for path in object_sources(tmp_path / "many")]
    assert names == ["a", "b", "c/VID.MOV", "d.mp4"]
    sources = object_sources(tmp_path / "many")
    assert object_names(sources, tmp_path / "many") == ["a", "b", "c", "d"]
    (tmp_path / "many" / "a.mp4").write_bytes(b"")
    again = object_names(object_sources(tmp_path / "many"), tmp_path / "many")
    assert again == ["a", "a.mp4", "b", "c", "d"]
    assert object_sources(tmp_path / "many" / "a") == [tmp_path / "many" / "a"]
    with pytest.raises(ValueError, match="wanted sub-folders of photographs, or clips"):
        object_sources(tmp_path / "many" / "empty")
    with pytest.raises(ValueError, match=r"got .*nowhere"):
        object_sources(tmp_path / "nowhere")


def test_live_photographs_are_no_clips(tmp_path):
    for name in ("IMG_1.JPG", "IMG_1.MOV", "IMG_2.JPG", "IMG_2.MOV"):
        (tmp_path / name).touch()
    assert object_sources(tmp_path) == [tmp_path]
    (tmp_path / "chair.mov").touch()
    assert object_sources(tmp_path) == [tmp_path / "chair.mov"]


def test_without_pycolmap_the_extra_is_named_before_any_work(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos" / "a", wall_session(THINGS["blue box"], ring(3, 32)))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pycolmap" else real(name))
    with pytest.raises(ImportError, match=r"pip install 'vader3d\[photos\]'"):
        prepared(tmp_path / "photos", tmp_path)
    with pytest.raises(ImportError, match="pycolmap: wanted"):
        structure.reconstruct(tmp_path, structure.Motion())


def played(monkeypatch, *results):
    """Structure from motion that gives these results, one after the other, and no model."""
    calls, waiting = [], list(results)

    def reconstruct(room, motion):
        calls.append(motion.masked)
        result = waiting.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(objects, "reconstruct", reconstruct)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return calls


def test_where_no_camera_is_found_frames_and_masks_are_kept(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos" / "a", wall_session(THINGS["blue box"], ring(8, 48)), masks=False)
    few = {"registered": 3, "error_px": 0.4, "points": 9}
    calls = played(monkeypatch, few, ValueError("cameras: none"))
    with pytest.raises(ValueError, match="wanted 60% of the frames registered, 6 at least; got 3 of 8; by masks alone"):
        prepared(tmp_path / "photos", tmp_path)
    assert calls == [False, True]
    room = tmp_path / "out.zip.photos"
    report = json.loads((room / "report.json").read_text())
    assert report["without_cameras"] == ["a"]
    assert len(list((room / "a" / "images").iterdir())) == len(list((room / "a" / "masks").iterdir())) == 8
    assert (room / "a" / "sheet.jpg").is_file()
    with pytest.raises(ValueError, match="got 3 of 8"):
        prepared(tmp_path / "photos", tmp_path)
    assert calls == [False, True]  # what failed is not tried again until photographs or gates change


def test_cameras_that_fit_badly_are_not_believed(tmp_path, monkeypatch):
    write_photos(tmp_path / "a", wall_session(THINGS["blue box"], ring(8, 48)), masks=False)
    played(monkeypatch, *[{"registered": 8, "error_px": 7.5, "points": 9}] * 2)
    with pytest.raises(ValueError, match=r"wanted a mean error of 2\.0 px; got 7\.50"):
        object_of(tmp_path / "a", "a", tmp_path / "room", Photography(), Matting())


def test_too_few_photographs_are_no_object(tmp_path):
    write_photos(tmp_path / "a", wall_session(THINGS["blue box"], ring(3, 48)))
    with pytest.raises(ValueError, match="wanted at least 6 that differ; got 3"):
        object_of(tmp_path / "a", "a", tmp_path / "room", Photography(), Matting())


def test_a_process_that_dies_costs_its_object_only(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (tmp_path / "images").mkdir()
    (tmp_path / "features.db-wal").touch()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(ValueError, match=r"cameras: wanted structure from motion; got exit code 1"):
        structure.reconstruct(tmp_path, structure.Motion())
    assert not (tmp_path / "features.db-wal").exists()


@needs_pycolmap
def test_unknown_cameras_are_found(tmp_path):
    session = table_session(0, views=14, height=192, width=256)
    write_photos(tmp_path / "photos" / "boxes", session)
    report = prepared(tmp_path / "photos", tmp_path)
    (facts,) = report.facts
    assert facts["outcome"] == "posed"
    images = read_model(tmp_path / "out.zip.photos" / "boxes" / "sparse" / "0")
    order = [int(image.name[:3]) for image in images]
    true = session.cameras.world_from_camera.numpy()[order]
    errors = rotation_errors(np.stack([image.world_from_camera for image in images]), true)
    assert len(images) >= 12
    assert np.median(errors) < 1
    cameras = open_archive(tmp_path / "out.zip").read(0).cameras
    assert (cameras.centres[:, 2] > 0.5).all()  # the walk was above the table
    again = prepared(tmp_path / "photos", tmp_path)
    assert again.facts[0]["registered"] == len(images)
    assert again.prepared.seconds < report.prepared.seconds
