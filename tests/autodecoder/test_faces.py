"""Heads and shoulders placed by landmarks of faces; what no face is seen in, and what is not there."""

import numpy as np
import pytest
import torch
from figures import CLIPS, FRAMES, write_clips

from vader3d.autodecoder import faces
from vader3d.autodecoder.faces import detected_poses, head_and_torso
from vader3d.autodecoder.parts import DETECTOR, PartConfig, started, true_poses
from vader3d.data.archive.reader import Archive
from vader3d.data.making.busts import PARTS
from vader3d.data.motion import composed
from vader3d.geometry.cameras import FRONT_DEGREES, Cameras, orbit_cameras
from vader3d.geometry.rotations import degrees_between, rotation_from_vector
from vader3d.geometry.skinning import inverse, moved
from vader3d.measures.articulated import moving_scores

PX = 256


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "cache"))


def front(clips: int, frames: int, size: int = PX) -> Cameras:
    one = orbit_cameras(torch.full((frames,), FRONT_DEGREES), torch.zeros(frames), size=size)
    return Cameras(one.world_from_camera.expand(clips, -1, 4, 4), one.intrinsics.expand(clips, -1, 4), size, size)


def nodding(clips: int, frames: int, rng: np.random.Generator) -> torch.Tensor:
    """Turns of heads [N, F, 3], about the camera's axes: mostly sideways."""
    return torch.tensor(rng.normal(size=(clips, frames, 3)) * np.deg2rad([8, 18, 5])).float()


def placed(turns: torch.Tensor) -> torch.Tensor:
    """Poses [N, F, 3, 4] that turn so, before the camera."""
    return torch.cat([rotation_from_vector(turns), torch.tensor([[0.0], [0.1], [4.0]]).expand(*turns.shape, 1)], -1)


def mask(rng: np.random.Generator, points: int = 100) -> torch.Tensor:
    """Half an ellipsoid [L, 3] in a camera's axes, the chin down, the nose towards the camera."""
    across = rng.normal(size=(points, 3))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return torch.tensor(across * [0.2, 0.3, 0.2] - [0, 0, 0.1]).float()[across[:, 2] < 0]


