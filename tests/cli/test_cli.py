"""Commands: readable help, one clear line for bad input, nothing lost."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import environment

from vader3d import __version__
from vader3d.cli import prepare, train
from vader3d.cli.auto import prepare_auto_command
from vader3d.cli.evaluate import evaluate_command
from vader3d.cli.main import demo_command, main
from vader3d.cli.parsing import RANGES
from vader3d.cli.study import study_command
from vader3d.config import config_to_dict
from vader3d.data.reading.readers import READERS
from vader3d.files import cache_folder
from vader3d.presets import PRESETS
from vader3d.snapshots import save_snapshot

COMMANDS = (
    "demo",
    "prepare",
    "prepare meshes",
    "prepare chairs",
    "prepare heads",
    "prepare nerfstudio",
    "prepare srn",
    "prepare shards",
    "inspect",
    "train",
    "train autodecoder",
    "train diffusion",
    "animate",
    "reconstruct",
    "generate",
    "evaluate",
    "study",
    "presets",
    "models",
    "save",
    "weights",
    "doctor",
)


def error_of(arguments: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 5


# Readers of foreign formats are files of their own, which import what they read with.
QUICK = [command for command in COMMANDS if command not in ("prepare", "prepare nerfstudio", "prepare srn")]
ASKED = "import sys\nfrom vader3d.cli.main import main\ntry:\n    main()\nfinally:\n    print('torch' in sys.modules)"


@pytest.mark.parametrize("command", ["--help", "--version", "presets", "weights", *(f"{c} --help" for c in QUICK)])
def test_help_and_the_presets_come_at_once_without_torch(command):
    asked = [sys.executable, "-c", ASKED, *command.split()]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "False"


def test_the_version_is_the_package_s(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"vader3d {__version__}\n"


def test_help_says_where_the_fields_are(capsys):
    for stage in ("autodecoder", "diffusion"):
        with pytest.raises(SystemExit):
            main(["train", stage, "--help"])
        assert "vader3d presets NAME" in capsys.readouterr().out.replace("│", " ").replace("\n", " ")


def test_a_preset_s_fields_come_as_set_takes_them_with_their_meaning(capsys):
    main(["presets", "small"])
    lines = capsys.readouterr().out.splitlines()
    fields = {line.partition("    ")[0].rstrip(): line.partition("    ")[2].strip() for line in lines if " = " in line}
    assert fields["decoder.code_length = 128"] == "numbers that an object is learned as"
    assert fields["codes.update = sparse"].startswith("faded | rows | sparse | dense: dense: Adam on")
    for name in ("unet.attention_resolutions = []", "loop.seconds = null", "unet.linear_skip = true", "P_mean = -1.2"):
        assert fields[name]


BAD = {
    "a data set that is not there": (
        ["train", "autodecoder", "--data", "nowhere.zip", "--output", "OUT"],
        "got nowhere.zip, which does not exist",
    ),
    "an unknown preset": (
        ["train", "autodecoder", "--data", "furniture", "--output", "OUT", "--preset", "smal"],
        "nearest: small",
    ),
    "an unknown field": (
        ["train", "autodecoder", "--data", "furniture", "--output", "OUT", "--set", "decoder.code_lenth=8"],
        "nearest: decoder.code_length",
    ),
    "a field of the wrong type": (
        ["train", "diffusion", "--autodecoder", "x", "--output", "OUT", "--set", "unet.dropout=much"],
        "unet.dropout",
    ),
    "an assignment without a value": (
        ["train", "diffusion", "--autodecoder", "x", "--output", "OUT", "--set", "unet.dropout"],
        "path.to.field",
    ),
    "stage 2 before stage 1": (
        ["train", "diffusion", "--autodecoder", "OUT", "--output", "OUT2"],
        "finish `vader3d train autodecoder`",
    ),
    "generation without a model": (["generate", "--model", "OUT", "--output", "OUT2"], "vader3d train diffusion"),
    "a mesh without faces": (["generate", "--output", "OUT", "--faces", "0"], "faces: wanted at least 100 and at most"),
    "a texture without texels": (
        ["generate", "--output", "OUT", "--texture-size", "0"],
        "texture_size: wanted at least 16",
    ),
    "a texture that no disk holds": (
        ["generate", "--output", "OUT", "--texture-size", "100000"],
        "at most 8192; got 100000",
    ),
    "an object of no size": (["generate", "--output", "OUT", "--size-cm", "0"], "size_cm: wanted"),
    "a format that nobody writes": (
        ["generate", "--output", "OUT", "--formats", "fbx"],
        "formats: wanted one or more of glb",
    ),
    "a file where a folder should be": (
        ["generate", "--output", "setup.cfg"],
        "output: wanted a folder; got setup.cfg",
    ),
    "a folder that cannot be made": (["generate", "--output", "setup.cfg/OUT"], "setup.cfg"),
    "a model that is something else": (["generate", "--model", "setup.cfg", "--output", "OUT"], "setup.cfg"),
    "a demo of no time": (["demo", "--minutes", "0", "--output", "OUT"], "minutes"),
    "a training of less than no time": (
        ["train", "autodecoder", "--data", "furniture", "--output", "OUT", "--minutes", "-1"],
        "minutes: wanted above 0; got -1.0",
    ),
    "a batch below zero": (
        ["train", "autodecoder", "--data", "furniture", "--output", "OUT", "--set", "loop.batch=-4"],
        "loop.batch: wanted at least 1; got -4",
    ),
    "a seed below zero": (["prepare", "chairs", "--output", "OUT", "--seed", "-1"], "seed: wanted at least 0"),
    "a subset without its file": (["prepare", "meshes", "x", "--output", "OUT.zip", "--subset", "few"], "NAME=FILE"),
    "fields of an unknown preset": (["presets", "smal"], "nearest: small"),
    "weights nobody knows": (["weights", "vgg18"], "nearest: vgg19"),
    "no meshes": (["prepare", "meshes", "OUT", "--output", "OUT2.zip"], "OUT"),
    "a folder that holds no shards": (["train", "autodecoder", "--data", ".", "--output", "OUT"], "a folder"),
    "an archive that is none": (["inspect", "setup.cfg"], "setup.cfg"),
}


CHECKED = [
    train.train_autodecoder_command,
    train.train_diffusion_command,
    prepare.reader_command(READERS["srn"]),
    prepare.prepare_meshes_command,
    prepare.prepare_chairs_command,
    prepare.prepare_heads_command,
    prepare.prepare_photos_command,
    prepare.prepare_video_command,
    prepare_auto_command,
    prepare.prepare_shards_command,
    prepare.prepare_captions_command,
    prepare.prepare_join_command,
    evaluate_command,
    study_command,
    demo_command,
]


@pytest.mark.parametrize("command", CHECKED, ids=lambda command: command.__name__)
def test_commands_check_their_numbers_before_they_do_anything(command):
    parameters = inspect.signature(command).parameters.values()
    numbers = [p.name for p in parameters if re.search(r"\b(int|float)\b", inspect.formatannotation(p.annotation))]
    assert numbers
    for name in numbers:
        lowest = [limit - 1 for limit in (RANGES[name].at_least, RANGES[name].above) if limit is not None]
        for wrong in (float("nan"), *lowest):
            with pytest.raises(ValueError, match=f"^{name}: wanted"):
                command(**{name: wrong})


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_that_names_it(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg").write_text("not a zip")
    arguments, wanted = BAD[case]
    error = error_of(arguments, capsys)
    assert wanted in error.replace("\n", " ")
    assert error.count("\n") == 1
    assert not (tmp_path / "OUT").exists()


def test_the_doctor_finds_the_renderer(capsys):
    main(["doctor"])
    assert "renderer" in capsys.readouterr().out


def test_a_dry_run_prints_the_resolved_configuration(tmp_path, capsys):
    output = tmp_path / "run"
    main(["train", "autodecoder", "--data", "furniture", "--output", str(output), "--set", "loop.batch=3", "--dry-run"])
    said = capsys.readouterr()
    assert json.loads(said.out)["loop"]["batch"] == 3
    for what in ("memory: about", "a batch of 3", "TFLOP/s", "hours"):
        assert what in said.err
    assert not output.exists()


def test_a_dry_run_of_stage_2_reckons_with_the_latents_of_the_stage_1_that_is_there(tmp_path, capsys):
    command = ["train", "diffusion", "--autodecoder", str(tmp_path), "--output", "x", "--preset", "tiny", "--dry-run"]
    steps = []
    for trained in ("tiny", "small", None):  # None: nothing is there, so the preset's own
        if trained is not None:
            header = {"kind": "autodecoder", "config": config_to_dict(PRESETS[trained].autodecoder)}
            save_snapshot(tmp_path / "model.safetensors", {"any": torch.zeros(1)}, header)
        else:
            (tmp_path / "model.safetensors").unlink()
        main(command)
        steps.append(next(line for line in capsys.readouterr().err.splitlines() if line.startswith("one step")))
    assert steps[0] == steps[2] != steps[1]


@pytest.mark.parametrize("asked", [{}, {"GOMP_SPINCOUNT": "77"}, {"OMP_WAIT_POLICY": "active"}])
def test_idle_threads_soon_sleep_unless_told_otherwise(asked):
    """As OpenMP itself reports what it has read."""
    command = [sys.executable, "-m", "vader3d", "doctor"]
    plain = {name: value for name, value in environment().items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    told = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**plain, **asked, "OMP_DISPLAY_ENV": "verbose"}
    ).stderr
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("another OpenMP")
    own = f"GOMP_SPINCOUNT = '{asked.get('GOMP_SPINCOUNT', '10000')}'"
    assert (own in told) == ("OMP_WAIT_POLICY" not in asked)


def test_a_pipe_without_a_reader_is_no_error():
    command = subprocess.Popen(
        [sys.executable, "-m", "vader3d", "presets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait() == 141


def test_a_user_without_a_home_gets_one_line(monkeypatch, capsys):
    """As `docker run --user 12345` has it; what asks for no cache does not mind."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid: int):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "VADER3D_CACHE", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match="2"):
        main(["weights"])
    assert (
        capsys.readouterr().err == "error: ~/.cache/vader3d: wanted a home folder; got a user without one; set HOME\n"
    )
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/vader3d")


OUT_OF_MEMORY = {
    "numpy or Python": "raise MemoryError",
    "the CPU": "torch.empty(1 << 60)",
    "a GPU": "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB')",
}


@pytest.mark.parametrize("case", OUT_OF_MEMORY)
def test_a_lack_of_memory_is_one_line(case, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vader3d.doctor.findings", lambda: exec(OUT_OF_MEMORY[case]))
    error = error_of(["doctor"], capsys)
    assert error.startswith("error: memory: wanted more than is free; got ")
    assert error.count("\n") == 1


def test_other_faults_of_ours_keep_their_traceback(monkeypatch):
    def broken():
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("vader3d.doctor.findings", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        main(["doctor"])


STAGES = {"autodecoder": ["--data", "furniture"], "diffusion": ["--autodecoder", "nowhere"]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_that_no_memory_holds_ends_before_it_begins(stage, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vader3d.machine.memory_bytes", lambda device: 1_000_000)
    output = tmp_path / "run"
    error = error_of(["train", stage, *STAGES[stage], "--output", str(output), "--preset", "tiny"], capsys)
    assert re.fullmatch(r"error: memory: wanted 0\.0 GB .*; got a device of 0\.0 GB; choose .*\n", error)
    assert not output.exists()
