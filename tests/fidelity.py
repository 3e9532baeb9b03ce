"""A judge of other hands that must not be installed beside torchmetrics."""

import importlib
import sys
import types
from pathlib import Path

import pytest

JUDGES = Path(sys.prefix, "judges")  # where `make` puts torch-fidelity, by itself: it asks for torchvision


class Absent(types.ModuleType):
    """Stands for torchvision, of which torch-fidelity takes names that no test uses."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture
def torch_fidelity(monkeypatch):
    """torch-fidelity, without the torchvision that its other parts need."""
    monkeypatch.syspath_prepend(JUDGES)
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        module, (parent, _, last) = Absent(name), name.rpartition(".")
        monkeypatch.setitem(sys.modules, name, module)
        if parent:
            setattr(sys.modules[parent], last, module)
    try:
        yield importlib.import_module("torch_fidelity")
    except ModuleNotFoundError:
        pytest.skip(f"torch-fidelity is not there: pip install --no-deps --target {JUDGES} torch-fidelity")
    finally:
        for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
            del sys.modules[name]
