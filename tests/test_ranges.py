"""Every number of every configuration has a range, and no configuration is made outside of it."""

import dataclasses
import importlib
import json
import math
import pkgutil
import re
import typing

import pytest

import vader3d
from vader3d.config import Checked, config_from_dict, config_to_dict, override
from vader3d.evaluation.protocol import load_protocol, protocol_names
from vader3d.presets import PRESETS, preset
from vader3d.study.plans import StudyConfig
from vader3d.training.loop import LoopConfig

for module in pkgutil.walk_packages(vader3d.__path__, "vader3d."):
    if not module.name.endswith(("__main__", "triton_kernels")):
        importlib.import_module(module.name)

KINDS = {kind.__name__: kind for kind in Checked.__subclasses__() if kind.__module__.startswith("vader3d.")}
STUDY = StudyConfig(preset("tiny").autodecoder, preset("tiny").diffusion, load_protocol("furniture")[0])


def numeric(hint) -> bool:
    """Whether a field holds ints or floats, perhaps in a tuple, or none."""
    return hint in (int, float) or any(numeric(argument) for argument in typing.get_args(hint))


NUMBERS = [
    (kind, field)
    for kind in KINDS.values()
    for field in dataclasses.fields(kind)
    if numeric(typing.get_type_hints(kind)[field.name])
]


def made(kind, **changes):
    """One of a kind, whatever it needs besides."""
    needed = {
        "name": "x", "version": 1, "measures": "x", "source": "x", "samples": 4, "views": 2, "features": ("x",),
        "generated": 4, "reference": 4, "samples_per_ray": 4, "method": "x", "data": "x",
    }  # fmt: skip
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    return kind(**{name: value for name, value in needed.items() if name in required} | changes)


def with_value(kind, field, value):
    """The number itself, or the first of as many as the default has."""
    tuples = "tuple" in str(typing.get_type_hints(kind)[field.name])
    return (value, *(field.default or (1,))[1:]) if tuples else value


def test_what_is_called_a_configuration_is_checked():
    everything = {
        kind
        for name, module in vars(importlib.import_module("sys"))["modules"].items()
        if name.startswith("vader3d.")
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__name__.endswith("Config") and dataclasses.is_dataclass(kind)
    }
    assert len(everything) > 9
    assert everything <= set(KINDS.values())
    assert {"Protocol", "Shapes", "Churn", "March"} <= KINDS.keys()


def test_every_number_has_a_range():
    assert len(NUMBERS) > 70
    assert [f"{kind.__name__}.{field.name}" for kind, field in NUMBERS if "range" not in field.metadata] == []


@pytest.mark.parametrize(("kind", "field"), NUMBERS, ids=[f"{kind.__name__}.{field.name}" for kind, field in NUMBERS])
def test_numbers_beyond_the_range_are_refused_by_name(kind, field):
    limits = field.metadata["range"]
    wrong = [math.nan, -math.inf] + ([] if limits.at_most == math.inf else [math.inf])
    wrong += [limits.at_least - 1] if limits.at_least is not None else []
    wrong += [limits.above] if limits.above is not None else []
    wrong += [limits.below] if limits.below is not None else []
    wrong += [limits.at_most + 1] if limits.at_most not in (None, math.inf) else []
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{field.name}: wanted .*; got {re.escape(str(value))}"):
            made(kind, **{field.name: with_value(kind, field, value)})
    if field.default is not dataclasses.MISSING and field.default is not None:
        assert getattr(made(kind), field.name) == field.default


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("autodecoder.loop.batch=-4", "autodecoder.loop.batch: wanted at least 1; got -4"),
        ("autodecoder.loop.objects_seen=0", "autodecoder.loop.objects_seen: wanted at least 1; got 0"),
        ("diffusion.loop.objects_seen=-5", "diffusion.loop.objects_seen: wanted at least 1; got -5"),
        ("diffusion.loop.seconds=0", "diffusion.loop.seconds: wanted above 0; got 0.0"),
        ("autodecoder.pixel_stride=0", "autodecoder.pixel_stride: wanted at least 1; got 0"),
        ("autodecoder.losses.scales=[1, 0]", "autodecoder.losses.scales: wanted at least 1; got 0"),
        ("autodecoder.loop.seed=-1", "autodecoder.loop.seed: wanted at least 0 and below 9223372036854775808; got -1"),
        ("autodecoder.code_lr=NaN", "autodecoder.code_lr: wanted a finite number, at least 0; got nan"),
        ("diffusion.P_mean=Infinity", "diffusion.P_mean: wanted a finite number; got inf"),
        ("protocol.confidence=1.0", "protocol.confidence: wanted above 0 and below 1; got 1.0"),
        ("protocol.shapes.points=0", "protocol.shapes.points: wanted at least 1; got 0"),
    ],
)
def test_the_whole_name_is_said_wherever_it_is_known(assignment, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        override(STUDY, [assignment])


def test_ranges_hold_in_python_too():
    with pytest.raises(ValueError, match=r"^batch: wanted at least 1; got -4$"):
        LoopConfig(batch=-4)
    with pytest.raises(ValueError, match=r"^batch: wanted a whole number; got 2\.5$"):
        LoopConfig(batch=2.5)
    with pytest.raises(ValueError, match=r"^seconds: wanted above 0; got 0$"):
        dataclasses.replace(LoopConfig(), seconds=0)


def test_what_we_hand_out_is_within_its_ranges():
    for chosen in PRESETS.values():
        for config in (chosen.autodecoder, chosen.diffusion):
            assert config_from_dict(type(config), json.loads(json.dumps(config_to_dict(config)))) == config
    for name in protocol_names():
        load_protocol(name)
