"""One command at a time works in a folder, and what the dead held is free."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import judged_models
import pytest
from processes import environment
from tiny import write_things

from vader3d import files
from vader3d.cli.main import main
from vader3d.evaluation import runner
from vader3d.files import LOCK, held

HOLDER = """
import sys, time
from pathlib import Path
from vader3d.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(60)


@pytest.fixture
def hasty(monkeypatch):
    """Signs of life come often, and are not waited for long."""
    monkeypatch.setattr(files, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(files, "WATCH_SECONDS", 1.0)


def test_who_holds_a_folder_is_said(holder, tmp_path):
    words = rf"run: wanted for this command alone; got it held by process {holder.pid} on {socket.gethostname()} since"
    with pytest.raises(ValueError, match=words + r" 20\S+ \S+: -c .*run; wait"), held(tmp_path / "run"):
        pass


@pytest.mark.parametrize("moment", ["write_note", "discard"])
def test_one_who_is_stopped_in_the_midst_leaves_no_lock(moment, tmp_path, monkeypatch):
    """As it takes the lock, or lets go of it: the signal is obeyed when that is done, and once."""

    def stop(number, frame):
        raise KeyboardInterrupt

    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        done(*arguments)

    done = getattr(files, moment)
    monkeypatch.setattr(files, moment, stopped)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(KeyboardInterrupt), held(tmp_path, "part"):
            pass
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [*tmp_path.iterdir()] == []
    monkeypatch.undo()
    with held(tmp_path, "part"):
        pass


def test_the_dead_hold_nothing(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    assert (tmp_path / "run" / LOCK).exists()
    start = time.monotonic()
    with held(tmp_path / "run"):
        assert time.monotonic() - start < files.WATCH_SECONDS / 2  # nothing was waited for
    assert list((tmp_path / "run").iterdir()) == []


def test_nothing_is_left_of_a_folder_in_which_nothing_was_written(tmp_path):
    with pytest.raises(KeyError), held(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "result").touch()
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "result"]


def test_what_killed_writers_left_goes_whoever_has_their_number_now(tmp_path):
    (tmp_path / "previews").mkdir()
    (tmp_path / "other").mkdir()
    for name in (".run.json.1.part", f"previews/.a.png.{os.getpid()}.part", "other/.a.1.part", ".a.words.part"):
        (tmp_path / name).touch()
    with held(tmp_path, rooms=("previews", "none")):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {LOCK, "other/.a.1.part", ".a.words.part"}


def test_a_file_is_held_alone(tmp_path):
    with held(tmp_path, "a.zip"), held(tmp_path, "b.zip"), held(tmp_path):
        words = r"a\.zip: wanted for this command alone; got .*\(this one\)"
        with pytest.raises(ValueError, match=words), held(tmp_path, "a.zip"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_never_two_at_once(tmp_path):
    inside, most, refused, ends = [], [], [], time.monotonic() + 1.0

    def work():
        while time.monotonic() < ends:
            try:
                with held(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)
                    inside.pop()
            except ValueError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) > 4
    assert refused


def test_some_wait_for_their_turn(tmp_path):
    order = []

    def first():
        with held(tmp_path):
            started.set()
            time.sleep(0.3)
            order.append(1)

    started = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    started.wait()
    with held(tmp_path, wait=True):
        order.append(2)
    thread.join()
    assert order == [1, 2]


def without_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def other_machine() -> str:
    return "another machine"


@pytest.mark.parametrize("case", ["no locks", "another machine"])
def test_where_no_lock_tells_signs_of_life_do(hasty, tmp_path, monkeypatch, case):
    """A file system without locks; and one whose locks end at the machine, so that they are free where they are not."""
    if case == "no locks":
        monkeypatch.setattr(files.fcntl, "flock", without_locks)
    with held(tmp_path):
        if case == "another machine":
            monkeypatch.setattr(files, "this_machine", other_machine)
            monkeypatch.setattr(files.fcntl, "flock", lambda *_: None)
        with pytest.raises(ValueError, match=f"held by process {os.getpid()}"), held(tmp_path):
            pass
        note = (tmp_path / LOCK).read_bytes()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / LOCK).write_bytes(note)  # as a kill leaves it
    start = time.monotonic()
    with held(tmp_path):
        assert time.monotonic() - start >= 1.0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_note_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "ftruncate", full_disk)
    with pytest.raises(OSError, match=rf"could not write .*{LOCK}: No space left on device"), held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Path:
    """A folder with data, and a model of both stages."""
    folder = tmp_path_factory.mktemp("things")
    judged_models.write_model(folder / "model", write_things(folder / "things.zip", size=16))
    judged_models.write_protocol(folder / "tiny.json")
    main(["train", "autodecoder", "--data", f"{folder}/things.zip", "--output", f"{folder}/ae", *TINY])
    return folder


TINY = ("--preset", "tiny", "--set", "loop.objects_seen=8")
COMMANDS = {
    "train autodecoder": "--data {things}/things.zip --output {run} --preset tiny",
    "train diffusion": "--autodecoder {things}/ae --output {run} --preset tiny",
    "prepare shards": "{things}/things.zip --output {run}",
    "prepare chairs": "--output {run} --objects-per-shard 2 --count 2 --views 4 --size 16",
    "evaluate": "--model {things}/model --data {things}/things.zip --output {run} --protocol {things}/tiny.json",
    "study": "normalisation --data {things}/things.zip --output {run} --preset tiny",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_asks_first(command, things, holder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "load_features", judged_models.tiny_features)
    monkeypatch.setattr("vader3d.study.run.protocol_facts", lambda *_: {})
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), *COMMANDS[command].format(things=things, run=tmp_path / "run").split()])
    assert stop.value.code == 2
    assert f"run: wanted for this command alone; got it held by process {holder.pid}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_an_archive_is_written_by_one_command(tmp_path, capsys):
    with held(tmp_path, "c.zip"), pytest.raises(SystemExit):
        main(["prepare", "chairs", "--output", str(tmp_path / "c.zip"), "--count", "2", "--views", "4", "--size", "16"])
    assert "c.zip: wanted for this command alone" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "study"])  # whose parts are these
def test_a_kill_at_its_first_file_locks_no_folder(command, things, tmp_path, monkeypatch):
    """What is then there is a temporary file, whose process number another process may have by now."""
    monkeypatch.setattr(runner, "load_features", judged_models.tiny_features)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "shards.json", "report.json"):
        (run / f".{name}.1.part").touch()
    more = ["--set", "loop.objects_seen=8"] if command.startswith("train") else []
    main([*command.split(), *COMMANDS[command].format(things=things, run=run).split(), *more])
    assert not [path for path in run.rglob("*") if path.name.endswith(".part") or path.name == LOCK]
