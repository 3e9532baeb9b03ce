"""Parts of one output, made by any number of commands that may die at any moment."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import pytest
from making import bytes_of, jobs_of, make, output_in
from processes import ROOT, environment

from vader3d.data.making import finishing
from vader3d.data.making import part as part_module
from vader3d.data.making.conversion import Job, Work, convert
from vader3d.data.making.crew import Death, Here
from vader3d.data.making.ledger import FINISHED, LEDGER, DeathList, Item, Ledger, ledger_for, part_of
from vader3d.data.making.part import can_be_taken, make_part
from vader3d.data.making.work import Limits, place_of
from vader3d.data.named import open_archive
from vader3d.files import held

VALUES = [*range(1, 41)]


def items_of(values) -> list[Item]:
    return [Item(index, job) for index, job in enumerate(jobs_of(values))]


def begun(tmp_path, values, objects_per_shard=None) -> tuple[Ledger, list[list[Item]]]:
    output, items = output_in(tmp_path, objects_per_shard), items_of(values)
    ledger = ledger_for(output, items, Limits())
    ledger.begin(len(items))
    return ledger, ledger.shared(items)


def test_an_objects_part_depends_on_its_name_alone():
    names = [f"thing {i}" for i in range(3000)]
    sizes = Counter(part_of(name, 3) for name in names)
    assert (part_of("thing 0", 1000), part_of("a.b", 1000)) == (882, 687)  # on every machine, at any time
    assert min(sizes.values()) > 900


@pytest.mark.parametrize("objects_per_shard", [None, 5])
def test_parts_in_any_order_by_many_commands_give_the_same_bytes(objects_per_shard, tmp_path):
    convert(jobs_of(VALUES), output_in(tmp_path / "alone", objects_per_shard), processes=1)
    ledger, shares = begun(tmp_path / "many", VALUES, objects_per_shard)
    for number in reversed(range(0, ledger.parts, 2)):  # some that another command made
        assert make_part(ledger, number, shares[number], Here())
    convert(jobs_of(VALUES), ledger.output, processes=1, work=Work(rank=2, world_size=3))
    assert bytes_of(tmp_path / "alone" / "out.zip") == bytes_of(tmp_path / "many" / "out.zip")
    assert len(open_archive(tmp_path / "many" / "out.zip")) == len(VALUES)


def test_a_part_that_is_held_is_left_to_its_holder(tmp_path):
    ledger, shares = begun(tmp_path, VALUES)
    with held(ledger.folder, "part-000003"):
        assert not make_part(ledger, 3, shares[3], Here())
    assert make_part(ledger, 3, shares[3], Here())
    before = ledger.path(3).stat().st_mtime_ns
    assert make_part(ledger, 3, shares[3], Here())
    assert ledger.path(3).stat().st_mtime_ns == before


def test_what_another_machine_holds_is_taken_once_it_shows_no_life(tmp_path, monkeypatch):
    """As our own clock tells: the other's may be wrong by years."""
    now = 100.0
    monkeypatch.setattr(part_module.time, "monotonic", lambda: now)
    lock = tmp_path / ".part-000001.lock"
    assert can_be_taken(lock)
    lock.write_text(json.dumps({"machine": "another"}))
    os.utime(lock, (5, 5))
    assert not can_be_taken(lock)
    now += 10
    os.utime(lock, (6, 6))  # a sign of life
    assert not can_be_taken(lock)
    now += 10
    assert not can_be_taken(lock)
    now += 10
    assert can_be_taken(lock)


def test_a_part_is_whole_or_not_there(tmp_path, monkeypatch):
    ledger, shares = begun(tmp_path, VALUES, 5)
    monkeypatch.setattr(part_module, "write_text", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        make_part(ledger, 2, shares[2], Here())
    assert not ledger.is_done(2)
    assert not (ledger.output.path / "shards.json").exists()
    monkeypatch.undo()
    assert make_part(ledger, 2, shares[2], Here())
    shards = open_archive(ledger.output.path)
    assert not shards.whole
    assert {record.name for record in shards.records} == {item.job.name for item in shares[2]}


def test_readers_see_the_shards_that_are_there_while_more_come(tmp_path, monkeypatch):
    monkeypatch.setattr("vader3d.data.making.finishing.INDEX_SECONDS", 0.0)
    ledger, shares = begun(tmp_path, VALUES, 5)
    seen = []
    for number in (4, 1, 6):
        make_part(ledger, number, shares[number], Here())
        shards = open_archive(ledger.output.path)
        assert not shards.whole
        assert {int(shards.read(i).pictures[0, 0, 0, 0]) - 2 for i in range(len(shards))} == {
            item.number for part in (4, 1, 6)[: len(seen) + 1] for item in shares[part]
        }
        seen.append(shards)
    assert len({shards.fingerprint for shards in seen}) == 3
    convert(jobs_of(VALUES), ledger.output, processes=1)
    assert open_archive(ledger.output.path).whole
    first = seen[0]  # what was there then is there still
    assert [first.read(i).pictures[0, 0, 0, 0] - 2 for i in range(len(first))] == [item.number for item in shares[4]]


def test_what_three_commands_died_at_is_made_apart(tmp_path, monkeypatch):
    """Nobody knows whether it was the object; with one that it was, the next life of the command survives it."""
    ledger, _ = begun(tmp_path, VALUES[:12])
    number = part_of("thing 8", ledger.parts)
    for life in range(3):
        deaths = DeathList(ledger, number)  # notes how the life before ended
        assert deaths.commands["thing 8"] == life
        assert deaths.suspects == set()
        deaths.doing.write_text("thing 8")  # it is tried, and ends all
    asked = []

    class Apart(Here):
        def __init__(self, size, limits):
            asked.append(size)

        def submit(self, job, deaths):
            while not (why := deaths(Death("process: died", "last words"))):
                pass
            (future := Future()).set_result(ValueError(why))
            return future

    monkeypatch.setattr(part_module, "Crew", Apart)
    report = convert(jobs_of(VALUES[:12]), ledger.output, processes=1)
    assert asked == [1]
    assert report.objects == 11
    assert report.skipped == ["thing 8: process: died, 3 times: last words"]


def test_three_deaths_of_its_process_are_kept_with_their_last_words(tmp_path):
    ledger, _ = begun(tmp_path, VALUES[:4])
    deaths = DeathList(ledger, 0).of("thing 1")
    assert [deaths(Death("process: died", f"words {i}")) for i in range(2)] == ["", ""]
    again = DeathList(ledger, 0).of("thing 1")  # of another command
    assert again(None) == ""
    assert again(Death("process: died", "words 2")) == "process: died, 3 times: words 2"
    assert DeathList(ledger, 0).of("thing 1")(None) == "process: died, 3 times: words 2"
    assert DeathList(ledger, 0).of("thing 2")(None) == ""


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}, (2, 4)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}, (3, 8)),
    ],
)
def test_slurm_says_who_we_are(environment, place):
    assert place_of(Work("slurm"), environment) == place
    assert place_of(Work("slurm", rank=1, world_size=2), environment) == (1, 2)
    assert place_of(Work(), environment) == (0, 1)


