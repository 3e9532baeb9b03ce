"""Shards that are damaged or hostile are refused, object by object."""

import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import THINGS

from vader3d.data.archive.format import ArchiveError
from vader3d.data.dataset import usual_views
from vader3d.data.inspection.faults import inspect_archive
from vader3d.data.named import open_archive, readable_objects
from vader3d.data.shards.format import sample_to_tar
from vader3d.evaluation.measurements import has_true_meshes


def change_index(folder: Path, change) -> None:
    index = json.loads((folder / "shards.json").read_text())
    change(index)
    (folder / "shards.json").write_text(json.dumps(index))


BAD_INDICES = {
    "no JSON": (lambda p: (p / "shards.json").write_text("{"), "Expecting"),
    "a list": (lambda p: (p / "shards.json").write_text("[]"), "wanted format, version"),
    "deep nesting": (lambda p: (p / "shards.json").write_text("[" * 100_000), "recursion"),
    "another format": (lambda p: change_index(p, lambda i: i.update(format="zoo")), "'vader3d-shards'; got 'zoo'"),
    "newer": (lambda p: change_index(p, lambda i: i.update(version=4)), "wanted at most 3; got 4; update"),
    "absurd resolution": (lambda p: change_index(p, lambda i: i.update(resolution=[10**6, 1])), "wanted sides of 1 to"),
    "a file elsewhere": (lambda p: change_index(p, lambda i: i["shards"][0].update(file="../x.tar")), "got '/' in"),
    "a wrong count": (lambda p: change_index(p, lambda i: i.update(objects=9)), "wanted 9 objects"),
    "a gap": (lambda p: change_index(p, lambda i: i["shards"][1].update(first=4)), "a .tar of objects from 3 on"),
    "a lacking field": (lambda p: change_index(p, lambda i: i["shards"][0].pop("sha256")), "sha256"),
    "no shards": (lambda p: change_index(p, lambda i: i.update(shards=[], objects=0)), "wanted 0 objects, above 0"),
    "a wild subset": (lambda p: change_index(p, lambda i: i.update(subsets={"s": [9]})), "objects 0 to 3; got 9"),
}


@pytest.mark.parametrize("case", BAD_INDICES)
def test_a_broken_or_hostile_index_is_refused(shards, case):
    spoil, message = BAD_INDICES[case]
    spoil(shards)
    with pytest.raises(ArchiveError, match=message) as caught:
        open_archive(shards)
    assert "shards.json" in str(caught.value)


def test_a_damaged_index_of_a_shard_costs_that_shard(shards):
    path = shards / "shard-000001.json"
    path.write_text(path.read_text().replace('"offset": 0', '"offset": 1'))
    with pytest.raises(ArchiveError, match=r"shard-000001\.json: wanted the file that was packed"):
        open_archive(shards).read(3)
    path.unlink()
    with pytest.raises(ArchiveError, match=r"shard-000001\.json: wanted for 1 objects; got none"):
        open_archive(shards).read(3)
    readable, problems = readable_objects(open_archive(shards))
    assert (len(readable), len(problems)) == (3, 1)


def test_inspection_and_evaluation_go_past_a_damaged_index(shards, tmp_path):
    (shards / "shard-000000.json").write_bytes(b"no index")
    report = inspect_archive(open_archive(shards), tmp_path / "inspected")
    assert sum("shard-000000.json: wanted the file that was packed" in str(problem) for problem in report.problems) == 3
    assert report.views == 12
    assert usual_views(open_archive(shards)) == 12
    assert has_true_meshes(open_archive(shards)) is False


def test_a_folder_in_the_place_of_a_shard_costs_its_objects(shards):
    (shards / "shard-000000.tar").unlink()
    (shards / "shard-000000.tar").mkdir()
    readable, problems = readable_objects(open_archive(shards))
    assert (len(readable), len(problems)) == (1, 3)


def spoil_shard(folder: Path, change) -> None:
    """Put `change(samples)` where the first shard was, with an index that agrees: what a hostile packer can do."""
    with tarfile.open(folder / "shard-000000.tar") as opened:
        members = [(m.name.partition("."), opened.extractfile(m).read()) for m in opened.getmembers()]
    samples: list[dict[str, bytes]] = [{}, {}, {}]
    for (key, _, extension), data in members:
        samples[int(key)][extension] = data
    packed = [change(number, sample) for number, sample in enumerate(samples)]
    entries = json.loads((folder / "shard-000000.json").read_text())["objects"]
    offset = 0
    for entry, data in zip(entries, packed, strict=True):
        entry.update(offset=offset, bytes=len(data), crc32=zlib.crc32(data))
        offset += len(data)
    text = json.dumps({"objects": entries})
    (folder / "shard-000000.json").write_text(text)
    (folder / "shard-000000.tar").write_bytes(b"".join(packed) + bytes(1024))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    change_index(folder, lambda i: i["shards"][0].update(index_sha256=checksum, bytes=offset + 1024))


