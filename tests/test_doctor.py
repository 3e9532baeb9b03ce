"""The doctor says what there is and how to mend what is missing, whatever the machine."""

import importlib.util
import re

import pytest
import torch

from vader3d import doctor, hub
from vader3d.cli.main import main
from vader3d.native import build
from vader3d.render import cpu

PYPROJECT = (hub.SHELF.parents[1] / "pyproject.toml").read_text(encoding="utf-8")


def lines() -> list[str]:
    found = [*doctor.findings()]
    assert all(re.match(r"(ok|note|missing) +\S.*\S$", line) for line in found), found
    return found


def line_of(what: str) -> str:
    (found,) = [line for line in lines() if what in line]
    return found


def test_every_extra_is_looked_for_and_can_be_installed(monkeypatch):
    extras = set(
        re.findall(r"^(\w+) = \[", PYPROJECT.split("[project.optional-dependencies]")[1].split("\n[")[0], re.M)
    )
    assert {*doctor.EXTRAS} == extras - {"dev"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for extra, (modules, what) in doctor.EXTRAS.items():
        assert line_of(f"vader3d[{extra}]") == (
            f"missing {', '.join(modules)}, for {what}: pip install 'vader3d[{extra}]'"
        )


def test_a_machine_without_a_compiler_is_told_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    monkeypatch.setattr(build, "LIBRARY", tmp_path / "march.so")
    assert "apt-get install g++" in line_of("missing a C++ compiler")
    (tmp_path / "march.so").touch()
    assert not any("compiler" in line for line in lines())


def test_a_renderer_that_does_not_work_is_one_line(monkeypatch):
    monkeypatch.setattr(cpu, "why_not", lambda grid: "compiler:\n  broken")
    assert "(compiler: broken); plain torch renders instead" in line_of("note    the C++ renderer")


@pytest.mark.parametrize(("units", "said"), [(True, "ok      the CPU has matrix units"), (False, "in float32")])
def test_matrix_units_are_told(monkeypatch, units, said):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: units, raising=False)
    assert line_of(said)


def test_models_that_ship_are_listed(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "SHELF", tmp_path)
    assert "train one (vader3d demo)" in line_of("no model ships")
    (tmp_path / hub.DEFAULT_MODEL).mkdir()
    (tmp_path / hub.DEFAULT_MODEL / "model.safetensors").write_bytes(bytes(2_500_000))
    assert line_of(f"model {hub.DEFAULT_MODEL}").endswith("ships, 2.5 MB, the default")


def test_a_damaged_model_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "SHELF", tmp_path)
    (tmp_path / "boats").mkdir()
    (tmp_path / "boats" / "model.safetensors").write_bytes(b"half of it")
    (tmp_path / "boats" / hub.CONFIG).write_text(
        '{"format": "vader3d-model", "version": 1, "files": {"model.safetensors": {"sha256": "ab"}}}'
    )
    assert line_of("missing model boats").endswith("fetch or save it anew): install vader3d anew")


def test_a_user_without_a_home_is_told(monkeypatch):
    def homeless():
        raise FileNotFoundError("~: wanted a home folder; got a user without one; set HOME")

    monkeypatch.setattr("vader3d.files.cache_folder", homeless)
    assert "set HOME" in line_of("no cache folder")


def test_the_command_ends_well_with_all_of_it(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    main(["doctor"])
    assert capsys.readouterr().out.count("missing") >= len(doctor.EXTRAS)
