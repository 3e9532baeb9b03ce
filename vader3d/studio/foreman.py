"""Who keeps the making process at work and notes what it says."""

import multiprocessing
import secrets
import threading
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vader3d.studio.jobs import Gallery, Job, Refused
from vader3d.studio.maker import make_for

MOST_DEATHS = 3  # in a row, before it is left alone
MOST_EXPORTS = 8  # that wait
POLL_SECONDS = 0.05


class Foreman:
    """One process makes everything; the server's own never runs the model, so that it always answers.

    `model_state`: loading, ready, or failed, with `model_reason`; `can`: what the model can do besides making objects.
    """

    def __init__(self, gallery: Gallery, model: str, device: str = "auto"):
        self.gallery, self.model, self.device = gallery, model, device
        self.model_state, self.model_reason, self.used_device = "loading", "", ""
        self.can: dict[str, Any] = {}
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.pipe: Connection | None = None
        self.job: Job | None = None
        self.exports: dict[str, Future[str]] = {}
        self.thread = threading.Thread(target=self.tend, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End the process; what was being made goes on at the next start."""
        self.stopped.set()
        self.thread.join()

    def tend(self) -> None:
        deaths = 0
        while not self.stopped.is_set() and deaths < MOST_DEATHS:
            self.pipe, process = self.begin()
            with self.pipe, suppress(EOFError, OSError):
                self.talk(self.pipe)
            self.pipe = None
            if self.stopped.is_set() or self.model_state == "failed":
                process.join(2)
            process.kill()
            process.join()
            deaths = 0 if self.job else deaths + 1
            self.clean_up(f"the maker ended ({process.exitcode}): out of memory, perhaps; ask for fewer at once")
            if self.model_state == "failed":
                return
        if not self.stopped.is_set():
            self.fail("the maker ended again and again; see the terminal")

    def begin(self) -> tuple[Connection, BaseProcess]:
        """A new process, and our end of the pipe to it."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.model, self.device, str(self.gallery.folder))
        process = context.Process(target=make_for, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def talk(self, pipe: Connection) -> None:
        """Until the process is no longer there, or no longer wanted. EOFError, OSError: it has gone."""
        while not self.stopped.is_set():
            if self.model_state == "ready" and self.job is None and (job := self.gallery.next_queued()):
                self.hand(job)
            if pipe.poll(POLL_SECONDS):
                self.note(*pipe.recv())
            if self.model_state == "failed":
                return

    def hand(self, job: Job) -> None:
        missing = [i for i, asset in enumerate(job.assets) if asset["state"] == "waiting"]
        self.job = job
        self.gallery.change(job, state="running", reason="")
        self.send("job", job.id, {job.assets[i]["id"]: job.recipes[i] for i in missing}, job.request)

    def send(self, *message: Any) -> bool:
        """Whether there was a process to hear it."""
        with self.lock:
            if self.pipe is not None:
                self.pipe.send(message)
            return self.pipe is not None

    def note(self, kind: str, *said: Any) -> None:
        """What the process told."""
        if kind == "ready":
            self.used_device, self.can = said
            self.model_state = "ready"
        elif kind == "unusable":
            self.fail(said[0])
        elif kind == "exported":
            if waiting := self.exports.pop(said[0], None):
                waiting.set_result(said[1])
        elif (job := self.job) is None:
            return
        elif kind == "step":
            step, steps, pictures = said
            self.gallery.change(job, written=False, step=step, steps=steps, previews=job.previews | pictures)
        elif kind == "remarks":
            self.gallery.change(job, remarks=said[0])
        elif kind == "asset":
            identity, about = said
            previews = {name: picture for name, picture in job.previews.items() if name != identity}
            assets = [each | about if each["id"] == identity else each for each in job.assets]
            self.gallery.change(job, assets=assets, previews=previews)
        elif kind == "ended":
            self.job = None
            self.gallery.change(job, state=said[0], reason=said[1] or job.reason, previews={})
            self.gallery.prune()

    def fail(self, reason: str) -> None:
        """There is no model: nothing that waits will ever be made."""
        self.model_state, self.model_reason = "failed", reason
        while job := self.gallery.next_queued():
            self.gallery.change(job, state="failed", reason=reason)

    def clean_up(self, reason: str) -> None:
        """After the process ended: say so where it was at work, unless we ended it."""
        for waiting in self.exports.values():
            waiting.set_result(reason)
        self.exports.clear()
        if self.job is not None and not self.stopped.is_set():
            self.gallery.change(self.job, state="failed", reason=reason, previews={})
        self.job = None
        if self.model_state == "ready":
            self.model_state = "loading"

    def cancel(self, job: Job) -> None:
        """Within one step; nothing where it has ended."""
        with self.gallery.lock:
            if job.state == "queued":
                self.gallery.change(job, state="cancelled")
        if job.state == "running":
            self.send("cancel", job.id)

    def export(
        self, asset: str, form: str, config: dict, surface: dict | None, *, kept: bool
    ) -> tuple[Path, "Future[str]"]:
        """Where the files will lie, and what went wrong, in words, once that is known. Refused: too many wait.

        kept: among the asset's own files; else in a folder that whoever asked deletes.
        """
        if len(self.exports) >= MOST_EXPORTS:
            raise Refused(429, f"exports: wanted at most {MOST_EXPORTS} at once; got more; come again later")
        if self.model_state == "failed":
            raise Refused(503, self.model_reason)
        ticket = secrets.token_hex(8)
        folder = self.gallery.folder / ("assets" if kept else "exports") / (asset if kept else ticket)
        waiting: Future[str] = Future()
        self.exports[ticket] = waiting
        if not self.send("export", ticket, asset, form, config, surface, str(folder)):
            del self.exports[ticket]
            raise Refused(503, "the model is being loaded; come again in a moment")
        return folder, waiting
