"""The compiled back-end as a guest: how it is built, what it leaves alone, what it costs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from near import assert_near

from vader3d.geometry.rays import Rays
from vader3d.native import build, library
from vader3d.render import March, Volume, cpu, render_volume

pytestmark = pytest.mark.skipif(cpu.why_not(torch.zeros(1, 4, 2, 2, 2)) is not None, reason="no C++ compiler")
ARM = shutil.which("aarch64-linux-gnu-g++")
RENDER = """
import logging, torch
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from vader3d.geometry.rays import Rays
from vader3d.render import March, Volume, render_volume
torch.manual_seed(0)
grid = torch.rand(1, 4, 5, 6, 7)
rays = Rays(torch.tensor([[[-3.0, 0.1, 0.2]]]).expand(1, 9, 3), torch.randn(1, 9, 3) * 0.1 + torch.tensor([1.0, 0, 0]))
for _ in range(2):
    opacity = render_volume(Volume(grid), rays, March(8)).opacity
print(*opacity.flatten().tolist())
"""


def python(program: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )


@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("channels", [4, 14])
def test_every_instruction_set_gives_the_same_picture_and_gradient(level, channels):
    compiled = cpu.library()[0]
    if compiled.vader3d_limit_level(level) < level:
        pytest.skip(f"this processor lacks x86-64-v{level}")
    grid = torch.randn(2, channels, 6, 7, 8)
    rays = Rays(torch.randn(2, 33, 3) * 2, torch.nn.functional.normalize(torch.randn(2, 33, 3), dim=-1))
    try:
        results = []
        for backend in ("cpu", "reference"):
            leaves = [tensor.clone().requires_grad_() for tensor in (grid, *rays)]
            march = March(37, density_noise=0.1, seed=3, early_stop=0)
            rendering = render_volume(Volume(leaves[0], "softplus"), Rays(*leaves[1:]), march, backend=backend)
            (rendering.colour.sin().sum() + rendering.extra.sum() + rendering.depth.sum()).backward()
            results.append([*rendering[:4], *(leaf.grad for leaf in leaves)])
        for found, wanted in zip(*results, strict=True):
            assert_near(found, wanted)
    finally:
        compiled.vader3d_limit_level(9)


def test_processes_that_build_at_the_same_time_do_not_disturb_each_other(tmp_path):
    together = [python(RENDER, VADER3D_CACHE=str(tmp_path)) for _ in range(2)]
    printed = [process.communicate(timeout=300) for process in together]
    assert [process.returncode for process in together] == [0, 0], printed
    assert len({out for out, _ in printed}) == 1
    assert all("rendering by cpu" in log for _, log in printed)
    if not build.LIBRARY.exists():
        assert [path.suffix for path in tmp_path.iterdir()] == [".so"]


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_damaged_library_is_built_anew(tmp_path, monkeypatch, damage):
    built: list[Path] = []

    def compiled(target: Path, compiler: str) -> None:
        built.append(target)
        target.write_bytes(b"code" * 100)

    monkeypatch.setattr(build, "LIBRARY", tmp_path / "none")
    monkeypatch.setattr(build, "compile_march", compiled)
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path))
    path = library.find_or_build()
    damage(path)
    (tmp_path / f".{path.name}.1.part").write_bytes(b"what a killed compilation left")
    assert library.find_or_build() == library.find_or_build() == path
    assert len(built) == 2
    assert build.is_whole(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_cut_short_kills_nobody(tmp_path):
    whole = library.find_or_build()
    cut = tmp_path / build.build_name(build.find_compiler())
    cut.write_bytes(whole.read_bytes()[:160_000])
    program = f"from vader3d.native import build\nfrom pathlib import Path\nbuild.LIBRARY = Path('none')\n{RENDER}"
    _, log = (process := python(program, VADER3D_CACHE=str(tmp_path))).communicate(timeout=300)
    assert process.returncode == 0
    assert "rendering by cpu" in log
    assert build.is_whole(cut)


def test_without_a_compiler_one_warning_and_plain_torch(tmp_path):
    broken = {"PATH": str(tmp_path), "CXX": "", "VADER3D_CACHE": str(tmp_path)}
    program = f"from vader3d.native import build\nfrom pathlib import Path\nbuild.LIBRARY = Path('none')\n{RENDER}"
    without = python(program, **broken)
    found, log = without.communicate(timeout=300)
    assert without.returncode == 0, log
    assert log.count("WARNING") == 1
    assert "no C++ compiler" in log
    assert "rendering by reference" in log
    wanted, _ = python(RENDER).communicate(timeout=300)
    assert_near(torch.tensor([float(x) for x in found.split()]), torch.tensor([float(x) for x in wanted.split()]))


def test_a_compiler_that_fails_is_quoted(tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho march.cpp: out of luck >&2\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(RuntimeError, match="out of luck"):
        build.compile_march(tmp_path / "march.so", str(compiler))
    assert [path.name for path in tmp_path.iterdir()] == ["g++"]


@pytest.mark.skipif(ARM is None, reason="no cross compiler for arm64")
def test_it_compiles_for_arm64(tmp_path):
    build.compile_march(tmp_path / "march.so", ARM)
    assert (tmp_path / "march.so").read_bytes()[18] == 183  # ELF's number of that machine


def some_fog(samples: int, rays: int = 20_000) -> None:
    grid = torch.rand(1, 4, 16, 16, 16, requires_grad=True)
    along = torch.nn.functional.normalize(torch.randn(1, rays, 3) * 0.2 + torch.tensor([1.0, 0, 0]), dim=-1)
    rendering = render_volume(Volume(grid), Rays(-3 * along, along), March(samples, early_stop=0), backend="cpu")
    rendering.colour.sum().backward()


def test_numbers_too_small_to_be_normal_survive_it():
    """Flushing them to zero is a switch of the whole process; a fast-math build would set it."""
    some_fog(8)
    tiny = torch.full((1 << 20,), 1e-40)
    assert (tiny * 0.5 > 0).all(), "in some thread of torch's pool"
    assert 1e-310 * 0.5 > 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_it_shares_torchs_threads(monkeypatch):
    (torch.rand(1 << 22) + 1).sum()  # torch's pool is up
    before = len(os.listdir("/proc/self/task"))
    some_fog(32)
    assert len(os.listdir("/proc/self/task")) == before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_its_memory_does_not_grow_with_the_samples():
    program = """
