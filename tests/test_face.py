"""The face: what `from vader3d import ...` gives, when it runs and when its types are checked."""

import importlib
import subprocess
import sys

import pytest
from processes import ROOT, environment

import vader3d

NAMES = {
    "Asset": "vader3d.assets",
    "Cameras": "vader3d.geometry.cameras",
    "Generator": "vader3d.generate",
    "Volume": "vader3d.render",
    "render_volume": "vader3d.render",
}

# The heavy packages behind the face are left out, so that mypy takes seconds; what they decorate is then untyped.
CONFIGURATION = """
[mypy]
python_version = 3.10
mypy_path = {root}
[mypy-torch.*,numpy.*,PIL.*,rich.*,safetensors.*,tyro.*]
follow_imports = skip
ignore_missing_imports = true
follow_imports_for_stubs = true
"""

RIGHT = """
from vader3d import Asset, Cameras, Generator, Volume

asset: Asset = Generator.from_pretrained("x")(count=1, seed=3)[0]
volume: Volume = asset.volume
cameras: Cameras
asset.render(cameras[0].resized(64, 64))
"""

WRONG = """
import vader3d
from vader3d import Cameras, Generator, Generatr

Generator.from_pretrained("x")(seeds=1)
next(Generator.from_pretrained("x").draw([])).sav("y")
vader3d.Generator.from_pretrained("x", gpu=True)
vader3d.Volum
Cameras(depth=1)
vader3d.render_volume.wrong
"""


def test_the_face_has_these_names_and_no_others():
    assert {*vader3d.__all__} == {*NAMES, "__version__"}
    for name, home in NAMES.items():
        assert getattr(vader3d, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError, match="Generatr"):
        vader3d.Generatr  # noqa: B018


def checked(folder, program: str) -> list[str]:
    """mypy's errors in a program that uses the face."""
    configuration, file = folder / "mypy.ini", folder / "program.py"
    configuration.write_text(CONFIGURATION.format(root=ROOT))
    file.write_text(program)
    command = [sys.executable, "-m", "mypy", "--config-file", str(configuration), "--cache-dir", str(folder), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment())
    return [line for line in done.stdout.splitlines() if "program.py" in line and ": error: " in line]


def test_type_checkers_see_what_is_right_and_wrong(tmp_path):
    assert checked(tmp_path, RIGHT) == []
    errors = checked(tmp_path, WRONG)
    wanted = {3: "Generatr", 5: "seeds", 6: "sav", 7: "gpu", 8: "Volum", 9: "depth", 10: "wrong"}
    assert [int(error.split(":")[1]) for error in errors] == sorted(wanted)
    for error, what in zip(errors, wanted.values(), strict=True):
        assert f'"{what}"' in error
