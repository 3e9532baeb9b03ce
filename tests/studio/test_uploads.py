"""What is sent beside words: objects of photographs, objects that move, and files that are neither."""

import io
import json
import os
import time
import zlib

import pytest
import trimesh
from export.glb_files import document_of
from figures import nodding
from PIL import Image
from studios import Answer

from vader3d.data.motion import write_motion
from vader3d.studio import guard, uploads
from vader3d.studio.jobs import DAY, UPLOADS

PNG = "image/png"


def sent(studio, data, kind=PNG, **more) -> Answer:
    return studio.ask("POST", "/v1/uploads", data, Content_Type=kind, **more)


def png(size: int = 8, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 40)).save(file, form)
    return file.getvalue()


def cameras_of(scene, studio) -> dict:
    """transforms.json whose frames name pictures that were sent."""
    document = json.loads((scene / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["file_path"] = sent(studio, (scene / frame["file_path"]).read_bytes()).json["id"]
    return document


def kept(studio) -> list[str]:
    folder = studio.gallery.folder / UPLOADS
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_object_is_made_of_pictures_and_their_cameras(studio, scene):
    cameras = sent(studio, cameras_of(scene, studio), "application/json")
    assert (cameras.status, cameras.json["kind"]) == (201, "cameras")
    job = studio.make(kind="reconstruct", pictures=[cameras.json["id"]], steps=4)
    assert job["state"] == "done", job["reason"]
    assert job["remarks"][0].startswith("1 held-out pictures: ")
    (asset,) = job["assets"]
    for form in ("glb", "webp", "safetensors"):
        assert studio.get(f"/v1/assets/{asset['id']}.{form}").status == 200, form
    assert studio.get(f"/v1/assets/{asset['id']}").json["recipe"]["pictures"] == [cameras.json["id"]]
    varied = studio.ask("POST", "/v1/jobs", {"kind": "vary", "source": asset["id"]})
    assert varied.status == 422
    assert varied.json["detail"].startswith("source: wanted an object that the model drew; got")
    still = studio.ask("POST", "/v1/jobs", {"kind": "animate", "source": asset["id"], "driving": "0"})
    assert still.json["detail"].startswith("kind: wanted what this model can do; got animate")


def test_pictures_without_cameras_end_in_a_line_where_none_are_found(studio):
    """Plain squares show nothing by which cameras could be told."""
    ids = [sent(studio, png(40 + i)).json["id"] for i in range(3)]
    job = studio.make(kind="reconstruct", pictures=ids, steps=1)
    assert job["state"] == "failed"
    assert "wanted" in job["reason"]
    assert str(studio.gallery.folder) not in job["reason"]
    assert [*(studio.gallery.folder / "exports").glob("*")] == []


def test_a_reconstruction_is_cancelled_within_a_step(studio, scene):
    cameras = sent(studio, cameras_of(scene, studio), "application/json").json["id"]
    asked = {"kind": "reconstruct", "pictures": [cameras], "steps": 256}
    identity = studio.ask("POST", "/v1/jobs", asked).json["id"]
    seen = studio.until(identity, lambda job: job["previews"])
    assert seen["steps"] == 384
    assert seen["previews"][f"{identity}-0"].startswith("data:image/webp;base64,")
    studio.ask("DELETE", f"/v1/jobs/{identity}")
    ended = studio.until(identity, lambda job: job["state"] != "running")
    assert (ended["state"], ended["step"] < 300) == ("cancelled", True)


@pytest.fixture(scope="module")
def figure(moving):
    return moving.make(seeds=[3])["assets"][0]


def moved(studio, figure, tmp_path, **request) -> tuple[dict, dict]:
    """The job's asset, and the document of its mesh."""
    job = studio.make(kind="animate", source=figure["id"], **request)
    assert job["state"] == "done", job["reason"]
    (asset,) = job["assets"]
    path = tmp_path / "a.glb"
    path.write_bytes(studio.get(f"/v1/assets/{asset['id']}.glb").body)
    assert len(trimesh.load(path, force="mesh").faces) > 0
    return asset, document_of(path)[0]


def test_an_object_moves_as_a_clip_that_was_learned_and_as_a_motion_that_was_sent(moving, figure, tmp_path):
    can = moving.get("/v1/model").json["can"]
    assert can == {"parts": 2, "clips": ["red ball", "blue box", "green table", "yellow tower"], "reconstruct": False}
    write_motion(tmp_path / "motion.json", nodding(4))
    motion = sent(moving, (tmp_path / "motion.json").read_bytes(), "application/json").json
    assert motion["kind"] == "motion"
    for driving, frames in (("green table", 6), (motion["id"], 4)):
        asset, document = moved(moving, figure, tmp_path, driving=driving)
        (animation,) = document["animations"]
        accessor = document["accessors"][animation["samplers"][0]["input"]]
        assert accessor["count"] == frames
        film = Image.open(io.BytesIO(moving.get(f"/v1/assets/{asset['id']}.webp").body))
        assert (film.n_frames, film.width) == (frames, 5 * film.height)
    assert "animations" not in document_of_still(moving, figure, tmp_path)
    wrong = moving.ask("POST", "/v1/jobs", {"kind": "animate", "source": figure["id"], "driving": "nobody"})
    assert wrong.status == 422
    assert wrong.json["detail"].startswith("driving: wanted a clip that the model learned")


def document_of_still(studio, asset, folder) -> dict:
    path = folder / "still.glb"
    path.write_bytes(studio.get(f"/v1/assets/{asset['id']}.glb").body)
    return document_of(path)[0]


def test_a_motion_of_other_parts_fails_with_the_reason(moving, figure, tmp_path):
    write_motion(tmp_path / "motion.json", nodding(4))
    motion = json.loads((tmp_path / "motion.json").read_text())
    motion["parts"] = motion["parts"][:1]
    identity = sent(moving, motion, "application/json").json["id"]
    job = moving.make(kind="animate", source=figure["id"], driving=identity)
    assert (job["state"], job["reason"][:8]) == ("failed", "driving:")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


FRAME = {"file_path": "0" * 32, "transform_matrix": [[1, 0, 0, 0]] * 4}


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (bomb(60000, 60000), PNG, 422),
        (bomb(20000, 4000), PNG, 422),
        (bomb(64, 64), PNG, 422),  # cut short
        (png()[:-30], PNG, 422),
        (png(form="GIF"), PNG, 422),
        (png(form="TIFF"), PNG, 422),
        (png(), "image/jpeg", 422),
        (b"<svg onload='alert(1)'/>", PNG, 422),
        (b"<svg/>", "image/svg+xml", 415),
        (b"PK\3\4", "application/zip", 415),
        (b"", PNG, 422),
        (b"x" * (guard.MOST_UPLOAD[PNG] + 1), PNG, 413),
        (b'{"a": "' + b"x" * guard.MOST_UPLOAD["application/json"] + b'"}', "application/json", 413),
        (b'{"frames": NaN}', "application/json", 400),
        (b'{"frames":' + b"[" * 90_000 + b"]" * 90_000 + b"}", "application/json", 400),
        (b"[]", "application/json", 422),
        ({}, "application/json", 422),
        ({"frames": "../../etc/passwd"}, "application/json", 422),
        ({"frames": [FRAME] * 201}, "application/json", 422),
        ({"frames": [FRAME] * 6}, "application/json", 422),  # never sent
        ({"frames": [FRAME | {"file_path": "../../../etc/passwd"}] * 6}, "application/json", 422),
        ({"frames": [FRAME | {"file_path": "/etc/passwd"}] * 6}, "application/json", 422),
        ({"frames": [FRAME | {"file_path": "C:\\Windows\\win.ini"}] * 6}, "application/json", 422),
        ({"frames": [FRAME | {"file_path": "http://169.254.169.254/"}] * 6}, "application/json", 422),
        ({"frames": [FRAME | {"file_path": ["a"]}] * 6}, "application/json", 422),
        ({"format": "vader3d-motion"}, "application/json", 422),
        ({"format": "vader3d-motion", "version": 1, "parts": 7}, "application/json", 422),
        ({"format": "vader3d-motion", "version": 1, "parts": [{"name": "a"}]}, "application/json", 422),
    ],
)
def test_what_is_no_picture_and_no_document_is_not_kept(idle, data, kind, status):
    answer = sent(idle, data, kind)
    assert answer.status == status, answer.body
    assert [*answer.json] == ["detail"]
    assert "\n" not in answer.json["detail"]
    assert str(idle.gallery.folder) not in answer.json["detail"]
    assert kept(idle) == []


