"""The table of scores: what each key of a report is called and means."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from vader3d.evaluation.prompted_table import prompted_entries
from vader3d.evaluation.score import Score

GENERATED_STEPS = re.compile(r"_generated_(\d+)_steps$")
RATIOS = {  # of generated objects' Frechet distance to that of a set without diffusion; the strongest baseline first
    "frechet_ratio_fitted": ("direct_latent_sampling_fitted", "fitted Gaussian"),
    "frechet_ratio_own_std": ("direct_latent_sampling_own_std", "N(0, own std^2)"),
    "frechet_ratio": ("direct_latent_sampling", "N(0, I)"),
}


# What is compared with real pictures, and what its scores say.
SETS = {
    "heldout_views": ("Real held-out views", "Real pictures against real pictures: the bound of the measure."),
    "reconstruction": ("Reconstructions", "Decoded training codes: the best this decoder can do."),
    "generated": ("Generated objects", ""),
    "direct_latent_sampling_fitted": (
        "Codes from a fitted Gaussian",
        "Codes drawn from a Gaussian that is fitted to the trained ones, without diffusion: what stage 2 has to beat.",
    ),
    "direct_latent_sampling_own_std": (
        "Codes from N(0, own std^2)",
        "Codes drawn at random with the trained ones' own standard deviation, one number, without diffusion.",
    ),
    "direct_latent_sampling": (
        "Codes from N(0, I)",
        "Codes drawn at random, without diffusion: the paper's baseline, which knows nothing of the trained codes.",
    ),
}
OF_SETS = (
    Score(
        "frechet",
        "Frechet distance",
        better="lower",
        meaning="Distance to real pictures in feature space; compare it only between sets of as many pictures.",
    ),
    Score(
        "kernel",
        "kernel distance x 1,000",
        better="lower",
        meaning="Squared maximum mean discrepancy to real pictures in feature space, about 0 for equal sets.",
    ),
    Score(
        "precision",
        "precision",
        better="higher",
        meaning="Share of these pictures that lie among the real ones in feature space: quality.",
    ),
    Score(
        "recall",
        "recall",
        better="higher",
        meaning="Share of real pictures that lie among these in feature space: variety.",
    ),
    Score(
        "density",
        "density",
        better="higher",
        meaning="How many real pictures' neighbourhoods hold one of these, about 1 for equal sets: quality.",
    ),
    Score(
        "feature_coverage",
        "coverage in feature space",
        better="higher",
        meaning="Share of real pictures' neighbourhoods that hold one of these: variety.",
    ),
)
VIEWS = {
    "heldout": (
        "Reconstruction",
        "Held-out views of the training objects against their reconstructions: no view of these was ever trained on.",
    ),
    "reconstruction": ("Reconstruction of any view", "Of pictures that training may have seen."),
}
OF_RECONSTRUCTIONS = (
    Score("psnr", "PSNR", "dB", "higher", "Peak signal-to-noise ratio."),
    Score(
        "foreground_psnr",
        "PSNR on the object",
        "dB",
        "higher",
        "Peak signal-to-noise ratio over the object's own pixels, where black background earns nothing.",
    ),
    Score(
        "iou",
        "silhouette overlap",
        better="higher",
        meaning="Intersection over union of the rendered occupancy and the true mask; 1 is perfect.",
    ),
    Score("ssim", "SSIM", better="higher", meaning="Structural similarity; 1 is perfect."),
    Score("lpips_vgg16", "LPIPS", better="lower", meaning="Perceptual distance."),
    Score(
        "lpips_vgg16_hed",
        "LPIPS on another VGG-16",
        better="lower",
        meaning="Perceptual distance, not comparable with published ones.",
    ),
)
REFERENCES = {
    "": ("Shapes", "Against the data set's true meshes."),
    "_against_reconstructions": (
        "Shapes against reconstructions",
        "Reconstructed training objects stand in where no true shapes are known: it judges stage 2 alone.",
    ),
}
OF_SHAPES = (
    Score(
        "coverage",
        "coverage",
        "%",
        "higher",
        "Share of the reference's shapes that are the nearest one of some generated shape (Chamfer distance between "
        "surface points).",
    ),
    Score(
        "mmd",
        "minimum matching distance",
        better="lower",
        meaning="Mean Chamfer distance from each of the reference's shapes to the nearest generated one.",
    ),
    Score(
        "nearest_neighbour_accuracy",
        "1-nearest-neighbour accuracy",
        "%",
        meaning="Share of all shapes, generated and of the reference, whose nearest other one is of their own kind. "
        "50 is best, 100 is told apart, well under 50 are copies.",
    ),
)
PARTS = {
    "data": "reading the pictures",
    "autodecoder": "stage 1: training the autodecoder",
    "rehearsal": "rehearsing what follows",
    "diffusion": "stage 2: training the diffusion model",
    "assets": "generating the objects above",
    "evaluation": "measuring",
    "page": "writing this page",
}
SPACES = {"_latents": "latents", "_pictures": "pictures"}
EITHER = {"": "by latents or pictures", **{end: f"by {space}" for end, space in SPACES.items()}}
NULL = "The null: each training object judged in the same way against all others, as new draws of the data would be."
OTHERS = (
    *(
        Score(
            key,
            f"generated / {baseline}",
            better="lower",
            meaning="Ratio of the Frechet distances. Below 1, diffusion is better than sampling codes.",
        )
        for key, (_, baseline) in RATIOS.items()
    ),
    *(
        Score(
            f"copied_percent{end}",
            by,
            "%",
            "lower",
            "They stand less than half as far from a training object as that one does from its nearest other. A share "
            "well over the null's is memorisation.",
            "Samples flagged as copies",
        )
        for end, by in EITHER.items()
    ),
    *(
        Score(f"copied_percent_null{end}", by, "%", meaning=NULL, of="Training objects flagged as copies")
        for end, by in EITHER.items()
    ),
    *(
        Score(
            f"local_ratio{end}",
            space,
            meaning="Median distance to the nearest training object, in units of that one's own to its nearest other. "
            "Well below the null, samples are copies, or less varied than the data.",
            of="Samples, local distance to training",
        )
        for end, space in SPACES.items()
    ),
    *(
        Score(f"local_ratio_null{end}", space, meaning=NULL, of="Training objects, local distance to the others")
        for end, space in SPACES.items()
    ),
    *(
        Score(
            f"z_u{end}",
            space,
            meaning="Standard score of Mann-Whitney's U of samples' distances to training, against the null's, which "
            "stand in for held-out objects' (arXiv 2512.23628). Far below 0: nearer. It grows with the counts.",
            of="Z_U",
        )
        for end, space in SPACES.items()
    ),
    # Two measures of older reports, no longer made: how a set is spread decides what the first flags.
    *(
        Score(
            f"memorised_percent{end}",
            by,
            "%",
            meaning="Share of samples nearer to a training object than a twentieth of all training objects lie to "
            "another one. A low share does not show novelty.",
            of="Samples under one threshold for the whole set",
        )
        for end, by in EITHER.items()
    ),
    *(
        Score(
            f"nearest_ratio{end}",
            space,
            meaning="Median distance of a sample to the nearest training object, in medians of those from one training "
            "object to the next. About 1 for new draws of the data.",
            of="Distance to training in the whole set's units",
        )
        for end, space in SPACES.items()
    ),
    Score(
        "seconds_per_sample",
        "time for one object",
        "s",
        "lower",
        "Sampling one latent, decoding it, mesh and preview, one object at a time.",
    ),
    Score(
        "cpu_seconds_per_sample_generated",
        "CPU time for one latent",
        "s",
        "lower",
        "Sampling alone, in batches, of all threads together.",
        "Generated objects",
    ),
    Score("seconds_total", "everything took", "s", meaning="All parts together, earlier calls of the same run too."),
    Score("feature_network", "feature network", meaning="Distances are in its features: they compare with no other's."),
    Score("feature_checksum", "weights of the feature network", meaning="SHA-256."),
    Score("kernel_subset_size", "kernel distance, subsets", meaning="Pictures in each subset that it averages."),
    Score("training_objects", "training objects", meaning="All that the model was trained on."),
    Score("samples", "samples", meaning="Objects that the protocol asks to be generated."),
    Score("objects", "objects compared", meaning="In each set of pictures."),
    Score("pictures", "pictures compared", meaning="In each set."),
    Score("reference_objects", "objects of the reference", meaning="Whose pictures every set is compared with."),
    Score("reference_pictures", "pictures of the reference", meaning="Real ones, which every set is compared with."),
    Score("views", "views of each object", meaning="From camera poses of the data set."),
    Score("reconstructed_objects", "objects reconstructed", meaning="Whose pictures judge reconstruction."),
    Score("reconstructed_pictures", "pictures reconstructed", meaning="Means are over objects of means over these."),
    Score("shapes", "shapes compared", meaning="Generated surfaces."),
    Score("true_shapes", "shapes of the reference", meaning="True ones, or reconstructions that stand in for them."),
    Score("empty_shapes", "empty shapes", better="lower", meaning="Generated volumes without any surface to compare."),
    Score("memorisation_samples", "samples searched for copies", meaning="Compared with all training objects."),
    Score("empty_assets", "empty objects", better="lower", meaning="Generated volumes without any surface: no mesh."),
    Score("skipped_objects", "objects skipped", better="lower", meaning="Of the data set, since they cannot be read."),
    Score("data", "data", meaning="What the model was trained on."),
    Score("minutes", "time asked for", "min", meaning="For everything."),
    Score("seed", "seed", meaning="Of both trainings."),
    Score("evaluation_seed", "seed of the evaluation", meaning="Of objects, views, poses, samples and resamples."),
    Score("resamples", "resamples", meaning="Of the bootstrap behind the intervals; 0: no intervals."),
    Score("confidence", "confidence", meaning="Level of the intervals."),
    Score("protocol", "protocol", meaning="What exactly is measured."),
    Score("protocol_version", "version of the protocol", meaning="Numbers of unlike versions do not compare."),
    Score("protocol_checksum", "file of the protocol", meaning="SHA-256."),
    Score("device", "device", meaning="That the evaluation ran on."),
)


def entries() -> Iterator[Score]:
    """All scores, in the order in which a reader wants them."""
    for start, (of, views) in VIEWS.items():
        for one in OF_RECONSTRUCTIONS:
            yield replace(one, key=f"{start}_{one.key}", of=of, meaning=f"{one.meaning} {views}")
    for one in OF_SETS:
        for end, (of, pictures) in SETS.items():
            yield replace(one, key=f"{one.key}_{end}", of=of, meaning=f"{one.meaning} {pictures}".rstrip())
    for end, (of, reference) in REFERENCES.items():
        for one in OF_SHAPES:
            yield replace(one, key=f"{one.key}{end}", of=of, meaning=f"{one.meaning} {reference}")
    yield from OTHERS
    yield from prompted_entries(OF_SETS)
    for part, doing in PARTS.items():
        yield Score(f"seconds_{part}", doing, "s", meaning="Of the whole time.")


TABLE = {score.key: score for score in entries()}
PLACES = {key: place for place, key in enumerate(TABLE)}


def score_of(key: str) -> Score | None:
    """The score of a key, also of `..._generated_16_steps`; None where the table knows none."""
    score, steps = TABLE.get(GENERATED_STEPS.sub("_generated", key)), GENERATED_STEPS.search(key)
    return replace(score, key=key, of=f"{score.of}, {steps[1]} steps") if score and steps else score


def scores_in(keys: Iterable[str]) -> list[Score]:
    """The scores of those keys that the table knows, in its order."""
    known = (score for key in keys if (score := score_of(key)))
    return sorted(known, key=lambda score: PLACES[GENERATED_STEPS.sub("_generated", score.key)])


def ratios_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The Frechet distance of generated objects in terms of each baseline's, those of them that the report has."""
    if "frechet_generated" not in report:
        return {}
    known = {key: report.get(f"frechet_{baseline}") for key, (baseline, _) in RATIOS.items()}
    return {key: report["frechet_generated"] / distance for key, distance in known.items() if distance}
