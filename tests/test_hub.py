"""Names to models: runs, saved folders, what ships, hubs; damaged, foreign and future ones are named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from judged_models import write_model
from processes import ROOT, environment
from test_snapshots import picture_of
from tiny import write_things

from vader3d import hub
from vader3d.cli.main import main
from vader3d.generate import Generator
from vader3d.hub import AUTODECODER, CARD, CONFIG, MODEL, autodecoder_file, model_folder, save_model, shipped
from vader3d.snapshots import read_header


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "tiny.zip")


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("run"), archive)


@pytest.fixture
def saved(run, tmp_path):
    return save_model(run, tmp_path / "saved")


@pytest.fixture
def shelf(run, tmp_path, monkeypatch):
    """Two models that ship, in half precision."""
    monkeypatch.setattr(hub, "SHELF", tmp_path / "shelf")
    for name in ("boats", hub.DEFAULT_MODEL):
        save_model(run, tmp_path / "shelf" / name, half=True, card=f"# {name}\n\nDraws {name} of all kinds.\n")
    return tmp_path / "shelf"


def test_a_run_a_demo_and_a_saved_model_are_the_same_thing(run, saved, tmp_path):
    demo = tmp_path / "demo"
    shutil.copytree(run, demo / "diffusion")
    assert [model_folder(one) for one in (run, str(saved), demo)] == [run, saved, demo / "diffusion"]
    pictures = [picture_of(model_folder(one)) for one in (run, saved, demo)]
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])


def test_stage_1_is_found_beside_stage_2_and_alone(run, tmp_path):
    shutil.copy(run / AUTODECODER, tmp_path / MODEL)
    with pytest.raises(ValueError, match="model: wanted one of `vader3d train diffusion`; got an autodecoder alone"):
        Generator.from_pretrained(tmp_path)
    kinds = [read_header(autodecoder_file(model_folder(one)))["kind"] for one in (run, tmp_path)]
    assert kinds == ["autodecoder"] * 2
    alone = save_model(tmp_path, tmp_path / "saved")
    assert sorted(path.name for path in alone.iterdir()) == sorted([MODEL, CONFIG, CARD])
    assert "stage 1 alone" in (alone / CARD).read_text()


def test_the_shelf_is_known_by_names_and_the_default_needs_none(shelf):
    assert [*shipped()] == [hub.DEFAULT_MODEL, "boats"]
    assert model_folder() == model_folder("") == shelf / hub.DEFAULT_MODEL
    assert model_folder("boats") == shelf / "boats"


def test_a_folder_of_the_same_name_goes_first_if_it_holds_a_model(shelf, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boats").mkdir()
    assert model_folder("boats") == shelf / "boats"
    shutil.copytree(run, "boats", dirs_exist_ok=True)
    assert model_folder("boats").resolve() == tmp_path / "boats"


def test_a_folder_that_was_moved_and_renamed_still_loads(saved, tmp_path):
    moved = tmp_path / "elsewhere" / "new name"
    moved.parent.mkdir()
    before = picture_of(saved)
    saved.rename(moved)
    assert torch.equal(picture_of(model_folder(moved)), before)


def test_a_name_that_leads_nowhere_says_what_there_is(shelf, tmp_path):
    with pytest.raises(ValueError, match=rf"^model: wanted .*{hub.DEFAULT_MODEL}, boats.*; got 'bots'$"):
        model_folder("bots")
    with pytest.raises(ValueError, match="got 'some/one'; `vader3d models some/one` fetches"):
        model_folder("some/one")
    with pytest.raises(ValueError, match=f"got {tmp_path}, a folder without {MODEL}"):
        model_folder(tmp_path)


def test_without_a_shelf_the_default_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "SHELF", tmp_path)
    with pytest.raises(ValueError, match="none does"):
        model_folder()


def spoilt(folder, what: str):
    config = json.loads((folder / CONFIG).read_text())
    if what == "a flipped bit":
        data = bytearray((folder / MODEL).read_bytes())
        data[-5] ^= 1
        (folder / MODEL).write_bytes(data)
    elif what == "cut short":
        (folder / AUTODECODER).write_bytes((folder / AUTODECODER).read_bytes()[:-100])
    elif what == "a part missing":
        (folder / AUTODECODER).unlink()
    elif what == "another's notes":
        (folder / CONFIG).write_text('{"model_type": "bert"}')
    elif what == "no notes at all":
        (folder / CONFIG).write_text("[1, 2")
    elif what == "of the future":
        (folder / CONFIG).write_text(json.dumps(config | {"version": 2}))
    else:
        (folder / CONFIG).write_text(json.dumps(config | {"files": [1]}))


SPOILT = {
    "a flipped bit": f"{MODEL}: wanted a SHA-256 of .*; it is damaged",
    "cut short": f"{AUTODECODER}: wanted a SHA-256 of .*; it is damaged",
    "a part missing": f"wanted {AUTODECODER} beside {CONFIG}; got none",
    "another's notes": f"{CONFIG}: wanted the notes of a saved vader3d model; got a damaged or foreign one",
    "no notes at all": f"{CONFIG}: ",
    "of the future": f"{CONFIG}: version: wanted format 1 or older; got 2, of a newer vader3d; upgrade",
    "odd": f"{CONFIG}: wanted the notes of a saved vader3d model",
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_model_is_named_in_one_line(what, saved):
    spoilt(saved, what)
    with pytest.raises(ValueError, match=SPOILT[what]) as caught:
        model_folder(saved)
    assert str(caught.value).startswith(str(saved))
    assert "\n" not in str(caught.value)


def test_half_precision_takes_half_the_bytes(run, saved, tmp_path):
    half = save_model(run, tmp_path / "half", half=True)
    sizes = [sum((folder / name).stat().st_size for name in (MODEL, AUTODECODER)) for folder in (run, saved, half)]
    assert sizes[0] == sizes[1]
    assert sizes[2] < 0.6 * sizes[0]
    again = save_model(half, tmp_path / "again", half=True)
    assert (again / MODEL).read_bytes() == (half / MODEL).read_bytes()


def test_nothing_is_saved_over_something_else(run, saved, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    with pytest.raises(ValueError, match="output: wanted a new folder"):
        save_model(run, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    save_model(run, saved, card="Better words.")
    assert "Better words." in (saved / CARD).read_text()


def test_a_model_may_be_saved_onto_itself(saved):
    before = (saved / MODEL).read_bytes()
    save_model(saved, saved, card="New words.")
    assert (saved / MODEL).read_bytes() == before
    assert model_folder(saved) == saved


def test_numbers_that_are_not_finite_are_not_saved(run, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(run, bad)
    data = bytearray((bad / MODEL).read_bytes())
    data[-4:] = b"\x00\x00\x80\x7f"
    (bad / MODEL).write_bytes(data)
    with pytest.raises(ValueError, match="wanted finite numbers"):
        save_model(bad, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    "card", ["", "# A model\n\nOf boats.\n", "---\nlicense: cc0-1.0\nlibrary_name: vader3d\n---\n# Mine\n"]
)
def test_cards_are_what_hubs_read(run, tmp_path, card):
    hugging = pytest.importorskip("huggingface_hub")
    folder = save_model(run, tmp_path / "saved", card=card)
    read = hugging.ModelCard.load(folder / CARD)
    assert read.data.library_name == "vader3d"
    assert read.data.license == ("cc0-1.0" if "license" in card else None)
    assert (card or "training objects | 4 |").split("---\n")[-1].strip() in read.text


def test_models_are_listed_one_a_line(shelf, capsys):
    main(["models"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{hub.DEFAULT_MODEL}: ")
    assert lines[0].endswith(f"MB, ships, the default. Draws {hub.DEFAULT_MODEL} of all kinds.")
    assert lines[1].endswith("MB, ships. Draws boats of all kinds.")


def test_none_that_ship_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hub, "SHELF", tmp_path)
    main(["models"])
    assert capsys.readouterr().out.startswith("none ships")


def test_a_command_saves_a_model_with_a_card_of_one_s_own(run, tmp_path, capsys):
    (tmp_path / "card.md").write_text("Words.\n")
    output = tmp_path / "saved"
    main(["save", str(run), "--output", str(output), "--half", "--card", str(tmp_path / "card.md")])
    assert capsys.readouterr().out.startswith(f"{output}: ")
    assert (output / CARD).read_text().endswith("---\n\nWords.\n")
    assert Generator.from_pretrained(output)(count=1, num_inference_steps=1)[0].name == "seed0-000"


def test_evaluation_takes_a_name(shelf, archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["evaluate", "--model", "boats", "--data", str(archive.path), "--protocol", "reconstruction"])
    assert (tmp_path / "evaluation-reconstruction" / "report.json").is_file()
    assert sorted(path.name for path in (shelf / "boats").iterdir()) == sorted([MODEL, AUTODECODER, CONFIG, CARD])


# Two processes, as a user starts them, with one cache; the hub is gone when the second one runs.
ONLINE = """
from fake_hub import FakeHub, start_hub
import json, os
server = start_hub()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
from vader3d.hub import model_folder, push_to_hub

