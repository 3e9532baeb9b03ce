"""The contract between the stages: docs/paper.md A10-A12."""

import os
from pathlib import Path

import pytest
import torch
from counted import largest_made
from safetensors.torch import load_file

from vader3d import latents as module
from vader3d.config import config_from_dict, config_to_dict
from vader3d.latents import (
    LatentConfig,
    LatentStatistics,
    LatentsWriter,
    chunks,
    distribution,
    latent_statistics,
    load_latents,
    robust_statistics,
    save_latents,
)
from vader3d.snapshots import save_snapshot

GROUPINGS = ("global", "channel", "voxel")
SHAPES = {"global": (1, 1, 1, 1, 1), "channel": (1, 6, 1, 1, 1), "voxel": (1, 6, 3, 4, 5)}


def latents(count: int = 64, std: float = 3.0, mean: float = 2.0) -> torch.Tensor:
    return mean + std * torch.randn(count, 6, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("per", GROUPINGS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 1 / 3])
def test_denormalise_inverts_normalise(per, scale):
    raw = latents()
    statistics = robust_statistics(raw, per=per, latent_scale=scale)
    assert statistics.median.shape == statistics.spread.shape == SHAPES[per]
    torch.testing.assert_close(statistics.denormalise(statistics.normalise(raw)), raw, rtol=1e-6, atol=1e-5)


def test_power_of_two_spreads_are_inverted_bit_for_bit():
    raw = latents()
    statistics = LatentStatistics(torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 4.0), 0.5)
    assert torch.equal(statistics.denormalise(statistics.normalise(raw)), raw)


@pytest.mark.parametrize("per", GROUPINGS)
def test_normal_latents_come_out_with_the_scale_as_their_deviation(per):
    raw = latents(count=2000)
    normalised = robust_statistics(raw, per=per, latent_scale=0.5).normalise(raw)
    assert float(normalised.std()) == pytest.approx(0.5, rel=0.03)
    assert float(normalised.median()) == pytest.approx(0.0, abs=0.01)


def test_each_channel_gets_its_own_scale():
    raw = latents(count=500) * torch.tensor([1.0, 10, 100, 0.1, 1, 1]).view(1, 6, 1, 1, 1)
    deviations = robust_statistics(raw, per="channel").normalise(raw).transpose(0, 1).flatten(1).std(1)
    torch.testing.assert_close(deviations, torch.full((6,), 0.5), rtol=0.05, atol=0.0)


def test_one_outlier_changes_nothing():
    raw = latents()
    spoiled = raw.clone()
    spoiled[3, 2, 1, 0, 4] = 1e6
    clean, robust = robust_statistics(raw), robust_statistics(spoiled)
    torch.testing.assert_close(robust.spread, clean.spread, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(robust.median, clean.median, rtol=0.0, atol=1e-2)


def test_the_clip_is_in_robust_deviations_and_its_share_is_told():
    raw = latents(std=3.0, mean=0.0)
    statistics = robust_statistics(raw, latent_scale=0.5, clip=2.0)
    assert float(statistics.normalise(raw).abs().max()) == 1.0  # 2 deviations of 0.5
    assert statistics.clipped_share(raw) == pytest.approx(0.0455, abs=0.01)  # |N(0, 1)| > 2
    inside = (raw - statistics.median).abs() < 2 * statistics.spread
    kept = statistics.denormalise(statistics.normalise(raw))
    torch.testing.assert_close(kept[inside], raw[inside], rtol=1e-6, atol=1e-5)
    assert robust_statistics(raw).clipped_share(raw) == 0.0


def test_latents_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match="interquartile range of 0"):
        robust_statistics(torch.ones(8, 6, 3, 4, 5))


@pytest.mark.parametrize("per", ["channel", "voxel"])
def test_a_dead_channel_stays_finite(per):
    raw = latents()
    raw[:, 2] = 7.0
    statistics = robust_statistics(raw, per=per)
    normalised = statistics.normalise(raw)
    assert normalised.isfinite().all()
    assert (normalised[:, 2] == 0).all()
    torch.testing.assert_close(statistics.denormalise(normalised), raw, rtol=1e-6, atol=1e-5)


