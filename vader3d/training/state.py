"""Where a run is, the newest two states kept on the disk."""

from pathlib import Path
from typing import Any

from torch import nn

from vader3d.files import put_in_place
from vader3d.progress import console
from vader3d.training.checkpoint import load_state, save_state
from vader3d.training.distributed import Processes
from vader3d.training.ema import MovingAverage


class RunState:
    """Model, average and optimisers with the counters `objects_seen` (objects), `seconds` and `skipped` (steps).

    `state.pt` is the newest, `state.previous.pt` the one before; `saved` is `objects_seen` of the newest.
    """

    def __init__(
        self,
        run: Path,
        *,
        title: str,
        model: nn.Module,
        average: MovingAverage,
        optimisers: list[Any],
        processes: Processes,
    ):
        self.newest, self.previous, self.title = run / "state.pt", run / "state.previous.pt", title
        self.model, self.average, self.optimisers, self.processes = model, average, optimisers, processes
        self.objects_seen, self.seconds, self.skipped, self.saved = 0, 0.0, 0, 0
        self.newest_is_whole = False
        self.restore()

    def restore(self) -> None:
        """Take over the newest state that can be read, if there is any.

        ValueError: there are states, but none can be read; or not all processes read the same one.
        """
        problems = []
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                state = load_state(path)
            except ValueError as error:
                problems.append(str(error))
                continue
            self.take_over(state)
            self.newest_is_whole = path == self.newest
            if self.processes.is_main:
                if problems:
                    console.print(f"{self.title}: {self.newest} is damaged; {path.name}, the state before, takes over")
                console.print(f"{self.title}: going on at {self.objects_seen} objects, {self.seconds:.0f} s")
            break
        else:
            if problems:
                raise ValueError("; ".join(problems))
        if len(starts := set(self.processes.gather([self.objects_seen])[:, 0].tolist())) > 1:
            raise ValueError(
                f"{self.newest.parent}: wanted one start for all processes; got {starts}; share the folder"
            )

    def take_over(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.objects_seen, self.seconds, self.skipped = state["seen"], state["seconds"], state["skipped"]
        self.saved = self.objects_seen

    def save(self) -> None:
        """Write the newest state; what was the newest becomes the one before. One of both is whole at any moment.

        Only the main process writes. OSError, with what was there before intact: it cannot be written.
        """
        if not self.processes.is_main:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "seen": self.objects_seen,
            "seconds": self.seconds,
            "skipped": self.skipped,
        }
        save_state(self.newest, state, before=self.keep_the_newest)
        self.newest_is_whole, self.saved = True, self.objects_seen

    def keep_the_newest(self) -> None:
        if self.newest_is_whole:
            put_in_place(self.newest, self.previous)
