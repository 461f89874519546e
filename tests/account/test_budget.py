"""The calls of a run are those that docs/performance.md lists, no more and no fewer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from provision.aws.answers import Call
from sandbox import Sandbox
from tests.rig.command_line import CommandLine

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
ROW = re.compile(r"\| (\w*) ?\| (\w+) \| (\d+) \|")


def budget(heading: str) -> Counter[tuple[str, str]]:
    """By step and operation, how often the table under this heading has it."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [found for line in section.splitlines() if (found := ROW.match(line))]
    assert int(section.split()[0]) == sum(int(row[3]) for row in rows), "the sum in the text above the table"
    return Counter({(row[1], row[2]): int(row[3]) for row in rows})


def spent(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
    return Counter((call.step, call.operation) for call in calls)


def test_each_run_makes_the_calls_that_are_accounted_for(
    empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CommandLine(empty_sandbox, tmp_path / "state.json", "budget", monkeypatch) as deployment:
        assert spent(deployment.provision("--yes", "--no-try").calls) == budget("First build")
        assert spent(deployment.provision("--yes", "--no-try").calls) == budget("Second run")
        assert spent(deployment.take_down().calls) == budget("Teardown")
