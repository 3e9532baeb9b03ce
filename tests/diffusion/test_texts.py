"""Stage 2 with captions: the text decides what is drawn, runs go on exactly, and a snapshot knows its encoder."""

import dataclasses
import json
import signal
from pathlib import Path

import pytest
import torch

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.cli.main import main
from vader3d.config import config_to_dict
from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.model import DiffusionConfig, encoder_of, load_denoiser, text_of
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import heun
from vader3d.diffusion.texts import captions_of
from vader3d.diffusion.train import DiffusionTask, train_diffusion
from vader3d.diffusion.unet import UNetConfig
from vader3d.frozen.vocabulary import Vocabulary
from vader3d.generate.files import schema
from vader3d.latents import robust_statistics, save_latents
from vader3d.snapshots import load_snapshot, read_header, save_snapshot
from vader3d.text.tokens import read_tokens
from vader3d.training.checkpoint import load_state
from vader3d.training.loop import LoopConfig, train
from vader3d.training.optimisers import OptimiserConfig

SHAPE = (8, 1, 1, 1)
CAPTIONS = (("a red chair", "a chair in red"), ("a blue chair", "blue chair"), ("a red table",), ())
CONFIG = DiffusionConfig(
    unet=UNetConfig(
        32, (1,), 1, attention_resolutions=(), head_channels=16, dropout=0.0, token_resolutions=(1,), mask_padding=True
    ),
    loop=LoopConfig(objects_seen=96, batch=16, ema_half_life=500, cooldown=0.5, precision="float32"),
    optimiser=OptimiserConfig("adam", lr=3e-3, betas=(0.9, 0.99)),
    text_encoder="vocabulary",
    text_length=6,
)


def changed(**changes) -> DiffusionConfig:
    """CONFIG with other fields, those of its loop and U-Net by their names alone."""
    parts = {"loop": CONFIG.loop, "unet": CONFIG.unet}
    for part, config in parts.items():
        own = {name: changes.pop(name) for name in [*changes] if hasattr(config, name)}
        parts[part] = dataclasses.replace(config, **own)
    return dataclasses.replace(CONFIG, **parts, **changes)


def latents() -> torch.Tensor:
    return 3 * torch.randn(len(CAPTIONS), *SHAPE, generator=torch.Generator().manual_seed(5))


