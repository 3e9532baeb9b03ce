"""A toy task for the training loop: sparse codes, Muon and Adam, batch norm; steps that fail or stop on demand.

As a program: `python toy.py RUN` trains it in the folder RUN, slowly, telling how far it is.
"""

import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.snapshots import save_snapshot
from vader3d.training.loop import LoopConfig, train
from vader3d.training.optimisers import OptimiserConfig, optimisers_for

OBJECTS = 8
CONFIG = LoopConfig(
    objects_seen=160,
    batch=4,
    warmup=0.2,
    cooldown=0.5,
    ema_half_life=30,
    gradient_clip=1.0,
    precision="float32",
    checkpoint_seconds=1e9,
    preview_seconds=1e9,
    log_seconds=0.0,
)


class ToyModel(nn.Module):
    """Object numbers [B] -> [B, 1, 2, 2, 2]."""

    def __init__(self):
        super().__init__()
        self.codes = nn.Embedding(OBJECTS, 5, sparse=True)
        self.stem = nn.Linear(5, 6 * 8)
        self.first = nn.Conv3d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.second = nn.Conv3d(6, 1, 3, padding=1)

    def forward(self, objects: Tensor) -> Tensor:
        x = self.stem(self.codes(objects)).view(-1, 6, 2, 2, 2)
        return self.second(self.norm(self.first(x)).relu())


class ToyTask:
    """Learn random targets; `bad_at`: steps whose input is infinite, `stop_at`: Ctrl-C amid that step's update."""

    def __init__(self, *, bad_at: tuple[int, ...] = (), stop_at: int | None = None, pause: float = 0.0):
        torch.manual_seed(0)
        self.model = ToyModel()
        self.bad_at, self.stop_at, self.pause, self.steps = bad_at, stop_at, pause, []
        self.blocks, self.views_per_object = [], 0
        self.targets = torch.randn(OBJECTS, 1, 2, 2, 2)
        table = self.model.codes.weight
        self.optimisers = optimisers_for(self.model, OptimiserConfig("muon", lr=1e-2), without=(table,))
        self.optimisers.append(torch.optim.SparseAdam([table], lr=1e-2))
        self.optimisers[0].register_step_pre_hook(lambda *_: self.interrupt())

    def interrupt(self) -> None:
        if self.stop_at == self.steps[-1]["seen"]:
            signal.raise_signal(signal.SIGINT)

    def losses(
        self, *, objects_seen: int, batch: int, progress: float, generator: torch.Generator, share: slice = slice(None)
    ) -> dict[str, Tensor]:
        time.sleep(self.pause)
        self.steps.append({"seen": objects_seen, "progress": progress, "lr": self.optimisers[0].param_groups[0]["lr"]})
        objects = torch.randint(OBJECTS, (batch,), generator=generator)[share]
        noise = 0.1 * torch.randn(batch, 1, 2, 2, 2, generator=generator)[share]
        if objects_seen in self.bad_at:
            self.model.norm(torch.full((len(objects), 6, 2, 2, 2), torch.inf))
            noise = noise * torch.inf
        return {"match": (self.model(objects) - self.targets[objects] + noise).square().mean()}

    def names(self, *, objects_seen: int, batch: int, generator: torch.Generator, share: slice) -> list[str]:
        return [f"toy {number}" for number in torch.randint(OBJECTS, (batch,), generator=generator)[share].tolist()]

    def measures(self) -> dict[str, float]:
        return {"code_std": float(self.model.codes.weight.detach().std())}

    def preview(self, model: nn.Module) -> None:
        """Nothing to see."""

    def snapshot(self, model: nn.Module, path: Path) -> None:
        save_snapshot(path, dict(model.state_dict()), {"kind": "toy"})


if __name__ == "__main__":
    task = ToyTask(pause=0.05)
    task.optimisers[0].register_step_post_hook(lambda *_: print(task.steps[-1]["seen"], flush=True))
    train(task, CONFIG, Path(sys.argv[1]), title="toy")
