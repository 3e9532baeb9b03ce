"""Compiles march.cpp."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "csrc" / "march.cpp"
LIBRARY = Path(__file__).with_name("march.so")  # where a wheel carries the compiled library
FLAGS = ["-O3", "-std=c++17", "-fPIC", "-fopenmp", "-w", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-threadsafe-statics", "-fno-exceptions"]
# Linked without -fopenmp: library.py lets OpenMP's functions resolve to the runtime that torch has loaded.
LINK = ["-shared", "-nodefaultlibs", "-lc", "-lgcc"]


def find_compiler() -> str | None:
    """$CXX, else the first of g++, c++, clang++ on the path."""
    names = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def compile_march(target: Path, compiler: str) -> None:
    """Compile into `target`, which appears complete or not at all, whoever else does the same.

    Raises RuntimeError with the compiler's words.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made, compiled = Path(folder, target.name), Path(folder, "march.o")
        steps: list[list[str | Path]] = [[*FLAGS, "-c", SOURCE, "-o", compiled], [compiled, "-o", made, *LINK]]
        for arguments in steps:
            result = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
            if result.returncode:
                raise RuntimeError(f"{compiler} could not build {SOURCE.name}:\n{result.stderr.strip()[-2000:]}")
        os.replace(made, target)


def build_name(compiler: str) -> str:
    """The file's name in a cache: it changes with the source, the compiler and the flags."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    sources = [path.read_text() for path in sorted(SOURCE.parent.iterdir()) if path.suffix in (".cpp", ".h")]
    key = "\n".join([*sources, version, platform.machine(), sys.platform, *FLAGS, *LINK])
    return f"march-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"
