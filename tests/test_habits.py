"""Habits that hold in every file: one error sentence, one way to write files, short files that say what they are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vader3d"
FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted(
    path for folder in ("vader3d", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
LONGEST_FILE, LONGEST_OPENING, FORMATTER_FOUGHT = 350, 70, 24  # lines, letters, places
INPUT_ERRORS = {"ValueError", "ArchiveError", "FileNotFoundError", "ImportError", "ModuleNotFoundError"}
SENTENCE = re.compile(r"\S.*: wanted .+; got .+", re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def literal_of(node: ast.expr) -> str | None:
    """A message as it is spelt, with {} for what is put in; None where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def input_errors(path: Path) -> Iterator[tuple[int, str]]:
    """Line and message of every error about input that is raised with words of its own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        kind, message = ast.unparse(node.exc.func), literal_of(node.exc.args[0])
        passes_on = message is None or re.search(r"(^|: )\{\}$", message)  # what another error said, and where
        if kind in INPUT_ERRORS and message is not None and not passes_on:
            yield node.lineno, message


def test_errors_say_what_was_wanted_what_came_and_what_to_do():
    errors = [(f"{name_of(path)}:{line}", message) for path in FILES for line, message in input_errors(path)]
    assert len(errors) > 100
    assert [where for where, message in errors if not SENTENCE.match(message)] == []


def test_another_sentence_would_be_noticed():
    assert SENTENCE.match("size: wanted 1 to 4096 px; got {}")
    assert not SENTENCE.match("size: expected 1 to 4096 px, got {}")
    assert not SENTENCE.match("size: 1 to 4096 px wanted, {} given")


def test_a_file_opens_with_one_short_sentence():
    openings = {name_of(path): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in FILES}
    first = {name: text.split("\n")[0] for name, text in openings.items()}
    odd = [n for n, text in first.items() if not text.endswith(".") or ";" in text or len(text) > LONGEST_OPENING]
    assert odd == []


def test_no_file_is_long():
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_files_get_their_names_in_one_place():
    """`files.put_in_place`."""
    renaming = {name_of(path) for path in FILES if re.search(r"\bos\.(replace|rename)\b", path.read_text("utf-8"))}
    assert renaming == {"vader3d/files.py"}


def test_the_formatter_is_rarely_fought():
    assert sum(path.read_text(encoding="utf-8").count("# fmt: " + "skip") for path in ALL_FILES) < FORMATTER_FOUGHT


def test_what_is_cited_can_be_read():
    """Rows such as (A17) are those of docs/paper.md."""
    rows = set(re.findall(r"^\| (A\d+) \|", (ROOT / "docs" / "paper.md").read_text(encoding="utf-8"), re.MULTILINE))
    cited = {row for path in FILES for row in re.findall(r"\b(A\d{1,2})\b", path.read_text(encoding="utf-8"))}
    assert rows
    assert cited <= rows
