"""Chunks keep the form in which earlier versions wrote them, so that evaluations begun with those go on."""

import torch

from vader3d.evaluation.chunks import Measured, Measurement, read_chunk, write_chunk
from vader3d.snapshots import load_snapshot, save_snapshot

MEASUREMENT = Measurement("reference", "pictures", 3, {"seed": 0, "size": [24, 24]}, lambda numbers: Measured())
FINGERPRINT = "0c3a25d850b875f24a474b48a1fe2ce1611716ecd7651f30da993463fc9fb8e3"


def test_the_fingerprint_and_the_header_are_those_of_earlier_versions(tmp_path):
    write_chunk(MEASUREMENT, tmp_path, [0, 1, 2], Measured({"features": torch.ones(3, 2)}, seconds=2.0))
    _, header = load_snapshot(tmp_path / "reference-00000.safetensors")
    assert header["stage"] == MEASUREMENT.fingerprint == FINGERPRINT
    assert {"kind", "stage", "items", "content", "empty", "excluded", "seconds"} <= header.keys()


def test_a_chunk_of_another_measurement_is_not_taken(tmp_path):
    write_chunk(MEASUREMENT, tmp_path, [0, 1, 2], Measured({"features": torch.ones(3, 2)}))
    assert read_chunk(MEASUREMENT, tmp_path, [0, 1, 2]) is not None
    path = tmp_path / "reference-00000.safetensors"
    tensors, header = load_snapshot(path)
    save_snapshot(path, tensors, header | {"stage": "0" * 64})
    assert read_chunk(MEASUREMENT, tmp_path, [0, 1, 2]) is None
