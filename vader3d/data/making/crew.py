"""Processes that make one object after another, and may die of it."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import Any, NamedTuple

from vader3d.data.making.work import Limits
from vader3d.data.shards.storage import Unreachable
from vader3d.data.writer import CopiedObject, PreparedObject
from vader3d.untrusted import reason_of

DEATHS = 3  # of the process that makes an object, before it is given up
WATCH_PARENT_SECONDS = 0.5
LOG_LETTERS = 600  # of a dead process's last words that are kept
SERVE = "from vader3d.data.making.crew import serve; serve()"


class Job(NamedTuple):
    """One object to come: `make(*arguments)` returns it; both are picklable."""

    name: str
    make: Callable[..., PreparedObject | CopiedObject]
    arguments: tuple[Any, ...]


class Death(NamedTuple):
    """How the process that made an object ended, and its last words."""

    reason: str
    log: str


Result = PreparedObject | CopiedObject | Exception
FULL = (errno.ENOSPC, errno.EDQUOT)
Deaths = Callable[[Death | None], str]  # notes one, if any; gives why the object is given up, or ""


class Stopped(RuntimeError):
    """The command ends; what is being made is of no use."""


def attempt(job: Job) -> Result:
    try:
        return job.make(*job.arguments)
    except OSError as error:
        befalls_all = error.errno in FULL or isinstance(error, Unreachable)
        return error if befalls_all else ValueError(reason_of(error))
    except Exception as error:  # readers of foreign files raise whatever they meet; one object must not stop the rest
        return ValueError(reason_of(error))


class Here:
    """Makes objects in this very process, when asked."""

    size = 1
    told: Callable[[], None] = staticmethod(lambda: None)  # after each object

    def submit(self, job: Job, deaths: Deaths) -> "Future[Result]":
        """The result; an object that others died of too often is not tried."""
        future: Future[Result] = Future()
        given_up = deaths(None)
        future.set_result(ValueError(given_up) if given_up else attempt(job))
        self.told()
        return future

    def stop(self) -> None:
        """Nothing runs beside."""


class Threads:
    """Makes objects in so many threads of this process: those that no process dies of."""

    def __init__(self, size: int):
        self.size, self.pool = size, ThreadPoolExecutor(size, "copy")
        self.told: Callable[[], None] = lambda: None  # after each object

    def submit(self, job: Job, deaths: Deaths) -> "Future[Result]":
        """The result to come."""
        return self.pool.submit(self.made, job)

    def made(self, job: Job) -> Result:
        try:
            return attempt(job)
        finally:
            self.told()

    def stop(self) -> None:
        """What is begun ends; no more begins."""
        self.pool.shutdown(cancel_futures=True)


class Crew:
    """So many processes that make objects; threads may share it.

    An object that hangs, takes more than the limits or ends its process costs nothing but itself: the process is
    started anew and tries again, until `deaths` gives the object up.
    """

    def __init__(self, size: int, limits: Limits = Limits()):  # noqa: B008 (a constant)
        self.size, self.limits, self.stopped = size, limits, False
        self.told: Callable[[], None] = lambda: None  # after each object
        self.idle: LifoQueue[Child | None] = LifoQueue()
        self.children: set[Child] = set()
        for _ in range(size):
            self.idle.put(None)  # started when first asked for
        self.threads = ThreadPoolExecutor(size, "make")

    def submit(self, job: Job, deaths: Deaths) -> "Future[Result]":
        """The result to come; `Stopped` after `stop`."""
        return self.threads.submit(self.made, job, deaths)

    def made(self, job: Job, deaths: Deaths) -> Result:
        death: Death | None = None
        child = self.idle.get()
        try:
            while not (given_up := deaths(death)):
                child = child if child is not None and child.is_alive() else self.started()
                result = child.attempt(job, self.limits.seconds)
                if not isinstance(result, Death):
                    return result
                child.kill()
                self.children.discard(child)
                if self.stopped:
                    raise Stopped
                death = result
            return ValueError(given_up)
        finally:
            self.idle.put(child)
            self.told()

    def started(self) -> "Child":
        """A new process; ChildProcessError where none starts."""
        why = ""
        for _ in range(DEATHS):
            if self.stopped:
                raise Stopped
            child = Child(self.limits.gigabytes)
            self.children.add(child)
            if child.is_ready():
                return child
            why = child.last_words()
            child.kill()
            self.children.discard(child)
        raise ChildProcessError(f"processes: wanted them to start; got {DEATHS} that died at once: {why}")

    def stop(self) -> None:
        """Kill all of them."""
        self.stopped = True
        for child in list(self.children):
            child.process.kill()
        self.threads.shutdown(cancel_futures=True)
        for child in self.children:
            child.kill()


class Child:
    """A process of ours that makes objects."""

    def __init__(self, gigabytes: float | None):
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log
        )
        self.tell((sys.path, os.getpid(), gigabytes))

    def tell(self, what: Any) -> None:
        assert self.process.stdin is not None
        try:
            pickle.dump(what, self.process.stdin)
            self.process.stdin.flush()
        except OSError:  # it is dead, which reading its answer will tell
            pass

    def answer(self) -> Any:
        """What it says next; EOFError: it died."""
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (pickle.UnpicklingError, OSError, ValueError) as error:
            raise EOFError from error

    def is_ready(self) -> bool:
        try:
            return self.answer() == "ready"
        except EOFError:
            return False

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def attempt(self, job: Job, seconds: float | None) -> Result | Death:
        """What comes of a job within so many seconds."""
        self.log.seek(0)  # the child's own place in it, too
        self.log.truncate()
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds or 0.0, end)
        if seconds is not None:
            timer.start()
        try:
            self.tell(pickle.dumps(job))
            return pickle.loads(self.answer())
        except EOFError:
            code = self.process.wait()
            if late.is_set():
                reason = f"process: wanted it to make the object within {seconds:g} s; got no end"
            else:
                reason = f"process: wanted it to make the object; got its death ({how_ended(code)})"
            return Death(reason, self.last_words())
        finally:
            timer.cancel()

    def last_words(self) -> str:
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - LOG_LETTERS))
        return self.log.read().decode("utf-8", "replace").strip("\0\n ")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # what it did not read
                pass


def how_ended(code: int) -> str:
    """A process's exit code in words."""
    if code == -signal.SIGKILL:
        return "killed; out of memory?"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}; out of memory?"


