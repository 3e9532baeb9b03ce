"""What a text protocol finds at best: for each prompt an object that is as it says, as stage 1 decodes it.

    python benchmarks/ceiling.py --protocol benchmarks/text-chairs.json --model runs/gen --autodecoder runs/ae \\
        --data chairs.zip --output ceiling

The objects of held-out pairs are those that stage 2 never met: what the judge does not find in them, it cannot find in
samples, however good stage 2 is. Prints the scores of prompts, held-out pairs and captions. Result: docs/results.md.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vader3d.assets import Asset
from vader3d.data.named import open_archive
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.prompts import KnownObjects, captions_of, template_prompts
from vader3d.evaluation.runner import evaluate, protocol_run
from vader3d.latents import load_latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", required=True)
    for name in ("model", "autodecoder", "output"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()
    judged, run = open_judged_model(arguments.model, open_archive(arguments.data)), protocol_run(arguments.protocol)
    latents = load_latents(arguments.autodecoder / "latents.safetensors")[0]
    known, asked = KnownObjects(judged.archive, judged.held_out), run.protocol.prompts
    assert asked is not None
    templates = {prompt.text: prompt.names for prompt in template_prompts(known, asked, seed=run.protocol.seed)}
    captions = {text: known.names[index] for index in known.kept for text in captions_of(known.records[index])}
    named = {text: {*names.items()} for text, names in (templates | captions).items()}
    taken: Counter[str] = Counter()

    def draw(texts: Sequence[str | None], *_: object, **__: object) -> list[Asset]:
        """Of equal prompts each time the next object."""
        assets = []
        for text in map(str, texts):
            able = [index for index, names in known.names.items() if named[text] <= {*names.items()}]
            latent = latents[able[taken[text] % len(able)]][None]
            taken[text] += 1
            assets.append(Asset(judged.generator.decode(latent), judged.generator.settings))
        return assets

    found = evaluate(judged, run, arguments.output, draw=draw)
    assert found is not None
    for key, value in found.report.items():
        if key.endswith(("_percent_prompts", "_percent_heldout_pairs", "_percent_captions")):
            print(f"{key}: {value:.1f}")


if __name__ == "__main__":
    main()
