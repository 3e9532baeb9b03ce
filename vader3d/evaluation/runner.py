"""From a protocol, a model and its data to a report."""

import importlib.metadata
import platform
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vader3d import __version__
from vader3d.evaluation.chunks import Found, collect_stage, run_stage
from vader3d.evaluation.measurements import Stages
from vader3d.evaluation.protocol import Protocol, load_protocol
from vader3d.evaluation.published import published_rows
from vader3d.evaluation.scores import Scores, add_distances, add_memorisation, add_quality, add_shapes
from vader3d.evaluation.sets import PictureSets, views_in
from vader3d.evaluation.subject import Subject
from vader3d.frozen.embeddings import FeatureNetwork, load_features
from vader3d.frozen.lpips import PerceptualDistance, load_perceptual_distance
from vader3d.measures.distances import KERNEL_SUBSET
from vader3d.measures.memorisation import Memorisation, memorisation
from vader3d.training.team import ALONE, Team

CHUNKS = "features"
OURS = "vader3d"  # the source of protocols whose counts follow the data set
VERSIONS = ("torch", "numpy", "pillow", "safetensors", "scikit-image", "trimesh")


class Plan(NamedTuple):
    """A protocol as it will be run, the SHA-256 of its file, and how it was departed from, in words."""

    protocol: Protocol
    checksum: str
    deviations: list[str]


class Evaluation(NamedTuple):
    """What was found: the report (plain values), the sets, all that the stages kept, the nearest training objects."""

    report: dict[str, Any]
    sets: PictureSets
    found: dict[str, Found]
    memorised: dict[str, Memorisation]


def planned(name: str | Path, *, seed: int | None = None) -> Plan:
    """A named protocol, or one of your own by its .json path; another seed is a deviation. ValueError: no such one."""
    protocol, checksum = load_protocol(name)
    if seed is None or seed == protocol.seed:
        return Plan(protocol, checksum, [])
    return Plan(replace(protocol, seed=seed), checksum, [f"seed {seed} instead of {protocol.seed}"])


def with_samples(plan: Plan, samples: int) -> Plan:
    """The plan with another number of samples: a deviation. ValueError: fewer than 2."""
    if samples < 2:
        raise ValueError(f"samples: at least 2 wanted; got {samples}")
    protocol, shapes = plan.protocol, plan.protocol.shapes
    if samples == protocol.samples:
        return plan
    reference = protocol.reference
    if reference is not None and reference.objects == protocol.samples:
        reference = replace(reference, objects=samples)  # as large as the samples, it stays so
    changed = replace(
        protocol,
        samples=samples,
        memorisation=min(protocol.memorisation, samples),
        reference=reference,
        shapes=shapes and replace(shapes, generated=min(shapes.generated, samples)),
    )
    words = f"{samples} samples instead of {protocol.samples}"
    return Plan(changed, plan.checksum, [*plan.deviations, words])


def chosen_network(protocol: Protocol, name: str | None, *, device: torch.device) -> tuple[FeatureNetwork, list[str]]:
    """The named feature network, or the protocol's first whose weights are here; and what is not as it asks.

    ModuleNotFoundError, FileNotFoundError or ValueError: no weights, with how to get them.
    """
    networks, missing = ([name] if name else list(protocol.features)), []
    for place, candidate in enumerate(networks, 1):
        try:
            network = load_features(candidate, device=device)
            break
        except (ImportError, OSError, ValueError) as error:
            if place == len(networks):
                raise
            missing.append(str(error).splitlines()[0])
    if network.name == protocol.features[0]:
        return network, []
    why = f" ({missing[0]})" if missing else ""
    return network, [
        f"features of {network.name} instead of {protocol.features[0]}{why}: not comparable with published numbers"
    ]


def chosen_perceptual(protocol: Protocol, *, device: torch.device) -> tuple[PerceptualDistance | None, list[str]]:
    """LPIPS on the first trunk whose weights are here, None where the protocol wants none; and what is missing."""
    missing: list[str] = []
    for name in protocol.reconstruction.perceptual if protocol.reconstruction else ():
        try:
            return load_perceptual_distance(name, device=device), missing
        except (ImportError, OSError, ValueError) as error:
            missing.append(f"{name} was not measured: {str(error).splitlines()[0]}")
    return None, missing


