"""Weights in half precision: half the bytes, the same pictures."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from judged_models import write_model
from tiny import ring, write_things
from torch import Tensor

from vader3d.autodecoder.model import load_autodecoder
from vader3d.diffusion.model import load_denoiser
from vader3d.generate import Generator
from vader3d.hub import AUTODECODER, MODEL, save_model
from vader3d.measures.pictures import psnr
from vader3d.snapshots import halved, load_snapshot, save_snapshot


def picture_of(folder: Path) -> Tensor:
    """The first two objects of a model from four sides, [2, 4, 3, 24, 24]."""
    objects = Generator.from_pretrained(folder, device="cpu")(count=2, num_inference_steps=4)
    return torch.stack([asset.render(ring(4, 24))[0] for asset in objects])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model in full and in half precision."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "full", write_things(folder / "tiny.zip"))
    return folder / "full", save_model(folder / "full", folder / "half", half=True)


def test_pictures_from_half_precision_agree(models):
    full, half = map(picture_of, models)
    assert full.std() > 0.02  # they show something
    assert not torch.equal(full, half)
    assert float(psnr(full, half).min()) > 45


def test_halves_are_float32_in_memory_and_statistics_float32_throughout(models):
    full, half = models
    stored = {name: load_stored(half / name) for name in (MODEL, AUTODECODER)}
    weights = {t.dtype for one in stored.values() for n, t in one.items() if n.endswith("weight") and t.ndim > 1}
    assert weights == {torch.float16}
    for name in ("median", "spread", "denoiser.prior.mean", "denoiser.prior.basis"):
        assert stored[MODEL][name].dtype == torch.float32
        assert torch.equal(stored[MODEL][name], load_stored(full / MODEL)[name])
    for module in (load_autodecoder(half / AUTODECODER)[0], load_denoiser(half / MODEL)[0]):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def load_stored(path: Path) -> dict[str, Tensor]:
    """As the file has them."""
    from safetensors.torch import load_file

    return load_file(path)


def test_what_float16_cannot_hold_stays(tmp_path):
    tensors = {
        "large.weight": torch.full((2, 2), 1e5),
        "fits.weight": torch.ones(2, 2),
        "norm.running_var": torch.full((2,), 1e-9),
        "steps": torch.ones(2, 2, dtype=torch.int64),
    }
    half = halved(tensors)
    assert [half[name].dtype for name in tensors] == [torch.float32, torch.float16, torch.float32, torch.int64]
    save_snapshot(tmp_path / "some.safetensors", half | {"brain": torch.ones(1, dtype=torch.bfloat16)}, {})
    loaded = load_snapshot(tmp_path / "some.safetensors")[0]
    assert {loaded[name].dtype for name in ("large.weight", "fits.weight", "brain")} == {torch.float32}
    assert float(loaded["large.weight"][0, 0]) == 1e5


def test_loading_a_model_loads_no_compiler():
    """2.5 seconds of every command that makes something."""
    code = (
        "import sys; from vader3d.autodecoder.model import load_autodecoder as load; from vader3d import hub; "
        "load(hub.autodecoder_file(hub.model_folder())); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
