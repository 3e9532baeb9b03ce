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
from vader3d.data.dataset import usual_views
from vader3d.evaluation.chunks import Measured, collect_measurement, run_measurement
from vader3d.evaluation.judged import JudgedModel
from vader3d.evaluation.measurements import Measurements
from vader3d.evaluation.prompted import PromptedDraw, PromptedMeasurements
from vader3d.evaluation.prompted_scores import add_prompted
from vader3d.evaluation.protocol import Protocol, load_protocol
from vader3d.evaluation.published import published_rows
from vader3d.evaluation.scores import Scores, add_distances, add_memorisation, add_quality, add_shapes
from vader3d.evaluation.sets import PictureSets, views_in
from vader3d.frozen.embeddings import FeatureNetwork, load_features
from vader3d.frozen.joint import load_joint_encoder
from vader3d.frozen.lpips import PerceptualDistance, load_perceptual_distance
from vader3d.measures.distances import KERNEL_SUBSET
from vader3d.measures.memorisation import Memorisation, memorisation
from vader3d.training.distributed import ONE_PROCESS, Processes

CHUNKS = "features"
OURS = "vader3d"  # the source of protocols whose counts follow the data set
VERSIONS = ("torch", "numpy", "pillow", "safetensors", "scikit-image", "trimesh")


class ProtocolRun(NamedTuple):
    """A protocol as it is run, the SHA-256 of its file, and how it was departed from, in words."""

    protocol: Protocol
    checksum: str
    deviations: list[str]


class Evaluation(NamedTuple):
    """The report (plain values), the sets, what was measured of each, the nearest training objects, the prompts."""

    report: dict[str, Any]
    sets: PictureSets
    measured: dict[str, Measured]
    memorised: dict[str, Memorisation]
    prompted: PromptedMeasurements | None = None


def protocol_run(name: str | Path, *, seed: int | None = None) -> ProtocolRun:
    """A named protocol, or one of your own by its .json path; another seed is a deviation. ValueError: no such one."""
    protocol, checksum = load_protocol(name)
    if seed is None or seed == protocol.seed:
        return ProtocolRun(protocol, checksum, [])
    return ProtocolRun(replace(protocol, seed=seed), checksum, [f"seed {seed} instead of {protocol.seed}"])


def with_samples(run: ProtocolRun, samples: int) -> ProtocolRun:
    """The run with another number of samples: a deviation. ValueError: fewer than 2."""
    if samples < 2:
        raise ValueError(f"samples: wanted at least 2; got {samples}")
    protocol, shapes = run.protocol, run.protocol.shapes
    if samples == protocol.samples:
        return run
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
    return ProtocolRun(changed, run.checksum, [*run.deviations, words])


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
    """LPIPS on the first trunk whose weights are here, None where the protocol asks for none; and what is missing."""
    missing: list[str] = []
    for name in protocol.reconstruction.perceptual if protocol.reconstruction else ():
        try:
            return load_perceptual_distance(name, device=device), missing
        except (ImportError, OSError, ValueError) as error:
            missing.append(f"{name} was not measured: {str(error).splitlines()[0]}")
    return None, missing


