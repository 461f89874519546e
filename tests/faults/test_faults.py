"""A representative part of the sweep, with the tests; `python -m tests.faults` plays the whole of it.

Each part runs as a process of its own: it forks, and its account is the one of its process.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SLOW = pytest.mark.slow

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the sweep forks in the middle of a call"),
    pytest.mark.timeout(300),
]


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


# Of each part every so manieth point, so that it is some dozens of them; of one part a few with every run of the tests.
SAMPLES = {"api": 211, "files": 211, "double": 211, "chaos": 130, "ledgers": 60}
FEW = ("files", 422)


@pytest.mark.parametrize(("part", "sample"), [FEW, *(pytest.param(*one, marks=SLOW) for one in SAMPLES.items())])
def test_after_any_fault_nothing_is_lost_doubled_or_taken_from_others(part: str, sample: int) -> None:
    ended = sweep(part, "--sample", str(sample))
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    points = int(re.search(rf"^{part}: .*? (\d+)", ended.stdout, re.MULTILINE)[1])  # type: ignore[index]
    assert points >= 3, ended.stdout


@SLOW
@pytest.mark.parametrize(
    "name", ["intent_after_the_call", "marks_are_not_looked_at_in_teardown", "log_groups_are_left"]
)
def test_the_sweep_catches_a_broken_suite(name: str) -> None:
    ended = sweep("--replay", f"mutant:{name}")
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "mutants caught 1" in ended.stdout


def test_a_point_at_which_a_strangers_resources_were_changed_fails() -> None:
    ended = sweep("--replay", "build:20:killed-after", "--spoil")
    assert ended.returncode == 1
    assert "FAILED build:20:killed-after" in ended.stdout and "after teardown /sqs:queue/spoilt" in ended.stdout


@SLOW
def test_a_failure_is_reported_with_the_command_that_replays_it_and_the_same_seed_gives_the_same_digest() -> None:
    """A point that must fail: the strangers' resources are changed behind the sweep's back."""
    first, second = (sweep("--replay", "build:20:killed-after", "--spoil") for _ in range(2))
    assert first.returncode == 1
    assert "again: python -m tests.faults --replay build:20:killed-after" in first.stdout
    assert digest_of(first.stdout) == digest_of(second.stdout)
    calm = sweep("--replay", "build:20:killed-after")
    assert calm.returncode == 0, calm.stdout
    assert digest_of(calm.stdout) != digest_of(first.stdout)


def digest_of(text: str) -> str:
    return re.search(r"^digest (\w+)", text, re.MULTILINE)[1]  # type: ignore[index]


def test_the_inventory_covers_every_kind_that_teardown_can_undo() -> None:
    code = (
        "from tests.faults.account import Account; from teardown.verbs import VERBS\n"
        "print(sorted(Account().inventory()) == sorted(VERBS))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "True\n", ended.stderr
