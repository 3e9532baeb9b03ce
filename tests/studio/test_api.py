"""The API: jobs from beginning to end, the same bytes as the command line, and what is refused."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
import torch
import trimesh

from vader3d.assets import load_volume
from vader3d.cli.main import main
from vader3d.config import config_to_dict
from vader3d.generate import Generator, nearest
from vader3d.studio.jobs import QUEUE
from vader3d.studio.nearest import Training
from vader3d.studio.requests import Request, request_from


@pytest.fixture(scope="module")
def job(studio):
    """Two objects."""
    return studio.make(seeds=[3], count=2, steps=2)


def test_a_job_is_made_and_shown(studio, job):
    assert job["state"] == "done", job["reason"]
    assert [asset["state"] for asset in job["assets"]] == ["ready", "ready"]
    assert all(asset["faces"] > 0 and asset["name"] == f"seed3-00{i}" for i, asset in enumerate(job["assets"]))
    assert studio.get("/v1/jobs?most=1").json[0]["id"] == job["id"]


def test_files_are_those_of_the_command_line(studio, job, model, tmp_path):
    formats = ("glb", "webp", "safetensors", "stl", "normals.png")
    options = ("--model", str(model), "--output", str(tmp_path), "--seed", "3", "--count", "2", "--steps", "2")
    main(["generate", *options, "--formats", *formats, "--device", "cpu"])
    for asset in job["assets"]:
        for form in formats:
            answer = studio.get(f"/v1/assets/{asset['id']}.{form}")
            assert answer.status == 200, answer.body
            assert answer.body == (tmp_path / f"{asset['name']}.{form}").read_bytes(), form


def test_a_mesh_comes_as_it_is_asked_for_and_loads(studio, job):
    address = f"/v1/assets/{job['assets'][0]['id']}"
    usual, small = (studio.get(address + end).body for end in (".glb", ".glb?faces=400&colour=vertex&size_cm=50"))
    mesh = trimesh.load(BytesIO(small), file_type="glb", force="mesh")
    assert 0 < len(mesh.faces) < job["assets"][0]["faces"]
    assert mesh.extents.max() == pytest.approx(0.5, rel=1e-3)
    assert studio.get(address + ".glb").body == usual != small
    assert [*(studio.gallery.folder / "exports").glob("*")] == []


def test_several_files_come_as_a_zip(studio, job):
    asset = job["assets"][0]
    answer = studio.get(f"/v1/assets/{asset['id']}.obj")
    names = {*zipfile.ZipFile(BytesIO(answer.body)).namelist()}
    assert {f"{asset['name']}.obj", f"{asset['name']}.mtl"} <= names
    assert f"{asset['name']}.zip" in answer.headers["Content-Disposition"]


def test_an_object_says_what_made_it(studio, job, model):
    found = studio.get(f"/v1/assets/{job['assets'][1]['id']}").json
    assert found["recipe"]["seed"] == 3
    assert found["recipe"]["index"] == 1
    assert found["provenance"].items() >= found["recipe"].items()


def test_the_nearest_objects_of_the_training_stand_beside_it(studio, job, model):
    """In the order of their latents' distances; a latent of the training itself is a copy."""
    found = studio.get(f"/v1/assets/{job['assets'][0]['id']}").json["nearest"]
    assert len({each["number"] for each in found}) == 3
    assert [each["distance"] for each in found] == sorted(each["distance"] for each in found)
    assert all(each["picture"].startswith("data:image/webp;base64,") for each in found)
    training = Training(Generator.from_pretrained(model, device="cpu"), str(model))
    ((first, *_),) = training.nearest(training.latent(2))
    assert (first.number, first.copy) == (2, True)
    assert first.distance == pytest.approx(0, abs=1e-3)
    ((far, *_),) = training.nearest(training.latent(2) + 1e5 * training.generator.statistics.spread)
    assert not far.copy


def test_of_too_many_objects_none_is_looked_for(model, monkeypatch):
    monkeypatch.setattr(nearest, "MOST_NUMBERS", 1)
    training = Training(Generator.from_pretrained(model, device="cpu"), str(model))
    assert training.nearest(training.latent(0)) == [[]]


