"""Shards give back what the archive held, to us and to others."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import webdataset
from making import bytes_of
from PIL import Image
from tiny import THINGS, write_things

from vader3d.cli.main import main
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.archive.splits import heldout_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.views import PosedViews
from vader3d.data.inspection.faults import inspect_archive
from vader3d.data.making.copying import write_shards
from vader3d.data.named import open_archive, readable_objects
from vader3d.data.shards import storage
from vader3d.data.shards.reader import Shards
from vader3d.data.writer import PreparedObject


def same_objects(one, other) -> bool:
    for index in range(len(other)):
        (pictures, cameras), (wanted, wanted_cameras) = one.read(index), other.read(index)
        if not np.array_equal(pictures, wanted) or one.records[index] != other.records[index]:
            return False
        if not torch.equal(cameras.world_from_camera, wanted_cameras.world_from_camera):
            return False
        if not torch.equal(cameras.intrinsics, wanted_cameras.intrinsics):
            return False
    return len(one) == len(other) and one.resolution == other.resolution and one.title == other.title


@pytest.mark.parametrize("per_shard", [1, 3, 4, 1000])
def test_every_packing_gives_back_the_archive(archive, tmp_path, per_shard):
    report = write_shards(archive, tmp_path / "s", objects_per_shard=per_shard, processes=2)
    packed = open_archive(tmp_path / "s")
    assert len(list((tmp_path / "s").glob("*.tar"))) == len(packed.shards) == -(-4 // per_shard)
    assert report.notes[0].startswith(f"{len(packed.shards)} shards, ")
    assert same_objects(packed, archive)
    assert packed.fingerprint == archive.fingerprint


def test_equal_archives_give_equal_bytes(archive, tmp_path):
    for name, processes in (("a", 1), ("b", 2)):
        write_shards(archive, tmp_path / name, objects_per_shard=3, processes=processes)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_others_read_the_samples(archive, shards):
    """webdataset groups our members into samples, and their keys are the objects' numbers."""
    files = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{number:09d}" for number in range(4)]
    for number, sample in enumerate(samples):
        pictures, cameras = archive.read(number)
        assert sample["txt"] == archive.records[number].caption
        assert sample["json"]["name"] == archive.records[number].name
        assert np.allclose(sample["cameras.json"]["intrinsics"], cameras.intrinsics.numpy())
        for view in range(len(pictures)):
            decoded = sample[f"{view:04d}.webp"]
            picture = Image.open(io.BytesIO(decoded)) if isinstance(decoded, bytes) else decoded
            assert np.array_equal(np.asarray(picture.convert("RGB")), pictures[view][..., :3])


