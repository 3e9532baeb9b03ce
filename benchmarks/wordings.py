"""Which text encoder understands wordings that no caption had: colour and type of what is drawn for them.

    vader3d prepare chairs --output chairs.zip --count 2000
    vader3d train autodecoder --data chairs.zip --output ae --preset small-text
    for E in vocabulary minilm; do
        vader3d train diffusion --autodecoder ae --output gen-$E --preset medium-text --set text_encoder=$E \\
            --set unet.model_channels=64 --set unet.head_channels=64 --set loop.objects_seen=64000
    done
    python benchmarks/wordings.py --autodecoder ae gen-vocabulary gen-minilm

What a latent shows is told by linear classifiers of the latents of stage 1 (how often they are right of others than
they learned from is printed); nothing is rendered. Result: docs/text.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vader3d import Generator
from vader3d.colour import COLOURS
from vader3d.latents import load_latents
from vader3d.text.captions import OBJECTS, read_objects

TYPES = ("chair", "stool", "table")
COLOURS_TOO = {
    "red": "crimson",
    "orange": "tangerine",
    "yellow": "golden",
    "green": "emerald",
    "turquoise": "teal",
    "blue": "navy",
    "purple": "violet",
    "pink": "rose",
    "white": "ivory",
    "grey": "silver",
    "black": "ebony",
    "brown": "chestnut",
    "beige": "cream",
}
TYPES_TOO = {"chair": "armchair", "stool": "barstool", "table": "desk"}
WORDINGS: dict[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    "as captions say it": ("a {colour} {type}", {}, {}),
    "in another order": ("one {type}, {colour}", {}, {}),
    "in a sentence": ("I would like a {type} that somebody painted {colour}", {}, {}),
    "another word for the colour": ("a {colour} {type}", COLOURS_TOO, {}),
    "another word for the type": ("a {colour} {type}", {}, TYPES_TOO),
}
EACH, GUIDANCE, RIDGE = 4, 3.0, 1.0


class Probe:
    """Least squares from latents [N, D] to one of `names`."""

    def __init__(self, latents: Tensor, labels: Sequence[str], names: Sequence[str]):
        self.names, self.mean, self.spread = names, latents.mean(0), latents.std(0).clamp_min(1e-6)
        aims = torch.tensor([[float(label == name) for name in names] for label in labels]).double()
        rows = self.rows(latents)
        ridge = RIDGE * torch.eye(rows.shape[1], dtype=rows.dtype)
        self.weights = torch.linalg.solve(rows.mT @ rows + ridge, rows.mT @ aims)

    def rows(self, latents: Tensor) -> Tensor:
        scaled = ((latents - self.mean) / self.spread).double()
        return torch.cat([scaled, torch.ones(len(scaled), 1).double()], 1)

    def right(self, latents: Tensor, labels: Sequence[str]) -> float:
        """How often it finds the label, in per cent."""
        found = (self.rows(latents) @ self.weights).argmax(1).tolist()
        return 100 * sum(self.names[at] == label for at, label in zip(found, labels, strict=True)) / len(labels)


def probes(autodecoder: Path) -> dict[str, Probe]:
    """Of colour and type; prints how often each is right of objects that it did not learn from."""
    latents = load_latents(autodecoder / "latents.safetensors")[0].float().flatten(1)
    tags = [dict(tag.split(":", 1) for tag in each.tags if ":" in tag) for each in read_objects(autodecoder / OBJECTS)]
    found = {}
    for name, names in (("colour", COLOURS), ("type", TYPES)):
        labels = [each[name] for each in tags]
        half = len(labels) // 2
        right = Probe(latents[:half], labels[:half], names).right(latents[half:], labels[half:])
        print(f"the {name} of real objects is found in {right:.1f} %")
        found[name] = Probe(latents, labels, names)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--autodecoder", type=Path, required=True)
    arguments = parser.parse_args()
    judges = probes(arguments.autodecoder)
    asked = [(colour, kind) for colour in COLOURS for kind in TYPES]
    print("| encoder | wording | colour right, % | type right, % |\n|---|---|---:|---:|")
    for run in arguments.runs:
        generator = Generator.from_pretrained(run)
        assert generator.text_encoder
        for name, (template, colours, types) in WORDINGS.items():
            prompts = [template.format(colour=colours.get(c, c), type=types.get(t, t)) for c, t in asked]
            made = generator(prompts, count=EACH, guidance_scale=GUIDANCE, output_type="latent").flatten(1)
            scores = [
                judges[kind].right(made, [pair[place] for pair in asked for _ in range(EACH)])
                for place, kind in enumerate(("colour", "type"))
            ]
            print(f"| {generator.text_encoder.name} | {name} | {scores[0]:.0f} | {scores[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
