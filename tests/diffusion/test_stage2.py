"""Stage 2 as a whole: it recovers the set it was shown, and hands on all that sampling needs."""

import dataclasses
import json
import math
import shutil
import signal

import pytest
import torch
from counted import largest_made
from PIL import Image

from vader3d import latents as latents_module
from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import config_to_dict
from vader3d.diffusion.model import DiffusionConfig, build_denoiser
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import heun
from vader3d.diffusion.train import DiffusionTask, drawing_shares, said_of_latents, train_diffusion
from vader3d.diffusion.unet import UNetConfig
from vader3d.latents import LatentStatistics, robust_statistics, save_latents
from vader3d.snapshots import load_snapshot, save_snapshot
from vader3d.text.captions import OBJECTS
from vader3d.text.tokens import CaptionTokens
from vader3d.training.checkpoint import load_state
from vader3d.training.loop import LoopConfig, train
from vader3d.training.optimisers import OptimiserConfig

SHAPE = (4, 4, 4, 4)
CONFIG = DiffusionConfig(
    unet=UNetConfig(16, (1,), 1, attention_resolutions=(4,), head_channels=16, dropout=0.0),
    loop=LoopConfig(objects_seen=6400, batch=32, ema_half_life=500, cooldown=0.5, precision="float32"),
    optimiser=OptimiserConfig("adam", lr=3e-3, betas=(0.9, 0.99)),
)


def two_latents() -> torch.Tensor:
    return 3 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5)) + 1


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(6))


def test_two_points_are_recovered(tmp_path):
    latents = two_latents()
    statistics = robust_statistics(latents)
    task = DiffusionTask(CONFIG, latents, statistics)
    denoiser = train(task, CONFIG.loop, tmp_path, title="two points")
    with torch.no_grad():
        samples = statistics.denormalise(heun(denoiser, noise(32), edm_sigmas(24)))
    distance = (samples[:, None] - latents).square().flatten(2).mean(2).sqrt()  # their own distance: about 4.2
    assert float(distance.min(1).values.median()) < 0.8
    assert float((distance.min(1).values < 1.5).float().mean()) > 0.9
    assert 6 <= int((distance.argmin(1) == 0).sum()) <= 26


@pytest.fixture(scope="module")
def autodecoder_run(tmp_path_factory):
    """What stage 2 needs of stage 1's folder: latents, and a snapshot to copy."""
    run = tmp_path_factory.mktemp("autodecoder")
    latents = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(7))
    save_latents(run / "latents.safetensors", latents, robust_statistics(latents, per="channel", clip=3.0), {})
    header = {"kind": "autodecoder", "config": config_to_dict(AutodecoderConfig()), "objects": 6}
    save_snapshot(run / "model.safetensors", {"a": torch.zeros(1)}, header)
    return run


SHORT = dataclasses.replace(CONFIG, prior_rank=2, loop=dataclasses.replace(CONFIG.loop, objects_seen=64))


def test_the_run_folder_holds_all_that_generation_needs(autodecoder_run, tmp_path):
    model = train_diffusion(autodecoder_run, SHORT, tmp_path)
    copied, original = tmp_path / "autodecoder.safetensors", autodecoder_run / "model.safetensors"
    assert copied.read_bytes() == original.read_bytes()
    tensors, header = load_snapshot(tmp_path / "model.safetensors")
    assert header["latent_shape"] == list(SHAPE)
    assert header["clip"] == 3.0
    rebuilt = build_denoiser(SHORT, SHAPE, rank=header["prior_rank"]).eval()
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith("denoiser.")}
    rebuilt.load_state_dict({name.removeprefix("denoiser."): tensor for name, tensor in weights.items()})
    x, sigma = noise(2), torch.tensor([0.1, 3.0])
    with torch.no_grad():
        assert torch.equal(rebuilt(x, sigma), model(x, sigma))
    assert tensors["median"].shape == tensors["spread"].shape == (1, 4, 1, 1, 1)


