"""Who may ask for what: hosts, origins, the token, sizes."""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BODY, BODY_SECONDS = 1 << 16, 10.0
UPLOADS = "/v1/uploads"  # takes larger bodies of these kinds, a few at once
MOST_UPLOAD = {"application/json": 1 << 22, "image/png": 1 << 24, "image/jpeg": 1 << 24, "image/webp": 1 << 24}
UPLOAD_SECONDS, UPLOADS_AT_ONCE = 60.0, 4
OPEN = ("/v1/session",)  # of the API: where the token is shown
POLICY = (  # model-viewer brings styles and WebAssembly of its own, and reads what it made as blob: addresses
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' "
    "data: blob:; connect-src 'self' blob: data:; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Keys:
    """The token, and codes that stand for it once each: they open a page without the token being in an address."""

    def __init__(self, token: str):
        self.token = token
        self.codes: set[str] = set()
        self.cookie = f"vader3d-{hashlib.sha256(token.encode()).hexdigest()[:8]}"  # studios of one host share cookies

    def new_code(self) -> str:
        code = secrets.token_urlsafe(16)
        self.codes.add(code)
        return code

    def opens(self, secret: str) -> bool:
        """Whether it is the token, or a code that was not used yet."""
        if same(secret, self.token):
            return True
        code = next((code for code in self.codes if same(secret, code)), None)
        self.codes.discard(code or "")
        return code is not None


def same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode("utf-8", "replace"), b.encode("utf-8", "replace"))


class Guard:
    """Stands before the application: what it refuses never reaches it."""

    def __init__(self, app: App, *, keys: Keys, hosts: Collection[str] = ()):
        self.app, self.keys, self.hosts = app, keys, {"localhost", *(host.lower() for host in hosts)}
        self.uploads = 0  # that are on their way

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no other kind is spoken here
        guarded = with_headers(send, lasting=not scope["path"].startswith("/v1/"))
        refusal = self.refusal(scope)
        sends = refusal is None and scope["method"] in ("POST", "PUT", "PATCH")
        uploads = sends and scope["path"] == UPLOADS
        if uploads and self.uploads >= UPLOADS_AT_ONCE:
            refusal = 429, f"uploads: wanted at most {UPLOADS_AT_ONCE} at once; got more; send one after another"
        if refusal is not None:
            return await answer(guarded, *refusal)
        self.uploads += uploads
        try:
            if sends:
                body = await whole_body(scope, receive)
                if isinstance(body, tuple):
                    return await answer(guarded, *body)
                receive = again(body, receive)
            return await self.app(scope, receive, guarded)
        finally:
            self.uploads -= uploads

    def refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        """Status and words where the request may not pass."""
        hosts, origins = values_of(scope, b"host"), values_of(scope, b"origin")
        if len(hosts) != 1 or not self.is_ours(hosts[0]):
            return 421, "Host: wanted this studio's; got another's; start it with --allow-host NAME to be called so"
        if any(netloc_of(origin) != hosts[0] for origin in origins):
            return 403, "Origin: wanted the studio's own page; got another's"
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        if not path.startswith("/v1/"):
            return None
        if any(site in ("cross-site", "same-site") for site in values_of(scope, b"sec-fetch-site")):
            return 403, "Sec-Fetch-Site: wanted the studio's own page; got another's"
        if path in OPEN:
            return None
        bearer = [value[7:] for value in values_of(scope, b"authorization") if value[:7].lower() == "bearer "]
        if any(same(secret, self.keys.token) for secret in bearer):
            return None
        if not any(same(secret, self.keys.token) for secret in cookies_of(scope, self.keys.cookie)):
            return 401, "token: wanted the one that `vader3d studio` printed; got none or another"
        if not (reads or origins):
            return 403, "Origin: wanted one beside a cookie; got none; scripts send Authorization: Bearer TOKEN"
        return None

    def is_ours(self, host: str) -> bool:
        """Names must be known, so that nobody's domain can be pointed here; numbers belong to nobody's page."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            urlsplit(f"//{host}").port  # noqa: B018  ValueError: no number
        except ValueError:
            return False
        if name in self.hosts:
            return not set(host) & set("@/?#\\ ")
        try:
            ip_address(name)
        except ValueError:
            return False
        return not set(host) & set("@/?#\\ ")


def netloc_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def values_of(scope: MutableMapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def cookies_of(scope: MutableMapping[str, Any], cookie: str) -> list[str]:
    found = []
    for value in values_of(scope, b"cookie"):
        try:
            found += [each.value for name, each in SimpleCookie(value).items() if name == cookie]
        except CookieError:
            continue
    return found


async def whole_body(scope: MutableMapping[str, Any], receive: Receive) -> bytes | tuple[int, str]:
    """A body, read, and looked at if it is JSON; else status and words."""
    uploads = scope["path"] == UPLOADS
    most = MOST_UPLOAD if uploads else {"application/json": MOST_BODY}
    kinds = [value.partition(";")[0].strip().lower() for value in values_of(scope, b"content-type")]
    if len(kinds) != 1 or kinds[0] not in most:
        return 415, f"Content-Type: wanted {' or '.join(most)}; got another"
    seconds = UPLOAD_SECONDS if uploads else BODY_SECONDS
    try:
        body = await asyncio.wait_for(read(receive, most[kinds[0]]), seconds)
    except asyncio.TimeoutError:
        return 408, f"body: wanted within {seconds:.0f} s; got a part"
    if body is None:
        return 413, f"body: wanted at most {most[kinds[0]]} bytes; got more"
    if kinds[0] != "application/json":
        return body
    try:
        value = json.loads(body, parse_constant=not_a_number)
    except (ValueError, RecursionError):
        return 400, "body: wanted JSON; got something else"
    return body if isinstance(value, dict) else (422, "body: wanted an object; got another value")


def not_a_number(name: str) -> None:
    raise ValueError(f"body: wanted numbers; got {name}")


async def read(receive: Receive, most: int) -> bytes | None:
    """None: it is longer than `most`, or was broken off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


def again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return given.pop() if given else await receive()

    return received


def with_headers(send: Send, *, lasting: bool) -> Send:
    """Every answer says what a browser may do with it."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {key.lower() for key, _ in message["headers"]}
            added = HEADERS | {"cache-control": "no-cache" if lasting else "no-store"}
            more = [(name.encode(), value.encode()) for name, value in added.items() if name.encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sent


async def answer(send: Send, status: int, words: str) -> None:
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