def serve() -> None:
    """A child's life: jobs from standard input, results to standard output; what libraries print goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path[:], parent, gigabytes = pickle.load(jobs)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    import torch
    import trimesh  # noqa: F401 (what most objects import: no time, memory or death of the first one)

    torch.set_num_threads(1)
    limit_memory(gigabytes)

    def answer(what: Any) -> None:
        try:
            pickle.dump(what, results)
            results.flush()
        except BrokenPipeError:  # the parent has ended
            os._exit(1)

    answer("ready")
    while True:
        try:
            data = pickle.load(jobs)
        except EOFError:
            return
        answer(answered(data))


def answered(data: bytes) -> bytes:
    """The pickled result of a pickled job, whatever happens."""
    try:
        return pickle.dumps(attempt(pickle.loads(data)))
    except Exception as error:
        return pickle.dumps(ValueError(reason_of(error)))


def end_with(parent: int) -> None:
    """A killed parent cannot tell its processes to stop."""
    while os.name != "posix" or os.getppid() == parent:
        time.sleep(WATCH_PARENT_SECONDS)
    os._exit(1)


def limit_memory(gigabytes: float | None) -> None:
    """So much more than is in use is given to this process, where the system can hold it to that (Linux)."""
    if gigabytes is None or sys.platform != "linux":
        return
    import resource

    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    most = int(fields["VmData"].split()[0]) * 1024 + round(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