def evaluate(
    judged: JudgedModel,
    run: ProtocolRun,
    output: Path,
    *,
    features: str | None = None,
    clip: Path | None = None,
    draw: PromptedDraw | None = None,
    processes: Processes = ONE_PROCESS,
) -> Evaluation | None:
    """Compute what is missing in `output`/features and judge it; the main process gets the result, others None.

    clip: the folder of an encoder of both pictures and texts, for R@k. draw: samples of prompts, else the model's own.
    ValueError: data, model and protocol that do not go together, too few objects, missing weights.
    """
    protocol, deviations = run.protocol, [*run.deviations]
    if protocol.steps and not judged.generator.draws:
        raise ValueError(
            "model: wanted the run folder of `vader3d train diffusion`, since protocol "
            f"{protocol.name} judges generated objects; got that of an autodecoder; give the former, or --protocol "
            "reconstruction"
        )
    network = None
    if protocol.sets:
        network, substitutes = chosen_network(protocol, features, device=judged.generator.device)
        deviations += substitutes
    sets = PictureSets(judged, protocol)
    perceptual, missing = chosen_perceptual(protocol, device=judged.generator.device)
    measurements = Measurements(sets, network, perceptual)
    prompted = None
    if protocol.prompts is not None:
        prompted = prompted_measurements(measurements, draw, clip)
    everything = [*measurements.all(), *(prompted.all() if prompted else [])]
    for each in everything:
        run_measurement(each, output / CHUNKS, processes=processes)
    processes.wait()
    if not processes.is_main:
        return None
    start = time.monotonic()
    measured = {measurement.name: collect_measurement(measurement, output / CHUNKS) for measurement in everything}
    scores, spaces = measured_scores(measurements, measured), nearest_in_training(sets, measured)
    if spaces:
        add_memorisation(scores, spaces, protocol)
    if prompted:
        add_prompted(scores, prompted, measured)
    seconds = {name: round(part.seconds, 2) for name, part in measured.items()}
    seconds["scores"] = round(time.monotonic() - start, 2)
    report = {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "protocol_checksum": run.checksum,
        "deviations": deviations + missing + unlike_data(measurements) + scores.notes,
        **scores.values,
        "feature_network": network.name if network else None,
        "feature_checksum": network.checksum if network else None,
        "perceptual_checksums": [perceptual.checksum, perceptual.heads_checksum] if perceptual else None,
        **counts(measurements, measured),
        "excluded": exclusions(measured),
        "intervals": scores.intervals,
        "confidence": protocol.confidence,
        "resamples": protocol.resamples,
        "steps": list(protocol.steps),
        "evaluation_seed": protocol.seed,
        "model": judged.model,
        "data_set": {
            "title": judged.archive.title,
            "fingerprint": judged.archive.fingerprint,
            "objects": len(judged),
            "resolution": list(judged.archive.resolution),
            "judged_at": list(sets.size),
        },
        "versions": versions(),
        "device": str(judged.generator.device),
        "seconds_by_stage": seconds,
    }
    report["published"] = published_rows(report, protocol.published)
    return Evaluation(report, sets, measured, spaces, prompted)


def prompted_measurements(
    measurements: Measurements, draw: PromptedDraw | None, clip: Path | None
) -> PromptedMeasurements:
    """ValueError: the model knows no texts."""
    judged = measurements.sets.judged
    if draw is None and judged.generator.text_encoder:
        draw = judged.generator.draw_prompts
    if draw is None:
        raise ValueError(
            f"model: wanted one that was trained with texts, since protocol {measurements.protocol.name} asks prompts; "
            "got one without; train with a text encoder, or give another --protocol"
        )
    joint = load_joint_encoder(clip, device=judged.generator.device) if clip else None
    return PromptedMeasurements(measurements, draw, held_out=judged.held_out, joint=joint)


def measured_scores(measurements: Measurements, measured: dict[str, Measured]) -> Scores:
    """All scores that the protocol asks for. ValueError: too little is left to make them of."""
    scores, protocol = Scores(), measurements.protocol
    if protocol.reference is not None:
        if "features" not in measured["reference"].tensors:
            raise ValueError(f"data: wanted reference pictures; got none that can be read: {exclusions(measured)}")
        for name in measurements.compared:
            if "features" in measured[name].tensors:
                add_distances(scores, name, measured[name], measured["reference"], protocol)
            else:
                scores.notes.append(f"{name} could not be judged: none of it is left")
        subset = scores.values.get("kernel_subset_size", KERNEL_SUBSET)
        if subset < KERNEL_SUBSET and protocol.source != OURS:
            scores.notes.append(f"kernel distances of subsets of {subset} pictures, all there are, not {KERNEL_SUBSET}")
    for name in map(measurements.generated_name, protocol.steps):
        if (spent := measured[name].sampling_cpu_seconds) is not None:
            scores.add(f"cpu_seconds_per_sample_{name}", spent / measurements.samples)
    if "quality" in measured:
        if "quality" not in measured["quality"].tensors:
            raise ValueError(f"data: wanted reconstructions to judge; got none: {exclusions(measured)}")
        add_quality(scores, measured["quality"], measurements.quality_columns, protocol)
    if protocol.shapes is not None:
        add_shape_scores(scores, measurements, measured)
    return scores


