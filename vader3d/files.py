"""Files that outlive a process: whole or not there.

One convention for all: written under a temporary name beside the target, synced, renamed. A reader sees the old file or
the new one, never half, after a kill and after a power cut.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

FULL_DISK_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20


def temporary_name(path: Path) -> Path:
    """Beside `path`, unique to this process: `put_in_place` when it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def put_in_place(temporary: Path, path: Path) -> None:
    """Sync a whole file and give it its name, in place of what had it before."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened to be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_whole(path: Path, write: Callable[[Path], object], *, before: Callable[[], None] | None = None) -> None:
    """`write(temporary_path)`, then `before()`, then `put_in_place`. Folders are made.

    The file has the mode that the umask gives, whatever `write` gives it. OSError, which names `path`, when writing
    fails: whatever stood there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # safetensors puts a file of its own there, for its owner's eyes only
        if before is not None:
            before()
        put_in_place(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError, and not in these words
        raise not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def not_written(path: Path, error: Exception) -> OSError:
    """The error that says which file could not be written, and why."""
    why = getattr(error, "strerror", None) or str(error).splitlines()[0]
    if shutil.disk_usage(path.parent).free < FULL_DISK_BYTES:
        why = "No space left on device"
    return OSError(f"could not write {path}: {why}; what was there before is intact")


def write_text(path: Path, text: str) -> None:
    """As UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what killed writers of `name`, or of anything, left in a folder; those that still run keep theirs."""
    if os.name != "posix":
        return  # asking whether a process runs would end it
    pattern = "*" if name is None else glob.escape(name)
    for leftover in folder.glob(f".{pattern}.*.part"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            leftover.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether this machine runs a process of this number."""
    if process == os.getpid():
        return False  # what bears our number and is not being written was left by one before us
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def checksum_of(path: Path) -> str:
    """The file's SHA-256 in hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder() -> Path:
    """$VADER3D_CACHE, else $XDG_CACHE_HOME/vader3d, else ~/.cache/vader3d."""
    return expanded(os.environ.get("VADER3D_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vader3d"))


def expanded(path: str | Path) -> Path:
    """With the user's home for ~. FileNotFoundError: none, as for a container's unknown user id without $HOME."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"{path}: wanted a home folder; got a user without one; set HOME") from error
