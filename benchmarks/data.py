"""Objects a second that archive and shards deliver, beside what a training step asks for.

    python benchmarks/data.py                              furniture at 64 px: seconds each, into results/data.md
    python benchmarks/data.py --data my.zip --seconds 20

"need" is what the `small` preset's training step takes of pictures held in memory.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

from vader3d.autodecoder.train import AutodecoderTask
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.stream import StreamedViews
from vader3d.data.batches.views import PosedViews
from vader3d.data.making.copying import write_shards
from vader3d.data.named import open_archive, readable_objects
from vader3d.presets import preset

RESULTS = Path(__file__).with_name("results")
BATCH, VIEWS = 8, 4


def rate(step, seconds: float) -> float:
    """Objects a second of `step(seen)`, after one batch that does not count."""
    step(0)
    objects_seen, start = BATCH, time.monotonic()
    while time.monotonic() - start < seconds:
        step(objects_seen)
        objects_seen += BATCH
    return (objects_seen - BATCH) / (time.monotonic() - start)


def reader(views):
    return lambda objects_seen: views.training_batch(objects_seen=objects_seen, batch=BATCH, views=VIEWS, seed=0)


def trainer(task):
    def step(objects_seen: int) -> None:
        terms = task.losses(
            objects_seen=objects_seen, batch=BATCH, progress=0.5, generator=torch.Generator().manual_seed(objects_seen)
        )
        torch.stack(list(terms.values())).sum().backward()
        for optimiser in task.optimisers:
            optimiser.step()
        task.model.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="furniture")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    options = parser.parse_args()
    archive, config = readable_objects(open_archive(options.data))[0], preset("small").autodecoder
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        report = write_shards(archive, Path(folder) / "shards", objects_per_shard=20)
        rows = {"packing": len(archive) / (time.monotonic() - start)}
        shards, held = open_archive(Path(folder) / "shards"), PosedViews(archive, training_views)
        rows["archive in memory"] = rate(reader(held), options.seconds)
        rows["shards, all in the buffer"] = rate(reader(StreamedViews(shards, training_views)), options.seconds)
        small = StreamedViews(shards, training_views, buffer=len(shards) // 2)
        rows["shards, half in the buffer"] = rate(reader(small), options.seconds)
        rows["need: a step on the archive"] = rate(trainer(AutodecoderTask(config, held)), options.seconds)
        rows["a step on shards, half in the buffer"] = rate(trainer(AutodecoderTask(config, small)), options.seconds)
    height, width = archive.resolution
    size = round(report.megabytes * 1e6 / len(archive) / 1024)
    lines = [
        f"# Reading data: {len(archive)} objects, {width} x {height} px, {size} KiB each",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} torch threads, batches of {BATCH} "
        f"objects x {VIEWS} views, local disk, {options.seconds:g} s each. {options.note}".rstrip(),
        "",
        "| | objects/s |",
        "|---|---|",
        *(f"| {name} | {value:.0f} |" for name, value in rows.items()),
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "data.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
