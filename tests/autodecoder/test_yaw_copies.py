"""Stage 1 with turned copies: a code and a latent for each, which decode to the object turned."""

import dataclasses

import pytest
import torch
from test_stage1 import CONFIG
from tiny import Box, Sphere, write_things

from vader3d.autodecoder.extract import decode
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.train import AutodecoderTask, train_autodecoder
from vader3d.costs import autodecoder_state_bytes
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.latents import load_latents
from vader3d.measures.pictures import psnr
from vader3d.randomness import step_generator
from vader3d.render import render_views
from vader3d.snapshots import load_snapshot, save_snapshot

COPIES = 2
THINGS = {  # nothing that a half turn leaves as it was
    "red slab aside": (Box((0.9, 0.2, 0.1), (0.5, 0.0, 0.0), (0.3, 0.4, 0.5)),),
    "ball before a wall": (
        Box((0.1, 0.3, 0.9), (0.0, 0.6, 0.0), (0.6, 0.15, 0.6)),
        Sphere((0.9, 0.9, 0.2), (0.0, -0.3, 0.0), 0.3),
    ),
}
TURNED = dataclasses.replace(
    CONFIG, yaw_copies=COPIES, loop=dataclasses.replace(CONFIG.loop, objects_seen=800, batch=4)
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "aside.zip", THINGS)


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_autodecoder(archive, TURNED, folder)
    return folder


@torch.no_grad()
def test_a_copy_s_latent_decodes_to_its_object_turned(archive, run):
    latents, _, header = load_latents(run / "latents.safetensors")
    model, config, _ = load_autodecoder(run)
    views = PosedViews(archive, training_views)
    assert (len(latents), len(model.codes), header["yaw_copies"]) == (4, 4, COPIES)
    assert "objects" not in header
    seen = views.views_of(torch.arange(2), torch.arange(6).expand(2, 6))
    for copy in range(COPIES):
        volume = decode(model, latents[2 * copy : 2 * copy + 2])
        right, wrong = (
            render_views(volume, seen.cameras.turned(torch.tensor(angle)), config.render)[0]
            for angle in (180.0 * copy, 180.0 * (1 - copy))
        )
        assert float(psnr(right, seen.colour).mean()) > 20
        assert float(psnr(wrong, seen.colour).mean()) < 15


def test_of_objects_that_cannot_be_read_no_copy_has_latents(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(PosedViews, "readable", lambda self, objects: objects[objects % 2 == 1])
    short = dataclasses.replace(TURNED, loop=dataclasses.replace(TURNED.loop, objects_seen=4))
    train_autodecoder(archive, short, tmp_path)
    latents, _, header = load_latents(tmp_path / "latents.safetensors")
    assert header["objects"] == [1, 3]
    assert len(latents) == 2


def test_a_step_that_fails_names_objects_not_copies(archive):
    task = AutodecoderTask(TURNED, PosedViews(archive, training_views))
    names = task.names(objects_seen=0, batch=8, generator=step_generator(0, 0), share=slice(None))
    assert sorted(names) == 4 * ["ball before a wall"] + 4 * ["red slab aside"]


def test_codes_of_copies_are_counted():
    one, two = (dataclasses.replace(CONFIG, yaw_copies=copies) for copies in (1, 2))
    assert autodecoder_state_bytes(two, objects=50) == autodecoder_state_bytes(one, objects=100)


def test_a_snapshot_whose_codes_are_no_whole_copies_is_refused(run, tmp_path):
    tensors, header = load_snapshot(run / "model.safetensors")
    header["config"]["yaw_copies"] = 3
    save_snapshot(tmp_path / "model.safetensors", tensors, header)
    with pytest.raises(ValueError, match="objects: wanted a multiple of yaw_copies 3; got 4"):
        load_autodecoder(tmp_path)
