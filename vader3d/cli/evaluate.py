"""The command that judges a model."""

import sys
from pathlib import Path
from typing import Any, Literal

from vader3d.cli.parsing import checked


@checked
def evaluate_command(
    *,
    model: str,
    data: str,
    output: Path | None = None,
    protocol: str = "furniture",
    features: str | None = None,
    samples: int | None = None,
    clip: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Judge a model by a named protocol: report.json, report.html, contact sheets. The same command again goes on.

    Started by torchrun or `accelerate launch`, several processes share the work; the report is the same.

    Args:
        model: The folder of a run, a demo or a saved model, one that ships, or OWNER/NAME of a hub's that was fetched;
            of stage 1 for protocols that judge reconstructions alone.
        data: The data set it was trained on; for articulated also other people's clips, with their truth.
        output: Folder for the report, else evaluation-PROTOCOL in the run's, or here for a saved model; what is
            computed lies in its features/ and is not computed again.
        protocol: What exactly is measured: furniture, quick, demo, reconstruction, ssdnerf-abo, vader-fig3,
            vader-table1 to vader-table4, text (prompts), articulated (moving subjects), study-NAME for each NAME of
            `vader3d study`, or a .json file of your own.
        features: Another feature network than the protocol's; noted in the report as a deviation.
        samples: Another number of samples; noted in the report as a deviation.
        clip: Folder of a CLIP model as `transformers` saves it, for the retrieval scores of protocol text.
        device: auto takes a GPU where there is one.
    """
    from vader3d.data.named import open_archive
    from vader3d.evaluation.articulated import NAME, evaluate_articulated
    from vader3d.evaluation.judged import judged_data, open_judged_model
    from vader3d.evaluation.report import write_report
    from vader3d.evaluation.runner import CHUNKS, evaluate, protocol_run, with_samples
    from vader3d.files import held
    from vader3d.hub import is_saved, model_folder
    from vader3d.training.distributed import join_processes

    if protocol == NAME:
        output = output or Path(model) / f"evaluation-{NAME}"
        for key, value in evaluate_articulated(model, data, output).items():
            print(f"{key:30} {value}")
        return print(f"look at {output / 'novel.png'}")
    run = protocol_run(protocol)
    folder = model_folder(model)
    output = output or Path("" if is_saved(folder) else model) / f"evaluation-{run.protocol.name}"
    run = run if samples is None else with_samples(run, samples)
    processes = join_processes(device)
    archive, problems = judged_data(folder, open_archive(data))
    if processes.is_main:
        for problem in problems:
            print(f"skipped: {problem}", file=sys.stderr)
    judged = open_judged_model(folder, archive, device=device)
    with held(output, rooms=(CHUNKS,), by=processes.is_main):
        processes.wait()  # leftovers are deleted before others write
        evaluation = evaluate(judged, run, output, features=features, clip=clip, processes=processes)
        if evaluation is not None:
            write_report(evaluation, output)
    if evaluation is not None:
        print_scores(evaluation.report)
        print(f"open {output / 'report.html'}")
    return None


def print_scores(report: dict[str, Any]) -> None:
    """Title, value with its unit, and key of each score, below one another; what has no title is in report.json."""
    from vader3d.evaluation.score_table import scores_in
    from vader3d.pages.charts import value_text

    scores = scores_in(key for key, value in report.items() if value is not None)
    lines = [(score.heading, f"{value_text(report[score.key])} {score.unit}".rstrip(), score.key) for score in scores]
    titles, values = (max(len(line[column]) for line in lines) for column in (0, 1))
    for title, value, key in lines:
        print(f"{title:{titles}}   {value:{values}}   {key}")
