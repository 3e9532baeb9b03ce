"""Reads a data set of `foreign.py` and finds its red ball again."""

import json

import foreign
import numpy as np
import torch

from vader3d.data.named import open_archive
from vader3d.data.reading.nerfstudio import NERFSTUDIO


def edit(folder, change, file="transforms.json"):
    document = json.loads((folder / file).read_text())
    change(document)
    (folder / file).write_text(json.dumps(document))


def each(change):
    return lambda document: [change(frame) for frame in document["frames"]] and None


def prepared(source, reader=NERFSTUDIO, **reading):
    report = foreign.prepare(reader, source, source.parent / "out.zip", **{"size": foreign.SIZE, **reading})
    archive = open_archive(source.parent / "out.zip")
    return archive.read(0), str(report), archive


def check_marked(read, *, views=7, least_iou=0.97, truth=None):
    """All views are there, and the red ball's pixel is that of one point in space, as right cameras have it."""
    pictures, cameras = read
    assert len(pictures) == views
    rays = []
    for picture, pose, lens in zip(pictures, cameras.world_from_camera, cameras.intrinsics, strict=True):
        red = (picture[..., 0] > 180) & (picture[..., 1] < 90) & (picture[..., 3] > 128)
        row, column = np.nonzero(red)
        pixel = np.array([column.mean() + 0.5, row.mean() + 0.5])
        local = np.append((pixel - lens[2:].numpy()) / lens[:2].numpy(), 1.0)
        rays.append((pose[:3, 3].numpy(), pose[:3, :3].numpy() @ local))
    across = [np.eye(3) - np.outer(d, d) / (d @ d) for _, d in rays]
    point = np.linalg.solve(sum(across), sum(a @ o for a, (o, _) in zip(across, rays, strict=True)))
    _, depth = cameras.project(torch.from_numpy(point).float().expand(len(pictures), 1, 3))
    assert (depth > 0).all()
    for (origin, direction), a in zip(rays, across, strict=True):
        assert np.linalg.norm(a @ (point - origin)) < 0.06, "no one point"
        assert (point - origin) @ direction > 0
    for picture, own in zip(pictures, truth or [], strict=False):
        mask, true = picture[..., 3] >= 128, own.picture[..., 3] >= 128
        assert (mask & true).sum() >= least_iou * (mask | true).sum()
    return point
