"""A studio with a tiny model, and how tests speak to it."""

import http.client
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vader3d.generate.files import schema
from vader3d.studio import maker
from vader3d.studio.api import create_app
from vader3d.studio.browse import Shelf
from vader3d.studio.foreman import Foreman
from vader3d.studio.guard import Keys
from vader3d.studio.jobs import Gallery
from vader3d.studio.server import server_for
from vader3d.training.log import MetricLog

TOKEN = "the token of these tests"
SECONDS = 600  # of a busy machine: that anything takes


class Answer:
    """Status, headers and body of one answer."""

    def __init__(self, response: http.client.HTTPResponse):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def asked(port: int, method: str, path: str, value: Any = None, *, token: str | None = TOKEN, **headers: str) -> Answer:
    """Underscores of headers' names are hyphens; a value is sent as JSON, bytes as they are."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if token is not None:
        sent.setdefault("Authorization", f"Bearer {token}")
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Studio:
    """A studio that listens, with what is behind it."""

    def __init__(self, port: int, foreman: Foreman, keys: Keys):
        self.port, self.foreman, self.gallery, self.keys = port, foreman, foreman.gallery, keys
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, value: Any = None, *, token: str | None = TOKEN, **headers: str) -> Answer:
        return asked(self.port, method, path, value, token=token, **headers)

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def make(self, **request: Any) -> dict[str, Any]:
        """A job, once it has ended."""
        answer = self.ask("POST", "/v1/jobs", {"steps": 1, "count": 1, **request})
        assert answer.status == 201, answer.body
        return self.until(answer.json["id"], lambda job: job["state"] not in ("queued", "running"))

    def until(self, job: str, holds: Callable[[dict], bool]) -> dict[str, Any]:
        return waited(lambda: self.get(f"/v1/jobs/{job}").json, holds)


def waited(look: Callable[[], Any], holds: Callable[[Any], Any]) -> Any:
    """What `look` gives as soon as it holds."""
    end = time.monotonic() + SECONDS
    while not holds(value := look()):
        assert time.monotonic() < end, f"{value!r:.500}"
        time.sleep(0.02)
    return value


def log_line(run: Path, seen: int) -> None:
    """As a training of the folder writes it after so many objects."""
    log = MetricLog(run, objects_seen=seen)
    log.write(seen, {"denoising": 100 / seen, "loss": 100 / seen, "seconds": seen / 10, "objects_per_second": 10.0})
    log.close()


class Thread:
    """As a process, of which nobody can be killed."""

    exitcode = 0

    def __init__(self, thread: threading.Thread):
        self.join = thread.join
        thread.start()

    def kill(self) -> None:
        pass


class NearForeman(Foreman):
    """Its maker is a thread, which needs no torch of its own."""

    def begin(self):
        ours, theirs = multiprocessing.Pipe()
        arguments = (theirs, self.model, self.device, str(self.gallery.folder))
        return ours, Thread(threading.Thread(target=maker.make_for, args=arguments, daemon=True))


@contextmanager
def studio_of(
    model: Path,
    folder: Path,
    *,
    at_work: bool = True,
    kind: type[Foreman] = NearForeman,
    shelf: Shelf | None = None,
    **limits: float,
) -> Iterator[Studio]:
    """at_work: with what makes; else jobs stay queued."""
    pytest.importorskip("fastapi", reason="needs vader3d[studio]")
    pytest.importorskip("uvicorn", reason="needs vader3d[studio]")
    keys, foreman = Keys(TOKEN), kind(Gallery(folder, **limits), str(model), "cpu")
    if at_work:
        foreman.start()
    server = server_for(create_app(foreman, keys, model=schema(str(model)), shelf=shelf))
    server.install_signal_handlers = lambda: None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        waited(lambda: server.started, bool)
        try:
            yield Studio(listener.getsockname()[1], foreman, keys)
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            if at_work:
                foreman.stop()
