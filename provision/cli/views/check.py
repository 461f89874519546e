"""`check`: a line for each step; what fails with what was expected, why it matters, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from provision import Step
from provision.account.check import FAIL, PASS, UNCHECKED, Finding
from provision.account.mistakes import EXISTS
from provision.cli.views.steps import show_line
from provision.state.resources import PLACES, TYPES
from provision.terminal.differences import difference_lines
from provision.terminal.screen import Screen
from provision.terminal.text import plural

STYLES = {PASS: "green", FAIL: "red", UNCHECKED: "yellow"}
WORDS = {PASS: "pass", FAIL: "fail", UNCHECKED: "unknown"}
FAILED = "    fail     "


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
    wholes = [one for one in told if not TYPES[PLACES[one.key].kind].part_of]
    names = list(dict.fromkeys(one.name for one in wholes or told))
    show_line(screen, f"{step.number}/8 {step.title}", WORDS[word], names, data=True, style=STYLES[word])
    for (outcome, *_), same in groupby(findings, lambda one: (one.outcome, one.reason, about(one), one.todo)):
        group = list(same)
        if outcome == FAIL:
            for one in group:
                show_failure(screen, one)
            show_what_to_do(screen, group[0])
        elif outcome == UNCHECKED:
            labels = ", ".join(map(label, group))
            screen.prose("    unknown  ", f"{labels}: {group[0].reason}", "yellow", data=True)
        elif verbose:
            for one in group:
                screen.prose("    pass     ", label(one), "dim", data=True)


def label(one: Finding) -> str:
    """The attribute, behind what it is of."""
    whole = f"{one.noun} {one.name}"
    return whole if one.attribute == EXISTS else f"{whole}, {one.attribute}"


def show_failure(screen: Screen, one: Finding) -> None:
    """What was expected, and what was found."""
    if one.attribute == EXISTS:
        near = f"; there is {in_words(one.found)}" if one.found else ""
        screen.prose(FAILED, f"{label(one)}: not there{near}", "red", data=True)
    else:
        screen.prose(FAILED, f"{one.noun} {one.name}", "red", data=True)
        room = screen.data.width - len(FAILED) if screen.data.is_terminal else 1000
        for line in difference_lines(one.attribute, one.found, one.expected, room, ("found", "expected")):
            screen.tell(" " * len(FAILED) + line)


def about(one: Finding) -> str:
    """The usual mistake that it is; else why it matters."""
    return f"{one.title}. {one.explanation}" if one.title else one.why


def show_what_to_do(screen: Screen, one: Finding) -> None:
    for text in (about(one), f"What to do: {one.todo}" if one.todo else ""):
        if text:
            screen.prose(" " * len(FAILED), text, "dim", data=True)


def in_words(found: object) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
