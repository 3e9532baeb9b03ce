"""Clips of heads: the same for a seed, truth that fits the pictures and stays apart from what trains."""

import numpy as np
import pytest
import torch
from figures import two_balls as toy

from vader3d.data.archive.reader import Archive
from vader3d.data.making import heads
from vader3d.data.making.busts import PARTS, BustPose, part_poses, posed_surface
from vader3d.data.making.heads import (
    NOTHING,
    NOVEL_YAWS,
    SURFACE_POINTS,
    clip_views,
    moves,
    novel_path,
    prepare_heads,
    read_truth,
    truth_of,
)
from vader3d.data.part_poses import KIND, beside
from vader3d.geometry.skinning import inverse, moved
from vader3d.snapshots import load_snapshot, save_snapshot

FRAMES, SIZE = 6, 32
STILL = BustPose(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("embreex")
    path = tmp_path_factory.mktemp("heads") / "heads.zip"
    report = prepare_heads(path, count=3, frames=FRAMES, seed=4, size=SIZE, processes=1, subject=toy)
    assert report.skipped == []
    return path


def test_archive_truth_and_novel_views_lie_side_by_side(made):
    assert sorted(path.name for path in made.parent.iterdir()) == [
        "heads.zip",
        "heads.zip.novel.zip",
        "heads.zip.truth.safetensors",
    ]
    archive, novel, (truth, parts) = Archive(made), Archive(novel_path(made)), read_truth(made)
    assert [record.views for record in archive.records] == [FRAMES] * 3
    assert [record.views for record in novel.records] == [len(NOVEL_YAWS)] * 3
    assert parts == PARTS
    assert archive.records[0].caption == "two balls"
    assert {name: list(tensor.shape) for name, tensor in truth.items()} == {
        "poses": [3, FRAMES, 2, 3, 4],
        "cameras": [3, FRAMES, 4, 4],
        "judged": [3],
        "depth": [3, SIZE, SIZE],
        "parts": [3, SIZE, SIZE],
        "surface": [3, FRAMES, SURFACE_POINTS, 3],
        "seen": [3, SURFACE_POINTS],
    }
    assert truth["judged"].tolist() == [5, 5, 5]  # held out


def test_what_trains_says_nothing_of_where_cameras_stand(made):
    archive, (truth, _) = Archive(made), read_truth(made)
    for number in range(3):
        _, cameras = archive.read(number)
        assert torch.equal(cameras.world_from_camera, cameras.world_from_camera[:1].expand(FRAMES, 4, 4))
        assert (truth["cameras"][number] - cameras.world_from_camera).abs().amax((1, 2)).min() > 1e-3


def test_places_on_a_body_move_with_its_parts(made):
    """What is at rest lies where any frame's poses take it back to, and is the surface that the pictures show."""
    truth, _ = read_truth(made)
    bust, *_ = toy(np.random.default_rng([4, 0]))
    seen = moved(truth["surface"][0].float(), inverse(truth["cameras"][0, :, :3]))
    back = moved(seen[:, None], inverse(truth["poses"][0]))  # [F, K, P, 3]
    nearest = torch.cdist(back.flatten(0, 1), torch.tensor(bust.vertices).float()[None]).amin(-1).view(FRAMES, 2, -1)
    assert float(nearest.amin(1).max()) < 0.1  # each place is on one of the balls, in every frame
    apart = (back - back[5]).norm(dim=-1)  # of a place in each frame and in one, by each part's poses
    assert float(apart.amin(1).max()) < 0.04 < float(apart.amax(1).max())
    front = seen[5][seen[5, :, 2].argmin()]
    assert abs(float(front[2] - truth["depth"][0][truth["depth"][0] > 0].min())) < 0.05
    shown = truth["seen"][0]
    assert float((seen[:, shown, 2] < seen[..., 2].median()).float().mean()) > 0.9  # the side that faces the camera
    assert 0.3 < float(shown.float().mean()) < 0.6


def test_truth_without_surfaces_is_refused(made, tmp_path):
    tensors, header = load_snapshot(beside(made), KIND)
    del tensors["seen"]
    save_snapshot(tmp_path / "old.zip.truth.safetensors", tensors, header)
    with pytest.raises(ValueError, match="wanted where surfaces are; got an older file; make it anew"):
        read_truth(tmp_path / "old.zip")


def test_poses_and_depth_are_those_of_the_pictures(made):
    """Each part's middle is seen where its pose puts it, and as deep as the ball's front there."""
    archive, (truth, _) = Archive(made), read_truth(made)
    bust, *_ = toy(np.random.default_rng([4, 0]))
    middles = torch.tensor(np.stack([bust.vertices[bust.head == share].mean(0) for share in (1, 0)])).float()
    pictures, cameras = archive.read(0)
    fx, fy, cx, cy = cameras.intrinsics[0].tolist()
    colours = [255 * bust.colours[bust.head == share][0] for share in (1, 0)]
    for frame in range(FRAMES):
        local = torch.cat([moved(middles[None, k], truth["poses"][0, frame, k]) for k in range(2)])
        across, down = fx * local[:, 0] / local[:, 2] + cx, fy * local[:, 1] / local[:, 2] + cy
        for k in range(2):
            seen = pictures[frame, int(down[k]), int(across[k])]
            assert seen[3] == 255
            other = colours[1 - k]
            assert abs(seen[:3] - colours[k]).sum() < abs(seen[:3] - other).sum()
            if frame == 5:
                assert truth["parts"][0, int(down[k]), int(across[k])] == k
                assert 0.2 < local[k, 2] - truth["depth"][0, int(down[k]), int(across[k])] < 0.7
    assert ((truth["parts"] == NOTHING) == (truth["depth"] == 0)).all()
    mask = torch.from_numpy(pictures[5, ..., 3] > 127)
    assert ((truth["depth"][0] > 0) == mask).float().mean() > 0.97


def test_novel_views_are_of_the_judged_frame_from_its_sides(made):
    novel, (truth, _) = Archive(novel_path(made)), read_truth(made)
    _, cameras = novel.read(0)
    straight = truth["cameras"][0, 5]
    angles = torch.arccos((cameras.world_from_camera[:, :3, 2] @ straight[:3, 2]).clamp(-1, 1)).rad2deg()
    assert angles.round(decimals=0).tolist() == pytest.approx([45, 30, 15, 15, 30, 45], abs=1.5)
    assert cameras.centres[0, 0] * cameras.centres[-1, 0] < 0


def test_a_seed_and_a_number_decide_everything():
    pytest.importorskip("embreex")
    first, again = (clip_views(0, 1, 0, 4, 16, toy) for _ in range(2))
    assert (first.pictures == again.pictures).all()
    poses, same, other = (truth_of(seed, 1, 0, 4, 16, toy)["poses"] for seed in (0, 0, 1))
    assert torch.equal(poses, same)
    assert not torch.equal(poses, other)


def test_yaws_are_as_those_of_real_clips():
    """About N(0, 15) degrees over clips, with tails, and smooth within one."""
    rng = np.random.default_rng(0)
    clips = [moves(rng, 24, 1) for _ in range(400)]
    yaws = np.rad2deg([[pose.head[0] + pose.torso[0] for pose in clip] for clip in clips])
    kurtosis = ((yaws - yaws.mean()) ** 4).mean() / yaws.var() ** 2
    print(f"yaw: standard deviation {yaws.std():.1f} degrees, kurtosis {kurtosis:.1f}, largest {abs(yaws).max():.0f}")
    assert abs(yaws.mean()) < 2
    assert 12 < yaws.std() < 18
    assert kurtosis > 3.5
    assert abs(np.diff(yaws, axis=1)).std() < 0.4 * yaws.std()


def test_a_head_turns_round_its_joint_and_the_torso_carries_it():
    bust, *_ = toy(np.random.default_rng(0))
    turned = BustPose(np.array([0.4, 0, 0]), np.array([0.6, 0.1, 0]), np.array([0.1, 0, 0]), np.zeros(1))
    head, torso, _ = part_poses(bust, turned)
    np.testing.assert_allclose(part_poses(bust, STILL), np.tile(np.eye(3, 4), (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(torso[:, :3] @ bust.neck_joint + torso[:, 3], bust.neck_joint + turned.shift)
    facing = head[:, :3] @ [0, -1, 0]
    assert np.rad2deg(np.arctan2(facing[0], -facing[1])) == pytest.approx(np.rad2deg(1.0), abs=1)
    surface, parts = posed_surface(bust, turned)
    whole = torch.tensor(surface.triangles[parts == 0].reshape(-1, 3)).float()
    back = moved(whole, inverse(torch.tensor(head).float()))
    np.testing.assert_allclose(back, bust.vertices[bust.faces[parts == 0]].reshape(-1, 3), atol=1e-6)


def test_people_are_made_where_anny_is_installed():
    pytest.importorskip("anny", reason="needs anny: pip install 'vader3d[heads]'")
    from vader3d.data.making.people import person

    bust, caption, tags = person(np.random.default_rng([0, 0]))
    assert caption == f"a person with {tags['hair']} hair in a {tags['shirt']} shirt"
    assert bust.vertices[:, 2].max() == pytest.approx(0.78)
    assert abs(bust.vertices).max() < 1
    assert bust.vertices[bust.head > 0.9, 2].min() > bust.vertices[bust.head < 0.1, 2].min() + 0.2
    assert ((bust.head + bust.neck) <= 1 + 1e-6).all()


def test_without_anny_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "anny", None)
    heads.body.cache_clear()
    with pytest.raises(ImportError, match=r"anny: wanted for people; got none; pip install 'vader3d\[heads\]'"):
        prepare_heads(tmp_path / "a.zip", count=1)
    assert not [*tmp_path.iterdir()]


def test_another_take_is_another_clip_of_the_same_person():
    first, second, third = (heads.clip_of(1, 2, take, 4, 16, toy) for take in (0, 1, 2))
    assert first.record.name == second.record.name == "head-1-00002"
    assert np.array_equal(first.bust.vertices, second.bust.vertices)
    turns = [np.stack([pose.head for pose in clip.poses]) for clip in (first, second, third)]
    assert abs(turns[0] - turns[1]).max() > 0.01
    assert abs(turns[1] - turns[2]).max() > 0.01