def test_objects_of_pairs_that_are_held_out_are_never_drawn(autodecoder_run, tmp_path, capsys):
    said = [
        ("red", "chair"),
        ("red", "stool"),
        ("blue", "chair"),
        ("blue", "stool"),
        ("red", "chair"),
        ("blue", "chair"),
    ]
    run = tmp_path / "stage1"
    shutil.copytree(autodecoder_run, run)
    lines = [{"name": kind, "category": kind, "captions": [{"text": f"a {colour} {kind}"}]} for colour, kind in said]
    (run / OBJECTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    apart = dataclasses.replace(SHORT, held_out=0.25)
    train_diffusion(run, apart, tmp_path / "run")
    (pair,) = load_snapshot(tmp_path / "run" / "model.safetensors")[1]["held_out"]
    kept = torch.tensor([number for number, each in enumerate(said) if [*each] != pair])
    assert [each.type for each in said_of_latents(run / OBJECTS, 6)] == [kind for _, kind in said]
    noted = f"{len(kept)} of 6 objects are learned, held out are: {' '.join(pair)}"
    assert noted in " ".join(capsys.readouterr().err.split())
    latents = torch.randn(6, *SHAPE)
    types = [kind for _, kind in said]
    for balance in (0.0, 1.0):
        config = dataclasses.replace(apart, balance=balance)
        task = DiffusionTask(config, latents, robust_statistics(latents), kept=kept, types=types)
        drawn, _ = task.drawn(500, torch.Generator().manual_seed(0))
        assert {*drawn.tolist()} == {*kept.tolist()}
    with pytest.raises(ValueError, match="wanted the captions of 7 latents; got 6"):
        said_of_latents(run / OBJECTS, 7)
    with pytest.raises(ValueError, match=r"objects\.jsonl: wanted what stage 1 notes of its objects; got no"):
        train_diffusion(autodecoder_run, apart, tmp_path / "without")


def test_types_are_drawn_more_evenly_than_they_are_frequent():
    types = ["chair"] * 8 + ["stool"] * 2 + ["", ""]
    for balance, ratio in ((0.0, 4.0), (0.5, 2.0), (1.0, 1.0)):
        shares = drawing_shares(types, balance)
        assert shares.sum().item() == pytest.approx(1)
        assert (shares[:8].sum() / shares[8:10].sum()).item() == pytest.approx(ratio)
        assert shares[10].item() == shares[11].item() == pytest.approx(shares[:8].sum().item() / 8 ** (1 - balance))
    latents = torch.randn(12, *SHAPE)
    config = dataclasses.replace(SHORT, balance=1.0)
    task = DiffusionTask(config, latents, robust_statistics(latents), types=types)
    drawn = torch.bincount(task.drawn(4000, torch.Generator().manual_seed(0))[0], minlength=12)
    assert [drawn[:8].sum().item(), drawn[8:10].sum().item(), *drawn[10:].tolist()] == pytest.approx(
        [1000] * 4, rel=0.1
    )
    even = DiffusionTask(SHORT, latents, robust_statistics(latents), types=types)
    assert torch.equal(
        even.drawn(9, torch.Generator().manual_seed(0))[0],
        torch.randint(12, (9,), generator=torch.Generator().manual_seed(0)),
    )


def test_objects_without_a_text_are_drawn_as_they_are_in_the_data():
    """Or a model that may be asked for rare things would draw mostly those when it is not asked."""
    types = ["chair"] * 9 + ["toilet"]
    tokens = CaptionTokens(torch.randn(10, 2, 4), [[number] for number in range(10)])
    latents = torch.randn(10, *SHAPE)
    config = dataclasses.replace(SHORT, balance=1.0, token_dropout=0.5)
    task = DiffusionTask(config, latents, robust_statistics(latents), texts=tokens, types=types)
    objects, texts = task.drawn(8000, torch.Generator().manual_seed(0))
    said = texts >= 0
    assert torch.equal(objects[said], texts[said])
    assert said.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (objects[said] == 9).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (objects[~said] == 9).float().mean().item() == pytest.approx(0.1, abs=0.03)
    names = task.names(objects_seen=0, batch=8000, generator=torch.Generator().manual_seed(0), share=slice(None))
    assert names == [f"latent {number}" for number in objects.tolist()]


def test_pairs_are_held_out_of_the_captions_that_are_learned(autodecoder_run, tmp_path):
    """Those of a file, not those that stage 1 noted; the types are stage 1's."""
    run = tmp_path / "stage1"
    shutil.copytree(autodecoder_run, run)
    kinds, colours = ["chair", "stool"] * 3, ["green", "green", "white", "white", "green", "green"]
    lines = [{"name": str(n), "category": kind, "captions": [{"text": "a red one"}]} for n, kind in enumerate(kinds)]
    (run / OBJECTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = {str(n): f"a {colour} {kind}" for n, (colour, kind) in enumerate(zip(colours, kinds, strict=True))}
    (tmp_path / "captions.json").write_text(json.dumps(words))
    config = dataclasses.replace(SHORT, held_out=0.25, text_encoder="vocabulary", text_length=4)
    train_diffusion(run, config, tmp_path / "run", captions=tmp_path / "captions.json")
    (pair,) = load_snapshot(tmp_path / "run" / "model.safetensors")[1]["held_out"]
    assert pair[0] in ("green", "white")


def test_training_goes_on_and_other_latents_are_refused(autodecoder_run, tmp_path):
    train_diffusion(autodecoder_run, SHORT, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    train_diffusion(autodecoder_run, SHORT, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    other = tmp_path / "other"
    latents = torch.randn(6, *SHAPE)
    save_latents(other / "latents.safetensors", latents, robust_statistics(latents), {})
    with pytest.raises(ValueError, match=r"another configuration .*data: "):
        train_diffusion(other, SHORT, tmp_path)


def test_the_corrected_command_runs_where_a_first_try_failed(autodecoder_run, tmp_path):
    wrong = dataclasses.replace(SHORT, unet=dataclasses.replace(SHORT.unet, channel_multipliers=(1, 1, 1, 1, 1)))
    with pytest.raises(ValueError, match="channel_multipliers"):
        train_diffusion(autodecoder_run, wrong, tmp_path)
    assert [*tmp_path.iterdir()] == []
    train_diffusion(autodecoder_run, SHORT, tmp_path)


class Interrupted(DiffusionTask):
    """Ctrl-C in the middle of the third step."""

    def losses(self, *, objects_seen, **arguments):
        if objects_seen == 16:
            signal.raise_signal(signal.SIGINT)
        return super().losses(objects_seen=objects_seen, **arguments)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_n_and_n_latents_are_2n_bit_for_bit(tmp_path, precision):
    """Noise, noise levels, dropout and the optimiser go on where they stopped."""
    config = dataclasses.replace(
        CONFIG,
        unet=dataclasses.replace(CONFIG.unet, dropout=0.2),
        loop=dataclasses.replace(CONFIG.loop, objects_seen=48, batch=8, precision=precision),
    )
    latents, states = two_latents(), []
    statistics = robust_statistics(latents)
    for name in ("whole", "broken"):
        torch.manual_seed(len(states))  # what the process drew before does not matter
        (tmp_path / name).mkdir()
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                train(Interrupted(config, latents, statistics), config.loop, tmp_path / name, title="tiny")
            assert load_state(tmp_path / name / "state.pt")["seen"] == 24
        train(DiffusionTask(config, latents, statistics), config.loop, tmp_path / name, title="tiny")
        states.append(load_state(tmp_path / name / "state.pt"))
    for part in ("model", "average"):
        unlike = [key for key, value in states[0][part].items() if not torch.equal(value, states[1][part][key])]
        assert unlike == []


def test_an_unfinished_autodecoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"without latents\.safetensors; finish `vader3d train autodecoder`"):
        train_diffusion(tmp_path, SHORT, tmp_path / "run")


def spoilt(path, name: str, value: float) -> None:
    """One number of a snapshot's tensor becomes `value`."""
    tensors, header = load_snapshot(path)
    tensors[name].view(-1)[-1] = value
    save_snapshot(path, tensors, header)


RUBBISH = {
    "latents that diverged": (
        lambda run: spoilt(run / "latents.safetensors", "latents", math.nan),
        r"others in latents",
    ),
    "infinite statistics": (lambda run: spoilt(run / "latents.safetensors", "spread", math.inf), r"others in spread"),
    "weights that diverged": (lambda run: spoilt(run / "model.safetensors", "a", -math.inf), r"others in a; train"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), r"model\.safetensors: wanted a snapshot; got no"),
    "another's weights": (
        lambda run: save_snapshot(run / "model.safetensors", {"a": torch.zeros(1)}, {"kind": "diffusion"}),
        r"model\.safetensors: wanted a snapshot of kind 'autodecoder'; got 'diffusion'",
    ),
    "bytes": (lambda run: (run / "model.safetensors").write_bytes(b"rubbish" * 99), r"model\.safetensors: .*damaged"),
}


@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_of_stage_1_is_refused_before_training(autodecoder_run, tmp_path, case):
    spoil, said = RUBBISH[case]
    stage1 = shutil.copytree(autodecoder_run, tmp_path / "stage1")
    spoil(stage1)
    with pytest.raises(ValueError, match=said):
        train_diffusion(stage1, SHORT, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_prior_has_at_most_one_component_less_than_there_are_latents():
    latents = two_latents()
    statistics = LatentStatistics(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1))
    task = DiffusionTask(dataclasses.replace(CONFIG, prior_rank=50), latents, statistics)
    assert task.rank == 1
    task.model.loss(task.latents, torch.tensor([0.1, 1.0]), noise(2)).sum().backward()
    assert all(p.grad.isfinite().all() for p in task.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_untrained_loss_is_near_1(precision):
    """With a silent network the weighted loss is 1 where the latents' deviation is sigma_data."""
    latents = torch.randn(400, *SHAPE, generator=torch.Generator().manual_seed(8))
    config = dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, precision=precision))
    task = DiffusionTask(config, latents, robust_statistics(latents))
    terms = task.losses(objects_seen=0, batch=256, progress=0.0, generator=torch.Generator().manual_seed(0))
    assert float(terms["denoising"].detach()) == pytest.approx(1, abs=0.05)


def test_stage_2_makes_no_more_of_its_latents_than_a_batch(monkeypatch):
    latents = torch.randn(4000, *SHAPE, generator=torch.Generator().manual_seed(8))
    statistics = robust_statistics(latents)
    monkeypatch.setattr(latents_module, "CHUNK", 1 << 14)
    with largest_made() as largest:
        task = DiffusionTask(dataclasses.replace(CONFIG, prior_rank=3), latents, statistics)
        task.losses(objects_seen=0, batch=16, progress=0.0, generator=torch.Generator().manual_seed(0))
    assert largest.bytes < latents.nbytes / 8


def test_previews_are_what_the_caller_draws_of_the_averaged_model(autodecoder_run, tmp_path):
    drawn = []

    def draw(denoiser):
        drawn.append(denoiser)
        return Image.new("RGB", (3, 2))

    config = dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, objects_seen=64))
    average = train_diffusion(autodecoder_run, config, tmp_path / "run", draw=draw)
    assert drawn == [average]
    (preview,) = (tmp_path / "run" / "previews").iterdir()
    assert Image.open(preview).size == (3, 2)
