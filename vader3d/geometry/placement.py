"""Where cameras stand to the cube, and moving a data set into it."""

from collections.abc import Sequence

import numpy as np
import torch

from vader3d.geometry.cameras import Cameras
from vader3d.geometry.rays import cube_crossing

OUT_OF_CUBE = 1.75  # of a camera's distance from the middle: more than the cube's corners have


def placed(cameras: Cameras, *, scale: float, offset: Sequence[float] | np.ndarray) -> Cameras:
    """The same cameras in a world where x becomes (x - offset) * scale; `offset` [3] in the old world's units."""
    if not (np.isfinite(scale) and scale > 0) or np.shape(offset) != (3,) or not np.isfinite(offset).all():
        raise ValueError(f"placement: wanted a scale above 0 and an offset of 3 numbers; got {scale} and {offset}")
    matrices = cameras.world_from_camera.clone()
    matrices[:, :3, 3] = (matrices[:, :3, 3] - torch.as_tensor(offset).to(matrices)) * scale
    return Cameras(matrices, cameras.intrinsics, cameras.height, cameras.width)


def automatic_placement(cameras: Cameras) -> tuple[float, np.ndarray]:
    """The scale and offset that put what all cameras [V] look at into the cube.

    The offset is the point nearest to all optical axes (least squares); 1 / scale is the radius of the largest sphere
    about it that no picture cuts, and small enough that no camera stands in the cube. ValueError when the axes are all
    but parallel, or the point is not in every view.
    """
    offset = common_point(cameras)
    radii = _sphere_radius_in_view(cameras, offset)
    if radii.min() <= 0:
        raise ValueError(
            f"cameras: wanted one common point in all views; got none, e.g. in view {radii.argmin()} "
            f"({(radii <= 0).sum()} of {len(radii)} do not see it); are the matrices of other axes (--axes), or world "
            "to camera? mend them, or give --scale and --offset"
        )
    nearest = np.linalg.norm(cameras.centres.double().numpy() - offset, axis=1).min()
    return float(1 / min(radii.min(), nearest / OUT_OF_CUBE)), offset


def common_point(cameras: Cameras) -> np.ndarray:
    """The point [3] nearest to all optical axes; ValueError where they are all but parallel."""
    matrices = cameras.world_from_camera.double().numpy()
    centres, axes = matrices[:, :3, 3], matrices[:, :3, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(0)
    if np.linalg.eigvalsh(total)[0] < 1e-3 * len(axes):
        raise ValueError(
            "cameras: wanted views from several sides; got axes all but parallel, which leave the object's place open; "
            "give --scale and --offset"
        )
    return np.linalg.solve(total, (across @ centres[:, :, None]).sum(0)[:, 0])


def blind_views(cameras: Cameras) -> list[int]:
    """Views [V] whose pictures do not see the cube at all."""
    near, far = cube_crossing(*cameras.resized(32, 32)[:, None].rays())
    return torch.nonzero(~(far > near).any(-1)).flatten().tolist()


def inner_views(cameras: Cameras) -> list[int]:
    """Views [V] whose cameras stand inside the cube."""
    return torch.nonzero((cameras.centres.abs() < 1).all(-1)).flatten().tolist()


def check_placement(cameras: Cameras) -> None:
    """ValueError when a camera stands in the cube or does not see it."""
    for views, fault in (
        (inner_views(cameras), "stands inside the object's cube"),
        (blind_views(cameras), "looks away"),
    ):
        if views:
            raise ValueError(
                f"cameras: wanted them outside the object's cube, looking at it; got view {views[0]}, which {fault} "
                f"({len(views)} of {len(cameras.intrinsics)} do); mend the axes, or give another scale and offset"
            )


def _sphere_radius_in_view(cameras: Cameras, point: np.ndarray) -> np.ndarray:
    """Radius [V] of the largest sphere about a world point that each picture shows whole; negative if none."""
    matrices, (fx, fy, cx, cy) = cameras.world_from_camera.double().numpy(), cameras.intrinsics.double().numpy().T
    x, y, z = np.einsum("vji,vj->iv", matrices[:, :3, :3], point - matrices[:, :3, 3])
    sides = [(1, x, cx / fx), (-1, x, (cameras.width - cx) / fx), (1, y, cy / fy), (-1, y, (cameras.height - cy) / fy)]
    return np.min([(sign * across + z * slope) / np.sqrt(1 + slope**2) for sign, across, slope in sides], axis=0)
