"""Archives and shards take the same objects, refuse the same, and are there whole or not at all."""

import dataclasses
import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from vader3d.captions import Caption
from vader3d.data.archive import writer as archive_writer
from vader3d.data.archive.format import (
    ArchiveError,
    ObjectRecord,
    ObjectViews,
    check_cameras,
    entry_from_record,
    record_from_entry,
)
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.copying import Original
from vader3d.data.making.finishing import write_index
from vader3d.data.making.ledger import Ledger, Output
from vader3d.data.named import open_archive
from vader3d.data.shards import format as shard_format
from vader3d.data.shards import writer as shard_writer
from vader3d.data.shards.writer import PartWriter
from vader3d.data.writer import CopiedObject, PreparedObject, read_object
from vader3d.geometry.cameras import Cameras, orbit_cameras, unposed_cameras

VIEWS, HEIGHT, WIDTH = 7, 6, 10
PLACES = {"archive": "a.zip", "shards": "s"}


def some_cameras(views: int = VIEWS) -> Cameras:
    ring = orbit_cameras(torch.arange(views) * 50.0, torch.arange(views) * 8.0, distance=4, fov_degrees=30, size=WIDTH)
    return Cameras(ring.world_from_camera, ring.intrinsics, HEIGHT, WIDTH)


def some_pictures(seed: int = 0, views: int = VIEWS) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (views, HEIGHT, WIDTH, 4)).astype(np.uint8)


def some_object(name: str, **changes) -> PreparedObject:
    return PreparedObject(ObjectRecord(name), **{"pictures": some_pictures(), "cameras": some_cameras(), **changes})


def opened(folder: Path, kind: str, **options):
    options = {"title": "things", "resolution": (HEIGHT, WIDTH), **options}
    return (ArchiveWriter if kind == "archive" else OneShard)(folder / PLACES[kind], **options)


class OneShard(PartWriter):
    """A set of one shard."""

    def __init__(self, path: Path, **options):
        self.ledger = Ledger(Output(path, **options, objects_per_shard=100), 1)
        super().__init__(path, 0, **options)

    def write(self, record, files) -> None:
        self.key = len(self.records)
        super().write(record, files)

    def publish(self) -> None:
        super().publish()
        write_index(self.ledger, [self.shard], subsets=self.subsets, whole=True)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", PLACES)
def test_what_was_added_comes_back(kind, tmp_path):
    records = [
        ObjectRecord("a", (Caption("one", "me"), Caption("eins")), "thing", ("x", "y"), 0, "me", "CC0-1.0", "here"),
        ObjectRecord("стол"),
    ]
    with opened(tmp_path, kind) as writer:
        indices = [writer.add(PreparedObject(r, some_pictures(i), some_cameras())) for i, r in enumerate(records)]
        writer.set_subsets({"last": [1]})
        with pytest.raises(ValueError, match="subsets: wanted objects below 2; got 2 in 'more'"):
            writer.set_subsets({"more": [2]})
    assert indices == [0, 1]
    data = open_archive(writer.path)
    assert list(data.records) == writer.records
    assert [record.views for record in data.records] == [VIEWS, VIEWS]
    assert (data.records[0].tags, data.records[0].source) == (("x", "y"), "here")
    assert (data.title, data.resolution, len(data)) == ("things", (HEIGHT, WIDTH), 2)
    for index in range(2):
        pictures, cameras = data.read(index)
        assert np.array_equal(pictures, some_pictures(index))
        assert torch.equal(cameras.world_from_camera, some_cameras().world_from_camera)
    assert [record.name for record in data.subset("last").records] == ["стол"]
    written = everything_in(tmp_path)
    assert writer.bytes == sum(len(bytes_) for name, bytes_ in written.items() if name.endswith((".zip", ".tar")))


@pytest.mark.parametrize("kind", PLACES)
def test_the_same_objects_give_the_same_bytes_and_others_another_fingerprint(kind, tmp_path):
    fingerprints = []
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        with opened(tmp_path / folder, kind) as writer:
            for name in "abc":
                writer.add(some_object(name, pictures=some_pictures(seed)))
        fingerprints.append(open_archive(writer.path).fingerprint)
    assert everything_in(tmp_path / "one") == everything_in(tmp_path / "two")
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def replaced_matrix(change) -> Cameras:
    cameras = some_cameras()
    matrices = cameras.world_from_camera.clone()
    change(matrices)
    return Cameras(matrices, cameras.intrinsics, HEIGHT, WIDTH)


