"""The programs in examples/ run as their docstrings say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

from vader3d.data.named import open_archive

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """What train_from_python.py leaves after two seconds a stage."""
    folder = tmp_path_factory.mktemp("python")
    run("train_from_python.py", "--output", folder, "--seconds", 2)
    return folder


def test_training_from_python_ends_with_new_objects(trained):
    assert sorted(path.name for path in trained.glob("*.webp")) == [f"seed0-{i:03d}.webp" for i in range(4)]


def test_a_trained_model_generates(trained, tmp_path):
    run("generate.py", trained / "diffusion", "--output", tmp_path, "--count", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed0-000.glb", "seed0-000.webp"]


def test_own_pictures_become_an_archive_without_a_fault(tmp_path):
    shown = run("own_pictures.py", "--output", tmp_path)
    assert "0 problems found" in shown
    archive = open_archive(tmp_path / "data.zip")
    assert [record.caption for record in archive.records] == ["a blue ball", "a green ball", "a red ball"]
    assert {path.name for path in (tmp_path / "look").iterdir()} == {
        "contact_sheet.png",
        "cameras.html",
        "index.html",
        "report.json",
    }


def test_own_pictures_are_read_where_they_lie(tmp_path):
    shown = run("own_pictures.py", "--source", ROOT / "tests" / "golden" / "blender", "--output", tmp_path)
    assert "1 objects" in shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_says_how_to_run_it_and_is_run_here(example):
    assert f"python examples/{example.name}" in (ast.get_docstring(ast.parse(example.read_text())) or "")
    tests = (Path(__file__), ROOT / "tests" / "studio" / "test_client.py")
    assert any(f'run("{example.name}"' in path.read_text() for path in tests)
