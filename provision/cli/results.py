"""What a command returns: what its screen showed, as values. `--output json` writes it as JSON.

docs/reference/json-output.md describes it, and docs/output.schema.json is its form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.state.resources import name_of, noun_of
from provision.terminal import outcome

if TYPE_CHECKING:
    # What makes these takes a tenth of a second to import.
    from provision.account.doctor import Condition
    from provision.account.outcomes import ResourceOutcome
    from provision.account.request_trace import Hop
    from provision.account.smoke_tests import SmokeTest
    from provision.check.verdicts import Finding
    from provision.errata import Erratum
    from provision.lesson.report import Report

SCHEMA = 4  # raised when a member goes, or means something else


@dataclass(frozen=True)
class ExerciseOutcome:
    """Of `break`, `hint` and `heal`: whether an exercise is open, and the hints that were shown.

    What the `fault` is only heal says, and whether it was `mended` by hand, and how many seconds after it was made.
    """

    is_open: bool
    fault: str = ""
    hints: tuple[str, ...] = ()
    mended: bool | None = None
    seconds: int | None = None


@dataclass(frozen=True)
class Result:
    """All that one command did or found. What does not apply, or was not known when it ended, is None or empty.

    `tested` is when the tests of what `status` shows last ran, in UTC; `tests` are then those that failed.
    `calls` counts the calls to AWS, and `writing_calls` those of them that write. `file` is what `replay` or `diagram`
    wrote, and `picture` what `diagram` drew.
    """

    program: str
    command: str = ""
    schema: int = SCHEMA
    exit_code: int = outcome.DONE
    account: str | None = None
    caller: str | None = None
    region: str | None = None
    endpoint: str | None = None
    warnings: tuple[str, ...] = ()
    deployment: str | None = None
    state_file: str | None = None
    learner: str | None = None
    as_written: bool = False
    resources: tuple[ResourceOutcome, ...] = ()
    conditions: tuple[Condition, ...] = ()
    checks: tuple[Finding, ...] = ()
    tests: tuple[SmokeTest, ...] = ()
    hops: tuple[Hop, ...] = ()
    errata: tuple[Erratum, ...] = ()
    exercise: ExerciseOutcome | None = None
    report: Report | None = None
    tested: str | None = None
    invoke_url: str | None = None
    queue_route_url: str | None = None
    file: str | None = None
    picture: str | None = None
    calls: int = 0
    writing_calls: int = 0
    seconds: float = 0.0
    error: outcome.Error | None = None

    def of(self, *outcomes: str) -> list[ResourceOutcome]:
        """The resources with one of these outcomes."""
        return [one for one in self.resources if one.outcome in outcomes]


def error_of(stop: outcome.UserError, transcript: Path | None, log: Path | None) -> outcome.Error:
    """The ending as data, with the words for its resources, and the files that tell more."""
    about = tuple(
        {"type": kind, "noun": noun_of(kind), "name": name_of(kind, identity), "identity": identity, "remark": remark}
        for kind, identity, remark in stop.resources
    )
    return stop.error(about, transcript=str(transcript) if transcript else None, log=str(log) if log else None)
