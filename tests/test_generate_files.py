"""`generate`: files as they are made, all that made them in a list, and nothing made twice."""

import json
import re
import weakref
from pathlib import Path

import pytest
import torch
import trimesh
from judged_models import write_model
from PIL import Image
from tiny import write_things

from vader3d import assets
from vader3d.assets import Asset, save_assets
from vader3d.cli.main import main
from vader3d.config import config_from_dict
from vader3d.diffusion.model import DiffusionConfig, load_denoiser, save_denoiser
from vader3d.export.formats import table_text
from vader3d.export.placement import ExportConfig
from vader3d.files import checksum_of
from vader3d.generate import Generator
from vader3d.generate.files import GROUND, generate_files, save_grid
from vader3d.generate.recipes import recipes_for
from vader3d.render import RenderConfig, Volume

FORMATS = ("glb", "webp")


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder with a model within, as a demo's."""
    folder = tmp_path_factory.mktemp("demo")
    write_model(folder / "diffusion", write_things(folder / "things.zip", views=6))
    return folder


@pytest.fixture(scope="module")
def generator(demo) -> Generator:
    return Generator.from_pretrained(demo, device="cpu")


@pytest.fixture(autouse=True)
def small_turntables(monkeypatch):
    whole = Asset.turntable
    monkeypatch.setattr(
        Asset, "turntable", lambda self, frames=2, *, size=16, **more: whole(self, min(frames, 4), size=min(size, 48))
    )


@pytest.fixture
def drawn(generator, monkeypatch) -> list[int]:
    """The numbers of all samples that are drawn."""
    numbers: list[int] = []
    whole = generator.latents_of

    def noted(recipes, **more):
        numbers.extend(recipe.index for recipe in recipes)
        return whole(recipes, **more)

    monkeypatch.setattr(generator, "latents_of", noted)
    return numbers


def made(generator, folder, *, count, seed=0, steps=1, **more):
    """Objects 0 to count - 1 of a seed as files."""
    recipes = recipes_for(None, count=count, seed=seed, steps=steps)
    return generate_files(generator, folder, recipes, config=ExportConfig(frames=2, picture_size=16), **more)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def listed(folder: Path) -> dict:
    return json.loads((folder / "generated.json").read_text())["objects"]


