"""How long sampling takes is kept with the chunks and reported for each sample."""

import json
from pathlib import Path

import judged_models
import pytest
import torch
from judged_models import write_model, write_protocol
from tiny import write_things

from vader3d.data.archive.reader import Archive
from vader3d.evaluation import chunks, runner
from vader3d.evaluation.chunks import Measured, Measurement, collect_measurement, read_chunk, run_measurement
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.runner import evaluate, protocol_run
from vader3d.generate import Generator
from vader3d.snapshots import load_snapshot, save_snapshot
from vader3d.training.distributed import ONE_PROCESS

SECONDS = 3.0


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", judged_models.SMALL_CHUNK)
    monkeypatch.setattr(runner, "load_features", judged_models.tiny_features)


def measurement(seconds: float | None) -> Measurement:
    return Measurement(
        "numbers",
        "numbers",
        4,
        {},
        lambda numbers: Measured({"n": torch.tensor(numbers)}, sampling_cpu_seconds=seconds),
    )


def test_chunks_add_their_seconds_up_and_older_ones_have_none(tmp_path):
    run_measurement(measurement(SECONDS), tmp_path, processes=ONE_PROCESS)
    assert collect_measurement(measurement(SECONDS), tmp_path).sampling_cpu_seconds == 2 * SECONDS
    first = tmp_path / "numbers-00000.safetensors"
    tensors, header = load_snapshot(first)
    del header["sampling_cpu_seconds"]  # as before it was measured
    save_snapshot(first, tensors, header)
    assert read_chunk(measurement(SECONDS), tmp_path, [0, 1]) is not None
    assert collect_measurement(measurement(SECONDS), tmp_path).sampling_cpu_seconds is None


def test_what_samples_nothing_has_no_seconds(tmp_path):
    run_measurement(measurement(None), tmp_path, processes=ONE_PROCESS)
    assert collect_measurement(measurement(None), tmp_path).sampling_cpu_seconds is None


def test_the_report_has_the_seconds_of_a_sample_at_each_number_of_steps(tmp_path, monkeypatch):
    clock = iter(range(10_000))
    real = Generator.sample_latents

    def slow(self, seeds, *, steps, churn, redraws):
        for _ in range(9 * steps):
            next(clock)
        return real(self, seeds, steps=steps, churn=churn, redraws=redraws)

    monkeypatch.setattr(Generator, "sample_latents", slow)
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    report = small_report(tmp_path)
    assert report["cpu_seconds_per_sample_generated"] == (9 * 2 + 1) / 2  # of chunks of 2
    assert report["cpu_seconds_per_sample_generated_1_steps"] == (9 * 1 + 1) / 2
    assert not any(key.startswith("cpu_seconds") and "generated" not in key for key in report)


def small_report(folder: Path) -> dict:
    archive = write_things(folder / "things.zip")
    model = write_model(folder / "model", archive)
    protocol = write_protocol(
        folder / "tiny.json", memorisation=0, sets=["generated"], metrics=["frechet"], resamples=0
    )
    evaluation = evaluate(
        open_judged_model(model, Archive(folder / "things.zip")), protocol_run(protocol), folder / "out"
    )
    assert evaluation is not None
    return json.loads(json.dumps(evaluation.report))
