"""Nothing is lost: kills, damaged states, a full disk, signals."""

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import killed
import pytest
import torch
from processes import environment
from tiny import write_things
from toy import CONFIG, ToyTask

from vader3d import files
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.cli.main import main
from vader3d.data.making.copying import write_shards
from vader3d.files import LOCK
from vader3d.training import stopping
from vader3d.training.checkpoint import load_state
from vader3d.training.loop import train

SELDOM = dataclasses.replace(CONFIG, log_seconds=1e9)
EVERY_STEP = dataclasses.replace(CONFIG, checkpoint_seconds=0.0, log_seconds=1e9)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = load_state(run / "state.pt")
    averages = {f"mean {name}": value for name, value in state["average"].items()}
    return {"seen": torch.tensor(state["seen"]), **state["model"], **averages}


def unlike(a: Path, b: Path) -> list[str]:
    """What differs, bit by bit."""
    one, two = weights(a), weights(b)
    return [name for name in one.keys() | two.keys() if not torch.equal(one[name], two[name])]


def trained(run: Path, config=EVERY_STEP, *, stop_at: int | None = None) -> Path:
    run.mkdir(exist_ok=True)
    train(ToyTask(stop_at=stop_at), config, run, title="toy")
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An undisturbed run."""
    return trained(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def half(tmp_path) -> Path:
    """A run that Ctrl-C stopped at 80 objects, with a state of 76 before."""
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "half", stop_at=76)
    return tmp_path / "half"


def test_twenty_kills_lose_nothing(tmp_path):
    command = [sys.executable, killed.__file__, str(tmp_path), "20"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert result.returncode == 0, result.stderr[-3000:]
    assert int(result.stdout) >= 1, "no kill fell into the writing of a file"
    assert result.stderr.count("going on at") >= 10
    assert "damaged" not in result.stderr
    undisturbed = trained(tmp_path / "whole", dataclasses.replace(killed.OFTEN, checkpoint_seconds=1e9))
    assert unlike(tmp_path / "run", undisturbed) == []


def test_the_last_two_states_are_kept(half):
    assert [load_state(half / name)["seen"] for name in ("state.pt", "state.previous.pt")] == [80, 80]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, empty])
def test_a_damaged_state_is_passed_over_for_the_one_before(whole, half, damage, capsys):
    damage(half / "state.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(half, stop_at=80)
    assert "state.previous.pt, the state before, takes over" in capsys.readouterr().err
    for name in ("state.pt", "state.previous.pt"):
        assert load_state(half / name)["seen"] in (80, 84)  # the damaged one did not replace the whole one
    trained(half)
    assert unlike(half, whole) == []


def test_a_kill_between_the_two_renames_is_survived(whole, half):
    (half / "state.pt").unlink()
    trained(half)
    assert unlike(half, whole) == []


def test_two_damaged_states_are_refused_by_name(half):
    for name in ("state.pt", "state.previous.pt"):
        cut_short(half / name)
    with pytest.raises(
        ValueError, match=r"state\.pt: wanted a run state.*state\.previous\.pt: wanted a run state.*; delete them"
    ):
        trained(half)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_ends_the_run_and_leaves_the_last_state(whole, tmp_path, monkeypatch, capsys):
    usual, names = files.temporary_name, []

    def full_after_ten(path: Path) -> Path:
        temporary = usual(path)
        names.append(path)
        if sum(name.name == "state.pt" for name in names) > 10 and path.name == "state.pt":
            temporary.symlink_to("/dev/full")
        return temporary

    monkeypatch.setattr(files, "temporary_name", full_after_ten)
    with pytest.raises(OSError, match=r"could not write .*state\.pt: .*what was there before is intact"):
        trained(tmp_path / "run")
    monkeypatch.undo()
    assert load_state(tmp_path / "run" / "state.pt")["seen"] == 40
    assert "the state at 40 objects is whole" in capsys.readouterr().err
    assert unlike(trained(tmp_path / "run"), whole) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_metrics_is_named(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(run, stop_at=8)
    before = (run / "state.pt").read_bytes()

    class Full(ToyTask):
        def measures(self):
            (run / "metrics.jsonl").unlink(missing_ok=True)
            (run / "metrics.jsonl").symlink_to("/dev/full")
            return {}

    with pytest.raises(OSError, match=r"could not write .*metrics\.jsonl: No space left on device"):
        train(Full(), dataclasses.replace(EVERY_STEP, log_seconds=0.0), run, title="toy")
    assert (run / "state.pt").read_bytes() == before


def send(number: int, *, after: float) -> None:
    threading.Timer(after, os.kill, [os.getpid(), number]).start()


class Hanging(ToyTask):
    """Hangs after a step's forward pass, when norms have moved, with a signal or two on their way."""

    def __init__(self, hang: Callable[[], object], *numbers: int):
        super().__init__()
        self.hang, self.numbers = hang, numbers

    def losses(self, *, objects_seen, **step):
        terms = super().losses(objects_seen=objects_seen, **step)
        if objects_seen == 80:
            for place, number in enumerate(self.numbers):
                send(number, after=0.1 + 0.3 * place)
            self.hang()
        return terms


