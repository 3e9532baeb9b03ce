"""Compiles march.cpp; needs only the standard library and a compiler."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("march.cpp")
LIBRARY = Path(__file__).with_name("march.so")  # where a wheel carries the compiled library
# OpenMP's functions stay unresolved: render/cpu.py lets them resolve to the runtime that torch has loaded.
FLAGS = ["-O3", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-w"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-fno-threadsafe-statics"]
LINK = ["-nodefaultlibs", "-lc", "-lgcc"]


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
        made = Path(folder, target.name)
        result = subprocess.run(
            [compiler, *FLAGS, str(SOURCE), "-o", str(made), *LINK], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{compiler} could not compile {SOURCE.name}:\n{result.stderr.strip()[-2000:]}")
        os.replace(made, target)


def cached_library(compiler: str) -> Path:
    """Where this source, built by this compiler with these flags, lies in the user's cache."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    sources = [path.read_text() for path in sorted(SOURCE.parent.glob("*.*")) if path.suffix in (".cpp", ".h")]
    key = "\n".join([*sources, version, platform.machine(), sys.platform, *FLAGS, *LINK])
    root = os.environ.get("VADER3D_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vader3d")
    return Path(root).expanduser() / f"march-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"
