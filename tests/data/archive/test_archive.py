"""Archives give back what was put in, and refuse what is damaged or hostile."""

import io
import json
import multiprocessing
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from vader3d.captions import Caption
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.named import open_archive, readable_objects
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras, orbit_cameras

VIEWS, HEIGHT, WIDTH = 7, 6, 10


def some_cameras(views: int = VIEWS) -> Cameras:
    ring = orbit_cameras(torch.arange(views) * 50.0, torch.arange(views) * 8.0, distance=4, fov_degrees=30, size=WIDTH)
    return Cameras(ring.world_from_camera, ring.intrinsics + torch.arange(4), HEIGHT, WIDTH)


def some_pictures(seed: int = 0, views: int = VIEWS) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (views, HEIGHT, WIDTH, 4)).astype(np.uint8)


def write(path: Path, *, names=("a chair", "стол", "椅子"), **options) -> Path:
    with ArchiveWriter(path, title="things", resolution=(HEIGHT, WIDTH), **options) as writer:
        for number, name in enumerate(names):
            record = ObjectRecord(
                name,
                (Caption(f"caption {number}", "a test"), Caption("a thing")),
                category="thing",
                tags=("x", "y"),
                creator="somebody",
                licence="CC0-1.0",
                source="here",
            )
            mesh = trimesh.creation.box() if number == 0 else None
            writer.add(PreparedObject(record, some_pictures(number), some_cameras(), mesh))
        writer.set_subsets({"last": [len(names) - 1]})
    return path


