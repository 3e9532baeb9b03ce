"""Poses learned with the objects: they start at home, the best hypothesis is picked, and errors are told apart."""

import dataclasses
import math

import pytest
import torch
from near import assert_near
from tiny import THINGS, pictures_of

from vader3d.autodecoder.keypoints import KeypointNetwork, soft_maxima
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder, save_autodecoder
from vader3d.autodecoder.posing import (
    Hypotheses,
    PoseConfig,
    Posing,
    best,
    cameras_at,
    chosen,
    equivariance,
    fits,
    leaning,
    picked,
    posing_optimiser,
    seen_by,
    smaller,
)
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.autodecoder.unseen import unseen_scores
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.views import Pixels, PosedViews, ViewBatch
from vader3d.data.making.copying import write_shards
from vader3d.data.named import open_archive
from vader3d.data.writer import PreparedObject
from vader3d.evaluation.judged import open_judged_model
from vader3d.geometry.cameras import Cameras, orbit_cameras, unposed_cameras
from vader3d.geometry.rotations import degrees_between
from vader3d.presets import preset
from vader3d.render import RenderConfig, Volume, render_views
from vader3d.render.posed import cube_points
from vader3d.training.log import read_metrics

POSES = PoseConfig(source="keypoints")


def batch_of(cameras: Cameras, thing: str = "yellow tower") -> ViewBatch:
    """One object from [V] cameras."""
    pictures = torch.from_numpy(pictures_of(THINGS[thing], cameras)).float()[None].movedim(-1, 2) / 255
    colour, mask = pictures[:, :, :3] * pictures[:, :, 3:], pictures[:, :, 3:]
    return ViewBatch(torch.zeros(1, dtype=torch.long), cameras[None], colour, mask)


def frontal(*degrees: float, size: int = 32) -> Cameras:
    return orbit_cameras(-90 + torch.tensor(degrees), torch.full((len(degrees),), 15.0), size=size)


def ball() -> Volume:
    """A ball right of the middle, red to the right, blue towards the viewer at azimuth -90."""
    x, y, z = cube_points((24,) * 3).T.view(3, 24, 24, 24)
    raw = 20 * (0.5 - ((x - 0.3) ** 2 + y**2 + z**2).sqrt())
    return Volume(torch.stack([0.5 + x / 2, 0 * x, 0.5 - y / 2, raw])[None], "softplus", 10.0)


def seen_batch(volume: Volume, cameras: Cameras) -> ViewBatch:
    colour, mask = render_views(volume, cameras[None], RenderConfig(32, "softplus", 10.0, 0.0))
    return ViewBatch(torch.zeros(1, dtype=torch.long), cameras[None], colour, mask)


def test_every_hypothesis_starts_at_its_base_whatever_the_picture():
    torch.manual_seed(0)
    batch = batch_of(frontal(-50.0, 10.0, 40.0))
    posing = Posing(POSES)
    found = posing(torch.cat([batch.colour, batch.mask], 2), batch.cameras)
    assert found.found.all()
    assert found.poses.shape == (1, 3, 3, 1, 3, 4)
    poses = found.poses[:, :, :, 0]
    assert degrees_between(poses[..., :3], posing.bases[:, :, :3]).max() < 2
    assert (poses[..., 3] - posing.bases[:, :, 3]).abs().max() < 0.1
    base = orbit_cameras(torch.tensor([-90.0]), torch.tensor([15.0]), size=2)
    assert_near(cameras_at(posing.bases[None, 1:2], base[None]).world_from_camera[0], base.world_from_camera)


