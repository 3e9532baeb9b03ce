"""Scores of finished measurements, with bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vader3d.evaluation.chunks import Measured
from vader3d.evaluation.protocol import Protocol
from vader3d.measures.distances import feature_moments, frechet_distance, kernel_distance
from vader3d.measures.intervals import Interval, bootstrap_interval, frechet_interval, kernel_interval
from vader3d.measures.memorisation import Memorisation, flagged_in_any
from vader3d.measures.neighbours import density_coverage, precision_recall
from vader3d.measures.shapes import compare_shapes

KERNEL_UNIT = 1000  # kernel distances are reported times this, as published


@dataclass
class Scores:
    """`values` by name, `intervals` (low, high) of those that have one, `notes` on what is not as one may think."""

    values: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, interval: Interval | None = None, *, unit: float = 1.0) -> None:
        self.values[name] = unit * value
        if interval is not None:
            self.intervals[name] = [unit * interval.low, unit * interval.high]


def drawing(protocol: Protocol) -> torch.Generator:
    """Fresh randomness for one score, so that it does not depend on which others are made."""
    return torch.Generator().manual_seed(protocol.seed)


def by_object(measured: Measured) -> Tensor | None:
    """Features [N, V, d] of a set whose objects all have V pictures; None where they have not."""
    counts = measured.tensors["owners"].unique(return_counts=True)[1]
    return measured.tensors["features"].unflatten(0, (len(counts), -1)) if len(counts.unique()) == 1 else None


def interval_of(
    measure: Callable[..., Interval], measured: Measured, reference: Measured, protocol: Protocol
) -> Interval | None:
    """Of a distance of two sets; None where it cannot be: single objects, or such of unlike numbers of pictures."""
    rendered, target = by_object(measured), by_object(reference)
    if not protocol.resamples or rendered is None or target is None or min(len(rendered), len(target)) < 2:
        return None
    draw = drawing(protocol)
    return measure(rendered, target, generator=draw, resamples=protocol.resamples, level=protocol.confidence)


def add_distances(scores: Scores, name: str, measured: Measured, reference: Measured, protocol: Protocol) -> None:
    """All metrics that the protocol asks for, of one set of pictures against the reference."""
    rendered, target = measured.tensors["features"], reference.tensors["features"]
    if "frechet" in protocol.metrics:
        distance = frechet_distance(feature_moments(rendered), feature_moments(target))
        scores.add(f"frechet_{name}", distance, interval_of(frechet_interval, measured, reference, protocol))
    if "kernel" in protocol.metrics:
        kernel = kernel_distance(rendered, target, generator=drawing(protocol))
        interval = interval_of(kernel_interval, measured, reference, protocol)
        scores.add(f"kernel_{name}", kernel.mean, interval, unit=KERNEL_UNIT)
        scores.values["kernel_subset_size"] = kernel.subset_size
    if "precision_recall" in protocol.metrics:
        precision, recall = precision_recall(rendered, target)
        scores.add(f"precision_{name}", precision)
        scores.add(f"recall_{name}", recall)
    if "density_coverage" in protocol.metrics:
        density, coverage = density_coverage(rendered, target)
        scores.add(f"density_{name}", density)
        scores.add(f"feature_coverage_{name}", coverage)


def mean_interval(values: Tensor, protocol: Protocol) -> Interval | None:
    """Of the mean of values [N], one for each object; None for fewer than two."""
    if len(values) < 2 or not protocol.resamples:
        return None
    draw = drawing(protocol)
    return bootstrap_interval(values, generator=draw, resamples=protocol.resamples, level=protocol.confidence)


def add_quality(scores: Scores, measured: Measured, columns: list[str], protocol: Protocol) -> None:
    """Means over objects of the means over their pictures."""
    assert protocol.reconstruction is not None
    prefix = "heldout" if protocol.reconstruction.split == "heldout" else "reconstruction"
    quality, owners = measured.tensors["quality"], measured.tensors["owners"]
    objects, whose, counts = owners.unique(return_inverse=True, return_counts=True)
    means = quality.new_zeros(len(objects), len(columns)).index_add_(0, whose, quality) / counts[:, None]
    for name, column in zip(columns, means.T, strict=True):
        scores.add(f"{prefix}_{name}", float(column.mean()), mean_interval(column, protocol))
    scores.values |= {"reconstructed_objects": len(objects), "reconstructed_pictures": len(owners)}


def add_shapes(scores: Scores, generated: Tensor, reference: Tensor, *, suffix: str) -> None:
    """Coverage, MMD and 1-NNA of points [G, P, 3] against [R, P, 3]; `suffix` names stand-ins for true shapes."""
    compared = compare_shapes(generated, reference)
    scores.add(f"coverage{suffix}", compared.coverage)
    scores.add(f"mmd{suffix}", compared.mmd)
    scores.add(f"nearest_neighbour_accuracy{suffix}", compared.nearest_neighbour_accuracy)


def add_memorisation(scores: Scores, spaces: Mapping[str, Memorisation], protocol: Protocol) -> None:
    """Percent of samples that are flagged as copies and how near samples lie, beside the same of training objects."""
    for of, sides in (
        ("", {name: space.samples for name, space in spaces.items()}),
        ("_null", {name: space.null for name, space in spaces.items()}),
    ):
        flagged = {"": flagged_in_any(sides.values())} | {f"_{name}": side.flagged for name, side in sides.items()}
        for end, flags in flagged.items():
            share = flags.double()
            scores.add(f"copied_percent{of}{end}", float(share.mean()), mean_interval(share, protocol), unit=100)
        for name, side in sides.items():
            scores.add(f"local_ratio{of}_{name}", float(side.ratios.median()))
    for name, space in spaces.items():
        scores.add(f"z_u_{name}", space.z_u)
        scores.values["memorisation_samples"] = len(space.samples.distances)