def picture(size: tuple[int, int], kind: str = "WEBP") -> bytes:
    data = io.BytesIO()
    Image.new("RGBA", size).save(data, kind)
    return data.getvalue()


def cameras_with(sample: dict[str, bytes], **changes) -> bytes:
    return json.dumps({**json.loads(sample["cameras.json"]), **changes}).encode()


HOSTILE = {
    "a bomb of a picture": (lambda s: {"0003.webp": picture((400, 400))}, "picture: wanted 24 x 24 px; got 400 x 400"),
    "another kind of picture": (lambda s: {"0003.webp": picture((24, 24), "PNG")}, "picture: wanted a whole WebP"),
    "half a picture": (lambda s: {"0003.webp": s["0003.webp"][:50]}, "picture: wanted a whole WebP"),
    "a huge member": (lambda s: {"0003.webp": bytes(10**5)}, "at most"),
    "a missing picture": (lambda s: {"0003.webp": None}, "0003.webp: wanted in the sample; got none"),
    "no cameras": (lambda s: {"cameras.json": None}, "cameras.json: wanted in the sample; got none"),
    "pickled cameras": (lambda s: {"cameras.json": b"\x80\x04N."}, "cameras.json"),
    "too few cameras": (lambda s: {"cameras.json": cameras_with(s, intrinsics=[[1, 1, 1, 1]])}, "cameras.json"),
    "skewed cameras": (
        lambda s: {"cameras.json": cameras_with(s, world_from_camera=np.ones((12, 3, 4)).tolist())},
        "rigid",
    ),
    "cameras of text": (lambda s: {"cameras.json": cameras_with(s, intrinsics="many")}, "cameras.json"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_sample_is_refused_and_costs_that_object(archive, shards, case):
    change, message = HOSTILE[case]

    def spoiled(number: int, sample: dict[str, bytes]) -> bytes:
        changed = {**sample, **(change(sample) if number == 1 else {})}
        return sample_to_tar(number, [(name, data) for name, data in changed.items() if data is not None])

    spoil_shard(shards, spoiled)
    packed = open_archive(shards)
    with pytest.raises(ArchiveError, match=message) as caught:
        packed.read(1)
    assert f"object '{list(THINGS)[1]}'" in str(caught.value)
    assert "shard-000000.tar" in str(caught.value)
    for good in (0, 2, 3):
        assert np.array_equal(packed.read(good).pictures, archive.read(good).pictures)


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.USTAR_FORMAT)


HEADERS = {
    "a link": tar_member("000000001.0000.webp", tarfile.SYMTYPE, link="/etc/passwd"),
    "a device": tar_member("000000001.0000.webp", tarfile.CHRTYPE),
    "a way out": tar_member("../../evil"),
    "an absolute name": tar_member("/etc/evil"),
    "another object's": tar_member("000000002.txt"),
    "a member beyond the end": tar_member("000000001.x", size=10**9),
    "no header": b"\xff" * 512,
}


@pytest.mark.parametrize("case", HEADERS)
def test_only_plain_files_of_the_object_are_read(shards, case):
    def spoiled(number: int, sample: dict[str, bytes]) -> bytes:
        return (HEADERS[case] if number == 1 else b"") + sample_to_tar(number, list(sample.items()))

    spoil_shard(shards, spoiled)
    with pytest.raises(ArchiveError, match="; got member"):
        open_archive(shards).read(1)
    assert open_archive(shards).read(2)


def test_a_shard_cut_short_costs_what_it_lacks(archive, shards):
    path = shards / "shard-000000.tar"
    spans = json.loads((shards / "shard-000000.json").read_text())["objects"]
    path.write_bytes(path.read_bytes()[: spans[1]["offset"] + 700])
    packed = open_archive(shards)
    for index, message in ((1, "got 700, it is cut short"), (2, "got 0, it is cut short")):
        with pytest.raises(ArchiveError, match=message):
            packed.read(index)
    for good in (0, 3):
        assert np.array_equal(packed.read(good).pictures, archive.read(good).pictures)
    path.unlink()
    with pytest.raises(ArchiveError, match="got 0, it is cut short"):
        packed.read(0)


def test_a_flipped_byte_is_noticed(shards):
    path = shards / "shard-000000.tar"
    data = bytearray(path.read_bytes())
    data[json.loads((shards / "shard-000000.json").read_text())["objects"][1]["offset"] + 5000] ^= 1
    path.write_bytes(data)
    packed = open_archive(shards)
    with pytest.raises(ArchiveError, match="checksum"):
        packed.read(1)
    assert packed.read(2)
