"""Stage 1 that starts from a trained model: its decoder, new codes."""

from dataclasses import replace
from pathlib import Path

import torch

from vader3d.autodecoder.codes import Codes
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig, load_autodecoder
from vader3d.config import config_to_dict, without_free
from vader3d.training.run import differences, flatten

WEIGHTS = ("decoder.", "render.activation", "render.density_scale")  # fields that decoder's weights are right for
OBJECTS_SEEN = 8000
QUICKER = 3.0  # what new codes learn at, of the rate at which the model learned its own (docs/results.md)


def start_config(trained: AutodecoderConfig) -> AutodecoderConfig:
    """How a model learns further objects where nothing else is said: as it was trained, briefly, codes more quickly."""
    own = without_free(trained)
    rate = trained.code_lr * (1 if trained.init else QUICKER)
    return replace(own, init=None, code_lr=rate, loop=replace(own.loop, objects_seen=OBJECTS_SEEN))


def check_start(config: AutodecoderConfig, trained: AutodecoderConfig, path: Path) -> None:
    """ValueError, which names the fields, where the weights in the file `path` are of another decoder."""
    there, here = (flatten(config_to_dict(one)) for one in (trained, config))
    unlike = sorted(name for name in differences(there, here) if name.startswith(WEIGHTS))
    if unlike:
        told = "; ".join(f"{name}: wanted {there[name]!r}; got {here[name]!r}" for name in unlike)
        raise ValueError(f"{path}: wanted a model of this configuration; got another ({told}); leave out --preset")


def start_from(model: Autodecoder, config: AutodecoderConfig, path: Path) -> None:
    """Give a new model the decoder of a trained one; its codes begin near the mean of those that one knows.

    ValueError as `check_start`, or no autodecoder there.
    """
    trained, its_config, _ = load_autodecoder(path)
    check_start(config, its_config, path)
    model.decoder.load_state_dict(trained.decoder.state_dict())
    codes = torch.cat([*trained.codes.batches()])
    place_codes(model.codes, codes.mean(0), codes.std(0, correction=0), spread=config.init_spread)


@torch.no_grad()
def place_codes(codes: Codes, mean: torch.Tensor, std: torch.Tensor, *, spread: float) -> None:
    """Let codes begin as mean + spread * std * N(0, I), [L] each; pieces of hashed ones each by their part of both."""
    table = codes.table.weight
    pieces = table.view(codes.code_length // table.shape[1], -1, table.shape[1])
    mean, std = (values.view(len(pieces), 1, -1).to(table.device) for values in (mean, std))
    pieces.copy_(mean + spread * std * torch.randn(pieces.shape).to(table.device))
