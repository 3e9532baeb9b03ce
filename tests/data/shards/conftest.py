"""A tiny archive, and shards of it."""

from pathlib import Path

import pytest
from tiny import write_things

from vader3d.data.making.copying import write_shards


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "tiny.zip")


@pytest.fixture
def shards(archive, tmp_path) -> Path:
    """Four objects, three in the first shard."""
    write_shards(archive, tmp_path / "shards", objects_per_shard=3)
    return tmp_path / "shards"
