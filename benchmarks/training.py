"""How fast training and sampling are, as shares of what the machine can do; what each preset takes of a GPU's memory.

    python benchmarks/training.py                                  `small`, on a GPU where there is one
    python benchmarks/training.py --preset photoshape-chairs       the paper's sizes: a GPU is wanted
    python benchmarks/training.py --preset tiny --quick            to see that it runs

Three yardsticks, forward and backward: the best large matrix product; the best large 3^3 convolution ("conv peak"); and
the step's own layers, each alone in a loop on inputs of its own size and already in the type it computes in. A step can
be no faster than the last. Times are the shortest of many, with medians beside: other work on the machine disturbs one
way only. On one CPU thread (OMP_NUM_THREADS=1) they are the process's CPU time, which a busy machine changes little.
Result: benchmarks/results/training-<device>.md and .json.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from yardsticks import conv_peak, layers_alone, layers_called, matrix_peak, once, processor, timed

from vader3d.autodecoder.train import AutodecoderTask
from vader3d.config import override
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.splits import training_views
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.batches.stream import StreamedViews
from vader3d.data.batches.views import Pixels, PosedViews, drawn_pixels
from vader3d.data.making.copying import write_shards
from vader3d.data.named import open_archive
from vader3d.data.writer import PreparedObject
from vader3d.diffusion.train import DiffusionTask
from vader3d.generate import Generator
from vader3d.latents import robust_statistics
from vader3d.machine import working_dtype
from vader3d.presets import PRESETS, preset
from vader3d.render import render_views
from vader3d.training.distributed import Processes
from vader3d.training.ema import MovingAverage
from vader3d.training.speed import counted_flops
from vader3d.training.step import GradientStep, gradient_norm

RESULTS = Path(__file__).with_name("results")
OBJECTS, VIEWS = 16, 6
SAMPLES = [(1, 32), (1, 64), (64, 32), (64, 64)]  # batch, steps
BATCH_OF_A_GPU = {"autodecoder": 8, "diffusion": 32}  # where memory is compared


# What training does with it.


class Step:
    """One step of a stage as the loop takes it: gradients, their norm, optimisers, average."""

    def __init__(self, task, device: torch.device):
        self.task, self.loop, self.objects_seen = task, task.config.loop, 0
        self.gradients = GradientStep(
            task,
            processes=Processes(device=device),
            batch=self.loop.batch,
            accumulate=self.loop.accumulate,
            seed=0,
            recompute=self.loop.recompute,
            compiled=self.loop.compile,
            synchronised_norms=False,
        )
        self.average = MovingAverage(task.model, half_life=self.loop.ema_half_life)

    def __call__(self) -> None:
        self.gradients(objects_seen=self.objects_seen, progress=0.5)
        self.update()

    def update(self) -> None:
        gradient_norm(self.task.model)
        for optimiser in self.task.optimisers:
            optimiser.step()
        self.objects_seen += self.loop.batch
        self.average.update(self.task.model, batch=self.loop.batch, objects_seen=self.objects_seen)
        self.task.model.zero_grad(set_to_none=True)


def measured_step(task, device: torch.device, peaks: dict, *, seconds: float) -> dict:
    """A stage's step beside the three yardsticks."""
    step, dtype = Step(task, device), working_dtype(task.config.loop.precision, device)
    with counted_flops() as counts, layers_called() as calls:
        step()
    flops, name = sum(counts), str(dtype).removeprefix("torch.")
    shortest, median = timed(step, device, seconds=seconds)
    alone = layers_alone(calls, device, dtype, seconds=seconds)

    def gradients() -> None:
        step.gradients(objects_seen=step.objects_seen, progress=0.5)
        task.model.zero_grad(set_to_none=True)

    with_gradients, _ = timed(gradients, device, seconds=seconds / 2)
    return {
        "batch": task.config.loop.batch,
        "precision": name,
        "gflop": flops / 1e9,
        "ms": 1e3 * shortest,
        "median_ms": 1e3 * median,
        "gradients_ms": 1e3 * with_gradients,
        "layers_alone_ms": 1e3 * alone,
        "gflops": flops / shortest / 1e9,
        "share_of_matrix_peak": flops / shortest / peaks[name]["matrix"],
        "share_of_conv_peak": flops / shortest / peaks[name]["conv"],
        "share_of_own_layers": alone / shortest,
        "objects_per_second": task.config.loop.batch / shortest,
    }


def rendering_ms(task: AutodecoderTask, device: torch.device, *, seconds: float) -> float:
    """Of one step: forward and backward, from a volume as the decoder makes it."""
    config, generator = task.config, torch.Generator().manual_seed(0)
    target = task.views.training_batch(
        objects_seen=0,
        batch=config.loop.batch,
        views=config.views_per_object,
        seed=0,
        pixels=drawn_pixels(config.pixel_stride, generator),
    ).to(device)
    with torch.no_grad():
        volume = task.model(target.objects)
    volume = volume.with_grid(volume.grid.detach().requires_grad_())

    def run() -> None:
        colour, opacity = render_views(volume, target.cameras, config.render, generator=generator, noise_factor=0.5)
        torch.autograd.grad((colour.sum() + opacity.sum()), volume.grid)

    return 1e3 * timed(run, device, seconds=seconds)[0]


