"""The linear classifiers that tell what a latent shows, and the wordings that they judge."""

import runpy
from pathlib import Path

import torch

from vader3d.colour import COLOURS

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "wordings.py"))
COLOURS_TOO, TYPES, TYPES_TOO, WORDINGS, Probe = (
    BENCHMARK[name] for name in ("COLOURS_TOO", "TYPES", "TYPES_TOO", "WORDINGS", "Probe")
)


def test_a_probe_finds_what_is_linear_and_only_that():
    generator = torch.Generator().manual_seed(0)
    labels = [("a", "b", "c")[number % 3] for number in range(300)]
    aims = torch.tensor([[float(label == name) for name in "abc"] for label in labels])
    turn = torch.randn(3, 8, generator=generator)
    latents = aims @ turn + 0.05 * torch.randn(300, 8, generator=generator)
    assert Probe(latents[:150], labels[:150], "abc").right(latents[150:], labels[150:]) == 100
    noise = torch.randn(300, 8, generator=generator)
    assert Probe(noise[:150], labels[:150], "abc").right(noise[150:], labels[150:]) < 60


def test_every_colour_and_type_has_another_word_and_wordings_differ():
    assert {*COLOURS_TOO} == {*COLOURS}
    assert {*TYPES_TOO} == {*TYPES}
    assert not {*COLOURS_TOO.values()} & {*COLOURS}
    said = {
        template.format(colour=colours.get("red", "red"), type=types.get("chair", "chair"))
        for template, colours, types in WORDINGS.values()
    }
    assert len(said) == len(WORDINGS)