@pytest.mark.parametrize(
    "options", [{"engine": "spark"}, {"rank": 1}, {"rank": 2, "world_size": 2}, {"object_seconds": 0.0}]
)
def test_work_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Work(**options)


def test_slurm_without_tasks_is_named():
    with pytest.raises(ValueError, match="wanted a task of a Slurm array or of srun; got no SLURM_ARRAY_TASK_ID"):
        place_of(Work("slurm"), {})


def test_who_comes_late_to_a_finished_array_makes_nothing_anew(tmp_path):
    output, work = output_in(tmp_path), Work(rank=0, world_size=2)
    convert(jobs_of(VALUES[:5]), output, processes=1, work=work)
    before = output.path.stat().st_mtime_ns
    report = convert(jobs_of(VALUES[:5]), output, processes=1, work=replace(work, rank=1))
    assert report.objects == 5
    assert "it was finished before" in str(report)
    assert output.path.stat().st_mtime_ns == before
    assert not [path for path in output.parts.iterdir() if path.suffix == ".zip"]


def test_shards_that_the_same_command_made_are_there(tmp_path):
    """It may have died when all was done; another command's are refused."""
    output = output_in(tmp_path, 5)
    convert(jobs_of(VALUES[:7]), output, processes=1)
    before = bytes_of(output.path)
    report = convert(jobs_of(VALUES[:7]), output, processes=1)
    assert report.objects == 7
    assert f"it was there; to make it anew delete {output.path} first" in str(report)
    with pytest.raises(ValueError, match="wanted an empty or new folder"):
        convert(jobs_of(VALUES[:8]), output, processes=1)
    assert bytes_of(output.path) == before
    assert not output.parts.exists()


def test_what_is_finished_is_not_made_again(tmp_path):
    """By one who looked before: it meets the folder as it is while the notes are deleted."""
    ledger, shares = begun(tmp_path, VALUES, 5)
    (ledger.folder / FINISHED).write_text("{}")
    assert make_part(ledger, 3, shares[3], Here())
    assert not ledger.output.path.exists()
    (ledger.folder / FINISHED).unlink()
    (ledger.folder / LEDGER).unlink()
    assert make_part(ledger, 3, shares[3], Here())
    assert not ledger.output.path.exists()


def test_the_last_index_is_written_by_one_alone(tmp_path, monkeypatch):
    """Nobody who looked before may put the index of some shards in its place."""
    seen = []

    def watched(ledger, shards, *, whole, **more):
        if whole:
            with pytest.raises(ValueError, match="wanted for this command alone"), held(ledger.folder, "index"):
                pass
        seen.append(whole)
        written(ledger, shards, whole=whole, **more)

    written = finishing.write_index
    monkeypatch.setattr(finishing, "write_index", watched)
    convert(jobs_of(VALUES), output_in(tmp_path, 5), processes=1)
    assert seen == [False, True]


@pytest.mark.parametrize("objects_per_shard", [None, 10])
def test_twenty_kills_lose_and_duplicate_nothing(objects_per_shard, tmp_path):
    """Two commands over one ledger; the bytes are those of one that nobody disturbed."""
    program = [
        sys.executable,
        str(ROOT / "tests" / "killed_parts.py"),
        str(tmp_path),
        "20",
        str(objects_per_shard or 0),
    ]
    ended = subprocess.run(program, capture_output=True, text=True, env=environment(), timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) >= 10
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]
    jobs = [Job(f"thing {i}", make, (f"thing {i}", i + 1)) for i in range(80)]
    convert(jobs, output_in(tmp_path / "alone", objects_per_shard), processes=1)
    found, wanted = bytes_of(tmp_path / "out.zip"), bytes_of(tmp_path / "alone" / "out.zip")
    assert sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)) == []
    assert len(open_archive(tmp_path / "out.zip")) == 80
