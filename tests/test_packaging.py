"""What an installation asks for and prints; and what is not Python but needed at run time is packed with the rest."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from fnmatch import fnmatch
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vader3d"
PYPROJECT = (ROOT / "pyproject.toml").read_text()
BUILT = {".pyc", ".so", ".dylib", ".dll"}


def data_files() -> list[Path]:
    """All files of the package that are neither Python nor built."""
    return [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", *BUILT}]


def is_packed(path: Path, folder_and_patterns: list[tuple[Path, str]]) -> bool:
    return any(
        fnmatch(str(path.parent), str(folder)) and fnmatch(path.name, pattern)
        for folder, pattern in folder_and_patterns
    )


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
            packed += [(ROOT / first / below, pattern) for pattern in patterns for below in ("", "*")]
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


COMPILER = """#!/bin/sh
for argument; do [ "$before" = -o ] && [ "$argument" != - ] && echo library > "$argument"; before=$argument; done
exit {code}
"""
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")


def copied(target: Path, *, whole: bool = False) -> Path:
    """What packaging reads, without the large data unless `whole`, and with a model that ships."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE", "MANIFEST.in"):
        shutil.copy(ROOT / name, target)
    left_out = {"__pycache__"} if whole else {"assets", "__pycache__"}
    shutil.copytree(PACKAGE, target / "vader3d", ignore=lambda *_: left_out)
    (target / "vader3d" / "models" / "boats").mkdir()
    for name in ("model.safetensors", "config.json", "README.md", "notes.txt"):
        (target / "vader3d" / "models" / "boats" / name).write_text("")
    return target


def built(kind: str, source: Path, output: Path, **environment: str) -> Path:
    output.mkdir(exist_ok=True)
    build = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(output)!r}))"
    command = [sys.executable, "-c", build]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return output / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("source")
    archive = built("sdist", copied(folder), folder / "dist")
    shutil.unpack_archive(archive, folder / "unpacked")
    return folder / "unpacked" / archive.name.removesuffix(".tar.gz")


@pytest.mark.skipif(os.name != "posix", reason="the compiler is a shell script")
@pytest.mark.parametrize(
    ("compiler", "tag"), [("good", f"py3-none-{PLATFORM}"), ("broken", "py3-none-any"), ("none", "py3-none-any")]
)
def test_a_wheel_of_a_source_distribution_serves_every_python(unpacked, tmp_path, compiler, tag):
    """One for its platform with the renderer, one for all without."""
    (tmp_path / "c++").write_text(COMPILER.format(code=int(compiler == "broken")))
    (tmp_path / "c++").chmod(0o755)
    path = "/nowhere" if compiler == "none" else f"{tmp_path}:/usr/bin:/bin"
    wheel = built("wheel", unpacked, tmp_path / "wheels", CXX="" if compiler == "none" else "c++", PATH=path)
    assert wheel.name.split("-", 2)[2] == f"{tag}.whl"
    packed = zipfile.ZipFile(wheel)
    names = {*packed.namelist()}
    assert ("vader3d/native/march.so" in names) == (compiler == "good")
    assert {f"vader3d/models/boats/{name}" for name in ("model.safetensors", "config.json", "README.md")} < names
    assert not any(name.endswith("notes.txt") or ".data/" in name for name in names)
    (notes,) = [packed.read(name).decode() for name in names if name.endswith("dist-info/WHEEL")]
    assert f"Root-Is-Purelib: {str(compiler != 'good').lower()}\nTag: {tag}\n" in notes.replace("\r", "")


@pytest.mark.slow
def test_an_installed_wheel_generates_by_its_own_library_and_is_small(tmp_path):
    """In an environment of its own, but for what it depends on."""
    wheel = built("wheel", copied(tmp_path, whole=True), tmp_path / "wheels")
    assert wheel.stat().st_size < 60e6
    venv.create(tmp_path / "venv", with_pip=True)
    python, program = (tmp_path / "venv" / "bin" / name for name in ("python", "vader3d"))
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "others.pth").write_text(str(Path(torch.__file__).parents[1]))
    clean = {"PATH": "/nowhere", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([program, "doctor"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert "ok      the C++ renderer works" in done.stdout
    clean |= {"HF_HUB_OFFLINE": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    asked = ["generate", "--prompt", "a wooden chair", "--count", "1", "--output", "made"]
    subprocess.run([program, *asked], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert {path.suffix for path in (tmp_path / "made").iterdir()} >= {".glb", ".webp", ".json"}


def test_recipes_copy_what_is_there_and_name_no_host():
    recipes = [*sorted((ROOT / "docker").glob("*.Dockerfile")), ROOT / ".github" / "workflows" / "wheels.yml"]
    assert [path.name for path in recipes] == ["cpu.Dockerfile", "cuda.Dockerfile", "wheels.yml"]
    for text in (path.read_text(encoding="utf-8") for path in recipes):
        for source in re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE):
            assert (ROOT / source).exists()
        assert not re.search(r"https?://", text)
        for extras in re.findall(r"whl\)\[(.*)\]", text):
            assert all(re.search(rf"^{extra} = \[", PYPROJECT, re.MULTILINE) for extra in extras.split(","))
            assert "assets" in extras  # else the images write no textures
        for made, used in zip(re.findall(r"--wheel-dir (\S+)", text), re.findall(r"COPY --from=build (\S+)", text)):  # noqa: B905
            assert made == used
        for command in re.findall(r'^CMD \["(\w+)', text, re.MULTILINE):
            assert f"{command}_command" in (PACKAGE / "cli" / "main.py").read_text(encoding="utf-8")


def test_wheels_of_both_systems_are_built_and_tried():
    """One CPython each, since the tag is every Python's; GNU's compiler on a Mac, since Apple's knows no OpenMP."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    recipe = tomllib.loads(PYPROJECT)["tool"]["cibuildwheel"]
    for platform in ("manylinux", "macosx"):
        assert len([build for build in recipe["build"].split() if platform in build]) == 1
    assert (recipe["macos"]["archs"], recipe["linux"]["archs"]) == (["arm64"], ["auto64"])
    assert recipe["macos"]["environment"]["CXX"].startswith("g++")
    assert "vader3d doctor" in recipe["test-command"]
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    assert "python -m cibuildwheel" in workflow
    for machine in ("ubuntu-latest", "ubuntu-24.04-arm", "macos-14", "--sdist"):
        assert machine in workflow
