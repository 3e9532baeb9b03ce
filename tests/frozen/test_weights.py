"""Downloads: checked, whole or not at all, only when asked; served here by a server of this machine."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import HTTPSHandler

import pytest
import torch

from vader3d.cli.main import main
from vader3d.frozen import weights
from vader3d.frozen.weights import WEIGHTS, download_weights, find_weights, usual_places

BODY = bytes(range(256)) * 20_000  # 5 MB
RIGHT = hashlib.sha256(BODY).hexdigest()
SLOW_SECONDS = 0.2  # between the tenths of /slow
AWAY = {"/to-http": "http://{}/right", "/to-https": "https://{}/right", "/to-file": "file:///etc/hostname"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/absent":
            return self.send_error(404)
        if self.path in AWAY:
            self.send_response(302)
            self.send_header("Location", AWAY[self.path].format(self.headers["Host"]))
            return self.end_headers()
        if self.path == "/mute":
            return time.sleep(SLOW_SECONDS * 10)
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        for start in range(0, len(BODY), len(BODY) // 10):
            if self.path == "/cut" and start:
                break
            if self.path == "/slow" and start:
                time.sleep(SLOW_SECONDS)
            self.wfile.write(BODY[start : start + len(BODY) // 10])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server whose paths are /right, /absent, /cut (the answer ends early), /slow, /mute (no headers for long),
    /endless (of unsaid length), and redirects."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VADER3D_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.handle_error = [], lambda *_: None  # clients that hang up are the point
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def serve(monkeypatch, server, path: str, **changes) -> None:
    """Let `vgg19` be what the server answers."""
    url = f"http://127.0.0.1:{server.server_port}{path}"
    served = replace(WEIGHTS["vgg19"], **{"url": url, "sha256": RIGHT, "size": len(BODY), **changes})
    monkeypatch.setitem(weights.WEIGHTS, "vgg19", served)


def test_a_download_lands_in_the_cache_and_is_found_there(monkeypatch, server, tmp_path, capsys):
    serve(monkeypatch, server, "/right")
    assert "vgg19: VGG-19" in listed(capsys)
    assert listed(capsys).count("not here") == len(WEIGHTS)
    assert server.asked == []
    main(["weights", "vgg19"])
    path = tmp_path / "ours" / "vgg19-dcbb9e9d.pth"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes() == BODY
    assert find_weights("vgg19") == path
    assert os.listdir(path.parent) == [path.name]
    main(["weights", "vgg19"])
    assert server.asked == ["/right"]
    assert str(path) in listed(capsys)


def listed(capsys) -> str:
    main(["weights"])
    return capsys.readouterr().out


@pytest.mark.parametrize("place", ["ours", "torch/hub/checkpoints"])
def test_a_file_that_lies_there_already_is_verified_not_fetched(monkeypatch, server, tmp_path, place):
    serve(monkeypatch, server, "/right")
    path = tmp_path / place / "vgg19-dcbb9e9d.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert download_weights("vgg19") == path
    path.write_bytes(BODY[:-1])
    with pytest.raises(ValueError, match=rf"wanted a SHA-256 of {RIGHT}; got .* from .*{place}.*delete it"):
        download_weights("vgg19")
    assert server.asked == []


WRONG = {
    "another file": ("/right", {"sha256": "dcbb9e9d"}, r"wanted a SHA-256 of dcbb9e9d; got .*/right; nothing was kept"),
    "a full checksum that differs at the end": ("/right", {"sha256": RIGHT[:-1] + "x"}, r"x; got"),
    "a checksum of which only the first digits agree": ("/right", {"sha256": RIGHT[:8] + "0" * 56}, "0; got"),
    "an answer cut short": ("/cut", {}, "wanted 5120000 bytes .* got 512000; nothing was kept"),
    "too large": ("/right", {"size": 1_000_000}, "wanted 1000000 bytes .* got .* or more"),
    "too large and of unsaid length": ("/endless", {"size": 1_000_000}, "wanted 1000000 bytes .* got .* or more"),
    "nothing at the address": ("/absent", {}, r"got no answer \(.*Not Found.*put it at .*vgg19-dcbb9e9d\.pth"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_kept(monkeypatch, server, tmp_path, case):
    path, changes, wanted = WRONG[case]
    serve(monkeypatch, server, path, **changes)
    with pytest.raises(ValueError, match=wanted):
        download_weights("vgg19")
    assert not (tmp_path / "ours").exists()


def test_without_a_network_it_says_where_to_put_the_file(monkeypatch, server, tmp_path):
    serve(monkeypatch, server, "/right")
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=rf"Connection refused.*put it at {tmp_path}/ours/vgg19-dcbb9e9d\.pth"):
        download_weights("vgg19")


KILLED = """
import sys
from dataclasses import replace
from vader3d.frozen import weights
weights.WEIGHTS["vgg19"] = replace(weights.WEIGHTS["vgg19"], url=sys.argv[1], sha256=sys.argv[2], size=int(sys.argv[3]))
weights.CHUNK_BYTES = 1 << 16
weights.download_weights("vgg19")
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_download_leaves_no_weights_and_the_next_cleans_up(monkeypatch, server, tmp_path):
    url, ours = f"http://127.0.0.1:{server.server_port}/slow", tmp_path / "ours"
    process = subprocess.Popen([sys.executable, "-c", KILLED, url, RIGHT, str(len(BODY))])
    deadline = time.monotonic() + 300
    while not any(part.stat().st_size for part in ours.glob(".*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(300)
    assert sorted(path.suffix for path in ours.iterdir()) == [".lock", ".part"]
    with pytest.raises(ValueError, match="got no such file"):
        find_weights("vgg19")
    serve(monkeypatch, server, "/right")
    assert download_weights("vgg19").read_bytes() == BODY
    assert os.listdir(ours) == ["vgg19-dcbb9e9d.pth"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_file_names_carry_the_checksum_as_torch_s_do(name):
    known = WEIGHTS[name]
    assert known.url.startswith("https://")
    assert known.url.endswith("/" + known.file)
    assert known.file.rpartition("-")[2].removesuffix(".pth") == known.sha256[:8]
    assert len(known.sha256) == 64
    assert known.size > 1e6


@pytest.fixture
def in_the_clear(monkeypatch):
    """https without certificates: what https addresses name is asked as if they were http."""
    monkeypatch.setattr(HTTPSHandler, "https_open", lambda self, request: self.do_open(HTTPConnection, request))


@pytest.mark.parametrize("path", ["/to-http", "/to-file"])
def test_https_never_falls_to_less(monkeypatch, server, in_the_clear, tmp_path, path):
    serve(monkeypatch, server, path, url=f"https://127.0.0.1:{server.server_port}{path}")
    with pytest.raises(ValueError, match=r"got no answer \(.*[rR]edirect.*(http|file)://"):
        download_weights("vgg19")
    assert not (tmp_path / "ours").exists()
    assert server.asked == [path]


def test_redirects_within_https_are_followed(monkeypatch, server, in_the_clear):
    serve(monkeypatch, server, "", url=f"https://127.0.0.1:{server.server_port}/to-https")
    assert download_weights("vgg19").read_bytes() == BODY


@pytest.mark.parametrize("path", ["/slow", "/mute"])
def test_a_download_has_a_time_limit_over_all(monkeypatch, server, tmp_path, path):
    monkeypatch.setattr(weights, "LONGEST_SECONDS", SLOW_SECONDS)
    serve(monkeypatch, server, path)
    with pytest.raises(ValueError, match=rf"got no answer \(no.* after {SLOW_SECONDS} seconds\)"):
        download_weights("vgg19")
    assert not (tmp_path / "ours").exists()


def test_torch_s_cache_is_looked_for_where_torch_looks(monkeypatch, tmp_path):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert usual_places("vgg19")[1].parent == Path(torch.hub.get_dir(), "checkpoints")
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert usual_places("vgg19")[1].parent == Path(torch.hub.get_dir(), "checkpoints")
