"""Faces and masks of people, by MediaPipe's small networks."""

import os
from functools import cache
from typing import Any

import numpy as np

LANDMARKS = 468  # MediaPipe's face mesh
SEEN_PX, MARGIN_PX = 384, 64  # how large pictures are shown to it, and how far from the border: small faces are missed
LEAST_SURE = 0.2
# heights of a face: the side of a square about head and shoulders, and how far its middle is below
BUST, LOWER = 3.2, 0.5
NEEDED = (
    "people: wanted the package mediapipe, of 0.10.9 to 0.10.21, which hold its networks; got {}; "
    "pip install 'vader3d[people]'"
)


@cache
def networks() -> tuple[Any, Any]:
    """Of faces, and of people's masks. ImportError: no package, or a later one, which brings no networks."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import mediapipe
    except ImportError as error:
        raise ImportError(NEEDED.format("none")) from error
    if not hasattr(mediapipe, "solutions"):
        raise ImportError(NEEDED.format(mediapipe.__version__))
    faces = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, min_detection_confidence=LEAST_SURE)
    return faces, mediapipe.solutions.selfie_segmentation.SelfieSegmentation()


def faces_in(pictures: np.ndarray) -> np.ndarray:
    """Landmarks of the face in each picture uint8 [F, H, W, 4]: float [F, 468, 3], in pixels; NaN where none is seen.

    x to the right, y down, from the picture's corner; z away from the camera, from somewhere in the face.
    """
    from PIL import Image

    network, _ = networks()
    height, width = pictures.shape[1:3]
    scale = SEEN_PX / max(height, width)
    size = (round(width * scale), round(height * scale))
    found = np.full((len(pictures), LANDMARKS, 3), np.nan)
    for number, picture in enumerate(pictures):
        ground = Image.new("RGBA", picture.shape[1::-1], "white")
        ground.alpha_composite(Image.fromarray(picture))
        shown = np.asarray(ground.convert("RGB").resize(size, Image.Resampling.BICUBIC))
        margins = [(MARGIN_PX, MARGIN_PX + SEEN_PX - side) for side in shown.shape[:2]]
        square = np.pad(shown, (*margins, (0, 0)), constant_values=255)
        if faces := network.process(square).multi_face_landmarks:
            places = np.array([(each.x, each.y, each.z) for each in faces[0].landmark])
            found[number] = (places * len(square) - (MARGIN_PX, MARGIN_PX, 0)) / scale
    return found


def bust_square(pixels: np.ndarray) -> tuple[float, float, float] | None:
    """Middle x, y and side, in px, of the square about a head and shoulders in RGBA uint8 [H, W, 4]; None: no face."""
    landmarks = faces_in(pixels[None])[0, :, :2]
    if np.isnan(landmarks).any():
        return None
    (left, top), (right, bottom) = landmarks.min(0), landmarks.max(0)
    height = bottom - top
    return float(left + right) / 2, float((top + bottom) / 2 + LOWER * height), float(BUST * height)


def person_mask(pixels: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W] of the people in a picture, uint8 RGB [H, W, 3]."""
    _, network = networks()
    share = network.process(np.ascontiguousarray(pixels)).segmentation_mask
    return np.rint(255 * share.clip(0, 1)).astype(np.uint8)
