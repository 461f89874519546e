"""What the default run leaves out of a sweep, and how all of it is run. docs/testing.md says the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SWEPT = """
import pytest

@pytest.mark.sweep(3)
@pytest.mark.parametrize("case", range(8))
def test_swept(case):
    assert case != 7

@pytest.mark.parametrize("case", range(2))
def test_not_swept(case):
    pass
"""


def ran(folder: Path, *arguments: str) -> list[str]:
    """The cases that run, in a folder of their own with this project's conftest."""
    conftest = Path(__file__).parent / "conftest.py"
    (folder / "test_swept.py").write_text(SWEPT, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = sweep(n): swept\n", encoding="utf-8")
    source = conftest.read_text(encoding="utf-8")
    begin = source.index("def pytest_addoption")
    hooks = source[begin : source.index("\n\n\n", source.index("def pytest_collection_modifyitems"))]
    heads = "from __future__ import annotations\nfrom collections import Counter\nimport pytest\n"
    (folder / "conftest.py").write_text(f"{heads}\n{hooks}\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", "-rA", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    return [line.split()[1].partition("::")[2] for line in lines]


def test_every_third_case_runs_and_all_of_what_is_not_swept(tmp_path: Path) -> None:
    assert ran(tmp_path) == [
        "test_swept[0]",
        "test_swept[3]",
        "test_swept[6]",
        "test_not_swept[0]",
        "test_not_swept[1]",
    ]


def test_with_whole_every_case_runs(tmp_path: Path) -> None:
    cases = [f"test_swept[{case}]" for case in range(8)]
    assert sorted(ran(tmp_path, "--whole")) == sorted([*cases, "test_not_swept[0]", "test_not_swept[1]"])


@pytest.mark.parametrize("case", [4, 7])
def test_a_case_that_is_named_runs(tmp_path: Path, case: int) -> None:
    assert ran(tmp_path, f"test_swept.py::test_swept[{case}]") == [f"test_swept[{case}]"]
