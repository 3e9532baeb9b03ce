"""As a program: `killed_parts.py FOLDER KILLS SHARD` prepares 80 things by two commands, killed in turn at random.

Each life joins in where others were cut off; the last two end what is left. SHARD: objects a shard, 0 for an archive.
Prints how many kills fell into a part that was being made; ends with 1 when a life could not begin.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from making import make, output_in

from vader3d.data.making import ledger
from vader3d.data.making.conversion import Job, convert
from vader3d.data.writer import PreparedObject

THINGS = 80
permits, told = os.pipe(), os.pipe()
ledger.DEATHS = 1000  # who is suspected stays in this process all the same: only it has the pipes


def permitted(name: str, value: int) -> PreparedObject:
    """Waits until it may, and tells that it is at it."""
    os.read(permits[0], 1)
    os.write(told[1], b".")
    return make(name, value, 0.002)


def life(folder: Path, shard: int | None) -> int:
    """A child that prepares until it is done or dead; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            jobs = [Job(f"thing {i}", permitted, (f"thing {i}", i + 1)) for i in range(THINGS)]
            convert(jobs, output_in(folder, shard), processes=1)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


if __name__ == "__main__":
    folder, kills, shard, draw = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) or None, random.Random(0)
    parts, amid = output_in(folder, shard).parts, 0
    lives = [life(folder, shard), life(folder, shard)]
    for _ in range(kills):
        for _ in range(draw.randint(1, 3)):
            os.write(permits[1], b".")
            os.read(told[0], 1)
        time.sleep(draw.uniform(0, 0.02))
        victim = draw.randrange(2)
        os.kill(lives[victim], signal.SIGKILL)
        _, status = os.waitpid(lives[victim], 0)
        assert os.WIFSIGNALED(status), f"ended by itself with {os.WEXITSTATUS(status)}"
        amid += any(parts.glob(".part-*.lock"))
        lives[victim] = life(folder, shard)
    os.write(permits[1], b"." * 1000)
    ends = [os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in lives]
    print(amid)
    sys.exit(max(ends))
