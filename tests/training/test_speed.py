"""Arithmetic is counted rightly, a trace is left, and blocks may be recomputed."""

import dataclasses
import json

import pytest
import torch
from distributed_trainings import STAGES, task_of
from tiny import write_things
from torch import nn
from toy import CONFIG, ToyTask

from vader3d.machine import peak_flops
from vader3d.training.distributed import ONE_PROCESS
from vader3d.training.log import read_metrics
from vader3d.training.loop import train
from vader3d.training.speed import counted_flops
from vader3d.training.step import GradientStep, gradient_norm


def test_operations_are_counted_with_their_gradients():
    convolution, linear = nn.Conv3d(3, 5, 3, padding=1), nn.Linear(5, 7)
    x = torch.randn(2, 3, 4, 4, 4)
    with counted_flops() as counts:
        linear(convolution(x).movedim(1, -1)).sum().backward()
        with torch.no_grad():
            linear(torch.randn(11, 5))
    first, second = 2 * 2 * 64 * 5 * 3 * 27, 2 * 2 * 64 * 7 * 5
    assert counts == [2 * first, 3 * second, 2 * 11 * 7 * 5]  # the convolution's input needs no gradient


def test_the_counter_of_torch_agrees():
    from torch.utils.flop_counter import FlopCounterMode

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 1))
    with FlopCounterMode(display=False) as judge, counted_flops() as counts:
        model(torch.randn(2, 3, 9, 9)).sum().backward()
    assert sum(counts) == judge.get_total_flops()


def test_speeds_and_code_statistics_are_logged(tmp_path):
    train(ToyTask(), dataclasses.replace(CONFIG, objects_seen=24), tmp_path, title="toy")
    line = read_metrics(tmp_path)[-1]
    assert {"match", "loss", "gradient_norm", "objects_per_second", "code_std", "learning_rate_factor"} <= line.keys()
    assert 0 < line["share_of_peak"] < 1
    assert line["flops_per_second"] == pytest.approx(line["share_of_peak"] * peak_flops("cpu", torch.float32), rel=1e-6)


def test_a_trace_of_some_steps_is_left(tmp_path):
    train(ToyTask(), dataclasses.replace(CONFIG, objects_seen=40), tmp_path, title="toy", profile=2)
    trace = json.loads((tmp_path / "profile" / "trace.json").read_text())
    steps = {event["name"] for event in trace["traceEvents"] if str(event.get("name")).startswith("ProfilerStep")}
    assert len(steps) == 2
    assert "conv" in (tmp_path / "profile" / "summary.txt").read_text()


@pytest.mark.parametrize(("stage", "synchronised"), [*((stage, False) for stage in STAGES), ("autodecoder", True)])
def test_recomputed_blocks_train_alike(tmp_path, stage, synchronised):
    """Activation checkpointing changes memory only; norms' running statistics are not moved twice.

    synchronised: with the norms of several GPUs, whose forward pass wants its counter; alone they run on CPUs too.
    """
    write_things(tmp_path / "things.zip")
    states = []
    for recompute in (False, True):
        run = tmp_path / str(recompute)
        run.mkdir()
        task = task_of(stage, tmp_path, recompute=recompute)
        assert task.blocks
        if synchronised:
            task.model = nn.SyncBatchNorm.convert_sync_batchnorm(task.model)
            assert any(isinstance(layer, nn.SyncBatchNorm) for block in task.blocks for layer in block.modules())
        train(task, task.config.loop, run, title=stage)
        states.append(task.model.state_dict())
    unlike = [name for name, value in states[0].items() if not torch.allclose(value, states[1][name], rtol=1e-5)]
    assert unlike == []


@pytest.mark.parametrize("stage", STAGES)
def test_compiled_blocks_train_alike(tmp_path, monkeypatch, stage):
    """Traced by torch.compile, but run by its eager back-end: no C++ compiler is waited for."""
    write_things(tmp_path / "things.zip")
    compiling, calls, norms = torch.compile, [], []
    monkeypatch.setattr(torch, "compile", lambda block: calls.append(block) or compiling(block, backend="eager"))
    for compiled in (False, True):
        task = task_of(stage, tmp_path, compile=compiled)
        step = GradientStep(
            task,
            processes=ONE_PROCESS,
            batch=task.config.loop.batch,
            accumulate=1,
            seed=0,
            recompute=False,
            compiled=compiled,
            synchronised_norms=False,
        )
        terms = step(objects_seen=0, progress=0.0)
        norms.append([*terms.values(), gradient_norm(task.model)])
    assert len(calls) == len(task.blocks) > 0
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