@pytest.mark.parametrize("version", [1, 2])
def test_shards_of_earlier_versions_open(version, shards, tmp_path):
    folder = shutil.copytree(shards, tmp_path / "old")
    index = json.loads((folder / "shards.json").read_text())
    index["version"] = version
    for name in ("whole", "command"):
        del index[name]
    for shard in index["shards"]:
        path = folder / shard["file"].replace(".tar", ".json")
        spans = json.loads(path.read_text())
        for entry in spans["objects"]:
            del entry["key"]
            if version == 1:
                entry["caption"] = entry.pop("captions")[0]["text"]
        path.write_text(json.dumps(spans))
        shard["index_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "shards.json").write_text(json.dumps(index))
    old, new = open_archive(folder), open_archive(shards)
    assert [record.caption for record in old.records] == [record.caption for record in new.records]
    assert np.array_equal(old.read(3).pictures, new.read(3).pictures)


def test_the_index_tells_what_is_there(shards):
    index = json.loads((shards / "shards.json").read_text())
    assert (index["format"], index["version"], index["objects"], index["resolution"]) == (
        "vader3d-shards",
        3,
        4,
        [24, 24],
    )
    for shard in index["shards"]:
        data = (shards / shard["file"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard["sha256"], shard["bytes"])
        with tarfile.open(shards / shard["file"]) as opened:
            assert len({name.split(".")[0] for name in opened.getnames()}) == shard["objects"]
    assert [shard["first"] for shard in index["shards"]] == [0, 3]
    assert json.loads((shards / "shard-000001.json").read_text())["objects"][0]["name"] == list(THINGS)[3]


def test_meshes_and_subsets_come_along(tmp_path):
    archive = write_things(tmp_path / "a.zip", views=2)
    with ArchiveWriter(tmp_path / "b.zip", title="b", resolution=archive.resolution) as writer:
        for index, record in enumerate(archive.records):
            box = trimesh.creation.box() if index == 2 else None
            writer.add(PreparedObject(record, *archive.read(index), box))
        writer.set_subsets({"few": [3, 1]})
    write_shards(open_archive(tmp_path / "b.zip"), tmp_path / "s", objects_per_shard=2)
    packed = open_archive(tmp_path / "s" / "shards.json")
    assert packed.true_mesh(2).volume == pytest.approx(1.0)
    assert packed.true_mesh(0) is None
    few = packed.subset("few")
    assert [record.name for record in few.records] == [archive.records[3].name, archive.records[1].name]
    assert np.array_equal(few.read(0).pictures, archive.read(3).pictures)
    assert few.fingerprint != packed.fingerprint


def test_unreadable_objects_are_left_out_and_named(tmp_path):
    path = tmp_path / "a.zip"
    write_things(path)
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo("000001/pictures-000.webp")
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + 100] ^= 0xFF
    path.write_bytes(data)
    report = write_shards(open_archive(path), tmp_path / "s", objects_per_shard=2)
    assert (report.objects, len(report.skipped)) == (3, 1)
    assert list(THINGS)[1] in report.skipped[0]
    readable, _ = readable_objects(open_archive(path))
    packed = open_archive(tmp_path / "s")
    assert same_objects(packed, readable)
    assert packed.fingerprint == readable.fingerprint


def test_they_can_be_inspected_and_viewed(archive, shards, tmp_path):
    report = inspect_archive(open_archive(shards), tmp_path / "look")
    assert (report.objects, report.problems) == (4, inspect_archive(archive, tmp_path / "other").problems)
    ours, theirs = PosedViews(open_archive(shards), heldout_views), PosedViews(archive, heldout_views)
    objects, numbers = torch.arange(4), torch.zeros(4, 2, dtype=torch.long)
    assert torch.equal(ours.views_of(objects, numbers).colour, theirs.views_of(objects, numbers).colour)


def test_lossy_shards_are_smaller_and_another_data_set(archive, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 24, 24, 4)).astype(np.uint8)
    with ArchiveWriter(tmp_path / "a.zip", title="noise", resolution=(24, 24)) as writer:
        writer.add(PreparedObject(ObjectRecord("noise"), noise, archive.read(0).cameras))
    noisy = open_archive(tmp_path / "a.zip")
    sizes = [write_shards(noisy, tmp_path / str(quality), quality=quality).megabytes for quality in (100, 50)]
    assert sizes[1] < 0.8 * sizes[0]
    assert open_archive(tmp_path / "100").fingerprint == noisy.fingerprint != open_archive(tmp_path / "50").fingerprint
    assert same_objects(open_archive(tmp_path / "100"), noisy)
    assert not same_objects(open_archive(tmp_path / "50"), noisy)
    write_shards(open_archive(tmp_path / "100"), tmp_path / "again", quality=50)  # of shards they are encoded, too
    assert (tmp_path / "again" / "shard-000000.tar").read_bytes() == (tmp_path / "50" / "shard-000000.tar").read_bytes()


def test_the_command_packs_and_says_so(archive, tmp_path, capsys):
    main(["prepare", "shards", str(archive.path), "--output", str(tmp_path / "s"), "--objects-per-shard", "2"])
    assert "2 shards, " in capsys.readouterr().out
    assert same_objects(open_archive(str(tmp_path / "s")), archive)
    main(["prepare", "shards", str(archive.path), "--output", str(tmp_path / "s"), "--objects-per-shard", "2"])
    assert "it was there; to make it anew delete" in capsys.readouterr().out


def test_two_commands_share_a_packing(archive, tmp_path):
    write_shards(archive, tmp_path / "alone", objects_per_shard=1, processes=1)
    with ThreadPoolExecutor(2) as commands:
        options = {"objects_per_shard": 1, "processes": 2}
        made = [commands.submit(write_shards, archive, tmp_path / "shared", **options) for _ in range(2)]
    assert [report.result().objects for report in made] == [4, 4]
    assert bytes_of(tmp_path / "shared") == bytes_of(tmp_path / "alone")
    assert same_objects(open_archive(tmp_path / "shared"), archive)


