"""The report's numbers for readers: headline facts, a table that explains each key, bars of distances and times."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from vader3d.evaluation.charts import compact


class Meaning(NamedTuple):
    """What a key of the report is called, its unit, and what it says."""

    name: str
    unit: str
    text: str


LPIPS = {"lpips_vgg16": "LPIPS", "lpips_vgg16_hed": "LPIPS on another VGG-16 (not comparable with published ones)"}
MEANINGS = {
    "heldout_psnr": Meaning(
        "Reconstruction, PSNR", "dB",
        "Held-out views of the training objects against their reconstructions: no view of these was ever trained on. "
        "More is better.",
    ),
    "heldout_foreground_psnr": Meaning(
        "Reconstruction, PSNR on the object", "dB", "The same over the object's own pixels, where black background "
        "earns nothing. More is better.",
    ),
    "heldout_iou": Meaning(
        "Reconstruction, silhouette overlap", "", "Intersection over union of the rendered occupancy and the true mask "
        "on the same views. 1 is perfect.",
    ),
    "frechet_generated": Meaning(
        "Generated objects, Frechet distance", "",
        "Distance between the pictures of generated and of real objects in the feature space named below. Less is "
        "better; it depends on the number of pictures, so compare it only with its neighbours here.",
    ),
    "frechet_direct_latent_sampling": Meaning(
        "Baseline N(0, I), Frechet distance", "",
        "Objects decoded from random codes, without the diffusion model: what stage 2 has to beat.",
    ),
    "frechet_direct_latent_sampling_fitted": Meaning(
        "Baseline fitted Gaussian, Frechet distance", "",
        "Objects decoded from codes drawn from a Gaussian fitted to the trained codes: the strong baseline.",
    ),
    "frechet_reconstruction": Meaning(
        "Reconstructions, Frechet distance", "", "Decoded training codes: the best this decoder can do.",
    ),
    "frechet_heldout_views": Meaning(
        "Real held-out views, Frechet distance", "", "Real pictures against real pictures: the floor of the measure.",
    ),
    "heldout_ssim": Meaning("Reconstruction, SSIM", "", "Structural similarity on the same views. 1 is perfect."),
    **{f"reconstruction_{name}": Meaning(f"Reconstruction, {title}", unit, "Of pictures that training may have seen.")
       for name, title, unit in (("psnr", "PSNR", "dB"), ("foreground_psnr", "PSNR on the object", "dB"),
                                 ("iou", "silhouette overlap", ""), ("ssim", "SSIM", ""))},
    "precision_generated": Meaning(
        "Precision", "", "Share of generated pictures that lie among the real ones in feature space: quality.",
    ),
    "recall_generated": Meaning(
        "Recall", "", "Share of real pictures that lie among the generated ones in feature space: variety.",
    ),
    "density_generated": Meaning(
        "Density", "", "How many real pictures' neighbourhoods hold a generated one, about 1 for equal sets: quality.",
    ),
    "feature_coverage_generated": Meaning(
        "Coverage in feature space", "", "Share of real pictures' neighbourhoods that hold a generated one: variety.",
    ),
    "coverage": Meaning(
        "Coverage", "%", "Share of true shapes that are the nearest one of some generated shape (Chamfer distance "
        "between surface points). More is better.",
    ),
    "mmd": Meaning(
        "Minimum matching distance", "", "Mean Chamfer distance from each true shape to the nearest generated one. "
        "Less is better.",
    ),
    "coverage_against_reconstructions": Meaning(
        "Coverage of reconstructions", "%", "Share of reconstructed training objects that are the nearest one of some "
        "generated shape, where no true shapes are known: it judges stage 2 alone. More is better.",
    ),
    "mmd_against_reconstructions": Meaning(
        "Minimum matching distance to reconstructions", "", "Mean Chamfer distance from each reconstructed training "
        "object to the nearest generated shape. Less is better.",
    ),
    "nearest_neighbour_accuracy": Meaning(
        "1-nearest-neighbour accuracy", "%", "Share of all shapes, generated and true, whose nearest other one is of "
        "their own kind. 50 is best, 100 is told apart, well under 50 are copies.",
    ),
    "nearest_neighbour_accuracy_against_reconstructions": Meaning(
        "1-nearest-neighbour accuracy, reconstructions", "%", "Share of all shapes, generated and reconstructed, whose "
        "nearest other one is of their own kind. 50 is best.",
    ),
    "memorised_percent": Meaning(
        "Samples flagged as memorised", "%", "They lie nearer to a training object than a twentieth of the training "
        "objects do to another one, by latents or by pictures. Fresh draws of the data would be flagged up to 10 %.",
    ),
    "memorised_percent_latents": Meaning("... by latents", "%", "About 5 % is chance."),
    "memorised_percent_pictures": Meaning("... by pictures", "%", "About 5 % is chance."),
    "nearest_ratio_latents": Meaning(
        "Distance to training, latents", "", "Median distance of a sample to the nearest training object, in medians "
        "of those from one training object to the next. Far below 1 is memorisation.",
    ),
    "nearest_ratio_pictures": Meaning("Distance to training, pictures", "", "The same among pictures."),
    "seconds_per_sample": Meaning(
        "Time for one object", "s", "Sampling one latent, decoding it, mesh and preview, one object at a time.",
    ),
    "feature_network": Meaning("Feature network", "", "The distances are in its features and compare with no other's."),
    "feature_checksum": Meaning("Weights of the feature network", "", "SHA-256."),
    "objects": Meaning("Objects compared", "", "In each set of pictures."),
    "views": Meaning("Views of each object", "", "From camera poses of the data set."),
    "pictures": Meaning("Pictures compared", "", "In each set."),
    "training_objects": Meaning("Training objects", "", ""),
    "empty_assets": Meaning("Empty objects", "", "Generated volumes without any surface; they have no mesh."),
}  # fmt: skip

MEANINGS |= {
    f"{split}_{name}": Meaning(
        f"Reconstruction, {title}", "", "Perceptual distance of the same pictures. Less is better."
    )
    for split in ("heldout", "reconstruction")
    for name, title in LPIPS.items()
}
RATIOS = {
    "frechet_direct_latent_sampling": "Generated / N(0, I)",
    "frechet_direct_latent_sampling_fitted": "Generated / fitted Gaussian",
}
BARS = {
    "heldout_views": "Real held-out views",
    "reconstruction": "Reconstructions",
    "generated": "Generated objects",
    "direct_latent_sampling_fitted": "Codes from a fitted Gaussian",
    "direct_latent_sampling": "Codes from N(0, I)",
}
STAGES = {
    "data": "Reading the pictures",
    "autodecoder": "Stage 1: training the autodecoder",
    "rehearsal": "Rehearsing what follows",
    "diffusion": "Stage 2: training the diffusion model",
    "assets": "Generating the objects above",
    "evaluation": "Measuring",
    "page": "Writing this page",
}
GENERATED = re.compile(r"frechet_generated_(\d+)_steps")
HEADLINES = ("training_objects", "heldout_psnr", "heldout_iou", "seconds_per_sample")

Body = tuple[str, str, str]  # title, text, HTML


def facts(report: Mapping[str, Any]) -> str:
    """The headline numbers, those of them that the report has."""
    shown = [(MEANINGS[key].name, report[key], MEANINGS[key].unit) for key in HEADLINES if key in report]
    if "seconds_total" in report:
        shown.append(("Everything took", report["seconds_total"] / 60, "min"))
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value_text(value)} <small>{unit}</small></dd></div>"
        for name, value, unit in shown
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def scores_section(report: Mapping[str, Any]) -> Body | None:
    """Bars of the Frechet and kernel distances, then every known key with its meaning."""
    rows = [(key, MEANINGS[key], report[key]) for key in MEANINGS if key in report]
    if not rows:
        return None
    table = "".join(
        f"<tr><th>{escape(meaning.name)}<br><code>{key}</code></th>"
        f'<td class="value">{value_text(value)} {meaning.unit}{interval_text(report, key)}</td>'
        f"<td>{escape(meaning.text)}</td></tr>"
        for key, meaning, value in rows
    )
    ratios = "".join(
        f'<tr><th>{name}</th><td class="value">{compact(report["frechet_generated"] / report[key])}</td>'
        "<td>Ratio of the Frechet distances. Below 1, diffusion is better than sampling codes.</td></tr>"
        for key, name in RATIOS.items()
        if report.get(key) and "frechet_generated" in report
    )
    text = "What the numbers mean, and the baselines and bounds that let them be read."
    bars = distance_bars(report, "frechet", "Frechet distance") + distance_bars(
        report, "kernel", "Kernel distance times 1,000"
    )
    charts = f'<div class="charts">{bars}</div>' if bars else ""
    return "Scores", text, f'{charts}<div class="scroll"><table>{ratios}{table}</table></div>'


def distance_bars(report: Mapping[str, Any], measure: str, title: str) -> str:
    """One measure of all sets of pictures as bars; nothing where the report has none."""
    other_steps = [found[1] for key in report if (found := GENERATED.fullmatch(key))]
    names = BARS | {f"generated_{steps}_steps": f"Generated objects, {steps} steps" for steps in other_steps}
    values = [(key, name, report[f"{measure}_{key}"]) for key, name in names.items() if f"{measure}_{key}" in report]
    return bars_figure(f"{title}, less is better", [(n, v, compact(v), key == "generated") for key, n, v in values])


def times_section(report: Mapping[str, Any]) -> Body | None:
    """Bars of the seconds that each part took."""
    values = [(name, report[f"seconds_{key}"]) for key, name in STAGES.items() if f"seconds_{key}" in report]
    if not values:
        values = [(name.replace("_", " "), s) for name, s in report.get("seconds_by_stage", {}).items()]
    if not values:
        return None
    bars = bars_figure("Seconds", [(name, seconds, f"{seconds:.1f} s", False) for name, seconds in values])
    return "Times", "Where the time went, on the machine that wrote this page.", bars


def bars_figure(title: str, bars: list[tuple[str, float, str, bool]]) -> str:
    """Horizontal bars (name, value, its text, whether it is ours), none for an empty list."""
    if not bars:
        return ""
    longest = max(1e-12, *(value for _, value, _, _ in bars))
    items = "".join(
        f'<div><dt>{escape(name)}</dt><dd><div class="bar{" ours" if ours else ""}" '
        f'style="width: {max(0.5, 100 * value / longest):.1f}%"></div></dd><dd>{text}</dd></div>'
        for name, value, text, ours in bars
    )
    return f'<figure class="chart"><h3>{escape(title)}</h3><dl class="bars">{items}</dl></figure>'


def interval_text(report: Mapping[str, Any], key: str) -> str:
    """The interval of a score below it, where there is one."""
    ends = report.get("intervals", {}).get(key)
    return f"<br><small>{value_text(ends[0])} to {value_text(ends[1])}</small>" if ends else ""


def value_text(value: Any) -> str:
    """A number in a few digits, anything else as it stands; long checksums are cut."""
    if isinstance(value, float):
        return compact(value) if abs(value) < 10 or abs(value) >= 1000 else f"{value:.1f}"
    text = str(value)
    return escape(text if len(text) <= 24 else f"{text[:12]}…")