import sys
sys.path.insert(0, "tests/render")
from pathlib import Path
from test_cpu import some_fog
def peak(samples):
    Path("/proc/self/clear_refs").write_text("5")
    some_fog(samples)
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
some_fog(16)
print(peak(16), peak(256))
"""
    out, log = python(program, PYTHONPATH="tests").communicate(timeout=300)
    few, many = map(int, out.split() or [log])
    assert many - few < 8000, f"{many - few} KB more for 240 samples more on 20000 rays"  # one number each: 19 MB


def test_few_rays_through_a_large_grid_are_left_to_plain_torch():
    grid, ray = torch.rand(1, 4, 64, 64, 64), torch.tensor([[[0.0, 0.0, 1.0]]])
    assert cpu.why_slower(grid, 64) is not None
    assert cpu.why_slower(grid, 64 * 4096) is None
    found = render_volume(Volume(grid), Rays(-3 * ray, ray), March(64))
    wanted = render_volume(Volume(grid), Rays(-3 * ray, ray), March(64), backend="cpu")
    assert_near(found.colour, wanted.colour)


@pytest.mark.parametrize("shape", [(9, 9, 9), (1, 7, 2), (6, 1, 1)])
def test_rays_that_pass_by_all_that_an_object_holds_show_nothing_and_no_others(shape):
    """Among them rays along the axes, on the object's very faces, from within, of any length, and a broken one."""
    grid = torch.rand(3, 4, *shape)
    grid[0, 3], grid[1, 3] = -1, -1
    grid[1, 3, shape[0] // 2, shape[1] // 3 :, shape[2] // 3 : shape[2] // 2 + 1] = 30  # 0: empty, 2: full
    faces = torch.randint(-5, 6, (3, 999, 3)) / 4.0
    origins = torch.cat([faces, torch.randn(3, 999, 3) * 2], 1)
    directions = torch.cat([torch.randint(-1, 2, (3, 999, 3)) + 0.0, torch.randn(3, 999, 3)], 1)
    directions[(directions == 0).all(-1)] = 1
    directions *= torch.rand(3, 1998, 1) + 0.1
    origins[1, 7, 2] = torch.nan
    found, wanted = (
        render_volume(Volume(grid), Rays(origins, directions), March(40, skip_empty=skip), backend="cpu")
        for skip in (True, False)
    )
    assert found.opacity[1, 7].isnan()
    assert (found.opacity[0] == 0).all()
    for a, b in zip(found[:4], wanted[:4], strict=True):
        assert_near(a.nan_to_num(), b.nan_to_num())
