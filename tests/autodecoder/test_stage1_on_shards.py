"""Stage 1 on shards reaches what it reaches on the archive, goes on alike, and passes over what is broken."""

import json

import pytest
import torch
from making import jobs_of, output_in
from tiny import write_things

from vader3d.autodecoder.train import train_autodecoder
from vader3d.cli.main import main
from vader3d.config import override
from vader3d.data.making.conversion import convert
from vader3d.data.making.copying import write_shards
from vader3d.data.making.crew import Here
from vader3d.data.making.ledger import Item, ledger_for
from vader3d.data.making.part import make_part
from vader3d.data.making.work import Limits
from vader3d.data.named import open_archive
from vader3d.latents import load_latents
from vader3d.presets import preset
from vader3d.training.checkpoint import load_state

CONFIG = override(preset("tiny").autodecoder, ["loop.objects_seen=40", "loop.precision=float32"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An archive and its shards."""
    folder = tmp_path_factory.mktemp("data")
    archive = write_things(folder / "tiny.zip")
    write_shards(archive, folder / "shards", objects_per_shard=1)
    return archive, open_archive(folder / "shards")


def trained(archive, run, config=CONFIG) -> dict[str, torch.Tensor]:
    train_autodecoder(archive, config, run)
    return load_state(run / "state.pt")["model"]


def test_a_run_on_shards_is_the_run_on_the_archive(data, tmp_path):
    """The buffer holds all: the same order, the same pictures, the same weights; one may go on from the other."""
    on_archive, on_shards = (trained(source, tmp_path / str(i)) for i, source in enumerate(data))
    assert [name for name in on_archive if not torch.equal(on_archive[name], on_shards[name])] == []
    longer = override(CONFIG, ["loop.objects_seen=48"])
    moved, stayed = trained(data[1], tmp_path / "0", longer), trained(data[1], tmp_path / "1", longer)
    assert [name for name in moved if not torch.equal(moved[name], stayed[name])] == []


def test_a_small_buffer_reaches_the_same_loss(data, tmp_path):
    """Another order, the same result: the mean loss of the last quarter within a quarter."""
    losses = []
    for name, source, buffer in (("a", data[0], 4096), ("b", data[1], 2)):
        config = override(CONFIG, ["loop.objects_seen=400", "loop.log_seconds=0", f"stream_buffer={buffer}"])
        trained(source, tmp_path / name, config)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        values = [line["loss"] for line in lines if "loss" in line]
        losses.append(sum(values[-25:]) / 25)
        assert losses[-1] < 0.75 * values[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.25)


def test_a_broken_object_is_passed_over_and_has_no_latent(data, tmp_path, capsys):
    folder = tmp_path / "shards"
    write_shards(data[0], folder, objects_per_shard=1)
    (folder / "shard-000002.tar").write_bytes((folder / "shard-000002.tar").read_bytes()[:5000])
    command = ["train", "autodecoder", "--data", str(folder), "--output", str(tmp_path / "run"), "--preset", "tiny"]
    main([*command, "--set", "loop.objects_seen=40"])
    told = " ".join("".join(capsys.readouterr()).split())
    assert told.count("skipped:") == 1
    assert "'green table'" in told
    assert "1 of 4 objects cannot be read" in told
    latents, _, header = load_latents(tmp_path / "run" / "latents.safetensors")
    assert (len(latents), header["objects"]) == (3, [0, 1, 3])


def test_a_run_is_of_the_shards_that_were_there_when_it_began(tmp_path, capsys):
    """More come while it runs and before it goes on; a new run that begins with its decoder learns them all."""
    items = [Item(index, job) for index, job in enumerate(jobs_of(range(1, 13)))]
    ledger = ledger_for(output_in(tmp_path, 3), items, Limits())
    ledger.begin(len(items))
    shares = ledger.shared(items)
    assert make_part(ledger, 0, shares[0], Here())
    command = ["train", "autodecoder", "--data", str(ledger.output.path), "--preset", "tiny"]
    first = [*command, "--output", str(tmp_path / "run"), "--set", "loop.objects_seen=8"]
    main(first)
    assert f"this run is of the {len(shares[0])} objects so far" in " ".join("".join(capsys.readouterr()).split())
    convert([item.job for item in items], ledger.output, processes=1)
    main([*first, "--set", "loop.objects_seen=12"])
    assert len(load_latents(tmp_path / "run" / "latents.safetensors")[0]) == len(shares[0])
    more = ["--output", str(tmp_path / "more"), "--init", str(tmp_path / "run"), "--set", "loop.objects_seen=8"]
    main([*command[:4], *more])
    assert len(load_latents(tmp_path / "more" / "latents.safetensors")[0]) == 12
    assert not (tmp_path / "more" / "shards.json").exists()
