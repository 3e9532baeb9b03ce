"""Whether a plain Linux machine can install this: pip resolves, reads metadata alone, installs nothing.

For each Python, with the torch that pip takes by itself, which has CUDA; for this one also with what this machine's
settings offer. Exit code 1 where the versions
contradict each other; a package index that cannot be reached is no answer, which is said.
"""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

PYTHONS = tuple(f"3.{minor}" for minor in range(10, 15))
TAGS = ("linux_x86_64", "manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64")
PLATFORMS = (*TAGS, *(f"manylinux_2_{minor}_x86_64" for minor in range(5, 29)))
CONTRADICTIONS = ("ResolutionImpossible", "No matching distribution found")
NO_NETWORK = ("Retrying (", "ConnectionError", "HTTP error", "from versions: none")
SHOWN = ("torch", "triton", "numpy")


def requirements(python: str | None) -> list[str]:
    """What the tests' command installs with a Python, the extras that `dev` is made of included."""
    every = [Requirement(text) for text in requires("vader3d") or []]
    extras = {"", "dev"}.union(*(one.extras for one in every if one.name == "vader3d"))
    wanted = [one for one in every if one.name != "vader3d"]
    version = {"python_version": python, "python_full_version": f"{python}.0"} if python else {}
    wanted = [
        one for one in wanted if one.marker is None or any(one.marker.evaluate({"extra": e, **version}) for e in extras)
    ]
    return sorted({str(one).partition(";")[0] for one in wanted})


def resolve(python: str | None) -> tuple[bool, str]:
    """Whether there is no contradiction, and a line to print; None: this Python, with this machine's settings."""
    name = f"Python {python}, pip's own torch" if python else "this Python, this machine's settings"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    command += ["--use-feature=fast-deps", "-c", "constraints.txt"]
    settings = os.environ.copy()
    if python:
        settings["PIP_FIND_LINKS"] = ""
        command += ["--isolated", "--python-version", python, *(f"--platform={platform}" for platform in PLATFORMS)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command += ["--target", folder, "--report", str(report), *requirements(python)]
        done = subprocess.run(command, capture_output=True, text=True, env=settings)
        if done.returncode == 0:
            chosen = {
                item["metadata"]["name"]: item["metadata"]["version"]
                for item in json.loads(report.read_text())["install"]
            }
            return True, f"{name}: " + ", ".join(f"{what} {chosen.get(what, 'none')}" for what in SHOWN)
    said = done.stdout + done.stderr
    if any(word in said for word in CONTRADICTIONS) and not any(word in said for word in NO_NETWORK):
        return False, f"{name}: FAILED\n{said}"
    last = said.strip().splitlines()[-1] if said.strip() else "nothing"
    return True, f"{name}: skipped: no package index answers (pip said: {last})"


def main() -> None:
    if sys.platform != "linux":
        return print("skipped: markers are this system's, and this is no Linux")
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(resolve, (*PYTHONS, None)))
    for _, line in results:
        print(line)
    return sys.exit(0 if all(held for held, _ in results) else 1)


if __name__ == "__main__":
    main()
