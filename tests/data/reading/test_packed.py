"""Zips and tars of data sets: read, and no bombs."""

import io
import tarfile
import zipfile

import pytest
from marked import check_marked, prepared

from vader3d.data.reading.folders import unpacked


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_a_tar_is_a_source_and_links_in_it_are_left_out(suffix, folder, views):
    (folder / "images" / "link.png").symlink_to("/etc/hostname")
    source = folder.parent / f"things.{suffix}"
    with tarfile.open(source, "w:" + {"tgz": "gz", "tar": ""}.get(suffix, suffix[4:])) as opened:
        opened.add(folder, "inner")
    with unpacked(source) as place:
        assert place.name == "things"
        assert not (place / "inner" / "images" / "link.png").exists()
    read, _, archive = prepared(source)
    check_marked(read, truth=views)
    assert [record.name for record in archive.records] == ["inner"]


def test_a_tar_is_no_bomb_and_writes_nothing_elsewhere(tmp_path):
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as opened:
        info = tarfile.TarInfo("transforms.json")
        info.size = 2**26
        opened.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ValueError, match=r"bomb.tar.gz: tar: wanted at most \d+ bytes unpacked; got more"):
        prepared(tmp_path / "bomb.tar.gz")
    with tarfile.open(tmp_path / "bad.tar", "w") as opened:
        opened.addfile(tarfile.TarInfo("../../outside.json"))
    with pytest.raises(ValueError, match=r"bad.tar: names: wanted those of files in it; got '../../outside.json'"):
        prepared(tmp_path / "bad.tar")
    (tmp_path / "cut.tgz").write_bytes((tmp_path / "bomb.tar.gz").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut.tgz: wanted a tar; got a damaged"):
        prepared(tmp_path / "cut.tgz")


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.tar.zst"])
def test_archives_that_nothing_opens_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"Rar!")
    with pytest.raises(ValueError, match=rf"source: wanted a folder, a .zip or a .tar.gz; got {name}; unpack it"):
        prepared(tmp_path / name)


def test_a_zip_writes_nothing_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as opened:
        opened.writestr("../../outside.json", "{}")
    with pytest.raises(ValueError, match=r"bad.zip: names: wanted those of files in it; got '../../outside.json'"):
        prepared(tmp_path / "bad.zip")
