"""Colours are fitted to pictures: what they show comes back, what they do not show stays."""

import numpy as np
import torch
import trimesh

from vader3d.assets import all_round
from vader3d.export.fitted_colours import with_fitted_colours
from vader3d.export.mesh_pictures import mesh_pictures
from vader3d.geometry.cameras import orbit_cameras


def ball(colours: np.ndarray | None = None) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    painted = np.full((len(mesh.vertices), 3), 128) if colours is None else colours(mesh.vertices)
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=painted.astype(np.uint8))
    return mesh


def by_place(vertices: np.ndarray) -> np.ndarray:
    return 128 + 100 * vertices / 0.7


def seen(mesh: trimesh.Trimesh, cameras) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = torch.from_numpy(mesh_pictures(mesh, cameras)).movedim(-1, 1).float() / 255
    return pictures[:, :3] * pictures[:, 3:], pictures[:, 3:]


def test_a_grey_ball_takes_the_colours_of_the_pictures():
    cameras = all_round(12, size=96)
    fitted = with_fitted_colours(ball(), cameras, *seen(ball(by_place), cameras))
    off = np.abs(fitted.visual.vertex_colors[:, :3].astype(float) - by_place(fitted.vertices))
    assert off.mean() < 4
    assert np.array_equal(fitted.faces, ball().faces)


def test_what_no_picture_shows_keeps_its_colour():
    front = orbit_cameras(torch.tensor([0.0]), torch.zeros(1), size=96)
    fitted = with_fitted_colours(ball(), front, *seen(ball(by_place), front))
    behind = fitted.vertices @ front.world_from_camera[0, :3, 2].numpy() > 0.3
    colours = fitted.visual.vertex_colors[:, :3]
    assert behind.sum() > 100
    assert (colours[behind] == 128).all()
    assert (colours[~behind] != 128).any(1).mean() > 0.5


def test_half_empty_pixels_do_not_darken_the_rim():
    """Colours are premultiplied: where half of a pixel is covered it is half as bright."""
    cameras = all_round(12, size=96)
    white = ball(lambda vertices: np.full((len(vertices), 3), 250))
    fitted = with_fitted_colours(ball(), cameras, *seen(white, cameras))
    assert np.abs(fitted.visual.vertex_colors[:, :3].astype(int) - 250).max() < 12
