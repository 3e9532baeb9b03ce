"""What is judged: a trained model, with the data set it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader3d.autodecoder.codes import Codes
from vader3d.autodecoder.model import load_autodecoder
from vader3d.config import config_from_dict, fingerprint
from vader3d.data.dataset import DataSet
from vader3d.data.named import trainable_objects
from vader3d.diffusion.model import DiffusionConfig, encoder_of, load_denoiser, text_of
from vader3d.files import checksum_of
from vader3d.generate.generator import Generator
from vader3d.hub import weights_within
from vader3d.machine import chosen_device
from vader3d.snapshots import AUTODECODER, MODEL, read_header
from vader3d.text.heldout import Pair


@dataclass(frozen=True)
class JudgedModel:
    """Both stages (or the first alone), the codes of the training objects, their data.

    Code k N + o is that of copy k, turned about z, of object o: copy 0 is the object as its pictures show it.
    model: checksums and fingerprints, plain values. held_out: pairs of a colour and a type that stage 2 never met.
    """

    generator: Generator
    codes: Codes
    archive: DataSet
    model: dict[str, Any]
    held_out: tuple[Pair, ...] = ()

    def __len__(self) -> int:
        return len(self.archive)

    @property
    def copies(self) -> int:
        """How many codes an object has (`yaw_copies`)."""
        return len(self.codes) // len(self.archive)


def judged_data(run: Path, data: DataSet) -> tuple[DataSet, list[str]]:
    """The objects that a model was trained on, and a line about each other one.

    All, where it knew all: what has been damaged since is counted by what meets it. Else those that can be read.
    """
    stage1 = run / MODEL if kind_of(run) == "autodecoder" else run / AUTODECODER
    return (data, []) if read_header(stage1).get("data") == data.fingerprint else trainable_objects(data)


def open_judged_model(run: Path, archive: DataSet, *, device: str = "auto") -> JudgedModel:
    """The run folder of stage 2, or of stage 1 where nothing is generated, and its data.

    ValueError: no such run, another data set than it was trained on, or a model without cameras.
    """
    run = weights_within(run) or run
    stage1 = run if kind_of(run) == "autodecoder" else run / AUTODECODER
    autodecoder, config, header = load_autodecoder(stage1)
    if autodecoder.posing is not None:
        raise ValueError(
            f"{run}: wanted a model that learned from the data's cameras; got one with poses.source=keypoints, whose "
            "world is its own; its metrics.jsonl has rotation_error"
        )
    check_data(archive, objects=len(autodecoder.codes) // config.yaw_copies, trained_on=header.get("data"))
    facts = {
        "autodecoder_checksum": checksum_of(stage1 / MODEL if stage1 == run else stage1),
        "autodecoder_config": fingerprint(config),
        "trained_on": header.get("data"),
    }
    chosen = chosen_device(device)
    decoder = autodecoder.decoder.to(chosen)
    if stage1 == run:
        return JudgedModel(Generator(decoder, config.render), autodecoder.codes, archive, facts)
    denoiser, statistics, header = load_denoiser(run / MODEL)
    held_out = tuple(Pair(*map(str, pair)) for pair in header.get("held_out", ()))
    diffusion = config_from_dict(DiffusionConfig, header["config"])
    facts |= {"denoiser_checksum": checksum_of(run / MODEL), "diffusion_config": fingerprint(diffusion)}
    encoder = encoder_of(header, device=chosen) if text_of(header) else None
    generator = Generator(decoder, config.render, denoiser.to(chosen), statistics, text_encoder=encoder)
    return JudgedModel(generator, autodecoder.codes, archive, facts, held_out)


def kind_of(run: Path) -> str:
    """`autodecoder` or `denoiser`. ValueError: no such run."""
    if not (run / MODEL).is_file():
        raise ValueError(f"model: wanted the run folder of `vader3d train diffusion`; got {run}, without {MODEL}")
    return str(read_header(run / MODEL).get("kind"))


def check_data(archive: DataSet, *, objects: int, trained_on: str | None) -> None:
    """ValueError unless the archive is the one a model of so many objects was trained on.

    trained_on: the fingerprint that the model carries; None for models from before they carried one.
    """
    name = archive.title or archive.path
    if objects != len(archive):
        raise ValueError(
            f"data: wanted the {objects} objects that the model was trained on; got {name}, with {len(archive)}; give "
            "the data set it was trained on"
        )
    if trained_on is not None and trained_on != archive.fingerprint:
        raise ValueError(
            f"data: wanted the data set that the model was trained on, with fingerprint {trained_on[:12]}; got {name}, "
            f"with {archive.fingerprint[:12]}, as many objects but others; give the former"
        )
