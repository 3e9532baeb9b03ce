"""As a program: `killed.py FOLDER KILLS` trains the toy task in FOLDER/run, killed so often at random moments.

Every life goes on where the one before was cut off; states are written at every step. Prints how many kills fell into
the writing of a file; ends with 1 when a life could not begin.
"""

import dataclasses
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401  (once, for all lives)
from toy import CONFIG, ToyTask

from vader3d.training.loop import train

OFTEN = dataclasses.replace(CONFIG, objects_seen=560, checkpoint_seconds=0.0, log_seconds=1e9)
LONGEST = 6  # steps of a life


class Telling(ToyTask):
    """Writes a byte to a pipe at every step."""

    def __init__(self, pipe: int):
        super().__init__()
        self.pipe = pipe

    def losses(self, **step):
        os.write(self.pipe, b".")
        return super().losses(**step)


def life(run: Path, pipe: int) -> int:
    """A child that trains to the end or as far as it gets; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(Telling(pipe), OFTEN, run, title="toy")
            code = 0
        finally:
            os._exit(code)
    return child


if __name__ == "__main__":
    run, kills, draw = Path(sys.argv[1]) / "run", int(sys.argv[2]), random.Random(0)
    run.mkdir()
    while_writing, (heard, pipe) = 0, os.pipe()
    for _ in range(kills):
        child = life(run, pipe)
        for _ in range(draw.randint(1, LONGEST)):
            os.read(heard, 1)
        time.sleep(draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"ended by itself with {os.WEXITSTATUS(status)}"
        while_writing += any(run.glob(".*.part"))
    _, status = os.waitpid(life(run, pipe), 0)
    print(while_writing)
    sys.exit(os.WEXITSTATUS(status))