@pytest.mark.parametrize("way", ["the time is up", "a second Ctrl-C"])
def test_a_read_that_hangs_is_left_with_the_state_from_before_the_step(whole, tmp_path, monkeypatch, capsys, way):
    again = way == "a second Ctrl-C"
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 600.0 if again else 0.5)
    monkeypatch.setattr(stopping, "DOUBLED_SECONDS", 0.1 if again else 600.0)
    os.mkfifo(fifo := tmp_path / "fifo")  # nobody will ever write to it
    (run := tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(Hanging(fifo.open, signal.SIGINT, signal.SIGINT), SELDOM, run, title="toy")
    assert "stopped at 80 objects, before it" in capsys.readouterr().err
    assert load_state(run / "state.pt")["seen"] == 80
    assert unlike(trained(run), whole) == []


def test_a_thread_that_no_signal_reaches_is_left_too(whole, tmp_path):
    """As where one process waits for another, outside Python."""
    mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
    child = os.fork()
    if child == 0:
        try:
            stopping.GRACE_SECONDS = 0.5
            train(Hanging(lambda: [lock(mutex), lock(mutex)], signal.SIGTERM), SELDOM, tmp_path, title="toy")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
    assert load_state(tmp_path / "state.pt")["seen"] == 80
    assert unlike(trained(tmp_path), whole) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_whose_data_hang_ends_soon(tmp_path, number):
    """A shard that is a pipe nobody writes to keeps the threads that read, and a first Ctrl-C the process."""
    write_shards(write_things(tmp_path / "things.zip", size=16), tmp_path / "shards", objects_per_shard=1)
    (tmp_path / "shards" / "shard-000001.tar").unlink()
    os.mkfifo(tmp_path / "shards" / "shard-000001.tar")
    command = [sys.executable, "-m", "vader3d", "train", "autodecoder", "--preset", "tiny"]
    command += ["--data", str(tmp_path / "shards"), "--output", str(tmp_path / "run")]
    heeds_ctrl_c = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (as background jobs do not)
    process = subprocess.Popen(command, env=environment(), preexec_fn=heeds_ctrl_c)
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "tensorboard").exists():  # the first step is about to begin
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert time.monotonic() - start < 20  # 8 on a quiet machine
    assert load_state(tmp_path / "run" / "state.pt")["seen"] == 0
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_each_signal_has_its_exit_code_and_leaves_a_state(tmp_path, monkeypatch, number, code):
    write_things(tmp_path / "things.zip")
    losses = AutodecoderTask.losses

    def signalled(self, *, objects_seen, **step):
        if objects_seen == 8:
            signal.raise_signal(number)
        return losses(self, objects_seen=objects_seen, **step)

    monkeypatch.setattr(AutodecoderTask, "losses", signalled)
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        main(["train", "autodecoder", "--data", str(tmp_path / "things.zip"), "--output", str(run), "--preset", "tiny"])
    assert stop.value.code == code
    assert load_state(run / "state.pt")["seen"] == 12
