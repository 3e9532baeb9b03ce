"""Files that outlive a process: whole, and written by one command.

One convention for all: written under a temporary name beside the target, synced, renamed. A reader sees the old file or
the new one, never half, after a kill and after a power cut. What is written to is held: `held`.
"""

import glob
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

FULL_DISK_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
LOCK = ".vader3d.lock"
BEAT_SECONDS = 5.0  # between a holder's signs of life: its lock's time of change
WATCH_SECONDS = 16.0  # without any: it is dead
COMMAND_LETTERS, NOTE_BYTES = 1000, 8192
BOOT = Path("/proc/sys/kernel/random/boot_id")  # one machine, whatever its containers are called


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
        with writing(path):
            temporary.touch()
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)  # safetensors puts a file of its own there, for its owner's eyes only
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
    """Delete what killed writers of `name`, or of anything, left in a folder; whoever holds it (`held`) may."""
    pattern = "*" if name is None else glob.escape(name)
    left = [path for path in folder.glob(f".{pattern}.*.part") if path.name.split(".")[-2].isdecimal()]
    if name is None:
        left += folder.glob(".tmp??????")  # safetensors writes to a file of its own first
    for leftover in left:
        leftover.unlink(missing_ok=True)


@contextmanager
def held(
    folder: Path, name: str | None = None, *, rooms: Sequence[str] = (), wait: bool = False, by: bool = True
) -> Iterator[bool]:
    """Hold `folder`, or `name` in it alone, against other commands; folders are made, and empty ones go at the end.

    What killed writers left there, and in the folder's subfolders `rooms`, is deleted. The operating system frees what
    a dead process held. Where it cannot tell (another machine's process, a file system without locks), a holder is
    dead that gave no sign of life for `WATCH_SECONDS`. by=False: another process of the same command holds it.
    wait: until it is free. Gives whether the same command died holding it. ValueError says who holds it; OSError names
    the file that could not be written.
    """
    if not by:
        yield False
        return
    lock = Lock(folder / (LOCK if name is None else f".{name}.lock"))
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    ended = threading.Event()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = lock.take(f"{folder if name is None else folder / name}", wait=wait)
        threading.Thread(target=show_life, args=(lock.path, ended), daemon=True).start()
        for room in (folder, *(folder / room for room in rooms)):
            remove_leftovers(room, name)
        yield before.get("command") == own_command()
    finally:
        ended.set()
        lock.release()
        with suppress(OSError):  # not empty
            for place in made:
                if not any(place.iterdir()):
                    place.rmdir()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM are obeyed at the end of what is inside, which takes no time, and not in its midst."""
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # others are never interrupted
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if is_main}
    obeyed = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in obeyed:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in obeyed.items():
            signal.signal(number, handler)
        for each in came:
            obeyed[signal.Signals(each)](each, None)


class Lock:
    """A file that one process at a time holds, with a note of who it is; it goes when that lets go of it."""

    def __init__(self, path: Path):
        self.path, self.file, self.is_ours = path, -1, False

    def take(self, what: str, *, wait: bool) -> dict:
        """Hold it; gives the note of a holder that died. ValueError: another holds `what`."""
        while True:
            with uninterrupted():
                self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                holder, doubtful = self.holder()
                before = {} if holder or doubtful else self.claim()
            if doubtful:
                seconds = f"{WATCH_SECONDS:.0f} s"
                print(f"{self.path}: was held by {doubtful}; {seconds} to see whether it lives", file=sys.stderr)
                if shows_signs_of_life(self.path):
                    holder = doubtful
                else:
                    with uninterrupted():
                        before = self.claim()
            if self.is_ours:
                return before
            self.release()
            if holder and not wait:
                raise ValueError(
                    f"{what}: wanted for this command alone; got it held by {holder}; wait for its end, or choose "
                    "another place"
                )
            if holder:
                time.sleep(0.2)

    def holder(self) -> tuple[str, str]:
        """Who else holds it, in words, and who perhaps does; empty where nobody does, and then we may claim it."""
        certain = fcntl is not None
        try:
            if fcntl is not None:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return in_words(note_in(self.path)), ""
        except OSError:  # the file system has no locks
            certain = False
        note = note_in(self.path)
        is_known = certain and note.get("machine") == this_machine()
        return "", in_words(note) if os.fstat(self.file).st_size and not is_known else ""

    def claim(self) -> dict:
        """It is ours, unless the holder before has just deleted it; gives the note that was in it."""
        if not is_open(self.file, self.path):
            return {}
        before, self.is_ours = note_in(self.path), True
        write_note(self.file, self.path)
        return before

    def release(self) -> None:
        """Deleted while it is still held, so that nobody has taken it meanwhile; Windows deletes no open file."""
        with uninterrupted():
            file, self.file = self.file, -1
            if file < 0:
                return
            ours, self.is_ours = self.is_ours and is_open(file, self.path), False
            if os.name != "posix":
                os.close(file)
            if ours:
                discard(self.path)
            if os.name == "posix":
                os.close(file)


def shows_signs_of_life(lock: Path) -> bool:
    """Whether the lock's time changes while we look."""
    first, end = changed(lock), time.monotonic() + WATCH_SECONDS
    while first is not None and time.monotonic() < end:
        time.sleep(BEAT_SECONDS / 10)
        if (now := changed(lock)) != first:
            return now is not None
    return False


def changed(lock: Path) -> int | None:
    """When the lock last changed, in ns; None where there is none. Opening it asks a network's server anew."""
    with suppress(FileNotFoundError), lock.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns
    return None


def show_life(lock: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(lock)


def write_note(file: int, lock: Path) -> None:
    """Who we are, for those who find the lock taken."""
    note = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "machine": this_machine(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": own_command(),
    }
    try:
        with writing(lock):
            os.ftruncate(file, 0)
            os.write(file, json.dumps(note).encode())
    except OSError:
        discard(lock)
        raise


def own_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:COMMAND_LETTERS]


def note_in(lock: Path) -> dict:
    with suppress(OSError, ValueError), lock.open("rb") as file:
        note = json.loads(file.read(NOTE_BYTES))
        return note if isinstance(note, dict) else {}
    return {}


def in_words(note: dict) -> str:
    if not note:
        return "another process"
    own = " (this one)" if note.get("process") == os.getpid() and note.get("machine") == this_machine() else ""
    return f"process {note.get('process')}{own} on {note.get('host')} since {note.get('since')}: {note.get('command')}"


def this_machine() -> str:
    with suppress(OSError):
        return BOOT.read_text(encoding="ascii").strip()
    return socket.gethostname()


def is_open(file: int, lock: Path) -> bool:
    """Whether the lock is the file that we have open, and not one made since."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), lock.stat())
    return False


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
