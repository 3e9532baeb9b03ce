"""A format is one reader and one line: what is left is done for it."""

from pathlib import Path

import foreign
import numpy as np
import pytest
import torch
from PIL import Image

from vader3d.cli.main import main
from vader3d.data.named import open_archive
from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.folders import prepare_folders
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.readers import READERS
from vader3d.data.writer import PreparedObject


def read_toy(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """Pictures beside poses as numpy has them; intrinsics in units of the picture's side."""
    lens, paths = np.array([1.4, 1.4, 0.5, 0.5]), sorted(folder.glob("*.png"))
    views = [SourceView(path, np.load(path.with_suffix(".npy")), lens, (1, 1)) for path in paths]
    return assembled_object(name, folder, chosen_views(views, reading.views), reading)


TOY = Reader("toy", "Toys.", "A folder of toys.", ("meta/toy.txt",), "white", read_toy)


@pytest.fixture
def toys(tmp_path, monkeypatch) -> Path:
    """Two objects, and a folder that is none; the reader is registered."""
    monkeypatch.setitem(READERS, TOY.name, TOY)
    for name in ("red", "more/green"):
        folder = tmp_path / "toys" / name
        (folder / "meta").mkdir(parents=True)
        (folder / "meta" / "toy.txt").touch()
        for number, view in enumerate(foreign.trimesh_views(size=24)):
            Image.fromarray(foreign.on_white(view.picture)).save(folder / f"{number}.png")
            np.save(folder / f"{number}.npy", view.pose @ np.diag([1, -1, -1, 1]))
    (tmp_path / "toys" / "notes").mkdir()
    return tmp_path / "toys"


def test_a_new_format_is_a_command_that_writes_archives_and_shards(toys, tmp_path, capsys):
    options = ["--size", "16", "--views", "5", "--processes", "1", "--title", "toys"]
    main(["prepare", "toy", str(toys), "--output", str(tmp_path / "toys.zip"), *options])
    main(["prepare", "toy", str(toys), "--output", str(tmp_path / "shards"), *options, "--objects-per-shard", "1"])
    assert capsys.readouterr().out.count("2 objects") == 4  # the report, its placement
    archive, shards = open_archive(tmp_path / "toys.zip"), open_archive(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 2
    assert [record.name for record in archive.records] == ["more.green", "red"]
    assert list(shards.records) == archive.records
    assert (shards.title, shards.resolution) == (archive.title, archive.resolution) == ("toys", (16, 16))
    for index in range(2):
        (pictures, cameras), (others, other_cameras) = archive.read(index), shards.read(index)
        assert pictures.shape == (5, 16, 16, 4)
        assert 0 < (pictures[..., 3] > 0).mean() < 1  # the white is no object
        assert np.array_equal(pictures, others)
        assert torch.equal(cameras.world_from_camera, other_cameras.world_from_camera)
        assert torch.equal(cameras.intrinsics, other_cameras.intrinsics)
        assert torch.allclose(cameras.intrinsics, torch.tensor([1.4 * 16, 1.4 * 16, 8.0, 8.0]))


def test_the_reader_has_the_usual_mask_and_the_reading_another(toys, tmp_path):
    reading = Reading(size=16, scale=1.0, offset=(0.0, 0.0, 0.0), mask="alpha")
    with pytest.raises(ValueError, match="mask: wanted transparent pixels; got none"):
        prepare_folders(TOY, toys, tmp_path / "toys.zip", reading, processes=1)
    assert prepare_folders(TOY, toys, tmp_path / "toys.zip", Reading(size=16), processes=1).objects == 2


def test_a_new_format_explains_itself(toys, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "toy", "--help"])
    shown = capsys.readouterr().out
    assert "A folder of toys." in shown
    assert "--objects-per-shard" in shown
    assert "(default: white)" in " ".join(shown.split())


@pytest.mark.parametrize("name", READERS)
def test_readers_are_registered_by_their_names(name):
    reader = READERS[name]
    assert reader.name == name
    assert reader.what.endswith(".")
    assert reader.markers
