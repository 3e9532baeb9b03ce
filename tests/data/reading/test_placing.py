"""Which axes cameras have, what is up, and where the object is: told by pictures and masks."""

import foreign
import numpy as np
import pytest
import torch
from marked import check_marked, each, edit, prepared

from vader3d.geometry.placement import automatic_placement


def turned_world(matrix):
    def turn(frame):
        frame["transform_matrix"] = (matrix @ np.array(frame["transform_matrix"])).tolist()

    return each(turn)


Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
TILT = np.array([[1.0, 0, 0, 0], [0, 0.8, 0.6, 0], [0, -0.6, 0.8, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("world", [Y_UP, TILT], ids=["y up", "tilted"])
def test_a_world_that_lies_on_its_side_is_stood_up(world, folder):
    upright = check_marked(prepared(folder)[0])
    edit(folder, turned_world(world))
    read, report, _ = prepared(folder)
    found = check_marked(read)
    assert np.abs(found[2] - upright[2]) < 0.03
    assert np.abs(np.hypot(*found[:2]) - np.hypot(*upright[:2])) < 0.05
    assert "by the pictures' level rows, turned to z" in report


def test_up_may_be_said(folder):
    as_it_is = check_marked(prepared(folder, up="z")[0])
    lying = check_marked(prepared(folder, up="y")[0])
    assert np.allclose(lying, as_it_is @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=0.05)
    with pytest.raises(ValueError, match="up: wanted one of auto, x, y"):
        prepared(folder, up="w")


OTHER_CAMERAS = {
    "OpenCV's": lambda m: m @ np.diag([1.0, -1, -1, 1]),
    "PyTorch3D's": lambda m: m @ np.diag([-1.0, 1, -1, 1]),
    "inverse": np.linalg.inv,  # world to camera
}


@pytest.mark.parametrize("kind", OTHER_CAMERAS)
def test_cameras_of_another_convention_are_told_by_the_masks(kind, folder):
    def other(frame):
        frame["transform_matrix"] = OTHER_CAMERAS[kind](np.array(frame["transform_matrix"])).tolist()

    right = check_marked(prepared(folder)[0])
    edit(folder, each(other))
    read, report, _ = prepared(folder)
    found = check_marked(read)
    assert "which alone agrees with the masks" in report
    assert np.abs(found[2] - right[2]) < 0.05
    if kind == "OpenCV's":
        said, report, _ = prepared(folder, axes="opencv")
        assert np.allclose(check_marked(said), right, atol=0.02)
        assert "alone agrees" not in report
        with pytest.raises(ValueError, match=r"no.* common point|got none.*--axes"):
            prepared(folder, axes="opengl")


OTHER_HAND = {
    "Unity's": (np.diag([1.0, 1, -1, 1]), np.diag([1.0, 1, -1, 1])),  # a proper rotation: both sides are mirrored
    "a mirrored world": (np.diag([1.0, 1, -1, 1]), np.eye(4)),
    "mirrored cameras": (np.eye(4), np.diag([1.0, 1, -1, 1])),
}


@pytest.mark.parametrize("kind", OTHER_HAND)
def test_worlds_and_cameras_of_the_other_hand_are_told_by_the_masks(kind, folder):
    world, camera = OTHER_HAND[kind]

    def other(frame):
        frame["transform_matrix"] = (world @ np.array(frame["transform_matrix"]) @ camera).tolist()

    right = check_marked(prepared(folder)[0])
    edit(folder, each(other))
    read, report, _ = prepared(folder)
    assert np.abs(check_marked(read) - right).max() < 0.05 or kind != "mirrored cameras"
    assert np.abs(check_marked(read)[2] - right[2]) < 0.05
    assert "hand" in report
    said, _, _ = prepared(folder, axes="opengl" if kind == "a mirrored world" else "unity")
    assert np.allclose(check_marked(said), check_marked(read), atol=0.02)


def test_left_handed_cameras_that_no_mask_explains_are_named(folder):
    random = np.random.default_rng(0)

    def other(frame):
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, :3] = turn * -np.sign(np.linalg.det(turn))
        frame["transform_matrix"] = matrix.tolist()

    edit(folder, each(other))
    with pytest.raises(ValueError, match=r"got mirrors \(-1\), as of a left-handed world, .*--axes unity"):
        prepared(folder)


def test_the_box_about_the_masks_fills_the_cube(tmp_path):
    views = foreign.trimesh_views(size=96)
    folder = foreign.write_nerfstudio(tmp_path / "marked", views)
    move = np.eye(4)
    move[:3, 3] = (5, -3, 2)
    edit(folder, turned_world(move))
    point = check_marked(prepared(folder, size=96)[0])
    (low, high) = np.array([[-0.3, -0.37, -0.15], [0.52, 0.2, 0.42]])
    scale = 1.9 / (high - low).max()
    assert np.allclose(point, (foreign.MARK - (low + high) / 2) * scale, atol=0.12)


def test_a_wide_lens_leaves_the_cameras_out_of_the_cube():
    from vader3d.geometry.cameras import orbit_cameras

    cameras = orbit_cameras(torch.arange(0.0, 360, 45), torch.full((8,), 20.0), size=32, distance=2, fov_degrees=100)
    scale, offset = automatic_placement(cameras)
    assert np.allclose(offset, 0, atol=1e-5)
    assert 2 * scale > np.sqrt(3)
