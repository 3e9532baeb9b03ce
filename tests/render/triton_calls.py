"""What both files of Triton tests share: where kernels run, scenes, and calls with their gradients.

The kernels run on a GPU where there is one. Elsewhere one test of each file runs it again in a process of its own under
Triton's interpreter, which has to be chosen before the kernels are imported.
"""

import os
import re
import subprocess
import sys

import pytest
import torch

from vader3d.render import March, Volume, reference
from vader3d.render import triton as backend

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED or not torch.cuda.is_available() else "cuda"
runs_kernels = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="run by the test of the interpreter")
needs_interpreter = pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="the kernels run in this very process")
on_cuda = pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
MARCH = March(9, early_stop=0.0)
READ = ("relu", 3.0)  # activation and scale of densities


@pytest.fixture(autouse=True)
def wide_programs_and_nan(monkeypatch):
    """The interpreter's time goes by the program, so let it have few; and let what is not written be seen."""
    if INTERPRETED:
        monkeypatch.setattr(backend, "WARP", 256)
    for name in ("empty_outputs", "empty_gradients"):
        empty = getattr(backend, name)
        monkeypatch.setattr(backend, name, lambda *args, empty=empty: tuple(x.fill_(torch.nan) for x in empty(*args)))


def passed_under_interpreter(file):
    """How many tests of the file pass in a process where Triton interprets its kernels; none may fail."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(re.search(r"(\d+) passed", done.stdout)[1])


def scene(objects=2, channels=4, rays=31, size=(5, 6, 7), seed=0):
    """A random grid, and rays from outside and inside towards random points of the cube; every tenth one misses."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(objects, channels, *size, generator=generator)
    origins = torch.randn(objects, rays, 3, generator=generator) * 1.5
    targets = torch.rand(objects, rays, 3, generator=generator) * 1.6 - 0.8
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    directions[:, ::10] *= -1
    return grid, origins, directions


def rendered(grid, origins, directions, *, read=READ, march=MARCH, by=backend):
    """Features, opacity, depth of a grid that is read so."""
    return by.render_rays(Volume(grid, *read), origins, directions, march)


def values_and_gradients(inputs, dtype, weights, **call):
    """Outputs and the gradients to every input of their weighted sum, as float64 on the CPU."""
    inputs = [tensor.detach().to(DEVICE, dtype).requires_grad_() for tensor in inputs]
    outputs = rendered(*inputs, **call)
    loss = sum((output * weight.to(output)).sum() for output, weight in zip(outputs, weights, strict=True))
    gradients = torch.autograd.grad(loss, inputs)
    return [tensor.detach().double().cpu() for tensor in (*outputs, *gradients)]


def output_weights(inputs):
    """One random weight for each number of the outputs."""
    grid, origins, _ = inputs
    generator = torch.Generator().manual_seed(1)
    shapes = ((*origins.shape[:2], grid.shape[1] - 1), origins.shape[:2], origins.shape[:2])
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def assert_equal_to_reference(inputs, **call):
    """Values and gradients, elementwise and as vectors, against the reference in float64."""
    weights = output_weights(inputs)
    targets = values_and_gradients(inputs, torch.float64, weights, by=reference, **call)
    results = values_and_gradients(inputs, torch.float32, weights, **call)
    names = ("features", "opacity", "depth", "grid", "origins", "directions")
    for name, target, result in zip(names, targets, results, strict=True):
        scale = max(1.0, float(target.abs().max()))
        torch.testing.assert_close(
            result, target, rtol=1e-5, atol=1e-5 * scale, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert (result - target).norm() <= 1e-5 * target.norm() + 1e-12, name
        if target.norm() > 0:
            assert torch.cosine_similarity(result.flatten(), target.flatten(), 0) > 1 - 1e-9, name
