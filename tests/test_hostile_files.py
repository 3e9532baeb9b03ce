"""No file, whatever its bytes, ends in a traceback: one line names it; what can do without it goes on."""

import contextlib
import dataclasses
import json
import random
import shutil
import tracemalloc
import zipfile
import zlib

import foreign
import pytest
import torch
import trimesh
from hostile import ODD_VALUES, check_error, damaged, places_in, spoilt_header, spoilt_member, swapped_json
from judged_models import write_model
from PIL import Image
from tiny import THINGS, pictures_of, ring
from toy import CONFIG, ToyTask

from vader3d.autodecoder.model import load_autodecoder
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.copying import write_shards
from vader3d.data.making.crew import Job, attempt
from vader3d.data.making.meshes import Photography, mesh_jobs
from vader3d.data.making.surface import load_surface
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.pictures import opened
from vader3d.data.reading.reader import Reading
from vader3d.data.shards.reader import Shards
from vader3d.data.writer import PreparedObject
from vader3d.diffusion.model import load_denoiser
from vader3d.evaluation.chunks import Measured, Measurement, read_chunk, write_chunk
from vader3d.evaluation.protocol import FOLDER, load_protocol
from vader3d.files import checksum_of
from vader3d.latents import load_latents, robust_statistics, save_latents
from vader3d.presets import preset
from vader3d.snapshots import load_snapshot, save_snapshot
from vader3d.training.checkpoint import load_state
from vader3d.training.distributed import ONE_PROCESS
from vader3d.training.ema import MovingAverage
from vader3d.training.log import read_metrics
from vader3d.training.loop import train
from vader3d.training.run import RunNotes
from vader3d.training.state import RunState
from vader3d.untrusted import read_bytes, reason_of

MESHES = ("obj", "ply", "stl", "off", "glb")
CASES = 20  # of each kind
CHUNK = Measurement("reference", "pictures", 3, {"seed": 0}, lambda numbers: Measured())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One whole file of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    cameras, ball = ring(8, 16), trimesh.creation.icosphere(subdivisions=1)
    with ArchiveWriter(folder / "tiny.zip", title="tiny", resolution=(16, 16)) as writer:
        for name, thing in THINGS.items():
            writer.add(PreparedObject(ObjectRecord(name), pictures_of(thing, cameras), cameras, ball))
        writer.set_subsets({"some": [0, 1]})
    archive = Archive(folder / "tiny.zip")
    write_shards(archive, folder / "shards", objects_per_shard=2)
    write_model(folder / "model", archive)
    latents = torch.randn(4, 8, 4, 4, 4)
    save_latents(folder / "latents.safetensors", latents, robust_statistics(latents), {})
    train(ToyTask(), dataclasses.replace(CONFIG, objects_seen=8), folder / "run", title="toy")
    notes().write(folder / "run")
    write_chunk(CHUNK, folder, [0, 1, 2], Measured({"features": torch.ones(3, 2)}))
    foreign.write_nerfstudio(folder / "scene", foreign.trimesh_views(size=16))
    for kind in MESHES:
        ball.export(folder / f"ball.{kind}")
    with zipfile.ZipFile(folder / "lib.sh3f", "w") as library:
        library.writestr("PluginFurnitureCatalog.properties", "name#1=Ball\nid#1=b\nmodel#1=/b/ball.obj\n")
        library.write(folder / "ball.obj", "b/ball.obj")
    return folder


def read_all(data):
    """Every object; those that cannot be read say so by name."""
    for index in range(len(data)):
        for read in (data.read, data.true_mesh):
            try:
                read(index)
            except ArchiveError as error:
                check_error(error, data_path(data))


def data_path(data):
    return type("Place", (), {"name": str(data.path)})


def notes():
    return RunNotes("autodecoder", "0", preset("tiny").autodecoder)


