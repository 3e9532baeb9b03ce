"""`vader3d reconstruct`: a code that made pictures is found from them, and what comes out is a model of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from judged_models import write_model
from near import assert_near
from tiny import ring, write_things

from vader3d.assets import Asset, as_dataset
from vader3d.autodecoder.model import load_autodecoder
from vader3d.autodecoder.posing import PoseConfig
from vader3d.autodecoder.reconstruct import ReconstructConfig, reconstruct
from vader3d.cli.main import main
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.views import Picked, view_batch
from vader3d.data.writer import PreparedObject
from vader3d.export.turntable import straight_alpha
from vader3d.generate.generator import opened
from vader3d.generate.identities import object_in
from vader3d.generate.reconstruct import object_of
from vader3d.geometry.cameras import unposed_cameras

QUICK = ("--steps", "60", "--fine-steps", "20", "--colour", "vertex")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model, whose decoder maps different codes to different volumes all the same."""
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder, write_things(folder / "data.zip", size=16))


@pytest.fixture(scope="module")
def data(model, tmp_path_factory):
    """Pictures of an object of a code that the model never met."""
    known, config, _ = load_autodecoder(model / "autodecoder.safetensors")
    code = torch.randn(1, config.decoder.code_length, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        asset = Asset(known.decoder(code), config.render, "stranger")
    cameras = ring(12, 24)
    pictures = (straight_alpha(*asset.render(cameras)) * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    path = tmp_path_factory.mktemp("data") / "new.zip"
    with ArchiveWriter(path, title="new", resolution=(24, 24)) as writer:
        writer.add(PreparedObject(ObjectRecord("stranger"), pictures, cameras))
    return path


@pytest.fixture(scope="module")
def made(model, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "out"
    main(["reconstruct", "--model", str(model), "--data", str(data), "--output", str(folder), *QUICK])
    return folder


def test_held_out_views_come_nearer_stage_by_stage(made):
    report = json.loads((made / "report.json").read_text())
    print(report["psnr"], report["foreground_psnr"])
    assert (report["views"], report["judged"], report["held_out"]) == (10, 2, True)
    controls = max(report["psnr"]["mean"], report["psnr"]["nearest"])
    assert report["psnr"]["code"] > controls + 3
    assert report["psnr"]["fine"] > report["psnr"]["code"] - 0.1


def test_its_files_are_a_model_of_the_object(made):
    assert {path.name for path in made.iterdir()} == {
        "model.safetensors",
        "objects.jsonl",
        "pictures.png",
        "report.json",
        "stranger.glb",
        "stranger.webp",
    }
    known, _, _ = load_autodecoder(made)
    assert len(known.codes) == 1
    by_name, by_number = (object_in(made, opened(made), seed=None, identity=identity) for identity in ("stranger", "0"))
    assert torch.equal(by_name.volume.grid, by_number.volume.grid)
    with torch.no_grad():
        assert_near(by_name.volume.grid, known(torch.tensor([0])).grid, dtype=torch.bfloat16)


def test_the_same_seed_gives_the_same_object(model, data):
    known, config, _ = load_autodecoder(model / "autodecoder.safetensors")
    _, views = object_of(data, "", 24)
    target = view_batch(torch.zeros(1, dtype=torch.long), [Picked(views, range(6))])
    how = ReconstructConfig(steps=3, fine_steps=2, candidates=2)
    first, again, other = (
        reconstruct(known, config, target, replace(how, seed=seed)).volumes["fine"].grid for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    before = load_autodecoder(model / "autodecoder.safetensors")[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in known.state_dict().items())


def test_the_decoder_stays_near_where_it_is_held(model, data):
    known, config, _ = load_autodecoder(model / "autodecoder.safetensors")
    _, views = object_of(data, "", 24)
    target = view_batch(torch.zeros(1, dtype=torch.long), [Picked(views, range(6))])
    how = ReconstructConfig(steps=0, fine_steps=8, candidates=0, fine_lr=1e-3)
    moved = []
    for keep in (0.0, 100.0):
        found = reconstruct(known, config, target, replace(how, keep=keep)).volumes
        moved.append(float((found["fine"].grid - found["code"].grid).abs().mean()))
        assert torch.equal(found["code"].grid, found["mean"].grid)
    assert moved[1] < 0.7 * moved[0]


def test_nerfstudios_folders_are_read(model, tmp_path):
    known, config, _ = load_autodecoder(model / "autodecoder.safetensors")
    with torch.no_grad():
        asset = Asset(known(torch.tensor([1])), config.render, "one")
    as_dataset([asset], tmp_path / "set", views=6, size=24)
    record, views = object_of(tmp_path / "set", "one", 20)
    assert record.name == "one"
    assert views.pictures.shape == (6, 20, 20, 4)
    assert np.isfinite(views.cameras.centres).all()


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["reconstruct", *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_be_reconstructed_is_said_in_one_line(model, data, tmp_path, capsys):
    four = write_things(tmp_path / "four.zip", size=16)
    to = ("--model", str(model), "--output", str(tmp_path / "out"))
    assert "object: wanted the name of one of 4, such as red ball" in refused(capsys, *to, "--data", str(four.path))
    assert "got a chair" in refused(capsys, *to, "--data", str(data), "--object", "a chair")
    assert "nothing.zip" in refused(capsys, *to, "--data", str(tmp_path / "nothing.zip"))
    (tmp_path / "empty").mkdir()
    assert "wanted transforms.json" in refused(capsys, *to, "--data", str(tmp_path / "empty"))
    assert not (tmp_path / "out").exists()


def test_pictures_without_cameras_are_refused_by_a_model_without_parts(model, tmp_path, capsys):
    path = tmp_path / "clip.zip"
    with ArchiveWriter(path, title="clip", resolution=(16, 16)) as writer:
        pictures = np.full((4, 16, 16, 4), 255, np.uint8)
        writer.add(PreparedObject(ObjectRecord("clip"), pictures, unposed_cameras(4, size=16, fov_degrees=30)))
    said = refused(capsys, "--model", str(model), "--output", str(tmp_path / "out"), "--data", str(path))
    assert "clip.zip: wanted pictures with cameras; got none" in said


def test_a_model_with_poses_of_its_own_is_refused(model):
    known, config, _ = load_autodecoder(model / "autodecoder.safetensors")
    with pytest.raises(ValueError, match="model: wanted one that learned from the data's cameras"):
        reconstruct(known, replace(config, poses=PoseConfig(source="keypoints")), None, ReconstructConfig())
