"""What the keys of a report are called and mean."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a key of the report is called, its unit, and what it says."""

    name: str
    unit: str
    text: str


LPIPS = {"lpips_vgg16": "LPIPS", "lpips_vgg16_hed": "LPIPS on another VGG-16 (not comparable with published ones)"}
MEANINGS = {
    "heldout_psnr": Meaning(
        "Reconstruction, PSNR",
        "dB",
        "Held-out views of the training objects against their reconstructions: no view of these was ever trained on. "
        "More is better.",
    ),
    "heldout_foreground_psnr": Meaning(
        "Reconstruction, PSNR on the object",
        "dB",
        "The same over the object's own pixels, where black background earns nothing. More is better.",
    ),
    "heldout_iou": Meaning(
        "Reconstruction, silhouette overlap",
        "",
        "Intersection over union of the rendered occupancy and the true mask on the same views. 1 is perfect.",
    ),
    "frechet_generated": Meaning(
        "Generated objects, Frechet distance",
        "",
        "Distance between the pictures of generated and of real objects in the feature space named below. Less is "
        "better; it depends on the number of pictures, so compare it only with its neighbours here.",
    ),
    "frechet_direct_latent_sampling": Meaning(
        "Baseline N(0, I), Frechet distance",
        "",
        "Objects decoded from random codes, without the diffusion model: what stage 2 has to beat.",
    ),
    "frechet_direct_latent_sampling_fitted": Meaning(
        "Baseline fitted Gaussian, Frechet distance",
        "",
        "Objects decoded from codes drawn from a Gaussian fitted to the trained codes: the strong baseline.",
    ),
    "frechet_reconstruction": Meaning(
        "Reconstructions, Frechet distance", "", "Decoded training codes: the best this decoder can do."
    ),
    "frechet_heldout_views": Meaning(
        "Real held-out views, Frechet distance", "", "Real pictures against real pictures: the floor of the measure."
    ),
    "heldout_ssim": Meaning("Reconstruction, SSIM", "", "Structural similarity on the same views. 1 is perfect."),
    **{
        f"reconstruction_{name}": Meaning(f"Reconstruction, {title}", unit, "Of pictures that training may have seen.")
        for name, title, unit in (
            ("psnr", "PSNR", "dB"),
            ("foreground_psnr", "PSNR on the object", "dB"),
            ("iou", "silhouette overlap", ""),
            ("ssim", "SSIM", ""),
        )
    },
    "precision_generated": Meaning(
        "Precision", "", "Share of generated pictures that lie among the real ones in feature space: quality."
    ),
    "recall_generated": Meaning(
        "Recall", "", "Share of real pictures that lie among the generated ones in feature space: variety."
    ),
    "density_generated": Meaning(
        "Density", "", "How many real pictures' neighbourhoods hold a generated one, about 1 for equal sets: quality."
    ),
    "feature_coverage_generated": Meaning(
        "Coverage in feature space", "", "Share of real pictures' neighbourhoods that hold a generated one: variety."
    ),
    "coverage": Meaning(
        "Coverage",
        "%",
        "Share of true shapes that are the nearest one of some generated shape (Chamfer distance "
        "between surface points). More is better.",
    ),
    "mmd": Meaning(
        "Minimum matching distance",
        "",
        "Mean Chamfer distance from each true shape to the nearest generated one. Less is better.",
    ),
    "coverage_against_reconstructions": Meaning(
        "Coverage of reconstructions",
        "%",
        "Share of reconstructed training objects that are the nearest one of some "
        "generated shape, where no true shapes are known: it judges stage 2 alone. More is better.",
    ),
    "mmd_against_reconstructions": Meaning(
        "Minimum matching distance to reconstructions",
        "",
        "Mean Chamfer distance from each reconstructed training object to the nearest generated shape. Less is better.",
    ),
    "nearest_neighbour_accuracy": Meaning(
        "1-nearest-neighbour accuracy",
        "%",
        "Share of all shapes, generated and true, whose nearest other one is of "
        "their own kind. 50 is best, 100 is told apart, well under 50 are copies.",
    ),
    "nearest_neighbour_accuracy_against_reconstructions": Meaning(
        "1-nearest-neighbour accuracy, reconstructions",
        "%",
        "Share of all shapes, generated and reconstructed, whose nearest other one is of their own kind. 50 is best.",
    ),
    "memorised_percent": Meaning(
        "Samples flagged as memorised",
        "%",
        "They lie nearer to a training object than a twentieth of the training "
        "objects do to another one, by latents or by pictures. Fresh draws of the data would be flagged up to 10 %.",
    ),
    "memorised_percent_latents": Meaning("... by latents", "%", "About 5 % is chance."),
    "memorised_percent_pictures": Meaning("... by pictures", "%", "About 5 % is chance."),
    "nearest_ratio_latents": Meaning(
        "Distance to training, latents",
        "",
        "Median distance of a sample to the nearest training object, in medians "
        "of those from one training object to the next. Far below 1 is memorisation.",
    ),
    "nearest_ratio_pictures": Meaning("Distance to training, pictures", "", "The same among pictures."),
    "seconds_per_sample": Meaning(
        "Time for one object", "s", "Sampling one latent, decoding it, mesh and preview, one object at a time."
    ),
    "cpu_seconds_per_sample_generated": Meaning(
        "CPU time for one latent", "s", "Sampling alone, in batches of 16, of all threads together."
    ),
    "feature_network": Meaning("Feature network", "", "The distances are in its features and compare with no other's."),
    "feature_checksum": Meaning("Weights of the feature network", "", "SHA-256."),
    "objects": Meaning("Objects compared", "", "In each set of pictures."),
    "views": Meaning("Views of each object", "", "From camera poses of the data set."),
    "pictures": Meaning("Pictures compared", "", "In each set."),
    "training_objects": Meaning("Training objects", "", ""),
    "empty_assets": Meaning("Empty objects", "", "Generated volumes without any surface; they have no mesh."),
}
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
