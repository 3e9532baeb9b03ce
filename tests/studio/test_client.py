"""The client for scripts."""

import pytest

from vader3d.studio.client import Client


def test_a_script_makes_and_saves(studio, tmp_path):
    client = Client(studio.address + "/", studio.keys.token)
    (asset,) = client.make(count=1, steps=1, seeds=[77])
    client.save(asset, tmp_path / "chair.glb")
    assert (tmp_path / "chair.glb").read_bytes() == studio.get(f"/v1/assets/{asset}.glb").body


def test_a_refusal_is_an_error_of_one_line(studio):
    with pytest.raises(ValueError, match=r"^count: wanted at least 1 and at most 64; got 0$"):
        Client(studio.address, studio.keys.token).make(count=0)
    with pytest.raises(ValueError, match=r"^token: wanted"):
        Client(studio.address, "another").ask("GET", "/v1/jobs")
