"""Views that independent software rendered, and a nerfstudio folder of them."""

import foreign
import pytest


@pytest.fixture(scope="module")
def views():
    return foreign.trimesh_views()


@pytest.fixture
def folder(tmp_path, views):
    return foreign.write_nerfstudio(tmp_path / "marked", views)
