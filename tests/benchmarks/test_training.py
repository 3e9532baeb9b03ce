"""The one command that measures training runs to its end and fills its tables."""

import json
import runpy
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("results")
    arguments = ["--preset", "tiny", "--quick", "--device", "cpu", "--output", str(folder)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # as for a program, which imports what lies beside it
        runpy.run_path(str(BENCHMARK))["main"](arguments)
    torch.set_num_threads(before)
    table = (folder / "training-cpu.md").read_text()
    assert all(name in table for name in ("| autodecoder |", "| diffusion |", "shards", "| plain | 2 | 2 |"))
    return json.loads((folder / "training-cpu.json").read_text())


@pytest.mark.parametrize("stage", ["autodecoder", "diffusion"])
def test_a_step_is_slower_than_its_layers_alone_and_all_of_it_is_told(report, stage):
    row = report[stage]
    assert 0 < row["share_of_own_layers"] < 1
    assert row["gradients_ms"] > 0
    assert row["gflops"] == pytest.approx(row["gflop"] / row["ms"] * 1e3)
    peaks = report["peaks"][row["precision"]]
    assert row["share_of_conv_peak"] == pytest.approx(row["gflops"] * 1e9 / peaks["conv"])
    assert row["share_of_matrix_peak"] == pytest.approx(row["gflops"] * 1e9 / peaks["matrix"])


def test_rendering_is_a_part_of_the_first_stage(report):
    assert 0 < report["autodecoder"]["rendering"] < 1


def test_loading_is_compared_with_what_a_step_takes(report):
    assert set(report["views_per_second"]) == {"a step takes", "archive in memory", "shards, half in the buffer"}
    assert all(rate > 0 for rate in report["views_per_second"].values())
    assert report["autodecoder"]["loading_ms"] > 0
    assert report["memory_gb"] is None  # of GPUs only