def test_uploads_need_the_token_and_names_of_files_are_not_asked(idle):
    assert sent(idle, png(), token=None).status == 401
    assert sent(idle, png(), Origin="https://evil.example").status == 403
    answer = sent(idle, png(), Content_Disposition='attachment; filename="../../x.png"')
    assert answer.status == 201
    assert kept(idle) == [f"{answer.json['id']}.png"]
    assert sent(idle, png()).json == answer.json  # the same bytes are the same upload
    assert idle.get(f"/v1/uploads/{answer.json['id']}.png").status == 404  # and are given to nobody


def test_only_what_is_written_of_cameras_is_kept(idle, scene):
    document = cameras_of(scene, idle)
    for frame in document["frames"]:
        frame |= {"mask_path": "../../etc/passwd", "depth_file_path": "/etc/passwd"}
    identity = sent(idle, document | {"ply_file_path": "/etc/passwd"}, "application/json").json["id"]
    assert "passwd" not in (idle.gallery.folder / UPLOADS / f"{identity}.json").read_text()


def test_uploads_are_bounded_and_go_after_a_day(idle, monkeypatch):
    first = sent(idle, png(8)).json["id"]
    monkeypatch.setattr(uploads, "MOST_KEPT", 2 * len(png(9)) - 1)
    full = sent(idle, png(9))
    assert (full.status, int(full.headers["Retry-After"]) > 0) == (429, True)
    old = time.time() - DAY - 60
    os.utime(idle.gallery.folder / UPLOADS / f"{first}.png", (old, old))
    second = sent(idle, png(9)).json["id"]
    assert kept(idle) == [f"{second}.png"]
    os.utime(idle.gallery.folder / UPLOADS / f"{second}.png", (old, old))
    idle.gallery.prune()  # as at the end of each job
    assert kept(idle) == []


