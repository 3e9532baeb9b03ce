"""A run's losses over objects seen, as one SVG file: python benchmarks/learning_curve.py RUN OUTPUT.svg"""

import argparse
from pathlib import Path

from vader3d.files import write_text
from vader3d.pages.charts import Curve, line_chart
from vader3d.pages.markup import TEMPLATES
from vader3d.training.log import read_metrics

LOSSES = ("perceptual", "mask", "pixel", "denoising")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    lines = read_metrics(chosen.run)
    curves = []
    for name in LOSSES:
        known = [line for line in lines if line.get(name)]
        if known:
            curves.append(Curve(name, [line["seen"] for line in known], [line[name] for line in known]))
    if not curves:
        raise SystemExit(f"{chosen.run}: wanted the folder of a training with metrics.jsonl, found no losses")
    chart = str(line_chart(curves, x_label="objects seen", y_label="", logarithmic=True))
    head, rest = chart[chart.index("<svg") : chart.index("</svg>")].split(">", 1)
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg" width="720"', 1)
    legend = "".join(
        f'<text x="{48 + 110 * number}" y="16" style="fill: var(--c{number})">{curve.name}</text>'
        for number, curve in enumerate(curves)
    )
    style = f"<style>{(TEMPLATES / 'style.css').read_text(encoding='utf-8')} svg {{ background: var(--paper) }}</style>"
    write_text(chosen.output, f"{head}>{style}{rest}{legend}</svg>\n")


if __name__ == "__main__":
    main()
