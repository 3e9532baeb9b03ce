"""An object that hangs, eats memory, or ends its process costs itself only."""

import pickle
import sys
from collections import Counter

import pytest
from making import BROKEN, CRASHES, EATS, EXITS, HANGS, jobs_of

from vader3d.data.making.crew import Crew, Death, Job, Stopped, answered
from vader3d.data.making.work import Limits


@pytest.fixture(scope="module")
def crew():
    crew = Crew(1, Limits(seconds=6.0, gigabytes=1.0))
    yield crew
    crew.stop()


def deaths_of(counts: Counter, most: int = 2):
    """Gives an object up after so many deaths."""
    said = []

    def deaths(death: Death | None) -> str:
        said.extend([death] if death else [])
        counts["deaths"] = len(said)
        return f"{said[-1].reason}; {said[-1].log}" if len(said) >= most else ""

    return deaths


def result(crew, value):
    counts = Counter()
    (job,) = jobs_of([value])
    return crew.submit(job, deaths_of(counts)).result(), counts["deaths"]


@pytest.mark.parametrize(
    ("value", "words", "deaths"),
    [
        (HANGS, r"make the object within 6 s; got no end; last words of thing 0", 2),
        (CRASHES, r"got its death \(SIGSEGV\); last words of thing 0", 2),
        (EXITS, r"got its death \(exit code 1; out of memory\?\); last words of thing 0", 2),
        (EATS, r"MemoryError: Unable to allocate 8\.00 GiB", 0),
        (BROKEN, r"RuntimeError: no value", 0),
    ],
)
def test_what_an_object_does_to_its_process_it_does_to_itself(crew, value, words, deaths):
    error, counted = result(crew, value)
    with pytest.raises(ValueError, match=words):
        raise error
    assert counted == deaths
    prepared, counted = result(crew, 7)
    assert prepared.pictures[0, 0, 0, 0] == 8
    assert counted == 0


def test_what_is_stopped_says_so():
    crew = Crew(1)
    (job,) = jobs_of([HANGS])
    future = crew.submit(job, lambda death: "")
    while not crew.children:
        pass
    crew.stop()
    with pytest.raises(Stopped):
        future.result(30)


def test_what_cannot_be_sent_is_the_objects_fault():
    assert isinstance(pickle.loads(answered(b"no pickle")), ValueError)


def loaded(name):
    raise ValueError(f"{name} is {'there' if name in sys.modules else 'not there'}")


def test_what_is_slow_to_import_is_there_before_the_first_object():
    """Kills come at any time: an object whose first try takes seconds would often be hit."""
    crew = Crew(1)
    assert str(crew.submit(Job("x", loaded, ("trimesh",)), deaths_of(Counter())).result()) == "trimesh is there"
    crew.stop()
