"""Which variants each study compares."""

from dataclasses import dataclass
from typing import NamedTuple

from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.config import Checked, override, unknown_name
from vader3d.diffusion.model import DiffusionConfig
from vader3d.evaluation.protocol import Protocol, load_protocol
from vader3d.evaluation.score import Score
from vader3d.evaluation.score_table import score_of
from vader3d.presets import preset


@dataclass(frozen=True)
class StudyConfig(Checked):
    """One variant, whole: both trainings, and the protocol that judges them."""

    autodecoder: AutodecoderConfig
    diffusion: DiffusionConfig
    protocol: Protocol

    def seeded(self, seed: int) -> "StudyConfig":
        """The same with this seed for both trainings and for samples, poses and views."""
        return override(self, [f"{part}={seed}" for part in SEEDS])


SEEDS = ("autodecoder.loop.seed", "diffusion.loop.seed", "protocol.seed")


class Column(NamedTuple):
    """A score of the report or a fact of a training, and its digits after the point.

    Keys of samples (`..._generated`) are read at the sampling steps of the row.
    """

    score: Score
    digits: int

    @property
    def key(self) -> str:
        return self.score.key


def of_report(key: str, digits: int) -> Column:
    """A key of `evaluation.score_table`."""
    score = score_of(key)
    assert score is not None, key
    return Column(score, digits)


@dataclass(frozen=True)
class Study:
    """What is asked; `base` sets the whole study's model, each variant one thing more. The first column is plotted.

    protocol: its name. A variant has a row for each of the protocol's sampling steps; where there are none, stage 1
    alone is trained. Columns of which nothing was measured are left out of tables.
    """

    question: str
    protocol: str
    columns: tuple[Column, ...]
    variants: dict[str, tuple[str, ...]]
    base: tuple[str, ...] = ()


# How long small trainings are: a few CPU minutes for each variant and seed. All variants see as many objects.
LENGTHS = ("autodecoder.loop.objects_seen=8000", "diffusion.loop.objects_seen=40000")

RECONSTRUCTION = (
    of_report("heldout_psnr", 2),
    of_report("heldout_lpips_vgg16", 4),
    of_report("heldout_lpips_vgg16_hed", 4),
    of_report("heldout_iou", 3),
)
RATIO = of_report("frechet_ratio", 3)  # of the two distances below
FRECHET = of_report("frechet_generated", 1)
BASELINE = of_report("frechet_direct_latent_sampling", 1)
CPU_SECONDS = of_report("cpu_seconds_per_sample_generated", 3)
TRAINING_VIEWS = Column(Score("training_views_psnr", "training views decoded", "dB", "higher"), 2)
PARAMETERS = Column(Score("denoiser_parameters", "parameters of the denoiser"), 0)
KILOBYTES = Column(Score("code_kilobytes", "codes", "kB", "lower"), 1)
DIFFERENT = Column(Score("different_codes", "different codes"), 0)
CLIP = Column(Score("clip", "clip"), 1)
CLIPPED = Column(Score("clipped_percent", "clipped", "%"), 2)
KURTOSIS = Column(Score("normalised_kurtosis", "excess kurtosis"), 2)


def cumulative(steps: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each variant with all settings of those before it."""
    settings: tuple[str, ...] = ()
    return {name: (settings := settings + added) for name, added in steps.items()}


# Docs/paper.md, A30: as many parameters at every resolution, within 5 %; the lowest level is 4^3.
FIG3_UNETS = {
    4: ("diffusion.unet.channel_multipliers=[1]", "diffusion.unet.model_channels=66"),
    8: ("diffusion.unet.channel_multipliers=[1,2]", "diffusion.unet.model_channels=32"),
    16: ("diffusion.unet.channel_multipliers=[1,2,4]", "diffusion.unet.model_channels=16"),
}

STUDIES = {
    "table2": Study(
        question="Table 2: what stage 1 loses as its parts are removed one after the other.",
        protocol="study-table2",
        columns=RECONSTRUCTION,
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
        protocol="study-fig3",
        columns=(RATIO, FRECHET, BASELINE, TRAINING_VIEWS, PARAMETERS, CPU_SECONDS),
        # Channels fall with the resolution, as in the paper; the head makes 2^3 voxels of each 16^3 feature.
        base=("autodecoder.decoder.channels=[64,32,16]", "autodecoder.decoder.subvoxels=2"),
        variants={
            f"{resolution}^3": (f"autodecoder.decoder.latent_resolution={resolution}", *unet)
            for resolution, unet in FIG3_UNETS.items()
        },
    ),
    "hash": Study(
        question="Codes in a plain table against codes of shared pieces (Eq. 9-11), pieces of 4 numbers.",
        protocol="study-hash",
        columns=(*RECONSTRUCTION, KILOBYTES, DIFFERENT),
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
        protocol="study-normalisation",
        columns=(RATIO, FRECHET, BASELINE, CLIP, CLIPPED, KURTOSIS),
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
        protocol="study-steps",
        columns=(RATIO, FRECHET, BASELINE, CPU_SECONDS),
        variants={"deterministic": ("protocol.churn.amount=0",), "churned": ("protocol.churn.amount=40",)},
    ),
}


def study_named(name: str) -> Study:
    """The study of this name, or a ValueError with the nearest ones."""
    if name not in STUDIES:
        raise ValueError(unknown_name(name, STUDIES, "study"))
    return STUDIES[name]


def base_of(study: Study, *, preset_name: str, settings: tuple[str, ...]) -> StudyConfig:
    """What all variants have in common: preset and protocol < the study's base < `settings`."""
    chosen, (protocol, _) = preset(preset_name), load_protocol(study.protocol)
    common = StudyConfig(chosen.autodecoder, chosen.diffusion, protocol)
    return override(common, [*LENGTHS, *study.base, *settings])


def variants_of(study: Study, *, preset_name: str, settings: tuple[str, ...]) -> dict[str, StudyConfig]:
    """Every variant's configuration: the base < what the variant is about."""
    base = base_of(study, preset_name=preset_name, settings=settings)
    return {name: override(base, changes) for name, changes in study.variants.items()}
