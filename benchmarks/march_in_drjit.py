"""Volume rendering written in Dr.Jit, for LLVM: the benchmark's independent comparison."""

import drjit as dr
import torch
from drjit.llvm.ad import Array3f, Float, TensorXf, Texture3f, UInt32
from torch import Tensor


@dr.syntax
def march(texture, sizes, origin, direction, start, step, samples):
    """Red, green, blue, opacity and depth of all rays of one object."""
    zero = dr.zeros(Float, dr.width(start))
    light, red, green, blue, opacity, depth = zero + 1, zero + 0, zero + 0, zero + 0, zero + 0, zero + 0
    i = UInt32(0)
    while dr.hint(i < samples, max_iterations=samples, exclude=[texture, origin, direction, start, step]):
        along = start + (Float(i) + 0.5) * step
        point = origin + along * direction
        place = Array3f(
            ((point.x + 1) * 0.5 * (sizes[0] - 1) + 0.5) / sizes[0],
            ((point.y + 1) * 0.5 * (sizes[1] - 1) + 0.5) / sizes[1],
            ((point.z + 1) * 0.5 * (sizes[2] - 1) + 0.5) / sizes[2],
        )
        value = texture.eval(place)
        passed = dr.exp(-dr.maximum(value[3], 0) * step)
        weight = light * (1 - passed)
        light = light * passed
        red = red + weight * value[0]
        green = green + weight * value[1]
        blue = blue + weight * value[2]
        opacity = opacity + weight
        depth = depth + weight * along
        i += 1
    return red, green, blue, opacity, depth


def render(
    volume: Tensor, origins: Tensor, directions: Tensor, start: Tensor, step: Tensor, samples: int, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """One object's grid [4, D, H, W] and rays [R, 3] -> [R, 5], and the gradient of the sum of all that to the grid."""
    values = TensorXf(volume.permute(1, 2, 3, 0).contiguous().numpy())
    if with_gradient:
        dr.enable_grad(values)
    texture = Texture3f(values, use_accel=False, wrap_mode=dr.WrapMode.Clamp)
    rays = [Array3f(*(Float(rows[:, k].contiguous().numpy()) for k in range(3))) for rows in (origins, directions)]
    sizes = volume.shape[:0:-1]
    sums = march(texture, sizes, *rays, Float(start.numpy()), Float(step.numpy()), samples)
    dr.eval(sums)
    gradient = None
    if with_gradient:
        dr.backward(dr.sum(sums[0] + sums[1] + sums[2] + sums[3] + sums[4]))
        gradient = torch.from_numpy(dr.grad(values).numpy()).permute(3, 0, 1, 2)
    return torch.stack([torch.from_numpy(dr.detach(value).numpy()) for value in sums], -1), gradient
