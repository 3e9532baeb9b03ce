"""A studio with a tiny model."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import PARTS, nodding
from judged_models import write_model
from PIL import Image
from studios import Studio, log_line, studio_of, waited
from tiny import write_things

from vader3d.assets import Asset, Likeness
from vader3d.autodecoder.parts import BESIDE, PartConfig
from vader3d.data.archive.reader import Archive
from vader3d.data.motion import composed
from vader3d.data.part_poses import beside
from vader3d.data.writer import PreparedObject
from vader3d.export import surface
from vader3d.export.dataset import write_scene
from vader3d.export.surface import SurfaceConfig
from vader3d.generate.animate import FilmConfig
from vader3d.geometry.cameras import front_camera
from vader3d.geometry.skinning import inverse
from vader3d.presets import preset
from vader3d.snapshots import save_snapshot
from vader3d.studio import api, maker
from vader3d.studio.browse import Shelf
from vader3d.text.captions import OBJECTS, write_objects


@pytest.fixture(scope="module", autouse=True)
def small_files():
    """Turntables of two small frames, small films, surfaces that cost little, and no looks at them."""
    whole, dear = Asset.turntable, surface.surface_for

    def cheap(preset: str | None, **chosen: Any) -> SurfaceConfig | None:
        asked = any(value is not None for value in (preset, *chosen.values()))
        return dear(preset, **chosen) if asked else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Asset, "turntable", lambda self, frames, *, size, **more: whole(self, 2, size=16, **more))
        patch.setattr(maker, "FilmConfig", lambda: FilmConfig(16))
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
def data(model) -> Path:
    """What the model learned from."""
    return model.parent / "things.zip"


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A training that has begun, as the loop writes it."""
    folder = tmp_path_factory.mktemp("runs") / "stage2"
    (folder / "previews").mkdir(parents=True)
    loop = {"objects_seen": 1000, "seconds": None}
    (folder / "run.json").write_text(json.dumps({"kind": "diffusion", "data": "", "config": {"loop": loop}}))
    for seen in (100, 250):
        log_line(folder, seen)
        Image.new("RGB", (8, 8), (seen, 0, 0)).save(folder / "previews" / f"{seen:09d}.png")
    return folder


@pytest.fixture(scope="session")
def shelf(model, data, run) -> Shelf:
    return Shelf([str(data)], [run], model=str(model))


@pytest.fixture(scope="session")
def studio(model, shelf, tmp_path_factory) -> Iterator[Studio]:
    """One that makes."""
    with studio_of(model, tmp_path_factory.mktemp("gallery"), shelf=shelf) as made:
        waited(lambda: made.get("/v1/model").json["state"], lambda state: state == "ready")
        yield made


@pytest.fixture(scope="session")
def moving(tmp_path_factory) -> Iterator[Studio]:
    """One whose objects are of two parts; it learned four clips."""
    folder = tmp_path_factory.mktemp("moving")
    data = write_things(folder / "things.zip", views=6)
    poses = composed(inverse(front_camera(8).world_from_camera[:, :3]), nodding(6).poses)
    save_snapshot(beside(data.path), {"poses": poses.repeat(4, 1, 1, 1, 1)}, {"kind": "truth", "parts": PARTS})
    tiny = replace(preset("tiny").autodecoder.decoder, extra_channels=2)
    model = write_model(folder / "run", data, decoder=tiny, parts=PartConfig(poses=BESIDE))
    write_objects(model / OBJECTS, data.records)
    with studio_of(model, tmp_path_factory.mktemp("moved")) as made:
        waited(lambda: made.get("/v1/model").json["state"], lambda state: state == "ready")
        yield made


@pytest.fixture(scope="session")
def scene(data, tmp_path_factory) -> Path:
    """A folder as nerfstudio has it: transforms.json, and pictures of an object in images/."""
    folder = tmp_path_factory.mktemp("scene")
    views = Archive(data).read(0)
    prepared = PreparedObject(Archive(data).records[0], views.pictures, views.cameras)
    write_scene(folder, prepared, np.ones(views.pictures.shape[:3], np.float32), {})
    return folder


@pytest.fixture
def idle(model, tmp_path) -> Iterator[Studio]:
    """One whose jobs stay queued."""
    with studio_of(model, tmp_path / "gallery", at_work=False) as made:
        yield made
