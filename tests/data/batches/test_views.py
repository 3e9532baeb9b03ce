"""Batches of an archive: decoded once where there is room, strided before they are converted."""

import gc

import pytest
import torch
from counted import largest_made
from tiny import write_things

from vader3d.data import dataset
from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.order import shuffled_objects
from vader3d.data.batches.stream import StreamedViews, open_views
from vader3d.data.batches.turned import with_copies
from vader3d.data.batches.views import Pixels, PosedViews, drawn_pixels
from vader3d.data.making.copying import write_shards
from vader3d.data.named import open_archive, readable_objects

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


def test_every_byte_becomes_its_share_of_one(archive):
    """By division, to the last bit, whatever part of the pictures is asked for."""
    views = PosedViews(archive, training_views)
    batch = views.views_of(torch.tensor([2, 0]), torch.tensor([[1, 0], [2, 2]]))
    for row, (number, places) in enumerate([(2, (1, 0)), (0, (2, 2))]):
        stored = archive.read(number)
        chosen = [training_views(len(stored.pictures))[place] for place in places]
        bytes_ = torch.from_numpy(stored.pictures[chosen].astype("float32")).movedim(-1, 1) / 255
        assert torch.equal(batch.mask[row], bytes_[:, 3:])
        assert torch.equal(batch.colour[row], bytes_[:, :3] * bytes_[:, 3:])
        assert torch.equal(batch.cameras.world_from_camera[row], stored.cameras.world_from_camera[chosen])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("copies", [1, 3])
def test_pictures_go_to_the_device_and_cameras_stay(archive, streamed, copies, tmp_path):
    if streamed:
        write_shards(archive, tmp_path / "shards", objects_per_shard=2)
        archive = open_archive(tmp_path / "shards")
    views = with_copies(open_views(archive, training_views), copies)
    (batch,) = batches(views, 1, device=torch.device("meta"))
    assert [part.device.type for part in (batch.colour, batch.mask, batch.objects)] == ["meta", "meta", "cpu"]
    assert batch.cameras.intrinsics.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_divides_bytes_as_the_cpu_does(archive):
    views = PosedViews(archive, training_views)
    (here,), (there,) = batches(views, 1), batches(views, 1, device=torch.device("cuda"))
    assert torch.equal(there.colour.cpu(), here.colour)
    assert torch.equal(there.mask.cpu(), here.mask)


def drawn_ahead(views) -> None:
    for future in views._ahead.values():
        future.result()


def test_the_batch_that_follows_is_decoded_while_the_caller_computes(archive, decoded, monkeypatch):
    monkeypatch.setattr(dataset, "KEPT_BYTES", 0)
    views, seen = PosedViews(archive, training_views), []
    for step in range(3):
        views.training_batch(objects_seen=2 * step, batch=2, views=2, seed=0)
        drawn_ahead(views)
        seen.append(len(decoded))
    assert seen == [4, 6, 8]


def test_batches_are_the_same_whatever_was_asked_for_before(archive):
    views, part = PosedViews(archive, training_views), {"share": slice(1, 3)}
    for seen, batch, more in [(0, 3, {}), (3, 3, {}), (3, 3, part), (6, 3, part), (6, 3, {}), (0, 3, {}), (7, 2, {})]:
        found = views.training_batch(objects_seen=seen, batch=batch, views=2, seed=0, **more)
        alone = PosedViews(archive, training_views)
        wanted = alone.training_batch(objects_seen=seen, batch=batch, views=2, seed=0, **more)
        assert torch.equal(found.objects, wanted.objects)
        assert torch.equal(found.colour, wanted.colour)
        assert len(views._ahead) <= 2


def test_an_object_that_cannot_be_read_stops_its_own_batch_alone(archive, monkeypatch):
    bad = int(shuffled_objects(OBJECTS, [3], seed=0))
    read = Archive.read

    def broken(data, index):
        if index == bad:
            raise ArchiveError("damaged")
        return read(data, index)

    monkeypatch.setattr(Archive, "read", broken)
    views = PosedViews(archive, training_views)
    for seen in range(3):
        views.training_batch(objects_seen=seen, batch=1, views=2, seed=0)
        if seen < 2:
            drawn_ahead(views)
    with pytest.raises(ArchiveError, match="damaged"):
        views.training_batch(objects_seen=3, batch=1, views=2, seed=0)


def test_first_pixels_are_drawn_and_every_pixel_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert drawn_pixels(1, generator) == Pixels(1, 0, 0)
    assert torch.equal(generator.get_state(), before)
    assert {drawn_pixels(2, generator) for _ in range(50)} == {
        Pixels(2, row, column) for row in (0, 1) for column in (0, 1)
    }
