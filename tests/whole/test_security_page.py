"""docs/security.md names for each claim what holds it: each of these is there."""

from __future__ import annotations

import ast
import re

from provision import BESIDE

PAGE = (BESIDE / "docs" / "security.md").read_text(encoding="utf-8")


def missing(page: str) -> list[str]:
    """What a page names under tests/ that is not there: a folder, a file, or a test in it."""
    lost = []
    for place, test in re.findall(r"`(tests/[\w/.]*\w)(?:::(\w+))?`", page):
        path = BESIDE / place
        if not path.exists() or (test and test not in functions_in(path.read_text(encoding="utf-8"))):
            lost.append(f"{place}::{test}" if test else place)
    return lost


def functions_in(source: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}


def test_each_claim_names_what_holds_it_and_that_is_there() -> None:
    claims = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| claim", "| ---"))]
    assert claims and [line for line in claims if "`tests/" not in line] == []
    assert missing(PAGE) == []


def test_a_test_that_is_gone_is_missed() -> None:
    assert missing("`tests/whole/test_gone.py`, `tests/whole/test_routes.py::test_gone`, `tests/state`") == [
        "tests/whole/test_gone.py",
        "tests/whole/test_routes.py::test_gone",
    ]
