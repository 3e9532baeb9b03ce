"""A training without cameras learns where they stand."""

import dataclasses

import pytest
import torch
from tiny import Box, Thing, pictures_of

from vader3d.autodecoder.train import train_autodecoder
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.data.writer import PreparedObject
from vader3d.presets import preset
from vader3d.training.log import read_metrics

OBJECTS, VIEWS, STEPS = 32, 12, 150


def chair(generator: torch.Generator) -> Thing:
    """A seat on a post, a back, a rail, each of its own colour."""
    size = 0.8 + 0.4 * torch.rand(4, generator=generator)
    seat, back, post, rail = (tuple(colour) for colour in torch.rand(4, 3, generator=generator).tolist())
    wide, deep, high, thick = (size * torch.tensor([0.45, 0.45, 0.45, 0.12])).tolist()
    return (
        Box(seat, (0.0, 0.0, -0.1), (wide, deep, 0.08)),
        Box(back, (0.0, deep, high - 0.1), (wide, 0.06, high)),
        Box(post, (0.0, 0.0, -0.5), (thick, thick, 0.4)),
        Box(rail, (wide, 0.0, 0.1), (0.05, deep, 0.05)),
    )


@pytest.mark.slow
def test_poses_of_chairs_are_learned_from_pictures(tmp_path):
    generator = torch.Generator().manual_seed(0)
    with ArchiveWriter(tmp_path / "chairs.zip", title="chairs", resolution=(32, 32)) as writer:
        for number in range(OBJECTS):
            cameras = spread_cameras(VIEWS, size=32, seed=number, azimuths_from_front=60.0)
            pictures = pictures_of(chair(generator), cameras)
            writer.add(PreparedObject(ObjectRecord(f"chair {number}"), pictures, cameras))
    config = preset("chairs-no-cameras").autodecoder
    loop = dataclasses.replace(config.loop, objects_seen=4 * STEPS, log_seconds=5.0, precision="float32")
    config = dataclasses.replace(config, loop=loop)
    train_autodecoder(Archive(tmp_path / "chairs.zip"), config, tmp_path / "run")
    line = [line for line in read_metrics(tmp_path / "run") if "rotation_error" in line][-1]
    assert line["rotation_error"] < 0.75 * line["constant_error"]
    assert line["rotation_error"] < line["mirrored_error"]