def seen(points: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """Landmarks [N, F, L, 3], in pixels, of points before cameras: what MediaPipe gives."""
    focal, centre = cameras.intrinsics[:, :, None].split(2, -1)
    return torch.cat([points[..., :2] / points[..., 2:] * focal + centre, points[..., 2:] / 4 * focal[..., :1]], -1)


def test_a_head_turns_and_goes_as_its_landmarks_do_and_the_torso_hangs_from_it():
    rng = np.random.default_rng(0)
    cameras, turns, face = front(6, 12), nodding(6, 12, rng), mask(rng)
    shifts = torch.tensor(rng.normal(size=(6, 12, 3))).float() * torch.tensor([0.1, 0.05, 0.0])
    about = torch.tensor([0.0, -0.3, 4.0])  # where heads turn: behind the face
    true = torch.cat([rotation_from_vector(turns), (shifts + about)[..., None]], -1)
    found = head_and_torso(seen(moved(face, true), cameras), cameras.intrinsics)
    assert found.shape == (6, 12, 2, 3, 4)
    rest = inverse(cameras.world_from_camera[0, 0, :3])
    scores = moving_scores(found[:, :, 0, :, :3], composed(true, rest)[..., :3])
    print(scores)
    assert scores["rotation_error"] < 1.5
    assert scores["yaw_correlation"] > 0.99
    home = moved(about[None], inverse(rest))
    went = moved(home, found[:, :, 0])[..., 0, :] - about
    off = (went - shifts - (went - shifts).mean((0, 1)))[..., :2].norm(dim=-1)
    print(off.mean(), shifts[..., :2].norm(dim=-1).mean())
    assert float(off.mean()) < 0.2 * float(shifts[..., :2].norm(dim=-1).mean())
    assert degrees_between(found[:, :, 1, :, :3], rest[..., :3].expand(6, 12, 3, 3)).max() < 1e-3
    chin = moved((about + torch.tensor([0.0, 0.3, -0.1]))[None], inverse(rest))
    apart = (moved(chin, found[:, :, 0]) - moved(chin, found[:, :, 1])).norm(dim=-1)
    assert float(apart.mean()) < 0.05  # they meet where the neck is


def test_larger_pictures_of_the_same_give_the_same():
    rng = np.random.default_rng(1)
    turns, face = nodding(3, 4, rng), mask(rng)
    points = moved(face, placed(turns))
    both = front(3, 4), front(3, 4, 4 * PX)
    small, large = (head_and_torso(seen(points, cameras), cameras.intrinsics) for cameras in both)
    assert torch.allclose(small, large, atol=1e-4)


def landmarks_of(blind: set[int], rng: np.random.Generator, asked: list[int]):
    """What stands in for MediaPipe: faces in all pictures of some clips but the first, none in others'."""

    def find(pictures: np.ndarray) -> np.ndarray:
        asked.append(len(asked))
        frames = len(pictures)
        cameras = front(1, frames, pictures.shape[1])
        poses = placed(nodding(1, frames, rng))
        places = seen(moved(mask(np.random.default_rng(2)), poses), cameras)[0].numpy().astype(float)
        places[: len(places) if asked[-1] in blind else 1] = np.nan
        return places

    return find


def test_pictures_without_a_face_take_the_nearest_pose_and_clips_without_stand_still(tmp_path, monkeypatch, capsys):
    archive = Archive(write_clips(tmp_path / "clips.zip"))
    asked: list[int] = []
    monkeypatch.setattr(faces, "faces_in", landmarks_of({1}, np.random.default_rng(3), asked))
    poses, names = detected_poses(archive)
    assert poses.shape == (CLIPS, FRAMES, 2, 3, 4)
    assert names == PARTS
    assert torch.equal(poses[:, 0], poses[:, 1])
    assert not torch.allclose(poses[0, 1], poses[0, 2])
    rest = inverse(archive.read(0).cameras.world_from_camera[0, :3])
    assert torch.allclose(poses[1], rest.expand(FRAMES, 2, 3, 4))
    told = capsys.readouterr().err
    pictures = CLIPS * FRAMES
    assert f"a face in {2 * (FRAMES - 1)} of {pictures} pictures, in 2 of {CLIPS} clips" in " ".join(told.split())
    again, _ = detected_poses(Archive(archive.path))
    assert torch.equal(again, poses)
    assert len(asked) == CLIPS  # not looked for again


def test_pictures_of_other_things_are_refused(tmp_path, monkeypatch):
    archive = Archive(write_clips(tmp_path / "clips.zip"))
    monkeypatch.setattr(faces, "faces_in", landmarks_of({0, 1}, np.random.default_rng(3), []))
    with pytest.raises(ValueError, match=r"parts\.poses=detector: wanted pictures of people's faces; got a face in"):
        started(PartConfig(poses=DETECTOR), archive, parts=2)
    monkeypatch.setattr(faces, "faces_in", landmarks_of({1}, np.random.default_rng(3), []))
    with pytest.raises(ValueError, match=r"decoder\.extra_channels: wanted 2, for head, torso; got 3"):
        started(PartConfig(poses=DETECTOR), archive, parts=3)


def test_a_clip_that_cannot_be_read_is_left_out(tmp_path, monkeypatch):
    archive = Archive(write_clips(tmp_path / "clips.zip"))
    data = bytearray((tmp_path / "clips.zip").read_bytes())
    place = data.index(b"RIFF", data.index(b"RIFF") + 4)
    data[place : place + 400] = bytes(400)
    (tmp_path / "clips.zip").write_bytes(data)
    monkeypatch.setattr(faces, "faces_in", landmarks_of(set(), np.random.default_rng(3), []))
    poses, _ = detected_poses(archive)
    rest = inverse(archive.read(0).cameras.world_from_camera[0, :3])
    still = [bool(torch.allclose(each, rest.expand(FRAMES, 2, 3, 4))) for each in poses]
    assert still == [False, True, False]


def test_scores_are_of_true_poses_alone(tmp_path):
    """A file of poses is a start, and no truth."""
    archive = Archive(write_clips(tmp_path / "clips.zip"))
    assert true_poses(archive.path, (CLIPS, FRAMES, 2)) is not None
    assert true_poses(archive.path, (CLIPS, FRAMES, 3)) is None
    (tmp_path / "clips.zip.truth.safetensors").rename(tmp_path / "mine.safetensors")
    assert true_poses(archive.path, (CLIPS, FRAMES, 2)) is None
    _, poses = started(PartConfig(poses=str(tmp_path / "mine.safetensors")), archive, parts=2)
    assert poses is not None
