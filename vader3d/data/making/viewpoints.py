"""Where the cameras of a rendered data set stand."""

import numpy as np
import torch

from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.geometry.cameras import Cameras, orbit_cameras

ELEVATION_DEGREES = (-10.0, 60.0)
PLASTIC = 1.324717957244746  # root of x^3 = x + 1: the plane's golden ratio


def spread_cameras(views: int, *, size: int, seed: int, azimuths_from_front: float = 180.0) -> Cameras:
    """`views` cameras on the sphere's band of elevations -10 to 60 degrees, evenly by area, shifted by `seed`.

    azimuths_from_front: degrees; below 180 only cameras so near to azimuth -90, where the front is.

    Training and held-out views each follow their own R2 sequence (Roberts 2018: multiples of 1/p and 1/p^2 modulo 1),
    so any first few of either lie well apart.
    """
    unit = np.empty((views, 2))
    shifts = np.random.default_rng(seed).random((2, 2))
    for shift, chosen in zip(shifts, (training_views(views), heldout_views(views)), strict=True):
        unit[chosen] = (shift + np.arange(len(chosen))[:, None] / [PLASTIC, PLASTIC**2]) % 1
    low, high = np.sin(np.deg2rad(ELEVATION_DEGREES))
    azimuths = 360 * unit[:, 0]
    if azimuths_from_front < 180:
        azimuths = -90 + azimuths_from_front * (2 * unit[:, 0] - 1)
    elevations = np.rad2deg(np.arcsin(low + (high - low) * unit[:, 1]))
    return orbit_cameras(torch.from_numpy(azimuths).float(), torch.from_numpy(elevations).float(), size=size)
