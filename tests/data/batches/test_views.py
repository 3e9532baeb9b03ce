"""Batches of an archive: decoded once where there is room, strided before they are converted."""

import gc

import pytest
import torch
from counted import largest_made
from tiny import write_things

from vader3d.data import dataset
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.stream import StreamedViews
from vader3d.data.batches.views import Pixels, PosedViews, drawn_pixels
from vader3d.data.named import open_archive, readable_objects
from vader3d.data.shards.writer import write_shards

SIZE, OBJECTS = 24, 4
OBJECT_BYTES = 12 * SIZE * SIZE * 4


@pytest.fixture
def archive(tmp_path):
    return write_things(tmp_path / "tiny.zip", size=SIZE)


@pytest.fixture
def decoded(monkeypatch):
    """The objects that archives decode."""
    indices, read = [], Archive.read
    monkeypatch.setattr(Archive, "read", lambda archive, index: indices.append(index) or read(archive, index))
    return indices


def batches(views, count: int = 6, **options) -> list:
    return [views.training_batch(objects_seen=3 * step, batch=3, views=2, seed=0, **options) for step in range(count)]


def test_every_object_is_decoded_once_from_the_first_look_on(archive, decoded):
    readable, problems = readable_objects(archive)
    assert problems == []
    views = PosedViews(readable, training_views)
    batches(views)
    views.views_of(torch.arange(OBJECTS), torch.zeros(OBJECTS, 1, dtype=torch.long))
    assert sorted(decoded) == list(range(OBJECTS))


def test_no_more_is_kept_than_there_is_room_for(archive, decoded, monkeypatch):
    wanted = batches(PosedViews(archive, training_views))
    monkeypatch.setattr(dataset, "KEPT_BYTES", 2 * OBJECT_BYTES)
    small = archive.select(range(OBJECTS))
    readable_objects(small)
    decoded.clear()
    found = batches(PosedViews(small, training_views))
    assert set(dataset.KEPT[small].views) == {0, 1}
    assert dataset.KEPT[small].bytes == 2 * OBJECT_BYTES
    assert set(decoded) == {2, 3}
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.colour, other.colour)
        assert torch.equal(one.cameras.world_from_camera, other.cameras.world_from_camera)


def test_what_is_kept_goes_with_its_data_set(tmp_path):
    archive = write_things(tmp_path / "tiny.zip", size=SIZE)
    gc.collect()
    before = len(dataset.KEPT)
    readable_objects(archive)
    assert len(dataset.KEPT) == before + 1
    del archive
    gc.collect()
    assert len(dataset.KEPT) == before


@pytest.mark.parametrize("streamed", [False, True])
def test_only_the_pixels_asked_for_are_converted(archive, streamed, tmp_path):
    views = PosedViews(archive, training_views)
    if streamed:
        write_shards(archive, tmp_path / "shards", objects_per_shard=2)
        views = StreamedViews(open_archive(tmp_path / "shards"), training_views, threads=1)
    (whole,) = batches(views, 1)
    with largest_made() as largest:
        (some,) = batches(views, 1, pixels=Pixels(2, 1, 0))
    assert largest.bytes == 4 * 3 * 2 * 4 * (SIZE // 2) ** 2  # float32 [3, 2, 4, H, W]
    assert torch.equal(some.colour, whole.colour[..., 1::2, ::2])
    assert torch.equal(some.mask, whole.mask[..., 1::2, ::2])
    assert torch.equal(some.cameras.intrinsics, whole.cameras.strided(2, 1, 0).intrinsics)
    assert (some.cameras.height, some.cameras.width) == (SIZE // 2, SIZE // 2)


def test_first_pixels_are_drawn_and_every_pixel_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert drawn_pixels(1, generator) == Pixels(1, 0, 0)
    assert torch.equal(generator.get_state(), before)
    assert {drawn_pixels(2, generator) for _ in range(50)} == {
        Pixels(2, row, column) for row in (0, 1) for column in (0, 1)
    }
