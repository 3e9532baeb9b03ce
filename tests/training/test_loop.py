"""The loop both stages run: interruptions, failures, schedules."""

import dataclasses
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import environment
from toy import CONFIG, ToyTask

from vader3d.randomness import step_generator
from vader3d.snapshots import load_snapshot
from vader3d.training.checkpoint import load_state
from vader3d.training.errors import TrainingDiverged
from vader3d.training.log import read_metrics
from vader3d.training.loop import learning_rate_factor, train
from vader3d.training.step import gradient_norm, scale_gradients


def trained(run: Path, config=CONFIG, **kinds) -> ToyTask:
    run.mkdir(exist_ok=True)
    task = ToyTask(**kinds)
    task.average = train(task, config, run, title="toy")
    return task


def differences(a, b, path="") -> list[str]:
    """Where two nested states differ, bit by bit."""
    if isinstance(a, dict):
        keys = [] if a.keys() == b.keys() else [f"{path}: {a.keys() ^ b.keys()}"]
        return keys + [d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list):
        return [d for i, pair in enumerate(zip(a, b, strict=True)) for d in differences(*pair, f"{path}[{i}]")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [path]


def state_of(run: Path) -> dict:
    state = load_state(run / "state.pt")
    state.pop("seconds")
    return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run folder of an undisturbed training."""
    run = tmp_path_factory.mktemp("whole")
    trained(run)
    return run


def test_training_learns_and_hands_on_the_average(whole):
    lines = read_metrics(whole)
    assert lines[-1]["match"] < 0.5 * lines[0]["match"]
    tensors, header = load_snapshot(whole / "model.safetensors")
    state = state_of(whole)
    assert header["kind"] == "toy"
    assert differences(tensors, dict(state["average"])) == []
    assert differences(tensors, dict(state["model"])) != []


@pytest.mark.parametrize("stop_at", [0, 76, 156])
def test_a_run_stopped_in_mid_step_and_resumed_is_the_same_run(whole, tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, stop_at=stop_at)
    assert load_state(tmp_path / "state.pt")["seen"] == stop_at + 4
    resumed = trained(tmp_path)
    assert [step["seen"] for step in resumed.steps] == list(range(stop_at + 4, 160, 4))
    assert differences(state_of(whole), state_of(tmp_path)) == []
    assert (whole / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert [line["seen"] for line in read_metrics(tmp_path)] == [line["seen"] for line in read_metrics(whole)]


def test_the_same_call_after_the_end_trains_no_more(whole, tmp_path):
    trained(tmp_path)
    assert trained(tmp_path).steps == []
    assert differences(state_of(whole), state_of(tmp_path)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_process_goes_on_by_the_same_command(whole, tmp_path, number):
    command = [sys.executable, str(Path(__file__).parents[1] / "toy.py"), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    for line in process.stdout:
        if int(line) >= 16:
            process.send_signal(number)
            break
    _, messages = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "the same command goes on from here" in messages
    assert 16 < load_state(tmp_path / "state.pt")["seen"] < 160
    resumed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment())
    assert "going on at" in resumed.stderr
    assert differences(state_of(whole), state_of(tmp_path)) == []


def test_the_signals_are_given_back(whole, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    trained(tmp_path, dataclasses.replace(CONFIG, objects_seen=8))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_non_finite_steps_are_skipped_and_leave_no_trace(tmp_path, capsys):
    task = trained(tmp_path, bad_at=(20, 60))
    assert load_state(tmp_path / "state.pt")["skipped"] == 2
    values = [*task.model.state_dict().values(), *task.average.state_dict().values()]
    assert all(value.isfinite().all() for value in values)
    assert [step["seen"] for step in task.steps] == list(range(0, 160, 4))
    assert all(math.isfinite(value) for line in read_metrics(tmp_path) for value in line.values())
    said = capsys.readouterr().err
    assert "non-finite loss match at 20 objects, step 5" in said
    named = task.names(objects_seen=20, batch=4, generator=step_generator(CONFIG.seed, 20), share=slice(None))
    assert len(named) == 4
    assert f"(of {', '.join(named)}); skipped (1 of at most 20)" in said


def test_a_gradient_that_is_not_finite_is_named_where_all_losses_are(tmp_path, capsys):
    class Steep(ToyTask):
        def losses(self, *, objects_seen, **step):
            terms = super().losses(objects_seen=objects_seen, **step)
            if objects_seen == 20:
                terms["steep"] = (0 * self.model.first.weight.sum()).sqrt()  # 0, with an undefined slope
            return terms

    task = Steep()
    train(task, CONFIG, tmp_path, title="toy")
    assert "non-finite gradient at 20 objects, step 5 (of toy " in capsys.readouterr().err
    assert all(value.isfinite().all() for value in task.model.state_dict().values())
    assert load_state(tmp_path / "state.pt")["skipped"] == 1


def test_too_many_non_finite_steps_end_the_run_and_keep_the_last_state(tmp_path):
    config = dataclasses.replace(CONFIG, skipped_steps=3, checkpoint_seconds=0.0)
    with pytest.raises(
        TrainingDiverged,
        match=r"4 non-finite steps, the last: non-finite loss match at 52 objects, step 13 .*; lower the learning rate",
    ):
        trained(tmp_path, config, bad_at=tuple(range(40, 160, 4)))
    state = load_state(tmp_path / "state.pt")
    assert state["seen"] == 40
    assert all(value.isfinite().all() for value in state["model"].values())
    assert not (tmp_path / "model.safetensors").exists()


def test_what_has_diverged_is_not_handed_on(tmp_path):
    """Codes of 1e30: every loss is finite behind the norm, whose running variance is not."""
    task = ToyTask()
    task.optimisers[-1].param_groups[0]["lr"] = 1e30
    with pytest.raises(TrainingDiverged, match=r"toy: norm\.running_var.* not finite at the end; lower"):
        train(task, CONFIG, tmp_path, title="toy")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_run_whose_steps_were_all_skipped_hands_nothing_on(tmp_path):
    with pytest.raises(TrainingDiverged, match="toy: all steps were non-finite and skipped"):
        trained(tmp_path, dataclasses.replace(CONFIG, objects_seen=20), bad_at=tuple(range(0, 20, 4)))
    assert not (tmp_path / "model.safetensors").exists()


def test_training_by_the_clock_ends_by_the_clock(tmp_path):
    config = dataclasses.replace(CONFIG, objects_seen=10**9, seconds=0.5)
    task = trained(tmp_path, config, pause=0.01)
    assert 0.5 <= load_state(tmp_path / "state.pt")["seconds"] < 1.5
    progress = [step["progress"] for step in task.steps]
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert 0.8 < progress[-1] < 1


def test_the_shortest_run_leaves_its_numbers(tmp_path):
    trained(tmp_path, dataclasses.replace(CONFIG, log_seconds=1e9))
    assert [line["seen"] for line in read_metrics(tmp_path)] == [160]


def test_learning_rates_follow_the_schedule(tmp_path):
    task = trained(tmp_path)
    for step in task.steps:
        expected = 1e-2 * learning_rate_factor(step["seen"] / 160, warmup=0.2, cooldown=0.5)
        assert step["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("progress", "warmup", "cooldown", "factor"),
    [
        (0.0, 0.0, 1.0, 1.0),
        (0.25, 0.0, 1.0, 0.75),
        (1.0, 0.0, 1.0, 0.0),  # A19: linear from the first step
        (0.0, 0.1, 0.2, 0.0),
        (0.05, 0.1, 0.2, 0.5),
        (0.5, 0.1, 0.2, 1.0),
        (0.9, 0.1, 0.2, 0.5),
        (0.5, 0.0, 0.0, 1.0),
    ],
)
def test_the_schedule_is_a_trapezium(progress, warmup, cooldown, factor):
    assert learning_rate_factor(progress, warmup=warmup, cooldown=cooldown) == pytest.approx(factor)


def test_every_step_has_its_own_randomness():
    draws = {
        (seed, objects_seen): torch.rand(4, generator=step_generator(seed, objects_seen))
        for seed in (0, 1)
        for objects_seen in (0, 1, 8)
    }
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 6
    assert torch.equal(torch.rand(4, generator=step_generator(1, 8)), draws[1, 8])


def test_gradients_are_measured_and_scaled_together_sparse_ones_too():
    task = ToyTask()
    task.model(torch.tensor([1, 3, 1])).square().sum().backward()
    dense = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in task.model.parameters()]
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in dense))
    assert gradient_norm(task.model) == pytest.approx(norm, rel=1e-5)
    scale_gradients(task.model, 0.5)
    assert gradient_norm(task.model) == pytest.approx(norm / 2, rel=1e-5)


def test_long_gradients_are_clipped(tmp_path):
    lengths = []

    class Watched(ToyTask):
        def interrupt(self):
            lengths.append(gradient_norm(self.model))

    train(Watched(), dataclasses.replace(CONFIG, gradient_clip=0.01, objects_seen=20), tmp_path, title="toy")
    assert lengths == pytest.approx([0.01] * 5, rel=1e-4)


def test_a_preview_is_whole_or_not_there(tmp_path):
    class Torn:
        def save(self, path, *_):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    task = ToyTask()
    task.preview = lambda model: Torn()
    with pytest.raises(OSError, match=r"could not write .*previews"):
        train(task, dataclasses.replace(CONFIG, objects_seen=8), tmp_path, title="toy")
    assert [*(tmp_path / "previews").iterdir()] == []
