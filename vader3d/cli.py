"""The command line: parse, call, print."""

import functools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from tyro.conf import Positional

from vader3d.cli_evaluate import evaluate_command, print_scores
from vader3d.cli_prepare import (
    prepare_chairs_command,
    prepare_meshes_command,
    prepare_nerfstudio_command,
    prepare_shards_command,
    prepare_srn_command,
)
from vader3d.cli_study import Settings, study_command


def inspect_command(data: Positional[str], *, output: Path = Path("runs/inspect")) -> None:
    """Look at a data set: counts, a contact sheet, a 3D plot of cameras and cube, problems found.

    Args:
        data: An archive, a folder or URL of shards, or furniture, furniture-all, chairs.
        output: Folder for the pictures and the plot.
    """
    from vader3d.data.archive import open_archive
    from vader3d.data.inspect import inspect_archive

    print(inspect_archive(open_archive(data), output))


def train_autodecoder_command(
    *, data: str, output: Path, preset: str = "small", minutes: float | None = None, settings: Settings = (),
    dry_run: bool = False, profile: int = 0,
) -> None:  # fmt: skip
    """Stage 1: learn codes and decoder from posed pictures. The same command again goes on where it stopped.

    Args:
        data: An archive, a folder or URL of shards, or furniture, furniture-all, chairs.
        output: The run folder.
        preset: See `vader3d presets`.
        minutes: Stop after so many, learning rates falling in time; else the preset's number of objects.
        settings: Overrides, e.g. --set decoder.code_length=512 --set loop.batch=4.
        dry_run: Print the resolved configuration, with what it costs, and stop.
        profile: Trace so many steps; leaves profile/trace.json in the run folder.
    """
    from vader3d.autodecoder.train import train_autodecoder
    from vader3d.data.archive import open_archive, trainable_objects
    from vader3d.presets import preset as named_preset

    config = resolved(named_preset(preset).autodecoder, settings, minutes)
    if dry_run:
        from vader3d.costs import autodecoder_cost

        opened = open_archive(data)
        cost = autodecoder_cost(config, objects=len(opened), picture_px=max(opened.resolution))
        return print_dry_run(config, cost)
    archive, problems = trainable_objects(open_archive(data))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    train_autodecoder(archive, config, output, profile=profile)
    say(f"{output}: {len(archive)} objects trained, {len(problems)} skipped; next: vader3d train diffusion")
    return None


def train_diffusion_command(
    *, autodecoder: Path, output: Path, preset: str = "small", minutes: float | None = None, settings: Settings = (),
    dry_run: bool = False, profile: int = 0,
) -> None:  # fmt: skip
    """Stage 2: learn to denoise the latents of a trained autodecoder. The same command again goes on.

    Args:
        autodecoder: The run folder of stage 1.
        output: The run folder of stage 2; it holds all that generation needs.
        preset: See `vader3d presets`.
        minutes: Stop after so many, learning rates falling in time; else the preset's number of objects.
        settings: Overrides, e.g. --set unet.dropout=0.1.
        dry_run: Print the resolved configuration, with what it costs, and stop.
        profile: Trace so many steps; leaves profile/trace.json in the run folder.
    """
    from vader3d.diffusion.train import train_diffusion
    from vader3d.presets import preset as named_preset

    config = resolved(named_preset(preset).diffusion, settings, minutes)
    if dry_run:
        from vader3d.costs import diffusion_cost
        from vader3d.snapshots import read_header

        snapshot, shape = autodecoder / "model.safetensors", named_preset(preset).autodecoder.decoder.latent_shape
        if snapshot.is_file():
            from vader3d.autodecoder.model import AutodecoderConfig
            from vader3d.config import config_from_dict

            shape = config_from_dict(AutodecoderConfig, read_header(snapshot)["config"]).decoder.latent_shape
        return print_dry_run(config, diffusion_cost(config, latent_shape=shape))
    train_diffusion(autodecoder, config, output, profile=profile)
    say(f"{output}: trained; next: vader3d generate --model {output} --output assets")
    return None


