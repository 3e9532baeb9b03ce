"""Protocols: what exactly is measured, as named, versioned files.

Each file in `protocols/` fixes counts, views, poses, resolution, references, steps, churn, seeds and feature networks
of one evaluation, and holds the numbers that were published for it. A changed file gets a new version.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vader3d.config import Checked, config_from_dict, ranged, unknown_name, within
from vader3d.diffusion.solvers import DETERMINISTIC, Churn
from vader3d.untrusted import parsed_json, reading

FOLDER = Path(__file__).parent / "protocols"
Split = Literal["training", "heldout", "all"]
PictureMetric = Literal["frechet", "kernel", "precision_recall", "density_coverage"]
PictureSet = Literal[
    "heldout_views",
    "reconstruction",
    "generated",
    "direct_latent_sampling",
    "direct_latent_sampling_own_std",
    "direct_latent_sampling_fitted",
]


@dataclass(frozen=True)
class Reference(Checked):
    """Real pictures that sets are compared with: `views` random ones of each of `objects` training objects.

    None means all of them. split: which of an object's views may be drawn.
    """

    objects: int | None = ranged(None, at_least=1)
    views: int | None = ranged(10, at_least=1)
    split: Split = "training"


@dataclass(frozen=True)
class Reconstruction(Checked):
    """Real pictures against pictures of the reconstructions: PSNR, SSIM, silhouette IoU. None means all.

    perceptual: LPIPS on trunks in order of preference; each names its own score.
    """

    objects: int | None = ranged(None, at_least=1)
    views: int | None = ranged(None, at_least=1)
    split: Split = "heldout"
    perceptual: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shapes(Checked):
    """Points on generated surfaces against points on true ones. None: of all training objects.

    against: whether the surfaces of reconstructions may stand in where a data set knows no true meshes; the scores
    then say so in their names.
    """

    generated: int = field(metadata=within(at_least=1))
    reference: int | None = field(metadata=within(at_least=1))
    points: int = ranged(2048, at_least=1)
    against: Literal["true meshes", "true meshes, or else reconstructions"] = "true meshes"


@dataclass(frozen=True)
class Prompts(Checked):
    """Prompts, each scale of guidance with the same ones and the same noise; captions as many as `samples`, one each.

    templates: of new wordings, with attributes in braces. of_each: at most so many prompts of a template.
    samples_each: of a prompt that is no caption. guidance_scale: whose scores stand in the report itself, one of
    guidance_scales. solver: of the sampler. attributes: what is judged beside colour and type. neighbours: that vote on
    what a picture shows. retrieval: the ranks of R@k. real_objects: at most so many stand for all in the scores of real
    pictures.
    """

    templates: tuple[str, ...] = ("a {colour} {type}",)
    guidance_scales: tuple[float, ...] = ranged((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), at_least=0)
    guidance_scale: float = ranged(3.0, at_least=0)
    of_each: int = ranged(24, at_least=1)
    samples_each: int = ranged(4, at_least=1)
    solver: str = "heun"
    attributes: tuple[str, ...] = ()
    neighbours: int = ranged(5, at_least=1)
    retrieval: tuple[int, ...] = ranged((1, 5, 10), at_least=1)
    real_objects: int | None = ranged(None, at_least=1)

    def __post_init__(self) -> None:
        """ValueError for a template that is none."""
        super().__post_init__()
        known = dict.fromkeys(("colour", "type", *self.attributes), "")
        for template in self.templates:
            try:
                template.format_map(known)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"templates: wanted {', '.join(known)} in braces; got {template!r}") from error


@dataclass(frozen=True)
class Published(Checked):
    """A row of a published table: kernel distances and MMD times 1,000, LPIPS times 100, coverage in percent."""

    method: str
    data: str
    source: str
    features: str = "inception"  # the network behind frechet and kernel
    steps: int | None = ranged(None, at_least=1)
    frechet: float | None = ranged(None)
    kernel: float | None = ranged(None)
    coverage: float | None = ranged(None)
    mmd: float | None = ranged(None)
    psnr: float | None = ranged(None)
    lpips: float | None = ranged(None)


@dataclass(frozen=True)
class Protocol(Checked):
    """All that two evaluations must share for their numbers to compare.

    samples: objects in each compared set; where `samples_within_objects`, no more than the data set has. views: of
    each, from poses of the data set (A31), of the views that `poses` names. resolution: in pixels, pictures are
    square; None: as the data set's. steps: sampling steps; the last gives the headline `generated`. redraws: of
    copies of training objects, at most. features: networks in order of preference. memorisation: how many samples are
    compared with all training objects. resamples: of the bootstrap; 0: no intervals. prompts: for models that know
    texts.
    """

    name: str
    version: int = field(metadata=within(at_least=1))
    measures: str
    source: str
    samples: int = field(metadata=within(at_least=1))
    views: int = field(metadata=within(at_least=1))
    features: tuple[str, ...]
    samples_within_objects: bool = False
    poses: Split = "all"
    resolution: int | None = ranged(None, at_least=1)
    background: Literal["black"] = "black"
    steps: tuple[int, ...] = ranged((), at_least=1)
    churn: Churn = DETERMINISTIC
    redraws: int = ranged(0, at_least=0)
    seed: int = ranged(0, at_least=0, below=1 << 63)
    sets: tuple[PictureSet, ...] = ()
    metrics: tuple[PictureMetric, ...] = ()
    reference: Reference | None = None
    reconstruction: Reconstruction | None = None
    shapes: Shapes | None = None
    prompts: Prompts | None = None
    memorisation: int = ranged(0, at_least=0)
    resamples: int = ranged(1000, at_least=0)
    confidence: float = ranged(0.95, above=0, below=1)
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for a protocol that contradicts itself."""
        super().__post_init__()
        samples_wanted = "generated" in self.sets or self.shapes is not None or self.memorisation > 0
        wrong = {
            "steps: wanted where objects are generated, and nowhere else": samples_wanted != bool(self.steps),
            "steps: wanted each once": len({*self.steps}) < len(self.steps),
            "reference and metrics: wanted where sets are compared": bool(self.sets)
            != (self.reference is not None and bool(self.metrics)),
            "features: wanted at least one network": not self.features,
            "memorisation: wanted at most `samples`": self.memorisation > self.samples,
            "generated shapes: wanted at most `samples`": self.shapes is not None
            and self.shapes.generated > self.samples,
            "prompts: wanted beside the set `generated`, which has none": self.prompts is not None
            and "generated" not in self.sets,
            "prompts.guidance_scale: wanted one of prompts.guidance_scales": self.prompts is not None
            and self.prompts.guidance_scale not in self.prompts.guidance_scales,
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                raise ValueError(f"protocol {self.name}: {what}")


def protocol_names() -> list[str]:
    """The protocols that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_protocol(name: str | Path) -> tuple[Protocol, str]:
    """A packaged protocol by its name, or one of your own by its .json path; with the SHA-256 of its file.

    ValueError: no such protocol, or a file with unknown, missing or contradicting fields.
    """
    path = Path(name) if str(name).endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise ValueError(unknown_name(str(name), protocol_names(), "protocol"))
    data = path.read_bytes()
    with reading(path, "a protocol"):
        protocol = config_from_dict(Protocol, parsed_json(data))
    return protocol, hashlib.sha256(data).hexdigest()
