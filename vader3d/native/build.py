"""Compiles march.cpp."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "csrc" / "march.cpp"
LIBRARY = Path(__file__).with_name("march.so")  # where a wheel carries the compiled library
FLAGS = ["-O3", "-std=c++17", "-fPIC", "-fopenmp", "-w", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-threadsafe-statics", "-fno-exceptions"]
DIGEST_BYTES = 32
# Linked without -fopenmp: library.py lets OpenMP's functions resolve to the runtime that torch has loaded.
LINK = ["-shared", "-nodefaultlibs", "-lc", "-lgcc"]
if sys.platform == "darwin":
    LINK = ["-shared", "-undefined", "dynamic_lookup"]


def find_compiler() -> str | None:
    """$CXX, else the first of g++, c++, clang++ on the path."""
    names = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def compile_march(target: Path, compiler: str) -> None:
    """Compile into the file `target`. RuntimeError with the compiler's words, and then there is no such file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    steps: list[list[str | Path]] = [
        [*FLAGS, "-S", SOURCE, "-o", "-"],
        ["-x", "assembler", "-", "-x", "none", "-o", target, *LINK],
    ]
    assembly = ""
    for arguments in steps:
        result = subprocess.run([compiler, *arguments], input=assembly, capture_output=True, text=True, check=False)
        if result.returncode:
            target.unlink(missing_ok=True)
            raise RuntimeError(f"{compiler} could not build {SOURCE.name}:\n{result.stderr.strip()[-2000:]}")
        assembly = result.stdout


def seal(library: Path) -> None:
    """Append the SHA-256 of what a library holds; the loader does not mind."""
    digest = hashlib.sha256(library.read_bytes()).digest()
    with library.open("ab") as file:
        file.write(digest)


def is_whole(library: Path) -> bool:
    """Whether the file is there, sealed, and as it was then: one cut short would kill the process that loads it."""
    try:
        data = library.read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(data[:-DIGEST_BYTES]).digest() == data[-DIGEST_BYTES:]


def build_name(compiler: str) -> str:
    """The file's name in a cache: it changes with the source, the compiler and the flags."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    sources = [path.read_text() for path in sorted(SOURCE.parent.iterdir()) if path.suffix in (".cpp", ".h")]
    key = "\n".join([*sources, version, platform.machine(), sys.platform, *FLAGS, *LINK])
    return f"march-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"
