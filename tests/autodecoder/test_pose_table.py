"""A pose for each picture: where it starts, that it learns, and that the network learns it too."""

import dataclasses

import pytest
import torch
from near import assert_near
from tiny import THINGS, pictures_of

from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.pose_table import PoseTable, distance, place_table
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.views import PosedViews
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import orbit_cameras
from vader3d.geometry.rotations import degrees_between
from vader3d.geometry.skinning import inverse
from vader3d.presets import preset
from vader3d.training.log import read_metrics

GIVEN = PoseConfig(source="table", start="given")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "things.zip"
    with ArchiveWriter(path, title="things", resolution=(32, 32)) as writer:
        for count, (name, thing) in enumerate(THINGS.items(), 7):
            azimuths = -90 + torch.linspace(-60, 60, count)  # unlike many views
            cameras = orbit_cameras(azimuths, torch.full((count,), 15.0), size=32)
            writer.add(PreparedObject(ObjectRecord(name), pictures_of(thing, cameras), cameras))
    return Archive(path)


def config_of(poses: PoseConfig, **changes: object):
    config = preset("tiny").autodecoder
    loop = dataclasses.replace(config.loop, objects_seen=16, batch=4, log_seconds=0.0, precision="float32")
    return dataclasses.replace(config, loop=loop, poses=poses, views_per_object=3, **changes)


def losses_at(task: AutodecoderTask, progress: float):
    return task.losses(objects_seen=0, batch=4, progress=progress, generator=torch.Generator().manual_seed(0))


def test_a_table_starts_at_the_data_s_cameras_or_at_one_pose(archive):
    task = AutodecoderTask(config_of(GIVEN), PosedViews(archive, training_views))
    table, last = task.model.poses, len(archive) - 1
    objects, numbers = torch.tensor([0, last]), torch.tensor([[0, 4], [3, 6]])  # numbers count held-out views too
    found = table(objects, numbers)
    for row, number in enumerate(objects.tolist()):
        true = archive.read(number).cameras.world_from_camera[numbers[row], :3]
        assert_near(found[row], inverse(true))
    mean = AutodecoderTask(config_of(PoseConfig(source="table")), task.views)
    assert_near(mean.model.poses(objects, numbers), mean.model.posing.bases[1].expand(2, 2, 3, 4))


def test_a_start_is_rough_by_so_many_degrees(archive):
    views = PosedViews(archive, training_views)
    tables = [PoseTable(len(archive), 24) for _ in range(3)]
    for table, noise, seed in zip(tables, (0.0, 20.0, 20.0), (0, 0, 1), strict=True):
        place_table(table, dataclasses.replace(GIVEN, start_noise=noise), views, torch.zeros(3, 4), seed=seed)
    exact, rough, other = (table.start[:, :5].flatten(0, 1) for table in tables)
    assert degrees_between(rough[:, :, :3], exact[:, :, :3]).median() == pytest.approx(20, abs=6)
    assert torch.equal(rough[..., 3], exact[..., 3])
    assert not torch.equal(rough, other)


def test_poses_learn_once_they_are_no_longer_held(archive):
    poses = dataclasses.replace(GIVEN, start_noise=10.0, hold=0.5)
    task = AutodecoderTask(config_of(poses), PosedViews(archive, training_views))
    held, free = losses_at(task, 0.4), losses_at(task, 0.6)
    assert {"projection", "distil"} <= held.keys()
    sum(held.values()).backward()
    assert task.model.poses.moves.weight.grad is None
    assert task.model.posing.network.head.weight.grad.any()  # the network learns the table's
    sum(free.values()).backward()
    gradient = task.model.poses.moves.weight.grad.coalesce()
    assert gradient.values().any()
    before = task.model.poses.moves.weight.clone()
    for optimiser in task.optimisers:
        optimiser.step()
    moved = (task.model.poses.moves.weight != before).any(1).nonzero()[:, 0]
    assert set(moved.tolist()) <= set(gradient.indices()[0].tolist())


def test_the_distance_of_poses_grows_with_both_their_parts():
    pose = orbit_cameras(torch.tensor([0.0, 90.0]), torch.zeros(2), size=2).world_from_camera[:, :3]
    assert distance(pose, pose).max() < 1e-3
    shifted = pose.clone()
    shifted[..., 3] += 0.5
    assert_near(distance(pose, shifted) - distance(pose, pose), torch.tensor([0.5, 0.5]))
    assert distance(pose[0], pose[1]) > 2


def test_a_run_with_a_table_logs_both_and_opens_again(archive, tmp_path):
    model = train_autodecoder(archive, config_of(GIVEN), tmp_path)
    line = next(line for line in read_metrics(tmp_path) if "table_rotation_error" in line)
    assert line["table_rotation_error"] < 5 < line["rotation_error"]  # it starts at the truth, the network at home
    loaded, config, _ = load_autodecoder(tmp_path)
    assert config.poses.table_views == max(record.views for record in archive.records)
    assert torch.equal(loaded.poses.start, model.poses.start)
    train_autodecoder(archive, config_of(GIVEN), tmp_path)  # the same command goes on


def test_pictures_of_shards_have_no_numbers(archive):
    class Streamed:
        archive = None

    with pytest.raises(ValueError, match=r"poses\.source: wanted keypoints where data are shards; got table"):
        AutodecoderTask(config_of(GIVEN), Streamed())
