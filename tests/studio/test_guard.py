"""What is refused: other hosts, origins, secrets, and shapes of attacks that others' servers let in."""

import gzip
import json
import os
import socket
import stat
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from studios import TOKEN, studio_of

from vader3d.export.placement import ExportConfig
from vader3d.studio import guard, server
from vader3d.studio.api import disposition

DEEP = b'{"prompts":' + b"[" * 30_000 + b"]" * 30_000 + b"}"


@pytest.fixture(scope="module")
def idle(model, tmp_path_factory):
    """One for all of this file; nothing of it changes anything."""
    with studio_of(model, tmp_path_factory.mktemp("idle"), at_work=False) as made:
        yield made


def test_nothing_is_told_without_the_token(idle):
    for path in ("/v1/model", "/v1/jobs", "/v1/jobs/" + "0" * 16, "/v1/assets/" + "0" * 16 + "-0.glb", "/v1/nothing"):
        assert idle.get(path, token=None).status == 401, path
        assert idle.get(path, token="another").status == 401, path
    assert idle.ask("POST", "/v1/jobs", {}, token=None).status == 401
    assert idle.get("/", token=None).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("LocalHost:1", 200),
        ("[::1]:7860", 200),
        ("192.168.0.7:7860", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:7860", 421),
        ("evil.example@127.0.0.1", 421),
        ("127.0.0.1:7860/evil", 421),
        ("2130706433.", 421),
        ("", 421),
    ],
)
def test_only_our_own_hosts_are_answered(idle, host, status):
    """A name that an attacker points to 127.0.0.1 is none of ours."""
    assert idle.get("/v1/jobs", Host=host).status == status


