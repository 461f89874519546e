"""What a check found, shown: what was expected, why it matters, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from provision.check.mistakes import EXISTS
from provision.check.verdicts import FAIL, UNCHECKED, Finding
from provision.terminal.differences import difference_lines
from provision.terminal.screen import Screen

FAILED = "    fail     "
# In what AWS counts, where the attribute's name does not say it.
UNITS = {
    "MessageRetentionPeriod": "seconds",
    "VisibilityTimeout": "seconds",
    "Timeout": "seconds",
    "MemorySize": "MB",
}


def show_findings(screen: Screen, findings: Sequence[Finding], *, data: bool, verbose: bool = False) -> None:
    """What does not pass; where several need the same, that is said once. `verbose`: what passes, too."""
    for (outcome, *_), same in groupby(findings, lambda one: (one.outcome, one.reason, one.about, one.todo)):
        group = list(same)
        if outcome == FAIL:
            for one in group:
                show_failure(screen, one, data=data)
            for text in (group[0].about, f"What to do: {group[0].todo}" if group[0].todo else ""):
                screen.prose(" " * len(FAILED), text, "dim", data=data) if text else None
        elif outcome == UNCHECKED:
            labels = ", ".join(one.label for one in group)
            screen.prose("    unknown  ", f"{labels}: {group[0].reason}", "yellow", data=data)
        elif verbose:
            for one in group:
                screen.prose("    pass     ", one.label, "dim", data=data)


def in_full(attribute: str) -> str:
    """The attribute, with its unit where it has one."""
    return f"{attribute} ({UNITS[attribute]})" if attribute in UNITS else attribute


def show_failure(screen: Screen, one: Finding, *, data: bool) -> None:
    """What was expected, and what was found."""
    if one.attribute == EXISTS:
        near = f"; there is {in_words(one.found)}" if one.found else ""
        screen.prose(FAILED, f"{one.label}: not there{near}", "red", data=data)
        return
    screen.prose(FAILED, f"{one.noun} {one.name}", "red", data=data)
    console, tell = (screen.data, screen.tell) if data else (screen.talk, screen.keep)
    room = console.width - len(FAILED) if console.is_terminal else 1000
    for line in difference_lines(in_full(one.attribute), one.found, one.expected, room, ("found", "expected")):
        tell(" " * len(FAILED) + line)


def in_words(found: object) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
