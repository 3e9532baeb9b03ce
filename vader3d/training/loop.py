"""The training loop both stages run, as one function."""

import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from vader3d.config import Checked, free, ranged
from vader3d.files import write_whole
from vader3d.machine import Precision, keep_freed_memory, peak_flops, working_dtype
from vader3d.progress import console, progress_bar
from vader3d.randomness import step_generator
from vader3d.training.distributed import ONE_PROCESS, Processes
from vader3d.training.ema import MovingAverage, Network
from vader3d.training.errors import Terminated, TrainingDiverged
from vader3d.training.log import MetricLog
from vader3d.training.optimisers import FadedAdam
from vader3d.training.speed import counted_flops, profiled
from vader3d.training.state import RunState
from vader3d.training.step import GradientStep, gradient_norm, scale_gradients
from vader3d.training.stopping import StopRequests

NAMED_OBJECTS = 8  # of a batch that went wrong
SNAPSHOTS = "snapshots"  # of averaged models, by the objects they have seen
NAMED_TENSORS = 3  # of a model that did


@dataclass(frozen=True)
class LoopConfig(Checked):
    """How long, how often, from which seed. Training ends at `objects_seen` or `seconds`, whichever comes first.

    What is `free` may change when a run goes on: how long, where, and what it shows.
    """

    objects_seen: int = free(1_000_000, at_least=1)  # objects to train on, each counted as often as it is used
    # of training, summed over resumed runs; None: objects_seen alone ends it
    seconds: float | None = free(None, above=0)
    batch: int = ranged(8, at_least=1)  # objects a step, of all processes together
    # parts a batch is computed in, one after the other; batch norms see one part at a time
    accumulate: int = ranged(1, at_least=1)
    warmup: float = ranged(0.0, at_least=0, at_most=1)  # share of the run in which learning rates rise from zero
    # share of the run in which they fall linearly to zero; 1 = the paper's linear decay (A19)
    cooldown: float = ranged(1.0, at_least=0, at_most=1)
    ema_half_life: float = ranged(2000.0, at_least=0)  # of the moving average of the weights, in objects
    gradient_clip: float = ranged(0.0, at_least=0)  # largest norm over all parameters; 0: any (A35)
    precision: Precision = free("auto")  # auto: bfloat16 where the machine has matrix units for it, else float32
    device: Literal["auto", "cpu", "cuda"] = free("auto")  # auto: cuda where there is a GPU
    recompute: bool = free(False)  # activation checkpointing: blocks keep their input only and run twice
    compile: bool = free(False)  # the network's blocks by torch.compile
    sync_norms: bool = True  # batch norms see the batch of all processes
    skipped_steps: int = free(20, at_least=0)  # steps with a non-finite loss or gradient are skipped at most so often
    log_seconds: float = free(2.0, at_least=0)  # between lines in metrics.jsonl
    checkpoint_seconds: float = free(60.0, at_least=0)  # between writes of the state to go on from
    preview_seconds: float = free(60.0, at_least=0)  # between preview pictures
    # shares of the run after which the averaged model is also kept, in snapshots/: what guides a later one
    keep_snapshots: tuple[float, ...] = free((), above=0, below=1)
    seed: int = ranged(0, at_least=0, below=1 << 63)  # of initial weights and of every step's randomness


class Task(Protocol[Network]):
    """What a stage brings to the loop."""

    model: Network
    optimisers: list[torch.optim.Optimizer]
    blocks: list[nn.Module]  # of the network: what is recomputed or compiled, each by itself
    views_per_object: int  # rendered in a step; 0: none

    def losses(
        self, *, objects_seen: int, batch: int, progress: float, generator: torch.Generator, share: slice = slice(None)
    ) -> dict[str, Tensor]:
        """Named loss terms, means over the places `share` of a batch of `batch` objects; their sum is minimised.

        `generator` is the step's own randomness: draw for the whole batch, then take the share.
        """

    def names(self, *, objects_seen: int, batch: int, generator: torch.Generator, share: slice) -> list[str]:
        """The objects at those places."""

    def measures(self) -> dict[str, float]:
        """Numbers to log beside the losses."""

    def preview(self, model: Network) -> Any:
        """A PIL image of the state of things, or None."""

    def snapshot(self, model: Network, path: Path) -> None:
        """Write what is handed on."""


def share_done(config: LoopConfig, objects_seen: int, seconds: float) -> float:
    """How much of the run is over, by whichever ends it first: objects or seconds."""
    return max(objects_seen / config.objects_seen, seconds / config.seconds if config.seconds is not None else 0.0)


def learning_rate_factor(progress: float, *, warmup: float, cooldown: float) -> float:
    """1, after a linear rise over `warmup` and before a linear fall to 0 over `cooldown` (shares of the run)."""
    rise = 1.0 if warmup == 0 else min(1.0, progress / warmup)
    return rise * min(1.0, (1 - progress) / max(cooldown, 1e-9))


