"""Files are whole or not there, and strangers are refused."""

import json
import os
import resource

import pytest
import torch
from safetensors.torch import save_file

from vader3d import files
from vader3d.files import write_text
from vader3d.snapshots import load_snapshot, read_header, save_snapshot
from vader3d.training.checkpoint import load_state, save_state

STATE = {"model": {"a": torch.arange(3.0)}, "optimisers": [{"state": {0: {"step": 1}}}], "seen": 8, "seconds": 1.5}


def test_states_come_back_as_they_were(tmp_path):
    save_state(tmp_path / "state.pt", STATE)
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded["model"]["a"], STATE["model"]["a"])
    assert loaded["optimisers"] == STATE["optimisers"]
    assert (loaded["seen"], loaded["seconds"]) == (8, 1.5)


def test_snapshots_explain_themselves(tmp_path):
    path = tmp_path / "deep" / "model.safetensors"
    tensors = {"a": torch.randn(2, 3).T, "b": torch.tensor(3)}
    save_snapshot(path, tensors, {"kind": "toy", "config": {"x": [1, None]}, "name": "Stühle 椅子"})
    loaded, header = load_snapshot(path)
    assert torch.equal(loaded["a"], tensors["a"])
    assert torch.equal(loaded["b"], tensors["b"])
    assert (header["kind"], header["config"], header["name"]) == ("toy", {"x": [1, None]}, "Stühle 椅子")
    assert read_header(path) == header


@pytest.mark.parametrize("save", ["state", "snapshot", "text"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, save):
    path = tmp_path / "file"
    writers = {
        "state": lambda objects_seen: save_state(path, {**STATE, "seen": objects_seen}),
        "snapshot": lambda objects_seen: save_snapshot(
            path, {"a": torch.full((4,), float(objects_seen))}, {"kind": "toy"}
        ),
        "text": lambda objects_seen: write_text(path, str(objects_seen)),
    }
    writers[save](1)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full_disk)
    with pytest.raises(
        OSError, match=r"could not write .*file: No space left on device; what was there before is intact"
    ):
        writers[save](2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    writers[save](3)
    assert path.read_bytes() != before


@pytest.mark.parametrize("save", ["state", "snapshot", "text"])
def test_a_disk_that_fills_up_while_writing_leaves_what_was_there(tmp_path, save):
    """A limit on file sizes makes writes fail half-way, as a full disk does."""
    path, big = tmp_path / "file", torch.zeros(1 << 18)
    path.write_text("before")
    writers = {
        "state": lambda: save_state(path, {"model": {"a": big}}),
        "snapshot": lambda: save_snapshot(path, {"a": big}, {"kind": "toy"}),
        "text": lambda: write_text(path, "x" * (1 << 20)),
    }
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not write .*what was there before is intact"):
            writers[save]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_temporary_names_stay_in_the_folder_and_hide(tmp_path):
    name = files.temporary_name(tmp_path / "model.safetensors")
    assert name.parent == tmp_path
    assert name.name.startswith(".model.safetensors.")


def test_a_garbled_state_is_named(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, STATE)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"state\.pt: wanted a run state; got a damaged"):
        load_state(path)


class Evil:
    def __reduce__(self):
        return (print, ("code from a file ran",))


def test_no_state_runs_code(tmp_path, capsys):
    torch.save({"model": Evil()}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="wanted a run state"):
        load_state(tmp_path / "state.pt")
    assert "ran" not in capsys.readouterr().out


def test_strangers_are_no_snapshots(tmp_path):
    with pytest.raises(ValueError, match="wanted a snapshot; got no such file"):
        read_header(tmp_path / "nothing")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(ValueError, match=r"garbage\.safetensors: wanted a whole safetensors file"):
        read_header(garbage)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="wanted a vader3d snapshot"):
        read_header(tmp_path / "other.safetensors")


def test_a_snapshot_cut_short_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_snapshot(path, {"a": torch.zeros(1000)}, {"kind": "toy"})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="wanted a whole safetensors file"):
        load_snapshot(path)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_what_is_written_may_be_read_by_whom_the_umask_allows(tmp_path, mask):
    before = os.umask(mask)
    try:
        save_snapshot(tmp_path / "snapshot", {"a": torch.zeros(4)}, {"kind": "toy"})
        save_state(tmp_path / "state", STATE)
        write_text(tmp_path / "text", "whole")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_snapshot_that_may_not_be_read_is_not_called_damaged_or_missing(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_snapshot(path, {"a": torch.zeros(4)}, {"kind": "toy"})

    def refused(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)  # the tests may run as root, who may read anything
    with pytest.raises(ValueError, match=r"model\.safetensors: wanted a file that you may read"):
        load_snapshot(path)


def test_a_newer_version_is_refused_by_its_number(tmp_path):
    path = tmp_path / "model.safetensors"
    header = json.dumps({"format": "vader3d-snapshot", "version": 99, "kind": "autodecoder"})
    save_file({"a": torch.zeros(1)}, path, metadata={"vader3d": header})
    with pytest.raises(ValueError, match=r"got 99, of a newer vader3d; upgrade"):
        load_snapshot(path)
