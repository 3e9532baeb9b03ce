"""`vader3d COMMAND`: which commands there are, and how they end."""

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from vader3d import __version__
from vader3d.cli.animate import animate_command
from vader3d.cli.auto import prepare_auto_command
from vader3d.cli.evaluate import evaluate_command, print_scores
from vader3d.cli.generate import generate_command, schema_command
from vader3d.cli.models import models_command, save_command
from vader3d.cli.parsing import checked, is_out_of_memory
from vader3d.cli.prepare import prepare_commands
from vader3d.cli.presets import presets_command
from vader3d.cli.reconstruct import reconstruct_command
from vader3d.cli.studio import studio_command
from vader3d.cli.study import study_command
from vader3d.cli.train import train_autodecoder_command, train_diffusion_command
from vader3d.training.errors import Terminated, TrainingDiverged
from vader3d.training.stopping import LAST_SECONDS, NUMBERS, leave_within, obey

if TYPE_CHECKING:
    from vader3d.data.reading.reader import Reader


def inspect_command(
    data: Positional[str],
    *,
    output: Path = Path("runs/inspect"),
    strict: bool = False,
    report: Annotated[Literal["human", "json"], tyro.conf.arg(name="format")] = "human",
) -> None:
    """Look at a data set: counts, a page with masks' outlines and cameras in 3D, problems found.

    Writes index.html (open it in a browser; it needs no other file), report.json, contact_sheet.png, cameras.html.

    Args:
        data: An archive, a folder or URL of shards, or furniture, furniture-all, chairs.
        output: Folder for what it writes.
        strict: Exit code 1 where there are problems.
        report: json prints report.json.
    """
    from vader3d.data.inspection.faults import inspect_archive
    from vader3d.data.named import open_archive
    from vader3d.pages.inspection import write_inspection_page

    found = inspect_archive(open_archive(data), output)
    page = write_inspection_page(found)
    if report == "json":
        print(json.dumps(found.facts(), indent=1, ensure_ascii=False))
    else:
        print(f"{found}\nthe page, to open in a browser: {page}")
    if strict and found.problems:
        sys.stdout.flush()
        sys.exit(1)


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


@checked
def demo_command(
    *, data: str = "furniture", minutes: float | None = None, output: Path = Path("runs/demo"), seed: int = 0
) -> None:
    """From pictures to new 3D assets: trains both stages, generates 16 objects, writes a page with scores.

    Args:
        data: furniture, furniture-all, chairs, or an archive; talking-heads makes clips of people who move (extras
            `heads` and `video`), and shows 8 new ones, driven by others' clips (docs/animation.md).
        minutes: Train by the clock, with so many for everything (but the making of clips); else on as many objects as
            the preset `small` (of people `talking-heads-small`) says, which takes longer on a slow machine and gives
            the same.
        output: The run folder; open its index.html. The same command again goes on.
        seed: Of training and samples.
    """
    from vader3d.demo.heads import HEADS, numbers, run_moving_demo
    from vader3d.demo.run import run_demo
    from vader3d.pages.charts import value_text

    if data == HEADS:
        for each in numbers(run_moving_demo(minutes=minutes, output=output, seed=seed)):
            print(f"{each.name:25}   {value_text(each.value)} {each.text}")
    else:
        print_scores(run_demo(data, minutes=minutes, output=output, seed=seed))
    print(f"the page, to open in a browser:   {output / 'index.html'}")
    for mesh in sorted((output / "assets").glob("*.glb"))[:1]:
        print(f"the first of the new objects:     {mesh}")
    program = sys.argv[0] if Path(sys.argv[0]).stem == "vader3d" else "vader3d"
    print(
        f"more of them:                     {program} generate --model {output / 'diffusion'} --count 64 --output more"
    )
    if data == HEADS:
        print(
            f"another, moved as clip 7 is:      {program} animate --model {output / 'diffusion'} --seed 64 --driving 7 "
            "--output film.mp4"
        )


def commands(readers: Mapping[str, "Reader"]) -> SubcommandApp:
    """All of them; `prepare` has one for each of the readers."""
    prepare = prepare_commands(readers)
    prepare.command(name="auto")(prepare_auto_command)
    train = SubcommandApp()
    train.command(name="autodecoder")(train_autodecoder_command)
    train.command(name="diffusion")(train_diffusion_command)
    every = SubcommandApp()
    every.command(name="demo")(demo_command)
    what = "Make a data set of meshes, photographs, clips, or another format; or pack one into shards."
    every.command(prepare, name="prepare", help=what)
    every.command(name="inspect")(inspect_command)
    every.command(train, name="train", help="Train stage 1 (autodecoder) or stage 2 (diffusion).")
    every.command(name="generate")(generate_command)
    every.command(name="animate")(animate_command)
    every.command(name="reconstruct")(reconstruct_command)
    every.command(name="studio")(studio_command)
    every.command(name="schema")(schema_command)
    every.command(name="evaluate")(evaluate_command)
    every.command(name="study")(study_command)
    every.command(name="presets")(presets_command)
    every.command(name="models")(models_command)
    every.command(name="save")(save_command)
    every.command(name="weights")(weights_command)
    every.command(name="doctor")(doctor_command)
    return every


WITHOUT_READERS = (
    "auto",
    "meshes",
    "photos",
    "video",
    "chairs",
    "heads",
    "status",
    "shards",
    "captions",
)  # `auto` finds its own


def readers_for(arguments: Sequence[str]) -> Mapping[str, "Reader"]:
    """All readers where one may be asked for; they import torch, for which no other command's help need wait."""
    if arguments[:1] != ["prepare"] or (arguments[1:2] and arguments[1] in WITHOUT_READERS):
        return {}
    from vader3d.data.reading.readers import READERS

    return READERS


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done, 1 problems found (`inspect --strict`), 2 bad input, a full disk or memory (one line says what
    and how to mend it), 3 training diverged, 130 stopped by Ctrl-C, 143 stopped by SIGTERM (both with the state
    written: the same command goes on), 141 where the reader of a pipe has gone.
    """
    if "OMP_WAIT_POLICY" not in os.environ:  # read when a command loads torch: idle threads then soon sleep, where
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # they would else take the cores from another training
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    is_program = arguments is None  # else a part of one, whose threads are not ours to end
    for number in NUMBERS if is_program else ():
        signal.signal(number, obey)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments == ["--version"]:
            return print(f"vader3d {__version__}")
        commands(readers_for(arguments)).cli(
            prog="vader3d",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes,),
            description="2D pictures in, a generator of 3D assets out.",
        )
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of `vader3d ... | head` has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, ImportError, TrainingDiverged) as error:
        if os.environ.get("VADER3D_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, TrainingDiverged) else 2)
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("VADER3D_DEBUG") or not is_out_of_memory(error):
            raise
        print(
            f"error: memory: wanted more than is free; got {str(error).splitlines()[0] if str(error) else 'none'}; "
            "choose fewer at once (training: --set loop.batch or loop.accumulate; --dry-run says what it takes)",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt as stop:
        code = 143 if isinstance(stop, Terminated) else 130
        if is_program:
            leave_within(LAST_SECONDS, code)
        sys.exit(code)
    if is_program and "accelerate" in sys.modules:  # perhaps several processes
        from vader3d.training.distributed import leave_processes

        leave_processes()
    return None