def test_more_latents_than_quantile_takes_at_once():
    raw = torch.randn(9, 8, 64, 64, 64)  # 2^24 elements and more
    assert raw.numel() > 1 << 24
    for per in ("global", "channel"):
        assert float(robust_statistics(raw, per=per).spread.mean()) == pytest.approx(1.0, rel=0.01)


def test_the_spread_of_more_latents_than_are_looked_at_knows_every_place(monkeypatch):
    """Every fourth place hardly varies: whoever looks at every fourth number sees those alone, or none of them."""
    monkeypatch.setattr(module, "QUANTILE_NUMBERS", 1 << 15)
    scale = torch.tensor([0.1, 1.0, 1.0, 1.0]).repeat(128).view(8, 8, 8)
    raw = scale * torch.randn(256, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    quarters = torch.quantile(raw.flatten(), torch.tensor([0.25, 0.75]))
    for per in ("global", "channel"):
        spread = robust_statistics(raw, per=per).spread
        assert float(spread) == pytest.approx(0.7413 * float(quarters[1] - quarters[0]), rel=0.03)


@pytest.mark.parametrize(("per", "objects"), [("global", 16), ("channel", 32), ("voxel", 64)])
def test_whole_latents_of_random_objects_are_looked_at_where_there_are_too_many(per, objects, monkeypatch):
    """2 channels of 512 places, numbered from 0; 1000 objects, numbered in thousands above; too many to be counted."""
    monkeypatch.setattr(module, "COUNTED_GROUPS", 0)
    monkeypatch.setattr(module, "QUANTILE_NUMBERS", 1 << 14)
    monkeypatch.setattr(module, "SAMPLED_NUMBERS", 1 << 16)
    raw = (1024 * torch.arange(1000.0)[:, None] + torch.arange(1024.0)).view(1000, 2, 8, 8, 8)
    seen, quantile = [], torch.quantile
    monkeypatch.setattr(
        torch, "quantile", lambda part, *rest, **more: (seen.append(part), quantile(part, *rest, **more))[1]
    )
    first = robust_statistics(raw, per=per)
    numbers = torch.cat([part.flatten() for part in seen]).long()
    assert len(numbers) == objects * 1024
    assert len((numbers % 1024).unique()) == 1024
    chosen = (numbers // 1024).unique()
    assert len(chosen) == objects
    assert len((chosen[1:] - chosen[:-1]).unique()) > 5
    assert torch.equal(robust_statistics(raw, per=per).spread, first.spread)


@pytest.mark.parametrize("per", ["global", "channel"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_counted_quantiles_are_those_of_sorting(per, kind, monkeypatch):
    """Over all numbers, of either sign, a part at a time; the largest tensor that is made is a part's."""
    raw = latents(count=300, mean=-0.5).to(kind)
    raw[0, :, 0, 0, 0], raw[1, :, 0, 0, 0] = 0.0, -0.0
    groups, _ = module.grouped(raw, per)
    monkeypatch.setattr(module, "CHUNK", 8000)
    with largest_made() as largest:
        found = module.counted_quantiles(groups, (0.25, 0.5, 0.75))
    assert largest.bytes <= 8 * 8000
    rows = groups.transpose(0, 1).flatten(1).float().sort(dim=1).values
    wanted = torch.stack([rows[:, int(level * (rows.shape[1] - 1))] for level in (0.25, 0.5, 0.75)])
    assert torch.equal(found, wanted)
    monkeypatch.setattr(module, "QUANTILE_NUMBERS", 100)
    monkeypatch.setattr(torch, "quantile", None)  # nothing is sorted
    statistics = robust_statistics(raw, per=per)
    torch.testing.assert_close(statistics.median.flatten(), wanted[1], rtol=0.0, atol=0.0)
    torch.testing.assert_close(statistics.spread.flatten(), 0.7413 * (wanted[2] - wanted[0]), rtol=1e-6, atol=0.0)


def test_half_precision_is_half_the_bytes_and_what_it_costs_is_counted(tmp_path):
    raw, path = latents(), tmp_path / "latents.safetensors"
    with LatentsWriter(path, tuple(raw.shape), {}, stored="float16") as writer:
        for part in raw.split(5):
            writer.add(part)
        lost = (raw.half().double() - raw.double()).abs()
        torch.testing.assert_close(writer.rounding, torch.stack([lost.square().sum(), lost.max()]))
        statistics = robust_statistics(writer.written)
        writer.finish(statistics, {})
    loaded, found, _ = load_latents(path)
    assert loaded.dtype == torch.float16
    assert torch.equal(loaded, raw.half())
    assert found.normalise(loaded[:3]).dtype == torch.float32
    assert torch.equal(found.median, statistics.median)
    assert path.stat().st_size < 2 * raw.numel() + module.REPORT_BYTES + 2000
    if Path("/proc/self/maps").exists():  # no copy in float32 was made
        assert str(path) in Path("/proc/self/maps").read_text()


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    raw = latents(count=2)
    raw[1, 0, 0, 0, 0] = 7e4
    with (
        pytest.raises(ValueError, match=r"latents\.stored: wanted numbers that float16 holds; got 70000; set float32"),
        LatentsWriter(tmp_path / "latents.safetensors", tuple(raw.shape), {}, stored="float16") as writer,
    ):
        writer.add(raw)
    assert [*tmp_path.iterdir()] == []


def test_another_process_helps_to_fill_the_file(tmp_path):
    raw, path = latents(count=9), tmp_path / "latents.safetensors"
    with LatentsWriter(path, tuple(raw.shape), {}) as writer:
        with LatentsWriter(path, tuple(raw.shape), {}, help=os.getpid()) as helper:
            helper.begin(4)
            helper.add(raw[4:])
        assert writer.temporary.exists()  # its maker's to delete
        writer.add(raw[:4])
        assert torch.equal(writer.written, raw)
        writer.finish(robust_statistics(raw), {})
    assert torch.equal(load_latents(path)[0], raw)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux says what is mapped")
def test_a_step_of_stage_2_reads_its_own_latents_only(tmp_path):
    """Of a file that no memory holds: 10^6 latents of 4 kB, a sparse file; a batch's bytes are made, no more."""
    path, shape = tmp_path / "latents.safetensors", (10**6, 4, 8, 8, 4)
    with LatentsWriter(path, shape, {}, stored="float16") as writer:
        writer.begin(shape[0] - 1)
        writer.add(torch.ones(1, *shape[1:]))
        writer.finish(LatentStatistics(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)), {})
    latents, statistics, _ = load_latents(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    with largest_made() as largest:
        clean = statistics.normalise(latents[torch.tensor([5, 999_999])])
    assert largest.bytes <= clean.nbytes
    assert (float(clean[0].max()), float(clean[1].min())) == (0.0, 0.5)


@pytest.mark.parametrize("method", ["robust", "moments"])
@pytest.mark.parametrize("per", GROUPINGS)
def test_all_that_is_known_of_latents_is_found_a_part_at_a_time(per, method, monkeypatch, tmp_path):
    raw = latents(count=400)
    whole = latent_statistics(raw, LatentConfig(per=per, method=method, clip=2.0))
    report = distribution([raw])
    for name, numbers in (("CHUNK", 8000), ("QUANTILE_NUMBERS", 1 << 14), ("SAMPLED_NUMBERS", 1 << 14)):
        monkeypatch.setattr(module, name, numbers)
    with LatentsWriter(tmp_path / "latents.safetensors", tuple(raw.shape), {}) as writer, largest_made() as largest:
        for part in raw.split(7):
            writer.add(part)
        written = writer.written
        statistics = latent_statistics(written, LatentConfig(per=per, method=method, clip=2.0))
        share = statistics.clipped_share(written)
        inside = distribution(map(statistics.normalise, chunks(written)))
        found = distribution(chunks(written))
    assert largest.bytes <= 1 << 16 < raw.nbytes / 8
    assert found == pytest.approx(report, rel=1e-9)
    assert share == pytest.approx(float(((raw - statistics.median) / statistics.spread).abs().gt(2).float().mean()))
    assert inside["largest"] <= 1.0
    if method == "moments":
        torch.testing.assert_close(statistics.spread, whole.spread, rtol=1e-6, atol=0.0)
    assert float(statistics.spread.mean()) == pytest.approx(float(whole.spread.mean()), rel=0.1)


def test_the_distribution_says_how_heavy_the_tails_are():
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    report = distribution([3 * normal + 1])
    assert report["mean"] == pytest.approx(1, abs=0.05)
    assert report["std"] == pytest.approx(3, rel=0.02)
    assert report["kurtosis"] == pytest.approx(0, abs=0.1)
    assert distribution([normal, torch.tensor([1e3])])["kurtosis"] > 100


def test_latents_survive_the_disk(tmp_path):
    raw, header = latents(), {"report": {"clip": 5.0}, "names": ["a", "b"]}
    statistics = robust_statistics(raw, per="channel", clip=5.0)
    save_latents(tmp_path / "latents.safetensors", raw, statistics, header)
    loaded, found, read = load_latents(tmp_path / "latents.safetensors")
    assert torch.equal(loaded, raw)
    assert torch.equal(found.median, statistics.median)
    assert torch.equal(found.spread, statistics.spread)
    assert (found.latent_scale, found.clip) == (0.5, 5.0)
    assert read["names"] == ["a", "b"]


def test_latents_written_in_parts_are_a_safetensors_file_as_any_and_are_mapped(tmp_path):
    raw, path = latents(), tmp_path / "latents.safetensors"
    statistics = robust_statistics(raw)
    with LatentsWriter(path, tuple(raw.shape), {"objects": list(range(5000))}) as writer:
        for part in raw.split(5):
            writer.add(part)
        assert torch.equal(writer.written, raw)
        writer.finish(statistics, {"report": {"psnr_db": 30.0}})
    tensors = load_file(path)
    assert torch.equal(tensors["latents"], raw)
    assert torch.equal(tensors["spread"], statistics.spread)
    loaded, _, header = load_latents(path)
    assert torch.equal(loaded, raw)
    assert (header["objects"][-1], header["report"]["psnr_db"]) == (4999, 30.0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if Path("/proc/self/maps").exists():
        assert str(path) in Path("/proc/self/maps").read_text()


def test_latents_that_are_not_finished_leave_nothing(tmp_path):
    with LatentsWriter(tmp_path / "latents.safetensors", (4, 6, 3, 4, 5), {}) as writer:
        writer.add(latents(count=2))
        assert [*tmp_path.iterdir()] == [writer.temporary]
    assert [*tmp_path.iterdir()] == []


def test_other_snapshots_are_no_latents(tmp_path):
    save_snapshot(tmp_path / "model.safetensors", {"a": torch.zeros(1)}, {"kind": "denoiser"})
    with pytest.raises(ValueError, match=r"wanted latents.*'denoiser'"):
        load_latents(tmp_path / "model.safetensors")


@pytest.mark.parametrize("per", GROUPINGS)
def test_moments_bring_every_group_to_mean_zero_and_the_scale(per):
    raw = latents(count=500) * torch.tensor([1.0, 10, 100, 0.1, 1, 1]).view(1, 6, 1, 1, 1)
    statistics = latent_statistics(raw, LatentConfig(method="moments", per=per, clip=None))
    assert statistics.median.shape == statistics.spread.shape == SHAPES[per]
    normalised = statistics.normalise(raw).double()
    groups = {"global": normalised.reshape(1, -1), "channel": normalised.transpose(0, 1).flatten(1)}
    groups["voxel"] = normalised.flatten(1).T
    torch.testing.assert_close(groups[per].mean(1), torch.zeros(len(groups[per])).double(), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(groups[per].std(1), torch.full((len(groups[per]),), 0.5).double(), rtol=1e-4, atol=0.0)


def test_one_outlier_spoils_moments_but_not_the_robust_statistics():
    raw = latents()
    raw[3, 2, 1, 0, 4] = 1e6
    spreads = [float(latent_statistics(raw, LatentConfig(method=method)).spread) for method in ("robust", "moments")]
    assert spreads[0] == pytest.approx(3.0, rel=0.05)
    assert spreads[1] > 1000


def test_configurations_from_before_the_method_are_robust():
    old = config_to_dict(LatentConfig())
    del old["method"]
    assert config_from_dict(LatentConfig, old) == LatentConfig()
    raw = latents()
    wanted = robust_statistics(raw, per="channel", clip=3.0)
    found = latent_statistics(raw, LatentConfig(per="channel", clip=3.0))
    assert torch.equal(found.median, wanted.median)
    assert torch.equal(found.spread, wanted.spread)
    assert found.clip == 3.0


def test_latents_all_alike_are_refused_by_moments_too():
    with pytest.raises(ValueError, match="wanted unlike ones"):
        latent_statistics(torch.ones(8, 6, 3, 4, 5), LatentConfig(method="moments"))
