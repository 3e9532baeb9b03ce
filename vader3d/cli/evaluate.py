"""The command that judges a model."""

import sys
from pathlib import Path
from typing import Any, Literal


def evaluate_command(
    *,
    model: Path,
    data: str,
    output: Path | None = None,
    protocol: str = "furniture",
    features: str | None = None,
    samples: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Judge a model by a named protocol: report.json, report.html, contact sheets. The same command again goes on.

    Started by torchrun or `accelerate launch`, several processes share the work; the report is the same.

    Args:
        model: The run folder of stage 2, or of stage 1 for protocols that judge reconstructions alone.
        data: The data set it was trained on.
        output: Folder for the report, else evaluation-PROTOCOL in the model's; what is computed lies in its features/
            and is not computed again.
        protocol: What exactly is measured: furniture, quick, reconstruction, ssdnerf-abo, vader-fig3, vader-table1 to
            vader-table4, study-NAME for each NAME of `vader3d study`, or a .json file of your own.
        features: Another feature network than the protocol's; noted in the report as a deviation.
        samples: Another number of samples; noted in the report as a deviation.
        device: auto takes a GPU where there is one.
    """
    from vader3d.data.named import open_archive, trainable_objects
    from vader3d.evaluation.report import write_report
    from vader3d.evaluation.runner import evaluate, planned, with_samples
    from vader3d.evaluation.subject import open_subject
    from vader3d.training.team import join_team

    plan = planned(protocol)
    output = output or model / f"evaluation-{plan.protocol.name}"
    plan = plan if samples is None else with_samples(plan, samples)
    team = join_team(device)
    archive, problems = trainable_objects(open_archive(data))
    if team.leads:
        for problem in problems:
            print(f"skipped: {problem}", file=sys.stderr)
    subject = open_subject(model, archive, device=device)
    evaluation = evaluate(subject, plan, output, features=features, team=team)
    if evaluation is not None:
        write_report(evaluation, output)
        print_scores(evaluation.report)
        print(f"open {output / 'report.html'}")


def print_scores(scores: dict[str, Any]) -> None:
    for name, value in scores.items():
        if isinstance(value, dict | list):
            continue  # details: in report.json
        print(f"{name:40} {value:.4g}" if isinstance(value, float) else f"{name:40} {value}")
