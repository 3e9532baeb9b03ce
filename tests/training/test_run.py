"""A run folder is for one configuration on one data set, from when something was learned in it."""

import dataclasses
import json

import pytest
import torch

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import override
from vader3d.diffusion.model import DiffusionConfig
from vader3d.training.distributed import Processes
from vader3d.training.run import RunNotes, flatten

CONFIG = AutodecoderConfig()
NOTES = RunNotes("autodecoder", "abc", CONFIG)


@pytest.fixture
def trained(tmp_path):
    """A folder in which something was learned."""
    NOTES.write(tmp_path)
    (tmp_path / "state.pt").touch()
    return tmp_path


def changed(*settings: str) -> RunNotes:
    return dataclasses.replace(NOTES, config=override(CONFIG, settings))


def test_a_new_folder_is_made_and_opened_again(tmp_path):
    run = tmp_path / "deep" / "run"
    for _ in range(2):
        NOTES.check(run)
        NOTES.write(run)
    assert [path.name for path in run.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "change",
    [
        "loop.seconds=60",
        "loop.objects_seen=5",
        "loop.checkpoint_seconds=1",
        "loop.log_seconds=1",
        "loop.preview_seconds=1",
        "loop.device=cpu",
        "loop.precision=float32",
        "loop.recompute=true",
        "loop.compile=true",
    ],
)
def test_what_changes_no_number_may_change(trained, change):
    changed(change).check(trained)


def test_a_changed_machine_is_said_and_a_longer_round_is_not(trained, capsys):
    changed("loop.device=cpu", "loop.seconds=60").check(trained)
    assert "config.loop.device is 'cpu' from here on, 'auto' before" in capsys.readouterr().err
    changed("loop.seconds=60").check(trained)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("decoder.code_length=64", r"config\.decoder\.code_length: wanted 1024; got 64"),
        ("decoder.channels=[8, 4]", r"config\.decoder\.channels"),
        ("optimiser.lr=1e-4", r"config\.optimiser\.lr: wanted 0\.0005; got 0\.0001"),
        ("loop.accumulate=2", r"config\.loop\.accumulate"),  # batch norms see a part at a time
        ("loop.seed=1", r"config\.loop\.seed"),
    ],
)
def test_another_configuration_is_refused_by_the_field_s_name(trained, change, said):
    before = (trained / "run.json").read_bytes()
    with pytest.raises(ValueError, match=said):
        changed(change).check(trained)
    assert (trained / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (RunNotes("diffusion", "abc", DiffusionConfig()), "kind: wanted 'autodecoder'; got 'diffusion'"),
        (RunNotes("autodecoder", "b", CONFIG), "data: wanted 'abc'; got 'b'"),
    ],
)
def test_another_kind_or_data_set_is_refused(trained, other, said):
    with pytest.raises(ValueError, match=f"another configuration .*{said}.*choose another --output"):
        other.check(trained)


@pytest.mark.parametrize("learned", ["state.pt", "state.previous.pt", "model.safetensors"])
def test_a_folder_in_which_nothing_was_learned_takes_another_configuration(tmp_path, learned):
    NOTES.write(tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    other = changed("losses.trunk=gradients", "codes.num_codebooks=64")
    other.check(tmp_path)
    other.write(tmp_path)
    (tmp_path / learned).touch()
    other.check(tmp_path)
    with pytest.raises(ValueError, match=r"config\.losses\.trunk: wanted 'gradients'; got 'vgg19'"):
        NOTES.check(tmp_path)


def test_a_strange_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match=r"files without run\.json"):
        NOTES.check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_garbled_run_file_is_refused(trained):
    (trained / "run.json").write_text('{"kind": "autod')
    with pytest.raises(ValueError, match=r"run\.json: wanted JSON"):
        NOTES.check(trained)


def test_many_differences_are_counted_not_listed(trained):
    other = changed(
        "views_per_object=1",
        "code_lr=1",
        "code_std=2",
        "pixel_stride=2",
        "decoder.code_length=2",
        "decoder.subvoxels=2",
    )
    with pytest.raises(ValueError, match="and 2 more"):
        other.check(trained)


def test_flattened_names_are_dotted():
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}


def test_a_run_of_a_version_without_some_field_goes_on_with_its_default(trained):
    path = trained / "run.json"
    values = json.loads(path.read_text())
    del values["config"]["losses"]["binary_mask"]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"config\.losses\.binary_mask: wanted False; got True"):
        changed("losses.binary_mask=true").check(trained)
    NOTES.check(trained)
    NOTES.write(trained)
    assert json.loads(path.read_text())["config"]["losses"]["binary_mask"] is False


class Paired(Processes):
    """The first of two processes, of which the other has noted `other`."""

    def __init__(self, other: RunNotes):
        super().__init__(size=2)
        object.__setattr__(self, "rows", Noted.of(other))

    def gather(self, numbers):
        return torch.tensor([numbers, self.rows.pop(0)], dtype=torch.float64)


class Noted(Processes):
    """One process, whose numbers are kept."""

    @classmethod
    def of(cls, notes: RunNotes) -> list[list[float]]:
        rows, noted = [], cls()
        object.__setattr__(noted, "gather", lambda numbers: (rows.append(numbers), Processes().gather(numbers))[1])
        notes.agree(noted)
        return rows


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed("loop.seed=1"), r"got unlike config\.loop\.seed; give"),
        (changed("loop.objects_seen=8", "code_lr=1"), r"unlike config\.loop\.objects_seen, config\.code_lr"),
        (dataclasses.replace(changed(), data="another"), "unlike data"),
        (RunNotes("diffusion", "data", DiffusionConfig()), "unlike kind"),
    ],
)
def test_processes_of_unlike_commands_are_told_apart_at_once(other, said):
    changed().agree(Paired(changed()))
    with pytest.raises(ValueError, match=said):
        changed().agree(Paired(other))
