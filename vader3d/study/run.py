"""A study from data to table."""

from pathlib import Path
from typing import Any

from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.data.dataset import DataSet
from vader3d.data.named import open_archive, readable_objects
from vader3d.evaluation.protocol import Protocol
from vader3d.files import held
from vader3d.progress import console
from vader3d.study.evaluations import evaluated, protocol_facts, scores_at
from vader3d.study.plans import Study, StudyConfig, base_of, study_named, variants_of
from vader3d.study.report import Row, write_report
from vader3d.study.trainings import (
    code_facts,
    cut_latents,
    denoiser_facts,
    latent_facts,
    trained_autodecoder,
    trained_denoiser,
)


def run_study(
    name: str,
    data: str,
    output: Path,
    *,
    seeds: int = 3,
    preset_name: str = "small-grid",
    settings: tuple[str, ...] = (),
) -> list[Row]:
    """Train what is missing, judge all variants for seeds 0, 1, ..., and write `output`/NAME.md, .json and .png.

    The report is written anew after every variant, all variants of one seed before the next seed: what is there is a
    whole comparison. The same call goes on where an earlier one stopped, in the middle of a training or an evaluation;
    studies in one folder share trainings. ValueError: an unknown study or setting, no seeds, missing weights.
    """
    if seeds < 1:
        raise ValueError(f"seeds: wanted at least 1; got {seeds}")
    study = study_named(name)
    protocol = base_of(study, preset_name=preset_name, settings=settings).protocol
    variants = variants_of(study, preset_name=preset_name, settings=settings)
    about_protocol = protocol_facts(study, protocol)  # at once, not after a training, where weights are missing
    archive, problems = readable_objects(open_archive(data))
    for problem in problems:
        console.print(f"skipped: {problem}")
    facts = {
        "study": name,
        "data": data,
        "objects": len(archive),
        "preset": preset_name,
        "settings": list(settings),
        **about_protocol,
    }
    rows = {variant: rows_of(study, variant, config.protocol) for variant, config in variants.items()}
    every_row = [row for own in rows.values() for row in own.values()]
    with held(output):
        for seed in range(seeds):
            for variant, config in variants.items():
                console.print(f"{name}: {variant}, seed {seed}")
                about, report = measured(study, config.seeded(seed), archive, output)
                for steps, row in rows[variant].items():
                    row.scores.append({"seed": seed, **about, **scores_at(report, study, steps)})
                write_report(output, name, study, every_row, facts)
    return every_row


def rows_of(study: Study, variant: str, protocol: Protocol) -> dict[int | None, Row]:
    """A row for each number of sampling steps; one where the protocol names one or none."""
    settings, steps = list(study.variants[variant]), protocol.steps
    if len(steps) > 1:
        return {count: Row(f"{variant}, {count} steps", settings) for count in steps}
    return {steps[0] if steps else None: Row(variant, settings)}


def measured(study: Study, config: StudyConfig, archive: DataSet, root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train what is missing, and evaluate: what is known of the trainings and where all lies, and the report."""
    run = trained_autodecoder(archive, config, root)
    about: dict[str, Any] = {"autodecoder": run.name}
    if config.protocol.steps:
        latents = cut_latents(run, PosedViews(archive, training_views), config, root)
        run = trained_denoiser(latents, archive.fingerprint, config, root)
        about |= {"diffusion": run.name, **latent_facts(latents), **denoiser_facts(run)}
    else:
        about |= code_facts(config.autodecoder, len(archive))
    folder, report = evaluated(run, study, config.protocol, archive, root)
    return about | {"evaluation": folder.name}, report