def write_run(folder: Path, captions=CAPTIONS) -> Path:
    """What stage 2 reads of stage 1's folder."""
    save_latents(folder / "latents.safetensors", latents(), robust_statistics(latents()), {})
    header = {"kind": "autodecoder", "config": config_to_dict(AutodecoderConfig()), "objects": len(CAPTIONS)}
    save_snapshot(folder / "model.safetensors", {"a": torch.zeros(1)}, header)
    lines = [
        {"name": f"thing-{number}", "category": "", "captions": [{"text": text, "source": "test"} for text in texts]}
        for number, texts in enumerate(captions)
    ]
    (folder / "objects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def stage1(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("autodecoder"))


@pytest.fixture(scope="module")
def short_run(stage1, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("diffusion")
    train_diffusion(stage1, changed(keep_snapshots=(0.3, 0.5)), run)
    return run


def test_the_text_decides_what_is_drawn(stage1, tmp_path):
    denoiser = train_diffusion(stage1, changed(objects_seen=12_000, batch=96), tmp_path)
    encoder = encoder_of(read_header(tmp_path / "model.safetensors"))
    tokens = encoder.encode(["chair, red"] * 8 + ["the blue chairs"] * 8 + ["a red table"] * 8)
    noise = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        drawn = heun(guided(denoiser, tokens, guidance_scale=1.5), noise, edm_sigmas(12))
    samples = robust_statistics(latents()).denormalise(drawn)
    nearest = (samples[:, None] - latents()).square().flatten(2).mean(2).argmin(1)
    assert float((nearest == torch.arange(3).repeat_interleave(8)).float().mean()) > 0.8


def test_the_folder_holds_tokens_and_the_snapshot_its_encoder(short_run, stage1):
    texts = [text for texts in CAPTIONS for text in texts]
    tokens, note = read_tokens(short_run / "tokens.safetensors", texts)
    encoder = Vocabulary(["red", "chair", "blue", "table"], length=6)
    torch.testing.assert_close(tokens.float(), encoder.encode(texts))
    denoiser, _, header = load_denoiser(short_run / "model.safetensors")
    assert denoiser.network.config.token_dim == encoder.width
    assert text_of(header) == note
    assert (note.name, note.checksum, note.words) == ("vocabulary", encoder.checksum, encoder.words)
    found = encoder_of(header)
    assert torch.equal(found.encode(texts), encoder.encode(texts))
    assert found.unknown("a red chairr") == [("chairr", ["chair"])]


def test_snapshots_are_kept_after_the_shares_asked_for(short_run):
    kept = sorted(path.name for path in (short_run / "snapshots").iterdir())
    assert kept == ["000000032.safetensors", "000000048.safetensors"]
    earlier, _, header = load_denoiser(short_run / "snapshots" / kept[0])
    later, _, _ = load_denoiser(short_run / "model.safetensors")
    assert text_of(header) == text_of(read_header(short_run / "model.safetensors"))
    x, tokens = torch.randn(2, *SHAPE), encoder_of(header).encode(["a red chair", ""])
    made = guided(later, tokens, guidance_scale=2.0, guide=earlier)(x, torch.tensor(0.5))
    good, bad = (model(x, torch.tensor(0.5), tokens) for model in (later, earlier))
    torch.testing.assert_close(made, bad + 2 * (good - bad))
    assert not torch.equal(good, bad)


class Interrupted(DiffusionTask):
    """Ctrl-C in the middle of the third step."""

    def losses(self, *, objects_seen, **arguments):
        if objects_seen == 32:
            signal.raise_signal(signal.SIGINT)
        return super().losses(objects_seen=objects_seen, **arguments)


def test_a_run_with_texts_goes_on_bit_for_bit(stage1, short_run, tmp_path):
    """Which captions are drawn and which dropped is the step's own randomness."""
    tokens, note = captions_of(stage1).tokens(short_run / "tokens.safetensors")
    config, states = changed(token_dim=note.width, token_dropout=0.3), []
    for kind in ([DiffusionTask], [Interrupted, DiffusionTask]):
        folder = tmp_path / str(len(kind))
        folder.mkdir()
        for task in kind:
            made = task(config, latents(), robust_statistics(latents()), texts=tokens, text=note)
            try:
                train(made, config.loop, folder, title="texts")
            except KeyboardInterrupt:
                assert load_state(folder / "state.pt")["seen"] == 48
        states.append(load_state(folder / "state.pt"))
    unlike = [key for key, value in states[0]["model"].items() if not torch.equal(value, states[1]["model"][key])]
    assert unlike == []


def test_the_same_command_goes_on_and_other_captions_are_another_run(stage1, short_run, tmp_path):
    before = (short_run / "model.safetensors").read_bytes()
    train_diffusion(stage1, changed(keep_snapshots=(0.3, 0.5)), short_run)
    assert (short_run / "model.safetensors").read_bytes() == before
    other = write_run(tmp_path / "other", [*CAPTIONS[:2], ("a red bench",), ()])
    with pytest.raises(ValueError, match=r"another configuration .*data: wanted"):
        train_diffusion(other, CONFIG, short_run)
    with pytest.raises(ValueError, match=r"another configuration .*text_length: wanted 6; got 7"):
        train_diffusion(stage1, changed(text_length=7), short_run)


def test_padding_that_is_masked_is_left_out_in_training(stage1, short_run):
    """The same loss, for less."""
    tokens, note = captions_of(stage1).tokens(short_run / "tokens.safetensors")
    seen = []
    for masked in (True, False):
        config = changed(token_dim=note.width, mask_padding=masked)
        task = DiffusionTask(config, latents(), robust_statistics(latents()), texts=tokens, text=note)
        task.model.network.register_forward_pre_hook(lambda _, given: seen.append(given[2].shape))
        task.losses(objects_seen=0, batch=16, progress=0.0, generator=torch.Generator().manual_seed(0))
    assert [shape[1] for shape in seen] == [2, 6]


def test_processes_that_share_a_batch_see_the_texts_that_one_would(stage1, short_run):
    tokens, note = captions_of(stage1).tokens(short_run / "tokens.safetensors")
    config = changed(token_dim=note.width, mask_padding=False, token_dropout=0.3)
    task = DiffusionTask(config, latents(), robust_statistics(latents()), texts=tokens, text=note)
    seen = []
    task.model.network.register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    for share in (slice(None), slice(0, 8), slice(8, 16)):
        generator = torch.Generator().manual_seed(0)
        task.losses(objects_seen=0, batch=16, progress=0.0, generator=generator, share=share)
    assert torch.equal(seen[0], torch.cat(seen[1:]))


def test_the_command_trains_the_preset_with_text(stage1, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vader3d.generate.previews.samples_drawn", lambda *_, **__: None)  # this stage 1 has no weights
    small = ["unet.model_channels=16", "loop.batch=8", "loop.objects_seen=16"]
    settings = [word for setting in small for word in ("--set", setting)]
    main(
        [
            "train",
            "diffusion",
            "--autodecoder",
            str(stage1),
            "--output",
            str(tmp_path),
            "--preset",
            "small-text",
            *settings,
        ]
    )
    assert "trained" in capsys.readouterr().out
    assert text_of(read_header(tmp_path / "model.safetensors")).words == ("blue", "chair", "red", "table")


@pytest.mark.parametrize("name", ["", "none"])
def test_without_an_encoder_nothing_is_conditional(tmp_path, stage1, name):
    train_diffusion(stage1, changed(text_encoder=name), tmp_path / "run")
    denoiser, _, header = load_denoiser(tmp_path / "run" / "model.safetensors")
    assert denoiser.network.config.token_dim == 0
    assert text_of(header) is None
    assert not (tmp_path / "run" / "tokens.safetensors").exists()
    with pytest.raises(ValueError, match="prompt: wanted a model that learned with captions; got one without text"):
        encoder_of(header)
    with pytest.raises(ValueError, match="captions: wanted none without a text_encoder"):
        train_diffusion(stage1, changed(text_encoder=name), tmp_path / "run", captions=tmp_path / "more.csv")


def test_captions_may_come_of_a_file(stage1, tmp_path, capsys):
    lines = [
        {"name": "thing-0", "captions": ["a sofa", "a couch"]},
        {"name": "thing-2", "caption": "a bench"},
        {"name": "thing-9", "caption": "a lamp"},
    ]
    file = tmp_path / "captions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert captions_of(stage1, file).captions == (("a sofa", "a couch"), (), ("a bench",), ())
    assert "1 names are no object's: thing-9" in capsys.readouterr().err
    train_diffusion(stage1, changed(objects_seen=16), tmp_path / "run", captions=file)
    assert text_of(read_header(tmp_path / "run" / "model.safetensors")).words == ("bench", "couch", "sofa")
    assert "text: 2 of 4 objects have no caption; they are learned without text" in capsys.readouterr().err
    file.write_text('{"name": "thing-9", "caption": "a lamp"}\n')
    with pytest.raises(ValueError, match=r"captions\.jsonl: wanted at least 1 caption of these objects; got none"):
        captions_of(stage1, file)
    file.write_text('{"name": "thing-0"}\n')
    with pytest.raises(ValueError, match=r"captions\.jsonl: line 1: wanted name and caption"):
        captions_of(stage1, file)


class Other(Vocabulary):
    """As the recorded one, but of other tokens."""

    name = "other"

    def __init__(self):
        super().__init__(["red", "chair"], length=6)


def test_another_encoder_is_refused_and_both_are_named(short_run, monkeypatch):
    monkeypatch.setattr("vader3d.diffusion.model.load_text_encoder", lambda name, **_: Other())
    header = read_header(short_run / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"text_encoder: wanted 'vocabulary' \(.*the model learned with; got 'other' \("
    ):
        encoder_of(header, "other")


def refused(stage1: Path, run: Path, config: DiffusionConfig, said: str) -> None:
    """An error of that kind, and nothing left behind."""
    with pytest.raises(ValueError, match=said) as caught:
        train_diffusion(stage1, config, run)
    assert "\n" not in str(caught.value)
    assert not run.exists()


def test_a_width_that_is_not_the_encoder_s_names_both(stage1, tmp_path):
    said = r"unet\.token_dim: wanted 384, the width of text_encoder 'vocabulary'; got 512; --set unet\.token_dim=0"
    refused(stage1, tmp_path / "run", changed(token_dim=512), said)


def test_an_encoder_that_is_not_there_is_named(stage1, tmp_path):
    pytest.importorskip("transformers")
    refused(stage1, tmp_path / "run", changed(text_encoder="t5-nowhere"), "text_encoder: wanted .*got 't5-nowhere'")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), r"objects\.jsonl: wanted .*got no such file; run `vader3d train autodecoder`"),
        (lambda path: path.write_text(""), "wanted at least 1 caption of these objects; got none"),
        (
            lambda path: path.write_text(path.read_text().replace("a red chair", "x").replace('"text"', '"t"')),
            "line 1: ",
        ),
        (lambda path: path.write_text(path.read_text() * 2), r"objects\.jsonl: wanted 4 lines, one a latent; got 8"),
        (lambda path: path.write_bytes(b"\xff\xfe\n"), r"objects\.jsonl: line 1: "),
    ],
)
def test_captions_that_cannot_be_are_refused(tmp_path, spoil, said):
    stage1 = write_run(tmp_path / "stage1")
    spoil(stage1 / "objects.jsonl")
    refused(stage1, tmp_path / "run", CONFIG, said)


