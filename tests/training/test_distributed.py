"""Two real processes train what one does; randomness, norms and sparse rows are shared rightly."""

import subprocess
import sys
from pathlib import Path

import distributed_trainings
import pytest
import torch
from distributed_trainings import BATCH, HALF, STAGES, STEPS, trained
from processes import environment
from tiny import write_things

from vader3d.geometry.cameras import orbit_cameras
from vader3d.latents import load_latents
from vader3d.randomness import noise_of
from vader3d.render import RenderConfig, Volume, render_views
from vader3d.training.checkpoint import load_state
from vader3d.training.distributed import Processes
from vader3d.training.log import read_metrics


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Both stages, trained alone and by two processes, and begun by the ones and ended by the others."""
    folder = tmp_path_factory.mktemp("processes")
    write_things(folder / "things.zip")
    trained(folder, "whole-alone")
    trained(folder, "again-alone")
    trained(folder, "half-alone", stop=True)
    trained(folder, "accumulated-alone", accumulate=2)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        distributed_trainings.__file__,
        str(folder),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert result.returncode == 0, result.stderr[-4000:]
    (folder / "said").write_text(result.stderr)
    for stage in STAGES:
        assert load_state(folder / "half-together" / stage / "state.pt")["seen"] == HALF
    trained(folder, "half-together")
    return folder


def weights(runs: Path, name: str, stage: str, part: str) -> torch.Tensor:
    state = load_state(runs / name / stage / "state.pt")
    assert state["seen"] == BATCH * STEPS
    return torch.cat([value.double().flatten() for value in state[part].values()])


def losses(runs: Path, name: str, stage: str) -> torch.Tensor:
    lines = read_metrics(runs / name / stage)
    return torch.tensor([[line["loss"], line["gradient_norm"]] for line in lines])


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_train_what_one_does(runs, stage):
    alone, together = losses(runs, "whole-alone", stage), losses(runs, "whole-together", stage)
    assert len(alone) == STEPS
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together[0], alone[0], rtol=1e-5, atol=1e-6)
    for part in ("model", "average"):
        one, two = weights(runs, "whole-alone", stage, part), weights(runs, "whole-together", stage, part)
        assert float((one - two).norm() / one.norm()) < 1e-4


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["half-alone", "half-together"])
def test_the_number_of_processes_may_change_between_the_halves(runs, stage, name):
    torch.testing.assert_close(losses(runs, name, stage), losses(runs, "whole-alone", stage), rtol=1e-4, atol=1e-6)
    one, two = weights(runs, "whole-alone", stage, "model"), weights(runs, name, stage, "model")
    assert float((one - two).norm() / one.norm()) < 1e-4


@pytest.mark.parametrize("stage", STAGES)
def test_equal_seeds_give_equal_runs(runs, stage):
    assert torch.equal(losses(runs, "whole-alone", stage), losses(runs, "again-alone", stage))
    for part in ("model", "average"):
        assert torch.equal(weights(runs, "whole-alone", stage, part), weights(runs, "again-alone", stage, part))


@pytest.mark.parametrize("stage", STAGES)
def test_parts_of_a_batch_are_shared_too(runs, stage):
    alone, together = losses(runs, "accumulated-alone", stage), losses(runs, "accumulated-together", stage)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-6)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(runs):
    """Where no norm looks at the batch."""
    whole, parts = losses(runs, "whole-alone", "diffusion"), losses(runs, "accumulated-alone", "diffusion")
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_only_the_main_process_writes_and_talks(runs):
    for stage in STAGES:
        assert [line["seen"] for line in read_metrics(runs / "whole-together" / stage)] == list(
            range(BATCH, BATCH * STEPS + 1, BATCH)
        )
        assert len(list((runs / "whole-together" / stage / "tensorboard").iterdir())) == 1
    said = (runs / "said").read_text()
    assert said.count(f"autodecoder: stopped at {HALF} objects") == 1
    assert said.count(f"diffusion: going on at {HALF} objects") == 1


def test_two_processes_write_the_latents_that_one_does(runs):
    distributed_trainings.extracted(runs, "latents-alone")
    (one, same, told), (two, others, said) = (
        load_latents(runs / f"latents-{name}.safetensors") for name in ("alone", "together")
    )
    assert one.dtype == two.dtype == torch.float16
    torch.testing.assert_close(two, one, rtol=2e-3, atol=1e-4)
    torch.testing.assert_close(others.median, same.median, rtol=1e-3, atol=1e-4)
    assert said["report"].keys() == told["report"].keys()
    assert said["report"]["rounding"] == pytest.approx(told["report"]["rounding"], rel=0.1)
    assert not list(runs.glob("latents-*.tmp*"))


def test_shares_are_all_of_the_batch_and_disjoint():
    places = list(range(24))
    for part in range(3):
        shares = [places[Processes(rank, 4).share(24, part=part, parts=3)] for rank in range(4)]
        assert [place for share in shares for place in share] == places[8 * part : 8 * part + 8]
    with pytest.raises(
        ValueError, match=r"loop\.batch: wanted a multiple of 6 \(loop\.accumulate 2 x 3 processes\); got 8"
    ):
        Processes(0, 3).share(8, parts=2)


def test_noise_depends_on_the_seed_and_the_place_alone():
    whole = noise_of(range(10, 18), (3, 2), seed=1)
    assert torch.equal(noise_of(range(10, 18)[2:5], (3, 2), seed=1), whole[2:5])
    assert len({tuple(row.flatten().tolist()) for row in whole}) == 8
    assert not torch.equal(noise_of(range(10, 18), (3, 2), seed=2), whole)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_a_share_is_rendered_with_the_noise_of_its_place(backend):
    """Jitter and density noise of the last objects of a batch, rendered by themselves."""
    grid = torch.rand(3, 4, 8, 8, 8) - 0.3
    angles = torch.arange(2) * 40.0
    camera = orbit_cameras(angles, 0 * angles, distance=4, fov_degrees=30, size=9)
    cameras = type(camera)(camera.world_from_camera.expand(3, 2, 4, 4), camera.intrinsics.expand(3, 2, 4), 9, 9)
    config = RenderConfig(samples_per_ray=16, density_noise=0.5)

    def rendered(first: int, place: int, seed: int = 3) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return render_views(
            Volume(grid[first:]),
            cameras[first:],
            config,
            generator=generator,
            noise_factor=1.0,
            first_object=place,
            backend=backend,
        )[0]

    whole = rendered(0, 0)
    torch.testing.assert_close(rendered(2, 2), whole[2:], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(rendered(2, 0), whole[2:], rtol=1e-2, atol=1e-3)
