"""Shards give back what the archive held, to us and to others, and refuse what is damaged or hostile."""

import hashlib
import io
import json
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import webdataset
from PIL import Image
from tiny import THINGS, write_things

from vader3d.cli.main import main
from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.splits import heldout_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.views import PosedViews
from vader3d.data.inspection.faults import inspect_archive
from vader3d.data.named import open_archive, readable_objects
from vader3d.data.shards.format import sample_to_tar
from vader3d.data.shards.reader import Shards
from vader3d.data.shards.writer import write_shards


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "tiny.zip")


@pytest.fixture
def shards(archive, tmp_path) -> Path:
    """Four objects, three in the first shard."""
    write_shards(archive, tmp_path / "shards", objects_per_shard=3)
    return tmp_path / "shards"


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
    report = write_shards(archive, tmp_path / "s", objects_per_shard=per_shard, threads=2)
    assert len(list((tmp_path / "s").glob("*.tar"))) == report.shards == -(-4 // per_shard)
    packed = open_archive(tmp_path / "s")
    assert same_objects(packed, archive)
    assert packed.fingerprint == archive.fingerprint


def test_equal_archives_give_equal_bytes(archive, tmp_path):
    for name in "ab":
        write_shards(archive, tmp_path / name, objects_per_shard=3)
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


def test_the_index_tells_what_is_there(shards):
    index = json.loads((shards / "shards.json").read_text())
    assert (index["format"], index["version"], index["objects"], index["resolution"]) == (
        "vader3d-shards",
        1,
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
            writer.add(record.name, "", *archive.read(index), mesh=box)
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
    assert (report.objects, len(report.problems)) == (3, 1)
    assert list(THINGS)[1] in report.problems[0]
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
        writer.add("noise", "", noise, archive.read(0).cameras)
    noisy = open_archive(tmp_path / "a.zip")
    sizes = [write_shards(noisy, tmp_path / str(quality), quality=quality).bytes for quality in (100, 50)]
    assert sizes[1] < 0.8 * sizes[0]
    assert open_archive(tmp_path / "100").fingerprint == noisy.fingerprint != open_archive(tmp_path / "50").fingerprint
    assert same_objects(open_archive(tmp_path / "100"), noisy)
    assert not same_objects(open_archive(tmp_path / "50"), noisy)


def test_the_command_packs_and_says_so(archive, tmp_path, capsys):
    main(["prepare", "shards", str(archive.path), "--output", str(tmp_path / "s"), "--objects-per-shard", "2"])
    assert "4 objects in 2 shards" in capsys.readouterr().out
    assert same_objects(open_archive(str(tmp_path / "s")), archive)


def test_a_stopped_packing_is_no_data_set_and_begins_anew(archive, tmp_path):
    output = tmp_path / "s"
    write_shards(archive, output, objects_per_shard=1)
    (output / "shards.json").unlink()
    (output / "shard-000004.part").write_bytes(b"half")
    with pytest.raises(ArchiveError, match="a folder"):
        open_archive(output)
    write_shards(archive, output, objects_per_shard=3)
    assert same_objects(open_archive(output), archive)
    assert len(list(output.iterdir())) == 5


BAD_ARGUMENTS = {
    "a folder of other things": (lambda folder: ({"output": folder}), "holds other; choose an empty"),
    "a file": (lambda folder: ({"output": folder / "other"}), "is a file"),
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


def change_index(folder: Path, change) -> None:
    index = json.loads((folder / "shards.json").read_text())
    change(index)
    (folder / "shards.json").write_text(json.dumps(index))


BAD_INDICES = {
    "no JSON": (lambda p: (p / "shards.json").write_text("{"), "Expecting"),
    "a list": (lambda p: (p / "shards.json").write_text("[]"), "lacks"),
    "deep nesting": (lambda p: (p / "shards.json").write_text("[" * 100_000), "recursion"),
    "another format": (lambda p: change_index(p, lambda i: i.update(format="zoo")), "'vader3d-shards' wanted, 'zoo'"),
    "newer": (lambda p: change_index(p, lambda i: i.update(version=2)), "made by a newer vader3d"),
    "absurd resolution": (lambda p: change_index(p, lambda i: i.update(resolution=[10**6, 1])), "sides of 1 to"),
    "a file elsewhere": (lambda p: change_index(p, lambda i: i["shards"][0].update(file="../x.tar")), "holds '/'"),
    "a wrong count": (lambda p: change_index(p, lambda i: i.update(objects=9)), "9 objects wanted"),
    "a gap": (lambda p: change_index(p, lambda i: i["shards"][1].update(first=4)), "from 3 wanted"),
    "a lacking field": (lambda p: change_index(p, lambda i: i["shards"][0].pop("sha256")), "sha256"),
    "no shards": (lambda p: change_index(p, lambda i: i.update(shards=[], objects=0)), "0 objects"),
    "a wild subset": (lambda p: change_index(p, lambda i: i.update(subsets={"s": [9]})), "do not exist"),
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
    with pytest.raises(ArchiveError, match=r"shard-000001\.json is not the file that was packed"):
        open_archive(shards).read(3)
    path.unlink()
    with pytest.raises(ArchiveError, match=r"shard-000001\.json is missing"):
        open_archive(shards).read(3)
    readable, problems = readable_objects(open_archive(shards))
    assert (len(readable), len(problems)) == (3, 1)


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
    "a bomb of a picture": (lambda s: {"0003.webp": picture((400, 400))}, "a sheet of 24 x 24 px wanted"),
    "another kind of picture": (lambda s: {"0003.webp": picture((24, 24), "PNG")}, "a damaged picture"),
    "half a picture": (lambda s: {"0003.webp": s["0003.webp"][:50]}, "a damaged picture"),
    "a huge member": (lambda s: {"0003.webp": bytes(10**5)}, "at most"),
    "a missing picture": (lambda s: {"0003.webp": None}, "0003.webp is missing"),
    "no cameras": (lambda s: {"cameras.json": None}, "cameras.json is missing"),
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
    with pytest.raises(ArchiveError, match="damaged: member"):
        open_archive(shards).read(1)
    assert open_archive(shards).read(2)


def test_a_shard_cut_short_costs_what_it_lacks(archive, shards):
    path = shards / "shard-000000.tar"
    spans = json.loads((shards / "shard-000000.json").read_text())["objects"]
    path.write_bytes(path.read_bytes()[: spans[1]["offset"] + 700])
    packed = open_archive(shards)
    for index, message in ((1, "cut short: 700 of"), (2, "cut short: 0 of")):
        with pytest.raises(ArchiveError, match=message):
            packed.read(index)
    for good in (0, 3):
        assert np.array_equal(packed.read(good).pictures, archive.read(good).pictures)
    path.unlink()
    with pytest.raises(ArchiveError, match="cut short: 0 of"):
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


def test_a_place_without_shards_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no shards\.json"):
        Shards(tmp_path)


def test_an_object_beyond_the_end_is_an_error(shards):
    with pytest.raises(IndexError):
        open_archive(shards).read(4)
    with pytest.raises(IndexError):
        open_archive(shards).records[4]