def evaluate(
    subject: Subject, plan: Plan, output: Path, *, features: str | None = None, team: Team = ALONE
) -> Evaluation | None:
    """Compute what is missing in `output`/features and judge it; the leader gets the result, others None.

    ValueError: data, model and protocol that do not go together, too few objects, missing weights.
    """
    protocol, deviations = plan.protocol, [*plan.deviations]
    if protocol.steps and not subject.generator.draws:
        raise ValueError(
            f"model: protocol {protocol.name} judges generated objects; wanted the run folder of `vader3d train "
            "diffusion`, got that of an autodecoder (which `--protocol reconstruction` judges)"
        )
    network = None
    if protocol.sets:
        network, substitutes = chosen_network(protocol, features, device=subject.generator.device)
        deviations += substitutes
    sets = PictureSets(subject, protocol)
    perceptual, missing = chosen_perceptual(protocol, device=subject.generator.device)
    stages = Stages(sets, network, perceptual)
    for stage in stages.all():
        run_stage(stage, output / CHUNKS, team=team)
    team.wait()
    if not team.leads:
        return None
    start = time.monotonic()
    found = {stage.name: collect_stage(stage, output / CHUNKS) for stage in stages.all()}
    scores, spaces = scores_of(stages, found), nearest_in_training(sets, found)
    if spaces:
        add_memorisation(scores, spaces, protocol)
    seconds = {name: round(part.seconds, 2) for name, part in found.items()}
    seconds["scores"] = round(time.monotonic() - start, 2)
    report = {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "protocol_checksum": plan.checksum,
        "deviations": deviations + missing + unlike_data(stages) + scores.notes,
        **scores.values,
        "feature_network": network.name if network else None,
        "feature_checksum": network.checksum if network else None,
        "perceptual_checksums": [perceptual.checksum, perceptual.heads_checksum] if perceptual else None,
        **counts(stages, found),
        "excluded": exclusions(found),
        "intervals": scores.intervals,
        "confidence": protocol.confidence,
        "resamples": protocol.resamples,
        "steps": list(protocol.steps),
        "evaluation_seed": protocol.seed,
        "model": subject.model,
        "data_set": {
            "title": subject.archive.title,
            "fingerprint": subject.archive.fingerprint,
            "objects": len(subject),
            "resolution": list(subject.archive.resolution),
            "judged_at": list(sets.size),
        },
        "versions": versions(),
        "device": str(subject.generator.device),
        "seconds_by_stage": seconds,
    }
    report["published"] = published_rows(report, protocol.published)
    return Evaluation(report, sets, found, spaces)


def scores_of(stages: Stages, found: dict[str, Found]) -> Scores:
    """All scores that the protocol wants. ValueError: too little is left to make them of."""
    scores, protocol = Scores(), stages.protocol
    if protocol.reference is not None:
        if "features" not in found["reference"].tensors:
            raise ValueError(f"data: no reference picture is left ({exclusions(found)})")
        for name in stages.compared:
            if "features" in found[name].tensors:
                add_distances(scores, name, found[name], found["reference"], protocol)
            else:
                scores.notes.append(f"{name} could not be judged: none of it is left")
        subset = scores.values.get("kernel_subset_size", KERNEL_SUBSET)
        if subset < KERNEL_SUBSET and protocol.source != OURS:
            scores.notes.append(f"kernel distances of subsets of {subset} pictures, all there are, not {KERNEL_SUBSET}")
    for name in map(stages.generated_name, protocol.steps):
        if (spent := found[name].sampling_cpu_seconds) is not None:
            scores.add(f"cpu_seconds_per_sample_{name}", spent / stages.samples)
    if "quality" in found:
        if "quality" not in found["quality"].tensors:
            raise ValueError(f"data: no object's reconstruction could be judged ({exclusions(found)})")
        add_quality(scores, found["quality"], stages.quality_columns, protocol)
    if protocol.shapes is not None:
        add_shape_scores(scores, stages, found)
    return scores


