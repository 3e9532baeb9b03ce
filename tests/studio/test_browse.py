"""Data sets and runs that are browsed: what is told of them, live, and nothing else."""

import base64
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from studios import log_line, studio_of
from tiny import THINGS

from vader3d.cli.main import main
from vader3d.data.archive.reader import Archive
from vader3d.files import LOCK, WATCH_SECONDS, held
from vader3d.studio.browse import Shelf, is_held, learned_from


@pytest.fixture(scope="module")
def browsed(model, shelf, tmp_path_factory):
    with studio_of(model, tmp_path_factory.mktemp("browsed"), at_work=False, shelf=shelf) as made:
        yield made


def test_what_there_is_is_listed_by_number_without_paths(browsed, data):
    told = browsed.get("/v1/shelf")
    things = {"title": "tiny things", "objects": 4, "size": [24, 24], "learned": True}
    assert told.json == {"data": [things], "runs": [{"name": "stage2", "kind": "diffusion"}]}
    assert str(data.parent).encode() not in told.body


def test_objects_are_found_by_what_is_said_of_them(browsed):
    names = [*THINGS]
    first = browsed.get("/v1/data/0/objects?most=3").json
    assert [each["name"] for each in first["objects"]] == names[:3]
    rest = browsed.get(f"/v1/data/0/objects?most=3&after={first['next']}").json
    assert ([each["name"] for each in rest["objects"]], rest["next"]) == (names[3:], None)
    found = browsed.get("/v1/data/0/objects?words=a%20TABLE").json["objects"]
    assert [each["name"] for each in found] == ["green table"]
    assert browsed.get("/v1/data/0/objects?words=unicorn").json == {"objects": [], "next": None}


def test_an_object_shows_its_cameras_views_masks_and_captions(browsed, data):
    views = Archive(data).read(1)
    scene = browsed.get("/v1/data/0/objects/1").json
    assert (scene["name"], scene["captions"]) == ("blue box", [["a blue box", ""]])
    apexes = [camera[0] for camera in scene["cameras"]]
    assert np.allclose(apexes, views.cameras.centres.numpy(), atol=1e-3)
    assert scene["heldout"] == [5]
    assert scene["points"]
    strip = Image.open(BytesIO(base64.b64decode(scene["strip"].partition(",")[2])))
    masks = np.asarray(strip)[..., 3].reshape(24, 6, 24).transpose(1, 0, 2)
    assert np.abs(masks.astype(int) - views.pictures[..., 3]).mean() < 2
    thumb = browsed.get("/v1/data/0/objects/1.webp")
    assert Image.open(BytesIO(thumb.body)).size == (24, 24)


def test_a_training_is_followed_while_it_goes_on(browsed, run):
    with held(run):
        told = browsed.get("/v1/runs/0").json
        assert (told["state"], told["share"], told["seen"], told["seconds_left"]) == ("running", 0.25, 250, 75.0)
        log_line(run, 500)
        told = browsed.get("/v1/runs/0").json
        assert (told["share"], told["seconds_left"]) == (0.5, 50.0)
    assert told["chart"].lstrip().startswith("<svg")
    assert told["previews"] == [100, 250]
    picture = Image.open(BytesIO(browsed.get("/v1/runs/0/previews/250.png").body))
    assert picture.getpixel((0, 0)) == (250, 0, 0)
    assert browsed.get("/v1/runs/0").json["state"] == "stopped"


def test_a_sign_of_life_lasts_seconds(tmp_path, monkeypatch):
    (tmp_path / LOCK).write_text("")
    assert is_held(tmp_path)
    now = time.time()
    monkeypatch.setattr("vader3d.studio.browse.time.time", lambda: now + WATCH_SECONDS + 1)
    assert not is_held(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/data/1/objects",
        "/v1/data/-1/objects",
        "/v1/data/0/objects/4",
        "/v1/data/0/objects/4.webp",
        "/v1/data/" + "9" * 5000 + "/objects",
        "/v1/data/..%2f..%2fetc/objects",
        "/v1/runs/1",
        "/v1/runs/0/previews/7.png",
        "/v1/runs/0/previews/..%2frun.json",
        "/v1/runs/%2fetc",
    ],
)
def test_nothing_else_can_be_asked_for(browsed, path):
    assert browsed.get(path).status == 404
    assert browsed.get(path, token=None).status == 401


def test_odd_numbers_are_answered_in_one_line(browsed):
    for query in ("most=0", "most=201", "after=-1", "words=" + "x" * 101, "most=x"):
        answer = browsed.get(f"/v1/data/0/objects?{query}")
        assert answer.status == 422
        assert "\n" not in answer.json["detail"]


def test_a_damaged_object_leaves_the_rest(model, tmp_path, data):
    raw = bytearray(data.read_bytes())
    place = raw.find(b"RIFF", raw.find(b"RIFF") + 1)  # the second object's pictures
    raw[place + 40 : place + 60] = bytes(20)
    (tmp_path / "bad.zip").write_bytes(raw)
    with studio_of(model, tmp_path / "g", at_work=False, shelf=Shelf([str(tmp_path / "bad.zip")])) as made:
        assert [made.get(f"/v1/data/0/objects/{number}").status for number in range(4)] == [200, 422, 200, 200]
        assert "blue box" in made.get("/v1/data/0/objects/1").json["detail"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--data", "nowhere.zip"], "data: wanted an archive"), (["--run", "nowhere"], "run: wanted the folder")],
)
def test_what_is_not_there_is_said_at_once(options, reason, model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["studio", "--model", str(model), "--output", str(tmp_path / "g"), "--port", "0", *options])
    assert reason in capsys.readouterr().err


def test_neighbours_have_names_where_their_data_set_is_at_hand(model, shelf):
    assert learned_from(str(model)) == shelf.data[0].fingerprint
    assert shelf.called({"number": 2})["caption"] == "a green table"
    assert shelf.called({"number": 9}) == {"number": 9}
    assert Shelf().called({"number": 2})["caption"] is None
