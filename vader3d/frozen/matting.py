"""Masks of pictures: whence they come, behind one call.

`Matting("auto")(pixels, file)` gives alpha. Nothing is fetched unless it is asked for.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import read_picture
from vader3d.data.reading.wall import plain_background_alpha
from vader3d.untrusted import reason_of

KINDS = ("auto", "alpha", "file", "plain")
NEEDED = "masks: wanted the package transformers; got none; pip install 'vader3d[text]'"


@dataclass(frozen=True)
class Matting:
    """How masks are made; may be sent to other processes, which load networks for themselves.

    masks: `alpha` of the pictures; `file`, found by name (`data/reading/mask_files.py`); `plain`, what differs from a
    background of one colour; `auto`, the first of these that there is; else a segmentation network of `transformers`,
    by folder or id, whose segment in the picture's middle is the object, or those of the classes `labels`.
    """

    masks: str = "auto"
    labels: tuple[str, ...] = ()
    download: bool = False
    device: str = "cpu"

    def __call__(self, pixels: np.ndarray, file: Path | None = None) -> np.ndarray:
        """Alpha uint8 [H, W] of RGBA uint8 [H, W, 4], read from `file`; ValueError: there is no such mask."""
        given = given_mask(file) if file is not None and self.masks in ("auto", "file") else None
        if self.masks == "alpha" or (self.masks == "auto" and (pixels[..., 3] < 255).any()):
            if (pixels[..., 3] == 255).all():
                raise ValueError("masks: wanted transparent pixels; got none; say --masks plain, or name a model")
            return pixels[..., 3]
        if given is not None:
            return mask_in_file(given, pixels.shape[:2])
        if self.masks == "file":
            raise ValueError(f"masks: wanted a file masks/{file.name if file else 'NAME'}.png or alike; got none")
        if self.masks in ("auto", "plain"):
            return plain_background_alpha(pixels[..., :3])
        return network_alpha(self, pixels[..., :3])


def mask_in_file(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Alpha uint8 [H, W] of a mask file, resized to `size` (height, width).

    Masks of 0 and 1, or of 0 and one label's number, are scaled by their range. ValueError where the shape is another.
    """
    from PIL import Image

    picture = read_picture(path, mode="RGBA")
    grey = (
        np.asarray(picture)[..., 3] if (np.asarray(picture)[..., 3] < 255).any() else np.asarray(picture.convert("L"))
    )
    if abs(grey.shape[0] * size[1] / (grey.shape[1] * size[0]) - 1) > 0.02:
        raise ValueError(f"masks: wanted the shape of {size[1]} x {size[0]} px; got {grey.shape[::-1]} in {path}")
    if len(np.unique(grey)) <= 2 and 0 < grey.max() < 255:
        grey = np.where(grey == grey.max(), 255, 0).astype(np.uint8)
    if grey.shape == size:
        return grey
    return np.asarray(Image.fromarray(grey).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def network_alpha(matting: Matting, pixels: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W], 0 or 255, of RGB uint8 [H, W, 3]; ValueError where no segment is the object."""
    import torch
    from PIL import Image

    network, processor = segmenter(matting)
    with torch.no_grad():
        outputs = network(**processor(images=Image.fromarray(pixels), return_tensors="pt").to(matting.device))
    size = pixels.shape[:2]
    segments = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0].cpu().numpy()
    names = {int(number): str(name).lower() for number, name in network.config.id2label.items()}
    if matting.labels:
        wanted = [number for number, name in names.items() if name in {label.lower() for label in matting.labels}]
        if not wanted:
            raise ValueError(
                f"labels: wanted classes of {matting.masks}, such as {', '.join(list(names.values())[:8])}; "
                f"got {', '.join(matting.labels)}"
            )
        return np.where(np.isin(segments, wanted), 255, 0).astype(np.uint8)
    return np.where(segments == middle_segment(segments), 255, 0).astype(np.uint8)


def middle_segment(segments: np.ndarray) -> int:
    """The number, in [H, W], that fills the picture's middle third most and its borders least."""
    height, width = segments.shape
    middle = segments[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
    rim = np.concatenate([segments[0], segments[-1], segments[:, 0], segments[:, -1]])
    return int(max(np.unique(middle), key=lambda number: (middle == number).mean() - (rim == number).mean()))


@cache
def segmenter(matting: Matting) -> tuple[Any, Any]:
    """A network and its processor; ValueError: it is not here, or does something else; ImportError: no package."""
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
        f"masks: wanted {', '.join(KINDS)}, or a folder or downloaded id of a segmentation network; got "
        f"{matting.masks} ({reasons[0]}); --download fetches one where the internet is"
    )