def train(
    task: Task[Network],
    config: LoopConfig,
    run: Path,
    *,
    title: str,
    processes: Processes = ONE_PROCESS,
    profile: int = 0,
) -> Network:
    """Run `task` to its end and return the averaged model; the same call again goes on from the last state.

    `processes` share every batch; the main one alone writes and talks. profile: so many steps are traced.
    Ctrl-C or SIGTERM let the step in progress end and write the state, then raise KeyboardInterrupt or Terminated; one
    that hangs is left after seconds, or at a second Ctrl-C, with the state from before it.
    TrainingDiverged: too many non-finite steps, or none but such, or weights that are not finite at the end.
    OSError: the disk is full; the last state is whole.
    """
    keep_freed_memory()
    # Go on where an earlier process stopped.
    average = MovingAverage(task.model, half_life=config.ema_half_life)
    state = RunState(
        run, title=title, model=task.model, average=average, optimisers=task.optimisers, processes=processes
    )
    base_rates = [[group.setdefault("base_lr", group["lr"]) for group in o.param_groups] for o in task.optimisers]
    gradients = GradientStep(
        task,
        processes=processes,
        batch=config.batch,
        accumulate=config.accumulate,
        seed=config.seed,
        recompute=config.recompute,
        compiled=config.compile,
        synchronised_norms=config.sync_norms,
    )
    log = MetricLog(run, objects_seen=state.objects_seen, writes=processes.is_main)
    clock = time.monotonic()
    logged, saved, previewed = clock, clock, clock
    stop, flops = 0, 0.0
    totals: dict[str, list[float]] = {}

    def save_before_the_step() -> None:
        average.restore_buffers(task.model)  # norms have seen the values of the step
        state.save()
        if processes.is_main:
            console.print(f"{title}: the step does not end; stopped at {state.objects_seen} objects, before it")

    bar = progress_bar(title, start=share_done(config, state.objects_seen, state.seconds), shown=processes.is_main)
    tracing = profiled(run, profile if processes.is_main else 0)
    with bar as advance, StopRequests(save_before_the_step) as stops, tracing as step_done:
        try:
            while True:
                stop = stop or (stops.request if processes.size == 1 else 0)
                if stop:
                    with stops.lock:
                        stops.heeded = True
                        state.save()
                    if processes.is_main:
                        console.print(
                            f"{title}: stopped at {state.objects_seen} objects; the same command goes on from here"
                        )
                    raise Terminated if stop == signal.SIGTERM else KeyboardInterrupt
                progress = share_done(config, state.objects_seen, state.seconds)
                if progress >= 1:
                    break

                # One step, with its own randomness.
                factor = learning_rate_factor(progress, warmup=config.warmup, cooldown=config.cooldown)
                for optimiser, rates in zip(task.optimisers, base_rates, strict=True):
                    for group, rate in zip(optimiser.param_groups, rates, strict=True):
                        group["lr"] = rate * factor
                if processes.is_main and not flops and not config.compile:
                    with counted_flops() as counts:
                        own_terms = gradients(objects_seen=state.objects_seen, progress=progress)
                    flops = sum(counts)
                else:
                    own_terms = gradients(objects_seen=state.objects_seen, progress=progress)

                # What the processes have to agree on: losses, the wish to stop, the main process's clock.
                own = {**own_terms, "loss": sum(own_terms.values())}
                gathered = processes.gather([*own.values(), stops.request, time.monotonic()])
                terms = dict(zip(own, gathered.mean(0).tolist(), strict=False))
                stop, now = int(gathered[:, -2].max()), float(gathered[0, -1])
                norm = gradient_norm(task.model)
                if math.isfinite(norm + terms["loss"]):
                    if config.gradient_clip and norm > config.gradient_clip:
                        scale_gradients(task.model, config.gradient_clip / norm)
                    with stops.lock:
                        for optimiser in task.optimisers:
                            optimiser.step()
                        state.objects_seen += config.batch
                        average.update(task.model, batch=config.batch, objects_seen=state.objects_seen)
                else:
                    state.skipped += 1
                    what = describe_failure(task, config, state.objects_seen, terms, gathered, processes)
                    if processes.is_main:
                        console.print(f"{title}: {what}; skipped ({state.skipped} of at most {config.skipped_steps})")
                    if state.skipped > config.skipped_steps:
                        raise TrainingDiverged(
                            f"{title}: {state.skipped} non-finite steps, the last: {what}; lower the learning rate"
                        )
                    average.restore_buffers(task.model)
                    task.model.zero_grad(set_to_none=True)
                    state.objects_seen += config.batch
                    continue
                task.model.zero_grad(set_to_none=True)
                step_done()

                # The clock, the numbers, the pictures, the state.
                state.seconds, clock = state.seconds + now - clock, now
                for name, value in {**terms, "gradient_norm": norm}.items():
                    totals.setdefault(name, []).append(value)
                done = share_done(config, state.objects_seen, state.seconds)
                last = done >= 1
                if processes.is_main and any(progress < share <= done for share in config.keep_snapshots):
                    task.snapshot(average.module, run / SNAPSHOTS / f"{state.objects_seen:09d}.safetensors")
                if processes.is_main and (last or now - logged >= config.log_seconds):
                    means = {name: sum(values) / len(values) for name, values in totals.items()}
                    steps_a_second = len(totals["loss"]) / (now - logged)
                    rate = steps_a_second * config.batch
                    speeds = {"objects_per_second": rate, "seconds": state.seconds, "learning_rate_factor": factor}
                    if task.views_per_object:
                        speeds["views_per_second"] = rate * task.views_per_object
                    if flops:
                        speeds["flops_per_second"] = steps_a_second * flops * processes.size
                        peak = peak_flops(processes.device.type, working_dtype(config.precision, processes.device))
                        speeds["share_of_peak"] = steps_a_second * flops / peak
                    log.write(state.objects_seen, {**means, **speeds, **task.measures()})
                    advance(progress, f"{state.objects_seen} objects seen, {rate:.1f}/s, loss {means['loss']:.4f}")
                    totals, logged = {}, now
                if processes.is_main and now - previewed >= config.preview_seconds:
                    write_preview(task, average.module, run, log, state.objects_seen)
                    previewed = time.monotonic()
                if now - saved >= config.checkpoint_seconds:
                    with stops.lock:
                        state.save()
                    saved = time.monotonic() if processes.is_main else now
        except OSError:
            console.print(
                f"{title}: stopped; the state at {state.saved} objects is whole, the same command goes on there"
            )
            raise
        finally:
            log.close()
        advance(1.0, f"{state.objects_seen} objects seen in {state.seconds:.0f} s")
    task.model.eval()
    for optimiser in task.optimisers:
        if isinstance(optimiser, FadedAdam):
            optimiser.settle()
    check_what_was_learned(average.module, title=title, steps=state.objects_seen // config.batch - state.skipped)
    state.save()
    if processes.is_main:
        write_preview(task, average.module, run, None, state.objects_seen)
        task.snapshot(average.module, run / "model.safetensors")
    return average.module


def check_what_was_learned(model: nn.Module, *, title: str, steps: int) -> None:
    """TrainingDiverged where there was no step but skipped ones, or a weight or a norm's statistic is not finite."""
    if steps < 1:
        raise TrainingDiverged(f"{title}: all steps were non-finite and skipped; lower the learning rate")
    if bad := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
        more = f" and {len(bad) - NAMED_TENSORS} more" if len(bad) > NAMED_TENSORS else ""
        raise TrainingDiverged(
            f"{title}: {', '.join(bad[:NAMED_TENSORS])}{more} not finite at the end; lower the learning rate"
        )


def describe_failure(
    task: Task, config: LoopConfig, objects_seen: int, terms: dict[str, float], gathered: Tensor, processes: Processes
) -> str:
    """Which loss, or the gradient; which step; which objects: of the processes whose own loss it was, else all."""
    bad = [name for name, value in terms.items() if not math.isfinite(value) and name != "loss"]
    finite = gathered[:, : len(terms)].isfinite().all(1)
    places: list[slice] = [slice(0, config.batch)]
    if bad and processes.size > 1:
        failed = [Processes(rank, processes.size) for rank in range(processes.size) if not finite[rank]]
        parts = range(config.accumulate)
        places = [m.share(config.batch, part=part, parts=config.accumulate) for m in failed for part in parts]
    names: list[str] = []
    for share in places:
        generator = step_generator(config.seed, objects_seen)
        names += task.names(objects_seen=objects_seen, batch=config.batch, generator=generator, share=share)
    more = f" and {len(names) - NAMED_OBJECTS} more" if len(names) > NAMED_OBJECTS else ""
    what = f"loss {', '.join(bad)}" if bad else "gradient"
    objects = ", ".join(names[:NAMED_OBJECTS]) + more
    return f"non-finite {what} at {objects_seen} objects, step {objects_seen // config.batch} (of {objects})"


def write_preview(task: Task[Network], model: Network, run: Path, log: MetricLog | None, objects_seen: int) -> None:
    image = task.preview(model)
    if image is None:
        return
    path = run / "previews" / f"{objects_seen:09d}.png"
    write_whole(path, lambda temporary: image.save(temporary, "PNG"))
    if log is not None:
        log.picture("preview", image, objects_seen)