REFUSED = {
    "duplicate name": ("first", {}, "name: wanted one that is not taken; got 'first'"),
    "empty name": ("", {}, "1 to 200 characters"),
    "path in a name": ("a/b", {}, "got '/' in 'a/b'"),
    "backslash in a name": ("a\\b", {}, "path separators"),
    "control character": ("a\nb", {}, "control characters"),
    "undecodable name": ("a\udce9", {}, "control characters"),
    "parent folder": ("..", {}, "neither"),
    "wrong size": ("x", {"pictures": some_pictures()[:, :3]}, r"wanted uint8 \[V, 6, 10, 4\]"),
    "floats": ("x", {"pictures": some_pictures() / 255.0}, "uint8"),
    "no view": ("x", {"pictures": some_pictures()[:0]}, "wanted 1 to"),
    "a camera too few": ("x", {"cameras": some_cameras(3)}, "cameras: wanted 7"),
    "non-finite": ("x", {"cameras": replaced_matrix(lambda m: m[3].mul_(torch.nan))}, "finite numbers; got view 3"),
    "non-rigid": ("x", {"cameras": replaced_matrix(lambda m: m[2, :3, :3].mul_(1.1))}, "rigid matrix .* view 2"),
    "mirrored": ("x", {"cameras": replaced_matrix(lambda m: m[1, :3, 0].mul_(-1))}, "right-handed .* view 1"),
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_data_set_may_hold_is_refused(case, kind, tmp_path):
    name, changes, message = REFUSED[case]
    with opened(tmp_path, kind) as writer:
        writer.add(some_object("first"))
        with pytest.raises(ValueError, match=message):
            writer.add(some_object(name, **changes))
    assert len(open_archive(writer.path)) == 1


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_webp_does_not_have_is_refused(kind, quality, tmp_path):
    with pytest.raises(ValueError, match=f"quality: wanted 1 to 100; got {quality}"):
        opened(tmp_path, kind, quality=quality)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_of_what_failed(kind, failure, tmp_path):
    with pytest.raises(failure), opened(tmp_path, kind) as writer:  # noqa: PT012 (the failure comes last)
        for name in "abcdefghijklmnopq":
            writer.add(some_object(name))
        raise failure
    assert everything_in(tmp_path) == {}
    with pytest.raises(ArchiveError, match="wanted at least 1 object; got none"), opened(tmp_path, kind):
        pass
    assert everything_in(tmp_path) == {}


def test_a_failure_leaves_the_archive_that_was_there(tmp_path):
    with opened(tmp_path, "archive") as writer:
        writer.add(some_object("first"))
    before = everything_in(tmp_path)
    with pytest.raises(RuntimeError), opened(tmp_path, "archive") as writer:  # noqa: PT012
        writer.add(some_object("second"))
        raise RuntimeError
    assert everything_in(tmp_path) == before


class FullFile(io.FileIO):
    def write(self, data):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", PLACES)
def test_a_full_disk_is_one_clear_error(kind, tmp_path, monkeypatch):
    with opened(tmp_path, "archive") as writer:
        writer.add(some_object("first"))
    before = everything_in(tmp_path)
    for module in (archive_writer, shard_writer):
        monkeypatch.setattr(module, "open", lambda path, mode: FullFile(path, "w"), raising=False)
    name = {"archive": r"a\.zip", "shards": r"shard-000000\.tar"}[kind]
    with pytest.raises(OSError, match=rf"could not write .*{name}: No space left"), opened(tmp_path, kind) as writer:
        writer.add(some_object("second"))
    assert everything_in(tmp_path) == before


class Mesh:
    """Whose PLY does not change with trimesh's version."""

    def export(self, file_type: str) -> bytes:
        return b"ply of a mesh"


class Fixed:
    """A data set of exact numbers: three objects of 2 x 3 px."""

    path, title, resolution, fingerprint = "nowhere", "things, Ω", (2, 3), "f" * 64
    subsets = {"few": (2, 0)}  # noqa: RUF012
    records = (
        ObjectRecord(
            "a chair",
            (Caption("a red chair", "somebody"), Caption("ein Stuhl")),
            "chair",
            ("x", "rot"),
            5,
            "somebody",
            "CC0-1.0",
            "here",
        ),
        ObjectRecord("стол", (), "", (), 1),
        ObjectRecord("c", (Caption("see"),), "", ("z",), 2, source="there"),
    )

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> ObjectViews:
        views, (height, width) = self.records[index].views, self.resolution
        matrices = torch.eye(4).repeat(views, 1, 1)
        matrices[:, :3, 3] = torch.arange(3 * views).view(views, 3) * 0.25 - 1
        cameras = Cameras(matrices, torch.tensor([8.0, 8.5, 1.5, 1.0]).repeat(views, 1), height, width)
        numbers = np.arange(views * height * width * 4) % 251
        return ObjectViews(numbers.astype(np.uint8).reshape(views, height, width, 4), cameras)

    def true_mesh(self, index: int) -> Mesh | None:
        return Mesh() if index == 0 else None


def plain_sheet(pictures: np.ndarray, *, columns: int, quality: int) -> bytes:
    """In place of a WebP, whose bytes change with the library's version."""
    return bytes([columns, quality]) + pictures.tobytes()


def test_the_bytes_of_an_archive_are_those_of_version_2(tmp_path, monkeypatch):
    """Runs know their data by its fingerprint; these are of archives with several captions an object."""
    monkeypatch.setattr(archive_writer, "pictures_to_sheet", plain_sheet)
    data, digest = Fixed(), hashlib.sha256()
    with ArchiveWriter(tmp_path / "a.zip", title=data.title, resolution=data.resolution, quality=90) as writer:
        for index, record in enumerate(data.records):
            writer.add(PreparedObject(record, *data.read(index), mesh=data.true_mesh(index)))
        writer.set_subsets(data.subsets)
    fingerprint = "50dfc6601af3e75b1bddc1703c85dc4c700a487910fe30d55687287385098971"
    assert Archive(tmp_path / "a.zip").fingerprint == fingerprint
    with zipfile.ZipFile(tmp_path / "a.zip") as written:  # deflated bytes change with zlib's version
        for info in written.infolist():
            digest.update(f"{info.filename} {info.compress_type} {info.date_time} {info.external_attr}".encode())
            digest.update(written.read(info))
    assert digest.hexdigest() == "9f67827a699728755d3a9a1181e2339cbc0c5726c760832e20af49076e45a048"


def test_the_bytes_of_samples_are_those_of_version_2(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_format, "pictures_to_sheet", plain_sheet)
    data = Fixed()
    with opened(tmp_path, "shards", resolution=data.resolution, quality=90) as writer:
        for index in range(len(data)):
            writer.add(read_object(data, index))
    assert hashlib.sha256((tmp_path / "s" / "shard-000000.tar").read_bytes()).hexdigest() == (
        "b298f51eefb6c9070952b26bec6fa8cf416982d5f91dfddcd7e1393ac1af8c02"
    )


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("target", PLACES)
def test_a_copy_is_what_the_object_itself_would_give(source, target, tmp_path):
    """Also where the object is copied by another process, which opens the data anew."""
    meshes = (trimesh.creation.box(), None)
    for folder in ("old", "direct"):
        with opened(tmp_path / folder, source if folder == "old" else target) as writer:
            for name, mesh in zip("ab", meshes, strict=True):
                writer.add(some_object(name, mesh=mesh))
    data = open_archive(tmp_path / "old" / PLACES[source]).select([1, 0]).select([1, 0])
    with opened(tmp_path / "copied", target) as writer:
        for index, record in enumerate(data.records):
            original = pickle.loads(pickle.dumps(Original(data, index)))
            assert len(original.data) == 2
            assert not getattr(original.data, "selected", False)
            writer.add(CopiedObject(record, original.files(in_shards=target == "shards")))
    direct, copy = everything_in(tmp_path / "direct"), everything_in(tmp_path / "copied")
    assert {name for name in direct if direct[name] != copy[name]} <= {"a.zip"}
    if target == "archive":
        one, other = (Archive(tmp_path / folder / "a.zip") for folder in ("direct", "copied"))
        assert [one.members(index) for index in (0, 1)] == [other.members(index) for index in (0, 1)]


@pytest.mark.parametrize("kind", PLACES)
def test_captions_must_be_captions_and_each_once(kind, tmp_path):
    with opened(tmp_path, kind) as writer:
        for wrong in (("a chair",), (Caption(""),), (Caption("a chair"), Caption("a chair", "me"))):
            with pytest.raises(ValueError, match="captions: wanted"):
                writer.add(PreparedObject(ObjectRecord("a", wrong), some_pictures(), some_cameras()))
        writer.add(PreparedObject(ObjectRecord("a", (Caption("a chair"),)), some_pictures(), some_cameras()))


@pytest.mark.parametrize("kind", PLACES)
def test_cameras_that_nobody_knows_come_back_as_such(kind, tmp_path):
    unknown = dataclasses.replace(unposed_cameras(VIEWS, size=WIDTH), height=HEIGHT)
    with opened(tmp_path, kind) as writer:
        writer.add(some_object("clip", cameras=unknown))
        writer.add(some_object("thing"))
    data = open_archive(tmp_path / PLACES[kind])
    assert [record.posed for record in data.records] == [False, True]
    (_, cameras), (_, others) = data.read(0), data.read(1)
    assert not cameras.posed
    assert others.posed
    assert torch.equal(cameras.intrinsics, unknown.intrinsics)
    assert data.read(0).pictures.shape == (VIEWS, HEIGHT, WIDTH, 4)


@pytest.mark.parametrize("kind", PLACES)
def test_one_camera_that_is_not_known_is_a_fault(kind, tmp_path):
    cameras = some_cameras()
    cameras.world_from_camera[2] = torch.nan
    with opened(tmp_path, kind) as writer:
        writer.add(some_object("good"))
        with pytest.raises(ValueError, match="wanted finite numbers; got view 2"):
            writer.add(some_object("bad", cameras=cameras))


def test_objects_with_cameras_are_written_as_before():
    assert "posed" not in entry_from_record(ObjectRecord("a"))
    assert entry_from_record(ObjectRecord("a", posed=False))["posed"] is False
    assert not record_from_entry({**entry_from_record(ObjectRecord("a", views=2)), "posed": False}, (4, 4)).posed


def test_an_entry_that_hides_or_invents_cameras_is_refused():
    with pytest.raises(ValueError, match="wanted none that are posed"):
        check_cameras(some_cameras(), VIEWS, posed=False)
    with pytest.raises(ValueError, match="wanted finite numbers; got view 0"):
        check_cameras(unposed_cameras(VIEWS, size=WIDTH), VIEWS)
