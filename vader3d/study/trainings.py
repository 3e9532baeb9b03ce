"""The trainings that variants need, equal ones shared."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from vader3d.autodecoder.codes import count_different, hashed_entries, multipliers_for, stored_numbers
from vader3d.autodecoder.decoder import BASE_RESOLUTION
from vader3d.autodecoder.extract import extract_latents
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder
from vader3d.autodecoder.train import train_autodecoder
from vader3d.config import config_to_dict, fingerprint
from vader3d.data.batches.views import PosedViews
from vader3d.data.dataset import DataSet
from vader3d.diffusion.model import DiffusionConfig, load_denoiser
from vader3d.diffusion.train import train_diffusion
from vader3d.files import LOCK, held
from vader3d.latents import LatentConfig, load_latents
from vader3d.snapshots import MODEL, save_snapshot
from vader3d.study.plans import StudyConfig

LATENTS = "latents.safetensors"


@dataclass(frozen=True)
class Recipe:
    """All that shapes a training."""

    data: str
    autodecoder: AutodecoderConfig
    diffusion: DiffusionConfig | None = None


def finished(folder: Path, last: str) -> bool:
    """Whether all is there: the file that is written last, and no lock of a process that died before it let go."""
    return (folder / last).is_file() and not (folder / LOCK).exists()


def trained_autodecoder(archive: DataSet, config: StudyConfig, root: Path) -> Path:
    """The finished run of stage 1, trained or continued where there is none.

    Where latents are cut and how they are normalised shapes no weight: such variants share a run.
    """
    decoder = replace(config.autodecoder.decoder, latent_resolution=BASE_RESOLUTION)
    shared = replace(config.autodecoder, decoder=decoder, latents=LatentConfig(measure_clip=False))
    run = root / f"autodecoder-{fingerprint(Recipe(archive.fingerprint, shared))}"
    if not finished(run, LATENTS):
        train_autodecoder(archive, shared, run)
    return run


def cut_latents(trained: Path, views: PosedViews, config: StudyConfig, root: Path) -> Path:
    """What stage 2 trains on: the same weights, cut and normalised as `config` has it."""
    wanted = config.autodecoder
    folder = root / f"latents-{fingerprint(Recipe(views.archive.fingerprint, wanted))}"
    if finished(folder, LATENTS):
        return folder
    with held(folder):
        model, _, header = load_autodecoder(trained)
        recut = Autodecoder(wanted, header["objects"])
        recut.load_state_dict(model.state_dict())
        save_snapshot(folder / MODEL, dict(recut.state_dict()), header | {"config": config_to_dict(wanted)})
        extract_latents(recut, views, wanted, folder / LATENTS, objects=torch.arange(len(views)))
    return folder


def trained_denoiser(latents: Path, data: str, config: StudyConfig, root: Path) -> Path:
    """The finished run of stage 2, trained or continued where there is none."""
    run = root / f"diffusion-{fingerprint(Recipe(data, config.autodecoder, config.diffusion))}"
    if not finished(run, MODEL):
        train_diffusion(latents, config.diffusion, run)
    return run


def latent_facts(latents: Path) -> dict[str, float | None]:
    """What normalisation did: the clip, per cent clipped, excess kurtosis and deviation after it; PSNR in dB."""
    report = load_latents(latents / LATENTS)[2]["report"]
    return {
        "clip": report["clip"],
        "clipped_percent": 100 * report["clipped_share"],
        "normalised_kurtosis": report["normalised_kurtosis"],
        "normalised_std": report["normalised_std"],
        "training_views_psnr": report["psnr_db"],
    }


def denoiser_facts(run: Path) -> dict[str, float]:
    """How large the network of stage 2 is."""
    denoiser, _, _ = load_denoiser(run / MODEL)
    return {"denoiser_parameters": float(sum(parameter.numel() for parameter in denoiser.network.parameters()))}


def code_facts(config: AutodecoderConfig, objects: int) -> dict[str, float]:
    """What the codes of all objects are kept in, in float32, and how many of them are different."""
    codes, different = config.codes, objects
    if codes.kind == "hashed":
        entries = partial(
            hashed_entries, multipliers=multipliers_for(codes), codebook_size=codes.codebook_size, key_mix=codes.key_mix
        )
        different = count_different(entries, objects)
    kilobytes = 4e-3 * stored_numbers(codes, objects, config.decoder.code_length)
    return {"code_kilobytes": kilobytes, "different_codes": float(different)}
