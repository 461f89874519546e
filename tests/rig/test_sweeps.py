"""What the default run leaves out, and how all of it is run. docs/testing.md says the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import CHECKOUT

SWEPT = """
import pytest

@pytest.mark.sweep(3)
@pytest.mark.parametrize("case", range(8))
def test_swept(case):
    assert case != 7

@pytest.mark.parametrize("case", range(2))
def test_not_swept(case):
    pass

@pytest.mark.slow
def test_slow():
    pass
"""
MARKERS = "    sweep(n): swept\n    slow: slow\n    once_more: again\n"


def ran(folder: Path, *arguments: str) -> list[str]:
    """The cases that run, in a folder of their own with this project's tiers."""
    (folder / "test_any.py").write_text(SWEPT, encoding="utf-8")
    (folder / "test_golden.py").write_text("def test_first():\n    pass\n", encoding="utf-8")
    lines = [line for line in output(folder, *arguments).splitlines() if line.startswith(("PASSED ", "FAILED "))]
    return [line.split()[1].partition("::")[2] for line in lines]


def output(folder: Path, *arguments: str) -> str:
    """What pytest says of the tests in a folder."""
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {CHECKOUT}\nmarkers =\n{MARKERS}", encoding="utf-8")
    (folder / "conftest.py").write_text("from tests.rig.tiers import *\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout


def test_every_third_case_runs_and_all_of_what_is_not_swept_and_nothing_slow(tmp_path: Path) -> None:
    assert ran(tmp_path) == [
        "test_first",
        "test_swept[0]",
        "test_swept[3]",
        "test_swept[6]",
        "test_not_swept[0]",
        "test_not_swept[1]",
    ]


def test_with_whole_every_case_runs(tmp_path: Path) -> None:
    cases = [f"test_swept[{case}]" for case in range(8)]
    wanted = ["test_first", *cases, "test_not_swept[0]", "test_not_swept[1]", "test_slow"]
    assert sorted(ran(tmp_path, "--whole")) == sorted(wanted)


def test_what_is_slow_runs_where_it_is_named(tmp_path: Path) -> None:
    assert ran(tmp_path, "test_any.py::test_slow") == ["test_slow"]
    assert "test_slow" not in ran(tmp_path, "test_any.py", "test_golden.py::test_first")


@pytest.mark.parametrize("case", [4, 7])
def test_a_case_that_is_named_runs(tmp_path: Path, case: int) -> None:
    assert ran(tmp_path, f"test_any.py::test_swept[{case}]") == [f"test_swept[{case}]"]


FAILING = """
import pathlib
import pytest

HERE = pathlib.Path(__file__).parent

@pytest.fixture
def count(request):
    path = HERE / request.node.name
    path.write_text((path.read_text() if path.exists() else "") + "x")
    return len(path.read_text())

@pytest.mark.once_more
def test_it_fails_at_first(count):
    assert count == 2, "first failure"

@pytest.mark.once_more
def test_it_fails_always(count):
    assert count == 3

def test_it_is_not_marked(count):
    assert count == 2
"""


def test_what_is_marked_so_runs_once_more_and_its_first_failure_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_any.py").write_text(FAILING, encoding="utf-8")
    said = output(tmp_path)
    ended = [line.partition(" - ")[0] for line in said.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    assert ended == [
        "PASSED test_any.py::test_it_fails_at_first",
        "FAILED test_any.py::test_it_fails_always",
        "FAILED test_any.py::test_it_is_not_marked",
    ]
    assert (tmp_path / "test_it_fails_always").read_text() == "xx" and "AssertionError: first failure" in said


# .ci/whole.

PYTHON = """#!/bin/sh
case "$*" in
*pytest*) echo "===== 3 passed, 1 skipped in 3.2s =====" ;;
*$SILENT) echo nothing ;;
*$FAILS) echo "$3: points 3; 1 failed; 1 s"; exit 1 ;;
*) echo "$3: points 3; 0 failed; 1 s" ;;
esac
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("silent", "fails", "code"), [("none", "none", 0), ("none", "mutants", 1), ("chaos", "none", 1)]
)
def test_the_whole_run_goes_through_all_parts_and_fails_with_any(
    tmp_path: Path, silent: str, fails: str, code: int
) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    for name in ("lowest", "audit"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name}: points 3; 0 failed; 1 s"\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    parts = {"PYTHON": str(python), "PARTS": str(tmp_path)}
    environ = {**os.environ, **parts, "SILENT": silent, "FAILS": fails}
    ended = subprocess.run(
        ["bash", str(CHECKOUT / ".ci" / "whole"), str(tmp_path / "said")],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    told = [line.split() for line in ended.stdout.partition("== figures\n")[2].splitlines()]
    assert [line[0] for line in told[:-1]] == [
        "tests",
        "api",
        "files",
        "double",
        "chaos",
        "ledgers",
        "mutants",
        "lowest",
        "audit",
    ]
    assert [line[0] for line in told[:-1] if line[3] == "FAILED"] == [one for one in (silent, fails) if one != "none"]
