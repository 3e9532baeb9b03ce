"""The gallery on disk: restarts, deaths, damage, full disks, age and quota, clocks that jump."""

import json
import os
import stat
import time

import pytest
from studios import TOKEN, studio_of, waited

from vader3d.config import config_to_dict
from vader3d.studio import jobs, server
from vader3d.studio.foreman import Foreman
from vader3d.studio.jobs import Gallery
from vader3d.studio.requests import Request, recipes_of, request_from


def submitted(gallery, **values):
    request = request_from({"count": 1, "steps": 1, **values})
    return gallery.submit(config_to_dict(request), [recipe.to_dict() for recipe in recipes_of(request, lambda _: None)])


def test_jobs_survive_a_restart_and_what_ran_is_made(model, tmp_path):
    """A job that was running when its studio was killed keeps what it has and makes the rest."""
    with studio_of(model, tmp_path) as first:
        whole = first.make(seeds=[1], count=2)
        kept = {a["id"]: first.get(f"/v1/assets/{a['id']}.glb").body for a in whole["assets"]}
    path = tmp_path / "jobs" / f"{whole['id']}.json"
    left = json.loads(path.read_text())
    left["state"] = "running"
    left["assets"][1] = {**left["assets"][1], "state": "waiting"}
    path.write_text(json.dumps(left))
    first_file = tmp_path / "assets" / whole["assets"][0]["id"] / "seed1-000.glb"
    before = first_file.stat().st_mtime_ns
    with studio_of(model, tmp_path) as second:
        again = second.until(whole["id"], lambda job: job["state"] == "done")
        assert [asset["state"] for asset in again["assets"]] == ["ready", "ready"]
        assert {name: second.get(f"/v1/assets/{name}.glb").body for name in kept} == kept
    assert first_file.stat().st_mtime_ns == before


def test_damage_is_shown_and_the_rest_is_there(tmp_path):
    gallery = Gallery(tmp_path)
    good, bad = submitted(gallery), submitted(gallery)
    (tmp_path / "jobs" / f"{bad.id}.json").write_text('{"id": "other"')
    (tmp_path / "jobs" / ("f" * 16 + ".json")).write_text("[1]")
    broken = json.loads((tmp_path / "jobs" / f"{good.id}.json").read_text())
    broken |= {"id": "e" * 16, "assets": [broken["assets"][0] | {"id": "../../x"}]}
    (tmp_path / "jobs" / ("e" * 16 + ".json")).write_text(json.dumps(broken))
    states = {job.id: (job.state, job.reason) for job in Gallery(tmp_path).newest()}
    assert states[good.id] == ("queued", "")
    for name in (bad.id, "f" * 16, "e" * 16):
        assert states[name][0] == "damaged"
        assert "wanted" in states[name][1]


def test_a_lost_file_is_shown(tmp_path, model):
    with studio_of(model, tmp_path) as first:
        job = first.make(seeds=[2])
    identity = job["assets"][0]["id"]
    (tmp_path / "assets" / identity / "seed2-000.glb").unlink()
    with studio_of(model, tmp_path, at_work=False) as second:
        (asset,) = second.get(f"/v1/jobs/{job['id']}").json["assets"]
        assert asset["state"] == "damaged"
        assert second.get(f"/v1/assets/{identity}.glb").status == 409


def test_old_jobs_go_first_and_waiting_ones_never(tmp_path, monkeypatch):
    gallery = Gallery(tmp_path, most_bytes=250, keep_days=10)
    made = [submitted(gallery) for _ in range(4)]
    for job in made[:3]:
        (tmp_path / "assets" / job.assets[0]["id"]).mkdir()
        (tmp_path / "assets" / job.assets[0]["id"] / "x").write_bytes(b"." * 100)
        gallery.change(job, state="done")
    gallery.prune()
    assert [*gallery.jobs] == [job.id for job in made[1:]]
    assert not (tmp_path / "assets" / made[0].assets[0]["id"]).exists()
    now = time.time()
    monkeypatch.setattr(jobs.time, "time", lambda: now - 1e9)  # a clock that was set back
    gallery.prune()
    assert len(gallery.jobs) == 3
    late = submitted(gallery)
    assert gallery.newest()[0] is late
    monkeypatch.setattr(jobs.time, "time", lambda: now + 11 * 86400)
    gallery.prune()
    assert [*gallery.jobs] == [made[3].id, late.id]


