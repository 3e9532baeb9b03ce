"""The drawing of a run's losses: well-formed, one line a loss; a folder without losses is named."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from processes import environment

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "learning_curve.py"


def drawn(run: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(run), str(run / "curve.svg")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())


def test_every_loss_that_was_logged_is_a_line(tmp_path):
    lines = [{"seen": 8 * n, "mask": 1 / n, "perceptual": 9 / n, "pixel": 0.0} for n in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert drawn(tmp_path).returncode == 0
    drawing = ElementTree.parse(tmp_path / "curve.svg").getroot()
    names = {element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert {"perceptual", "mask"} <= names
    assert "pixel" not in names


def test_a_folder_without_losses_is_named(tmp_path):
    result = drawn(tmp_path)
    assert result.returncode != 0
    assert str(tmp_path) in result.stderr
