"""What an installation asks for and prints; and what is not Python but needed at run time is packed with the rest."""

import ast
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vader3d"
PYPROJECT = (ROOT / "pyproject.toml").read_text()
BUILT = {".pyc", ".so", ".dylib", ".dll"}


def data_files() -> list[Path]:
    """All files of the package that are neither Python nor built."""
    return [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", *BUILT}]


def is_packed(path: Path, folder_and_patterns: list[tuple[Path, str]]) -> bool:
    return any(path.parent == folder and fnmatch(path.name, pattern) for folder, pattern in folder_and_patterns)


def test_every_data_file_is_in_the_wheel():
    found = re.search(r"package-data\]\nvader3d = (\[.*?\n\])", PYPROJECT, re.DOTALL)
    packed = [((PACKAGE / pattern).parent, Path(pattern).name) for pattern in ast.literal_eval(found[1])]
    assert [path for path in data_files() if not is_packed(path, packed)] == []
    assert {path.suffix for path in data_files()} >= {".html", ".css", ".js", ".json", ".h", ".zip"}


def test_every_data_file_is_in_the_source_distribution():
    packed = []
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        command, first, *patterns = line.split()
        if command == "recursive-include":
            packed += [(ROOT / first, pattern) for pattern in patterns]
        else:
            packed += [((ROOT / name).parent, Path(name).name) for name in (first, *patterns)]
    assert [path for path in data_files() if not is_packed(path, packed)] == []


# What the CUDA build of each pinned torch demands exactly; `.ci/resolve.py` asks the index itself.
CUDA_BUILD_DEMANDS = {"2.13.0": ["triton==3.7.1"]}


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {one.name: one for one in (Requirement(line) for line in lines if not line.startswith("#"))}


def test_constraints_leave_each_build_of_torch_what_it_demands():
    pins = constraints()
    (pinned,) = pins["torch"].specifier
    demands = CUDA_BUILD_DEMANDS[pinned.version]
    if version("torch").partition("+")[0] == pinned.version:
        demands = demands + (requires("torch") or [])
    for demand in map(Requirement, demands):
        for exact in (one.version for one in demand.specifier if one.operator == "=="):
            assert demand.name not in pins or pins[demand.name].specifier.contains(exact), (
                f"{demand}: {pins[demand.name]}"
            )


@pytest.mark.parametrize("what", sorted(constraints()))
def test_constraints_lie_within_what_the_package_asks_for(what):
    """Every lower bound and every version that is left out of pyproject.toml holds for each constraint's own bounds."""
    asked = [Requirement(text) for text in re.findall(rf'^ +"({what}\b[^"]*)"', PYPROJECT, re.MULTILINE)]
    bounds = [one.version for one in constraints()[what].specifier if one.operator in ("==", ">=")]
    assert [one for one in asked if not all(map(one.specifier.contains, bounds))] == []


def test_releases_of_torch_whose_bfloat16_convolutions_are_slow_are_left_out():
    (torch,) = (Requirement(text) for text in re.findall(r'"(torch>[^"]*)"', PYPROJECT))
    allowed = [
        release for release in ("2.3.1", "2.4.0", "2.8.0", "2.9.0", "2.9.1", "2.10.0") if release in torch.specifier
    ]
    assert allowed == ["2.4.0", "2.8.0", "2.10.0"]


def test_an_editable_installation_warns_of_nothing(tmp_path):
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "vader3d", ignore=lambda *_: {"assets", "__pycache__"})
    build = "from setuptools import build_meta; print(build_meta.build_editable('wheels'))"
    (tmp_path / "wheels").mkdir()
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", build]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