def generate_command(
    *, model: Path, output: Path, count: int = 8, seed: int = 0, steps: int = 32, stochastic: bool = False,
    formats: tuple[Literal["glb", "obj", "ply", "webp"], ...] = ("glb", "webp"),
    device: Literal["auto", "cpu", "cuda"] = "auto", compiled: bool = False,
) -> None:  # fmt: skip
    """New 3D assets: coloured meshes and turntables.

    Args:
        model: The run folder of stage 2.
        output: Folder for the assets.
        count: How many.
        seed: Object i of a seed is always the same.
        steps: Sampling steps; more is finer and slower.
        stochastic: Add fresh noise while sampling, as in the paper's main results.
        formats: What to write of each object; webp is a turntable.
        device: auto takes a GPU where there is one.
        compiled: Compile the denoiser first (a minute); on a GPU it then runs as a CUDA graph.
    """
    from vader3d.assets import save_assets
    from vader3d.diffusion.sampler import STOCHASTIC, Churn
    from vader3d.generate import Generator

    generator = Generator.from_pretrained(model, device=device)
    generator = generator.compiled() if compiled else generator
    assets = generator(count, seed=seed, steps=steps, churn=STOCHASTIC if stochastic else Churn())
    written, empty = save_assets(assets, output, formats=formats)
    print(f"{output}: {len(written)} files of {count} objects" + (f"; {empty} were empty" if empty else ""))


def presets_command() -> None:
    """The named configurations: what they are for, their sizes, memory and arithmetic of a step, score where known.

    Memory is of training on one device at the preset's batch: weights, optimiser, averages, codes, and what the forward
    pass keeps; the renderer's buffers come on top.
    """
    from vader3d.presets import COLUMNS, PRESETS, preset_row

    print(COLUMNS)
    for name in PRESETS:
        print(preset_row(name), flush=True)
    for name, preset in PRESETS.items():
        codes = preset.storage_note()
        print(f"\n{name}: {preset.note}\n    {codes}\n    score: {preset.score}")


def weights_command(name: Positional[str] = "") -> None:
    """Weights of frozen networks: the list, or download one and verify its checksum. No other command does.

    Without internet, fetch the URL elsewhere and put the file into the cache folder, or name it (--set
    losses.trunk_weights=PATH).

    Args:
        name: Which; without a name all are listed, with their files, URLs and where they lie here.
    """
    from vader3d.files import cache_folder
    from vader3d.frozen.weights import WEIGHTS, download_weights, usual_places

    if name:
        return print(download_weights(name))
    for known, weights in WEIGHTS.items():
        lies = next((str(place) for place in usual_places(known) if place.is_file()), "not here")
        print(f"{known}: {weights.what}\n    {weights.url}\n    {lies}")
    return print(f"cache: {cache_folder()}")


def doctor_command() -> None:
    """What this machine has, what is missing, and how to mend it."""
    from vader3d.doctor import findings

    for finding in findings():
        print(finding)


def demo_command(
    *, data: str = "furniture", minutes: float = 10.0, output: Path = Path("runs/demo"), seed: int = 0
) -> None:
    """From pictures to new 3D assets: trains both stages, generates 16 objects, writes a page with scores.

    Args:
        data: furniture, furniture-all, chairs, or an archive.
        minutes: For everything; training takes what the rest leaves.
        output: The run folder; open its index.html. The same command again goes on.
        seed: Of training and samples.
    """
    from vader3d.demo import run_demo

    scores = run_demo(data, minutes=minutes, output=output, seed=seed)
    print_scores(scores)
    print(f"open {output / 'index.html'}")


def resolved(config: Any, settings: tuple[str, ...], minutes: float | None) -> Any:
    """A preset's configuration with --set and --minutes applied."""
    from vader3d.config import override

    budget = [] if minutes is None else [f"loop.seconds={minutes * 60}", "loop.objects_seen=1000000000"]
    return override(config, [*budget, *settings])


