"""Ctrl-C and SIGTERM: obeyed within seconds, whatever hangs."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from vader3d.training.errors import Terminated

NUMBERS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 6.0  # for what is being done to end
LAST_SECONDS = 1.5  # for what has been broken off
DOUBLED_SECONDS = 1.0  # launchers pass on what a terminal has sent to all: no second request


class Ended(Exception):
    """Nobody has to be watched any more."""


class StopRequests:
    """`with StopRequests(save) as stops`: Ctrl-C and SIGTERM are noted in `stops.request`, not raised.

    Half a step leaves no state to go on from, so that the step in progress may end. Where it does not, since a read
    hangs, or at a second Ctrl-C, another thread calls `save`, while nobody has `stops.lock`; then KeyboardInterrupt or
    Terminated is raised in the main thread, and where even that does not help the process ends. Whoever changes or
    writes what `save` writes takes `lock`, and sets `heeded` in it once the request is obeyed.
    """

    def __init__(self, save: Callable[[], None]):
        self.save, self.lock, self.over = save, threading.Lock(), threading.Event()
        self.request, self.heeded, self.broken_off = 0, False, False

    def __enter__(self) -> "StopRequests":
        self.heard, told = socket.socketpair()
        told.setblocking(False)
        self.told = told  # the number of each signal, even while the main thread is stuck outside Python
        self.handlers = [(number, signal.signal(number, self.note)) for number in NUMBERS]
        self.wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self.wakeup)
        for number, handler in self.handlers:
            signal.signal(number, handler)
        self.over.set()
        self.told.close()

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.request = max(self.request, number)
        if self.broken_off:
            raise Terminated if self.request == signal.SIGTERM else KeyboardInterrupt

    def watch(self) -> None:
        """What the other thread does."""
        with suppress(Ended), self.heard:
            first = self.next_signal(None)
            asked = time.monotonic()
            hurry = self.second_signal(asked, GRACE_SECONDS)
            saving = threading.Thread(target=self.save_unless_heeded, daemon=True)
            saving.start()
            while saving.is_alive() and not hurry:
                hurry = self.second_signal(asked, 0.05)
            saving.join(LAST_SECONDS)
            self.broken_off = True
            if os.name == "posix" and not self.heeded:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            if not self.over.wait(LAST_SECONDS):
                os._exit(128 + (self.request or first or signal.SIGINT))

    def save_unless_heeded(self) -> None:
        with self.lock:
            if not self.heeded and not self.over.is_set():
                with suppress(OSError):  # the state before is whole
                    self.save()

    def next_signal(self, seconds: float | None) -> int | None:
        """The next request within so many seconds, else None. Ended: there will be none."""
        self.heard.settimeout(seconds)
        try:
            told = self.heard.recv(1)
        except TimeoutError:
            return None
        if not told:
            raise Ended
        return told[0] if told[0] in NUMBERS else self.next_signal(seconds)

    def second_signal(self, asked: float, seconds: float) -> bool:
        """Whether Ctrl-C comes within so many seconds, not at once after the first request."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.next_signal(left) == signal.SIGINT and time.monotonic() - asked > DOUBLED_SECONDS:
                return True
        return False


def obey(number: int, _frame: FrameType | None, *, asked: list[float] = []) -> None:  # noqa: B006 (of the process)
    """Where nothing has to be saved: raises, which deletes temporary files, and ends the process if that hangs.

    A second Ctrl-C ends it at once.
    """
    if asked and number == signal.SIGINT and time.monotonic() - asked[0] > DOUBLED_SECONDS:
        os._exit(128 + number)
    if not asked:
        leave_within(GRACE_SECONDS, 128 + number)
    asked.append(time.monotonic())
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def leave_within(seconds: float, code: int) -> None:
    """The process ends then at the latest: threads that hang would keep it for ever."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
