"""Stage 1 from a trained model: it takes the decoder, learns further objects sooner, and says where it came from."""

import dataclasses
import json

import pytest
import torch
from test_stage1 import CONFIG
from tiny import Sphere, write_things

from vader3d.autodecoder.codes import CodeConfig, codes_for
from vader3d.autodecoder.extract import mean_psnr, training_latents
from vader3d.autodecoder.model import read_config
from vader3d.autodecoder.start import check_start, place_codes, start_config
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.cli.main import main
from vader3d.config import config_to_dict, override
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import PosedViews
from vader3d.files import checksum_of
from vader3d.snapshots import load_snapshot

FURTHER = {f"ball {i}": (Sphere((0.2 + 0.1 * i, 0.9 - 0.1 * i, 0.4), radius=0.4 + 0.05 * i),) for i in range(6)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The weights of a model of four things."""
    folder = tmp_path_factory.mktemp("trained")
    train_autodecoder(write_things(folder / "tiny.zip"), CONFIG, folder / "run")
    return folder / "run" / "model.safetensors"


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("further") / "further.zip", FURTHER)


def task_from(trained, further, *changes, init=True):
    config = override(start_config(read_config(trained)), changes)
    return AutodecoderTask(config, PosedViews(further, training_views), init=trained if init else None)


def test_it_begins_with_the_decoder_and_codes_around_the_mean_of_those_known(trained, further):
    before = load_snapshot(trained)[0]
    model = task_from(trained, further, "init_spread=0.0").model
    for name, weight in model.decoder.state_dict().items():
        assert torch.equal(weight, before[f"decoder.{name}"]), name
    assert model.codes.table.weight.shape == (6, 8)
    mean = before["codes.table.weight"].mean(0)
    torch.testing.assert_close(model.codes.table.weight.detach(), mean.expand(6, 8))
    spread = task_from(trained, further, "init_spread=1.0").model.codes.table.weight.detach() - mean
    assert 0.5 < float((spread / before["codes.table.weight"].std(0)).std()) < 1.5


@pytest.mark.parametrize("kind", ["table", "hashed"])
def test_codes_of_both_kinds_are_placed(kind):
    config = CodeConfig(kind=kind, num_codebooks=4, codebook_size=64)
    codes = codes_for(config, 500, 8, initial_std=1.0)
    mean, std = torch.arange(8.0), torch.linspace(0.1, 2, 8)
    place_codes(codes, mean, std, spread=0.5)
    placed = torch.cat([*codes.batches()])
    torch.testing.assert_close(placed.mean(0), mean, atol=0.3, rtol=0)
    torch.testing.assert_close(placed.std(0), 0.5 * std, atol=0, rtol=0.3)


def test_the_decoder_learns_at_its_share_of_the_rates(trained, further):
    whole, gentle, still = (task_from(trained, further, f"decoder_rate={rate}") for rate in (1, 0.25, 0))
    rates = [[group["lr"] for one in task.optimisers for group in one.param_groups] for task in (whole, gentle, still)]
    *decoder, codes = zip(*rates, strict=True)
    assert all(gentle == 0.25 * whole and still == 0 for whole, gentle, still in decoder)
    assert codes == (pytest.approx(3 * CONFIG.code_lr),) * 3


def heldout_psnr(task, model, further) -> float:
    views = PosedViews(further, heldout_views)
    return mean_psnr(model, torch.cat([*training_latents(model)]), torch.arange(6), views, task.config)


def test_further_objects_are_learned_sooner_than_from_scratch(trained, further, tmp_path):
    config = override(start_config(read_config(trained)), ["loop.objects_seen=160"])
    task = task_from(trained, further)
    learned = [
        heldout_psnr(task, train_autodecoder(further, config, tmp_path / name, init=init), further)
        for name, init in (("from", trained), ("scratch", None))
    ]
    assert learned[0] > learned[1] + 1, learned


def test_where_it_came_from_is_part_of_what_a_run_is(trained, further, tmp_path):
    config = override(start_config(read_config(trained)), ["loop.objects_seen=8"])
    train_autodecoder(further, config, tmp_path, init=trained)
    noted = json.loads((tmp_path / "run.json").read_text())["config"]
    assert noted["init"] == read_config(tmp_path / "model.safetensors").init == checksum_of(trained)
    with pytest.raises(ValueError, match=r"config\.init: wanted '[0-9a-f]+.*got None"):
        train_autodecoder(further, config, tmp_path)
    longer = dataclasses.replace(config, loop=dataclasses.replace(config.loop, objects_seen=16))
    train_autodecoder(further, longer, tmp_path, init=trained)  # goes on


def test_what_is_free_is_not_taken_over_from_the_model(trained):
    trained_there = override(
        read_config(trained), ["loop.device=cuda", "loop.seconds=7", "init=abc", "views_per_object=3"]
    )
    begun = start_config(trained_there)
    assert (begun.loop.device, begun.loop.seconds, begun.init) == ("auto", None, None)
    assert (begun.views_per_object, begun.loop.objects_seen, begun.code_lr) == (3, 8000, CONFIG.code_lr)
    assert start_config(read_config(trained)).code_lr == pytest.approx(3 * CONFIG.code_lr)  # once, not each time


def test_another_configuration_is_refused_with_the_fields_that_differ(trained, tmp_path):
    other = override(CONFIG, ["decoder.code_length=4", "render.density_scale=1.0", "code_lr=1.0"])
    with pytest.raises(ValueError, match="wanted a model of this configuration; got another") as caught:
        check_start(other, CONFIG, trained)
    assert "(decoder.code_length: wanted 8; got 4; render.density_scale: wanted 25.0; got 1.0)" in str(caught.value)
    assert str(caught.value).startswith(str(trained))


def command(trained, further, output, *more: str) -> None:
    main(
        [
            "train",
            "autodecoder",
            "--data",
            str(further.path),
            "--output",
            str(output),
            "--init",
            str(trained.parent),
            *more,
        ]
    )


def test_the_command_takes_the_model_s_configuration(trained, further, tmp_path, capsys):
    command(trained, further, tmp_path / "run", "--set", "loop.objects_seen=8")
    config = read_config(tmp_path / "run" / "model.safetensors")
    assert config.decoder == CONFIG.decoder
    assert config.init == checksum_of(trained)
    command(trained, further, tmp_path / "dry", "--dry-run", "--set", "decoder_rate=0.5")
    dry = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    assert dry["decoder"] == config_to_dict(CONFIG)["decoder"]
    assert dry["decoder_rate"] == 0.5


def test_the_command_refuses_a_preset_that_does_not_fit(trained, further, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command(trained, further, tmp_path / "run", "--preset", "tiny")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "decoder.code_length: wanted 8; got 32" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
