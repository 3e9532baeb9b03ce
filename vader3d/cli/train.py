"""The commands that train, and what they cost before they do."""

import json
import sys
from pathlib import Path
from typing import Any

from vader3d.cli.parsing import Settings, checked, note, say


@checked
def train_autodecoder_command(
    *,
    data: str,
    output: Path,
    preset: str | None = None,
    init: str = "",
    minutes: float | None = None,
    settings: Settings = (),
    dry_run: bool = False,
    profile: int = 0,
) -> None:
    """Stage 1: learn codes and decoder from posed pictures. The same command again goes on where it stopped.

    Args:
        data: An archive, a folder or URL of shards, or furniture, furniture-all, chairs.
        output: The run folder.
        preset: See `vader3d presets`; small, or with --init the model's own configuration.
        init: A trained model whose decoder learns on instead of one that begins anew: the folder of a run, a demo or a
            saved model, the name of one that ships, or OWNER/NAME of a hub's that was fetched.
        minutes: Stop after so many, learning rates falling in time; else the preset's number of objects.
        settings: Overrides, e.g. --set decoder.code_length=512 --set loop.batch=4; `vader3d presets NAME` lists all
            fields of a preset with their meaning.
        dry_run: Print the resolved configuration, with what it costs, and stop.
        profile: Trace so many steps; leaves profile/trace.json in the run folder.
    """
    from vader3d.autodecoder.train import train_autodecoder
    from vader3d.costs import autodecoder_cost, autodecoder_state_bytes
    from vader3d.data.named import open_archive, trainable_objects
    from vader3d.data.shards.reader import of_earlier

    weights, base = stage1_start(preset, init)
    config = resolved(base, settings, minutes)
    if dry_run:
        opened = open_archive(data)
        cost = autodecoder_cost(config, objects=len(opened), picture_px=max(opened.resolution))
        return print_dry_run(config, cost)
    archive, problems = trainable_objects(of_earlier(data, output) or open_archive(data))
    check_memory(autodecoder_state_bytes(config, objects=len(archive)), config.loop.device)
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    train_autodecoder(archive, config, output, init=weights, profile=profile)
    say(f"{output}: {len(archive)} objects trained, {len(problems)} skipped; next: vader3d train diffusion")
    return None


@checked
def train_diffusion_command(
    *,
    autodecoder: Path,
    output: Path,
    preset: str = "small",
    minutes: float | None = None,
    captions: Path | None = None,
    download: bool = False,
    settings: Settings = (),
    dry_run: bool = False,
    profile: int = 0,
) -> None:
    """Stage 2: learn to denoise the latents of a trained autodecoder. The same command again goes on.

    Args:
        autodecoder: The run folder of stage 1.
        output: The run folder of stage 2; it holds all that generation needs.
        preset: See `vader3d presets`.
        minutes: Stop after so many, learning rates falling in time; else the preset's number of objects.
        captions: A .csv, .json or .jsonl file, or a folder of texts, with captions of objects by name, in place of
            those that stage 1 noted; for presets with text.
        download: The text encoder may be fetched where it is not on this machine.
        settings: `vader3d presets NAME` lists all fields of a preset with their meaning; here others may be set, e.g.
            --set unet.dropout=0.1
        dry_run: Print the resolved configuration, with what it costs, and stop.
        profile: Trace so many steps; leaves profile/trace.json in the run folder.
    """
    from vader3d.autodecoder.model import read_config
    from vader3d.costs import diffusion_cost, diffusion_state_bytes
    from vader3d.diffusion.train import train_diffusion
    from vader3d.generate.previews import samples_drawn
    from vader3d.presets import preset as named_preset

    config = resolved(named_preset(preset).diffusion, settings, minutes)
    trained = (autodecoder / "model.safetensors").is_file()
    first = read_config(autodecoder / "model.safetensors") if trained else named_preset(preset).autodecoder
    latent_shape = first.decoder.latent_shape
    if dry_run:
        return print_dry_run(config, diffusion_cost(config, latent_shape=latent_shape))
    check_memory(diffusion_state_bytes(config, latent_shape=latent_shape), config.loop.device)
    whole = trained and (autodecoder / "latents.safetensors").is_file()  # else the training says what is missing
    draw = samples_drawn(autodecoder, seed=config.loop.seed) if whole else None
    train_diffusion(autodecoder, config, output, profile=profile, draw=draw, captions=captions, download=download)
    say(f"{output}: trained; next: vader3d generate --model {output} --output assets")
    return None


def stage1_start(preset: str | None, init: str) -> tuple[Path | None, Any]:
    """The weights that stage 1 starts from, if any, and the configuration before --set. ValueError: they disagree."""
    from vader3d.presets import preset as named_preset

    if not init:
        return None, named_preset(preset or "small").autodecoder
    from vader3d.autodecoder.model import read_config
    from vader3d.autodecoder.start import check_start, start_config
    from vader3d.hub import autodecoder_file, model_folder

    weights = autodecoder_file(model_folder(init))
    trained = read_config(weights)
    if preset is None:
        return weights, start_config(trained)
    config = named_preset(preset).autodecoder
    check_start(config, trained, weights)
    return weights, config


def resolved(config: Any, settings: tuple[str, ...], minutes: float | None) -> Any:
    """A preset's configuration with --set and --minutes applied."""
    from vader3d.config import override

    budget = [] if minutes is None else [f"loop.seconds={minutes * 60}", "loop.objects_seen=1000000000"]
    return override(config, [*budget, *settings])


def check_memory(wanted: int, device: str) -> None:
    """ValueError: the bytes that have to be there throughout are more than all the memory of the device."""
    from vader3d.machine import chosen_device, memory_bytes

    there = memory_bytes(chosen_device(device))
    if there and wanted > there:
        raise ValueError(
            f"memory: wanted {wanted / 1e9:.1f} GB for weights, gradients, optimisers, averages and codes; got a "
            f"device of {there / 1e9:.1f} GB; choose a smaller preset (--dry-run says what a training takes)"
        )


def print_dry_run(config: Any, cost: Any) -> None:
    """The resolved configuration as JSON; beside it, on standard error, what it will cost."""
    import torch

    from vader3d.config import config_to_dict
    from vader3d.costs import steps_and_seconds
    from vader3d.machine import peak_flops, working_dtype

    print(json.dumps(config_to_dict(config), indent=2))
    loop = config.loop
    device = "cuda" if loop.device != "cpu" and torch.cuda.is_available() else "cpu"
    dtype = working_dtype(loop.precision, device)
    peak = peak_flops(device, dtype)
    note(f"memory: about {cost.state_bytes / 1e9:.2f} GB for weights, gradients, optimisers, averages and codes")
    note(f"        and {cost.activation_bytes / 1e9:.2f} GB for a batch of {loop.batch} at once, on one device")
    note(f"one step: {cost.flops / 1e12:.3g} TFLOP; {cost.parameters / 1e6:.1f} M parameters in the network")
    name = str(dtype).removeprefix("torch.")
    note(f"this machine: {peak / 1e12:.3g} TFLOP/s of {name} in a large matrix product on its {device}")
    steps, seconds = steps_and_seconds(cost, loop, peak=peak)
    note(f"at most {steps:.3g} steps, {steps * cost.flops:.2g} FLOP: {seconds / 3600:.2g} hours here at best")
