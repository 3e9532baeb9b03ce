"""Judges measure what they say, of the same pictures every time."""

import pytest
import torch
from tiny import write_things

from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.study.judge import first_views, random_views


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> PosedViews:
    return PosedViews(write_things(tmp_path_factory.mktemp("things") / "things.zip", size=16), training_views)


def test_random_views_depend_on_the_object_and_the_seed_alone(views):
    alone = random_views(views, torch.tensor([2]), 3, seed=7)
    among = random_views(views, torch.tensor([0, 2, 1]), 3, seed=7)
    assert torch.equal(among.colour[1], alone.colour[0])
    assert torch.equal(among.cameras.world_from_camera[1], alone.cameras.world_from_camera[0])
    assert not torch.equal(random_views(views, torch.tensor([2]), 3, seed=8).colour, alone.colour)


def test_no_more_views_are_asked_for_than_there_are(views):
    assert first_views(views, torch.tensor([0, 3]), 99).colour.shape[:2] == (2, views.view_count(0))
