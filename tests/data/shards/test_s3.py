"""Shards behind another hand's S3 server, which may still grow. Needs `moto_server` (pip install 'moto[server]')."""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import fsspec
import pytest
from tiny import write_things

from vader3d.cli.main import main
from vader3d.data.making.copying import write_shards
from vader3d.text.captions import read_objects

PLACE = "s3://bucket/things"


@pytest.fixture
def s3(monkeypatch):
    """An empty bucket of a server of this machine."""
    if (program := shutil.which("moto_server")) is None:
        pytest.skip("moto_server is not installed")
    s3fs = pytest.importorskip("s3fs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://127.0.0.1:{port}"})
    s3fs.S3FileSystem.clear_instance_cache()
    server = subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        system = s3fs.S3FileSystem()
        for _ in range(200):
            try:
                system.mkdir("bucket")
                break
            except Exception:
                time.sleep(0.3)
        yield system
    finally:
        server.kill()
        server.wait()
        s3fs.S3FileSystem.clear_instance_cache()


def served(system, shards: Path, count: int) -> None:
    """The first `count` shards, as a folder holds them while others are made; the index last."""
    index = json.loads((shards / "shards.json").read_text())
    whole = count == len(index["shards"])
    listed = index["shards"][:count]
    for entry in listed:
        for path in shards.glob(f"{Path(entry['file']).stem}.*"):
            system.put(str(path), f"bucket/things/{path.name}")
    index |= {"shards": listed, "objects": sum(entry["objects"] for entry in listed), "whole": whole}
    system.pipe("bucket/things/shards.json", json.dumps(index).encode())


def names(run: Path) -> list[str]:
    return [entry.name for entry in read_objects(run / "objects.jsonl")]


def test_training_streams_from_a_bucket_that_grows(s3, tmp_path):
    """A run keeps the objects that it began with; one that learns on from it takes up the others."""
    archive = write_things(tmp_path / "tiny.zip")
    write_shards(archive, tmp_path / "shards", objects_per_shard=1)
    learn = ["train", "autodecoder", "--preset", "tiny", "--data", PLACE]
    served(s3, tmp_path / "shards", 2)
    main([*learn, "--output", str(tmp_path / "ae"), "--set", "loop.objects_seen=8"])
    first = [record.name for record in archive.records[:2]]
    assert names(tmp_path / "ae") == first
    served(s3, tmp_path / "shards", 4)
    main([*learn, "--output", str(tmp_path / "ae"), "--set", "loop.objects_seen=16"])
    assert names(tmp_path / "ae") == first
    more = ["--init", str(tmp_path / "ae"), "--output", str(tmp_path / "more"), "--set", "loop.objects_seen=8"]
    main([*learn, *more])
    assert names(tmp_path / "more") == [record.name for record in archive.records]
