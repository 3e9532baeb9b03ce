"""What all tests share: seeds, threads, fixtures."""

import os

import pytest
import torch
from fidelity import torch_fidelity  # noqa: F401  a fixture

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: a thread for each, and for each process it starts
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
