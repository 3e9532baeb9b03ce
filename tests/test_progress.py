"""Progress where there is a terminal, and where there is none."""

import sys
from io import StringIO

import pytest
from rich.console import Console

from vader3d import progress


@pytest.fixture
def clock(monkeypatch):
    """A list whose last entry is the time in seconds."""
    times = [1000.0]
    monkeypatch.setattr(progress, "monotonic", lambda: times[-1])
    return times


def test_a_log_gets_a_line_soon_then_few_and_the_last(clock, capsys):
    with progress.progress_bar("toy [red]", start=0.25) as advance:
        for step in range(1, 61):
            clock.append(1000.0 + step)
            advance(0.25 + 0.75 * step / 60, f"{step} objects seen")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "toy [red]: 29%, 3 objects seen, 0:00:57 left"
    assert [line.split(", ")[1] for line in lines] == [f"{n} objects seen" for n in (3, 18, 33, 48, 60)]
    assert lines[-1] == "toy [red]: 100%, 60 objects seen, took 0:01:00"


def test_quick_work_says_nothing(clock, capsys):
    with progress.progress_bar("toy") as advance:
        clock.append(1002.0)
        advance(1.0, "done")
    assert capsys.readouterr().err == ""


def test_work_that_has_not_begun_has_no_time_left(clock, capsys):
    with progress.progress_bar("toy", start=0.5) as advance:
        clock.append(1060.0)
        advance(0.5, "no object seen")
    assert capsys.readouterr().err == "toy: 50%, no object seen, ? left\n"


def test_items_come_through_in_order_and_are_counted(clock, capsys):
    def slowly():
        for item in "abc":
            clock.append(clock[-1] + 10)
            yield item

    assert "".join(progress.track(slowly(), "letters", total=3)) == "abc"
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["letters: 33%, 1 of 3, 0.1/s, 0:00:20 left", "letters: 100%, 3 of 3, 0.1/s, took 0:00:30"]


def test_a_terminal_gets_a_bar(monkeypatch):
    screen = StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=True, width=100))
    with progress.progress_bar("toy [red]") as advance:
        advance(0.5, "loss [0.1]")
    assert "toy [red]" in screen.getvalue()
    assert "50%" in screen.getvalue()
    assert "loss [0.1]" in screen.getvalue()


def test_lines_go_to_standard_error_as_it_is_at_the_time(clock, monkeypatch):
    replaced = StringIO()
    monkeypatch.setattr(sys, "stderr", replaced)
    with progress.progress_bar("toy") as advance:
        clock.append(1010.0)
        advance(0.1, "words")
    assert replaced.getvalue().startswith("toy: 10%, words, ")
