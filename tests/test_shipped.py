"""The model that ships: small, credited, found without a name or a network, and it draws what it is asked."""

import json
import subprocess
import sys

import pytest
import torch
import trimesh
from processes import environment

from vader3d import Generator, hub
from vader3d.cli.main import main
from vader3d.colour import dominant_colours
from vader3d.export.turntable import straight_alpha
from vader3d.geometry.cameras import orbit_cameras

FOLDER = hub.SHELF / hub.DEFAULT_MODEL
LARGEST = 25_000_000  # bytes, of all models together


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.from_pretrained()


def picture(asset) -> torch.Tensor:
    """RGBA uint8 [64, 64, 4] with straight alpha."""
    camera = orbit_cameras(torch.tensor([35.0]), torch.tensor([20.0]), size=64)
    return (straight_alpha(*asset.render(camera))[0].movedim(0, -1).clamp(0, 1) * 255).to(torch.uint8)


def test_it_is_small_and_whole():
    assert sum(path.stat().st_size for path in hub.SHELF.rglob("*") if path.is_file()) <= LARGEST
    hub.check_saved(FOLDER)  # checksums
    assert [*hub.shipped()] == [hub.DEFAULT_MODEL]


def test_its_card_has_credits_recipe_scores_and_limits():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for heading in ("Data and credits", "Licence", "Recipe", "Scores", "Limits"):
        assert f"## {heading}" in card
    notice = (hub.SHELF.parent.parent / "NOTICE").read_text(encoding="utf-8")
    assert f"vader3d/models/{hub.DEFAULT_MODEL}" in notice
    for creator in ("Scopia", "Kator", "Jay-Artist", "Nmn9"):
        assert creator in card


@pytest.mark.parametrize(
    ("colour", "asked"), [("red", "a red chair"), ("blue", "a blue table"), ("green", "a green stool")]
)
def test_colours_are_those_that_are_asked_for(generator, colour, asked):
    assets = generator(asked, count=4, seed=0)
    seen = [dominant_colours(picture(asset)[None].numpy())[0][0] for asset in assets]
    assert seen.count(colour) >= 3, seen


def test_it_draws_without_words_too(generator):
    (asset,) = generator(count=1, seed=3)
    opaque = (picture(asset)[..., 3] > 127).float().mean()
    assert 0.02 < opaque < 0.9


def test_opening_it_does_not_wait_for_what_it_does_not_use():
    """The rules of shapes of torch's own import sympy when they are first asked: half a second."""
    opens = "import sys, torch; before = 'sympy' in sys.modules; from vader3d import Generator; "
    opens += "Generator.from_pretrained(); assert before or 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", opens], check=True, env=environment(), timeout=600)


def test_the_command_needs_no_model_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = tmp_path / "out"
    main(["generate", "--prompt", "a wooden chair", "--count", "1", "--output", str(output), "--formats", "glb"])
    (path,) = output.glob("*.glb")
    mesh = trimesh.load(path, force="mesh")
    assert len(mesh.faces) > 200
    assert path.stat().st_size < 2_000_000
    (made,) = json.loads((output / "generated.json").read_text())["objects"].values()
    assert made["provenance"]["prompt"] == "a wooden chair"