def views_per_second(views, config, device: torch.device, *, seconds: float) -> float:
    """That a reader delivers in training batches of the step's pixels, to the device, with nothing to do between."""
    objects_seen, pixels = 0, Pixels(config.pixel_stride)

    def read() -> None:
        nonlocal objects_seen
        views.training_batch(
            objects_seen=objects_seen,
            batch=config.loop.batch,
            views=config.views_per_object,
            seed=0,
            pixels=pixels,
            device=device,
        )
        objects_seen += config.loop.batch

    shortest, _ = timed(read, device, seconds=seconds)
    return config.loop.batch * config.views_per_object / shortest


def loading_ms(views, config, device: torch.device) -> float:
    """That a step waits for a batch, where it took long enough for the next one to be drawn ahead."""
    batch, asked, waits = config.loop.batch, {"views": config.views_per_object, "seed": 0, "device": device}, []
    for step in range(8):
        time.sleep(0.1)
        read = lambda at=step * batch: views.training_batch(  # noqa: E731
            objects_seen=at, batch=batch, pixels=Pixels(config.pixel_stride), **asked
        ).to(device)
        waits.append(once(read, device))
    return 1e3 * min(waits[1:])


def sampling(
    task: DiffusionTask, decoder, settings, device: torch.device, *, compiled: bool, quick: bool
) -> list[dict]:
    """Seconds a batch of samples takes, its first one (that compiles) apart."""
    generator = Generator(decoder.eval(), settings, task.model.eval(), task.statistics)
    rows = []
    for made in [generator, *([generator.compiled()] if compiled else [])]:
        for batch, steps in [(2, 2)] if quick else SAMPLES:
            run = lambda made=made, batch=batch, steps=steps: made.sample_latents(range(batch), steps=steps)  # noqa: E731
            first = once(run, device)
            shortest = min(once(run, device) for _ in range(3)) if device.type == "cuda" else first
            rows.append(
                {
                    "way": "plain" if made is generator else "compiled",
                    "batch": batch,
                    "steps": steps,
                    "seconds_a_sample": shortest / batch,
                    "first_batch_seconds": first,
                }
            )
            print(rows[-1], flush=True)
    return rows


def memory_of_presets(archive, device: torch.device) -> dict:
    """The most memory, in GB, of a step of each preset with a GPU's share of its batch; None: it does not fit."""
    table: dict = {}
    for name in PRESETS:
        table[name] = {}
        for stage, batch in BATCH_OF_A_GPU.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                step = Step(task_of(stage, name, archive, device, [f"loop.batch={batch}"]), device)
                step()
                step()
                table[name][stage] = torch.cuda.max_memory_allocated() / 1e9
            except torch.cuda.OutOfMemoryError:
                table[name][stage] = None
            step = None
    return table


# Data and tasks, made here so that nothing has to be downloaded.


def resized_furniture(path: Path, size: int):
    """An archive of some furniture with square pictures of `size` px."""
    source = open_archive("furniture")
    with ArchiveWriter(path, title="furniture, resized", resolution=(size, size)) as writer:
        for index in range(OBJECTS):
            views = source.read(index)
            pictures = torch.from_numpy(views.pictures[:VIEWS]).movedim(-1, 1).float()
            pictures = nn.functional.interpolate(pictures, size=size, mode="bilinear", antialias=True)
            pixels = pictures.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()
            cameras = views.cameras[:VIEWS].resized(size, size)
            writer.add(PreparedObject(ObjectRecord(f"object {index}"), pixels, cameras))
    return open_archive(path)


def task_of(stage: str, name: str, archive, device: torch.device, settings: list[str]):
    """A stage of a preset on `archive`, or on random latents; VGG without its weights takes as long as with them."""
    chosen = preset(name)
    if stage == "autodecoder":
        config = override(chosen.autodecoder, settings)
        if config.losses.trunk == "vgg19":
            config = replace(config, losses=replace(config.losses, trunk="vgg19-random"))
        return AutodecoderTask(config, PosedViews(archive, training_views), device=device)
    latents = torch.randn(64, *chosen.autodecoder.decoder.latent_shape, generator=torch.Generator().manual_seed(0))
    return DiffusionTask(override(chosen.diffusion, settings), latents, robust_statistics(latents), device=device)


