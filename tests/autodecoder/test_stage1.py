"""Stage 1 as a whole: it learns tiny things, stops and goes on, and ends in latents that decode as they should."""

import copy
import dataclasses

import pytest
import torch
from tiny import THINGS, occupancy_of, write_things

from vader3d.autodecoder import extract
from vader3d.autodecoder.codes import CodeConfig
from vader3d.autodecoder.decoder import DecoderConfig
from vader3d.autodecoder.extract import CLIP_LOSS_DB, CLIPS, decode, extract_latents, mean_psnr, training_latents
from vader3d.autodecoder.losses import LossConfig
from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import PosedViews
from vader3d.latents import LatentConfig, LatentsWriter, load_latents
from vader3d.render import RenderConfig, render_views
from vader3d.snapshots import load_snapshot
from vader3d.text.captions import OBJECTS, read_objects
from vader3d.training.checkpoint import load_state
from vader3d.training.errors import TrainingDiverged
from vader3d.training.log import read_metrics
from vader3d.training.loop import LoopConfig, train
from vader3d.training.optimisers import OptimiserConfig

CONFIG = AutodecoderConfig(
    decoder=DecoderConfig(
        code_length=8,
        channels=(32, 16),
        blocks_per_level=1,
        attention_resolutions=(8,),
        latent_resolution=4,
        subvoxels=2,
        initial_density=-4.0,
    ),
    render=RenderConfig(samples_per_ray=32, activation="softplus", density_scale=25.0, density_noise=0.0),
    losses=LossConfig("gradients", perceptual=1.0, scales=(1,), mask=1.0, pixel=10.0),
    loop=LoopConfig(objects_seen=600, batch=4, ema_half_life=40, precision="float32", cooldown=0.5),
    optimiser=OptimiserConfig("muon", lr=1e-2, betas=(0.9, 0.99)),
    code_lr=2e-2,
)
BLANK_PSNR = 13  # dB, of black pictures: measured below


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "tiny.zip")


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    """A finished run: its folder."""
    folder = tmp_path_factory.mktemp("run")
    train_autodecoder(archive, CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def model(archive, run):
    """The averaged model of the finished run, as the snapshot has it."""
    task = AutodecoderTask(CONFIG, PosedViews(archive, training_views))
    task.model.load_state_dict(load_snapshot(run / "model.safetensors")[0])
    return task.model.eval()


@pytest.fixture(scope="module")
def heldout(archive):
    return PosedViews(archive, heldout_views)


def all_views(views: PosedViews):
    """Every view of every object, as one batch."""
    objects = torch.arange(len(views))
    return views.views_of(objects, torch.arange(views.view_count(0)).expand(len(views), -1))


def latents_of(model) -> torch.Tensor:
    """Of all objects, [N, C, D, H, W]."""
    return torch.cat([*training_latents(model)])


@torch.no_grad()
def test_views_it_never_saw_are_reconstructed(model, heldout):
    target = all_views(heldout)
    assert target.colour.shape[:2] == (4, 2)
    blank = float(-10 * target.colour.square().flatten(2).mean(2).log10().mean())
    assert blank < BLANK_PSNR
    assert mean_psnr(model, latents_of(model), target.objects, heldout, CONFIG) > 26


@torch.no_grad()
def test_silhouettes_it_never_saw_are_matched(model, heldout):
    target = all_views(heldout)
    _, opacity = render_views(decode(model, latents_of(model)), target.cameras, CONFIG.render)
    objects_seen, true = opacity > 0.5, target.mask > 0.5
    overlap = (objects_seen & true).flatten(1).sum(1) / (objects_seen | true).flatten(1).sum(1)
    assert (overlap > 0.85).all(), overlap


@torch.no_grad()
def test_the_volume_is_dense_where_the_things_are(model):
    """The learned grids against the analytic solids: axes, signs and scale of the world all have to be right.

    Inside, where no ray gets, anything goes: skins fill a quarter of these things. Outside nothing may stand.
    """
    grid = decode(model, latents_of(model)).grid
    line = torch.linspace(-1, 1, grid.shape[-1])
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    for density, thing in zip(grid[:, 3] > 0, THINGS.values(), strict=True):
        true = occupancy_of(thing, torch.stack([x, y, z], -1))
        grown = torch.nn.functional.max_pool3d(true[None, None].float(), 3, 1, 1)[0, 0] > 0
        assert float((density & grown).sum() / density.sum()) > 0.8
        assert float((density & true).sum() / true.sum()) > 0.2


def test_the_run_ends_with_the_latents_of_its_codes(model, run):
    latents, statistics, header = load_latents(run / "latents.safetensors")
    assert latents.shape == (4, *CONFIG.decoder.latent_shape)
    assert [(said.name, said.caption) for said in read_objects(run / OBJECTS)] == [(n, f"a {n}") for n in THINGS]
    torch.testing.assert_close(latents, latents_of(model))
    normalised = statistics.normalise(latents)
    report = header["report"]
    assert report["normalised_std"] == pytest.approx(float(normalised.std()), rel=1e-4)
    assert report["median"] == pytest.approx(float(statistics.median.mean()))
    assert report["iqr"] == pytest.approx(float(statistics.spread.mean()) / 0.7413)
    assert report["psnr_db"] - report["clipped_psnr_db"] == pytest.approx(report["clip_loss_db"], abs=1e-3)
    logged = read_metrics(run)[-1]
    for name in ("median", "iqr", "clipped_share", "raw_std", "normalised_kurtosis", "clipped_psnr_db"):
        assert logged[f"latent_{name}"] == report[name]
    last = read_metrics(run)[-2]
    assert {"perceptual", "mask", "pixel", "loss", "gradient_norm", "code_std", "share_of_peak"} <= last.keys()
    assert last["views_per_second"] == pytest.approx(CONFIG.views_per_object * last["objects_per_second"])
    assert report["raw_mean"] == pytest.approx(float(latents.mean()), rel=1e-3, abs=1e-4)
    assert float(normalised.abs().max()) <= 0.5 * (statistics.clip or float("inf")) + 1e-6


def test_latents_are_written_a_batch_at_a_time(model, archive, run, monkeypatch, tmp_path):
    added, add = [], LatentsWriter.add
    monkeypatch.setattr(LatentsWriter, "add", lambda writer, part: added.append(len(part)) or add(writer, part))
    monkeypatch.setattr(extract, "OBJECTS_PER_BATCH", 3)
    views = PosedViews(archive, training_views)
    path = tmp_path / "latents.safetensors"
    reports = []

    def told(report):
        assert not path.exists()  # the file comes last: who finds it finds all
        reports.append(report)

    extract_latents(model, views, CONFIG, path, objects=torch.tensor([0, 1, 2, 3]), header={"objects": [7]}, told=told)
    (report,) = reports
    assert added == [3, 1]
    latents, _, header = load_latents(path)
    assert header["objects"] == [7]
    assert header["report"] == report
    torch.testing.assert_close(latents, load_latents(run / "latents.safetensors")[0])


def test_the_clip_is_the_smallest_that_costs_next_to_nothing(model, run, archive):
    latents, statistics, header = load_latents(run / "latents.safetensors")
    views, objects = PosedViews(archive, training_views), torch.arange(4)
    plain = mean_psnr(model, latents, objects, views, CONFIG)

    def cost(clip: float) -> float:
        clipped = dataclasses.replace(statistics, clip=clip)
        return plain - mean_psnr(model, clipped.denormalise(clipped.normalise(latents)), objects, views, CONFIG)

    chosen = header["report"]["clip"]
    assert chosen in CLIPS
    assert cost(chosen) < CLIP_LOSS_DB
    assert header["report"]["clip_loss_db"] == pytest.approx(cost(chosen), abs=0.01)
    assert all(cost(clip) >= CLIP_LOSS_DB for clip in CLIPS if clip < chosen)


@pytest.mark.parametrize("measure", [True, False])
def test_a_configured_clip_is_taken_as_it_is(archive, tmp_path, measure):
    config = dataclasses.replace(
        CONFIG,
        latents=LatentConfig("channel", latent_scale=1.0, clip=2.5, measure_clip=measure),
        loop=dataclasses.replace(CONFIG.loop, objects_seen=8),
    )
    train_autodecoder(archive, config, tmp_path)
    _, statistics, _ = load_latents(tmp_path / "latents.safetensors")
    assert (statistics.clip, statistics.latent_scale) == (2.5, 1.0)
    assert statistics.median.shape == (1, 32, 1, 1, 1)


def test_latents_that_are_not_finite_are_not_handed_on(model):
    """Of weights that are."""
    broken = copy.deepcopy(model).requires_grad_(False)
    broken.decoder.stem.weight.fill_(3e38)
    assert all(tensor.isfinite().all() for tensor in broken.state_dict().values())
    with pytest.raises(TrainingDiverged, match="latents: wanted finite ones"):
        list(training_latents(broken))


def test_a_decoder_of_pictures_that_are_not_finite_is_not_handed_on(model, heldout):
    broken = copy.deepcopy(model).requires_grad_(False)
    broken.decoder.head.weight.fill_(3e38)
    with pytest.raises(TrainingDiverged, match="pictures: wanted finite ones"):
        mean_psnr(broken, latents_of(model), torch.arange(4), heldout, CONFIG)


def test_the_snapshot_says_what_it_is_and_the_run_has_a_preview(run):
    _, header = load_snapshot(run / "model.safetensors")
    assert (header["kind"], header["objects"]) == ("autodecoder", 4)
    assert header["config"]["decoder"]["channels"] == [32, 16]
    assert any((run / "previews").iterdir())


def test_a_finished_run_is_not_trained_again(archive, run):
    before = (run / "model.safetensors").read_bytes()
    train_autodecoder(archive, CONFIG, run)
    assert (run / "model.safetensors").read_bytes() == before


def test_a_run_on_other_data_is_refused(archive, run):
    with pytest.raises(ValueError, match=r"another configuration .*data: "):
        train_autodecoder(archive.select([0, 1]), CONFIG, run)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"losses": LossConfig("vgg19")}, "or choose another trunk: losses.trunk=vgg16-hed or gradients"),
        ({"codes": CodeConfig("hashed", num_codebooks=3)}, "codes.num_codebooks"),
    ],
)
def test_the_corrected_command_runs_where_a_first_try_failed(archive, tmp_path, monkeypatch, wrong, said):
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    right = dataclasses.replace(CONFIG, loop=dataclasses.replace(CONFIG.loop, objects_seen=8))
    with pytest.raises(ValueError, match=said):
        train_autodecoder(archive, dataclasses.replace(right, **wrong), tmp_path / "run")
    train_autodecoder(archive, right, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_run_goes_on_on_another_device_with_activations_recomputed(archive, tmp_path):
    def round_of(objects: int, **machine):
        loop = dataclasses.replace(CONFIG.loop, objects_seen=objects, **machine)
        train_autodecoder(archive, dataclasses.replace(CONFIG, loop=loop), tmp_path)
        return load_state(tmp_path / "state.pt")["seen"]

    assert round_of(8) == 8
    assert round_of(16, device="cpu", recompute=True) == 16


class Interrupted(AutodecoderTask):
    """Ctrl-C in the middle of the fifth step."""

    def losses(self, *, objects_seen, **arguments):
        import signal

        if objects_seen == 16:
            signal.raise_signal(signal.SIGINT)
        return super().losses(objects_seen=objects_seen, **arguments)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_n_and_n_objects_are_2n_bit_for_bit(archive, tmp_path, precision):
    """Views, pixels, jitter, noise and every optimiser go on where they stopped."""
    config = dataclasses.replace(
        CONFIG,
        pixel_stride=2,
        code_noise=0.05,
        render=dataclasses.replace(CONFIG.render, density_noise=0.5),
        loop=dataclasses.replace(CONFIG.loop, objects_seen=40, precision=precision),
    )
    views, states = PosedViews(archive, training_views), []
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        if name == "broken":
            with pytest.raises(KeyboardInterrupt):
                train(Interrupted(config, views), config.loop, tmp_path / name, title="tiny")
            assert load_state(tmp_path / name / "state.pt")["seen"] == 20
        train(AutodecoderTask(config, views), config.loop, tmp_path / name, title="tiny")
        states.append(load_state(tmp_path / name / "state.pt"))
    for part in ("model", "average"):
        unlike = [key for key, value in states[0][part].items() if not torch.equal(value, states[1][part][key])]
        assert unlike == []


def test_terms_of_weight_0_are_left_out(archive):
    config = dataclasses.replace(CONFIG, losses=LossConfig("gradients", perceptual=0.0, mask=1.0, pixel=0.0))
    task = AutodecoderTask(config, PosedViews(archive, training_views))
    terms = task.losses(objects_seen=0, batch=2, progress=0.0, generator=torch.Generator().manual_seed(0))
    assert list(terms) == ["mask"]
    assert terms["mask"].isfinite()


@pytest.mark.parametrize("binary", [False, True])
def test_masks_are_soft_unless_binary_ones_are_asked_for(archive, binary):
    losses = LossConfig("gradients", perceptual=0.0, mask=1.0, pixel=0.0, binary_mask=binary)
    task = AutodecoderTask(dataclasses.replace(CONFIG, losses=losses), PosedViews(archive, training_views))
    with torch.no_grad():  # nothing is there: opacity is 0 and the loss is the mean mask
        task.model.decoder.head.weight.zero_()
        task.model.decoder.head.bias.fill_(-1e3)
    step = {"objects_seen": 0, "batch": 4, "seed": CONFIG.loop.seed}
    mask = task.views.training_batch(views=CONFIG.views_per_object, **step).mask
    terms = task.losses(objects_seen=0, batch=4, progress=0.0, generator=torch.Generator().manual_seed(0))
    soft, hard = float(mask.mean()), float((mask > 0.5).float().mean())
    assert abs(soft - hard) > 1e-5
    assert terms["mask"].item() == pytest.approx(hard if binary else soft, abs=1e-6)
