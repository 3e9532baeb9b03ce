"""The files around the package: what a contributor's tools and a public CI read."""

import importlib.util
import os
import shutil
import stat
import subprocess

import pytest
from processes import ROOT

STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python;; esac
"""


def yaml_of(name: str) -> dict:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_workflow_calls_ci_run_on_every_system_and_python():
    (job,) = yaml_of(".github/workflows/test.yml")["jobs"].values()
    matrix = job["strategy"]["matrix"]
    assert job["strategy"]["fail-fast"] is False
    assert matrix["os"] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(10, 15)]
    assert f'requires-python = ">={matrix["python"][0]}"' in (ROOT / "pyproject.toml").read_text()
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert job["defaults"]["run"]["shell"] == "bash"


def test_nothing_claims_more_than_the_readme_s_list_of_what_is_not_there():
    readme, project = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "pyproject.toml"))
    opening = readme.split("## Quick start")[0]
    (missing,) = [part for part in readme.split("\n\n") if part.startswith("Not there yet, of the paper:")]
    assert all(thing in missing for thing in ("articulated", "cameras", "large data sets"))
    assert "(#what-it-can-and-cannot-do-yet)" in opening
    (description,) = [line for line in project.splitlines() if line.startswith("description =")]
    assert not any("complete" in claim for claim in (opening, description))


def test_hooks_are_the_project_s_own_tools():
    (repository,) = yaml_of(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        python, dash_m, tool, *_ = hook["entry"].split()
        assert (hook["language"], python, dash_m) == ("system", "python", "-m")
        assert importlib.util.find_spec(tool)
        assert tool in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("form", ["bug_report", "feature_request"])
def test_issue_forms_have_what_they_need(form):
    document = yaml_of(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert {"name", "description", "body"} <= document.keys()
    identities = [field["id"] for field in document["body"]]
    assert len({*identities}) == len(identities)
    for field in document["body"]:
        assert field["type"] == "textarea"
        assert field["attributes"]["label"]


@pytest.mark.skipif(os.name != "posix", reason="stubs are shell scripts")
def test_ci_runs_tests_and_linters_where_make_is_missing(tmp_path):
    """Every python is a stub that notes how it was called."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("sh", "bash", "dirname", "basename", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").write_text(STUB)
    (tools / "python3").chmod(stat.S_IRWXU)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    subprocess.run(
        [str(tools / "bash"), ".ci/run"], cwd=tmp_path, check=True, env={"PATH": str(tools), "LOG": str(log)}
    )
    calls = log.read_text().splitlines()
    assert calls[0] == "python3 -m venv .venv"
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("'", "")
    assert "/" + calls[1].removeprefix("python -m ") in readme
    assert "/" + calls[2] + "\n" in readme
    makefile = (ROOT / "Makefile").read_text()
    assert [call for call in calls[3:] if f"$(RUN){call}\n" in makefile] == calls[3:]
    assert len(calls[3:]) == 4