def nearest_in_training(sets: PictureSets, found: dict[str, Found]) -> dict[str, Memorisation]:
    """The nearest training object of each sample: among normalised latents, and among pictures from the same poses."""
    count = sets.protocol.memorisation
    ours = found["generated"].tensors if count else {}
    if "looks" not in ours or len(sets.subject) < 2:
        return {}
    kept = ours["latent_owners"] < count
    drawn = sets.generator.statistics.normalise(ours["latents"][kept])
    return {
        "latents": memorisation(drawn, torch.cat([*sets.training_latents()])),
        "pictures": memorisation(ours["looks"][kept], found["training_looks"].tensors["looks"]),
    }


def add_shape_scores(scores: Scores, stages: Stages, found: dict[str, Found]) -> None:
    """Generated surfaces against true ones, or where the protocol allows against those of reconstructions."""
    if not (stages.knows_meshes or stages.shape_stand_in):
        scores.notes.append("shapes were not compared: the data set knows no true meshes")
        return
    generated = found["generated"].tensors.get("points")
    reference = found["true_shapes" if stages.knows_meshes else "reconstruction"].tensors.get("points")
    wanted = min(stages.samples, stages.protocol.shapes.generated) if stages.protocol.shapes else 0
    kept = 0 if generated is None else len(generated)
    scores.values |= {
        "shapes": kept,
        "true_shapes": 0 if reference is None else len(reference),
        "empty_shapes": wanted - kept,
    }
    if generated is None or reference is None or min(len(generated), len(reference)) < 2:
        scores.notes.append("shapes were not compared: fewer than 2 surfaces on one side")
        return
    add_shapes(scores, generated, reference, suffix="" if stages.knows_meshes else "_against_reconstructions")


def unlike_data(stages: Stages) -> list[str]:
    """What the data set does not have as the protocol wants it."""
    protocol, sets, notes = stages.protocol, stages.sets, []
    height, width = sets.subject.archive.resolution
    if protocol.resolution is not None and sets.size != (protocol.resolution, protocol.resolution):
        notes.append(
            f"pictures of {width}x{height}, the data set's, instead of {protocol.resolution}x{protocol.resolution}"
        )
    views = sets.subject.archive.records[0].views
    splits = {protocol.poses, *(["heldout"] if "heldout_views" in protocol.sets else [])}
    splits |= {protocol.reconstruction.split} if protocol.reconstruction else set()
    if "heldout" in splits and views_in("heldout", views) == views_in("all", views):
        notes.append(f"no views are held out (objects have {views}): all that judges was trained on")
    if protocol.sets and len(views_in(protocol.poses, views)) < protocol.views:
        notes.append(f"poses repeat: {protocol.views} wanted, objects have {len(views_in(protocol.poses, views))}")
    reference = protocol.reference
    if reference is not None and protocol.source != OURS:
        if reference.objects and reference.objects > stages.objects:
            notes.append(f"a reference of {stages.objects} objects, all there are, instead of {reference.objects}")
        allowed = len(views_in(reference.split, views))
        if reference.views and reference.views > allowed:
            notes.append(f"reference views repeat: {reference.views} wanted, objects have {allowed}")
    return notes


def counts(stages: Stages, found: dict[str, Found]) -> dict[str, int]:
    """How much of everything was compared, after exclusions."""
    made: dict[str, int] = {"training_objects": stages.objects}
    if stages.protocol.steps:
        made["samples"] = stages.samples
    for prefix, name in (("", "generated"), ("reference_", "reference")):
        owners = found[name].tensors.get("owners") if name in found else None
        if owners is not None:
            made |= {f"{prefix}objects": len(owners.unique()), f"{prefix}pictures": len(owners)}
    return made | ({"views": stages.protocol.views} if stages.protocol.sets else {})


def exclusions(found: dict[str, Found]) -> dict[str, int]:
    """What was left out, by reason and stage: `reason, stage` -> how many."""
    counted: Counter[str] = Counter()
    for name, part in found.items():
        counted.update({f"{reason}, {name}": count for reason, count in part.excluded.items() if count})
    return dict(counted)


def versions() -> dict[str, str]:
    """Of everything whose version may move a number."""
    return {"vader3d": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in VERSIONS
    }
