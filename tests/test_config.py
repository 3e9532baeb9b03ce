"""Configurations survive JSON, and refuse what they do not know."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import (
    config_from_dict,
    config_to_dict,
    described_fields,
    field_paths,
    fingerprint,
    override,
    unknown_name,
)
from vader3d.diffusion.model import DiffusionConfig


@dataclass(frozen=True)
class Inner:
    width: int = 3  # in # px
    rate: float = 0.5
    kind: Literal["adam", "muon"] = "adam"  # the optimiser


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)  # of the levels
    limit: float | None = None
    # said above,
    # on two lines
    exact: bool = False
    name: str = "x"
    pair: tuple[float, float] = (0.5, 1.0)


@dataclass(frozen=True)
class Spared:
    spare: Inner | None = None


@given(
    st.builds(
        Outer,
        inner=st.builds(Inner, width=st.integers(), rate=st.floats(allow_nan=False, allow_infinity=False)),
        sizes=st.lists(st.integers()).map(tuple),
        limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        exact=st.booleans(),
        name=st.text(),
    )
)
def test_dictionaries_and_back_is_the_same(config):
    assert config_from_dict(Outer, config_to_dict(config)) == config


@pytest.mark.parametrize("config", [AutodecoderConfig(), DiffusionConfig()])
def test_our_own_configurations_survive_json(config):
    assert config_from_dict(type(config), config_to_dict(config)) == config
    assert "loop.seed" in field_paths(config)


def test_overrides_reach_every_depth_and_kind():
    changed = override(
        Outer(),
        ["inner.width=7", "inner.kind=muon", "sizes=[4, 5]", "limit=2", "exact=true", "name=a=b", "inner.rate=1e-3"],
    )
    assert changed == Outer(Inner(7, 0.001, "muon"), (4, 5), 2.0, True, "a=b")
    assert isinstance(changed.limit, float)
    assert override(changed, ["limit=null"]).limit is None


def test_a_nested_configuration_that_is_not_there_is_given_whole():
    with pytest.raises(ValueError, match=r"spare: wanted fields to set spare\.width; got null; give it whole"):
        override(Spared(), ["spare.width=7"])
    assert override(Spared(), ['spare={"width": 7}']) == Spared(Inner(7))
    assert override(Spared(Inner(7)), ["spare.rate=2"]) == Spared(Inner(7, 2.0))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("iner.width=3", r"iner.*nearest: .*inner\.width"),
        ("inner.widht=3", r"inner\.widht.*nearest: inner\.width"),
        ("inner=3", r"inner"),
        ("name.first=3", r"name"),
        ("inner.width", r"wanted path\.to\.field=value"),
        ("inner.width=2.5", r"inner\.width: wanted int; got 2\.5"),
        ("inner.width=true", r"inner\.width: wanted int; got True"),
        ("inner.width=null", r"inner\.width: wanted int; got None"),
        ("inner.rate=fast", r"inner\.rate: wanted float; got 'fast'"),
        ("inner.kind=adamw", r"inner\.kind: wanted one of adam, muon; got 'adamw'"),
        ("sizes=3", r"sizes: .*got 3"),
        ('sizes=[1, "a"]', r"sizes\[1\]: wanted int; got 'a'"),
        ("pair=[1.0]", r"pair: wanted 2 values; got 1"),
        ("exact=1", r"exact: wanted bool; got 1"),
        ("name=3", r"name: wanted str; got 3"),
    ],
)
def test_wrong_overrides_say_what_was_wanted(assignment, said):
    with pytest.raises(ValueError, match=said):
        override(Outer(), [assignment])


def test_unknown_fields_in_files_are_refused_by_their_full_name():
    with pytest.raises(ValueError, match=r"inner\.hight.*nearest"):
        config_from_dict(Outer, {"inner": {"hight": 3}})


def test_missing_fields_take_their_defaults():
    assert config_from_dict(Outer, {"inner": {"width": 9}}) == Outer(Inner(width=9))


@dataclass(frozen=True)
class Wider(Outer):
    """Inherits its fields, and says one anew."""

    name: str = "wide"  # said anew


def test_fields_are_described_by_the_comments_above_and_beside_them():
    described = {field.path: field for field in described_fields(Wider())}
    assert list(described) == field_paths(Wider())
    meanings = {path: field.meaning for path, field in described.items() if field.meaning}
    assert meanings == {
        "inner.width": "in # px",
        "inner.kind": "the optimiser",
        "sizes": "of the levels",
        "exact": "said above, on two lines",
        "name": "said anew",
    }
    assert described["inner.kind"].choices == ("adam", "muon")
    assert (described["inner.width"].value, described["inner.width"].choices) == (3, ())


def test_fingerprints_change_with_any_value_and_only_then():
    config = DiffusionConfig()
    assert fingerprint(config) == fingerprint(DiffusionConfig())
    prints = {fingerprint(override(config, [change])) for change in ("P_mean=-1.1", "loop.seed=1", "unet.dropout=0")}
    assert len(prints | {fingerprint(config)}) == 4


def test_the_nearest_names_come_first():
    assert unknown_name("chair", ["sofa", "chairs", "table"], "data set") == "unknown data set 'chair'; nearest: chairs"
