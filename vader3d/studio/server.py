"""`vader3d studio`: a port, a token, a browser, a server."""

import os
import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vader3d.files import held, write_text
from vader3d.generate.files import schema
from vader3d.studio.api import create_app
from vader3d.studio.browse import Shelf
from vader3d.studio.foreman import Foreman
from vader3d.studio.guard import App, Keys
from vader3d.studio.jobs import Gallery

if TYPE_CHECKING:
    import uvicorn

TOKEN = "token"
MOST_CONNECTIONS = 400
SILENT_SECONDS = 20.0
NEAR_PORTS = 50  # looked at for a free one


def free_socket(host: str, port: int) -> socket.socket:
    """Bound, not yet listened on. ValueError: in use, and which is free; or no address of this machine."""
    try:
        return bound(host, port)
    except PermissionError as error:
        raise ValueError(f"port: wanted one that this user may open; got {port}; choose one above 1023") from error
    except OSError as error:
        for other in range(port + 1, min(port + NEAR_PORTS, 65536)):
            try:
                bound(host, other).close()
            except OSError:
                continue
            raise ValueError(
                f"port: wanted a free one; got {port}, which is in use on {host}; --port {other} is free"
            ) from error
        raise ValueError(f"host: wanted an address of this machine; got {host!r}: {error.strerror}") from error


def bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def token_in(folder: Path) -> str:
    """The gallery's token, made at its first start, in a file that its owner alone may read."""
    path = folder / TOKEN
    if path.is_file() and (token := path.read_text(encoding="ascii", errors="replace").strip()):
        return token
    token = secrets.token_urlsafe(24)
    write_text(path, token + "\n")
    path.chmod(0o600)
    return token


def serve(
    model: str = "",
    *,
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 7860,
    allowed: Sequence[str] = (),
    device: str = "auto",
    keep_days: float = 30.0,
    quota_gb: float = 4.0,
    data: Sequence[str] = (),
    runs: Sequence[Path] = (),
    opened: bool = False,
) -> None:
    """Serve until stopped. ValueError: no such model, data set or run, a port in use, a gallery of another studio."""
    described, shelf = schema(model), Shelf(data, runs, model=model)
    with free_socket(host, port) as listener, held(folder):
        folder.chmod(0o700)  # what others asked for is none of anybody's business
        keys = Keys(token_in(folder))
        gallery = Gallery(folder, keep_days=keep_days, most_bytes=quota_gb * 1e9)
        foreman = Foreman(gallery, model, device)
        foreman.start()  # the model is loaded while the rest is imported
        app = create_app(foreman, keys, model=described, shelf=shelf, hosts=(host, *allowed))
        listener.listen(MOST_CONNECTIONS)  # whoever opens the address at once waits, instead of being refused
        name, number = listener.getsockname()[:2]
        address = f"http://{'[' + name + ']' if ':' in name else name}:{number}"
        print(f"the studio: {address}/#{keys.new_code()}   (opens once)", flush=True)
        print(f"afterwards: {address}, which asks other browsers for the token: {keys.token}", flush=True)
        if opened:
            webbrowser.open(f"{address}/#{keys.new_code()}")
        try:
            server_for(app).run(sockets=[listener])
        finally:
            foreman.stop()


def server_for(app: App) -> "uvicorn.Server":
    """It logs no request, since a log is read by others than those who ask."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=impatient_protocol(),
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=1 << 14,
        )
    )


def impatient_protocol() -> Any:
    """HTTP that ends connections on which nothing happens: no whole request is asked, no answer is taken.

    Else a few hundred silent ones would keep everybody out, and they need no token for it.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(SILENT_SECONDS, self.look, None, -1)

        def look(self, cycle: Any, unsent: int) -> None:
            """cycle: the request that was being answered a while ago; unsent: bytes that waited then."""
            if self.transport.is_closing():
                return
            waits = self.cycle is None or self.cycle.response_complete
            left = self.transport.get_write_buffer_size()
            if self.cycle is cycle and (waits or 0 < left == unsent):
                self.transport.abort()
                return
            self.loop.call_later(SILENT_SECONDS, self.look, self.cycle, left)

    return Impatient
