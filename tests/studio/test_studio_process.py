"""The command as a process: many clients at once, kill -9, and what a stranger does with the model that ships."""

import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trimesh
from browsers import chromium, colours, pixels, visited
from processes import ROOT, environment
from studios import asked, waited

from vader3d.generate.files import schema
from vader3d.studio.jobs import QUEUE

CLIENTS = 50
MOST_GROWTH = 400e6  # bytes of the server's process, under load
PICTURES = os.environ.get("VADER3D_PICTURES") == "1"  # those of the docs are written anew


class Started(NamedTuple):
    """A studio in a process of its own."""

    process: subprocess.Popen
    port: int
    code: str
    token: str

    def ask(self, method, path, value=None, **headers):
        return asked(self.port, method, path, value, token=self.token, **headers)

    def job(self, identity):
        return self.ask("GET", f"/v1/jobs/{identity}").json


@contextmanager
def command(folder: Path, *options: str) -> Iterator[Started]:
    pytest.importorskip("fastapi", reason="needs vader3d[studio]")
    line = [sys.executable, "-m", "vader3d", "studio", "--output", str(folder), "--port", "0", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        try:
            said = process.stdout.readline() + process.stdout.readline()
            port, code = re.search(r"127\.0\.0\.1:(\d+)/#(\S+)", said).groups()
            yield Started(process, int(port), code, re.search(r"token: (\S+)", said)[1])
        finally:
            process.terminate()
            process.wait(60)


def memory_of(process: int) -> int:
    """Bytes in memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) * 1024


def cpu_seconds_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """What clients met who all asked at once: how often which status, ids that were promised, seconds of statuses."""

    def __init__(self, studio: Started, seconds: float):
        self.studio, self.statuses = studio, Counter[int]()
        self.promised: set[str] = set()
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self.end = time.monotonic() + seconds
        clients = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()

    def client(self, number: int) -> None:
        turn, own = 0, ""
        while time.monotonic() < self.end:
            turn += 1
            key = f"{number} {turn}"
            request = {"seeds": [number], "count": 1, "steps": 2}
            answer = self.studio.ask("POST", "/v1/jobs", request, Idempotency_Key=key)
            self.statuses[answer.status] += 1
            if answer.status == 201:
                own = answer.json["id"]
                self.promised.add(own)
                if self.studio.ask("POST", "/v1/jobs", request, Idempotency_Key=key).json["id"] != own:
                    self.wrong.append("a repeated request made another job")
            elif answer.status != 429 or not int(answer.headers.get("Retry-After", 0)):
                self.wrong.append(f"{answer.status} without a word when to come again")
            for _ in range(4):
                begun = time.monotonic()
                listed = self.studio.ask("GET", f"/v1/jobs/{own}" if own else "/v1/jobs?most=20")
                self.seconds.append(time.monotonic() - begun)
                if listed.status != 200:
                    self.wrong.append(f"{listed.status} for a status")
                time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_many_at_once_and_then_it_is_killed(seconds, model, tmp_path, capsys):
    """Nothing is lost, the queue and the memory are bounded; after kill -9 all that was promised is made.

    For a minute, with `-m slow`, the model that ships works; a few seconds: a tiny one.
    """
    options = ["--device", "cpu", *(["--model", str(model)] if seconds < 60 else [])]
    with command(tmp_path, *options) as studio:
        waited(lambda: studio.ask("GET", "/v1/model").json["state"], lambda state: state == "ready")
        before, used = memory_of(studio.process.pid), cpu_seconds_of(studio.process.pid)
        load = Load(studio, seconds)
        assert load.wrong == []
        assert load.statuses[201] == len(load.promised) >= QUEUE
        assert load.statuses[429] > 0
        grown = memory_of(studio.process.pid) - before
        each = (cpu_seconds_of(studio.process.pid) - used) / (
            load.statuses.total() + load.statuses[201] + len(load.seconds)
        )
        assert grown < MOST_GROWTH
        jobs = {job["id"]: job for job in studio.ask("GET", "/v1/jobs?most=200").json}
        assert sum(job["state"] == "queued" for job in jobs.values()) <= QUEUE
        made = [job for job in map(studio.job, load.promised) if job["state"] == "done"]
        kept = {a["id"]: studio.ask("GET", f"/v1/assets/{a['id']}.glb").body for job in made[:3] for a in job["assets"]}
        waited(lambda: [job["state"] for job in map(studio.job, load.promised)], lambda states: "running" in states)
        studio.process.kill()
        studio.process.wait()
        median, p95 = (statistics.quantiles(load.seconds, n=20)[i] * 1e3 for i in (9, 18))
        with capsys.disabled():
            print(f"\n{CLIENTS} clients, {seconds} s: {dict(load.statuses)}, {len(made)} jobs made")
            print(f"{len(load.seconds)} statuses: median {median:.0f} ms, p95 {p95:.0f} ms")
            print(f"the server grew by {grown / 1e6:.0f} MB and took {each * 1e3:.1f} ms of a core a request")
    with command(tmp_path, *options) as again:
        for identity, data in kept.items():
            assert again.ask("GET", f"/v1/assets/{identity}.glb").body == data
        states = waited(
            lambda: [job["state"] for job in map(again.job, load.promised)],
            lambda states: states.count("done") >= min(len(made) + 2, len(load.promised)),
        )
        assert {*states} <= {"done", "running", "queued"}


def test_ctrl_c_ends_it_and_its_maker(model, tmp_path):
    with command(tmp_path, "--model", str(model), "--device", "cpu") as studio:
        waited(lambda: studio.ask("GET", "/v1/model").json["state"], lambda state: state == "ready")
        studio.process.send_signal(signal.SIGINT)
        assert studio.process.wait(60) in (0, 130)


@pytest.mark.slow
def test_a_stranger_makes_looks_and_takes_with_the_model_that_ships(tmp_path, capsys):
    """A grid of prompts and numbers, its pictures as those of the docs, and a mesh that loads."""
    folder = ROOT / "docs" if PICTURES else tmp_path
    begun = time.monotonic()
    with command(tmp_path / "gallery", "--data", "furniture") as studio, chromium() as browser:
        address = f"http://127.0.0.1:{studio.port}"
        started = time.monotonic() - begun
        with visited(browser, address, studio.code) as page:
            waited(lambda: page.locator("#model").text_content(), lambda words: words.startswith("ready"))
            words = schema("")["x-model"]["words"]
            assert page.locator("#known-words").text_content() == ", ".join(words)
            page.locator("#prompts").fill("a red chair\na round wooden table")
            page.locator("#count").fill("6")
            clicked = time.monotonic()
            page.locator("#make button.first").click()
            page.wait_for_selector("#previews img[src]", state="attached")
            first_preview = time.monotonic() - clicked
            page.wait_for_selector("#gallery .thing")
            first_asset = time.monotonic() - clicked
            waited(lambda: page.locator("#gallery .thing").count(), lambda count: count >= 5)
            waited(lambda: page.evaluate("document.querySelector('model-viewer')?.loaded"), bool)
            waited(lambda: colours(pixels(page)), lambda count: count > 100)
            page.wait_for_timeout(1000)
            page.screenshot(path=folder / "studio.png", full_page=True)
            waited(lambda: page.locator("#gallery .thing").count(), lambda count: count == 12)
            assert page.locator("#gallery h4").all_text_contents() == ["a red chair", "a round wooden table"]
            with page.expect_download() as download:
                page.locator("#take button").click()
            download.value.save_as(tmp_path / "chair.glb")
            assert len(trimesh.load(tmp_path / "chair.glb", force="mesh").faces) > 1000
            page.locator("#tab-browse").click()
            page.wait_for_selector("#views .thing")
            page.wait_for_timeout(1000)
            page.screenshot(path=folder / "studio-data.png", full_page=False)
    with capsys.disabled():
        print(f"\nstarted in {started:.1f} s, first preview after {first_preview:.1f} s, asset {first_asset:.1f} s")
