"""A study from data to table: train or find, judge, write down, one variant and seed after the other."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vader3d.config import fingerprint
from vader3d.data.named import AnyArchive, open_archive, readable_objects
from vader3d.files import write_text
from vader3d.progress import console
from vader3d.study.judge import Judge
from vader3d.study.plans import JudgeConfig, Study, StudyConfig, study_named, variants_of
from vader3d.study.report import Row, write_report
from vader3d.study.trainings import Recipe, code_facts, cut_latents, latent_facts, trained_autodecoder, trained_denoiser


def run_study(
    name: str, data: str, output: Path, *, seeds: int = 3, preset_name: str = "small", settings: tuple[str, ...] = ()
) -> list[Row]:
    """Train what is missing, judge all variants for seeds 0, 1, ..., and write `output`/NAME.md, .json and .png.

    The report is written anew after every score, all variants of one seed before the next seed: what is there is a
    whole comparison. The same call goes on where an earlier one stopped; studies in one folder share trainings.
    ValueError: an unknown study or setting, no seeds.
    """
    if seeds < 1:
        raise ValueError(f"seeds: wanted at least 1; got {seeds}")
    study = study_named(name)
    variants = variants_of(study, preset_name=preset_name, settings=settings)
    archive, problems = readable_objects(open_archive(data))
    for problem in problems:
        console.print(f"skipped: {problem}")
    judged = next(iter(variants.values())).judge
    judge = Judge(archive)
    network = judge.network(study, judged)  # at once, not after training, where its weights are missing
    facts = {
        "study": name,
        "data": data,
        "objects": len(archive),
        "preset": preset_name,
        "settings": list(settings),
        "judge": asdict(judged),
        "network": network.name,
        "checksum": network.checksum,
    }
    rows = [Row(variant, list(study.variants[variant])) for variant in variants]
    for seed in range(seeds):
        for row, config in zip(rows, variants.values(), strict=True):
            console.print(f"{name}: {row.name}, seed {seed}")
            row.scores.append(scored(study, config.seeded(seed), archive, judge, output, seed=seed))
            write_report(output, name, study, rows, facts)
    return rows


def scored(
    study: Study, config: StudyConfig, archive: AnyArchive, judge: Judge, root: Path, *, seed: int
) -> dict[str, Any]:
    """All scores of one variant with one seed, from the file an earlier call left if there is one."""
    return remembered(
        root / "scores" / f"{study.judged}-{score_name(study, config, archive)}.json",
        lambda: measured(study, config, archive, judge, root, seed=seed),
    )


def score_name(study: Study, config: StudyConfig, archive: AnyArchive) -> str:
    """Named after what has a part in the scores: stage 2 and its sampler have none in those of reconstructions."""
    judge = config.judge
    if study.judged == "reconstruction":
        recipe = Recipe(archive.fingerprint, config.autodecoder)
        judge = JudgeConfig(judge.objects, judge.views, perceptual=judge.perceptual)
    else:
        recipe, judge = Recipe(archive.fingerprint, config.autodecoder, config.diffusion), replace(judge, perceptual="")
    return f"{fingerprint(recipe)}-{fingerprint(judge)}"


def remembered(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The numbers in the file, measured and written first where it is missing."""
    if not path.is_file():
        write_text(path, json.dumps(measure(), indent=2) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def measured(
    study: Study, config: StudyConfig, archive: AnyArchive, judge: Judge, root: Path, *, seed: int
) -> dict[str, Any]:
    """Train what is missing, and judge."""
    trained = trained_autodecoder(archive, config, root)
    where: dict[str, Any] = {"seed": seed, "autodecoder": trained.name}
    if study.judged == "reconstruction":
        scores = judge.reconstruction(trained, config.judge)
        return where | scores | code_facts(config.autodecoder, len(archive))
    latents = cut_latents(trained, judge.training, config, root)
    denoiser = trained_denoiser(latents, archive.fingerprint, config, root)
    scores = judge.generation(denoiser, config.judge, autodecoder=trained, seed=seed)
    return where | {"diffusion": denoiser.name} | latent_facts(latents) | scores
