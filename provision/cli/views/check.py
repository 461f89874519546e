"""`check`: a line for each step; what fails with what was expected, why it matters, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from provision import Step
from provision.check.verdicts import FAIL, PASS, UNCHECKED, Finding
from provision.cli.views.steps import show_line
from provision.lesson.findings import show_findings
from provision.state.resources import PLACES, TYPES
from provision.terminal.screen import Screen
from provision.terminal.text import plural

STYLES = {PASS: "green", FAIL: "red", UNCHECKED: "yellow"}
WORDS = {PASS: "pass", FAIL: "fail", UNCHECKED: "unknown"}


def show_checks(screen: Screen, steps: Sequence[Step], findings: Sequence[Finding], *, verbose: bool) -> None:
    """What was found: data. `verbose`: each attribute, also of what passes."""
    screen.tell()
    for step in steps:
        if not any(one.step == step.name for one in findings):
            continue  # somebody else's role brings its own policies
        show_step(screen, step, [one for one in findings if one.step == step.name], verbose=verbose)
    words = [one.outcome for one in findings]
    screen.tell()
    screen.tell(
        f"{plural(len(words), 'attribute')}: {words.count(PASS)} pass, {words.count(FAIL)} fail, "
        f"{words.count(UNCHECKED)} could not be checked."
    )


def show_step(screen: Screen, step: Step, findings: Sequence[Finding], *, verbose: bool) -> None:
    """A line, and below it what does not pass; where several need the same, that is said once."""
    words = {one.outcome for one in findings}
    word = next(word for word in (FAIL, UNCHECKED, PASS) if word in words or word == PASS)
    told = [one for one in findings if one.outcome == word]
    wholes = [one for one in told if not TYPES[PLACES[one.key].kind].goes_without_saying]
    names = list(dict.fromkeys(one.name for one in wholes or told))
    show_line(screen, f"{step.number}/8 {step.title}", WORDS[word], names, data=True, style=STYLES[word])
    show_findings(screen, findings, data=True, verbose=verbose)