READERS = {
    "tiny.zip": (lambda path: read_all(Archive(path)), (damaged, spoilt_member)),
    "model/autodecoder.safetensors": (load_autodecoder, (damaged, spoilt_header)),
    "latents.safetensors": (load_latents, (damaged, spoilt_header)),
    "model/model.safetensors": (load_denoiser, (damaged, spoilt_header)),
    "run/state.pt": (load_state, (damaged,)),
    "run/metrics.jsonl": (lambda path: read_metrics(path.parent), (damaged,)),
    "run/run.json": (lambda path: notes().read(path.parent), (damaged, swapped_json)),
    "reference-00000.safetensors": (lambda path: read_chunk(CHUNK, path.parent, [0, 1, 2]), (damaged, spoilt_header)),
    **{f"ball.{kind}": (load_surface, (damaged,)) for kind in MESHES},
}
NEVER_RAISE = ("run/metrics.jsonl", "reference-00000.safetensors")


def outcome(read, path):
    """What reading gives, or raises."""
    try:
        return read(path)
    except Exception as error:
        return error


@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_file_is_read_or_named_in_one_line(whole, tmp_path, name):
    read, ways = READERS[name]
    path, rng = tmp_path / (whole / name).name, random.Random(name)
    data, refused = (whole / name).read_bytes(), 0
    for number in range(CASES):
        path.write_bytes(ways[number % len(ways)](data, rng))
        if isinstance(error := outcome(read, path), Exception):
            refused += 1
            assert name not in NEVER_RAISE, error
            check_error(error, path)
    assert refused or name in NEVER_RAISE


def spoilt_shards(folder, rng):
    """One of their files spoilt; half of the time with checksums that agree, as a hostile packer would have them."""
    index = json.loads((folder / "shards.json").read_text())
    path = rng.choice([*sorted(folder.iterdir()), folder / "shards.json"])
    path.write_bytes(
        (swapped_json if path.suffix == ".json" and rng.random() < 0.6 else damaged)(path.read_bytes(), rng)
    )
    if path.name != "shards.json" and rng.random() < 0.7:
        for shard in index["shards"]:
            tar, inner = folder / shard["file"], folder / shard["file"].replace(".tar", ".json")
            if path == tar:
                entries = json.loads(inner.read_text())
                for entry in entries["objects"]:
                    sample = tar.read_bytes()[entry["offset"] : entry["offset"] + entry["bytes"]]
                    entry["crc32"] = zlib.crc32(sample)
                inner.write_text(json.dumps(entries))
            shard["index_sha256"] = checksum_of(inner)
        (folder / "shards.json").write_text(json.dumps(index))


def test_spoilt_shards_are_read_or_named(whole, tmp_path):
    rng, place = random.Random(0), type("Place", (), {"name": "shards"})
    for number in range(2 * CASES):
        folder = tmp_path / f"shards{number}"
        shutil.copytree(whole / "shards", folder)
        spoilt_shards(folder, rng)
        try:
            read_all(Shards(folder))
        except (ArchiveError, FileNotFoundError) as error:
            check_error(error, place)


def test_a_spoilt_protocol_is_named(tmp_path):
    rng, path = random.Random(1), tmp_path / "own.json"
    names = sorted(FOLDER.glob("*.json"))
    for _ in range(5 * CASES):
        path.write_bytes(rng.choice([damaged, swapped_json])(rng.choice(names).read_bytes(), rng))
        try:
            load_protocol(path)
        except ValueError as error:
            check_error(error, path)


def test_a_spoilt_scene_is_skipped(whole, tmp_path):
    rng = random.Random(2)
    for number in range(2 * CASES):
        folder = tmp_path / f"scene{number}"
        shutil.copytree(whole / "scene", folder)
        path = rng.choice([folder / "transforms.json", *sorted(folder.rglob("*.png"))])
        way = swapped_json if path.suffix == ".json" and number % 2 else damaged
        path.write_bytes(way(path.read_bytes(), rng))
        made = attempt(Job("scene", NERFSTUDIO.read_object, (folder, "scene", Reading(size=8))))
        assert isinstance(made, (PreparedObject, ValueError))
        assert str(made).isprintable() or isinstance(made, PreparedObject)


