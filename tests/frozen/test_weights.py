"""Downloads: checked, whole or not at all, only when asked; served here by a server of this machine."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vader3d.cli.main import main
from vader3d.frozen import weights
from vader3d.frozen.weights import WEIGHTS, download_weights, find_weights

BODY = bytes(range(256)) * 20_000  # 5 MB
RIGHT = hashlib.sha256(BODY).hexdigest()
SLOW_SECONDS = 0.2  # between the tenths of /slow


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/absent":
            return self.send_error(404)
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
    """A server whose paths are /right, /absent, /cut (the answer ends early), /slow and /endless (of unsaid length)."""
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
    served = replace(WEIGHTS["vgg19"], **{"url": url, "sha256": RIGHT[:8], **changes})
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
    with pytest.raises(ValueError, match=rf"wanted a SHA-256 of {RIGHT[:8]}\.\.\.; got .* from .*{place}.*delete it"):
        download_weights("vgg19")
    assert server.asked == []


WRONG = {
    "another file": (
        "/right",
        {"sha256": "dcbb9e9d"},
        r"wanted a SHA-256 of dcbb9e9d\.\.\.; got .*5120000 bytes; nothing was kept",
    ),
    "a full checksum that differs at the end": ("/right", {"sha256": RIGHT[:-1] + "x"}, r"x\.\.\.; got"),
    "an answer cut short": ("/cut", {}, r"\.\.\.; got|got no answer"),
    "too large": ("/right", {"largest": 1_000_000}, "at most 1000000 bytes"),
    "too large and of unsaid length": ("/endless", {"largest": 1_000_000}, "at most 1000000 bytes"),
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
weights.WEIGHTS["vgg19"] = replace(weights.WEIGHTS["vgg19"], url=sys.argv[1], sha256=sys.argv[2])
weights.CHUNK_BYTES = 1 << 16
weights.download_weights("vgg19")
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_download_leaves_no_weights_and_the_next_cleans_up(monkeypatch, server, tmp_path):
    url, ours = f"http://127.0.0.1:{server.server_port}/slow", tmp_path / "ours"
    process = subprocess.Popen([sys.executable, "-c", KILLED, url, RIGHT[:8]])
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
