"""The one command that compares solvers fills its table."""

import runpy
from pathlib import Path

import pytest
from judged_models import tiny_features, write_model
from tiny import write_things

from vader3d.frozen import embeddings

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "solvers.py"


def test_solvers_are_compared(tmp_path, monkeypatch):
    write_model(tmp_path / "model", write_things(tmp_path / "things.zip"))
    monkeypatch.setattr(embeddings, "load_features", lambda name: tiny_features("tiny"))
    output = tmp_path / "solvers.md"
    arguments = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "things.zip"), "--output", str(output)]
    runpy.run_path(str(BENCHMARK))["main"]([*arguments, "--samples", "5", "--quick"])
    rows = [line.strip("| ").split(" | ") for line in output.read_text().splitlines() if line.startswith("| ")]
    assert [row[:3] for row in rows[1:]] == [
        ["Heun", "4", "7"],
        ["DPM-Solver++(2M)", "4", "4"],
        ["Heun, other noise", "4", "7"],
    ]
    assert rows[1][5:] == ["+0.0 %", "0.000"]
    first, second = float(rows[1][4]), float(rows[2][4])
    assert float(rows[2][5].removesuffix(" %")) == pytest.approx(100 * (second / first - 1), abs=20)
    assert float(rows[2][6]) > 0
