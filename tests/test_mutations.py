"""Spoilt files of every format end in one line: no traceback, no hang, no bomb."""

import mutations
import pytest


@pytest.mark.parametrize("kind", mutations.KINDS)
def test_spoilt_files_of_a_format_are_read_or_named(kind):
    with mutations.Limits():
        tally = mutations.mutate(kind, seed=0, count=12)
    assert not tally.faults
    assert tally.tried == 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", mutations.KINDS)
def test_many_spoilt_files_of_a_format_are_read_or_named(kind):
    with mutations.Limits():
        tally = mutations.mutate(kind, seed=1, seconds=60)
    assert not tally.faults
    assert tally.refused > tally.tried / 10


def test_the_runner_sees_what_no_command_may_do(monkeypatch):
    """A hang, a bomb, an error that no command prints, a traceback in the log."""
    import logging
    import time

    def logs(folder):
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("any").exception("so what")

    bad = {
        "hang": lambda folder: time.sleep(9),
        "bomb": lambda folder: bytearray(2**33),
        "type": lambda folder: None + 1,
        "log": logs,
    }
    monkeypatch.setattr(mutations, "LONGEST_SECONDS", 0.2)
    with mutations.Limits():
        for name, read in bad.items():
            tally = mutations.Tally()
            mutations.outcome(lambda read=read: read(None), name, tally)
            assert len(tally.faults) == 1, name
