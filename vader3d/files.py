"""Files that outlive a process: whole or not there; what a killed one left; checksums; the user's cache.

All are written to a temporary name and renamed, so that a reader sees the old file or the new one, never half.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

FULL_DISK_BYTES = 1 << 20
CHUNK = 1 << 20  # bytes


def temporary_name(path: Path) -> Path:
    """Beside `path`, unique to this process: rename it to `path` when it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_whole(path: Path, write, *, before: Callable[[], None] | None = None) -> None:
    """`write(temporary_path)`, then `before()`, then rename. Whatever stood at `path` stays when writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        write(temporary)
        if before is not None:
            before()
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk as Python, torch and safetensors report it
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        if shutil.disk_usage(path.parent).free < FULL_DISK_BYTES:  # torch and safetensors do not say so
            why = "No space left on device"
        raise OSError(f"could not write {path}: {why}; what was there before is intact") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def cache_folder() -> Path:
    """$VADER3D_CACHE, else $XDG_CACHE_HOME/vader3d, else ~/.cache/vader3d."""
    ours = os.environ.get("VADER3D_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vader3d")
    return Path(ours).expanduser()


def checksum_of(path: Path) -> str:
    """The file's SHA-256 in hex: what names a network in a report."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def remove_leftovers(path: Path) -> None:
    """Delete what writers of `path` left that were killed; those that still run keep theirs."""
    if os.name != "posix":
        return  # asking whether a process runs would end it
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not running(int(process)):
            leftover.unlink(missing_ok=True)


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True
