"""Poses of parts by a network: they start at home, learn from pictures or from a table, and stand for the clips."""

import dataclasses

import pytest
import torch
from figures import FRAMES, FRONT, PARTS, SIZE, clip_poses, figure, write_clips
from near import assert_near

from vader3d.autodecoder.found_poses import first_poses
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.parts import BESIDE, PartConfig
from vader3d.autodecoder.posing import PoseConfig, Posing, fits, seen_by
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.cli.main import main
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews, ViewBatch
from vader3d.data.motion import composed
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.rotations import degrees_between
from vader3d.geometry.skinning import inverse
from vader3d.presets import preset
from vader3d.render import render_views
from vader3d.training.log import read_metrics

HEIGHTS = (-0.45, 0.35)
FROM_FRONT = PoseConfig(source="keypoints", azimuths=(0.0,), elevation=0.0, lean=0.0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    return Archive(write_clips(tmp_path_factory.mktemp("clips") / "clips.zip"))


def config(posing: PoseConfig, *, objects_seen: int = 16, **parts):
    tiny = preset("tiny").autodecoder
    decoder = dataclasses.replace(tiny.decoder, extra_channels=2, part_heights=HEIGHTS)
    loop = dataclasses.replace(tiny.loop, objects_seen=objects_seen, batch=4, log_seconds=0.0, precision="float32")
    return dataclasses.replace(
        tiny, decoder=decoder, loop=loop, poses=posing, parts=PartConfig(**parts), views_per_object=3
    )


def clip_batch(number: int = 0) -> ViewBatch:
    """The figure in the poses of a clip, before a camera that stands."""
    still = Cameras(FRONT.world_from_camera.repeat(FRAMES, 1, 1), FRONT.intrinsics.repeat(FRAMES, 1), SIZE, SIZE)[None]
    asset = figure(24)
    cameras, parts = seen_by(clip_poses()[number : number + 1], still)
    colour, mask = render_views(asset.volume, cameras, asset.settings, poses=parts)
    return ViewBatch(torch.zeros(1, dtype=torch.long), still, colour, mask)


def test_points_of_each_part_start_at_home_in_the_part():
    torch.manual_seed(0)
    posing, batch = Posing(FROM_FRONT, HEIGHTS), clip_batch()
    found = posing(torch.cat([batch.colour, batch.mask], 2), batch.cameras)
    assert found.poses.shape == (1, FRAMES, 1, 2, 3, 4)
    assert found.found.all()
    assert degrees_between(found.poses[..., :3], posing.bases[:, None, :, :3]).max() < 3
    middles = posing.points.detach().view(2, -1, 3).mean(1)
    assert (middles - torch.tensor([[0, 0, height] for height in HEIGHTS])).abs().max() < 0.02
    apart = Posing(FROM_FRONT, (0.0,) * 3).points.view(3, -1, 3)
    assert (apart[0] - apart[1]).abs().mean() > 1e-3  # what tells parts from each other that share a place


def test_parts_are_seen_where_their_poses_put_them():
    """The same pictures, whatever stands: the world about the parts, or the one before the front camera."""
    batch, poses = clip_batch(), clip_poses()[:1]
    asset = figure(48)
    cameras, parts = seen_by(poses, batch.cameras)
    around, _ = render_views(asset.volume, cameras, asset.settings, poses=parts)
    to_camera = inverse(FRONT.world_from_camera[0, :3])
    front = composed(inverse(poses), to_camera)
    standing, _ = render_views(asset.volume, batch.cameras, asset.settings, poses=front)
    assert (around - standing).abs().mean() < 0.01 * standing.mean()
    swapped, _ = render_views(asset.volume, cameras, asset.settings, poses=parts.flip(2))
    assert (swapped - standing).abs().mean() > 0.05 * standing.mean()


def test_the_hypothesis_of_parts_that_fits_is_told():
    batch, poses = clip_batch(), clip_poses()[:1, :, None]
    turned = poses.clone()
    turned[..., 1, :, :] = poses.roll(FRAMES // 2, 1)[..., 1, :, :]  # the head as in another frame
    badness = fits(figure(24).volume, torch.cat([turned, poses], 2), batch)
    assert (badness.argmin(-1) == 1).float().mean() > 0.8


def test_from_scratch_a_network_and_its_points_learn_and_no_camera_is_read(archive):
    views = PosedViews(archive, training_views)
    task = AutodecoderTask(config(FROM_FRONT), views)
    terms = task.losses(objects_seen=0, batch=4, progress=0.5, generator=torch.Generator().manual_seed(0))
    sum(terms.values()).backward()
    assert task.model.posing.network.head.weight.grad.any()
    assert task.model.posing.points.grad.view(2, -1, 3).flatten(1).any(1).all()  # of both parts
    assert task.model.parts.table.weight.grad is None
    assert task.model.parts.parts == 2


def test_a_training_from_scratch_keeps_what_it_finds_and_logs_how_far_that_is(archive, tmp_path):
    train_autodecoder(archive, config(FROM_FRONT), tmp_path)
    model, learned, _ = load_autodecoder(tmp_path)
    assert learned.parts.names == ("part 0", "part 1")
    assert learned.parts.pictures == FRAMES
    line = next(line for line in reversed(read_metrics(tmp_path)) if "network_part 1_rotation_error" in line)
    assert {"network_part 0_constant_error", "network_part 0_mirrored_error", "poses_lost", "projection"} <= line.keys()
    batch = PosedViews(archive, lambda count: list(range(count))).views_of(
        torch.tensor([1]), torch.arange(FRAMES)[None]
    )
    pictures = torch.cat([batch.colour, batch.mask], 2)
    with torch.no_grad():
        found = model.posing(pictures, batch.cameras).poses[:, :, 0]
        assert_near(model.parts(torch.tensor([1]), torch.arange(FRAMES)[None]), found)
    driving = ["animate", "--model", str(tmp_path), "--identity", "clip 0", "--driving", "clip 1"]
    main([*driving, "--output", str(tmp_path / "out.mp4")])
    assert (tmp_path / "out.mp4").is_file()


def test_a_network_learns_a_tables_poses_and_gives_a_search_its_start(archive, tmp_path):
    """Distilled for 60 steps it is nearer to the true poses than one pose for all, in clips that it learned from."""
    table = dataclasses.replace(FROM_FRONT, source="table", distil=10.0, lr=3e-3)
    learned = config(table, objects_seen=480, poses=BESIDE, hold=1.0)
    train_autodecoder(archive, learned, tmp_path)
    model, _, _ = load_autodecoder(tmp_path)
    assert model.poses is None
    assert not model.finds_poses
    batch = PosedViews(archive, training_views).views_of(torch.tensor([2]), torch.arange(6)[None])
    volume = model(torch.tensor([2]))
    with torch.no_grad():
        found = inverse(first_poses(model, volume, batch, learned.render))
        to_camera = inverse(batch.cameras.world_from_camera[0, 0, :3])
        turns = to_camera[:, :3] @ found[0, ..., :3]
    true = clip_poses()[2, batch.numbers[0], :, :, :3]
    error = degrees_between(turns, true).mean()
    assert error < 0.7 * degrees_between(true.mean(0, keepdim=True).expand_as(true), true).mean()
    line = [line for line in read_metrics(tmp_path) if "network_head_rotation_error" in line][-1]
    assert {f"network_{name}_rotation_error" for name in PARTS} <= line.keys()
    assert line["distil"] < 3


def test_what_cannot_be_is_said(archive):
    views = PosedViews(archive, training_views)
    with pytest.raises(ValueError, match=r"parts\.poses: wanted none where poses\.source=keypoints finds them"):
        AutodecoderTask(config(FROM_FRONT, poses=BESIDE), views)