@pytest.mark.parametrize(
    "text",
    [
        3,
        [],
        {"name": "vocabulary"},
        {"name": 1},
        {"name": "t5", "checksum": "", "width": 9, "length": 6},
        {"name": "t5", "checksum": "", "width": 384, "length": 0},
    ],
)
def test_a_damaged_record_of_the_encoder_is_one_line(short_run, tmp_path, text):
    tensors, header = load_snapshot(short_run / "model.safetensors")
    save_snapshot(tmp_path / "model.safetensors", tensors, {**header, "text": text})
    with pytest.raises(ValueError, match=r"model\.safetensors: .*wanted") as caught:
        load_denoiser(tmp_path / "model.safetensors")
    assert "\n" not in str(caught.value)


def test_long_captions_are_said(stage1, tmp_path, capsys):
    train_diffusion(stage1, changed(text_length=1, objects_seen=16), tmp_path)
    assert "text: 5 of 5 captions are longer than 1 tokens: 'a red chair' without 'chair'" in capsys.readouterr().err


def test_stage_1_alone_has_no_schema(stage1):
    with pytest.raises(ValueError, match="wanted denoiser; got a snapshot of kind 'autodecoder'"):
        schema(str(stage1))


def test_the_schema_has_all_that_guides(short_run):
    inputs = schema(str(short_run))["properties"]
    assert {"prompt", "negative_prompt", "guidance", "guide"} < {*inputs}
    interval = inputs["guidance_interval"]
    assert (interval["minItems"], interval["maxItems"], interval["items"]["minimum"]) == (2, 2, 0)
    assert (inputs["guidance_rescale"]["minimum"], inputs["guidance_rescale"]["maximum"]) == (0, 1)
