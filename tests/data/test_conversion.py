"""Many objects into one archive: in order, past broken ones, all or nothing."""

import numpy as np
import pytest
import torch

from vader3d.data.archive import ArchiveError, open_archive
from vader3d.data.archive_writer import ArchiveWriter
from vader3d.data.conversion import Job, PreparedObject, write_archive
from vader3d.geometry.cameras import orbit_cameras


def make(name: str, value: int) -> PreparedObject:
    if value == 0:
        raise RuntimeError("no value")
    if value < 0:
        raise KeyboardInterrupt
    cameras = orbit_cameras(torch.zeros(1), torch.zeros(1), distance=4, fov_degrees=30, size=4)
    pictures = np.full((1, 4, 4, 4), value, np.uint8)
    return PreparedObject(name, name, pictures, cameras, identity=str(value), note="all the same")


def written(tmp_path, values, *, processes=1, **options):
    jobs = [Job(f"thing {i}", make, (f"thing {i}", value)) for i, value in enumerate(values)]
    options = {"title": "t", "resolution": (4, 4), **options}
    return write_archive(tmp_path / "out.zip", jobs, processes=processes, **options)


@pytest.mark.parametrize("processes", [1, 2])
def test_objects_keep_their_order_and_broken_ones_are_reported(processes, tmp_path):
    values = [7, 0, 9, 8, 7, 5, 4, 3]
    report = written(tmp_path, values, processes=processes)
    archive = open_archive(tmp_path / "out.zip")
    assert [int(archive.read(i).pictures[0, 0, 0, 0]) for i in range(len(archive))] == [7, 9, 8, 5, 4, 3]
    assert report.objects == 6
    assert report.skipped == ["thing 1: RuntimeError: no value", "thing 4: the same as thing 0"]
    assert "all the same: 6 objects" in str(report)
    assert "2 skipped:" in str(report)


def test_subsets_note_names_that_are_not_there(tmp_path):
    report = written(tmp_path, [1, 2, 3], subsets={"some": ["thing 2", "thing 9", "thing 0"]})
    assert [record.name for record in open_archive(tmp_path / "out.zip").subset("some").records] == [
        "thing 2",
        "thing 0",
    ]
    assert report.notes[0] == "subset some: 1 names are not there, e.g. thing 9"


def test_no_usable_object_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"none of 2 objects can be used:\n  thing 0: RuntimeError: no value"):
        written(tmp_path, [0, 0])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, [3, -1, 4])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_everything_at_once(tmp_path, monkeypatch):
    def full(self, member, data, compression=0):
        raise ArchiveError("cannot be written (No space left on device)")

    monkeypatch.setattr(ArchiveWriter, "_write", full)
    with pytest.raises(ArchiveError, match="No space left"):
        written(tmp_path, [1, 2, 3])
    assert list(tmp_path.iterdir()) == []
