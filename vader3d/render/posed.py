"""Volumes whose parts are posed, and the rays they are seen along.

By definition every sample of a ray goes through all parts (`geometry.skinning.at_rest`), and the volume is read where
that leads. Instead the way is found on a coarse grid and interpolated, and the volume is read once for each voxel of a
posed one, which any back-end renders; docs/performance.md says how near that is. One part moves the rays, exactly.
"""

import torch
from torch import Tensor

from vader3d.geometry.rays import Rays
from vader3d.geometry.skinning import at_rest, check_parts, moved
from vader3d.render.resample import resampled
from vader3d.render.volume import Volume

COARSE = 16  # voxels across at which points go through all parts
EMPTY = -20.0  # raw density of what was outside the cube at rest


def enter_poses(volume: Volume, rays: Rays, poses: Tensor) -> tuple[Volume, Rays]:
    """What to render instead of B objects along rays [B, V * R, 3] in V poses each, [B, V, K, 3, 4].

    With one part: the same volume along moved rays. With more: posed volumes along rays [B * V, R, 3], without the K
    skinning channels. ValueError for poses that fit neither the volume nor the rays.
    """
    views, parts = poses.shape[1:3]
    check_parts(poses, volume.grid[:, 4 : 4 + parts])
    if rays.origins.shape[1] % views:
        raise ValueError(f"rays: wanted as many for each of {views} poses; got {rays.origins.shape[1]} in all")
    poses, split = poses.to(rays.origins), Rays(*(tensor.unflatten(1, (views, -1)) for tensor in rays))
    if parts == 1:
        pose = poses[:, :, 0]
        turned = split.directions @ pose[..., :3].mT
        return volume, Rays(moved(split.origins, pose).flatten(1, 2), turned.flatten(1, 2))
    return posed_volume(volume, poses), Rays(*(tensor.flatten(0, 1) for tensor in split))


def posed_volume(volume: Volume, poses: Tensor, *, coarse: int = COARSE) -> Volume:
    """Volumes [B * V, 4 + K', D, H, W] of B objects in V poses each, [B, V, K, 3, 4], over the cube of the posed world.

    The first K of the volume's extra channels are the skinning logits; K' others follow the posed colour and density.
    """
    objects, views, parts = poses.shape[:3]
    grid, size = volume.grid.to(torch.promote_types(volume.grid.dtype, torch.float32)), volume.grid.shape[2:]
    poses = poses.to(grid)
    corners = cube_points((coarse,) * 3).to(grid).expand(objects, views, -1, -1)
    rest, _ = at_rest(corners, poses, grid[:, 4 : 4 + parts], read=read_among_zeros)
    field = rest.reshape(objects * views, *(coarse,) * 3, 3).movedim(-1, 1)
    voxels = cube_points(size).to(grid).expand(objects * views, -1, -1)
    places = resampled(field, voxels).mT.unflatten(0, (objects, views))
    sampled = resampled(torch.cat([grid[:, :4], grid[:, 4 + parts :]], 1), places.unflatten(2, size))
    sampled = sampled.transpose(1, 2).flatten(0, 1).clone()
    outside = (places.detach().abs().amax(-1) > 1).view(-1, *size)
    sampled[:, 3].masked_fill_(outside, EMPTY)
    return volume.with_grid(sampled)


def read_among_zeros(logits: Tensor, places: Tensor) -> Tensor:
    """`geometry.skinning.read_logits`, sooner: a border of zeros goes on as zeros."""
    size = places.new_tensor(logits.shape[:1:-1])
    return resampled(torch.nn.functional.pad(logits, (1,) * 6), places * ((size - 1) / (size + 1)))


def cube_points(size: tuple[int, ...]) -> Tensor:
    """Voxel centres [D * H * W, 3] of a grid over the cube [-1, 1]^3, as (x, y, z)."""
    lines = [torch.linspace(-1, 1, count) for count in size]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1).flatten(0, 2)
