"""A variant evaluated by its study's protocol, chunk by chunk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vader3d.config import config_to_dict, fingerprint
from vader3d.data.dataset import DataSet
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.protocol import Protocol, load_protocol
from vader3d.evaluation.runner import CHUNKS, ProtocolRun, chosen_network, chosen_perceptual, evaluate
from vader3d.evaluation.score_table import ratios_of
from vader3d.files import held, write_text
from vader3d.study.plans import Study
from vader3d.training.run import flatten
from vader3d.untrusted import read_json

REPORT = "report.json"


def protocol_facts(study: Study, protocol: Protocol) -> dict[str, Any]:
    """The protocol of all variants, where it departs from the study's file, and the frozen networks it looks through.

    ValueError, ImportError or OSError: no weights.
    """
    cpu = torch.device("cpu")
    network = chosen_network(protocol, None, device=cpu)[0] if protocol.sets else None
    perceptual, missing = chosen_perceptual(protocol, device=cpu)
    if missing and perceptual is None:
        raise ValueError(
            f"protocol.reconstruction.perceptual: wanted weights; got none ({missing[0]}); get them, or go without: "
            "--set protocol.reconstruction.perceptual=[]"
        )
    return {
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "deviations": departures(study, protocol),
        "networks": {each.name: each.checksum for each in (network, perceptual) if each is not None},
    }


def departures(study: Study, protocol: Protocol) -> list[str]:
    """In words, where `protocol` is not as the study's file has it."""
    before, after = (flatten(config_to_dict(each)) for each in (load_protocol(study.protocol)[0], protocol))
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {after.get(name)} instead of {before.get(name)}" for name in changed]


def evaluated(run: Path, study: Study, protocol: Protocol, archive: DataSet, root: Path) -> tuple[Path, dict[str, Any]]:
    """The folder `root`/evaluations/RUN-PROTOCOL, where what is missing is computed, and the report in it."""
    folder = root / "evaluations" / f"{run.name}-{fingerprint(protocol)}"
    with held(folder, rooms=(CHUNKS,)):  # a finished one too, whose lock may be left
        if not (folder / REPORT).is_file():
            protocol_run = ProtocolRun(protocol, load_protocol(study.protocol)[1], departures(study, protocol))
            evaluation = evaluate(open_judged_model(run, archive), protocol_run, folder)
            assert evaluation is not None, "a study is one process"
            write_text(folder / REPORT, json.dumps(evaluation.report, indent=2) + "\n")
    return folder, read_json(folder / REPORT)


def scores_at(report: Mapping[str, Any], study: Study, steps: int | None) -> dict[str, float]:
    """The study's scores that the report has; those of samples at so many sampling steps (None: there are none)."""
    headline = steps is None or steps == report["steps"][-1]
    scores = {}
    for key in (column.key for column in study.columns):
        at_steps = key if headline or not key.endswith("_generated") else f"{key}_{steps}_steps"
        if at_steps in report:
            scores[key] = report[at_steps]
    return scores | ratios_of(scores)
