"""Cameras of a scene that Blender 5.0 rendered and described (tests/golden/blender, with the script that made it)."""

from pathlib import Path

import foreign
import numpy as np
import pytest
import torch

from vader3d.data.named import open_archive
from vader3d.data.reading.nerfstudio import NERFSTUDIO

SCENE = Path(__file__).parents[2] / "golden" / "blender"
CUBES = {0: (0.7, 0.0, 0.0), 1: (0.0, 0.5, 0.0), 2: (0.0, 0.0, 0.8)}  # colour channel: centre; sides 0.4
EYES = [(3.5, 1.0, 1.5), (1.0, 4.0, 0.8), (-2.5, 2.5, 2.0), (2.0, -3.0, -1.2)]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    output = tmp_path_factory.mktemp("blender") / "out.zip"
    foreign.prepare(NERFSTUDIO, SCENE, output, size=64, scale=1.0, offset=(0.0, 0.0, 0.0))
    return open_archive(output).read(0)


def test_cameras_stand_where_blender_put_them(views):
    assert torch.allclose(views.cameras.centres, torch.tensor(EYES), atol=1e-5)


def hidden(point, eye, own: int) -> bool:
    """Whether another cube, or its rim, stands between."""
    way = np.linspace(eye, point, 400)
    return any((np.abs(way - centre) < 0.27).all(1).any() for channel, centre in CUBES.items() if channel != own)


def test_each_cube_lands_on_the_pixels_of_its_colour(views):
    """The cubes' centres, and points inside their corners, where no other cube stands before them."""
    corners = np.stack(np.meshgrid(*[(-0.15, 0.15)] * 3), -1).reshape(-1, 3)
    offsets = np.concatenate([np.zeros((1, 3)), corners])
    told = 0
    for channel, centre in CUBES.items():
        points = np.add(centre, offsets)
        pixels, depth = views.cameras.project(torch.tensor(points, dtype=torch.float32)[None])
        assert (depth > 0).all()
        for view, places in enumerate(pixels.floor().long()):
            for point, (column, row) in zip(points, places.tolist(), strict=True):
                if hidden(point, EYES[view], channel):
                    continue
                red_green_blue, alpha = np.split(views.pictures[view, row, column].astype(int), [3])
                assert alpha[0] > 100
                assert red_green_blue[channel] > 200
                assert red_green_blue.argmax() == channel  # rims blend with what is behind them
                told += 1
    assert told > 90  # of 108


def test_the_silhouette_ends_where_the_cubes_end(views):
    """Each picture's bounding box is that of the projected corners, to a pixel."""
    corners = np.stack(np.meshgrid(*[(-0.2, 0.2)] * 3), -1).reshape(-1, 3)
    points = np.concatenate([np.add(centre, corners) for centre in CUBES.values()])
    pixels, _ = views.cameras.project(torch.tensor(points, dtype=torch.float32)[None])
    for view, places in enumerate(pixels):
        row, column = np.nonzero(views.pictures[view, ..., 3] > 127)
        found = [column.min(), row.min(), column.max() + 1, row.max() + 1]
        assert np.abs(torch.cat([places.amin(0), places.amax(0)]).numpy() - found).max() < 1