def test_where_the_data_lie_is_not_what_is_made(archive, tmp_path):
    moved = open_archive(shutil.copy(archive.path, tmp_path / "moved.zip"))
    write_shards(archive, tmp_path / "s", objects_per_shard=2)
    assert "it was there" in str(write_shards(moved, tmp_path / "s", objects_per_shard=2))
    for other, options in ((archive, {"quality": 90}), (archive.select([0, 1, 2]), {})):
        with pytest.raises(ValueError, match="wanted an empty or new folder"):
            write_shards(other, tmp_path / "s", objects_per_shard=2, **options)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_server_that_fails_stops_the_command_and_skips_nothing(processes, shards, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(storage, "FIRST_PAUSE_SECONDS", 0.0)
    memory = fsspec.filesystem("memory")
    for path in shards.iterdir():
        memory.pipe_file(f"/served/{path.name}", path.read_bytes())
    cat_file = type(memory).cat_file

    def failing(self, path, **options):
        if path.endswith("shard-000001.tar"):
            raise ConnectionError("the server is away")
        return cat_file(self, path, **options)

    monkeypatch.setattr(type(memory), "cat_file", failing)
    with pytest.raises(OSError, match="wanted its bytes; got ConnectionError: the server is away"):
        write_shards(open_archive("memory://served"), tmp_path / "s", objects_per_shard=1, processes=processes)
    monkeypatch.undo()
    assert write_shards(open_archive("memory://served"), tmp_path / "s", objects_per_shard=1).skipped == []
    assert same_objects(open_archive(tmp_path / "s"), open_archive(shards))


@pytest.mark.parametrize("whole", [True, False])
def test_shards_are_copied_once_all_are_there(whole, shards, tmp_path):
    index = json.loads((shards / "shards.json").read_text())
    (shards / "shards.json").write_text(json.dumps(index | {"whole": whole}))
    if whole:
        write_shards(open_archive(shards), tmp_path / "again", objects_per_shard=2)
        assert same_objects(open_archive(tmp_path / "again"), open_archive(shards))
    else:
        with pytest.raises(ValueError, match=r"data: wanted all shards; got .*shards, of which more are being made"):
            write_shards(open_archive(shards), tmp_path / "again", objects_per_shard=2)


def half_written(folder: Path, name: str) -> None:
    (folder / "shards.json").unlink()
    (folder / name).write_bytes(b"half")


STOPPED = {
    "between two shards": lambda folder: (folder / "shards.json").unlink(),
    "in a shard": lambda folder: half_written(folder, ".shard-000004.tar.1.part"),
    "in a shard's index": lambda folder: half_written(folder, ".shard-000003.json.1.part"),
    "in the index": lambda folder: half_written(folder, ".shards.json.1.part"),
    "in a shard, long ago": lambda folder: half_written(folder, "shard-000004.part"),
    "in the index, long ago": lambda folder: (folder / "shards.json").rename(folder / "shards.json.part"),
}


@pytest.mark.parametrize("where", STOPPED)
def test_a_stopped_packing_is_no_data_set_and_begins_anew(archive, tmp_path, where):
    output = tmp_path / "s"
    write_shards(archive, output, objects_per_shard=1)
    STOPPED[where](output)
    with pytest.raises(ArchiveError, match="a folder"):
        open_archive(output)
    write_shards(archive, output, objects_per_shard=3)
    assert same_objects(open_archive(output), archive)
    assert len(list(output.iterdir())) == 5


FOREIGN = ["notes.txt", "shards.json", "shard-000000.tar"]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_stopped_packing_left_is_never_deleted(archive, tmp_path, name):
    """Also a tar of this name that has no index beside it."""
    (tmp_path / name).write_text("dear")
    (tmp_path / "shard-000001.json").write_text("{}")
    with pytest.raises(ValueError, match=f"which holds {name}"):
        write_shards(archive, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "shard-000001.json"])


BAD_ARGUMENTS = {
    "a folder of other things": (lambda folder: ({"output": folder}), "empty or new folder; got .* which holds other"),
    "a file": (lambda folder: ({"output": folder / "other"}), "which is a file"),
    "a URL": (lambda folder: ({"output": Path("s3://bucket/data")}), "pack locally"),
    "no objects": (lambda folder: ({"output": folder / "s", "objects_per_shard": 0}), "objects_per_shard"),
    "no quality": (lambda folder: ({"output": folder / "s", "quality": 0}), "quality"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_wrong_arguments_are_named_and_nothing_is_written(archive, tmp_path, case):
    (tmp_path / "other").write_text("dear")
    arguments, message = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=message):
        write_shards(archive, **arguments(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_place_without_shards_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data: wanted shards\.json in .*; got none"):
        Shards(tmp_path)


def test_an_object_beyond_the_end_is_an_error(shards):
    with pytest.raises(IndexError):
        open_archive(shards).read(4)
    with pytest.raises(IndexError):
        open_archive(shards).records[4]
