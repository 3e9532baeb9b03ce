"""Poses of parts: they start at a file's, are held, and the pictures turn them the right way."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from figures import CLIPS, FRAMES, FRONT, PARTS, SIZE, clip_motion, clip_poses, figure, write_clips
from near import assert_near

from vader3d.autodecoder import model
from vader3d.autodecoder.decoder import Decoder, DecoderConfig
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.part_start import roughened
from vader3d.autodecoder.parts import (
    BESIDE,
    PartConfig,
    PartPoses,
    part_scores,
    refined_parts,
    rough_parts,
    smoothed,
    started,
)
from vader3d.autodecoder.reconstruct import ReconstructConfig, reconstruct
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.cli.main import main
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.motion import read_motion
from vader3d.export.turntable import straight_alpha
from vader3d.generate.animate import posed_assets
from vader3d.geometry.cameras import front_camera
from vader3d.geometry.rotations import degrees_between, rotation_from_vector
from vader3d.measures.poses import aligned_degrees
from vader3d.presets import preset
from vader3d.render import Volume, render_views
from vader3d.snapshots import load_snapshot, save_snapshot


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    """Clips of one figure in three tints, poses beside them."""
    return Archive(write_clips(tmp_path_factory.mktemp("clips") / "clips.zip"))


def config(**parts):
    tiny = preset("tiny").autodecoder
    decoder = replace(tiny.decoder, extra_channels=2, part_heights=(-0.45, 0.35))
    return replace(tiny, decoder=decoder, parts=PartConfig(poses=BESIDE, **parts), views_per_object=3)


def table(noise: float) -> PartPoses:
    module = PartPoses(PartConfig(names=PARTS, pictures=FRAMES), CLIPS)
    module.start.copy_(roughened(clip_poses(), noise=noise, seed=0).flatten(0, 1))
    return module


def test_a_table_starts_at_the_files_poses_or_as_far_from_them_as_asked():
    objects, numbers = torch.arange(CLIPS), torch.arange(FRAMES).expand(CLIPS, FRAMES)
    assert_near(table(0.0)(objects, numbers), clip_poses())
    off = degrees_between(table(20.0)(objects, numbers)[..., :3], clip_poses()[..., :3])
    assert 15 < float(off.detach().median()) < 25


def test_means_along_a_clip_take_noise_away():
    """Slow motion under noise comes nearer to the truth, each clip by itself; a still clip stays."""
    angle = torch.stack([torch.linspace(start, start + 0.5, 24) for start in (0.0, -2.0)])
    true = torch.zeros(2, 24, 1, 3, 4)
    true[..., 0, :, :3] = rotation_from_vector(torch.stack([0 * angle, 0 * angle, angle], -1))
    true[..., 3] = torch.tensor([0.1, 0.2, 4.0])
    rough = roughened(true, noise=20.0, seed=0)
    smooth = smoothed(rough, 3.0)
    before, after = (degrees_between(poses[..., :3], true[..., :3]).median() for poses in (rough, smooth))
    assert 15 < before < 25
    assert after < 0.6 * before
    assert_near(smooth[..., 3], rough[..., 3])
    assert_near(smooth[..., :3] @ smooth[..., :3].mT, torch.eye(3).expand(2, 24, 1, 3, 3))
    still = true[:, :1].expand_as(true)
    assert_near(smoothed(still, 3.0), still)


def test_what_is_learned_is_shared_with_neighbours_of_a_clip():
    module = PartPoses(PartConfig(names=("all",), pictures=12, smooth=1.0), 2)
    objects, numbers = torch.tensor([1]), torch.tensor([[4, 11]])
    assert_near(module(objects, numbers), torch.eye(3, 4).expand(1, 2, 1, 3, 4))
    module(objects, numbers)[0, 0].sum().backward()
    gradient = module.table.weight.grad.to_dense().norm(dim=1)
    assert not gradient[:12].any()  # the other clip's
    assert (gradient[12:].argmax() == 4) & (gradient[12 + 5] > 0.5 * gradient[12 + 4]) & (gradient[12 + 11] < 1e-3)
    with torch.no_grad():
        module.table.weight[12:, 3:] = 0.25
    assert_near(module(objects, numbers)[..., 3], torch.full((1, 2, 1, 3), 0.25))


def test_what_is_rendered_is_what_was_pictured(archive):
    """Through the batch's cameras, the table's poses show the figure as its clip does."""
    views = PosedViews(archive, training_views)
    target = views.views_of(torch.tensor([0]), torch.tensor([[1, 4]]))
    assert target.numbers.tolist() == [[1, 4]]
    poses = table(0.0).of_batch(target)
    tint = torch.tensor([0.5, 1, 1, 1, 1, 1]).view(1, 6, 1, 1, 1)
    volume = figure(24).volume.with_grid(figure(24).volume.grid * tint)
    colour, _ = render_views(volume, target.cameras, figure(24).settings, poses=poses)
    wrong, _ = render_views(volume, target.cameras, figure(24).settings, poses=poses.flip(1))
    error, wrong_error = ((each - target.colour).square().mean() for each in (colour, wrong))
    assert error < 1e-4 < 0.1 * wrong_error


def test_pictures_turn_poses_the_right_way(archive):
    """From 15 degrees off, with the true volume: both parts come nearer, as a constant pose does not."""
    views, module = PosedViews(archive, training_views), table(15.0)
    numbers = torch.arange(6)[None]  # of the training views: the first five, and 6
    target = views.views_of(torch.tensor([1]), numbers)
    tint = torch.tensor([1, 0.5, 1, 1, 1, 1]).view(1, 6, 1, 1, 1)
    volume = figure(24).volume.with_grid(figure(24).volume.grid * tint)
    settings = replace(figure(24).settings, samples_per_ray=32)
    optimiser = torch.optim.SparseAdam([module.table.weight], lr=0.02)

    def errors() -> torch.Tensor:
        found = module(target.objects, target.numbers)[0, ..., :3]
        true = clip_poses()[1, target.numbers[0], :, :, :3]
        return torch.stack([aligned_degrees(found[:, part].detach(), true[:, part]).median() for part in range(2)])

    before = errors()
    for _ in range(60):
        colour, opacity = render_views(volume, target.cameras, settings, poses=module.of_batch(target))
        loss = (colour - target.colour).square().mean() + 0.5 * (opacity - target.mask).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"degrees of {PARTS}: {before.tolist()} before, {errors().tolist()} after")
    assert (errors() < 0.6 * before).all()


def test_held_poses_stay_and_others_learn(archive):
    for hold, learns in ((1.0, False), (0.0, True)):
        task = AutodecoderTask(config(hold=hold), PosedViews(archive, training_views))
        terms = task.losses(objects_seen=0, batch=3, progress=0.5, generator=torch.Generator().manual_seed(0))
        sum(terms.values()).backward()
        gradient = task.model.parts.table.weight.grad.to_dense()
        assert bool(gradient.any()) is learns
        assert task.model.parts.start.grad is None


def test_parts_are_seeded_where_the_decoder_says():
    """Untrained, the upper half is the head's; without heights nobody's."""
    for heights, parted in (((-0.45, 0.35), True), ((), False)):
        decoder = Decoder(DecoderConfig(8, (16, 8), 1, (), 4, extra_channels=2, part_heights=heights)).eval()
        with torch.no_grad():
            logits = decoder(torch.zeros(1, 8)).extra[0]
        head = (logits[1] > logits[0]).float().mean((1, 2))
        assert (bool((head[6:] > 0.99).all()) and bool((head[:2] < 0.01).all())) is parted
    with pytest.raises(ValueError, match="part_heights: wanted one for each of 2 extra channels; got 1"):
        Decoder(DecoderConfig(8, (16, 8), 1, (), 4, extra_channels=2, part_heights=(0.0,)))


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "heads"
    short = config(start_noise=10.0, hold=0.3)
    short = replace(short, loop=replace(short.loop, objects_seen=60, batch=3, log_seconds=0.0, device="cpu"))
    train_autodecoder(archive, short, folder)
    return folder


def test_a_run_reports_both_parts_errors_beside_their_controls(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = {key: value for line in lines for key, value in line.items()}
    for part in PARTS:
        assert 4 < last[f"{part}_start_error"] < 20
        assert np.isfinite(
            [last[f"{part}_{key}"] for key in ("rotation_error", "constant_error", "mirrored_error")]
        ).all()
    shares = [last[f"{part}_share"] for part in PARTS]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert min(shares) > 0.05
    known, its_config, _ = load_autodecoder(run)
    assert its_config.parts.names == PARTS
    assert its_config.parts.pictures == FRAMES
    scores = part_scores(known.parts, clip_poses(), PARTS)
    assert scores["head_rotation_error"] == pytest.approx(last["head_rotation_error"], abs=3)


def test_a_clip_that_was_learned_drives_another_object(run, tmp_path, capsys, monkeypatch):
    path, read = tmp_path / "a.glb", []
    arguments = ["--model", str(run), "--identity", "clip 2", "--driving", "clip 0", "--output", str(path)]
    monkeypatch.setattr(model, "load_snapshot", lambda *args: read.append(args) or load_snapshot(*args))
    main(["animate", *arguments, "--colour", "vertex"])
    assert len(read) == 1  # object and motion come from one reading of the model
    assert f"clip 2, {FRAMES} frames, 0.3 s, parts torso, head" in capsys.readouterr().out
    known, its_config, _ = load_autodecoder(run)
    motion = known.parts.motion(0, its_config.parts.names, FRONT.world_from_camera[0])
    off = degrees_between(motion.poses[..., :3], clip_motion(0).poses[..., :3])
    assert float(off.median()) < 20
    with pytest.raises(SystemExit):
        main(["animate", "--model", str(run), "--identity", "0", "--driving", "nobody", "--output", str(path)])
    assert (
        "driving: wanted a number below 3 or the name of a training object, such as clip 0" in capsys.readouterr().err
    )


def test_where_cameras_stand_need_not_be_known(archive, tmp_path):
    """Poses are told from the camera: clips that say nothing of it teach the same."""
    unposed = Archive(write_clips(tmp_path / "clips.zip", posed=False))
    assert not unposed.records[0].posed
    how = replace(config(hold=0.0), loop=replace(config().loop, objects_seen=12, batch=3, device="cpu"))
    how = replace(how, poses=replace(how.poses, source="table", azimuths=(0.0,), elevation=0.0))
    one, other = (train_autodecoder(each, how, tmp_path / str(each is archive)) for each in (archive, unposed))
    for (name, weight), known in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(weight, known), name
    assert other.codes.table.weight.isfinite().all()


def test_files_of_other_data_are_refused(archive, tmp_path):
    with pytest.raises(ValueError, match="wanted poses of the data's 2 objects; got those of 3"):
        started(PartConfig(poses=BESIDE), archive.select([0, 1]), parts=2)
    with pytest.raises(ValueError, match=r"decoder\.extra_channels: wanted 2, for torso, head; got 0"):
        started(PartConfig(poses=BESIDE), archive, parts=0)
    with pytest.raises(ValueError, match=r"no\.safetensors: wanted a snapshot; got no such file"):
        started(PartConfig(poses=str(tmp_path / "no.safetensors")), archive, parts=2)
    save_snapshot(tmp_path / "a.safetensors", {"poses": torch.zeros(3, 2, 3, 4)}, {"kind": "truth", "parts": PARTS})
    with pytest.raises(ValueError, match=r"a\.safetensors: poses: wanted finite \[N, F, 2, 3, 4\]"):
        started(PartConfig(poses=str(tmp_path / "a.safetensors")), archive, parts=2)


def tinted(number: int) -> Volume:
    tint = torch.ones(1, 6, 1, 1, 1)
    tint[:, number] = 0.5
    return figure(24).volume.with_grid(figure(24).volume.grid * tint)


def test_parts_of_an_unseen_clip_begin_at_known_poses_and_are_refined(archive):
    """Where its own poses are known these are found; else others', by another identity's volume, and refined."""
    views = PosedViews(archive, training_views)
    target = views.views_of(torch.tensor([0]), torch.tensor([[0, 1, 3, 4]]))
    others = PartPoses(PartConfig(names=PARTS, pictures=FRAMES), CLIPS - 1)
    others.start.copy_(clip_poses()[1:].flatten(0, 1))
    settings = replace(figure(24).settings, samples_per_ray=32)
    true = table(0.0).of_batch(target).detach()

    def error(poses: torch.Tensor) -> float:
        return float(degrees_between(poses[..., :3], true[..., :3]).mean())

    assert error(rough_parts(table(0.0), tinted(0), target, settings)) < 1
    rough = rough_parts(others, tinted(1), target, settings)
    fine = refined_parts(tinted(0), target, rough, settings, steps=40, rate=0.02)
    print(f"degrees: {error(rough):.1f} rough, {error(fine):.1f} refined")
    assert error(fine) < 0.6 * error(rough)
    assert torch.equal(refined_parts(tinted(0), target, rough, settings, steps=0, rate=0.02), rough)


def test_a_clip_is_reconstructed_without_poses_and_drives(run, archive, tmp_path, capsys):
    out, film = tmp_path / "out", tmp_path / "a.glb"
    quick = ("--steps", "6", "--fine-steps", "3", "--size", str(SIZE), "--colour", "vertex")
    data = ("--data", str(archive.path), "--object", "clip 1")
    main(["reconstruct", "--model", str(run), "--output", str(out), *data, *quick])
    report = json.loads((out / "report.json").read_text())
    assert (report["views"], report["judged"]) == (7, 1)
    motion = read_motion(out / "motion.json")
    known, its_config, _ = load_autodecoder(out)
    assert motion.names == PARTS == its_config.parts.names
    again = known.parts.motion(0, PARTS, FRONT.world_from_camera[0])
    assert_near(motion.poses, again.poses)
    assert len(motion.poses) == FRAMES
    assert degrees_between(motion.poses[1:, :, :, :3], motion.poses[:-1, :, :, :3]).amax() > 1
    drive = ("--driving", str(out / "motion.json"), "--output", str(film), "--colour", "vertex")
    for model_of, identity in ((out, "clip 1"), (run, "clip 2")):
        main(["animate", "--model", str(model_of), "--identity", identity, *drive])
        assert f"{identity}, {FRAMES} frames" in capsys.readouterr().out


def test_poses_of_a_clip_begin_smoothed_as_those_of_the_model_did(run, archive):
    known, its_config, _ = load_autodecoder(run)
    target = PosedViews(archive, training_views).views_of(torch.tensor([1]), torch.tensor([[0, 1, 2, 3]]))
    how = ReconstructConfig(steps=0, fine_steps=0, candidates=0)
    rough, begun = (
        reconstruct(known, replace(its_config, parts=replace(its_config.parts, smooth=width)), target, how).poses
        for width in (0.0, 2.0)
    )
    assert_near(begun, smoothed(rough, 2.0))
    assert (begun - rough).abs().max() > 0.01


def test_a_film_is_reconstructed(run, tmp_path, capsys):
    """A clip on a plain background, as it comes from a camera; what it is not is said in one line."""
    av = pytest.importorskip("av")
    clip, out = tmp_path / "nod.mp4", tmp_path / "out"
    frames = [straight_alpha(*posed.render(front_camera(64)))[0] for posed in posed_assets(figure(24), clip_motion(0))]
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "4"})
        stream.width = stream.height = 64
        for frame in frames:
            grey = (frame[:3] * frame[3:] + 0.5 * (1 - frame[3:])).movedim(0, -1)
            picture = (grey * 255).round().to(torch.uint8).numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    quick = ("--steps", "3", "--fine-steps", "1", "--size", str(SIZE), "--colour", "vertex")
    main(["reconstruct", "--model", str(run), "--video", str(clip), "--output", str(out), *quick])
    assert "nod from" in capsys.readouterr().out
    assert len(read_motion(out / "motion.json").poses) == FRAMES
    for wrong in (["--video", str(clip), "--data", "x.zip"], []):
        with pytest.raises(SystemExit):
            main(["reconstruct", "--model", str(run), "--output", str(out), *wrong])
        assert f"data: wanted it or --video; got {'both' if wrong else 'neither'}" in capsys.readouterr().err