def test_events_come_until_the_end_with_pictures(studio):
    asked = studio.ask("POST", "/v1/jobs", {"steps": 6, "count": 1, "seeds": [5]}).json
    text = studio.get(f"/v1/jobs/{asked['id']}/events").body.decode()
    jobs = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert jobs[-1]["state"] == "done"
    assert any(job["previews"].get(f"{asked['id']}-0", "").startswith("data:image/webp;base64,") for job in jobs)
    assert {job["steps"] for job in jobs} >= {6}


def test_a_cancelled_job_stops_and_the_next_one_is_made(studio):
    long = studio.ask("POST", "/v1/jobs", {"steps": 256, "count": 32, "solver": "heun"}).json["id"]
    seen = studio.until(long, lambda job: job["step"] > 0)
    assert seen["state"] == "running"
    assert studio.ask("DELETE", f"/v1/jobs/{long}").status == 200
    job = studio.until(long, lambda job: job["state"] != "running")
    assert job["state"] == "cancelled"
    assert job["step"] < 200
    assert studio.make(seeds=[6])["state"] == "done"
    assert studio.ask("DELETE", f"/v1/jobs/{long}").json["state"] == "cancelled"


def test_objects_are_varied_and_lie_between_two(studio, job):
    first, second = (asset["id"] for asset in job["assets"])
    varied = studio.make(kind="vary", source=first, count=2, strength=0.5)
    between = studio.make(kind="between", source=first, towards=second, count=3)
    assert [each["state"] for each in (varied, between)] == ["done", "done"], (varied, between)
    for end, begun in ((between["assets"][0], job["assets"][0]), (between["assets"][2], job["assets"][1])):
        paths = (studio.gallery.folder / "assets" / each["id"] / f"{each['name']}.safetensors" for each in (end, begun))
        a, b = (load_volume(path).volume.grid for path in paths)
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)
    bad = studio.ask("POST", "/v1/jobs", {"kind": "between", "source": varied["assets"][0]["id"], "towards": first})
    assert bad.status == 422
    assert bad.json["detail"].startswith("source: wanted an object of a prompt")


def test_an_object_can_be_deleted(studio):
    job = studio.make(seeds=[8], count=2)
    first, second = (asset["id"] for asset in job["assets"])
    assert studio.ask("DELETE", f"/v1/assets/{first}").status == 204
    assert not (studio.gallery.folder / "assets" / first).exists()
    assert studio.get(f"/v1/assets/{first}").status == 404
    assert studio.get(f"/v1/assets/{second}.glb").status == 200
    assert studio.ask("DELETE", f"/v1/assets/{second}").status == 204
    assert studio.get(f"/v1/jobs/{job['id']}").status == 404


def test_a_file_that_was_changed_is_not_handed_out(studio):
    (asset,) = studio.make(seeds=[9])["assets"]
    path = studio.gallery.folder / "assets" / asset["id"] / f"{asset['name']}.glb"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert studio.get(f"/v1/assets/{asset['id']}.glb").status == 410


def test_one_key_makes_one_job(idle):
    first, again = (idle.ask("POST", "/v1/jobs", {"count": 2}, Idempotency_Key="mine") for _ in range(2))
    assert first.json["id"] == again.json["id"]
    assert idle.ask("POST", "/v1/jobs", {"count": 3}, Idempotency_Key="mine").status == 409
    assert len(idle.get("/v1/jobs").json) == 1


def test_the_queue_is_bounded_and_says_when_to_come_again(idle):
    answers = [idle.ask("POST", "/v1/jobs", {}) for _ in range(QUEUE + 1)]
    assert [answer.status for answer in answers] == [201] * QUEUE + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    cancelled = idle.ask("DELETE", f"/v1/jobs/{answers[3].json['id']}").json
    assert cancelled["state"] == "cancelled"
    assert idle.ask("POST", "/v1/jobs", {}).status == 201


