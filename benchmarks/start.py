"""How soon further objects are learned from a trained model and from scratch: PSNR of held-out views by CPU seconds.

    python benchmarks/start.py MODEL --objects 10 30 100 --objects-seen 2000

MODEL is one of `furniture`; the objects are of `furniture-all`, of categories it never saw, or of `--data`. Both
beginnings have the same recipe, batch and data; seconds are the process's own, measuring left out, so that a busy
machine does not matter.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from vader3d.autodecoder.extract import mean_psnr, training_latents
from vader3d.autodecoder.model import AutodecoderConfig, read_config
from vader3d.autodecoder.start import start_config
from vader3d.autodecoder.train import AutodecoderTask
from vader3d.config import override, without_free
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.dataset import DataSet
from vader3d.data.named import open_archive
from vader3d.hub import autodecoder_file, model_folder
from vader3d.training.loop import train

MEASURED = 20  # objects


class Timed(AutodecoderTask):
    """Notes held-out PSNR and CPU seconds whenever the loop asks for a preview."""

    def __init__(self, config: AutodecoderConfig, data: DataSet, *, init: Path | None, every: float):
        super().__init__(config, PosedViews(data, training_views), init=init)
        self.heldout, self.every, self.curve = PosedViews(data, heldout_views), every, []
        self.measuring, self.start = 0.0, time.process_time()

    def preview(self, model):
        before = time.process_time()
        seconds = before - self.start - self.measuring
        if seconds >= self.every * len(self.curve) or not self.model.training:  # the last
            objects = torch.linspace(0, len(self.views) - 1, min(MEASURED, len(self.views))).long()
            latents = torch.cat([*training_latents(model, objects)])
            self.curve.append((seconds, mean_psnr(model, latents, objects, self.heldout, self.config)))
        self.measuring += time.process_time() - before


def unseen(count: int, data: str) -> DataSet:
    """Evenly drawn: objects of an archive, or of categories that `furniture` has none of."""
    if data:
        archive = open_archive(data)
        return archive.select(torch.linspace(0, len(archive) - 1, count).long().tolist())
    everything = open_archive("furniture-all")
    known = {record.category for record in open_archive("furniture").records}
    others = [number for number, record in enumerate(everything.records) if record.category not in known]
    return everything.select([others[i] for i in torch.linspace(0, len(others) - 1, count).long().tolist()])


def curve(config: AutodecoderConfig, data: DataSet, init: Path | None, *, every: float) -> list[tuple[float, float]]:
    task = Timed(config, data, init=init, every=every)
    with TemporaryDirectory() as run:
        train(task, config.loop, Path(run), title="scratch" if init is None else "from the model")
    return task.curve


def at(points: list[tuple[float, float]], seconds: float) -> float:
    """PSNR at that time, between the points before and after."""
    (t0, p0), (t1, p1) = next(pair for pair in pairwise(points) if pair[1][0] >= seconds)
    return p0 + (p1 - p0) * (seconds - t0) / (t1 - t0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", default="", help="an archive of objects that MODEL never saw")
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--objects-seen", type=int, default=2000)
    parser.add_argument("--every", type=float, default=4.0, help="CPU seconds between measurements")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="overrides of what starts from the model")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    init = autodecoder_file(model_folder(chosen.model))
    trained = read_config(init)
    length = [f"loop.objects_seen={chosen.objects_seen}", "loop.preview_seconds=0", "loop.checkpoint_seconds=1e9"]
    further = override(start_config(trained), [*length, *chosen.settings])
    scratch = override(without_free(trained), length)
    for count in chosen.objects:
        data = unseen(count, chosen.data)
        for name, config, start in (("from the model", further, init), ("from scratch", scratch, None)):
            points = curve(config, data, start, every=chosen.every)
            marks = [s for s in (5, 10, 15, 20, 30, 45, 60, 90, 120) if s < points[-1][0]]
            row = "  ".join(f"{s} s {at(points, s):.1f}" for s in marks)
            print(f"{count} objects, {name}: {row}  end {points[-1][0]:.0f} s {points[-1][1]:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
