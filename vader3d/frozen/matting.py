"""Masks of pictures: whence they come, behind one call.

`Matting("auto")(pixels, file)` gives alpha. Nothing is fetched unless it is asked for.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import masked
from vader3d.frozen.onnx_masks import is_onnx, object_of, onnx_masks
from vader3d.frozen.people import networks, person_mask
from vader3d.untrusted import reason_of

PEOPLE = "people"
KINDS = ("auto", "alpha", "file", "plain", "white", PEOPLE)
NEEDED = "masks: wanted the package transformers; got none; pip install 'vader3d[text]'"


@dataclass(frozen=True)
class Matting:
    """How masks are made; may be sent to other processes, which load networks for themselves.

    masks: `alpha` of the pictures; `file`, found by name (`data/reading/mask_files.py`); `plain`, what differs from a
    background of one colour; `white`; `auto`, the first of alpha, file and plain that there is; `people`, by MediaPipe
    (`people.py`); else a segmentation network: of `transformers`, by folder or id, or an ONNX file (`onnx_masks.py`),
    whose segment in the picture's middle is the object, or those of the classes `labels`.
    """

    masks: str = "auto"
    labels: tuple[str, ...] = ()
    download: bool = False
    device: str = "cpu"

    def __call__(self, pixels: np.ndarray, file: Path | None = None) -> np.ndarray:
        """Alpha uint8 [H, W] of RGBA uint8 [H, W, 4], read from `file`; ValueError: there is no such mask."""
        place = file or Path("picture.jpg")
        if self.masks == PEOPLE:
            return person_mask(pixels[..., :3])
        if self.masks in KINDS:
            return masked(pixels, place, mask=self.masks, mask_path=given_mask(place))[0][..., 3]
        return network_alpha(self, pixels[..., :3])


def network_alpha(matting: Matting, pixels: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W], 0 or 255 of classes, of RGB uint8 [H, W, 3]; ValueError where no segment is the object."""
    if is_onnx(matting.masks):
        network = onnx_masks(matting.masks, matting.download)
        values = network(pixels)
        alpha = object_of(values)
        if alpha is not None:
            return enlarged(np.rint(255 * alpha).astype(np.uint8), pixels.shape[:2])
        segments, names = values.argmax(0), network.names
    else:
        segments, names = transformer_segments(matting, pixels)
    inside = np.where(np.isin(segments, wanted_segments(matting, segments, names)), 255, 0).astype(np.uint8)
    return enlarged(inside, pixels.shape[:2])


def enlarged(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(alpha).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def transformer_segments(matting: Matting, pixels: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """A number for each pixel [H, W], and what the numbers are called."""
    import torch
    from PIL import Image

    network, processor = segmenter(matting)
    with torch.no_grad():
        outputs = network(**processor(images=Image.fromarray(pixels), return_tensors="pt").to(matting.device))
    size = pixels.shape[:2]
    segments = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0].cpu().numpy()
    return segments, {int(number): str(name) for number, name in network.config.id2label.items()}


def wanted_segments(matting: Matting, segments: np.ndarray, names: dict[int, str]) -> list[int]:
    """The numbers of the classes `labels`, by name or number, else that of the middle."""
    if not matting.labels:
        return [middle_segment(segments)]
    asked = {label.lower() for label in matting.labels}
    wanted = [number for number, name in names.items() if name.lower() in asked]
    wanted += [int(label) for label in asked if label.isdecimal()]
    if not wanted:
        raise ValueError(
            f"labels: wanted classes of {matting.masks}, such as {', '.join(list(names.values())[:8])}; "
            f"got {', '.join(matting.labels)}"
        )
    return wanted


def middle_segment(segments: np.ndarray) -> int:
    """The number, in [H, W], that fills the picture's middle third most and its borders least."""
    height, width = segments.shape
    middle = segments[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
    rim = np.concatenate([segments[0], segments[-1], segments[:, 0], segments[:, -1]])
    return int(max(np.unique(middle), key=lambda number: (middle == number).mean() - (rim == number).mean()))


@cache
def segmenter(matting: Matting) -> tuple[Any, Any]:
    """A network and its processor, None of an ONNX file or of people; ValueError: not here, or it does something else.

    ImportError: no package.
    """
    if matting.masks == PEOPLE:
        return networks(), None
    if is_onnx(matting.masks):
        return onnx_masks(matting.masks, matting.download), None
    try:
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation
    except ImportError as error:
        raise ImportError(NEEDED) from error
    here = {"local_files_only": not matting.download}
    reasons = []
    for kind in (AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation):
        try:
            network = kind.from_pretrained(matting.masks, **here)
            return network.to(matting.device).eval(), AutoImageProcessor.from_pretrained(matting.masks, **here)
        except Exception as error:  # each version of transformers has its own
            reasons.append(reason_of(error))
    raise ValueError(
        f"masks: wanted {', '.join(KINDS)}, or a folder, .onnx file or downloaded id of a segmentation network; got "
        f"{matting.masks} ({reasons[0]}); --download fetches one where the internet is"
    )
