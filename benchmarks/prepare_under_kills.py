"""Prepares chairs by one command of two processes, which is killed again and again, or one of its processes is.

    python benchmarks/prepare_under_kills.py FOLDER [--count 5000] [--kills 20]

Prints how many objects came through, whether any came twice, and how many a second, kills and starts included.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from vader3d.data.named import open_archive


def children_of(process: int) -> list[int]:
    task = Path(f"/proc/{process}/task")
    lines = [(each / "children").read_text("ascii") for each in task.iterdir()] if task.exists() else []
    return [int(number) for line in lines for number in line.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    output, draw = options.folder / "chairs", random.Random(0)
    parts = options.folder / "chairs.parts"
    command = [sys.executable, "-m", "vader3d", "prepare", "chairs", f"--output={output}", f"--count={options.count}"]
    command += ["--views=2", "--size=16", "--objects-per-shard=100", "--processes=2"]
    started, killed = time.monotonic(), Counter[str]()
    process = subprocess.Popen(command)
    total = -(-options.count // 100)
    for kill in range(options.kills):
        while process.poll() is None and len([*parts.glob("part-*.json")]) < kill * total // (options.kills + 1):
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 5))  # or else each kill would come when a part has just begun
        children = children_of(process.pid)
        if process.poll() is not None:
            break
        if children and draw.random() < 0.5:
            subprocess.run(["kill", "-KILL", str(draw.choice(children))], check=False)
            killed["processes"] += 1
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed["commands"] += 1
            process = subprocess.Popen(command)
    code = process.wait()
    seconds = time.monotonic() - started
    shards = open_archive(output)
    names = Counter(record.name for record in shards.records)
    wanted = {f"chair-{number:05d}" for number in range(options.count)}
    readable = sum(bool(shards.read(index).pictures.size) for index in range(len(shards)))
    print(f"exit code {code}; killed: {dict(killed)}; {len(shards.shards)} shards")
    print(f"{len(names.keys() & wanted)} of {options.count} objects, {sum(names.values()) - len(names)} twice")
    print(f"{readable} readable; {seconds:.0f} s, {len(shards) / seconds:.1f} objects a second")


if __name__ == "__main__":
    main()
