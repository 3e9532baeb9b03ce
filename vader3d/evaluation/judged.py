"""What is judged: a trained model, with the data set it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader3d.autodecoder.codes import Codes
from vader3d.config import config_from_dict, fingerprint
from vader3d.data.dataset import DataSet
from vader3d.data.named import trainable_objects
from vader3d.diffusion.model import DiffusionConfig
from vader3d.generate.generator import Generator, opened
from vader3d.hub import autodecoder_file, model_folder
from vader3d.snapshots import read_header
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
    known = read_header(autodecoder_file(run)).get("data") == data.fingerprint
    return (data, []) if known else trainable_objects(data)


def open_judged_model(run: Path, archive: DataSet, *, device: str = "auto") -> JudgedModel:
    """The run folder of stage 2, or of stage 1 where nothing is generated, and its data.

    ValueError: no such run, another data set than it was trained on, or a model without cameras.
    """
    generator, codes, config, about, header, _ = opened(model_folder(run), device=device)
    if config.poses.source != "given" and not config.parts.names:
        raise ValueError(
            f"{run}: wanted a model that learned from the data's cameras; got one with poses.source="
            f"{config.poses.source}, whose world is its own; its metrics.jsonl has rotation_error"
        )
    if config.parts.names:
        raise ValueError(
            f"{run}: wanted a model of objects that stand still; got one with parts {', '.join(config.parts.names)}; "
            "--protocol articulated judges those"
        )
    trained_on = about.get("data")
    check_data(archive, objects=len(codes) // config.yaw_copies, trained_on=trained_on)
    facts: dict[str, Any] = {f"{stage}_checksum": checksum for stage, checksum in generator.checksums.items()}
    facts |= {"autodecoder_config": fingerprint(config), "trained_on": trained_on}
    if header:
        facts["diffusion_config"] = fingerprint(config_from_dict(DiffusionConfig, header["config"]))
    held_out = tuple(Pair(*map(str, pair)) for pair in header.get("held_out", ()))
    return JudgedModel(generator, codes, archive, facts, held_out)


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
