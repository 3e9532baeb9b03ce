"""What a configuration costs before it is trained."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vader3d.autodecoder.codes import stored_numbers
from vader3d.autodecoder.decoder import Decoder, DecoderConfig
from vader3d.autodecoder.losses import perceptual_loss
from vader3d.autodecoder.model import AutodecoderConfig
from vader3d.diffusion.model import DiffusionConfig, build_denoiser
from vader3d.frozen.vgg import IMAGENET, VGG, VGG16_LAYERS, VGG19_LAYERS, picture_gradients
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig

FLOAT = 4  # bytes
HEAD_CHANNELS = 64  # of the U-Net's attention: its queries at 4^3 are square too


@dataclass(frozen=True)
class Cost:
    """Of one training step at the configured batch, on one device.

    parameters: of the network. flops: two for each multiply-add of matrix products and convolutions, forward and
    backward. state_bytes: weights, gradients, optimiser and moving average, codes included. activation_bytes: what
    the forward pass keeps for the backward pass (half of it in bfloat16); buffers of the renderer come on top.
    """

    parameters: int
    flops: float
    state_bytes: int
    activation_bytes: int

    @property
    def bytes(self) -> int:
        return self.state_bytes + self.activation_bytes


def steps_and_seconds(cost: Cost, loop: LoopConfig, *, peak: float) -> tuple[float, float]:
    """At most how many steps a training takes, and how long they do at `peak` flops a second."""
    steps = loop.objects_seen / loop.batch
    if loop.seconds is not None:
        steps = min(steps, loop.seconds * peak / cost.flops)
    return steps, steps * cost.flops / peak


@contextlib.contextmanager
def traced(*, without: Callable[[Tensor], bool] = lambda tensor: False) -> Iterator[dict[str, float]]:
    """Counts the flops, and the bytes kept for the backward pass (each storage once), of what runs inside.

    without: tensors that a real device would not keep.
    """
    counts, seen = {"flops": 0.0, "kept": 0.0}, {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and not without(tensor):
            seen[storage._cdata] = (storage, storage.nbytes())  # the storage is held: its address names it alone
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield counts
    counts["flops"], counts["kept"] = counter.get_total_flops(), sum(size for _, size in seen.values())


def is_attention_map(tensor: Tensor) -> bool:
    """[.., T, T] of a 3D network: the traced device keeps it where real ones compute attention piecewise."""
    return tensor.dim() in (3, 4) and tensor.shape[-1] == tensor.shape[-2] > HEAD_CHANNELS


def network_bytes(network: nn.Module, optimiser: OptimiserConfig) -> int:
    """Weights, gradients, moving average, and Adam's two moments or Muon's one."""
    copies = 5 if optimiser.name == "adam" else 4
    return FLOAT * copies * sum(parameter.numel() for parameter in network.parameters())


def kept_bytes(counted: float, loop: LoopConfig) -> int:
    """Half of what float32 keeps, unless that is asked for: `auto` is taken for bfloat16, as on any recent GPU."""
    return int(counted / (1 if loop.precision == "float32" else 2))


def autodecoder_cost(config: AutodecoderConfig, *, objects: int, picture_px: int) -> Cost:
    """Stage 1 on `objects` objects with square pictures: decoder, perceptual trunk, rendering."""
    batch, pictures = config.loop.batch, config.loop.batch * config.views_per_object
    side = math.ceil(picture_px / config.pixel_stride)
    with torch.device("meta"):
        decoder = Decoder(config.decoder)
        codes = torch.zeros(batch, config.decoder.code_length, requires_grad=True)
        rendered, target = (
            torch.zeros(pictures, 3, side, side, requires_grad=True),
            torch.zeros(pictures, 3, side, side),
        )
        trunk = perceptual_trunk(config.losses.trunk)
        with traced(without=is_attention_map) as counts:
            decoder(codes).grid.sum().backward()
        if config.losses.perceptual:
            with traced() as more:
                perceptual_loss(trunk, rendered, target, config.losses.scales).backward()
            counts = {name: counts[name] + more[name] for name in counts}
    channels = 4 + config.decoder.extra_channels
    samples = pictures * side**2 * config.render.samples_per_ray
    rendering = 3 * samples * 2 * (8 + 1) * channels  # forward and twice as much backward: 8 corners, compositing
    return Cost(
        parameters=sum(parameter.numel() for parameter in decoder.parameters()),
        flops=counts["flops"] + rendering,
        state_bytes=autodecoder_state_bytes(config, objects=objects),
        activation_bytes=kept_bytes(counts["kept"], config.loop),
    )


def autodecoder_state_bytes(config: AutodecoderConfig, *, objects: int) -> int:
    """`Cost.state_bytes` of stage 1; nothing is traced."""
    with torch.device("meta"):
        decoder = Decoder(config.decoder)
    copies = 3 + int(config.codes.average)  # moments are kept for all, gradients for the touched
    code_numbers = stored_numbers(config.codes, objects * config.yaw_copies, config.decoder.code_length)
    return network_bytes(decoder, config.optimiser) + FLOAT * copies * code_numbers


def diffusion_state_bytes(config: DiffusionConfig, *, latent_shape: tuple[int, ...]) -> int:
    """`Cost.state_bytes` of stage 2; nothing is traced."""
    with torch.device("meta"):
        network = build_denoiser(config, latent_shape, rank=config.prior_rank).network
    return network_bytes(network, config.optimiser)


def decoder_parameters(config: DecoderConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Decoder(config).parameters())


def perceptual_trunk(name: str) -> Callable[[Tensor], list[Tensor]]:
    """The trunk's layers without its weights."""
    if name == "gradients":
        return picture_gradients
    settings: dict[str, Any] = IMAGENET
    return VGG(VGG16_LAYERS if name.startswith("vgg16") else VGG19_LAYERS, **settings)


@cache
def diffusion_cost(config: DiffusionConfig, *, latent_shape: tuple[int, ...]) -> Cost:
    """Stage 2 on latents [C, D, H, W]."""
    batch, tokens = config.loop.batch, None
    with torch.device("meta"):
        denoiser = build_denoiser(config, latent_shape, rank=config.prior_rank).train()
        network, rank = denoiser.network, config.prior_rank
        x = torch.zeros(batch, latent_shape[0] * (2 if rank else 1), *latent_shape[1:])
        if config.unet.token_dim:
            tokens = torch.zeros(batch, config.text_length, config.unet.token_dim)
        with traced(without=is_attention_map) as counts:
            network(x, torch.zeros(batch), tokens).sum().backward()
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops=counts["flops"],
        state_bytes=diffusion_state_bytes(config, latent_shape=latent_shape),
        activation_bytes=kept_bytes(counts["kept"], config.loop),
    )
