"""Rays, and where they cross the cube [-1, 1]^3 that holds every object.

A point on a ray is `origin + depth * direction`. Directions have unit length wherever depth is to be metric;
the integrals of `render` are taken over `depth` as it stands.
"""

from typing import NamedTuple

from torch import Tensor


class Rays(NamedTuple):
    """`origins` and `directions`, each [B, R, 3], in world units (object B's own cube)."""

    origins: Tensor
    directions: Tensor


def cube_crossing(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Depths `near <= far` [...] at which rays [..., 3] enter and leave [-1, 1]^3 (slab test; docs/paper.md, A23).

    A ray that misses the cube, or leaves it behind its origin, gets `near == far`: nothing to integrate.
    Differentiable in both arguments.
    """
    tiny = 1e-12
    safe = directions.where(directions.abs() > tiny, directions.new_tensor(tiny).copysign(directions))
    low, high = (-1 - origins) / safe, (1 - origins) / safe
    near = low.minimum(high).amax(-1).clamp_min(0)
    far = low.maximum(high).amin(-1)
    return near, far.maximum(near)
