"""Which text encoder understands wordings that no caption had: colour and type of what is drawn for them.

    vader3d prepare chairs --output chairs.zip --count 2000
    vader3d train autodecoder --data chairs.zip --output ae --preset small-text
    for E in vocabulary minilm; do
        vader3d train diffusion --autodecoder ae --output gen-$E --preset medium-text --set text_encoder=$E \\
            --set unet.model_channels=64 --set unet.head_channels=64 --set loop.objects_seen=24000
    done
    python benchmarks/wordings.py --autodecoder ae gen-vocabulary gen-minilm

The colour is the most frequent one of pictures, the type is told by a linear classifier of the latents of stage 1 (how
often it is right of others than it learned from is printed). Result: docs/text.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vader3d import Generator
from vader3d.assets import Asset
from vader3d.colour import COLOURS, dominant_colours
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
EACH, GUIDANCE, RIDGE = 2, 3.0, 1.0
VIEWS, SIDE_PX = 2, 48


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


def type_probe(autodecoder: Path) -> Probe:
    """Prints how often it is right of objects that it did not learn from."""
    latents = load_latents(autodecoder / "latents.safetensors")[0].float().flatten(1)
    tags = [dict(tag.split(":", 1) for tag in each.tags if ":" in tag) for each in read_objects(autodecoder / OBJECTS)]
    labels, half = [each["type"] for each in tags], len(tags) // 2
    right = Probe(latents[:half], labels[:half], TYPES).right(latents[half:], labels[half:])
    print(f"the type of real objects is found in {right:.1f} %")
    return Probe(latents, labels, TYPES)


def colour_of(asset: Asset) -> str:
    """The most frequent one; "" of nothing."""
    found = dominant_colours(asset.turntable(frames=VIEWS, size=SIDE_PX).numpy())
    return found[0][0] if found else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--autodecoder", type=Path, required=True)
    arguments = parser.parse_args()
    judge = type_probe(arguments.autodecoder)
    asked = [(colour, kind) for colour in COLOURS for kind in TYPES]
    print("| encoder | wording | colour right, % | type right, % |\n|---|---|---:|---:|")
    for run in arguments.runs:
        generator = Generator.from_pretrained(run)
        assert generator.text_encoder
        for name, (template, hues, kinds) in WORDINGS.items():
            prompts = [template.format(colour=hues.get(c, c), type=kinds.get(t, t)) for c, t in asked]
            aims = [pair for pair in asked for _ in range(EACH)]
            latents = generator(prompts, count=EACH, guidance_scale=GUIDANCE, output_type="latent")
            types = judge.right(latents.flatten(1), [kind for _, kind in aims])
            assets = (Asset(generator.decode(latent[None]), generator.settings) for latent in latents)
            colours = [colour_of(asset) == colour for asset, (colour, _) in zip(assets, aims, strict=True)]
            right = 100 * sum(colours) / len(colours)
            print(f"| {generator.text_encoder.name} | {name} | {right:.0f} | {types:.0f} |", flush=True)


if __name__ == "__main__":
    main()
