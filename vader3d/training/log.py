"""Numbers to metrics.jsonl and TensorBoard."""

import json
import threading
import time
from contextlib import suppress
from pathlib import Path

from PIL.Image import Image

from vader3d.files import write_text, writing
from vader3d.untrusted import parsed_json


class MetricLog:
    """Appends scalars; lines past `objects_seen` are dropped when a run goes on. `writes`: else a mute."""

    def __init__(self, run: Path, *, objects_seen: int, writes: bool = True):
        self.path, self.events, self.writer = run / "metrics.jsonl", run / "tensorboard", None
        if not writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        kept = [line for line in read_metrics(run) if line["seen"] <= objects_seen]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self.hook, threading.excepthook = threading.excepthook, untold
        with writing(self.events):
            self.writer = SummaryWriter(str(self.events), purge_step=objects_seen)

    def write(self, objects_seen: int, values: dict[str, float]) -> None:
        if self.writer is None:
            return
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seen": objects_seen, "time": round(time.time(), 2), **values}) + "\n")
        with writing(self.events):
            for name, value in values.items():
                self.writer.add_scalar(name, value, objects_seen)

    def picture(self, name: str, image: Image, objects_seen: int) -> None:
        """To TensorBoard."""
        import numpy

        if self.writer is not None:
            with writing(self.events):
                self.writer.add_image(name, numpy.asarray(image.convert("RGB")), objects_seen, dataformats="HWC")

    def close(self) -> None:
        if self.writer is not None:
            try:
                with writing(self.events):
                    self.writer.close()
            finally:
                threading.excepthook = self.hook


def untold(failure: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread dies of a full disk; who writes next is told."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)


def log_once(run: Path, values: dict[str, float]) -> None:
    """What is known at the end only, beside the run's last numbers, unless that is there already."""
    lines = read_metrics(run)
    if lines and not any(values.keys() <= line.keys() for line in lines if line["seen"] == lines[-1]["seen"]):
        log = MetricLog(run, objects_seen=lines[-1]["seen"])
        log.write(lines[-1]["seen"], values)
        log.close()


def read_metrics(run: Path) -> list[dict]:
    """All whole lines of a run's metrics.jsonl, oldest first; what a kill or damage spoilt is left out."""
    path, lines = run / "metrics.jsonl", []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        with suppress(ValueError, RecursionError):
            values = parsed_json(line)
            if isinstance(values, dict) and "seen" in values and all(map(is_number, values.values())):
                lines.append(values)
    return lines


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