def nearest_in_training(sets: PictureSets, measured: dict[str, Measured]) -> dict[str, Memorisation]:
    """The nearest training object of each sample: among normalised latents, and among pictures from the same poses."""
    count = sets.protocol.memorisation
    generated = measured["generated"].tensors if count else {}
    if "looks" not in generated or len(sets.judged) < 3:
        return {}
    kept = generated["latent_owners"] < count
    drawn = sets.generator.statistics.normalise(generated["latents"][kept])
    copies, looks = sets.judged.copies, measured["training_looks"].tensors["looks"]
    return {
        "latents": memorisation(drawn, torch.cat([*sets.training_latents()]), copies=copies),
        "pictures": memorisation(generated["looks"][kept], looks, copies=copies),
    }


def add_shape_scores(scores: Scores, measurements: Measurements, measured: dict[str, Measured]) -> None:
    """Generated surfaces against true ones, or where the protocol allows against those of reconstructions."""
    if not (measurements.knows_meshes or measurements.shape_stand_in):
        scores.notes.append("shapes were not compared: the data set knows no true meshes")
        return
    generated = measured["generated"].tensors.get("points")
    reference = measured["true_shapes" if measurements.knows_meshes else "reconstruction"].tensors.get("points")
    asked = min(measurements.samples, measurements.protocol.shapes.generated) if measurements.protocol.shapes else 0
    kept = 0 if generated is None else len(generated)
    scores.values |= {
        "shapes": kept,
        "true_shapes": 0 if reference is None else len(reference),
        "empty_shapes": asked - kept,
    }
    if generated is None or reference is None or min(len(generated), len(reference)) < 2:
        scores.notes.append("shapes were not compared: fewer than 2 surfaces on one side")
        return
    add_shapes(scores, generated, reference, suffix="" if measurements.knows_meshes else "_against_reconstructions")


def unlike_data(measurements: Measurements) -> list[str]:
    """What the data set does not have as the protocol asks for it."""
    protocol, sets, notes = measurements.protocol, measurements.sets, []
    height, width = sets.judged.archive.resolution
    if protocol.resolution is not None and sets.size != (protocol.resolution, protocol.resolution):
        notes.append(
            f"pictures of {width}x{height}, the data set's, instead of {protocol.resolution}x{protocol.resolution}"
        )
    views = usual_views(sets.judged.archive)
    splits = {protocol.poses, *(["heldout"] if "heldout_views" in protocol.sets else [])}
    splits |= {protocol.reconstruction.split} if protocol.reconstruction else set()
    if "heldout" in splits and views_in("heldout", views) == views_in("all", views):
        notes.append(f"no views are held out (objects have {views}): all that judges was trained on")
    if protocol.sets and len(views_in(protocol.poses, views)) < protocol.views:
        notes.append(f"poses repeat: {protocol.views} wanted, objects have {len(views_in(protocol.poses, views))}")
    reference = protocol.reference
    if reference is not None and protocol.source != OURS:
        if reference.objects and reference.objects > measurements.objects:
            notes.append(
                f"a reference of {measurements.objects} objects, all there are, instead of {reference.objects}"
            )
        allowed = len(views_in(reference.split, views))
        if reference.views and reference.views > allowed:
            notes.append(f"reference views repeat: {reference.views} wanted, objects have {allowed}")
    return notes


def counts(measurements: Measurements, measured: dict[str, Measured]) -> dict[str, int]:
    """How much of everything was compared, after exclusions."""
    made: dict[str, int] = {"training_objects": measurements.objects}
    if measurements.protocol.steps:
        made["samples"] = measurements.samples
    for prefix, name in (("", "generated"), ("reference_", "reference")):
        owners = measured[name].tensors.get("owners") if name in measured else None
        if owners is not None:
            made |= {f"{prefix}objects": len(owners.unique()), f"{prefix}pictures": len(owners)}
    return made | ({"views": measurements.protocol.views} if measurements.protocol.sets else {})


def exclusions(measured: dict[str, Measured]) -> dict[str, int]:
    """What was left out, by reason and measurement: `reason, measurement` -> how many."""
    counted: Counter[str] = Counter()
    for name, part in measured.items():
        counted.update({f"{reason}, {name}": count for reason, count in part.excluded.items() if count})
    return dict(counted)


def versions() -> dict[str, str]:
    """Of everything whose version may move a number."""
    return {"vader3d": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in VERSIONS
    }
