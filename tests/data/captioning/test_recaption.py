"""A data set is copied with more said of it, and nothing else changes."""

import json
import os
import tempfile
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from making import bytes_of
from tiny import THINGS, pictures_of, ring, write_things

from vader3d.captions import Caption
from vader3d.cli.main import main
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.archive.reader import Archive
from vader3d.data.captioning.recaption import Describer, captions_for, recaption
from vader3d.data.captioning.template import Look, look_of, template_captions
from vader3d.data.making.chairs import design, prepare_chairs
from vader3d.data.making.copying import write_shards
from vader3d.data.making.status import status_of
from vader3d.data.named import open_archive
from vader3d.geometry.cameras import unposed_cameras

NAMES = list(THINGS)


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Archive:
    return write_things(tmp_path_factory.mktemp("things") / "things.zip")


@pytest.fixture(scope="module")
def packed(things, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "shards"
    write_shards(things, folder, objects_per_shard=3)
    return open_archive(folder)


class Parrot:
    """Says the same of every picture, and remembers what it was asked."""

    def __init__(self, *texts: str, dies_at: int | None = None):
        self.name, self.texts, self.asked, self.dies_at = "parrot", texts, [], dies_at

    def __call__(self, pictures, hint):
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        self.asked.append((pictures.shape, pictures.dtype, hint))
        return self.texts


@dataclass
class Noting:
    """Notes which process was asked about what; waits at first until so many are at it."""

    folder: Path
    together: int = 1
    name = "noting"

    def __repr__(self) -> str:
        return self.name

    def __call__(self, pictures, hint):
        handle, _ = tempfile.mkstemp(dir=self.folder, prefix=f"{hint}.{os.getpid()}.")
        os.close(handle)
        deadline = time.monotonic() + 300
        while len({path.name.split(".")[1] for path in self.folder.iterdir()}) < self.together:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return (f"a noted {hint}",)


class Judge:
    name = "judge"

    def __call__(self, texts, pictures):
        return [0.1 if "bad" in text else 0.3 for text in texts]


def texts_of(record: ObjectRecord) -> list[str]:
    return [caption.text for caption in record.captions]


@pytest.mark.parametrize("source", ["archive", "shards"])
@pytest.mark.parametrize("target", ["archive", "shards"])
def test_pictures_cameras_and_fingerprint_stay(source, target, things, packed, tmp_path):
    data = things if source == "archive" else packed
    recaption(data, tmp_path / "new", objects_per_shard=2 if target == "shards" else None)
    copy = open_archive(tmp_path / "new")
    assert copy.fingerprint == data.fingerprint
    assert [record.name for record in copy.records] == NAMES
    assert all(f"a {name}" in texts_of(record) for name, record in zip(NAMES, copy.records, strict=True))
    for index in range(len(data)):
        assert np.array_equal(copy.read(index).pictures, data.read(index).pictures)
        assert copy.read(index).cameras.intrinsics.equal(data.read(index).cameras.intrinsics)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_bytes_of_an_archives_pictures_are_copied(things, tmp_path):
    recaption(things, tmp_path / "new.zip")
    old, new = zipfile.ZipFile(things.path), zipfile.ZipFile(tmp_path / "new.zip")
    assert old.namelist() == new.namelist()
    assert {n for n in old.namelist() if old.read(n) != new.read(n)} == {"archive.json"}


def test_bytes_of_shards_pictures_are_copied(packed, tmp_path):
    recaption(packed, tmp_path / "new", objects_per_shard=1)
    new = open_archive(tmp_path / "new")
    for index in range(len(packed)):
        assert [(n, bytes(d)) for n, d in new.members(index)] == [(n, bytes(d)) for n, d in packed.members(index)]


def test_other_pictures_under_a_copied_fingerprint_are_noticed(things, tmp_path):
    recaption(things, tmp_path / "new.zip")
    with zipfile.ZipFile(tmp_path / "new.zip") as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as changed:
        for name, data in members.items():
            changed.writestr(name, members["000001/cameras.npy"][::-1] if name == "000000/cameras.npy" else data)
    assert Archive(tmp_path / "new.zip").fingerprint != things.fingerprint


def test_a_selection_is_copied_alone(things, tmp_path):
    recaption(things.select([2, 0]), tmp_path / "new.zip")
    copy = open_archive(tmp_path / "new.zip")
    assert [record.name for record in copy.records] == [NAMES[2], NAMES[0]]
    assert np.array_equal(copy.read(0).pictures, things.read(2).pictures)
    assert copy.fingerprint == things.select([2, 0]).fingerprint


def test_captions_of_a_file_come_first_and_what_is_unknown_is_counted(things, tmp_path, capsys):
    lines = [{"name": NAMES[1], "captions": ["the second", "number two"]}, {"name": "nobody", "caption": "x"}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    paths = [str(things.path), "--output", str(tmp_path / "new.zip"), "--captions", str(tmp_path / "c.jsonl")]
    main(["prepare", "captions", *paths, "--no-template"])
    told = capsys.readouterr().out
    assert "1 names are no object's: nobody" in told
    assert "3 objects have no caption in it" in told
    records = open_archive(tmp_path / "new.zip").records
    assert texts_of(records[1]) == ["the second", "number two", f"a {NAMES[1]}"]
    assert [caption.source for caption in records[1].captions] == ["c", "c", ""]
    assert texts_of(records[0]) == [f"a {NAMES[0]}"]


def test_a_network_is_asked_about_some_views_and_bad_captions_are_dropped(things, tmp_path):
    parrot = Parrot("a nice  thing", "a bad thing", "a nice thing", "")
    report = recaption(things, tmp_path / "new.zip", Describer(captioner=parrot, scorer=Judge(), views=3))
    assert parrot.asked[0][:2] == ((3, 24, 24, 3), np.uint8)
    assert len(parrot.asked) == len(things)
    for record in open_archive(tmp_path / "new.zip").records:
        assert record.captions[0] == Caption("a nice thing", "parrot")
        assert "a bad thing" not in texts_of(record)
    assert f"1 captions left out that fit the pictures by less than 0.2: {len(things)} objects" in report.notes
    assert f"{4 * len(things)} captions" in report.notes


def test_what_a_network_said_before_a_stop_is_not_asked_again(things, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        recaption(things, tmp_path / "new.zip", Describer(captioner=Parrot("a thing", dies_at=2)))
    assert not (tmp_path / "new.zip").exists()
    assert status_of(tmp_path / "new.zip").done == 2
    again = Parrot("a thing")
    recaption(things, tmp_path / "new.zip", Describer(captioner=again))
    assert len(again.asked) == len(things) - 2
    assert all(texts_of(record)[0] == "a thing" for record in open_archive(tmp_path / "new.zip").records)
    assert list(tmp_path.iterdir()) == [tmp_path / "new.zip"]


def test_other_settings_are_not_mixed_with_what_was_said(things, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        recaption(things, tmp_path / "new.zip", Describer(captioner=Parrot("a thing", dies_at=2)))
    again = Parrot("a thing")
    with pytest.raises(ValueError, match="wanted the parts of this command; got those of another"):
        recaption(things, tmp_path / "new.zip", Describer(captioner=again, views=2))
    assert again.asked == []


def told_in(folder: Path) -> dict[str, int]:
    """How often each kind of thing was asked about."""
    return Counter(path.name.split(".")[0] for path in folder.iterdir())


def test_two_commands_and_several_processes_tell_each_object_once(things, tmp_path):
    """To the byte what one process tells."""
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    recaption(things, tmp_path / "one" / "new", Describer(captioner=Noting(tmp_path / "alone")))
    describer = Describer(captioner=Noting(tmp_path / "shared", together=2))
    with ThreadPoolExecutor(2) as commands:
        made = [
            commands.submit(recaption, things, tmp_path / "two" / "new", describer, processes=processes)
            for processes in (1, 2)
        ]
    assert {report.result().objects for report in made} == {len(things)}
    kinds = {name.split()[-1] for name in NAMES}
    assert told_in(tmp_path / "alone") == told_in(tmp_path / "shared") == dict.fromkeys(kinds, 1)
    assert len({path.name.split(".")[1] for path in (tmp_path / "shared").iterdir()}) > 1  # processes
    assert bytes_of(tmp_path / "one" / "new") == bytes_of(tmp_path / "two" / "new")


def test_a_damaged_object_is_left_out(things, tmp_path):
    with zipfile.ZipFile(things.path) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as changed:
        for name, data in members.items():
            changed.writestr(name, data[:-9] if name == "000001/pictures-000.webp" else data)
    report = recaption(Archive(tmp_path / "old.zip"), tmp_path / "new.zip")
    assert report.objects == len(things) - 1
    assert NAMES[1] in report.skipped[0]
    assert [record.name for record in open_archive(tmp_path / "new.zip").records] == [NAMES[0], *NAMES[2:]]


def test_the_data_are_not_written_over(things):
    with pytest.raises(ValueError, match="output: wanted another file than the data's"):
        recaption(things, things.path)


def test_things_are_seen_as_they_are(things):
    for name, views in zip(NAMES, map(things.read, range(len(things))), strict=True):
        look = look_of(views)
        assert look.colours[0] == name.split()[0]
        assert look.shape == {"tower": "tall", "slab": "flat"}.get(name.split()[1], "")


@pytest.mark.parametrize(
    ("extents", "shape"),
    [((1, 1, 1), ""), ((0.5, 0.5, 2), "tall"), ((2, 1.5, 0.3), "flat"), ((2, 0.8, 1), "wide"), ((0.8, 2, 1), "long")],
)
def test_proportions_have_words(extents, shape):
    assert Look(("red",), extents).shape == shape


def test_the_template_says_what_is_known():
    look = Look(("red", "white"), (0.5, 0.5, 2))
    lamp = ObjectRecord("x", (Caption("desk lamp, lights", "catalogue"),))
    assert [c.text for c in template_captions(lamp, look)] == [
        "a tall red and white desk lamp",
        "a red desk lamp",
        "a red lamp",
        "a lamp, red",
    ]
    assert template_captions(lamp, look, usual_size=9.0)[0].text == "a small tall red and white desk lamp"
    assert template_captions(ObjectRecord("a1"), look) == ()
    plain = Look(("red",), (1, 1, 1))
    assert [c.text for c in template_captions(ObjectRecord("chair"), plain)] == [
        "a red chair",
        "a chair",
        "a chair, red",
    ]


def test_of_clips_without_cameras_only_colours_are_told():
    views = ObjectViews(pictures_of(THINGS["green table"], ring(3, 24)), unposed_cameras(3, size=24))
    look = look_of(views)
    assert look.colours[0] == "green"
    assert (look.size, look.shape) == (0.0, "")
    assert [c.text for c in template_captions(ObjectRecord("table"), look, usual_size=1.0)] == [
        "a green and brown table",
        "a green table",
        "a table, green",
    ]


def test_our_chairs_are_known_by_source_and_by_name():
    exact = list(design(0, 12).captions)
    for name in ("chair-00012", "c-chair-00012"):
        assert [c.text for c in captions_for(ObjectRecord(name))] == exact
    assert [c.text for c in captions_for(ObjectRecord("chair-00012"), seed=3)] == list(design(3, 12).captions)
    other = ObjectRecord("chair-00012", source="vader3d chairs, edition 1, series 5, piece 7")
    assert [c.text for c in captions_for(other)] == list(design(5, 7).captions)
    assert captions_for(ObjectRecord("chair-00012", source="somebody's")) == ()


def test_chairs_keep_exact_captions_whatever_a_judge_thinks(tmp_path):
    class Never(Judge):
        def __call__(self, texts, pictures):
            return [-1.0] * len(texts)

    prepare_chairs(tmp_path / "a.zip", count=2, views=6, size=32, processes=1)
    recaption(open_archive(tmp_path / "a.zip"), tmp_path / "b.zip", Describer(scorer=Never()))
    for index, record in enumerate(open_archive(tmp_path / "b.zip").records):
        assert texts_of(record) == list(design(0, index).captions)
        assert record.tags == design(0, index).tags
