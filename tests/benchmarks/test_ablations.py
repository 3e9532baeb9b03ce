"""The ablations' script does what docs/results.md says, and puts a table where it belongs."""

import re
import runpy
import shlex
from pathlib import Path
from string import Template

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "ablations.py"))
ABLATIONS, with_table = SCRIPT["ABLATIONS"], SCRIPT["with_table"]
REPORT = "Which?\n\n| variant | seeds |\n| --- | ---: |\n| new\\1 | 3 |\n\nMean ± deviation.\n"


def documented() -> dict[str, tuple[int, tuple[str, ...]]]:
    """The page's commands: name -> seeds, settings."""
    (block,) = re.findall(r"```\n(OBJECTS=.*?)```", PAGE, flags=re.DOTALL)
    values: dict[str, str] = {}
    commands = {}
    for line in block.replace("\\\n", "").splitlines():
        if name := re.match(r"(\w+)=", line):
            values[name[1]] = Template(shlex.split(line)[0].partition("=")[2]).substitute(values)
            continue
        program, command, study, *options = shlex.split(Template(line).substitute(values))
        assert (program, command, options[:4]) == ("vader3d", "study", ["--data", "furniture", "--output", "studies"])
        assert (options[4], set(options[6::2])) == ("--seeds", {"--set"})
        commands[study] = (int(options[5]), tuple(options[7::2]))
    return commands


def test_the_page_names_the_commands_that_the_script_runs():
    assert documented() == ABLATIONS


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_table_stands_between_its_markers_and_nothing_else_changes(name):
    made = with_table(PAGE, name, REPORT)
    block = f"<!-- {name} -->\n\n| variant | seeds |\n| --- | ---: |\n| new\\1 | 3 |\n\n![{name}](study-{name}.png)\n\n"
    assert f"{block}<!-- end -->" in made
    assert with_table(made, name, REPORT) == made
    before, after = (re.split(rf"<!-- {name} -->.*?<!-- end -->", page, flags=re.DOTALL) for page in (PAGE, made))
    assert before == after


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="wanted the markers of hash once; got them 0 times"):
        with_table("# Results\n", "hash", REPORT)