def test_other_pages_may_not_ask(idle):
    own = f"127.0.0.1:{idle.port}"
    for origin in (
        "https://evil.example",
        "null",
        f"http://localhost:{idle.port}",
        f"http://{own}.evil.example",
        "http://[",
    ):
        assert idle.ask("POST", "/v1/jobs", {}, Origin=origin, Host=own).status == 403, origin
    assert idle.get("/v1/jobs", Sec_Fetch_Site="cross-site").status == 403
    assert idle.get("/v1/jobs", Sec_Fetch_Site="same-site").status == 403
    assert idle.get("/v1/jobs", Origin=f"http://{own}", Host=own, Sec_Fetch_Site="same-origin").status == 200
    answer = idle.ask("OPTIONS", "/v1/jobs", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_page_shows_the_token_once_and_writes_with_its_own_origin_alone(idle):
    own = f"127.0.0.1:{idle.port}"
    code = idle.keys.new_code()
    opened = idle.ask("POST", "/v1/session", {"secret": code}, token=None, Origin=f"http://{own}", Host=own)
    assert opened.status == 204
    cookie = opened.headers["Set-Cookie"]
    assert all(word in cookie.lower() for word in ("httponly", "samesite=strict", "path=/v1"))
    cookie = cookie.partition(";")[0]
    assert idle.ask("POST", "/v1/session", {"secret": code}, token=None).status == 401
    assert idle.get("/v1/jobs", token=None, Cookie=cookie).status == 200
    assert idle.ask("DELETE", "/v1/jobs/" + "0" * 16, token=None, Cookie=cookie).status == 403
    assert (
        idle.ask("DELETE", "/v1/jobs/" + "0" * 16, token=None, Cookie=cookie, Origin=f"http://{own}", Host=own).status
        == 404
    )
    assert idle.ask("POST", "/v1/session", {"secret": TOKEN}, token=None).status == 204
    assert idle.ask("POST", "/v1/session", {"secret": 7}, token=None).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/C:/Windows/win.ini",
        "/..%5c..%5cwin.ini",
        "/studio.js/../../api.py",
        "/api.py",
        "/v1/assets/../token",
        "/v1/assets/..%2ftoken",
        "/v1/assets/..%2f..%2ftoken.glb",
        "/v1/assets/" + "0" * 16 + "-0/../../token",
        "/v1/assets/" + "0" * 16 + "-0.glb%00.png",
        "/v1/assets/" + "0" * 16 + "-0.glb%0d%0aSet-Cookie:%20a=b",
        "/v1/jobs/%2e%2e%2ftoken",
        "/v1/jobs/file:%2f%2f%2fetc%2fpasswd",
        "/v1/assets/http:%2f%2f169.254.169.254%2f.glb",
        "/file=/etc/passwd",
        "/proxy=http://169.254.169.254/",
        "/v1/assets/%252e%252e%252ftoken.glb",
        "/....//....//etc/passwd",
        "/\\\\server\\share\\x",
        "/%5c%5cserver%5cshare%5cx",
        "/C:%5cWindows%5cwin.ini",
        "/v1/assets/C:%5ctoken.glb",
        "/v1/assets/CON.glb",
        "/v1/assets/" + "0" * 16 + "-0.glb%2f..%2f..%2f..%2ftoken",
        "/v1/assets/" + "0" * 16 + "-0.%2e%2e%2ftoken",
        "/v1/jobs/" + "0" * 16 + "%00",
        "/v1/data/..%2f..%2f/objects/0",
        "/v1/runs/0/previews/..%2f..%2frun.json",
        "/camera_plot.html",
        "/page/index.html",
        "/.git/config",
        "/%ff%fe",
    ],
)
def test_no_path_leads_out(idle, path):
    answer = idle.get(path)
    assert answer.status in (400, 404, 422), (answer.status, answer.body[:200])
    assert b"root:" not in answer.body
    assert TOKEN.encode() not in answer.body
    assert "a=b" not in str(answer.headers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"guidance": NaN}', 400),
        (b'{"guidance": Infinity}', 400),
        (b'{"guidance": 1e999}', 422),
        (DEEP, 400),
        (b'{"count": ' + b"9" * 5000 + b"}", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b'{"prompts": [{"a": 1}]}', 422),
        (b'{"prompts": "text"}', 422),
        (b'{"image_url": "http://169.254.169.254/latest/meta-data"}', 422),
        (b'{"url": "file:///etc/passwd"}', 422),
        (b'{"callback_url": "http://[::1]/"}', 422),
        (b'{"webhook": "http://127.0.0.1:22/"}', 422),
        (b'{"model": "http://evil.example/model"}', 422),
        (b'{"source": "http://169.254.169.254/", "kind": "vary"}', 422),
        (b'{"source": "/etc/passwd", "kind": "vary"}', 422),
        (b'{"source": "\\\\\\\\server\\\\share", "kind": "vary"}', 422),
        (b'{"type": "../../x"}', 422),
        (b'{"keep_box": [NaN, 0, 0, 1, 1, 1], "kind": "vary"}', 400),
        (b'{"strength": -Infinity}', 400),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, 400),
        (gzip.compress(b'{"prompts": ["' + b"x" * 10_000_000 + b'"]}'), 400),
        (b'{"source": "C:\\\\Windows", "kind": "vary"}', 422),
        (b'{"kind": "../../x"}', 422),
        (b'{"prompts": ["' + b"x" * guard.MOST_BODY + b'"]}', 413),
        (b'{"__proto__": {}}', 422),
        (b'{"keep_box": [1, 2, 3], "kind": "vary"}', 422),
    ],
)
def test_bodies_that_break_others_end_in_one_line(idle, body, status):
    answer = idle.ask("POST", "/v1/jobs", body)
    assert answer.status == status, answer.body
    assert [*answer.json] == ["detail"]
    assert "\n" not in answer.json["detail"]
    assert "Traceback" not in answer.json["detail"]
    assert idle.get("/v1/jobs").json == []


def test_only_json_is_read(idle):
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/zip")
    for kind in (*kinds, "image/png", "application/octet-stream", ""):
        assert idle.ask("POST", "/v1/jobs", b"{}", Content_Type=kind).status == 415, kind


def test_odd_headers_break_nothing(idle):
    assert idle.ask("POST", "/v1/jobs", {"count": 0}, Idempotency_Key="x" * 65).status == 422
    assert idle.get("/v1/jobs?most=201").status == 422
    assert idle.get("/v1/jobs?most=x").status == 422
    assert idle.get("/v1/jobs", token=None, Cookie='a="\\; =;;=; b').status == 401
    assert idle.get("/v1/jobs", token="\xe9").status == 401


