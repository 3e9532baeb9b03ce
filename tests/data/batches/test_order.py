"""The order of a stream: every object once an epoch, mixed, the same for any number of processes, from anywhere."""

import pytest
import torch

from vader3d.data.batches.order import StreamOrder, drawn_views, shuffled_objects

SIZES = [7, 7, 7, 7, 7, 7, 7, 4]  # 53 objects
COUNT = sum(SIZES)


def order(buffer: int = 20, sizes=SIZES) -> StreamOrder:
    return StreamOrder(sizes, buffer=buffer)


def visits(stream: StreamOrder, positions, *, batch: int = 4, seed: int = 0) -> list[int]:
    return stream.objects(positions, batch=batch, seed=seed).tolist()


@pytest.mark.parametrize("batch", [1, 2, 4, 7, 53, 200])
@pytest.mark.parametrize("buffer", [1, 5, 20, 52, 53, 1000])
def test_every_epoch_visits_every_object_once(batch, buffer):
    for epoch in range(3):
        positions = range(epoch * COUNT, (epoch + 1) * COUNT)
        assert sorted(visits(order(buffer), positions, batch=batch)) == list(range(COUNT))


@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [5, 1, 9], [30]])
def test_any_sizes_of_shards_will_do(sizes):
    for buffer in (1, 2, 4):
        assert sorted(visits(order(buffer, sizes), range(sum(sizes)), batch=3)) == list(range(sum(sizes)))


def test_epochs_and_seeds_differ():
    stream = order()
    first = visits(stream, range(COUNT))
    assert first != visits(stream, range(COUNT, 2 * COUNT))
    assert first != visits(stream, range(COUNT), seed=1)
    assert first == visits(order(), range(COUNT))


def test_it_begins_anywhere_and_shares_are_parts():
    whole = visits(order(), range(200))
    for start in (1, 17, 52, 53, 111):
        assert visits(order(), range(start, 200)) == whole[start:]
    for processes in (2, 4):
        shares = [visits(order(), range(rank, 200, processes)) for rank in range(processes)]
        assert [shares[i % processes][i // processes] for i in range(200)] == whole


def test_a_buffer_for_all_gives_the_order_of_an_archive():
    assert visits(order(buffer=COUNT), range(200)) == shuffled_objects(COUNT, range(200), seed=0).tolist()
    assert visits(order(buffer=COUNT - 1), range(200)) != shuffled_objects(COUNT, range(200), seed=0).tolist()


def test_the_order_of_an_archive_is_a_shuffle_an_epoch():
    numbers = shuffled_objects(10, range(30), seed=3).tolist()
    assert all(sorted(numbers[i : i + 10]) == list(range(10)) for i in (0, 10, 20))
    assert numbers[:10] != numbers[10:20]
    assert shuffled_objects(10, range(7, 23), seed=3).tolist() == numbers[7:23]


def test_a_window_is_a_stretch_of_shards_and_mixed():
    """The windows of all places of a batch hold the buffer; one touches few shards, in no order."""
    stream, batch = StreamOrder([100] * 50, buffer=400), 4
    positions = [position for position in range(400) if position % batch == 2]
    windows = {stream.place(position, batch=batch)[0] for position in positions}
    assert len(windows) == 1
    objects = visits(stream, positions, batch=batch)
    assert len(objects) == 100
    assert len({number // 100 for number in objects}) <= 2
    assert objects != sorted(objects)
    assert {number // 100 for number in visits(stream, range(400), batch=batch)} != set(range(4))  # shards are shuffled


def test_a_process_reads_its_own_shards():
    stream, batch = StreamOrder([100] * 64, buffer=256), 8
    shards = [
        {number // 100 for number in visits(stream, [p for p in range(6400) if p % batch // 4 == rank], batch=batch)}
        for rank in range(2)
    ]
    assert len(shards[0] & shards[1]) <= 2  # those that the ring's two cuts go through


def test_shuffles_do_not_favour_places():
    """Over many epochs each object comes at early and late places alike: mean rank within 5 sigma of the middle."""
    stream, epochs = order(), 200
    ranks = torch.zeros(COUNT)
    for epoch in range(epochs):
        for rank, number in enumerate(visits(stream, range(epoch * COUNT, (epoch + 1) * COUNT))):
            ranks[number] += rank / epochs
    sigma = COUNT / 12**0.5 / epochs**0.5
    assert (ranks - (COUNT - 1) / 2).abs().max() < 5 * sigma


def test_ten_million_objects_cost_no_more_than_a_window():
    import time

    stream = StreamOrder([1000] * 10_000, buffer=4096)
    start = time.process_time()
    numbers = visits(stream, range(9_999_990, 10_000_054), batch=64)
    assert len(set(numbers)) == 64
    assert time.process_time() - start < 1


def test_drawn_views_differ_until_there_are_too_few():
    draws = [drawn_views(6, 4, position=position, seed=0) for position in range(300)]
    assert all(len(set(draw)) == 4 and set(draw) <= set(range(6)) for draw in draws)
    assert {view for draw in draws for view in draw} == set(range(6))
    assert len({tuple(draw) for draw in draws}) > 100
    few = drawn_views(2, 5, position=0, seed=0)
    assert len(few) == 5
    assert set(few) == {0, 1}
    assert drawn_views(6, 4, position=3, seed=1) != draws[3] or drawn_views(6, 4, position=4, seed=1) != draws[4]
