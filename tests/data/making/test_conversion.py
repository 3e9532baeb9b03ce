"""Many objects into an archive or shards: in order, past broken ones, all or nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest
from making import INTERRUPTS, jobs_of, output_in
from processes import environment

from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.chairs import prepare_chairs
from vader3d.data.making.conversion import convert
from vader3d.data.named import open_archive


def written(tmp_path, values, *, objects_per_shard=None, processes=1, **options):
    return convert(jobs_of(values), output_in(tmp_path, objects_per_shard), processes=processes, **options)


@pytest.mark.parametrize("objects_per_shard", [None, 2])
def test_objects_keep_their_order_and_broken_ones_are_reported(objects_per_shard, tmp_path):
    """In an archive; in shards that of the parts."""
    report = written(tmp_path, [7, 0, 9, 8, 7, 5, 4, 3], objects_per_shard=objects_per_shard)
    archive = open_archive(tmp_path / "out.zip")
    found = [int(archive.read(i).pictures[0, 0, 0, 0]) - 1 for i in range(len(archive))]
    assert (found if objects_per_shard is None else sorted(found, reverse=True)) == (
        [7, 9, 8, 5, 4, 3] if objects_per_shard is None else [9, 8, 7, 5, 4, 3]
    )
    assert [record.name for record in archive.records if record.caption != record.name] == []
    assert report.objects == 6
    assert report.skipped == ["thing 1: RuntimeError: no value", "thing 4: the same as thing 0"]
    assert "all the same: 6 objects" in str(report)
    assert "2 skipped:" in str(report)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


@pytest.mark.parametrize("objects_per_shard", [None, 2])
def test_subsets_note_names_that_are_not_there(objects_per_shard, tmp_path):
    report = written(
        tmp_path, [1, 2, 3], objects_per_shard=objects_per_shard, subsets={"some": ["thing 2", "thing 9", "thing 0"]}
    )
    assert [record.name for record in open_archive(tmp_path / "out.zip").subset("some").records] == [
        "thing 2",
        "thing 0",
    ]
    assert report.notes[0] == "subset some: 1 names are not there, e.g. thing 9"


@pytest.mark.parametrize("objects_per_shard", [None, 2])
def test_no_usable_object_is_an_error_that_says_why(objects_per_shard, tmp_path):
    with pytest.raises(ValueError, match=r"1 usable object; got none of 2:\n  thing 0: RuntimeError: no value"):
        written(tmp_path, [0, 0], objects_per_shard=objects_per_shard)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("objects_per_shard", [None, 1])
def test_an_interrupt_leaves_nothing_half_written(objects_per_shard, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, [3, 2, 5, 6, 7, 8, 9, INTERRUPTS, 4], objects_per_shard=objects_per_shard)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if path.suffix in (".part", ".lock")] == []
    assert (tmp_path / "out.zip").exists() == (objects_per_shard is not None)


def test_a_full_disk_stops_everything_at_once(tmp_path, monkeypatch):
    def full(self, member, data, compression=0):
        raise OSError("No space left on device")

    monkeypatch.setattr(ArchiveWriter, "write_member", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path, [1, 2, 3])
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_deleted_and_nothing_else(tmp_path):
    """Its number says nothing: another process may have it by now."""
    kept = [".out.zip.words.part", ".other.zip.12345.part", "out.zip.part"]
    for name in [*kept, ".out.zip.1.part", f".out.zip.{os.getpid()}.part"]:
        (tmp_path / name).write_bytes(b"half")
    written(tmp_path, [1, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "out.zip"])
    assert len(open_archive(tmp_path / "out.zip")) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_the_finished_archive_and_goes_on(number, tmp_path):
    written(tmp_path, [1])
    before = (tmp_path / "out.zip").read_bytes()
    command = [sys.executable, "-m", "vader3d", "prepare", "chairs", "--output", str(tmp_path / "out.zip")]
    process = subprocess.Popen(
        [*command, "--count=12", "--views=4", "--size=16", "--processes=1"],
        stderr=subprocess.DEVNULL,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as background jobs do not
    )
    parts = tmp_path / "out.zip.parts"
    deadline = time.monotonic() + 120
    while not [*parts.glob("part-*.json")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(300) == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert (tmp_path / "out.zip").read_bytes() == before
    if number != signal.SIGKILL:
        assert [path.name for path in parts.iterdir() if path.suffix in (".part", ".lock")] == []
    with pytest.raises(ValueError, match=r"parts: wanted the parts of this command; got those of another"):
        written(tmp_path, [1])
    assert prepare_chairs(tmp_path / "out.zip", count=12, views=4, size=16, processes=1).objects == 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_captions_of_a_file_take_the_place_of_names(tmp_path):
    (tmp_path / "c.csv").write_text("thing 1,a red thing\nthing 1,a thing\nthing 9,x\n")
    report = written(tmp_path, [1, 2], captions=tmp_path / "c.csv")
    first, second = open_archive(tmp_path / "out.zip").records
    assert [caption.text for caption in first.captions] == ["thing 0"]
    assert [caption.text for caption in second.captions] == ["a red thing", "a thing"]
    assert report.notes[-2:] == [
        f"{tmp_path / 'c.csv'}: 1 names are no object's: thing 9",
        f"{tmp_path / 'c.csv'}: 1 objects have no caption in it: thing 0",
    ]


def test_a_faulty_caption_file_leaves_nothing(tmp_path):
    (tmp_path / "c.csv").write_text("thing 1\n")
    with pytest.raises(ValueError, match="line 1: wanted a name and a caption"):
        written(tmp_path, [1, 2], captions=tmp_path / "c.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]
