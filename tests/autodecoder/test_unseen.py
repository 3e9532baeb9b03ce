"""Views that no training saw: a volume refines their poses."""

import pytest
import torch
from near import assert_near

from vader3d.autodecoder.posing import cameras_at, shifted
from vader3d.autodecoder.unseen import refined
from vader3d.data.batches.views import ViewBatch
from vader3d.geometry.cameras import orbit_cameras
from vader3d.geometry.rotations import degrees_between
from vader3d.geometry.skinning import inverse
from vader3d.render import RenderConfig, Volume, render_views
from vader3d.render.posed import cube_points

MARCH = RenderConfig(32, "softplus", 10.0, 0.0)


def test_a_volume_pulls_cameras_to_where_its_pictures_were_taken():
    x, y, z = cube_points((24,) * 3).T.view(3, 24, 24, 24)
    raw = 20 * (0.5 - ((x - 0.3) ** 2 + y**2 + z**2).sqrt())
    volume = Volume(torch.stack([0.5 + x / 2, 0 * x, 0.5 - y / 2, raw])[None], "softplus", 10.0)
    cameras = orbit_cameras(torch.tensor([-120.0, -70.0]), torch.full((2,), 15.0), size=32)[None]
    colour, mask = render_views(volume, cameras, MARCH)
    target = ViewBatch(torch.zeros(1, dtype=torch.long), cameras, colour, mask)
    moves = torch.tensor([[0.05, 0.1, 0.0, 0.05, 0.0, 0.1], [-0.1, 0.05, 0.05, 0.0, 0.05, -0.1]])[None]
    off = cameras_at(shifted(inverse(target.cameras.world_from_camera[:, :, :3]), moves), target.cameras)

    def centre(matrices: torch.Tensor) -> torch.Tensor:
        """The ball's middle in the camera's axes, which pictures of a ball tell."""
        return (matrices[..., :3, :3].mT @ (torch.tensor([0.3, 0, 0]) - matrices[..., :3, 3])[..., None])[..., 0]

    true = centre(target.cameras.world_from_camera)
    again = refined(volume, off, target, MARCH)
    before, after = ((centre(c.world_from_camera) - true).norm(dim=-1) for c in (off, again))
    assert (after < 0.5 * before).all()
    assert again.world_from_camera.requires_grad is False


def test_poses_turn_about_the_object():
    poses = inverse(orbit_cameras(torch.tensor([-80.0]), torch.tensor([15.0]), size=32).world_from_camera[:, :3])
    step = shifted(poses, torch.tensor([[0.0, 0.2, 0.0, 0.0, 0.0, 1.0]]))
    assert degrees_between(step[:, :, :3], poses[:, :, :3]).item() == pytest.approx(0.2 * 57.2958, abs=1e-3)
    assert_near(step[:, :, 3], poses[:, :, 3] + torch.tensor([0.0, 0.0, 1.0]))  # where the object's middle is seen
