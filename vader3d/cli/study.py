"""The command of ablations."""

import json
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vader3d.cli.parsing import Settings, checked


@checked
def study_command(
    name: Positional[Literal["table2", "fig3", "hash", "normalisation", "steps"]],
    *,
    data: str,
    output: Path,
    seeds: int = 3,
    preset: str = "small-grid",
    settings: Settings = (),
    dry_run: bool = False,
) -> None:
    """An ablation: trains and judges the variants of one question, alike, over several seeds.

    table2: stage 1 without several views, self-attention, depth, long codes. fig3: latents of 4^3, 8^3, 16^3 in 16 to
    64 steps. hash: codes of shared pieces. normalisation: of latents. steps: of the sampler, deterministic and churned.
    Each judges by the protocol study-NAME, as `vader3d evaluate` does. Writes NAME.md, NAME.json and NAME.png after
    every variant. The same command again goes on where it stopped; more seeds, and other studies in the same folder,
    use the trainings that are there.

    Args:
        name: Which.
        data: An archive, or furniture, furniture-all, chairs.
        output: Folder for reports and trainings.
        seeds: Of trainings and protocol: 0, 1, ...
        preset: What variants differ from; see `vader3d presets`.
        settings: Overrides for all variants, e.g. --set autodecoder.loop.objects_seen=20000 --set protocol.samples=64;
            those of the protocol are noted in NAME.json as deviations.
        dry_run: Print the variants' configurations, their protocols included, as JSON and stop.
    """
    from vader3d.config import config_to_dict
    from vader3d.study.plans import study_named, variants_of
    from vader3d.study.run import run_study

    if dry_run:
        variants = variants_of(study_named(name), preset_name=preset, settings=settings)
        return print(json.dumps({variant: config_to_dict(config) for variant, config in variants.items()}, indent=2))
    run_study(name, data, output, seeds=seeds, preset_name=preset, settings=settings)
    return print((output / f"{name}.md").read_text(encoding="utf-8"))
