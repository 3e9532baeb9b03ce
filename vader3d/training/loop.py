"""The training loop both stages run: one function, its clock counted in objects seen and in seconds."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from vader3d.progress import console, progress_bar
from vader3d.training.checkpoint import load_state, save_state
from vader3d.training.ema import MovingAverage, Network
from vader3d.training.log import MetricLog


@dataclass(frozen=True)
class LoopConfig:
    """How long, how often, from which seed. Training ends at `objects_seen` or `seconds`, whichever comes first."""

    objects_seen: int = 1_000_000
    seconds: float | None = None  # wall clock, summed over resumed runs
    batch: int = 8
    warmup: float = 0.0  # share of the run in which learning rates rise from zero
    cooldown: float = 1.0  # share of the run in which they fall linearly to zero; 1 = the paper's linear decay (A19)
    ema_half_life: float = 2000.0  # objects
    gradient_clip: float = 0.0  # norm over all parameters; 0 = off
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    skipped_steps: int = 20  # steps with a non-finite loss or gradient are skipped at most so often
    log_seconds: float = 2.0
    checkpoint_seconds: float = 60.0
    preview_seconds: float = 60.0
    seed: int = 0


class Task(Protocol[Network]):
    """What a stage brings to the loop."""

    model: Network
    optimisers: list[torch.optim.Optimizer]

    def losses(self, *, seen: int, batch: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of one batch; their sum is minimised. `generator` is the step's own randomness."""

    def preview(self, model: Network) -> Any:
        """A PIL image of the state of things, or None."""

    def snapshot(self, model: Network, path: Path) -> None:
        """Write what is handed on."""


class TrainingDiverged(RuntimeError):
    """Too many non-finite steps."""


def step_generator(seed: int, seen: int) -> torch.Generator:
    """The randomness of the step that begins at `seen` objects, so that a resumed run is the same run."""
    return torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + seen * 2 + 1) % (1 << 63))


def share_done(config: LoopConfig, seen: int, seconds: float) -> float:
    """How much of the run is over, by whichever ends it first: objects or seconds."""
    return max(seen / config.objects_seen, seconds / config.seconds if config.seconds is not None else 0.0)


def learning_rate_factor(progress: float, *, warmup: float, cooldown: float) -> float:
    """1, after a linear rise over `warmup` and before a linear fall to 0 over `cooldown` (shares of the run)."""
    rise = 1.0 if warmup == 0 else min(1.0, progress / warmup)
    return rise * min(1.0, (1 - progress) / max(cooldown, 1e-9))


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted in the list, not raised: half a step leaves no state to go on from."""
    noted: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda number, _frame: noted.append(number)) for number in numbers]
    try:
        yield noted
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def train(task: Task[Network], config: LoopConfig, run: Path, *, title: str) -> Network:
    """Run `task` to its end and return the averaged model; the same call again goes on from the last state.

    Ctrl-C or SIGTERM let the step in progress end and write the state, then raise KeyboardInterrupt.
    """
    average = MovingAverage(task.model, half_life=config.ema_half_life)
    state_path = run / "state.pt"
    seen, seconds, skipped = 0, 0.0, 0

    # Go on where an earlier process stopped.
    if state_path.exists():
        state = load_state(state_path)
        task.model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        for optimiser, values in zip(task.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        seen, seconds, skipped = state["seen"], state["seconds"], state["skipped"]
        console.print(f"{title}: going on at {seen} objects, {seconds:.0f} s")
    base_rates = [[group.setdefault("base_lr", group["lr"]) for group in o.param_groups] for o in task.optimisers]

    def save() -> None:
        save_state(state_path, {
            "model": task.model.state_dict(), "average": average.module.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in task.optimisers],
            "seen": seen, "seconds": seconds, "skipped": skipped,
        })  # fmt: skip

    log = MetricLog(run, seen=seen)
    clock = time.monotonic()
    logged, saved, previewed = clock, clock, clock
    totals: dict[str, list[float]] = {}
    with progress_bar(title, start=share_done(config, seen, seconds)) as tell, stop_requests() as stops:
        try:
            while True:
                if stops:
                    save()
                    console.print(f"{title}: stopped at {seen} objects; the same command goes on from here")
                    raise KeyboardInterrupt
                progress = share_done(config, seen, seconds)
                if progress >= 1:
                    break

                # One step, with its own randomness.
                factor = learning_rate_factor(progress, warmup=config.warmup, cooldown=config.cooldown)
                for optimiser, rates in zip(task.optimisers, base_rates, strict=True):
                    for group, rate in zip(optimiser.param_groups, rates, strict=True):
                        group["lr"] = rate * factor
                generator = step_generator(config.seed, seen)
                terms = task.losses(seen=seen, batch=config.batch, progress=progress, generator=generator)
                loss = torch.stack(list(terms.values())).sum()
                loss.backward()
                norm = gradient_norm(task.model)
                if math.isfinite(norm + loss.item()):
                    if config.gradient_clip and norm > config.gradient_clip:
                        scale_gradients(task.model, config.gradient_clip / norm)
                    for optimiser in task.optimisers:
                        optimiser.step()
                    seen += config.batch
                    average.update(task.model, batch=config.batch, seen=seen)
                else:
                    skipped += 1
                    bad = [name for name, value in terms.items() if not torch.isfinite(value)]
                    what = f"loss {', '.join(bad)}" if bad else "gradient"
                    console.print(f"{title}: non-finite {what} at {seen} objects; step skipped ({skipped})")
                    if skipped > config.skipped_steps:
                        raise TrainingDiverged(f"{title}: {skipped} non-finite steps; lower the learning rate")
                    average.restore_buffers(task.model)
                    task.model.zero_grad(set_to_none=True)
                    seen += config.batch
                    continue
                task.model.zero_grad(set_to_none=True)

                # The clock, the numbers, the pictures, the state.
                now = time.monotonic()
                seconds, clock = seconds + now - clock, now
                for name, value in {**terms, "loss": loss}.items():
                    totals.setdefault(name, []).append(value.item())
                totals.setdefault("gradient_norm", []).append(norm)
                if now - logged > config.log_seconds:
                    means = {name: sum(values) / len(values) for name, values in totals.items()}
                    rate = len(totals["loss"]) * config.batch / (now - logged)
                    log.write(seen, {**means, "objects_per_second": rate, "seconds": seconds})
                    tell(progress, f"{seen} objects seen, {rate:.1f}/s, loss {means['loss']:.4f}")
                    totals, logged = {}, now
                if now - previewed > config.preview_seconds:
                    write_preview(task, average.module, run, log, seen)
                    previewed = time.monotonic()
                if now - saved > config.checkpoint_seconds:
                    save()
                    saved = time.monotonic()
        finally:
            log.close()
        tell(1.0, f"{seen} objects seen in {seconds:.0f} s")
    task.model.eval()
    save()
    write_preview(task, average.module, run, None, seen)
    task.snapshot(average.module, run / "model.safetensors")
    return average.module


def write_preview(task: Task[Network], model: Network, run: Path, log: MetricLog | None, seen: int) -> None:
    image = task.preview(model)
    if image is None:
        return
    (run / "previews").mkdir(parents=True, exist_ok=True)
    image.save(run / "previews" / f"{seen:09d}.png")
    if log is not None:
        log.picture("preview", image, seen)


def gradient_norm(model: nn.Module) -> float:
    """Euclidean norm over all gradients, sparse ones included."""
    gradients = [
        p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters() if p.grad is not None
    ]
    return float(torch.stack(torch._foreach_norm(gradients)).norm()) if gradients else 0.0


def scale_gradients(model: nn.Module, factor: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
