"""Whether a model draws what words ask for, of its furniture alone.

`python benchmarks/furniture_words.py --data mixed.zip --output judged/`, by default the model that ships, without
vader3d's own chairs: the scores of `text-short.json` at guidance 3,
of prompts that name a colour and a type which a piece of furniture of the training has, and of such pieces' captions.
"""

import argparse
import json
from pathlib import Path

from vader3d.cli.main import main
from vader3d.evaluation import prompts
from vader3d.files import write_text

PROTOCOL = Path(__file__).with_name("text-short.json")
PAIRS = ["a {colour} {type}", "one {type}, {colour}"]


class Furniture(prompts.KnownObjects):
    """Only what others made is asked for; all is known."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kept = [index for index in self.kept if "vader3d chairs" not in self.records[index].source]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default="furniture")
    options = parser.parse_args()
    from vader3d.evaluation import prompted

    prompted.KnownObjects = Furniture
    protocol = json.loads(PROTOCOL.read_text())
    protocol["name"] = "text-furniture"
    protocol["prompts"] |= {"templates": PAIRS, "guidance_scales": [3], "of_each": 60, "attributes": []}
    protocol["prompts"] |= {"real_objects": 96, "neighbours": 3}
    protocol["reference"] |= {"objects": None, "views": 4}  # most kinds have one object or two: all must be there
    protocol["memorisation"] = 0
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "text-furniture.json"
    write_text(path, json.dumps(protocol, indent=1))
    asked = ["--protocol", str(path), "--model", options.model, "--data", options.data]
    main(["evaluate", *asked, "--output", str(options.output / "report")])