def test_a_full_disk_is_told(idle, monkeypatch):
    def full(path, text):
        raise OSError(f"could not write {path}: No space left on device")

    monkeypatch.setattr(jobs, "write_text", full)
    answer = idle.ask("POST", "/v1/jobs", {})
    assert answer.status == 507
    assert "No space left on device" in answer.json["detail"]
    assert idle.get("/v1/jobs").json == []


def test_a_full_disk_frees_itself_of_what_is_too_old(tmp_path, monkeypatch):
    gallery = Gallery(tmp_path, keep_days=1)
    old = submitted(gallery)
    gallery.change(old, state="done", created=time.time() - 2 * jobs.DAY)
    written = jobs.write_text

    def full(path, text):
        if (tmp_path / "jobs" / f"{old.id}.json").exists():
            raise OSError(f"could not write {path}: No space left on device")
        written(path, text)

    monkeypatch.setattr(jobs, "write_text", full)
    new = submitted(gallery)
    assert [job.id for job in gallery.newest()] == [new.id]


def test_a_disk_that_fills_up_while_making_fails_the_job_alone(studio, monkeypatch):
    def full(self):
        raise OSError("could not write x: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vader3d.studio.maker.AssetFolder.write_list", full)
        job = studio.make(seeds=[11])
    assert job["state"] == "failed"
    assert "No space left on device" in job["reason"]
    assert studio.make(seeds=[11])["state"] == "done"


def test_a_maker_that_dies_fails_its_job_and_another_one_goes_on(model, tmp_path):
    """In a process of its own, which is killed."""
    killed = []

    class Processes(Foreman):
        def begin(self):
            pipe, process = super().begin()
            killed.append(process)
            return pipe, process

    with studio_of(model, tmp_path, kind=Processes) as made:
        long, short = (
            made.ask("POST", "/v1/jobs", values).json["id"]
            for values in ({"steps": 256, "count": 16, "solver": "heun"}, {"steps": 1, "count": 1})
        )
        made.until(long, lambda job: job["step"] > 0)
        os.kill(killed[0].pid, 9)
        job = made.until(long, lambda job: job["state"] != "running")
        assert job["state"] == "failed"
        assert "ended (-9)" in job["reason"]
        assert made.until(short, lambda job: job["state"] not in ("queued", "running"))["state"] == "done"
    assert not any(process.is_alive() for process in killed)


def test_a_model_that_cannot_be_loaded_fails_what_waits(model, tmp_path):
    with studio_of(model, tmp_path, at_work=False) as made:
        waiting = made.ask("POST", "/v1/jobs", {}).json["id"]
        made.foreman.model = str(tmp_path / "nowhere")
        made.foreman.start()
        job = made.until(waiting, lambda job: job["state"] == "failed")
        assert "model: wanted" in job["reason"]
        assert made.get("/v1/model").json["state"] == "failed"
        assert made.ask("POST", "/v1/jobs", {}).status == 503
        made.foreman.stop()


def test_a_port_in_use_names_a_free_one():
    taken = server.free_socket("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    with (
        taken,
        pytest.raises(ValueError, match=rf"port: wanted a free one; got {port}, .*; --port (\d+) is free") as said,
    ):
        server.free_socket("127.0.0.1", port)
    free = int(str(said.value).split("--port ")[1].split()[0])
    server.free_socket("127.0.0.1", free).close()
    with pytest.raises(ValueError, match="host: wanted an address of this machine"):
        server.free_socket("192.0.2.1", 7860)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_token_is_its_owner_s_and_stays(tmp_path):
    token = server.token_in(tmp_path)
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert server.token_in(tmp_path) == token != TOKEN


def test_every_request_has_as_many_recipes_as_it_says():
    request = Request(prompts=("a", "b"), seeds=(1, 2, 2), count=3)
    recipes = recipes_of(request, lambda _: None)
    assert len({*recipes}) == len(recipes) == 2 * 2 * 3


def test_an_export_that_nobody_hears_is_refused(idle):
    assert waited(lambda: idle.get("/v1/model").json["state"], bool) == "loading"
    with pytest.raises(jobs.Refused, match="being loaded"):
        idle.foreman.export("0" * 16 + "-0", "glb", {}, None, kept=False)
    assert idle.foreman.exports == {}