def test_a_slow_body_is_not_waited_for(idle, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection(("127.0.0.1", idle.port), timeout=60) as slow:
        slow.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def answer_to(port: int, data: bytes) -> bytes:
    """Of bytes as they are."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        try:
            line.sendall(data)
            return line.recv(100)
        except ConnectionError:  # it had enough before the end
            return b"HTTP/1.1 400"


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: 127.0.0.1\r\n",
        "GET http://evil.example/v1/jobs HTTP/1.1\r\nHost: evil.example\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n X: folded\r\nBad\r\n",
        "GET /v1/jobs\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + "x" * 2_000_000 + "\r\n",
        "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\rSet-Cookie: a=b\r\n",
    ],
)
def test_heads_that_are_none_are_refused(idle, head):
    said = answer_to(idle.port, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431")), said


def test_names_of_files_are_no_headers():
    for name in ("a\r\nSet-Cookie: a=b", 'a"; filename="x', "\u202egnp.exe", "\N{SNOWMAN}", "../../x", "a\0b"):
        said = disposition(f"{name}.glb")
        assert said.isascii()
        assert said.isprintable()
        assert not {*said.partition("''")[2]} & {*'/\\";'}


def test_numbers_of_a_download_are_numbers(idle):
    for query in ("size_cm=nan", "size_cm=inf", "size_cm=1e999", "size_cm=-1", "faces=-5", "faces=1e3", "preset=../x"):
        assert idle.get(f"/v1/assets/{'0' * 16}-0.glb?{query}").status in (404, 422), query
    with pytest.raises(ValueError, match="size_cm: wanted"):
        ExportConfig(size_cm=float("nan"))


def test_silent_connections_end(idle, monkeypatch):
    """They need no token, and would take the places of others."""
    monkeypatch.setattr(server, "SILENT_SECONDS", 0.2)
    lines = []
    for data in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "):
        lines.append(socket.create_connection(("127.0.0.1", idle.port), timeout=60))
        lines[-1].sendall(data)
    for line in lines:
        with line, suppress(ConnectionResetError):
            assert line.recv(10) == b""  # not a timeout
    assert idle.get("/v1/jobs").status == 200


def test_a_token_in_an_address_opens_nothing(idle):
    """Addresses end in logs and histories."""
    for query in (f"token={TOKEN}", f"secret={TOKEN}", f"access_token={TOKEN}"):
        assert idle.get(f"/v1/jobs?{query.replace(' ', '%20')}", token=None).status == 401


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_nobody_else_reads_the_folder(model, tmp_path, monkeypatch, capsys):
    """Nor reaches the port, unless that was asked for; and then a token is needed, too."""
    heard = []
    keep = SimpleNamespace(run=lambda sockets: heard.append(sockets[0].getsockname()[0]))
    monkeypatch.setattr(server, "server_for", lambda app: keep)
    monkeypatch.setattr(server, "Foreman", lambda *what: SimpleNamespace(gallery=what[0], start=list, stop=list))
    server.serve(str(model), folder=tmp_path / "gallery", port=0)
    assert stat.S_IMODE((tmp_path / "gallery").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "gallery" / "token").stat().st_mode) == 0o600
    token = (tmp_path / "gallery" / "token").read_text().strip()
    server.serve(str(model), folder=tmp_path / "gallery", port=0, host="0.0.0.0")
    assert heard == ["127.0.0.1", "0.0.0.0"]
    assert capsys.readouterr().out.count(token) == 2


def test_a_browser_is_told_what_it_may_do(idle):
    for path, lasting in (("/", True), ("/studio.js", True), ("/v1/jobs", False), ("/nothing", True)):
        headers = idle.get(path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
        assert policy["frame-ancestors"] == "'none'"
        assert not any("http" in sources for sources in policy.values())
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == ("no-cache" if lasting else "no-store")
        assert "Server" not in headers or "uvicorn" not in headers["Server"]


def test_secrets_are_in_no_answer_and_no_log(idle, capfd):
    for path in ("/", "/studio.js", "/openapi.json", "/v1/model", "/v1/jobs"):
        answer = idle.get(path)
        assert TOKEN.encode() not in answer.body
        assert TOKEN not in json.dumps([*answer.headers.items()])
    time.sleep(0.1)
    assert TOKEN not in "".join(capfd.readouterr())
