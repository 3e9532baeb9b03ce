"""Files that outlive a process: whole or not there.

One convention for all: written under a temporary name beside the target, synced, renamed. A reader sees the old file or
the new one, never half, after a kill and after a power cut.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

    OSError, which names `path`, when writing fails: whatever stood there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with writing(path):
            write(temporary)
            if before is not None:
                before()
            put_in_place(temporary, path)
    finally:
        discard(temporary)


def discard(temporary: Path) -> None:
    """Delete what did not become whole; a failing disk may keep it until `remove_leftovers`."""
    with suppress(OSError):
        temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """OSErrors of what is done inside name `path`."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError, and not in these words
        raise not_written(path, error) from error


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
    """Delete what killed writers of `name`, or of anything, left in a folder; whoever holds it (`holding.held`) may."""
    pattern = "*" if name is None else glob.escape(name)
    for leftover in folder.glob(f".{pattern}.*.part"):
        if leftover.name.split(".")[-2].isdecimal():
            leftover.unlink(missing_ok=True)


def checksum_of(path: Path) -> str:
    """The file's SHA-256 in hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder() -> Path:
    """$VADER3D_CACHE, else $XDG_CACHE_HOME/vader3d, else ~/.cache/vader3d."""
    ours = os.environ.get("VADER3D_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vader3d")
    return Path(ours).expanduser()
