"""Data sets joined: objects, pictures and captions stay; names stay apart; what is broken is named."""

import numpy as np
import pytest
from tiny import THINGS, write_things

from vader3d.cli.main import main
from vader3d.data.making.joining import join
from vader3d.data.named import open_archive

BALL, BOX = dict([*THINGS.items()][:2]), dict([*THINGS.items()][1:3])


@pytest.fixture
def parts(tmp_path):
    return [
        write_things(tmp_path / f"{name}.zip", things, views=6, size=16) for name, things in (("a", BALL), ("b", BOX))
    ]


def test_all_is_there_in_order_and_to_the_byte(parts, tmp_path):
    output = tmp_path / "both.zip"
    main(["prepare", "join", *(str(part.path) for part in parts), "--output", str(output), "--title", "Both"])
    both = open_archive(output)
    (one, shared), (_, other) = BALL, BOX
    assert [record.name for record in both.records] == [one, f"a-{shared}", f"b-{shared}", other]
    assert (both.title, dict(both.subsets)) == ("Both", {"a": (0, 1), "b": (2, 3)})
    for index, (part, place) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert np.array_equal(both.read(index).pictures, parts[part].read(place).pictures)
        assert both.records[index].captions == parts[part].records[place].captions
    assert both.subset("b").records[1].name == other


def test_shards_and_equal_file_names(parts, tmp_path):
    main(["prepare", "shards", str(parts[0].path), "--output", str(tmp_path / "more" / "a")])
    report = join([parts[0], open_archive(tmp_path / "more" / "a")], tmp_path / "both", objects_per_shard=3)
    assert report.objects == 4
    joined = open_archive(tmp_path / "both")
    assert sorted(joined.subsets) == ["a-0", "a-1"]
    assert len({record.name for record in joined.records}) == 4


def test_what_cannot_be_joined_is_said(parts, tmp_path):
    small = write_things(tmp_path / "small.zip", BALL, views=6, size=12)
    with pytest.raises(ValueError, match=r"pictures of one size; got 2 \(.*a\.zip: 16x16, .*small\.zip: 12"):
        join([parts[0], small], tmp_path / "out.zip")
    with pytest.raises(ValueError, match="data: wanted at least 2 data sets to join; got 1"):
        join(parts[:1], tmp_path / "out.zip")
    with pytest.raises(ValueError, match="output: wanted another file than the data's"):
        join(parts, parts[0].path)
    assert not (tmp_path / "out.zip").exists()


def test_a_broken_object_is_left_out_and_named(parts, tmp_path):
    path = parts[1].path
    data = bytearray(path.read_bytes())
    place = data.index(b"RIFF")
    data[place + 12 : place + 200] = b"x" * 188
    path.write_bytes(bytes(data))
    report = join([parts[0], open_archive(path)], tmp_path / "both.zip")
    assert report.objects == 3
    assert len(report.skipped) == 1