@pytest.mark.parametrize("solver", ["posit", "implicit", "epnp"])
def test_gradients_of_the_start_are_finite_and_reach_all(solver):
    torch.manual_seed(0)
    batch = batch_of(frontal(-50.0, 40.0))
    posing = Posing(dataclasses.replace(POSES, solver=solver))
    found = posing(torch.cat([batch.colour, batch.mask], 2), batch.cameras)
    posing_optimiser(posing)
    (found.poses.square().sum() + found.poses[..., 0, 0].sum() + found.losses["projection"]).backward()
    gradients = {name: parameter.grad for name, parameter in posing.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["points"].any()
    assert gradients["network.head.weight"].any()
    assert max(gradient.abs().max() for name, gradient in gradients.items() if name != "points") <= 0.1


def test_intrinsics_are_read_and_where_cameras_stand_is_not():
    torch.manual_seed(0)
    posing, batch = Posing(POSES).eval(), batch_of(frontal(-20.0, 30.0))
    torch.nn.init.normal_(posing.network.head.weight, std=0.1)  # from home, where every lens sees the same
    pictures = torch.cat([batch.colour, batch.mask], 2)
    before = posing(pictures, batch.cameras).poses
    moved = dataclasses.replace(batch.cameras, world_from_camera=torch.full((1, 2, 4, 4), torch.nan))
    assert torch.equal(posing(pictures, moved).poses, before)
    wide = dataclasses.replace(batch.cameras, intrinsics=batch.cameras.intrinsics * torch.tensor([0.5, 0.5, 1, 1]))
    assert not torch.allclose(posing(pictures, wide).poses, before, atol=1e-3)


def test_the_hypothesis_that_fits_is_chosen():
    volume, cameras = ball(), frontal(-40.0, 5.0, 50.0)
    target = seen_batch(volume, cameras)
    bases = Posing(POSES).bases[:, None].expand(1, 3, 3, 1, 3, 4)
    found = torch.ones(1, 3, 3, dtype=torch.bool)
    hypotheses = Hypotheses(bases, found, torch.zeros(()), {})
    assert chosen(volume, hypotheses, target).tolist() == [[0, 1, 2]]
    badness = fits(volume, bases, target)
    assert badness.argmin(-1).tolist() == [[0, 1, 2]]
    lost = found.clone()
    lost[0, 1, 1] = False
    assert chosen(volume, hypotheses._replace(found=lost), target)[0, 1] != 1
    cameras, _ = seen_by(picked(bases, torch.tensor([[2, 1, 0]])), target.cameras)
    assert_near(cameras.centres[0, 1], frontal(0.0).centres[0])


def test_a_hypothesis_that_fits_all_best_leaves_pictures_to_others_where_they_are_balanced():
    badness = torch.tensor([[[0.10, 0.20, 0.30], [0.11, 0.16, 0.31], [0.12, 0.21, 0.25]]])
    found = torch.ones(1, 3, 3, dtype=torch.bool)
    assert best(badness, found).tolist() == [[0, 0, 0]]
    assert best(badness, found, balance=1.0).tolist() == [[0, 1, 2]]
    found[0, 2, 2] = False
    assert best(badness, found, balance=1.0).tolist() != [[0, 1, 2]]


def test_at_first_what_is_higher_is_farther():
    volume = ball()
    leant = leaning(volume, 2.0)
    assert torch.equal(leant.colour, volume.colour)
    _, y, z = cube_points((24,) * 3).T.view(3, 24, 24, 24)
    assert_near((volume.raw_density - leant.raw_density)[0, 0], (z - y) ** 2)
    assert leaning(volume, -0.1) is volume


def test_points_are_read_where_their_maps_are_high():
    maps, home = torch.zeros(1, 2, 16, 16), torch.tensor([[[0.5, -0.25], [0.0, 0.0]]])
    assert soft_maxima(maps, 0 * home).abs().max() < 1e-5
    maps[0, 0, 3, 12] = 200.0
    assert_near(soft_maxima(maps, home)[0, 0], torch.tensor([12.5 / 8 - 1, 3.5 / 8 - 1]))
    network = KeypointNetwork(2).eval()
    assert (network(torch.rand(1, 4, 48, 48), home) - home).abs().max() < 0.05


def middle_of(pictures: torch.Tensor) -> torch.Tensor:
    """Where the light of pictures [P, 1, H, W] is, [P, 1, 2]."""
    size = pictures.shape[-1]
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    share = pictures[:, 0] / pictures.sum((1, 2, 3))[:, None, None]
    return torch.stack([(share.sum(1) * line).sum(1), (share.sum(2) * line).sum(1)], -1)[:, None]


def test_points_that_move_with_what_they_are_on_are_equivariant():
    """A dot's middle is (up to its stretching); one that stays, or goes the other way, is not."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    dots = torch.stack([(-((x - a) ** 2 + (y - b) ** 2) / 0.005).exp() for a, b in ((0.3, -0.2), (-0.1, 0.4))])[:, None]
    places = middle_of(dots)
    off = [
        float(equivariance(network, dots, places, torch.Generator().manual_seed(0)))
        for network in (middle_of, lambda pictures: places, lambda pictures: 2 * places - middle_of(pictures))
    ]
    assert off[0] < 0.02 < 0.05 < off[1] < off[2]


def test_equivariance_is_a_loss_where_it_is_asked_for(archive):
    views = PosedViews(archive, training_views)
    task = AutodecoderTask(
        dataclasses.replace(tiny_config(), poses=dataclasses.replace(POSES, equivariance=10.0)), views
    )
    terms = task.losses(objects_seen=0, batch=4, progress=0.0, generator=torch.Generator().manual_seed(0))
    terms["equivariance"].backward()
    assert task.model.posing.network.head.weight.grad.any()


def test_pictures_are_made_smaller_with_their_cameras():
    batch = batch_of(frontal(0.0, size=64))
    small = smaller(batch, 16)
    assert small.colour.shape == (1, 1, 3, 16, 16)
    assert small.colour.mean() == pytest.approx(batch.colour.mean().item(), abs=1e-5)
    assert small.cameras.intrinsics[0, 0].tolist() == (batch.cameras.intrinsics[0, 0] / 4).tolist()
    assert smaller(batch_of(frontal(0.0, size=20)), 16).colour.shape[-1] == 20
    strided = batch.strided(Pixels(4, 1, 2))
    assert torch.equal(strided.colour, batch.colour[..., 1::4, 2::4])
    assert strided.cameras.height == 16


def tiny_config(**changes: object) -> AutodecoderConfig:
    config = preset("tiny").autodecoder
    loop = dataclasses.replace(config.loop, objects_seen=16, batch=4, log_seconds=0.0, precision="float32")
    return dataclasses.replace(config, loop=loop, poses=POSES, views_per_object=3, **changes)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "things.zip"
    cameras = frontal(*torch.linspace(-60, 60, 8).tolist(), size=32)
    with ArchiveWriter(path, title="things", resolution=(32, 32)) as writer:
        for name, thing in THINGS.items():
            writer.add(PreparedObject(ObjectRecord(name), pictures_of(thing, cameras), cameras))
    return Archive(path)


def test_a_training_without_cameras_logs_how_far_its_poses_are(archive, tmp_path):
    model = train_autodecoder(archive, tiny_config(), tmp_path)
    line = next(line for line in reversed(read_metrics(tmp_path)) if "rotation_error" in line)
    assert 0 < line["rotation_error"] < 90
    assert line["constant_error"] == pytest.approx(27, abs=8)
    assert {"mirrored_error", "within_15_degrees", "poses_lost", "depth_clamped", "projection"} <= line.keys()
    assert sum(line[f"hypothesis_{number}"] for number in range(3)) == pytest.approx(1)
    (unseen,) = (line for line in read_metrics(tmp_path) if "unseen_psnr_db" in line)
    assert unseen["unseen_psnr_refined_db"] > unseen["unseen_psnr_db"]
    assert {"unseen_rotation_error", "unseen_rotation_error_refined", "unseen_within_15_degrees"} <= unseen.keys()
    views = PosedViews(archive, heldout_views)
    again = unseen_scores(model, views, tiny_config().render)
    assert again["unseen_psnr_db"] == pytest.approx(unseen["unseen_psnr_db"])
    assert unseen_scores(model, PosedViews(archive, lambda count: []), tiny_config().render) == {}
    loaded, config, _ = load_autodecoder(tmp_path)
    assert config.poses == POSES
    assert torch.equal(loaded.posing.points, model.posing.points)


def test_training_moves_the_poses_and_reads_no_camera(archive):
    views = PosedViews(archive, training_views)
    task = AutodecoderTask(tiny_config(), views)
    step = dict(objects_seen=0, batch=4, progress=0.0)
    losses = task.losses(**step, generator=torch.Generator().manual_seed(0))
    sum(losses.values()).backward()
    assert task.model.posing.network.head.weight.grad.any()
    assert task.model.posing.points.grad.any()
    other = AutodecoderTask(tiny_config(), WithoutPlaces(views))
    again = other.losses(**step, generator=torch.Generator().manual_seed(0))
    assert {name: value.item() for name, value in again.items()} == {n: v.item() for n, v in losses.items()}


class WithoutPlaces:
    """Views whose cameras stand nowhere."""

    def __init__(self, views: PosedViews):
        self.views, self.archive = views, views.archive

    def __len__(self) -> int:
        return len(self.views)

    def training_batch(self, **which: object) -> ViewBatch:
        batch = self.views.training_batch(**which)
        nowhere = torch.full_like(batch.cameras.world_from_camera, torch.nan)
        return dataclasses.replace(batch, cameras=dataclasses.replace(batch.cameras, world_from_camera=nowhere))


def test_poses_are_drawn_to_their_distance_where_that_is_asked_for(archive):
    """Without it the term is not there; with it its gradient shrinks an object that is seen as if from too far."""
    views = PosedViews(archive, training_views)
    poses = dataclasses.replace(POSES, keep_distance=1.0)
    step = dict(objects_seen=0, batch=4, progress=0.0)
    task, free = (AutodecoderTask(dataclasses.replace(tiny_config(), poses=each), views) for each in (poses, POSES))
    assert "far" not in free.losses(**step, generator=torch.Generator().manual_seed(0))
    home = task.losses(**step, generator=torch.Generator().manual_seed(0))["far"].item()
    with torch.no_grad():
        task.model.posing.points.mul_(1.3)  # the same picture, from farther
    far = task.losses(**step, generator=torch.Generator().manual_seed(0))["far"]
    assert home < 0.01 < far.item() == pytest.approx(math.log(1.3) ** 2, rel=0.4)
    far.backward()
    assert (task.model.posing.points.grad * task.model.posing.points).sum() > 0


def test_given_cameras_stay_as_they_are(tmp_path):
    config = dataclasses.replace(tiny_config(), poses=PoseConfig())
    model = Autodecoder(config, 4)
    assert model.posing is None
    assert not [name for name in model.state_dict() if name.startswith("posing")]
    batch = batch_of(frontal(0.0))
    assert model.seen(ball(), batch)[0] is batch.cameras
    save_autodecoder(tmp_path / "model.safetensors", model, config, data="")
    assert load_autodecoder(tmp_path)[0].posing is None


def test_what_cannot_be_posed_is_named(archive, tmp_path):
    save_autodecoder(tmp_path / "model.safetensors", Autodecoder(tiny_config(), 4), tiny_config(), data="")
    with pytest.raises(ValueError, match="wanted a model that learned from the data's cameras; got one with poses"):
        open_judged_model(tmp_path, archive)
    views = PosedViews(archive, training_views)
    with pytest.raises(ValueError, match="yaw_copies: wanted 1 where poses are learned; got 4"):
        AutodecoderTask(tiny_config(yaw_copies=4), views)
    with pytest.raises(ValueError, match=r"poses\.azimuths: wanted at least one"):
        Posing(PoseConfig(azimuths=()))


def without_poses(path, archive, *, objects_per_shard=None, known=()):
    """The same pictures in an archive or shards whose cameras nobody knows, but for the objects `known`."""
    size = archive.resolution[0]
    plain = path if objects_per_shard is None else path.with_suffix(".zip")
    with ArchiveWriter(plain, title="clips", resolution=archive.resolution) as writer:
        for number, record in enumerate(archive.records):
            pictures, cameras = archive.read(number)
            cameras = cameras if record.name in known else unposed_cameras(len(pictures), size=size)
            writer.add(PreparedObject(record, pictures, cameras))
    if objects_per_shard is not None:
        write_shards(open_archive(plain), path, objects_per_shard=objects_per_shard)
    return open_archive(path)


@pytest.mark.parametrize("objects_per_shard", [None, 1], ids=["archive", "shards"])
def test_data_without_cameras_are_trained_on_alike(archive, tmp_path, objects_per_shard):
    clips = without_poses(tmp_path / "clips", archive, objects_per_shard=objects_per_shard)
    with_cameras = train_autodecoder(archive, tiny_config(), tmp_path / "with")
    without = train_autodecoder(clips, tiny_config(), tmp_path / "without")
    for name, weights in with_cameras.state_dict().items():
        assert torch.equal(weights, without.state_dict()[name]), name
    reports = read_metrics(tmp_path / "without")
    assert any("poses_lost" in report for report in reports)
    assert not any("rotation_error" in report for report in reports)  # of what nobody knows


@pytest.mark.parametrize("objects_per_shard", [None, 1], ids=["archive", "shards"])
def test_cameras_that_nobody_knows_are_asked_for_in_vain(archive, tmp_path, objects_per_shard):
    (*known, last) = [record.name for record in archive.records]
    mixed = without_poses(tmp_path / "clips", archive, objects_per_shard=objects_per_shard, known=known)
    config = dataclasses.replace(tiny_config(), poses=PoseConfig())
    with pytest.raises(ValueError, match=f"{last!r} has none; --preset chairs-no-cameras"):
        train_autodecoder(mixed, config, tmp_path / "run")
