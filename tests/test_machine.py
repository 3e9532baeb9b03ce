"""bfloat16 is chosen where a machine computes in it, float32 where it would be emulated."""

import pytest
import torch

from vader3d.machine import autocast, working_dtype


@pytest.mark.parametrize("has_units", [True, False])
def test_auto_takes_bfloat16_only_where_the_cpu_has_it(monkeypatch, has_units):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: has_units, raising=False)
    wanted = torch.bfloat16 if has_units else torch.float32
    assert working_dtype("auto", "cpu") == wanted
    with autocast("auto", torch.device("cpu")):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == wanted


@pytest.mark.parametrize("supported", [True, False])
def test_auto_takes_bfloat16_only_where_the_gpu_has_it(monkeypatch, supported):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: supported)
    assert working_dtype("auto", "cuda:1") == (torch.bfloat16 if supported else torch.float32)


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_a_named_type_is_taken_whatever_the_machine(monkeypatch, name):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: name == "float32", raising=False)
    assert working_dtype(name, "cpu") == getattr(torch, name)


def test_an_older_torch_that_cannot_tell_computes_in_float32(monkeypatch):
    monkeypatch.delattr("torch.cpu._is_amx_tile_supported", raising=False)
    assert working_dtype("auto", "cpu") == torch.float32