def rewritten(path: Path, changes: dict[str, bytes | None]) -> Path:
    """The same zip with some members replaced, added, or (None) left out."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in {**members, **changes}.items():
            if data is not None:
                new.writestr(name, data)
    return path


def manifest_with(path: Path, change) -> Path:
    with zipfile.ZipFile(path) as opened:
        manifest = json.loads(opened.read("archive.json"))
    change(manifest)
    return rewritten(path, {"archive.json": json.dumps(manifest).encode()})


def test_archives_of_the_first_version_open(tmp_path):
    def older(manifest: dict) -> None:
        manifest["version"] = 1
        for entry in manifest["objects"]:
            entry["caption"] = entry.pop("captions")[0]["text"]
        manifest["objects"][2]["caption"] = ""

    archive = open_archive(manifest_with(write(tmp_path / "a.zip"), older))
    assert [record.captions for record in archive.records] == [(Caption("caption 0"),), (Caption("caption 1"),), ()]
    assert [record.caption for record in archive.records] == ["caption 0", "caption 1", ""]
    assert np.array_equal(archive.read(1).pictures, some_pictures(1))


def test_everything_comes_back(tmp_path):
    archive = open_archive(write(tmp_path / "a.zip"))
    assert (len(archive), archive.resolution, archive.title) == (3, (HEIGHT, WIDTH), "things")
    assert [record.name for record in archive.records] == ["a chair", "стол", "椅子"]
    record = archive.records[1]
    assert (record.caption, record.category, record.tags, record.views) == ("caption 1", "thing", ("x", "y"), VIEWS)
    assert (record.creator, record.licence, record.source) == ("somebody", "CC0-1.0", "here")
    for number in range(3):
        pictures, cameras = archive.read(number)
        assert np.array_equal(pictures, some_pictures(number))
        assert torch.equal(cameras.world_from_camera, some_cameras().world_from_camera)
        assert torch.equal(cameras.intrinsics, some_cameras().intrinsics)
        assert (cameras.height, cameras.width) == (HEIGHT, WIDTH)


def test_true_meshes_are_kept(tmp_path):
    archive = open_archive(write(tmp_path / "a.zip"))
    assert archive.true_mesh(0).volume == pytest.approx(1.0)
    assert archive.true_mesh(1) is None


def test_subsets_are_archives(tmp_path):
    archive = open_archive(write(tmp_path / "a.zip"))
    subset = archive.subset("last")
    assert [record.name for record in subset.records] == ["椅子"]
    assert np.array_equal(subset.read(0).pictures, some_pictures(2))
    assert subset.true_mesh(0) is None
    assert subset.fingerprint != archive.fingerprint
    assert open_archive(f"{tmp_path / 'a.zip'}:last").fingerprint == subset.fingerprint
    with pytest.raises(ArchiveError, match="wanted a subset: last; got 'first'"):
        open_archive(f"{tmp_path / 'a.zip'}:first")


def test_equal_contents_have_equal_bytes_and_fingerprints(tmp_path):
    first, second = write(tmp_path / "a.zip"), write(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    other = write(tmp_path / "c.zip", quality=60)
    prints = [open_archive(path).fingerprint for path in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]


def test_many_views_go_to_several_sheets(tmp_path, monkeypatch):
    from vader3d.data.archive import format as archive_format

    monkeypatch.setattr(archive_format, "SHEET_SIDE_PX", 30)
    write(tmp_path / "a.zip", names=["only"])
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        sheets = [name for name in opened.namelist() if name.endswith(".webp")]
        sizes = [Image.open(io.BytesIO(opened.read(name))).size for name in sheets]
    assert len(sheets) == 1
    assert max(max(size) for size in sizes) <= 30
    with ArchiveWriter(tmp_path / "b.zip", title="", resolution=(HEIGHT, WIDTH)) as writer:
        writer.add(PreparedObject(ObjectRecord("only"), some_pictures(views=40), some_cameras(40)))
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        assert sum(name.endswith(".webp") for name in opened.namelist()) == 3
    assert np.array_equal(open_archive(tmp_path / "b.zip").read(0).pictures, some_pictures(views=40))


def test_small_archives_look_nearly_the_same(tmp_path):
    smooth = np.full((VIEWS, HEIGHT, WIDTH, 4), 255, np.uint8)
    smooth[..., :3] = np.linspace(60, 180, WIDTH)[None, None, :, None]
    with ArchiveWriter(tmp_path / "a.zip", title="", resolution=(HEIGHT, WIDTH), quality=90) as writer:
        writer.add(PreparedObject(ObjectRecord("smooth"), smooth, some_cameras()))
    pictures = open_archive(tmp_path / "a.zip").read(0).pictures
    assert np.abs(pictures.astype(int) - smooth).max() < 8


def test_every_sixth_view_is_held_out():
    assert heldout_views(24) == [5, 11, 17, 23]
    assert heldout_views(5) == []
    assert training_views(5) == [0, 1, 2, 3, 4]
    assert sorted(heldout_views(25) + training_views(25)) == list(range(25))


def read_pictures(archive: Archive, index: int) -> np.ndarray:
    return archive.read(index).pictures


def test_threads_and_processes_may_share_an_archive(tmp_path):
    archive = open_archive(write(tmp_path / "a.zip"))
    archive.read(0)
    with ThreadPoolExecutor(4) as pool:
        for number, pictures in enumerate(pool.map(lambda i: read_pictures(archive, i % 3), range(24))):
            assert np.array_equal(pictures, some_pictures(number % 3))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(read_pictures, [(archive, i % 3) for i in range(12)])
    assert all(np.array_equal(pictures, some_pictures(i % 3)) for i, pictures in enumerate(found))
    assert np.array_equal(pickle.loads(pickle.dumps(archive)).read(2).pictures, some_pictures(2))


BROKEN_FILES = {
    "not a zip": (lambda p: p.write_bytes(b"hello"), "wanted an archive; got a damaged or foreign one"),
    "empty": (lambda p: p.write_bytes(b""), "wanted an archive; got an empty file"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-300]), "wanted an archive; got a damaged"),
    "no manifest": (lambda p: rewritten(p, {"archive.json": None}), "wanted archive.json in the zip"),
    "manifest cut short": (lambda p: rewritten(p, {"archive.json": b'{"format":'}), "Expecting value"),
    "another format": (lambda p: manifest_with(p, lambda m: m.update(format="zoo")), "'vader3d-archive'; got 'zoo'"),
    "newer": (lambda p: manifest_with(p, lambda m: m.update(version=3)), "wanted at most 2; got 3; update"),
    "no objects": (lambda p: manifest_with(p, lambda m: m.pop("objects")), "subsets; got .*KeyError: 'objects'"),
    "a list": (lambda p: rewritten(p, {"archive.json": b"[]"}), "archive.json: wanted format, version"),
    "absurd resolution": (lambda p: manifest_with(p, lambda m: m.update(resolution=[10**6, 64])), "sides of 1 to 4096"),
    "absurd views": (lambda p: manifest_with(p, lambda m: m["objects"][0].update(views=10**9)), "views: wanted 1 to"),
    "no views": (lambda p: manifest_with(p, lambda m: m["objects"][0].pop("views")), "record: .*KeyError: 'views'"),
    "escaping name": (lambda p: manifest_with(p, lambda m: m["objects"][0].update(name="../x")), "got '/' in"),
    "wild subset": (lambda p: manifest_with(p, lambda m: m.update(subsets={"s": [9]})), "objects 0 to 2; got 9"),
    "escaping member": (lambda p: rewritten(p, {"../evil.txt": b"x"}), "reaches outside"),
    "absolute member": (lambda p: rewritten(p, {"/etc/evil": b"x"}), "reaches outside"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_broken_and_hostile_files_are_refused(case, tmp_path):
    spoil, message = BROKEN_FILES[case]
    path = write(tmp_path / "a.zip")
    spoil(path)
    with pytest.raises(ArchiveError, match=message) as caught:
        open_archive(path)
    assert "a.zip" in str(caught.value)


def webp_of(size) -> bytes:
    data = io.BytesIO()
    Image.new("RGBA", size).save(data, "WEBP")
    return data.getvalue()


def cut(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as opened:
        return opened.read(member)[:40]


def npy(array) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=array.dtype == object)
    return data.getvalue()


BROKEN_OBJECTS = {
    "truncated picture": ("pictures-000.webp", lambda p: cut(p, "000001/pictures-000.webp"), "wanted a whole WebP"),
    "another kind of picture": ("pictures-000.webp", lambda p: b"GIF89a" + bytes(50), "wanted a whole WebP"),
    "a bomb of a picture": ("pictures-000.webp", lambda p: webp_of((400, 400)), "picture: wanted 30 x 18 px"),
    "huge member": ("pictures-000.webp", lambda p: bytes(10**6), "at most"),
    "missing picture": ("pictures-000.webp", lambda p: None, "000001/pictures-000.webp: wanted in the arch"),
    "missing cameras": ("cameras.npy", lambda p: None, "cameras.npy: wanted in the archive; got none"),
    "truncated cameras": ("cameras.npy", lambda p: cut(p, "000001/cameras.npy"), "object 'стол'"),
    "pickled cameras": ("cameras.npy", lambda p: npy(np.array([{}], object)), "allow_pickle"),
    "cameras of another count": ("cameras.npy", lambda p: npy(np.zeros((3, 16), np.float32)), "wanted"),
    "non-rigid cameras": ("cameras.npy", lambda p: npy(np.ones((VIEWS, 16), np.float32)), "rigid"),
}


@pytest.mark.parametrize("case", BROKEN_OBJECTS)
def test_a_broken_object_is_named_and_can_be_passed_over(case, tmp_path):
    member, make, message = BROKEN_OBJECTS[case]
    path = write(tmp_path / "a.zip")
    archive = open_archive(rewritten(path, {f"000001/{member}": make(path)}))
    with pytest.raises(ArchiveError, match=message) as caught:
        archive.read(1)
    assert "a.zip" in str(caught.value)
    assert "стол" in str(caught.value)
    readable, problems = readable_objects(archive)
    assert [record.name for record in readable.records] == ["a chair", "椅子"]
    assert len(problems) == 1
    assert np.array_equal(readable.read(1).pictures, some_pictures(2))


def test_a_flipped_byte_is_noticed(tmp_path):
    path = write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo("000001/pictures-000.webp")
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.file_size // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="стол"):
        open_archive(path).read(1)


def test_an_archive_without_a_readable_object_is_an_error(tmp_path):
    path = write(tmp_path / "a.zip", names=["only"])
    archive = open_archive(rewritten(path, {"000000/cameras.npy": None}))
    with pytest.raises(ArchiveError, match="got none of 1"):
        readable_objects(archive)


def test_a_path_that_is_not_there_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip, which does not exist"):
        open_archive(tmp_path / "nowhere.zip")
    with pytest.raises(ArchiveError, match="got a folder; make an archive"):
        open_archive(tmp_path)
    with pytest.raises(ArchiveError, match="got the folder"):
        ArchiveWriter(tmp_path, title="", resolution=(4, 4))
    assert os.listdir(tmp_path) == []