def test_a_spoilt_library_is_skipped(whole, tmp_path):
    rng, path = random.Random(3), tmp_path / "lib.sh3f"
    for number in range(CASES):
        path.write_bytes((damaged, spoilt_member)[number % 2]((whole / "lib.sh3f").read_bytes(), rng))
        for job in mesh_jobs(path, "lib", Photography(views=2, size=8, rays_per_side=1), "auto"):
            made = attempt(job)
            assert str(made).isprintable() or isinstance(made, PreparedObject)


def spoilt_state(state, rng):
    """A run state with one of its values another, or absent."""
    holder, key = rng.choice([*places_in(state), *places_in({name: state[name] for name in ("seen", "seconds")})])
    if rng.random() < 0.3:
        del holder[key]
    elif isinstance(holder[key], torch.Tensor) and rng.random() < 0.7:
        holder[key] = rng.choice([holder[key][..., None].repeat_interleave(2, -1), torch.zeros(7, 7), torch.zeros(0)])
    else:
        holder[key] = rng.choice(ODD_VALUES)


def restored(run):
    task = ToyTask()
    average = MovingAverage(task.model, half_life=10.0)
    return RunState(
        run, title="toy", model=task.model, average=average, optimisers=task.optimisers, processes=ONE_PROCESS
    )


def test_the_state_before_takes_over_whatever_is_wrong_with_the_newest(tmp_path, capsys):
    train(ToyTask(), dataclasses.replace(CONFIG, objects_seen=8, checkpoint_seconds=0.0), tmp_path, title="toy")
    shutil.copyfile(tmp_path / "state.pt", tmp_path / "state.previous.pt")
    rng, refused = random.Random(4), 0
    for _ in range(2 * CASES):
        state = load_state(tmp_path / "state.previous.pt")
        spoilt_state(state, rng)
        torch.save(state, tmp_path / "state.pt")
        restored(tmp_path)
        refused += "the state before, takes over" in capsys.readouterr().err
    assert refused > CASES / 2


def test_a_model_of_another_version_is_told_as_such(whole, tmp_path):
    tensors, header = load_snapshot(whole / "model" / "autodecoder.safetensors")
    path = tmp_path / "model.safetensors"
    for change, told in (
        ({"version": 99}, "got 99, of a newer vader3d; upgrade"),
        ({"version": "2"}, "got '2', of an unknown vader3d"),
        ({"vader3d": "7.0", "config": {**header["config"], "scent": 1}}, "scent.*; written by vader3d '7.0', this is"),
    ):
        save_snapshot(path, tensors, header | change)
        with pytest.raises(ValueError, match=told) as caught:
            load_autodecoder(path)
        check_error(caught.value, path)


def test_a_model_that_claims_to_be_huge_costs_nothing(whole, tmp_path):
    tensors, header = load_snapshot(whole / "model" / "autodecoder.safetensors")
    header["config"]["decoder"]["channels"] = [2**17, 2**17]
    save_snapshot(tmp_path / "model.safetensors", tensors, header | {"objects": 2**20})
    with pytest.raises(ValueError, match=r"model\.safetensors: .*: wanted torch\.float32 .*; got"):
        load_autodecoder(tmp_path / "model.safetensors")


def test_an_empty_file_costs_no_memory(tmp_path):
    (tmp_path / "empty.bin").write_bytes(b"")
    tracemalloc.start()
    assert read_bytes(tmp_path / "empty.bin", most=2**30) == b""
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**24


def test_a_header_s_length_takes_no_memory_that_the_file_has_not(tmp_path):
    """Of a PNG whose pixels are said to go on for a gigabyte."""
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:at] + (2**30).to_bytes(4, "big") + data[at + 4 :])
    tracemalloc.start()
    with contextlib.suppress(ValueError), opened(tmp_path / "a.png") as picture:
        picture.load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_what_a_parser_says_without_end_is_cut_before_it_is_read():
    """One library lists every broken entry of a file in one sentence, over gigabytes."""
    error = ValueError("spec 1 has no path, " * 1_000_000)
    tracemalloc.start()
    reason = reason_of(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason.startswith("spec 1 has no path, spec 1")
    assert reason.endswith("...")
    assert len(reason) < 320
    assert peak < 100_000
