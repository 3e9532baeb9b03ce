"""Numbers to metrics.jsonl and TensorBoard."""

import json
import time
from pathlib import Path


class MetricLog:
    """Appends scalars; lines past `seen` are dropped when a run goes on from an older state."""

    def __init__(self, run: Path, *, seen: int):
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line["seen"] <= seen]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=seen)

    def write(self, seen: int, values: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seen": seen, "time": round(time.time(), 2), **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, seen)

    def picture(self, name: str, image, seen: int) -> None:
        """A PIL image, to TensorBoard."""
        import numpy

        self.writer.add_image(name, numpy.asarray(image.convert("RGB")), seen, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


def read_metrics(run: Path) -> list[dict]:
    """All whole lines of a run's metrics.jsonl, oldest first; a last line cut short by a kill is left out."""
    path, lines = run / "metrics.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
