"""How far the parts of a data set are, told from the notes beside it."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from vader3d.data.making.ledger import DOING, FINISHED, LEDGER, Ledger, Output, PartNote
from vader3d.files import in_words, note_in
from vader3d.untrusted import read_json, reading

RECENT = 64  # parts, the last ones, by which the rate is told
REASONS = 12  # that are printed
NUMBERS = re.compile(r"\d+(\.\d+)?")


@dataclass
class Status:
    """What is done of a data set; `failed` counts objects by reason, numbers in it left out.

    objects_per_second: of the last parts; None before there are two. seconds_left: at that rate.
    """

    output: str
    objects: int
    done: int = 0
    parts: int = 0
    parts_done: int = 0
    finished: bool = False
    failed: dict[str, int] = field(default_factory=dict)
    deaths: int = 0
    objects_per_second: float | None = None
    seconds_left: float | None = None
    workers: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        failed = sum(self.failed.values())
        said = f"{self.done} of {self.objects} objects, {self.parts_done} of {self.parts} parts"
        lines = [f"{self.output}: {'finished: ' if self.finished else ''}{said}, {failed} failed"]
        if self.objects_per_second is not None:
            lines.append(f"{self.objects_per_second:.2f} objects a second")
            if self.seconds_left is not None and not self.finished:
                lines[-1] += f", {timedelta(seconds=round(self.seconds_left))} left"
        lines += [f"  failed {count}: {reason}" for reason, count in [*self.failed.items()][:REASONS]]
        lines += [f"{self.deaths} processes died of an object"] if self.deaths else []
        return "\n".join([*lines, *(f"  {worker}" for worker in self.workers)])


def status_of(folder: Path) -> Status:
    """Of an output, or of the folder of its parts. ValueError: nothing is being prepared there."""
    folder = folder if (folder / LEDGER).is_file() else folder.with_name(f"{folder.name}.parts")
    if not (folder / LEDGER).is_file():
        raise ValueError(
            f"folder: wanted an output that is being prepared, or its .parts; got {folder.with_suffix('')}, which is "
            "not; once all is done the notes on it go"
        )
    with reading(folder / LEDGER, "a ledger"):
        about = read_json(folder / LEDGER)
        status = Status(str(about["output"]), int(about["objects"]), parts=int(about["parts"]))
    path = folder.with_suffix("")
    ledger = Ledger(Output(path, "", (1, 1)), status.parts)
    notes = [ledger.note(number) for number in range(status.parts) if ledger.is_done(number)]
    status.parts_done, status.finished = len(notes), (folder / FINISHED).exists()
    status.done = sum(len(note.made) for note in notes)
    reasons = Counter(NUMBERS.sub("N", why) for note in notes for _, _, why in note.skipped)
    status.failed = dict(reasons.most_common())
    status.deaths = sum(len(path.read_bytes().splitlines()) for path in folder.glob("part-*.deaths.jsonl"))
    status.objects_per_second = rate_of(notes)
    if status.objects_per_second:
        left = status.objects - status.done - sum(reasons.values())
        status.seconds_left = left / status.objects_per_second
    locks = sorted(folder.glob(".part-*.lock"))
    now = time.time()
    for lock in locks:
        number = lock.name.split(".")[1]
        doing = folder / f"{number}{DOING}"
        at = f", at {doing.read_text('utf-8')}" if doing.exists() else ""
        status.workers.append(f"{number}: {in_words(note_in(lock))}; alive {now - lock.stat().st_mtime:.0f} s ago{at}")
    return status


def rate_of(notes: Sequence[PartNote]) -> float | None:
    """Objects a second of the parts that ended last, those that failed among them."""
    recent = sorted(notes, key=lambda note: note.finished)[-RECENT:]
    if len(recent) < 2 or recent[-1].finished <= recent[0].finished:
        return None
    objects = sum(len(note.made) + len(note.skipped) for note in recent[1:])
    return objects / (recent[-1].finished - recent[0].finished)
