"""Posed pinhole cameras, and the rays through their pixels.

World: right-handed, object in [-1, 1]^3. Camera: OpenCV axes (x right, y down, z forward). Pixel centres at +0.5.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vader3d.geometry.rays import Rays

DISTANCE, FOV_DEGREES = 4.0, 30.0  # of orbiting cameras: a sphere of radius 1.03 fits into every picture
FRONT_DEGREES = -90.0  # azimuth of the camera that an object faces
OPENCV_FROM_OPENGL = (1.0, -1.0, -1.0)  # the camera axes' signs; multiplies the columns of world_from_camera
AXES = {  # the same of others; Unity's world is left-handed, too
    "opencv": (1.0, 1.0, 1.0),
    "opengl": OPENCV_FROM_OPENGL,
    "pytorch3d": (-1.0, -1.0, 1.0),
    "unity": (1.0, -1.0, 1.0),
}


@dataclass(frozen=True)
class Cameras:
    """Any batch of cameras that share one picture size.

    world_from_camera: [..., 4, 4] rigid, or all NaN where nobody knows it; intrinsics: [..., 4] focal lengths and
    principal point (fx, fy, cx, cy) in pixels; height, width in pixels.
    """

    world_from_camera: Tensor
    intrinsics: Tensor
    height: int
    width: int

    def __getitem__(self, index: Any) -> "Cameras":
        return Cameras(self.world_from_camera[index], self.intrinsics[index], self.height, self.width)

    def to(self, device: torch.device | str) -> "Cameras":
        return Cameras(self.world_from_camera.to(device), self.intrinsics.to(device), self.height, self.width)

    @property
    def centres(self) -> Tensor:
        """Where the cameras stand, [..., 3]."""
        return self.world_from_camera[..., :3, 3]

    @property
    def posed(self) -> bool:
        """Whether it is known where any of them stands."""
        return not bool(self.world_from_camera[..., :3, :].isnan().all())

    def resized(self, height: int, width: int) -> "Cameras":
        """The same cameras with pictures of another size."""
        scale = self.intrinsics.new_tensor([width / self.width, height / self.height] * 2)
        return Cameras(self.world_from_camera, self.intrinsics * scale, height, width)

    def turned(self, degrees: Tensor) -> "Cameras":
        """The cameras turned about the world's z axis, x towards y, by `degrees` that broadcast to their shape."""
        angle = degrees.to(self.world_from_camera).deg2rad()
        turn = torch.eye(4).to(angle).repeat(*angle.shape, 1, 1)
        turn[..., 0, 0] = turn[..., 1, 1] = angle.cos()
        turn[..., 1, 0] = angle.sin()
        turn[..., 0, 1] = -turn[..., 1, 0]
        return Cameras(turn @ self.world_from_camera, self.intrinsics, self.height, self.width)

    def strided(self, step: int, first_row: int, first_column: int) -> "Cameras":
        """Cameras of the pictures `picture[..., first_row::step, first_column::step]`."""
        first = self.intrinsics.new_tensor([first_column, first_row])
        centre = (self.intrinsics[..., 2:] - 0.5 - first) / step + 0.5
        intrinsics = torch.cat([self.intrinsics[..., :2] / step, centre], -1)
        height, width = (
            len(range(first, size, step)) for first, size in ((first_row, self.height), (first_column, self.width))
        )
        return Cameras(self.world_from_camera, intrinsics, height, width)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points [..., P, 3] -> pixels [..., P, 2] and depth along z [..., P]."""
        rotation = self.world_from_camera[..., :3, :3]
        local = (points - self.centres[..., None, :]) @ rotation
        depth = local[..., 2]
        focal, centre = self.intrinsics[..., None, :2], self.intrinsics[..., None, 2:]
        return local[..., :2] / depth[..., None] * focal + centre, depth

    def rays(self) -> Rays:
        """Unit rays through all pixel centres: [B, V] cameras -> Rays [B, V*H*W, 3], row-major in each picture."""
        y, x = torch.meshgrid(
            torch.arange(self.height, device=self.intrinsics.device) + 0.5,
            torch.arange(self.width, device=self.intrinsics.device) + 0.5,
            indexing="ij",
        )
        pixels = torch.stack([x, y], -1).to(self.intrinsics).flatten(0, 1)
        focal, centre = self.intrinsics[..., None, :2], self.intrinsics[..., None, 2:]
        local = torch.nn.functional.pad((pixels - centre) / focal, (0, 1), value=1.0)
        directions = torch.nn.functional.normalize(local @ self.world_from_camera[..., :3, :3].mT, dim=-1)
        origins = self.centres[..., None, :].expand_as(directions)
        return Rays(origins.flatten(1, 2), directions.flatten(1, 2))


def unposed_cameras(views: int, *, size: int, fov_degrees: float = FOV_DEGREES) -> Cameras:
    """Cameras [V] whose pictures are so wide, and of which nobody knows where they stand."""
    focal = size / 2 / math.tan(math.radians(fov_degrees) / 2)
    matrices = torch.full((views, 4, 4), torch.nan)
    matrices[:, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    return Cameras(matrices, torch.tensor([focal, focal, size / 2, size / 2]).expand(views, 4), size, size)


def signs_of(axes: str, *, usual: str) -> tuple[float, float, float]:
    """What turns the columns of a camera's rotation into OpenCV's; `auto`: the axes that are usual."""
    return AXES[usual if axes == "auto" else axes]


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """world_from_camera [..., 4, 4] of a camera at `eye` that looks at `target`, picture upright along `up`.

    ValueError where that leaves the matrix open: eye and target are one point, or `up` is along the view.
    """
    across = torch.linalg.cross(target - eye, up.expand_as(eye)).norm(dim=-1)
    if not bool((across > 1e-10 * (target - eye).norm(dim=-1) * up.norm(dim=-1)).all()):
        raise ValueError(
            "up: wanted a direction across the view, and eye apart from target; got one along it; choose another up"
        )
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    matrix = torch.eye(4, dtype=eye.dtype).repeat(*eye.shape[:-1], 1, 1)
    matrix[..., :3, :3] = torch.stack([right, down, forward], -1)
    matrix[..., :3, 3] = eye
    return matrix


def orbit_cameras(
    azimuths_degrees: Tensor,
    elevations_degrees: Tensor,
    *,
    size: int,
    distance: float = DISTANCE,
    fov_degrees: float = FOV_DEGREES,
) -> Cameras:
    """Cameras [V] on a sphere round the origin, z up; azimuth 0 looks along -x, elevation 90 straight down."""
    azimuth, elevation = azimuths_degrees.deg2rad(), elevations_degrees.deg2rad()
    eye = distance * torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], -1
    )
    world_from_camera = look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    focal = size / 2 / torch.tensor(fov_degrees / 2).deg2rad().tan()
    intrinsics = torch.stack([focal, focal, focal.new_tensor(size / 2), focal.new_tensor(size / 2)])
    return Cameras(world_from_camera, intrinsics.expand(len(eye), 4), size, size)


def front_camera(size: int, turned: float = 0.0) -> Cameras:
    """The camera [1] that an object faces, `turned` degrees to its left."""
    return orbit_cameras(torch.tensor([FRONT_DEGREES + turned]), torch.zeros(1), size=size)


def in_front(cameras: Cameras) -> Cameras:
    """The same lenses, before what faces them."""
    front = front_camera(1).world_from_camera.to(cameras.world_from_camera)
    return replace(cameras, world_from_camera=front.expand_as(cameras.world_from_camera))
