"""A network that learned a rough start begins nearer to the truth, and turns parts as far as they turn."""

import json
import math
from dataclasses import replace

import pytest
import torch
from figures import two_balls, write_clips

from vader3d.autodecoder.part_start import learn_start, lost_motion, louder, roughened, turn_as_far
from vader3d.autodecoder.parts import PartConfig, part_scores
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.making.heads import prepare_heads
from vader3d.data.part_poses import read_part_poses
from vader3d.geometry.rotations import rotation_from_vector, vector_from_rotation
from vader3d.presets import preset

PASSES = 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    """Clips of one figure in three tints, poses beside them."""
    return Archive(write_clips(tmp_path_factory.mktemp("clips") / "clips.zip"))


def config(**parts):
    tiny = preset("tiny").autodecoder
    return replace(
        tiny,
        decoder=replace(tiny.decoder, extra_channels=2, part_heights=(-0.45, 0.35)),
        poses=PoseConfig(source="table", azimuths=(0.0,), elevation=0.0),
        parts=PartConfig(poses="beside", **parts),
        loop=replace(tiny.loop, objects_seen=12, batch=3, log_seconds=0.0, device="cpu"),
        views_per_object=3,
    )


def swinging(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses [60, 24, 1, 3, 4] of clips that swing, and their angles [60, 24]."""
    phase, frames = 2 * math.pi * torch.rand(60, 1, generator=generator), torch.arange(24)
    angle = 0.3 * torch.sin(2 * math.pi * frames / 16 + phase)
    poses = torch.zeros(60, 24, 1, 3, 4)
    poses[..., 0, :, :3] = rotation_from_vector(torch.stack([0 * angle, angle, 0 * angle], -1))
    return poses, angle


def test_what_a_network_turned_too_little_is_given_back():
    generator = torch.Generator().manual_seed(0)
    true, angle = swinging(generator)
    rough = roughened(true, noise=20.0, seed=0)
    for kept in (0.7, 0.9, 1.0):
        found = louder(true, torch.tensor([kept]))
        factor = lost_motion(rough, found)
        back = vector_from_rotation(louder(found, factor)[..., :3])[..., 0, 1]
        print(f"kept {kept}: given back by {factor.item():.3f}")
        assert float((back * angle).mean() / angle.square().mean()) == pytest.approx(1, abs=0.08)
    assert lost_motion(rough[:, :4], true[:, :4]).tolist() == [1.0]  # of clips too short to tell noise by


def test_a_network_that_learned_a_rough_start_sees_through_its_noise(tmp_path):
    """Where one pose for all is no better than the start, what it makes of it is."""
    pytest.importorskip("embreex")
    prepare_heads(tmp_path / "heads.zip", count=16, frames=16, seed=1, size=24, processes=1, subject=two_balls)
    task = AutodecoderTask(config(), PosedViews(Archive(tmp_path / "heads.zip"), training_views))
    parts, (true, names) = task.model.parts, read_part_poses(tmp_path / "heads.zip.truth.safetensors")
    parts.start.copy_(roughened(true, noise=12.0, seed=3).flatten(0, 1))
    before = part_scores(parts, true, names)
    learn_start(task.model, task.views, task.poses.network.optimisers[0], passes=PASSES, batch=4, each=8, seed=0)
    after = part_scores(parts, true, names)
    for part in names:
        rough, found, constant = (
            before[f"{part}_start_error"],
            after[f"{part}_start_error"],
            after[f"{part}_constant_error"],
        )
        print(f"{part}: {rough:.1f} degrees off, then {found:.1f}; {constant:.1f} by one pose")
        assert found < 0.7 * rough


def test_parts_turn_as_far_as_rough_poses_say(archive):
    """Once, when its share of the run is over; a table's own turns are then in its start, its shifts stay."""
    task = AutodecoderTask(config(turned=0.5), PosedViews(archive, training_views))
    parts = task.model.parts
    with torch.no_grad():
        parts.table.weight[:] = 0.1
    turn_as_far(parts, task.poses.rough)
    assert bool(parts.turned)
    turns, shifts = parts.table.weight.unflatten(1, (2, 2, 3)).unbind(2)
    assert not turns.any()
    assert (shifts == 0.1).all()
    begun = parts.start.clone()
    assert torch.equal(begun[..., 3], task.poses.rough.flatten(0, 1)[..., 3])
    task.losses(objects_seen=6, batch=3, progress=0.5, generator=torch.Generator())
    assert torch.equal(parts.start, begun)  # not again


def test_shifts_are_held_as_far_as_asked(archive):
    task = AutodecoderTask(config(stay=2.0), PosedViews(archive, training_views))
    with torch.no_grad():
        task.model.parts.table.weight.unflatten(1, (2, 2, 3))[:, :, 1] = 0.3
    terms = task.losses(objects_seen=0, batch=3, progress=0.0, generator=torch.Generator())
    assert float(terms["stay"].detach()) == pytest.approx(2.0 * 0.3**2)
    terms["stay"].backward()
    turns, shifts = task.model.parts.table.weight.grad.to_dense().unflatten(1, (2, 2, 3)).unbind(2)
    assert not turns.any()
    assert (shifts >= 0).all()
    assert shifts.any()


def test_a_run_learns_its_start_once_and_not_again_where_it_goes_on(archive, tmp_path, monkeypatch):
    begun = []
    begin = AutodecoderTask.begin
    monkeypatch.setattr(AutodecoderTask, "begin", lambda task: (begun.append(1), begin(task)))
    short = config(start_noise=20.0, passes=2, hold=1.0)
    model = train_autodecoder(archive, short, tmp_path)
    rough = AutodecoderTask(short, PosedViews(archive, training_views)).model.parts.start
    assert not torch.equal(model.parts.start, rough)
    longer = replace(short, loop=replace(short.loop, objects_seen=24))
    again = train_autodecoder(archive, longer, tmp_path)
    assert begun == [1]
    assert torch.equal(again.parts.start, model.parts.start)
    assert json.loads((tmp_path / "run.json").read_text())["config"]["parts"]["passes"] == 2


def test_a_start_wants_a_network_that_learns_the_poses_of_the_file(archive):
    plain = replace(config(passes=2), poses=PoseConfig())
    with pytest.raises(ValueError, match="passes: wanted 0 where no network learns the poses of the file; got 2"):
        AutodecoderTask(plain, PosedViews(archive, training_views))
    alone = replace(config(), parts=PartConfig(passes=2), poses=PoseConfig(source="keypoints", azimuths=(0.0,)))
    AutodecoderTask(alone, PosedViews(archive, training_views)).begin()  # there is no file to begin at