def test_an_upload_on_a_full_disk_is_told(idle, monkeypatch):
    def full(path, data):
        raise OSError(f"could not write {path.name}: No space left on device")

    monkeypatch.setattr(uploads, "write_bytes", full)
    answer = sent(idle, png())
    assert (answer.status, "No space left" in answer.json["detail"]) == (507, True)
    assert kept(idle) == []


def test_few_are_on_their_way_at_once(idle, monkeypatch):
    monkeypatch.setattr(guard, "UPLOADS_AT_ONCE", 0)
    assert sent(idle, png()).status == 429
    assert idle.ask("POST", "/v1/jobs", {}).status == 201


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"kind": "reconstruct"}, "pictures: wanted at least 2 and at most 200; got 0"),
        ({"kind": "reconstruct", "pictures": ["../../etc/passwd"]}, "pictures: wanted the id of an upload"),
        ({"kind": "reconstruct", "pictures": ["http://169.254.169.254/"]}, "pictures: wanted the id of an upload"),
        ({"kind": "reconstruct", "pictures": ["0" * 32]}, "pictures: wanted the id of an upload"),
        ({"kind": "animate", "source": "../../etc/passwd"}, "source: wanted an asset of the gallery"),
    ],
)
def test_a_request_of_files_that_are_not_there_is_refused(idle, request_, reason):
    answer = idle.ask("POST", "/v1/jobs", request_)
    assert answer.status == 422
    assert answer.json["detail"].startswith(reason)
