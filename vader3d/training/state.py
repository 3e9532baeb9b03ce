"""Where a run is, the newest two states kept on the disk."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vader3d.files import put_in_place
from vader3d.progress import console
from vader3d.training.checkpoint import load_state, save_state
from vader3d.training.distributed import Processes
from vader3d.training.ema import MovingAverage
from vader3d.untrusted import reading

NEWEST, PREVIOUS = "state.pt", "state.previous.pt"


def has_state(run: Path) -> bool:
    """Whether a training of this folder has begun."""
    return (run / NEWEST).exists() or (run / PREVIOUS).exists()


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
        self.newest, self.previous, self.title = run / NEWEST, run / PREVIOUS, title
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
                self.take_over(path)
            except ValueError as error:
                problems.append(str(error))
                continue
            self.newest_is_whole = path == self.newest
            if self.processes.is_main:
                if problems:
                    console.print(f"{self.title}: {problems[0]}; {path.name}, the state before, takes over")
                console.print(f"{self.title}: going on at {self.objects_seen} objects, {self.seconds:.0f} s")
            break
        else:
            if problems:
                raise ValueError("; ".join([*problems, "delete them to start anew"]))
        if len(starts := set(self.processes.gather([self.objects_seen])[:, 0].tolist())) > 1:
            raise ValueError(
                f"{self.newest.parent}: wanted one start for all processes; got {starts}; share the folder"
            )

    def take_over(self, path: Path) -> None:
        """ValueError: it cannot be used; what another state sets anew may then be changed."""
        state = load_state(path)
        with reading(path, "the state of this model"):
            seen, seconds, skipped = int(state["seen"]), float(state["seconds"]), int(state["skipped"])
            if min(seen, seconds, skipped) < 0 or not math.isfinite(seconds):
                raise ValueError(f"counters: wanted at least 0; got {seen}, {seconds}, {skipped}")
            for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
                check_optimiser(optimiser, values)
                optimiser.load_state_dict(values)
            self.model.load_state_dict(state["model"])
            self.average.module.load_state_dict(state["average"])
        self.objects_seen, self.seconds, self.skipped, self.saved = seen, seconds, skipped, seen

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


def check_optimiser(optimiser: torch.optim.Optimizer, values: dict[str, Any]) -> None:
    """ValueError unless a saved state is one of these parameters, for torch takes over what it is given."""
    for own, saved in zip(optimiser.param_groups, values["param_groups"], strict=True):
        for name, value in own.items():
            found = saved.setdefault(name, value)  # torch versions differ in what they keep
            if value is not None and found is not None and not isinstance(found, type(value)):
                raise ValueError(f"{name}: wanted one as {value!r}; got {found!r}")
        for number, parameter in zip(saved["params"], own["params"], strict=True):
            rows, whole = parameter.shape[:1], parameter.shape
            shapes = {torch.Size(), rows, whole, torch.Size([*rows, parameter.numel() // max(1, *rows, 1)])}
            for name, value in values["state"].get(number, {}).items():
                free = name in getattr(optimiser, "of_any_length", ())
                if isinstance(value, torch.Tensor) and not (free and value.dim() == 1) and value.shape not in shapes:
                    raise ValueError(f"{name}: wanted a number a weight, {list(whole)}; got {list(value.shape)}")
