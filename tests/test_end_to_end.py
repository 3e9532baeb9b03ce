"""The whole road at tiny size, through the commands people type."""

import json

import pytest
import trimesh
from PIL import Image

from vader3d import Generator
from vader3d.cli.main import main


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Prepare, train both stages, generate, evaluate: the folder they all wrote to."""
    folder = tmp_path_factory.mktemp("road")
    data, stage1, stage2 = str(folder / "chairs.zip"), str(folder / "ae"), str(folder / "gen")
    main(["prepare", "chairs", "--output", data, "--count", "6", "--size", "32", "--views", "12"])
    main(["train", "autodecoder", "--data", data, "--output", stage1, "--preset", "tiny"])
    main(["train", "diffusion", "--autodecoder", stage1, "--output", stage2, "--preset", "tiny"])
    main(["generate", "--model", stage2, "--output", str(folder / "assets"), "--count", "3", "--steps", "8"])
    judge = ["evaluate", "--protocol", "quick", "--model", stage2, "--data", data, "--output", str(folder / "judged")]
    main([*judge, "--samples", "6"])
    return folder


def test_stage_1_has_learned_held_out_views(road):
    report = json.loads((road / "judged" / "report.json").read_text())
    assert report["heldout_psnr"] > 16  # black pictures score 10
    assert report["heldout_iou"] > 0.5


def test_the_report_has_its_keys(road):
    report = json.loads((road / "judged" / "report.json").read_text())
    sets = ("generated", "reconstruction", "heldout_views", "direct_latent_sampling", "direct_latent_sampling_fitted")
    wanted = [f"{distance}_{name}" for distance in ("frechet", "kernel") for name in sets]
    assert {*wanted, "feature_network", "feature_checksum", "objects", "views", "shapes"} <= report.keys()
    assert report["frechet_heldout_views"] < report["frechet_direct_latent_sampling"]


def test_both_trainings_show_themselves(road):
    for stage in ("ae", "gen"):
        pictures = [*(road / stage / "previews").glob("*.png")]
        assert pictures
        with Image.open(pictures[-1]) as picture:
            assert picture.convert("L").getextrema()[1] > 40  # something is on it


def test_generated_meshes_open_elsewhere(road):
    meshes = sorted((road / "assets").glob("*.glb"))
    assert meshes
    for path in meshes:
        mesh = trimesh.load(path, force="mesh")
        assert len(mesh.faces) > 10
        assert abs(mesh.bounds).max() <= 1.01


def test_an_object_does_not_depend_on_its_batch(road):
    generator = Generator.from_pretrained(road / "gen")
    three, alone = (generator(count=3, seed=5, num_inference_steps=4, batch=batch) for batch in (16, 1))
    for a, b in zip(three, alone, strict=True):
        difference = (a.volume.grid - b.volume.grid).abs().max()
        assert difference < 0.05 * a.volume.grid.abs().max()
    assert not three[0].volume.grid.equal(three[1].volume.grid)


def test_the_same_command_again_changes_nothing(road, capsys):
    before = (road / "ae" / "model.safetensors").read_bytes()
    main(["train", "autodecoder", "--data", str(road / "chairs.zip"), "--output", str(road / "ae"), "--preset", "tiny"])
    assert (road / "ae" / "model.safetensors").read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(road, capsys):
    command = ["train", "autodecoder", "--data", str(road / "chairs.zip"), "--output", str(road / "ae")]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--preset", "tiny", "--set", "decoder.code_length=16"])
    assert stop.value.code == 2
    assert "config.decoder.code_length: wanted 32; got 16" in capsys.readouterr().err


def test_a_model_on_data_it_was_not_trained_on_is_refused(road, tmp_path, capsys):
    main(["prepare", "chairs", "--output", str(tmp_path / "two.zip"), "--count", "2", "--size", "32", "--views", "6"])
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--model", str(road / "gen"), "--data", str(tmp_path / "two.zip"), "--output", str(tmp_path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "wanted the 6 objects that the model was trained on" in error
    assert "with 2; give the data set it was trained on" in error
