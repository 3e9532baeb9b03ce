"""Moving averages against their closed form."""

import pytest
import torch
from torch import nn

from vader3d.training.ema import MovingAverage


class Point(nn.Module):
    def __init__(self, value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value], dtype=torch.float64))
        self.register_buffer("objects_seen", torch.tensor([value]))


def test_the_distance_to_a_constant_halves_every_half_life():
    average, module = MovingAverage(Point(0.0), half_life=64.0, ramp=1e9), Point(1.0)
    for step in range(1, 33):
        average.update(module, batch=8, objects_seen=8 * step)
        assert float(average.module.weight.detach()) == pytest.approx(1 - 0.5 ** (8 * step / 64))


def test_any_path_is_weighted_by_age():
    path = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    average, module = MovingAverage(Point(0.0), half_life=40.0, ramp=1e9), Point(0.0)
    for step, value in enumerate(path, 1):
        module.weight.data[:] = value
        average.update(module, batch=10, objects_seen=10 * step)
    decay = 0.5 ** (10 / 40)
    expected = sum((1 - decay) * decay ** (19 - i) * value for i, value in enumerate(path))
    assert float(average.module.weight.detach()) == pytest.approx(float(expected))


def test_the_start_is_forgotten_early_on():
    average, module = MovingAverage(Point(100.0), half_life=1e9, ramp=0.05), Point(1.0)
    for step in range(1, 101):
        average.update(module, batch=4, objects_seen=4 * step)
    assert float(average.module.weight.detach()) == pytest.approx(1, abs=1e-4)


def test_the_ramp_ends_at_the_half_life():
    slow, ramped = (MovingAverage(Point(0.0), half_life=10.0, ramp=ramp) for ramp in (1e9, 0.05))
    for average in (slow, ramped):
        average.update(Point(1.0), batch=4, objects_seen=10_000)
    assert torch.equal(slow.module.weight, ramped.module.weight)


def test_the_average_is_a_frozen_copy_in_evaluation_mode():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    average = MovingAverage(module, half_life=1.0)
    assert not average.module.training
    assert module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    with torch.no_grad():
        module[0].weight.add_(1)
    assert not torch.equal(average.module[0].weight, module[0].weight)


def test_buffers_are_copied_and_can_be_put_back():
    average, module = MovingAverage(Point(0.0), half_life=1e9), Point(7.0)
    average.update(module, batch=1, objects_seen=1)
    assert float(average.module.objects_seen) == 7
    module.objects_seen.fill_(torch.nan)
    average.restore_buffers(module)
    assert float(module.objects_seen) == 7


class Lazy(nn.Module):
    """A layer and a table that no average follows."""

    def __init__(self):
        super().__init__()
        self.layer, self.codes = nn.Linear(2, 2), nn.Embedding(5, 2)

    def not_averaged(self) -> list[nn.Parameter]:
        return [self.codes.weight]


def test_what_is_not_averaged_is_shared_and_still_learns():
    module = Lazy()
    average = MovingAverage(module, half_life=1e9, ramp=0.05)
    assert module.codes.weight.requires_grad
    assert not any(p.requires_grad for p in average.module.parameters())
    with torch.no_grad():
        module.codes.weight.add_(1)
        module.layer.weight.add_(1)
    average.update(module, batch=1, objects_seen=10**6)
    assert torch.equal(average.module.codes.weight, module.codes.weight)
    assert average.module.codes.weight.data_ptr() == module.codes.weight.data_ptr()
    assert not torch.equal(average.module.layer.weight, module.layer.weight)


def test_loading_an_average_keeps_what_is_shared():
    module, other = Lazy(), Lazy()
    average = MovingAverage(module, half_life=1.0)
    module.load_state_dict(other.state_dict())
    average.module.load_state_dict(other.state_dict())
    with torch.no_grad():
        module.codes.weight.add_(1)
    assert torch.equal(average.module.codes.weight, module.codes.weight)
