"""Nothing is lost, whatever happens at whichever event of a file."""

import json
import subprocess
import sys
from pathlib import Path

import faults
import pytest
from processes import environment

from vader3d.native import build

COMPILER = build.find_compiler()
pytestmark = pytest.mark.skipif(not (sys.platform == "linux" and COMPILER), reason="no C++ compiler, or not Linux")
SAMPLE = {  # every so many events: the cheap ones more often
    "prepare srn": 21,
    "prepare srn in shards": 41,
    "prepare photos": 61,
    "prepare video": 61,
    "prepare shards": 11,
    "prepare join": 21,
    "prepare captions": 21,
    "inspect": 61,
    "evaluate": 101,
    "train autodecoder": 401,
    "train diffusion": 701,
    "study": 1000,
    "generate": 61,
    "animate": 21,
    "animate by a clip": 101,
    "reconstruct": 61,
    "save": 21,
    "demo": 400,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    faults.write_inputs(folder)
    source = Path(faults.__file__).with_suffix(".cpp")
    subprocess.run(
        [COMPILER, "-O1", "-std=c++17", "-shared", "-fPIC", source, "-o", folder / "faults.so", "-ldl"], check=True
    )
    return folder


def tried(inputs: Path, strides: dict[str, int]) -> dict[str, dict]:
    """By command: what went `wrong`, how many `events` there are, and how many were `tried`."""
    wanted = [str(word) for pair in strides.items() for word in pair]
    preloaded = environment() | {"LD_PRELOAD": str(inputs / "faults.so"), "COLUMNS": "1000"}
    line = [sys.executable, faults.__file__, str(inputs), *wanted]
    result = subprocess.run(line, capture_output=True, text=True, env=preloaded)
    assert result.returncode == 0, result.stderr[-3000:]
    return {each["command"]: each for each in map(json.loads, result.stdout.splitlines())}


@pytest.fixture(scope="module")
def sampled(inputs) -> dict[str, dict]:
    """All by one process, which imports things once."""
    return tried(inputs, SAMPLE)


@pytest.mark.parametrize("command", SAMPLE)
def test_a_command_goes_on_wherever_it_was_stopped(sampled, command):
    found = sampled[command]
    assert found["wrong"] == []
    assert found["events"] > 15
    assert found["tried"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("command", SAMPLE)
def test_a_command_goes_on_from_every_event(inputs, command):
    found = tried(inputs, {command: 1})[command]
    assert found["wrong"] == []
    assert found["tried"] == 3 * found["events"]
