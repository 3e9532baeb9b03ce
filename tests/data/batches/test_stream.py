"""Streams give the batches of an archive, from disk, HTTP and other places, past what is broken, and hold little."""

import functools
import http.server
import threading
from contextlib import contextmanager

import fsspec
import numpy as np
import pytest
import torch
from making import jobs_of, output_in

from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.archive.splits import training_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.stream import StreamedViews, open_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.making.conversion import convert
from vader3d.data.making.copying import write_shards
from vader3d.data.making.crew import Here
from vader3d.data.making.ledger import Item, ledger_for
from vader3d.data.making.part import make_part
from vader3d.data.making.work import Limits
from vader3d.data.named import open_archive
from vader3d.data.shards import storage
from vader3d.data.shards.storage import UrlStorage
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import orbit_cameras

OBJECTS, VIEWS, SIZE = 29, 7, 8


def write_objects(path):
    """Objects that tell their number: channel 0 is it, channel 1 the view."""
    cameras = orbit_cameras(torch.arange(VIEWS) * 50.0, torch.zeros(VIEWS), distance=4, fov_degrees=30, size=SIZE)
    with ArchiveWriter(path, title="numbers", resolution=(SIZE, SIZE)) as writer:
        for number in range(OBJECTS):
            pictures = np.full((VIEWS, SIZE, SIZE, 4), 255, np.uint8)
            pictures[..., 0], pictures[..., 1] = number, np.arange(VIEWS)[:, None, None]
            writer.add(PreparedObject(ObjectRecord(f"object {number}"), pictures, cameras))
    return open_archive(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_objects(tmp_path_factory.mktemp("data") / "a.zip")


@pytest.fixture
def folder(archive, tmp_path):
    write_shards(archive, tmp_path / "s", objects_per_shard=5)
    return tmp_path / "s"


def streamed(place, **options) -> StreamedViews:
    return StreamedViews(open_archive(place), training_views, threads=2, **options)


def batch_of(views, objects_seen: int, *, batch: int = 4, share: slice = slice(None)):
    return views.training_batch(objects_seen=objects_seen, batch=batch, views=3, seed=1, share=share)


def shown(batch) -> torch.Tensor:
    """The numbers that the pictures show [B, V]."""
    return (batch.colour[:, :, 0, 0, 0] * 255).round().long()


def assert_equal(one, other) -> None:
    assert torch.equal(one.objects, other.objects)
    assert torch.equal(one.colour, other.colour)
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(one.cameras.world_from_camera, other.cameras.world_from_camera)
    assert torch.equal(one.cameras.intrinsics, other.cameras.intrinsics)


def test_with_a_buffer_for_all_the_batches_are_the_archives(archive, folder):
    stream, whole = streamed(folder), PosedViews(archive, training_views)
    for objects_seen in range(0, 80, 4):
        assert_equal(batch_of(stream, objects_seen), batch_of(whole, objects_seen))
    objects, numbers = torch.tensor([3, 28]), torch.tensor([[0, 5], [1, 1]])
    assert_equal(stream.views_of(objects, numbers), whole.views_of(objects, numbers))
    assert [stream.view_count(o) for o in (0, 28)] == [whole.view_count(o) for o in (0, 28)] == [6, 6]


@pytest.mark.parametrize("buffer", [1, 8, 1000])
def test_every_object_comes_once_an_epoch_with_its_own_training_pictures(folder, buffer):
    stream, objects_seen = streamed(folder, buffer=buffer), []
    for start in range(0, 4 * OBJECTS, 4):
        batch = batch_of(stream, start)
        assert torch.equal(shown(batch), batch.objects[:, None].expand(-1, 3))
        views = (batch.colour[:, :, 1, 0, 0] * 255).round().long()
        assert (views != 5).all()  # held out
        assert all(len(row.unique()) == 3 for row in views)
        objects_seen += batch.objects.tolist()
    for epoch in range(4):
        assert sorted(objects_seen[epoch * OBJECTS : (epoch + 1) * OBJECTS]) == list(range(OBJECTS))


@pytest.mark.parametrize("buffer", [8, 1000])
def test_it_goes_on_anywhere_and_is_split_over_processes(folder, buffer):
    stream = streamed(folder, buffer=buffer)
    batches = {objects_seen: batch_of(stream, objects_seen) for objects_seen in range(0, 64, 4)}
    resumed, halves = streamed(folder, buffer=buffer), [streamed(folder, buffer=buffer) for _ in range(2)]
    for objects_seen in range(32, 64, 4):
        assert_equal(batch_of(resumed, objects_seen), batches[objects_seen])
        parts = [batch_of(half, objects_seen, share=slice(2 * rank, 2 * rank + 2)) for rank, half in enumerate(halves)]
        assert torch.equal(torch.cat([part.colour for part in parts]), batches[objects_seen].colour)
    assert_equal(batch_of(resumed, 0), batches[0])  # backwards, too


def test_it_holds_a_buffer_only(folder):
    stream = streamed(folder, buffer=8)
    for objects_seen in range(3 * OBJECTS):
        batch_of(stream, objects_seen, batch=1)
        held = sum(len(window.result()) for window in stream._windows.values() if not window.cancelled())
        assert held <= 8 + 5 + 8  # this window and the next, where an epoch ends with the short one between
    assert not stream._held


def test_damage_costs_that_object_only_and_is_told_once(folder):
    path = folder / "shard-000002.tar"
    data = bytearray(path.read_bytes())
    data[open_archive(folder).span(12)[1].offset + 3000] ^= 1
    path.write_bytes(data[: open_archive(folder).span(14)[1].offset + 10])
    for buffer in (8, 1000):
        told: list[str] = []
        stream, objects_seen = streamed(folder, buffer=buffer, report=told.append), []
        for start in range(0, 2 * OBJECTS, 2):
            batch = batch_of(stream, start, batch=2)
            assert torch.equal(shown(batch), batch.objects[:, None].expand(-1, 3))
            objects_seen += batch.objects.tolist()
        assert set(objects_seen) == set(range(OBJECTS)) - {12, 14}
        assert set(stream.broken) == {12, 14}
        assert sorted(line.split("object '")[1].split("'")[0] for line in told) == ["object 12", "object 14"]
        assert any("checksum" in line for line in told)
        assert any("cut short" in line for line in told)
        assert stream.readable(torch.arange(10, 16)).tolist() == [10, 11, 13, 15]
        with pytest.raises(ArchiveError, match="object 12"):
            stream.views_of(torch.tensor([12]), torch.tensor([[0]]))


def test_a_data_set_without_a_readable_object_is_an_error(folder):
    for path in folder.glob("*.tar"):
        path.unlink()
    with pytest.raises(ArchiveError, match="wanted a readable object; got none in 100 random draws"):
        batch_of(streamed(folder, buffer=8), 0)


def test_arguments_are_checked(folder):
    with pytest.raises(ValueError, match="buffer"):
        streamed(folder, buffer=0)
    some = open_archive(folder).select([1, 2])
    with pytest.raises(ValueError, match="selection"):
        StreamedViews(some, training_views)
    assert isinstance(open_views(some, training_views), PosedViews)
    assert isinstance(open_views(open_archive(folder), training_views), StreamedViews)


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files, and ranges of them where `ranged`; fails the first `failures` requests; notes what was sent."""

    ranged, failures, sent = True, 0, None

    def do_GET(self):
        kind = type(self)
        if kind.failures:
            kind.failures -= 1
            return self.send_error(503)
        asked = self.headers.get("Range")
        if not (kind.ranged and asked):
            return super().do_GET()
        path = self.translate_path(self.path)
        try:
            data = open(path, "rb").read()  # noqa: SIM115
        except OSError:
            return self.send_error(404)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        if not part:
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.end_headers()
        kind.sent.append(len(part))
        self.wfile.write(part)
        return None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(folder):
    """(URL, handler class) of a server of the shards."""
    with served(folder) as found:
        yield found


@contextmanager
def served(folder):
    handler = type("Handler", (Ranges,), {"sent": []})
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}", handler
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


@pytest.mark.parametrize("ranged", [True, False])
@pytest.mark.parametrize("buffer", [8, 1000])
def test_http_gives_what_the_disk_gives(folder, server, ranged, buffer):
    url, handler = server
    handler.ranged = ranged
    remote, local = streamed(url, buffer=buffer), streamed(folder, buffer=buffer)
    for objects_seen in range(0, 32, 4):
        assert_equal(batch_of(remote, objects_seen), batch_of(local, objects_seen))
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    assert not ranged or max(handler.sent) < largest  # stretches, not shards


def test_http_serves_what_is_whole_while_later_parts_are_made(tmp_path, monkeypatch):
    """A reader keeps what was there when it began; one that begins later has what came since."""
    monkeypatch.setattr("vader3d.data.making.finishing.INDEX_SECONDS", 0.0)
    output, jobs = output_in(tmp_path, 5), jobs_of(range(1, 21))
    items = [Item(index, job) for index, job in enumerate(jobs)]
    ledger = ledger_for(output, items, Limits())
    ledger.begin(len(items))
    shares = ledger.shared(items)
    output.path.mkdir(exist_ok=True)
    make_part(ledger, 0, shares[0], Here())
    with served(output.path) as (url, _):
        early = open_archive(url)
        assert not early.whole
        assert [record.name for record in early.records] == [item.job.name for item in shares[0]]
        make_part(ledger, 2, shares[2], Here())
        assert len(open_archive(url)) == len(shares[0]) + len(shares[2])
        convert(jobs, output, processes=1)
        late = open_archive(url)
        assert late.whole
        assert {record.name for record in late.records} == {job.name for job in jobs}
        for index, item in enumerate(shares[0]):  # the early reader's objects are what they were
            assert early.read(index).pictures[0, 0, 0, 0] == item.number + 2
        stream = streamed(url, buffer=1000)
        assert stream.readable(torch.arange(20)).tolist() == list(range(20))


def test_a_passing_failure_of_a_server_costs_nothing_a_lasting_one_stops(server, monkeypatch):
    monkeypatch.setattr(storage, "FIRST_PAUSE_SECONDS", 0.01)
    url, handler = server
    stream = streamed(url)
    handler.failures = 2
    assert len(batch_of(stream, 0).objects) == 4
    assert not stream.broken
    handler.failures = 10**6
    with pytest.raises(OSError, match="wanted its bytes"):
        batch_of(stream, 1000)


def test_a_remote_shard_cut_short_costs_its_objects(folder, server):
    path = folder / "shard-000000.tar"
    path.write_bytes(path.read_bytes()[: open_archive(folder).span(3)[1].offset])
    (folder / "shard-000001.tar").unlink()
    stream = streamed(server[0], buffer=1000)
    assert stream.readable(torch.arange(12)).tolist() == [0, 1, 2, 10, 11]
    with pytest.raises(FileNotFoundError, match=r"wanted shards\.json in .*elsewhere"):
        open_archive(server[0] + "/elsewhere")


def test_any_file_system_of_fsspec_will_do(folder):
    memory = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe(f"/bucket/{folder.parent.name}/{path.name}", path.read_bytes())
    remote, local = streamed(f"memory://bucket/{folder.parent.name}", buffer=8), streamed(folder, buffer=8)
    for objects_seen in range(0, 32, 4):
        assert_equal(batch_of(remote, objects_seen), batch_of(local, objects_seen))


def test_s3_is_asked_for_ranges_of_its_objects(folder, monkeypatch):
    """s3fs turns our reads into GetObject with a Range; its network is replaced, its code is not."""
    import s3fs

    asked = []

    async def call(self, method, *, Bucket, Key, Range=None, **_):
        assert (method, Bucket) == ("get_object", "bucket")
        data = (folder / Key.removeprefix("chairs/")).read_bytes()
        asked.append((Key, Range))

        class Body:
            async def read(self):
                first, _, last = (Range or "bytes=0-").removeprefix("bytes=").partition("-")
                return data[int(first) : int(last) + 1 if last else None]

            def close(self):
                pass

        return {"Body": Body()}

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    remote, local = streamed("s3://bucket/chairs", buffer=8), streamed(folder, buffer=8)
    assert_equal(batch_of(remote, 0), batch_of(local, 0))
    assert all(reach for key, reach in asked if key.endswith(".tar"))


def test_unknown_places_are_named():
    with pytest.raises(ValueError, match="nosuch://x"):
        UrlStorage("nosuch://x")
