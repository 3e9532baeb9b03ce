"""`vader3d prepare status`."""

import json

import pytest
from making import BROKEN, jobs_of, output_in

from vader3d.cli.main import main
from vader3d.data.making.crew import Death, Here
from vader3d.data.making.ledger import DeathList, Item, ledger_for
from vader3d.data.making.part import make_part
from vader3d.data.making.status import status_of
from vader3d.data.making.work import Limits
from vader3d.files import held


@pytest.fixture
def ledger(tmp_path):
    """Four of twelve things in four parts are made, one of them is not to be had."""
    output = output_in(tmp_path, 3)
    items = [Item(i, job) for i, job in enumerate(jobs_of([1, 2, 3, BROKEN, 5, BROKEN, 7, 8, 9, 10, 11, 12]))]
    ledger = ledger_for(output, items, Limits())
    ledger.begin(len(items))
    for number, share in enumerate(ledger.shared(items)[:3]):
        make_part(ledger, number, share, Here())
        path = ledger.path(number)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": 1000.0 + 2 * number}))
    return ledger


def test_done_failed_rate_and_what_is_left(ledger):
    notes = [ledger.note(number) for number in range(3)]
    status = status_of(ledger.output.path)
    done, failed = sum(len(note.made) for note in notes), sum(len(note.skipped) for note in notes)
    assert (status.objects, status.parts, status.parts_done, status.done) == (12, 4, 3, done)
    assert status.failed == {"RuntimeError: no value": failed}
    assert failed > 0
    assert status.objects_per_second == sum(len(n.made) + len(n.skipped) for n in notes[1:]) / 4
    assert status.seconds_left == (12 - done - failed) / status.objects_per_second
    assert status_of(ledger.folder) == status
    assert not status.finished


def test_who_is_at_it_and_what_processes_died_of(ledger, capsys):
    DeathList(ledger, 3).of("thing 3")(Death("process: died", ""))
    with held(ledger.folder, "part-000003"):
        main(["prepare", "status", str(ledger.output.path)])
    said = capsys.readouterr().out
    assert "3 of 4 parts" in said
    assert "failed" in said
    assert "RuntimeError: no value" in said
    assert "1 processes died of an object" in said
    assert "part-000003: process" in said
    main(["prepare", "status", str(ledger.output.path), "--format", "json"])
    assert json.loads(capsys.readouterr().out)["deaths"] == 1


def test_where_nothing_is_prepared_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="wanted an output that is being prepared"):
        status_of(tmp_path / "nothing")
