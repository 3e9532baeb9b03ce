"""How long each part of the demo took, and how long the rest will take."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vader3d.files import write_text
from vader3d.untrusted import read_json, reading

TRAININGS = ("autodecoder", "diffusion")
# The parts in their order, and which share of the time each usually takes.
SHARES = {"data": 0.01, "autodecoder": 0.79, "diffusion": 0.12, "assets": 0.03, "evaluation": 0.05}


class Clock:
    """Seconds each part took; those of the trainings, which a second call continues, over all calls.

    A part's own rate tells what is left of it once it `tell`s how far it is; of the others, their usual share does.
    shares: by part, `SHARES` where none are given; one without a share is not in what is asked for in minutes.
    """

    def __init__(self, path: Path, shares: Mapping[str, float] | None = None):
        self.path, self.shares = path, shares or SHARES
        found = read_json(path) if path.is_file() else {}
        with reading(path, "seconds by name"):
            self.parts: dict[str, float] = {name: float(found[name]) for name in TRAININGS if name in found}
        self.running, self.began, self.share = "", 0.0, 0.0
        self.first: tuple[float, float] | None = None  # when the running part first told its share, and that

    @property
    def total(self) -> float:
        """Seconds of all parts, the running one included."""
        return sum(self.parts.values()) + self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds of the running part in this call."""
        return time.monotonic() - self.began if self.running else 0.0

    def report(self) -> dict[str, float]:
        parts = {f"seconds_{name}": round(seconds, 1) for name, seconds in self.parts.items()}
        return parts | {"seconds_total": round(self.total, 1)}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part, finished or interrupted."""
        self.running, self.began, self.share, self.first = name, time.monotonic(), 0.0, None
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + self.elapsed
            self.running = ""
            write_text(self.path, json.dumps(self.parts, indent=2) + "\n")

    def tell(self, share: float) -> None:
        """So much of the running part is done; what it tells first was done before this call."""
        self.first = self.first or (time.monotonic(), share)
        self.share = share

    def left(self) -> float | None:
        """Seconds until everything is done; None before a training has shown its rate."""
        names = [*self.shares]
        place = names.index(self.running)
        whole = {name: self.parts[name] for name in names[:place] if name in TRAININGS}
        own = self.left_of_part()
        if own is not None and self.running in TRAININGS:
            whole[self.running] = self.parts.get(self.running, 0.0) + self.elapsed + own
        if not whole:
            return None
        pace = sum(whole.values()) / sum(self.shares[name] for name in whole)
        expected = {name: max(0.0, pace * self.shares[name] - self.parts.get(name, 0.0)) for name in names[place:]}
        own = max(0.0, expected[self.running] - self.elapsed) if own is None else own
        return own + sum(expected[name] for name in names[place + 1 :])

    def left_of_part(self) -> float | None:
        """Seconds that the running part still takes at its rate in this call; None before it is known."""
        if self.share == 1:
            return 0.0
        if self.first is None or self.share <= self.first[1]:
            return None
        began, start = self.first
        return (time.monotonic() - began) * (1 - self.share) / (self.share - start)