def error_of(name, **options):
    try:
        model_folder(name, **options)
    except ValueError as error:
        return str(error)

said = {"before": error_of("me/boats"), "asked before": [*FakeHub.asked], "pushed": push_to_hub("saved", "me/boats")}
said["files"] = sorted(FakeHub.repositories["me/boats"])
FakeHub.repositories["me/boats"]["run.py"] = b"import os"
FakeHub.repositories["me/huge"] = {"model.safetensors": b"", **FakeHub.repositories["me/boats"]}
FakeHub.claimed_bytes["me/huge"] = 1 << 40
said |= {"fetched": str(model_folder("me/boats", local_files_only=False))}
said |= {name: error_of(f"me/{name}", local_files_only=False) for name in ("huge", "boots")}
print(json.dumps(said))
"""
OFFLINE = """
from vader3d.cli.main import main
from vader3d.hub import model_folder
print(model_folder("me/boats"))
main(["models"])
"""


def test_a_model_goes_to_a_hub_and_comes_back(saved, tmp_path):
    """By huggingface_hub's own client; nothing is asked before it is told to, nothing once it is in the cache."""
    pytest.importorskip("huggingface_hub")
    (saved / "passwords.txt").write_text("secret")
    own = {"HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_me", "HF_HUB_DISABLE_XET": "1"}
    own |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "HF_ENDPOINT": "http://127.0.0.1:9"}

    def printed(program: str) -> list[str]:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment() | own)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    said = json.loads(printed(ONLINE)[-1])
    assert said["before"].endswith("got 'me/boats'; `vader3d models me/boats` fetches one of a hub")
    assert said["asked before"] == []
    assert said["pushed"].startswith("http://127.0.0.1:")
    assert said["files"] == sorted([MODEL, AUTODECODER, CONFIG, CARD])
    folder = Path(said["fetched"])
    assert sorted(path.name for path in folder.iterdir()) == sorted([MODEL, AUTODECODER, CONFIG, CARD])
    assert (folder / MODEL).read_bytes() == (saved / MODEL).read_bytes()
    assert "wanted model.safetensors and at most 4 GiB" in said["huge"]
    assert "RepositoryNotFound" in said["boots"]
    again, *listed = printed(OFFLINE)
    assert again == str(folder)
    assert [line.partition(":")[0] for line in listed if "cached" in line] == ["me/boats"]


def test_only_a_saved_model_is_pushed(run):
    with pytest.raises(ValueError, match=f"wanted a saved one; got .*, without {CONFIG}"):
        hub.push_to_hub(run, "me/boats")


def test_without_the_hub_s_client_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'vader3d\[hub\]'"):
        model_folder("some/one", local_files_only=False)
    with pytest.raises(ValueError, match="got 'some/one'"):
        model_folder("some/one")
    assert hub.cached() == {}