def print_dry_run(config: Any, cost: Any) -> None:
    """The resolved configuration as JSON; beside it, on standard error, what it will cost."""
    import torch

    from vader3d.config import config_to_dict
    from vader3d.machine import peak_flops, working_dtype

    print(json.dumps(config_to_dict(config), indent=2))
    loop = config.loop
    device = "cuda" if loop.device != "cpu" and torch.cuda.is_available() else "cpu"
    dtype = working_dtype(loop.precision, device)
    peak = peak_flops(device, dtype)
    note(f"memory: about {cost.state_bytes / 1e9:.2f} GB for weights, gradients, optimisers, averages and codes")
    note(f"        and {cost.activation_bytes / 1e9:.2f} GB for a batch of {loop.batch} at once, on one device")
    note(f"one step: {cost.flops / 1e12:.3g} TFLOP; {cost.parameters / 1e6:.1f} M parameters in the network")
    name = str(dtype).removeprefix("torch.")
    note(f"this machine: {peak / 1e12:.3g} TFLOP/s of {name} in a large matrix product on its {device}")
    steps = loop.objects_seen / loop.batch
    if loop.seconds is not None:
        steps = min(steps, loop.seconds * peak / cost.flops)
    seconds = steps * cost.flops / peak
    note(f"at most {steps:.3g} steps, {steps * cost.flops:.2g} FLOP: {seconds / 3600:.2g} hours here at best")


def say(what: str) -> None:
    """Printed once, by the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(what)


def note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same signature and help, but called by the parser it only notes its arguments: errors are ours to word."""

    @functools.wraps(command)
    def noted(*arguments, **options):
        return functools.partial(command, *arguments, **options)

    return noted


def choice(commands: dict[str, Any]) -> Any:
    """Named commands as one type that tyro reads into the chosen one, ready to be called."""
    kinds = [Annotated[Any, tyro.conf.subcommand(name, constructor=call)] for name, call in commands.items()]
    return Union[tuple(kinds)]  # noqa: UP007


def group(description: str, commands: dict[str, Any]) -> Callable[..., Callable[[], None]]:
    """Named commands under one name of their own."""

    def chosen(command):
        return command

    chosen.__doc__, chosen.__annotations__["command"] = description, choice(commands)
    return chosen


COMMANDS = {
    "demo": later(demo_command),
    "prepare": group("Make an archive of posed pictures from meshes or another format; or pack one into shards.", {
        "meshes": later(prepare_meshes_command), "chairs": later(prepare_chairs_command),
        "nerfstudio": later(prepare_nerfstudio_command), "srn": later(prepare_srn_command),
        "shards": later(prepare_shards_command),
    }),
    "inspect": later(inspect_command),
    "train": group("Train stage 1 (autodecoder) or stage 2 (diffusion).", {
        "autodecoder": later(train_autodecoder_command), "diffusion": later(train_diffusion_command),
    }),
    "generate": later(generate_command), "evaluate": later(evaluate_command), "study": later(study_command),
    "presets": later(presets_command), "weights": later(weights_command), "doctor": later(doctor_command),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done, 2 bad input or a full disk (one line says what and how to mend it), 3 training diverged,
    130 stopped by Ctrl-C, 143 stopped by SIGTERM (both with the state written: the same command goes on).
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # read when torch loads OpenMP, below: idle threads then soon sleep, where
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # they would else take the cores from another training
    from vader3d.training.loop import Terminated, TrainingDiverged
    from vader3d.training.team import leave_team

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    command = tyro.cli(
        choice(COMMANDS), prog="vader3d", args=arguments, config=(tyro.conf.OmitSubcommandPrefixes,),
        description="2D pictures in, a generator of 3D assets out.",
    )  # fmt: skip
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds: temporary files are deleted
    try:
        command()
    except (ValueError, OSError, ImportError, TrainingDiverged) as error:
        if os.environ.get("VADER3D_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, TrainingDiverged) else 2)
    except KeyboardInterrupt as stop:
        sys.exit(143 if isinstance(stop, Terminated) else 130)
    finally:
        signal.signal(signal.SIGTERM, before)
    leave_team()