def test_fifty_at_once_lose_nothing(idle):
    """Each asks for an object and then for what there is."""

    def visit(number: int) -> tuple[int, int, str]:
        asked = idle.ask("POST", "/v1/jobs", {"seeds": [number]}, Idempotency_Key=f"visitor {number}")
        return asked.status, idle.get("/v1/jobs").status, asked.json.get("id", "")

    with ThreadPoolExecutor(50) as visitors:
        visits = [*visitors.map(visit, range(50))]
    assert sorted(status for status, _, _ in visits) == [201] * QUEUE + [429] * (50 - QUEUE)
    assert {status for _, status, _ in visits} == {200}
    assert {job["id"] for job in idle.get("/v1/jobs").json} == {job for _, _, job in visits if job}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"steps": 0}, "steps: wanted at least 1"),
        ({"count": 65}, "count: wanted at least 1 and at most 64; got 65"),
        ({"count": 33, "seeds": [1, 2]}, "objects: wanted at least 1 and at most 64; got 66"),
        ({"count": True}, "count: wanted int; got True"),
        ({"count": "4"}, "count: wanted int; got '4'"),
        ({"seeds": [1 << 53]}, "seeds: wanted"),
        ({"guidance": 1e300}, "guidance: wanted"),
        ({"guide": 3}, "unknown configuration field 'guide'; nearest: guidance"),
        ({"solver": "ddim"}, "solver: wanted one of heun, euler, dpmpp_2m; got 'ddim'"),
        ({"prompts": ["x" * 501]}, "prompt: wanted at most 500 letters"),
        ({"prompts": ["\ud800"]}, "prompt: wanted text"),
        ({"prompts": ["a red chair"]}, "prompts: wanted none, this model was trained without texts"),
        ({"prompts": []}, "objects: wanted at least 1"),
        ({"kind": "vary", "source": "../../etc/passwd"}, "source: wanted an asset of the gallery"),
        ({"kind": "between", "count": 1}, "count: wanted 2 or more"),
        ({"kind": "vary", "keep_box": [1, 1, 1, 0, 0, 0]}, "keep_box: wanted"),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(idle, request_, reason):
    answer = idle.ask("POST", "/v1/jobs", request_)
    assert answer.status == 422
    assert answer.json["detail"].startswith(reason)
    assert "\n" not in answer.json["detail"]
    assert idle.get("/v1/jobs").json == []


@pytest.mark.parametrize(
    ("end", "status"), [("doc", 422), ("glb?faces=1", 422), ("glb?texture_size=8192&colour=texture", 422)]
)
def test_a_wrong_download_is_answered_in_one_line(studio, job, end, status):
    answer = studio.get(f"/v1/assets/{job['assets'][0]['id']}.{end}")
    assert (answer.status, "wanted" in answer.json["detail"]) == (status, True)


def test_the_description_holds_every_call_and_field(idle):
    described = idle.get("/openapi.json", token=None).json
    calls = {(method, path) for path, methods in described["paths"].items() for method in methods}
    assert sorted(f"{method} {path}" for method, path in calls) == [
        "delete /v1/assets/{id}",
        "delete /v1/jobs/{id}",
        "get /v1/assets/{id}",
        "get /v1/assets/{id}.{form}",
        "get /v1/data/{data}/objects",
        "get /v1/data/{data}/objects/{number}",
        "get /v1/data/{data}/objects/{number}.webp",
        "get /v1/jobs",
        "get /v1/jobs/{id}",
        "get /v1/jobs/{id}/events",
        "get /v1/model",
        "get /v1/runs/{run}",
        "get /v1/runs/{run}/previews/{seen}.png",
        "get /v1/shelf",
        "post /v1/jobs",
        "post /v1/session",
        "post /v1/uploads",
    ]
    body = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["additionalProperties"] is False
    defaults = {name: field.get("default") for name, field in body["properties"].items()}
    assert defaults == config_to_dict(Request())
    assert request_from(defaults) == Request()
    assert body["properties"]["seeds"]["items"] == {"type": "integer", "minimum": 0, "maximum": (1 << 53) - 1}


def test_files_are_called_what_they_are(studio, job):
    address = f"/v1/assets/{job['assets'][0]['id']}"
    kinds = {
        end: studio.get(f"{address}.{end}").headers["Content-Type"] for end in ("glb", "webp", "safetensors", "obj")
    }
    assert kinds == {
        "glb": "model/gltf-binary",
        "webp": "image/webp",
        "safetensors": "application/octet-stream",
        "obj": "application/zip",
    }
