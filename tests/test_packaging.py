"""What is not Python but needed at run time is packed with the rest."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vader3d"
BUILT = {".pyc", ".so", ".dylib", ".dll"}


def data_files() -> list[Path]:
    """All files of the package that are neither Python nor built."""
    return [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", *BUILT}]


def is_packed(path: Path, folder_and_patterns: list[tuple[Path, str]]) -> bool:
    return any(path.parent == folder and fnmatch(path.name, pattern) for folder, pattern in folder_and_patterns)


def test_every_data_file_is_in_the_wheel():
    found = re.search(r"package-data\]\nvader3d = (\[.*?\n\])", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    packed = [((PACKAGE / pattern).parent, Path(pattern).name) for pattern in ast.literal_eval(found[1])]
    assert [path for path in data_files() if not is_packed(path, packed)] == []
    assert {path.suffix for path in data_files()} >= {".html", ".css", ".js", ".json", ".h", ".zip"}


def test_every_data_file_is_in_the_source_distribution():
    packed = []
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        command, first, *patterns = line.split()
        if command == "recursive-include":
            packed += [(ROOT / first, pattern) for pattern in patterns]
        else:
            packed += [((ROOT / name).parent, Path(name).name) for name in (first, *patterns)]
    assert [path for path in data_files() if not is_packed(path, packed)] == []
