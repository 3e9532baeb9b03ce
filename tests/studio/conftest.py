"""A studio with a tiny model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judged_models import write_model
from studios import Studio, studio_of, waited
from tiny import write_things

from vader3d.assets import Asset, Likeness
from vader3d.export import surface
from vader3d.export.surface import SurfaceConfig
from vader3d.studio import api, maker


@pytest.fixture(scope="module", autouse=True)
def small_files():
    """Turntables of two small frames, surfaces that cost little, and no looks at them."""
    whole, dear = Asset.turntable, surface.surface_for

    def cheap(preset: str | None, **chosen: Any) -> SurfaceConfig | None:
        asked = any(value is not None for value in (preset, *chosen.values()))
        return dear(preset, **chosen) if asked else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Asset, "turntable", lambda self, frames, *, size, **more: whole(self, 2, size=16, **more))
        patch.setattr(Asset, "likeness", lambda self, mesh: Likeness(0.9, 30.0))
        for place in (api, maker, surface):
            patch.setattr(place, "surface_for", cheap)
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A run folder without words."""
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "run", write_things(folder / "things.zip", views=6))


@pytest.fixture(scope="session")
def studio(model, tmp_path_factory) -> Iterator[Studio]:
    """One that makes."""
    with studio_of(model, tmp_path_factory.mktemp("gallery")) as made:
        waited(lambda: made.get("/v1/model").json["state"], lambda state: state == "ready")
        yield made


@pytest.fixture
def idle(model, tmp_path) -> Iterator[Studio]:
    """One whose jobs stay queued."""
    with studio_of(model, tmp_path / "gallery", at_work=False) as made:
        yield made
