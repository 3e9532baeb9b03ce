"""Turned copies: each seen once in so many epochs, through cameras turned by its angle."""

import pytest
import torch
from tiny import write_things

from vader3d.data.archive.splits import training_views
from vader3d.data.batches.turned import TurnedViews, with_copies
from vader3d.data.batches.views import PosedViews

COPIES, OBJECTS = 3, 4


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return PosedViews(write_things(tmp_path_factory.mktemp("data") / "tiny.zip", size=8), training_views)


@pytest.fixture(scope="module")
def turned(plain):
    return TurnedViews(plain, COPIES)


def test_one_copy_is_the_views_themselves(plain):
    assert with_copies(plain, 1) is plain
    assert len(with_copies(plain, 2)) == 2 * OBJECTS


def test_every_copy_comes_once_in_so_many_epochs(plain, turned):
    batches = [turned.training_batch(objects_seen=seen, batch=6, views=2, seed=5) for seen in range(0, 24, 6)]
    numbers = torch.cat([batch.objects for batch in batches]).tolist()
    assert sorted(numbers[:12]) == [*range(12)]
    assert sorted(numbers[12:]) == [*range(12)]
    assert len({number // OBJECTS for number in numbers[:OBJECTS]}) > 1  # an epoch mixes the angles


def test_pictures_stay_and_cameras_turn(plain, turned):
    seen = {"objects_seen": 4, "batch": 8, "views": 2, "seed": 1}
    ours, theirs = turned.training_batch(**seen), plain.training_batch(**seen)
    assert ours.colour.equal(theirs.colour)
    assert (ours.objects % OBJECTS).equal(theirs.objects)
    for place, number in enumerate(ours.objects.tolist()):
        angle = torch.tensor(number // OBJECTS * 120.0)
        torch.testing.assert_close(
            ours.cameras[place].world_from_camera, theirs.cameras[place].turned(angle).world_from_camera
        )


def test_a_share_is_a_part_of_the_whole(turned):
    seen = {"objects_seen": 2, "batch": 8, "views": 2, "seed": 1}
    whole, part = turned.training_batch(**seen), turned.training_batch(**seen, share=slice(3, 6))
    assert part.objects.equal(whole.objects[3:6])
    assert part.cameras.world_from_camera.equal(whole.cameras.world_from_camera[3:6])


def test_views_of_a_copy_are_its_object_s_turned(plain, turned):
    numbers = torch.tensor([[0, 2]])
    ours, theirs = turned.views_of(torch.tensor([2 * OBJECTS + 1]), numbers), plain.views_of(torch.tensor([1]), numbers)
    assert ours.objects.tolist() == [9]
    assert ours.colour.equal(theirs.colour)
    torch.testing.assert_close(
        ours.cameras.world_from_camera, theirs.cameras.turned(torch.tensor(240.0)).world_from_camera
    )
    assert turned.view_count(9) == plain.view_count(1)


def test_a_copy_can_be_read_where_its_object_can(plain, turned, monkeypatch):
    monkeypatch.setattr(plain, "readable", lambda objects: objects[objects != 1])
    assert turned.readable(torch.tensor([0, 1, 5, 7, 9, 10])).tolist() == [0, 7, 10]
