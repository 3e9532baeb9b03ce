"""The depth buffer beside Embree's rays."""

import numpy as np
import torch
import trimesh

from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import surface_from_scene
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.geometry.cameras import orbit_cameras

CAMERAS = orbit_cameras(torch.tensor([0.0, 75.0, 200.0]), torch.tensor([0.0, 30.0, -20.0]), size=48)


def test_silhouettes_are_those_that_rays_meet():
    mesh = trimesh.creation.annulus(0.3, 0.8, 0.4)  # large triangles and small ones, and a hole
    covered = mesh_pictures(mesh, CAMERAS)[..., 3]
    cast = render_surface(surface_from_scene(mesh), CAMERAS, rays_per_side=2)[..., 3]
    assert np.abs(covered.astype(int) - cast).mean() < 0.3
    assert 0 < (covered == 255).mean() < 0.6


def test_nearer_things_hide_farther_ones_and_colours_run_between_corners():
    near = trimesh.creation.box((0.2, 0.2, 0.2), transform=trimesh.transformations.translation_matrix([0.6, 0, 0]))
    far = trimesh.creation.box((0.2, 1.2, 1.2), transform=trimesh.transformations.translation_matrix([-0.6, 0, 0]))
    near.visual.vertex_colors, far.visual.vertex_colors = (255, 0, 0, 255), (0, 0, 255, 255)
    far.visual.vertex_colors[far.vertices[:, 2] > 0] = (0, 200, 255, 255)
    front = mesh_pictures(trimesh.util.concatenate([far, near]), CAMERAS[:1])[0]
    assert front[24, 24].tolist() == [255, 0, 0, 255]
    assert front[24, 32].tolist()[::2] == [0, 255]
    greens = front[18:31, 32, 1].astype(float)
    pixel = 2 * 4.5 * np.tan(np.pi / 12) / 48  # on the far box's front
    np.testing.assert_allclose(np.diff(greens), -200 * pixel / 1.2, atol=1.1)
    assert front[0, 0].tolist() == [0, 0, 0, 0]