def measure(options) -> dict:
    device, seconds = torch.device(options.device), 0.02 if options.quick else options.seconds
    config = preset(options.preset).autodecoder
    report: dict = {
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else processor(),
        "preset": options.preset,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seconds": seconds,
        "note": options.note,
        "settings": options.set,
        "peaks": {},
    }
    for dtype in (torch.bfloat16, torch.float32):
        report["peaks"][str(dtype).removeprefix("torch.")] = {
            "matrix": matrix_peak(device, dtype, seconds=seconds / 4),
            "conv": conv_peak(device, dtype, seconds=seconds / 4, quick=options.quick),
        }
    with tempfile.TemporaryDirectory() as folder:
        archive = resized_furniture(Path(folder) / "furniture.zip", preset(options.preset).picture_px)
        first = task_of("autodecoder", options.preset, archive, device, options.set)
        second = task_of("diffusion", options.preset, archive, device, options.set)
        for name, task in (("autodecoder", first), ("diffusion", second)):
            report[name] = measured_step(task, device, report["peaks"], seconds=seconds)
            print(json.dumps({name: report[name]}), flush=True)
        rendering = rendering_ms(first, device, seconds=seconds)
        report["autodecoder"] |= {"rendering_ms": rendering, "rendering": rendering / report["autodecoder"]["ms"]}
        report["autodecoder"]["loading_ms"] = loading_ms(first.views, config, device)
        write_shards(archive, Path(folder) / "shards", objects_per_shard=4)
        streamed = StreamedViews(open_archive(Path(folder) / "shards"), training_views, buffer=OBJECTS // 2)
        report["views_per_second"] = {
            "a step takes": report["autodecoder"]["objects_per_second"] * config.views_per_object,
            "archive in memory": views_per_second(first.views, config, device, seconds=seconds),
            "shards, half in the buffer": views_per_second(streamed, config, device, seconds=seconds),
        }
        report["sampling"] = sampling(
            second, first.model.decoder, config.render, device, compiled=options.compiled, quick=options.quick
        )
        del first, second
        report["memory_gb"] = memory_of_presets(archive, device) if device.type == "cuda" else None
    return report


def as_markdown(report: dict) -> str:
    lines = [
        f"# Training on {report['machine']}",
        "",
        f"Preset `{report['preset']}`{' with ' + ' '.join(report['settings']) if report['settings'] else ''}, "
        f"threads: {report['threads']}, torch {report['torch']}, the shortest of {report['seconds']:g} s each (medians "
        f"beside). {report['note']}".rstrip(),
        "",
        "| TFLOP/s | large matrix product | best large 3^3 convolution, forward and backward |",
        "|---|---|---|",
    ]
    for name, peak in report["peaks"].items():
        lines.append(f"| {name} | {peak['matrix'] / 1e12:.3g} | {peak['conv'] / 1e12:.3g} |")
    lines += [
        "",
        "| a step of | batch | precision | GFLOP | ms | median | without the update | its layers alone, ms "
        "| GFLOP/s | of matrix peak | of conv peak | of its layers alone | rendering |",
        "|---" * 13 + "|",
    ]
    for name in ("autodecoder", "diffusion"):
        row = report[name]
        rendering = f"{row['rendering_ms']:.3g} ms, {row['rendering']:.0%}" if "rendering" in row else ""
        shares = [row[f"share_of_{what}"] for what in ("matrix_peak", "conv_peak", "own_layers")]
        numbers = [row[what] for what in ("gflop", "ms", "median_ms", "gradients_ms", "layers_alone_ms", "gflops")]
        cells = [name, row["batch"], row["precision"], *(f"{number:.3g}" for number in numbers)]
        lines.append(f"| {' | '.join(map(str, [*cells, *(f'{share:.0%}' for share in shares), rendering]))} |")
    lines += ["", "| data | views/s |", "|---|---|"]
    lines += [f"| {name} | {value:.0f} |" for name, value in report["views_per_second"].items()]
    lines += ["", f"A step waits {report['autodecoder']['loading_ms']:.3g} ms for a batch that was drawn ahead."]
    lines += ["", "| sampling | batch | steps | s a sample | first batch, s |", "|---|---|---|---|---|"]
    for row in report["sampling"]:
        numbers = f"{row['seconds_a_sample']:.3g} | {row['first_batch_seconds']:.3g}"
        lines.append(f"| {row['way']} | {row['batch']} | {row['steps']} | {numbers} |")
    if report["memory_gb"]:
        sizes = ", ".join(f"{batch} a step in the {stage}" for stage, batch in BATCH_OF_A_GPU.items())
        lines += ["", f"| GB at most, {sizes} | autodecoder | diffusion |", "|---|---|---|"]
        for name, row in report["memory_gb"].items():
            cells = ["does not fit" if value is None else f"{value:.3g}" for value in row.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: the numbers mean little")
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, default=None, help="default: on a GPU only"
    )
    parser.add_argument("--set", action="append", default=[], metavar="loop.FIELD=VALUE", help="for both stages")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for training-<device>.md and .json")
    options = parser.parse_args(arguments)
    options.compiled = options.device == "cuda" if options.compiled is None else options.compiled
    report = measure(options)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"training-{options.device}"
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(as_markdown(report), encoding="utf-8")
    print(as_markdown(report))


if __name__ == "__main__":
    main()
