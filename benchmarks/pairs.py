"""Pairs of a colour and a type that stage 2 never met, by kinds of guidance, and with a judge that needs no pictures.

    python benchmarks/pairs.py --model runs/gen --autodecoder runs/ae

The type is told by a linear classifier of the latents of stage 1, the colour is the most frequent one of two pictures
(`wordings.py`). Beside them all pairs of the same types that it did meet. Result: docs/results.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordings import Probe, colour_of, type_probe

from vader3d import Generator
from vader3d.assets import Asset
from vader3d.colour import COLOURS
from vader3d.evaluation.prompts import filled_in
from vader3d.snapshots import MODEL, read_header
from vader3d.text.captions import OBJECTS, read_objects
from vader3d.text.heldout import Pair, pairs_of, said_of

EACH = 8
SNAPSHOTS = "snapshots"


def ways(run: Path) -> dict[str, dict[str, Any]]:
    """What is tried: a name and the arguments of a generator's call."""
    found: dict[str, dict[str, Any]] = {
        f"guidance {scale:g}": {"guidance_scale": scale} for scale in (1.0, 2.0, 3.0, 5.0)
    }
    found["guidance 5 from noise .3 to 10"] = {"guidance_scale": 5.0, "guidance_interval": (0.3, 10.0)}
    found["guidance 5, rescaled by .7"] = {"guidance_scale": 5.0, "guidance_rescale": 0.7}
    for path in sorted((run / SNAPSHOTS).glob("*.safetensors"))[:1]:
        found[f"autoguidance 2 by {path.stem}"] = {"guidance_scale": 2.0, "guide": path}
    found["guidance 3, asked as `one table, blue`"] = {"guidance_scale": 3.0, "template": "one {type}, {colour}"}
    return found


def right(
    generator: Generator, judge: Probe, pairs: Sequence[Pair], *, template: str = "a {colour} {type}", **how: Any
) -> list[float]:
    """How often colour, type and both are as asked, in per cent, of `EACH` samples a pair."""
    prompts = [filled_in(template, pair._asdict()) for pair in pairs]
    latents = generator(prompts, count=EACH, output_type="latent", **how)
    types = [judge.names[place] for place in (judge.rows(latents.flatten(1)) @ judge.weights).argmax(1).tolist()]
    colours = [colour_of(Asset(generator.decode(latent[None]), generator.settings)) for latent in latents]
    asked = [pair for pair in pairs for _ in range(EACH)]
    colour = [found == pair.colour for found, pair in zip(colours, asked, strict=True)]
    kind = [found == pair.type for found, pair in zip(types, asked, strict=True)]
    both = [one and other for one, other in zip(colour, kind, strict=True)]
    return [100 * sum(each) / len(asked) for each in (colour, kind, both)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--autodecoder", type=Path, required=True)
    arguments = parser.parse_args()
    judge, generator = type_probe(arguments.autodecoder), Generator.from_pretrained(arguments.model)
    apart = [Pair(*pair) for pair in read_header(arguments.model / MODEL)["held_out"]]
    said = [
        said_of([caption.text for caption in each.captions], each.category, each.tags)
        for each in read_objects(arguments.autodecoder / OBJECTS)
    ]
    types = {pair.type for pair in apart}
    met = sorted({pair for each in said for pair in pairs_of(each, COLOURS) if pair.type in types} - {*apart})
    print(
        f"| {len(apart)} pairs never met, {len(met)} met | colour | type | both | colour, met | type, met | both, met |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, how in ways(arguments.model).items():
        scores = [*right(generator, judge, apart, **how), *right(generator, judge, met, **how)]
        print(f"| {name} | {' | '.join(f'{score:.0f}' for score in scores)} |", flush=True)


if __name__ == "__main__":
    main()
