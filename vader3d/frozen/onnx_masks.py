"""Masks by a network in an ONNX file, whatever made it.

What such files do not say is taken as usual: RGB first ([N, 3, H, W]) means ImageNet's mean and deviation, RGB last
(MediaPipe's) means [0, 1], whole numbers mean 0 to 255; `preprocessor_config.json` beside the file says otherwise, and
`config.json` there names the classes. One channel that comes out is alpha, two are background and object, more classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.files import cache_folder, expanded
from vader3d.frozen.weights import Weights, download
from vader3d.untrusted import read_json, reading

NEEDED = "masks: wanted the package onnxruntime; got none; pip install 'vader3d[masks]'"
USUAL_PX = 512  # of a network that takes any size
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_PX = 4096
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
BESIDE = "preprocessor_config.json", "config.json"


@dataclass(frozen=True)
class OnnxMasks:
    """A network that takes RGB of `size` (height, width), and what its classes are called."""

    session: Any
    size: tuple[int, int]
    last: bool
    kind: type
    mean: np.ndarray
    deviation: np.ndarray
    names: dict[int, str]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """What comes out for RGB uint8 [H, W, 3], at its own size: float [C, h, w]. ValueError: another shape."""
        from PIL import Image

        small = Image.fromarray(pixels).resize(self.size[::-1], Image.Resampling.BILINEAR)
        values = np.asarray(small, np.float32)
        if np.issubdtype(self.kind, np.floating):
            values = (values / 255 - self.mean) / self.deviation
        batch = values.astype(self.kind)[None] if self.last else values.astype(self.kind).transpose(2, 0, 1)[None]
        (found, *_) = self.session.run(None, {self.session.get_inputs()[0].name: batch})
        found = np.asarray(found, np.float32)
        found = found[0] if found.ndim == 4 else found
        if found.ndim != 3 or not found.size or not np.isfinite(found).all():
            raise ValueError(f"masks: wanted finite [C, H, W] of the network; got {found.shape}")
        return found.transpose(2, 0, 1) if self.last or found.shape[-1] <= 2 < found.shape[0] else found


def is_onnx(masks: str) -> bool:
    """Whether a network is meant that is an ONNX file here or somewhere."""
    return masks.partition("#")[0].lower().endswith(".onnx")


@cache
def onnx_masks(masks: str, fetch: bool = False) -> OnnxMasks:
    """The network of a path, or of https://.../NAME.onnx#SHA256, which is fetched once where that is asked for.

    ValueError: no such file, another checksum, no network of pictures; ImportError: no package.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(NEEDED) from error
    path = onnx_file(masks, fetch)
    with reading(path, "an ONNX network"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        said, classes = (read_json(file) if (file := path.with_name(name)).is_file() else {} for name in BESIDE)
        names = {int(number): str(name) for number, name in classes.get("id2label", {}).items()}
        return OnnxMasks(session, *taken_by(session.get_inputs(), said), names)


def taken_by(inputs: Sequence[Any], said: dict[str, Any]) -> tuple[tuple[int, int], bool, type, np.ndarray, np.ndarray]:
    """Size, whether RGB is last, type, mean and deviation of what a network takes; ValueError: no picture."""
    shape, kind = inputs[0].shape, inputs[0].type
    if len(inputs) != 1 or len(shape) != 4 or kind not in KINDS:
        raise ValueError(f"masks: wanted a network of one picture [N, 3, H, W]; got {kind} {shape}")
    last = shape[3] == 3 and shape[1] != 3
    sides = shape[1:3] if last else shape[2:]
    usual = size if isinstance(size := said.get("size"), dict) else {}
    height, width = (
        side if isinstance(side, int) else int(usual.get(key, USUAL_PX))
        for side, key in zip(sides, ("height", "width"), strict=True)
    )
    if not 1 <= min(height, width) <= max(height, width) <= MOST_PX:
        raise ValueError(f"masks: wanted a network of 1 to {MOST_PX} px a side; got {width} x {height}")
    mean = np.array(said.get("image_mean", (0, 0, 0) if last else MEAN), np.float32)
    deviation = np.array(said.get("image_std", (1, 1, 1) if last else DEVIATION), np.float32)
    return (height, width), last, KINDS[kind], mean, deviation


def onnx_file(masks: str, fetch: bool) -> Path:
    """Where the file lies; of an address in our cache."""
    url, _, checksum = masks.partition("#")
    if "://" not in url:
        path = expanded(url)
        if not path.is_file():
            raise ValueError(f"masks: wanted an ONNX file; got {path}, which does not exist")
        return path
    if not url.startswith("https://") or len(checksum) != 64:
        raise ValueError(f"masks: wanted https://.../NAME.onnx#SHA256; got {masks}")
    target = cache_folder() / f"{checksum[:16]}.onnx"
    if not target.is_file() and not fetch:
        raise ValueError(f"masks: wanted {target}; got no such file; --download fetches it where the internet is")
    return download(Weights("a network for masks", target.name, url, checksum.lower(), 0), [target])


def object_of(values: np.ndarray) -> np.ndarray | None:
    """The object's share in [0, 1] [h, w] where one or two channels [C, h, w] say it; None of classes."""
    if len(values) == 1:
        share = values[0]
        return share if share.min() >= 0 and share.max() <= 1 else 1 / (1 + np.exp(-share.clip(-50, 50)))
    if len(values) == 2:
        return 1 / (1 + np.exp((values[0] - values[1]).clip(-50, 50)))
    return None
