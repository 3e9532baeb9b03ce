"""Both stages on a GPU: the CPU's gradients and steps, and runs that may change between the two."""

from dataclasses import replace

import pytest
import torch
from tiny import THINGS, write_things

from vader3d.autodecoder.train import AutodecoderTask
from vader3d.cli.main import main
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.diffusion.train import DiffusionTask
from vader3d.generate import Generator
from vader3d.latents import robust_statistics
from vader3d.presets import preset
from vader3d.randomness import step_generator
from vader3d.training.distributed import Processes
from vader3d.training.step import GradientStep

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
TINY = preset("tiny")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_things(tmp_path_factory.mktemp("data") / "things.zip", dict(list(THINGS.items())[:4]), views=6)


def task(stage: str, archive, device: str):
    if stage == "autodecoder":
        config = replace(TINY.autodecoder, loop=replace(TINY.autodecoder.loop, precision="float32", batch=4))
        return AutodecoderTask(config, PosedViews(archive, training_views), device=torch.device(device))
    config = replace(TINY.diffusion, loop=replace(TINY.diffusion.loop, precision="float32", batch=4))
    latents = torch.randn(16, *TINY.autodecoder.decoder.latent_shape, generator=torch.Generator().manual_seed(0))
    made = DiffusionTask(config, latents, robust_statistics(latents), device=torch.device(device))
    torch.manual_seed(1)
    for parameter in made.model.parameters():  # last layers are silent at the start
        if not parameter.any():
            parameter.data.copy_(0.02 * torch.randn(parameter.shape))
    return made


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch):
    """Ten bits of a factor would hide a wrong gradient behind rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def gradients(made, device: str) -> dict[str, torch.Tensor]:
    """Of one step, on the CPU."""
    step = GradientStep(
        made,
        processes=Processes(device=torch.device(device)),
        batch=4,
        accumulate=1,
        seed=0,
        recompute=False,
        compiled=False,
        synchronised_norms=False,
    )
    step(objects_seen=0, progress=0.5)
    return {name: p.grad.detach().to("cpu").to_dense() for name, p in made.model.named_parameters()}


@pytest.mark.parametrize("stage", ["autodecoder", "diffusion"])
def test_a_gradient_is_the_cpus(archive, stage):
    """Noise, batches and pixels are drawn alike."""
    here, there = (gradients(task(stage, archive, device), device) for device in ("cpu", "cuda"))
    largest = max(gradient.norm() for gradient in here.values())
    for name, gradient in here.items():
        assert (there[name] - gradient).norm() < 0.02 * gradient.norm() + 1e-3 * largest, name


@pytest.mark.parametrize("stage", ["autodecoder", "diffusion"])
def test_optimisers_make_the_cpus_steps(archive, stage):
    """Two steps along the same random gradients; sparse where a table's are."""
    tasks = [task(stage, archive, device) for device in ("cpu", "cuda")]
    for seed in range(2):
        for made in tasks:
            generator = torch.Generator().manual_seed(seed)
            for name, parameter in made.model.named_parameters():
                gradient = torch.randn(parameter.shape, generator=generator)
                if "table" in name:
                    rows = torch.tensor([[2 * seed, 1]])
                    gradient = torch.sparse_coo_tensor(rows, gradient[rows[0]], gradient.shape)
                parameter.grad = gradient.to(parameter.device)
            for optimiser in made.optimisers:
                optimiser.step()
    here, there = (dict(made.model.named_parameters()) for made in tasks)
    for name, parameter in here.items():
        torch.testing.assert_close(there[name].cpu(), parameter, rtol=1e-3, atol=1e-4, msg=name)


def test_losses_name_the_same_things(archive):
    one, two = (task("autodecoder", archive, device) for device in ("cpu", "cuda"))
    asked = {"objects_seen": 8, "batch": 4, "generator": step_generator(0, 8)}
    assert one.names(**asked, share=slice(None)) == two.names(**asked, share=slice(None))


def test_a_run_moves_between_gpu_and_cpu(archive, tmp_path):
    """Begun on a GPU, gone on with on a CPU, used on both."""
    data, stage1, stage2 = str(archive.path), tmp_path / "ae", tmp_path / "gen"
    tiny = ["--preset", "tiny", "--set", "loop.batch=4"]
    for device, objects in (("cuda", 40), ("cpu", 48), ("cuda", 80)):
        settings = ["--set", f"loop.device={device}", "--set", f"loop.objects_seen={objects}"]
        main(["train", "autodecoder", "--data", data, "--output", str(stage1), *tiny, *settings])
    for device, objects in (("cuda", 64), ("cpu", 96)):
        settings = ["--set", f"loop.device={device}", "--set", f"loop.objects_seen={objects}"]
        main(
            ["train", "diffusion", "--autodecoder", str(stage1), "--output", str(stage2), "--preset", "tiny", *settings]
        )
    there, here = (Generator.from_pretrained(stage2, device=device) for device in ("cuda", "cpu"))
    grids = [made.decode(made.sample_latents([0, 1], steps=4)).grid.cpu().float() for made in (there, here)]
    assert (grids[0] - grids[1]).abs().max() < 0.05 * grids[1].abs().max()