def test_what_was_made_before_an_interruption_is_kept_and_the_same_call_goes_on(
    generator, drawn, tmp_path, monkeypatch
):
    made(generator, tmp_path / "whole", count=4, formats=FORMATS, steps=1, batch=2)
    decode, calls = generator.decode, []

    def stopped(latents):
        calls.append(len(latents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(latents)

    with monkeypatch.context() as patched:
        patched.setattr(generator, "decode", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(generator, tmp_path / "cut", count=4, formats=FORMATS, steps=1, batch=2)
    assert {*contents(tmp_path / "cut")} == {
        "generated.json", "seed0-000.glb", "seed0-000.webp", "seed0-001.glb", "seed0-001.webp",
    }  # fmt: skip
    drawn.clear()
    made(generator, tmp_path / "cut", count=4, formats=FORMATS, steps=1, batch=2)
    assert drawn == [2, 3]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_only_what_is_missing_or_not_whole_is_made_again(generator, drawn, tmp_path):
    made(generator, tmp_path, count=3, formats=FORMATS, steps=1)
    before = contents(tmp_path)
    drawn.clear()
    assert made(generator, tmp_path, count=3, formats=FORMATS, steps=1).files == []
    assert drawn == []
    (tmp_path / "seed0-000.webp").unlink()
    (tmp_path / "seed0-002.glb").write_bytes(before["seed0-002.glb"][:-9])
    made(generator, tmp_path, count=3, formats=FORMATS, steps=1)
    assert drawn == [0, 2]
    assert contents(tmp_path) == before
    drawn.clear()
    made(generator, tmp_path, count=1, formats=("obj",), steps=1)
    assert drawn == [0]
    assert {*listed(tmp_path)["seed0-000"]["files"]} == {f"seed0-000.{kind}" for kind in ("glb", "webp", "obj", "mtl")}


def test_seeds_lie_beside_each_other_and_nothing_made_otherwise_is_overwritten(generator, drawn, tmp_path):
    for seed in (0, 1):
        made(generator, tmp_path, count=1, formats=("ply",), seed=seed, steps=1)
    assert {*contents(tmp_path)} == {"generated.json", "seed0-000.ply", "seed1-000.ply"}
    before = contents(tmp_path)
    drawn.clear()
    with pytest.raises(ValueError, match=r"output: wanted a folder for this model, these steps; .*seed0-000 was made"):
        made(generator, tmp_path, count=1, formats=("ply",), steps=2)
    assert drawn == []
    assert contents(tmp_path) == before


def test_files_and_list_say_which_model_seed_and_number_made_them(generator, demo, tmp_path):
    made(generator, tmp_path, count=2, formats=("glb", "webp"), seed=3, steps=1)
    known = listed(tmp_path)["seed3-001"]
    expected = {
        "denoiser": checksum_of(demo / "diffusion" / "model.safetensors"),
        "autodecoder": checksum_of(demo / "diffusion" / "autodecoder.safetensors"),
        "seed": 3,
        "index": 1,
        "steps": 1,
    }
    assert known["provenance"] == expected | recipes_for(None, count=2, seed=3, steps=1)[1].to_dict()
    assert known["files"] == {name: checksum_of(tmp_path / name) for name in ("seed3-001.glb", "seed3-001.webp")}
    assert expected["denoiser"].encode() in (tmp_path / "seed3-001.glb").read_bytes()
    with Image.open(tmp_path / "seed3-001.webp") as animation:
        assert json.loads(animation.getexif()[0x010E].removeprefix("vader3d ")) == known["provenance"]


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_drawn(generator, drawn, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"output: wanted a folder; got .*file, which is a file"):
        made(generator, tmp_path / "file", count=1, formats=FORMATS)
    (tmp_path / "generated.json").write_text("{")
    with pytest.raises(ValueError, match=r"generated\.json: wanted a list of objects; got a damaged"):
        made(generator, tmp_path, count=1, formats=FORMATS)

    def refused(path, text):
        raise OSError(f"could not write {path}: Permission denied")

    monkeypatch.setattr(assets, "write_text", refused)  # the tests may run as root, who may write anywhere
    with pytest.raises(OSError, match=r"could not write .*other.generated\.json: Permission denied"):
        made(generator, tmp_path / "other", count=1, formats=FORMATS)
    assert drawn == []


@pytest.mark.parametrize(("asked", "named"), [((), "none"), (("fbx",), "fbx"), (("GLB",), "GLB")])
def test_unknown_formats_or_none_are_refused_before_anything_is_drawn(generator, drawn, tmp_path, asked, named):
    for call in (
        lambda: made(generator, tmp_path / "out", count=1, formats=asked),
        lambda: save_assets([], tmp_path / "out", formats=asked),
    ):
        with pytest.raises(ValueError, match=f"formats: wanted one or more of glb, obj, .*; got .*{named}"):
            call()
    assert drawn == []
    assert not (tmp_path / "out").exists()


def test_volumes_do_not_gather_in_memory(generator, tmp_path, monkeypatch):
    decode, grids, most = generator.decode, [], []

    def noted(latents):
        most.append(sum(grid() is not None for grid in grids))
        volume = decode(latents)
        grids.append(weakref.ref(volume.grid))
        return volume

    monkeypatch.setattr(generator, "decode", noted)
    made(generator, tmp_path, count=5, formats=("webp",), steps=1, batch=1)
    assert len(most) == 5
    assert max(most) <= 1


def test_the_command_finds_the_model_in_a_demo_s_folder_and_says_how_far_it_is(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vader3d.progress.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("vader3d.progress.EVERY_SECONDS", 0.0)
    command = ["generate", "--model", str(demo), "--output", str(tmp_path), "--count", "2", "--steps", "1"]
    main([*command, "--formats", "ply", "--device", "cpu"])
    said = capsys.readouterr()
    assert said.out.startswith(f"{tmp_path}: 2 files written, of 2 objects")
    assert re.search(
        r"seed0-001: watertight: yes, shells: \d+, faces: \d+, silhouettes: IoU [01]\.\d+ over 24", said.out
    )
    assert re.search(
        r"2 of 2 meshes watertight, \d of one shell, silhouettes: IoU .* on average, .* at least", said.out
    )
    assert "objects: 50%, 1 of 2" in said.err
    for number in ("0", "-3"):
        with pytest.raises(SystemExit) as stop:
            main([*command[:-4], "--count", number])
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"error: count: wanted at least 1; got {number}\n"


def test_a_guided_object_is_made_again_from_its_file_alone(demo, tmp_path, capsys):
    guide = demo / "diffusion" / "snapshots" / "000000010.safetensors"
    denoiser, statistics, header = load_denoiser(demo / "diffusion" / "model.safetensors")
    torch.nn.init.normal_(denoiser.network.conv_out.weight, std=0.5)
    shape = tuple(header["latent_shape"])
    save_denoiser(guide, denoiser, config_from_dict(DiffusionConfig, header["config"]), statistics, shape)

    def generate(output: str, *more: str) -> bytes:
        command = ["generate", "--model", str(demo), "--output", str(tmp_path / output), "--formats", "safetensors"]
        main([*command, "--count", "1", "--steps", "2", "--device", "cpu", *more])
        return (tmp_path / output / "seed0-000.safetensors").read_bytes()

    more = ("--guidance-interval", "0.01", "30", "--guidance-rescale", "0.5")
    guided = generate("guided", "--guide", str(guide), *more)
    made = listed(tmp_path / "guided")["seed0-000"]["provenance"]
    assert made["guide"] == checksum_of(guide)
    assert (made["guidance_interval"], made["guidance_rescale"]) == ([0.01, 30.0], 0.5)
    assert generate("plain") != guided
    file = str(tmp_path / "guided" / "seed0-000.safetensors")
    assert generate("again", "--again", file) == guided
    moved = guide.rename(tmp_path / "moved.safetensors")
    with pytest.raises(SystemExit):
        generate("lost", "--again", file)
    assert capsys.readouterr().err.endswith("got none; name it: --guide SNAPSHOT\n")
    assert not (tmp_path / "lost").exists()
    assert generate("found", "--again", file, "--guide", str(moved)) == guided


def test_sizes_by_the_prompt_are_said_and_the_formats_listed(generator, demo, tmp_path, capsys, monkeypatch):
    main(["generate", "--formats", "list"])
    assert capsys.readouterr().out == f"{table_text()}\n"
    monkeypatch.setattr(Generator, "check_texts", lambda self, texts: None)  # this model knows no words, but names do
    monkeypatch.setattr(Generator, "from_pretrained", lambda *names, **options: generator)
    monkeypatch.chdir(tmp_path)
    command = ["generate", "--count", "1", "--steps", "1", "--formats", "ply", "--size-cm", "auto"]
    main([*command, "--prompt", "a chair", "--prompt", "a zorb"])
    said = capsys.readouterr().out
    assert "size of 'a chair': 90 cm\nsize of 'a zorb': not known, as the model has it\n" in said
    known = listed(tmp_path / "generated")  # where no folder is named
    assert [known[name]["how"]["size_cm"] for name in ("a-chair-seed0-000", "a-zorb-seed0-000")] == [90, None]
    chair = trimesh.load(tmp_path / "generated" / "a-chair-seed0-000.ply")
    assert chair.extents.max() == pytest.approx(0.9, abs=1e-4)
    main([*command, "--prompt", "a chair", "--format", "json"])
    assert json.loads(capsys.readouterr().out)[0]["size_cm"] == 90


def volume_where(dense: torch.Tensor) -> Volume:
    """One grey object, solid where [D, H, W] is true."""
    grid = torch.full((1, 4, *dense.shape), 0.5)
    grid[0, 3] = torch.where(dense, 5.0, -8.0)
    return Volume(grid, "softplus", 25.0)


def test_crumbs_and_empty_objects_are_reported(tmp_path):
    dense = torch.zeros(40, 40, 40, dtype=torch.bool)
    dense[15:21, 15:21, 15:21] = True
    block = Asset(volume_where(dense), RenderConfig(), "block")
    crumbs = dense.clone()
    crumbs[2:38:4, 2:38:4, 2:38:4] = True  # specks, far too small to be kept each
    nothing = Asset(volume_where(torch.zeros_like(dense)), RenderConfig(), "nothing")
    saved = save_assets(
        [block, Asset(volume_where(crumbs), RenderConfig(), "crumbs"), nothing], tmp_path, formats=FORMATS
    )
    assert saved.empty == 1
    assert saved.unlike == ["crumbs"]
    assert block.mesh_likeness() > 0.9
    assert sorted(path.name for path in saved.files) == ["block.glb", "block.webp", "crumbs.glb", "crumbs.webp"]
    assert listed(tmp_path)["nothing"]["empty"]


def test_a_grid_shows_objects_on_a_light_ground(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FIRST_DEGREES", 0.0)  # from where its corners are empty
    recipes = recipes_for(None, count=2)
    generate_files(generator, tmp_path, recipes, formats=("webp",))
    with Image.open(save_grid(tmp_path, recipes)) as grid:
        side = grid.height - 16
        assert grid.size == (2 * side + 2, side + 16)
        assert [grid.getpixel((x, 16)) for x in (0, side + 2)] == [GROUND[:3]] * 2
        assert len(grid.crop((0, 16, side, side + 16)).getcolors(1 << 20)) > 8


def test_a_mesh_is_turned_as_its_volume_is():
    dense = torch.zeros(40, 40, 40, dtype=torch.bool)
    dense[8:30, 10:16, 12:34] = True
    asset = Asset(volume_where(dense), RenderConfig())
    shown = asset.mesh_turntable(4, size=48)
    volume = asset.turntable(4, size=48).numpy()[..., 3] >= 128
    assert shown.shape == (4, 48, 48, 4)
    assert ((shown[..., 3] >= 128) & volume).sum() > 0.9 * ((shown[..., 3] >= 128) | volume).sum()
    assert shown[shown[..., 3] == 255][:, :3].mean() == pytest.approx(128, abs=3)
