"""The ablations of docs/results.md: run what is missing of each study, then put its table, plot and scores in place.

    OMP_NUM_THREADS=1 python benchmarks/ablations.py studies              all five; the same command goes on
    OMP_NUM_THREADS=1 python benchmarks/ablations.py studies hash steps   two of them

Results: docs/results.md between the studies' markers, docs/study-NAME.png, benchmarks/results/study-NAME.json.
"""

import re
import shutil
import sys
from pathlib import Path

from vader3d.files import write_text
from vader3d.study.run import run_study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
OBJECTS = "autodecoder.loop.objects_seen=2000"
STAGE1 = (OBJECTS, "autodecoder.decoder.channels=[32,64]")
STAGE2 = (
    "diffusion.loop.objects_seen=8000",
    "diffusion.loop.batch=64",
    "diffusion.unet.model_channels=32",
    "diffusion.loop.ema_half_life=1000",
)
FIG3 = ("diffusion.loop.objects_seen=2000", "diffusion.unet.blocks_per_level=1", "diffusion.loop.ema_half_life=250")
# name -> seeds, settings: docs/results.md has the same as commands.
ABLATIONS = {
    "hash": (3, STAGE1),
    "normalisation": (3, (*STAGE1, *STAGE2)),
    "steps": (3, (*STAGE1, *STAGE2)),
    "table2": (1, (OBJECTS,)),
    "fig3": (3, (OBJECTS, *FIG3)),
}


def with_table(page: str, name: str, report: str) -> str:
    """The page with the table of a study's Markdown report between `<!-- NAME -->` and `<!-- end -->`."""
    table = "\n".join(line for line in report.splitlines() if line.startswith("|"))
    block = f"<!-- {name} -->\n\n{table}\n\n![{name}](study-{name}.png)\n\n<!-- end -->"
    made, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE.name}: wanted the markers of {name} once; got them {count} times")
    return made


def main(output: Path, names: list[str]) -> None:
    for name in names or ABLATIONS:
        seeds, settings = ABLATIONS[name]
        run_study(name, "furniture", output, seeds=seeds, settings=settings)
        write_text(PAGE, with_table(PAGE.read_text("utf-8"), name, (output / f"{name}.md").read_text("utf-8")))
        shutil.copyfile(output / f"{name}.png", PAGE.parent / f"study-{name}.png")
        shutil.copyfile(output / f"{name}.json", ROOT / "benchmarks" / "results" / f"study-{name}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
