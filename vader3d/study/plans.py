"""Which variants each study compares; tables and figures are of arXiv:2307.05445."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import override, unknown_name
from vader3d.diffusion.model import DiffusionConfig
from vader3d.presets import preset


@dataclass(frozen=True)
class JudgeConfig:
    """What every variant is judged by: pictures of `objects` objects, `views` each, all of the data set's poses."""

    objects: int = 163
    views: int = 4
    steps: int = 16  # of the sampler
    churned: bool = False  # EDM's stochastic sampler; the paper's figure 3 is deterministic
    features: str = "EfficientNet-Lite0@128"
    perceptual: str = "lpips-vgg16-hed"  # the network that compares reconstructions


@dataclass(frozen=True)
class StudyConfig:
    """One variant, whole: both trainings and the judge."""

    autodecoder: AutodecoderConfig = field(default_factory=AutodecoderConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def seeded(self, seed: int) -> "StudyConfig":
        """The same with this seed for both trainings."""
        return override(self, [f"autodecoder.loop.seed={seed}", f"diffusion.loop.seed={seed}"])


class Column(NamedTuple):
    """A score: its key, how tables call it, its unit's digits after the point, and which way is better."""

    key: str
    title: str
    digits: int
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True)
class Study:
    """What is asked; `base` sets the whole study's model, each variant one thing more. The first column is plotted.

    judged: reconstructions on held-out views, or generated objects.
    """

    question: str
    judged: Literal["reconstruction", "generation"]
    columns: tuple[Column, ...]
    variants: dict[str, tuple[str, ...]]
    base: tuple[str, ...] = ()


# How long small trainings are: a few CPU minutes for each variant and seed. All variants see as many objects.
LENGTHS = ("autodecoder.loop.objects_seen=8000", "diffusion.loop.objects_seen=40000")

PSNR = Column("psnr", "PSNR, dB", 2, "higher")
PERCEPTUAL = Column("perceptual", "perceptual distance x100", 2, "lower")
SILHOUETTE = Column("iou", "silhouette IoU", 3, "higher")
RATIO = Column("frechet_ratio", "Frechet distance / direct latent sampling's", 3, "lower")
FRECHET = Column("frechet", "Frechet distance", 1, "lower")
CPU_SECONDS = Column("cpu_seconds_per_sample", "CPU s a sample", 2)


def cumulative(steps: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each variant with all settings of those before it."""
    settings: tuple[str, ...] = ()
    return {name: (settings := settings + added) for name, added in steps.items()}


# METHOD A30: as many parameters at every resolution, within 5 %; the lowest level is 4^3.
FIG3_UNETS = {
    4: ("diffusion.unet.channel_multipliers=[1]", "diffusion.unet.model_channels=66"),
    8: ("diffusion.unet.channel_multipliers=[1,2]", "diffusion.unet.model_channels=32"),
    16: ("diffusion.unet.channel_multipliers=[1,2,4]", "diffusion.unet.model_channels=16"),
}

STUDIES = {
    "table2": Study(
        question="Table 2: what stage 1 loses as its parts are removed one after the other.",
        judged="reconstruction",
        columns=(PSNR, PERCEPTUAL, SILHOUETTE),
        base=("autodecoder.decoder.code_length=1024", "autodecoder.decoder.blocks_per_level=4"),
        variants=cumulative(
            {
                "whole": (),
                "- multi-frame (4 views to 1)": ("autodecoder.views_per_object=1",),
                "- self-attention": ("autodecoder.decoder.attention_resolutions=[]",),
                "- depth (4 blocks to 1)": ("autodecoder.decoder.blocks_per_level=1",),
                "- code length (1024 to 64)": ("autodecoder.decoder.code_length=64",),
            }
        ),
    ),
    "fig3": Study(
        question="Figure 3: at which resolution latents are best generated, networks of one size.",
        judged="generation",
        columns=(
            RATIO,
            FRECHET,
            Column("psnr", "training views decoded, dB", 2),
            Column("denoiser_parameters", "parameters", 0),
            CPU_SECONDS,
        ),
        # Channels fall with the resolution, as in the paper; the head makes 2^3 voxels of each 16^3 feature.
        base=("autodecoder.decoder.channels=[64,32,16]", "autodecoder.decoder.subvoxels=2"),
        variants={
            f"{resolution}^3, {steps} steps": (
                f"autodecoder.decoder.latent_resolution={resolution}",
                *unet,
                f"judge.steps={steps}",
            )
            for steps in (16, 32, 64)
            for resolution, unet in FIG3_UNETS.items()
        },
    ),
    "hash": Study(
        question="Codes in a plain table against codes of shared pieces (Eq. 9-11), pieces of 4 numbers.",
        judged="reconstruction",
        columns=(
            PSNR,
            PERCEPTUAL,
            SILHOUETTE,
            Column("code_kilobytes", "codes, kB", 1, "lower"),
            Column("different_codes", "different codes", 0),
        ),
        variants={
            "table": ("autodecoder.codes.kind=table",),
            **{
                f"hashed, {size} variants a piece": (
                    "autodecoder.codes.kind=hashed",
                    "autodecoder.codes.num_codebooks=16",
                    f"autodecoder.codes.codebook_size={size}",
                    "autodecoder.codes.allow_clashes=true",
                )
                for size in (64, 16)
            },
        },
    ),
    "normalisation": Study(
        question="Latents by median and interquartile range or by mean and deviation; clipped at k of those, or not.",
        judged="generation",
        columns=(
            RATIO,
            FRECHET,
            Column("clip", "clip", 1),
            Column("clipped_percent", "clipped, %", 2),
            Column("normalised_kurtosis", "excess kurtosis", 2),
        ),
        variants={
            "robust, measured clip": ("autodecoder.latents.measure_clip=true",),
            "robust, no clip": ("autodecoder.latents.measure_clip=false",),
            "robust, k = 2": ("autodecoder.latents.measure_clip=false", "autodecoder.latents.clip=2"),
            "robust, k = 4": ("autodecoder.latents.measure_clip=false", "autodecoder.latents.clip=4"),
            "mean/std, no clip": ("autodecoder.latents.measure_clip=false", "autodecoder.latents.method=moments"),
        },
    ),
    "steps": Study(
        question="One model, sampled in few or many steps, deterministic or churned.",
        judged="generation",
        columns=(RATIO, FRECHET, CPU_SECONDS),
        variants={
            f"{steps} steps, {kind}": (f"judge.steps={steps}", f"judge.churned={churned}")
            for kind, churned in (("deterministic", "false"), ("churned", "true"))
            for steps in (8, 16, 32, 64)
        },
    ),
}


def study_named(name: str) -> Study:
    """The study of this name, or a ValueError with the nearest ones."""
    if name not in STUDIES:
        raise ValueError(unknown_name(name, STUDIES, "study"))
    return STUDIES[name]


def variants_of(study: Study, *, preset_name: str, settings: tuple[str, ...]) -> dict[str, StudyConfig]:
    """Every variant's configuration: preset < the study's base < `settings` < what the variant is about."""
    chosen = preset(preset_name)
    base = override(StudyConfig(chosen.autodecoder, chosen.diffusion), [*LENGTHS, *study.base, *settings])
    return {name: override(base, changes) for name, changes in study.variants.items()}
