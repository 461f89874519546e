"""A learner's report as one self-contained web page, without JavaScript. report.html.j2 is the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from provision.check.mistakes import EXISTS
from provision.check.verdicts import FAIL, PASS, UNCHECKED, Finding
from provision.lesson.findings import in_full
from provision.lesson.report import PageDone, Report
from provision.lesson.web import environment
from provision.terminal.differences import difference_lines

COLUMNS = 90


@dataclass(frozen=True)
class Failure:
    """What is not as it should be: of what, the lines that show it, why it matters, what to do."""

    label: str
    lines: tuple[str, ...]
    about: str
    todo: str


@dataclass(frozen=True)
class Checked:
    """What was checked of one page: how many attributes pass, what fails, and by its reason what is not known."""

    passed: int
    failures: tuple[Failure, ...]
    unknown: Mapping[str, tuple[str, ...]]


def report_page(
    report: Report, facts: Mapping[str, str], findings: Sequence[Finding], *, hidden: Mapping[str, str]
) -> str:
    """The page. `facts` stand at its top. `hidden` has values that are not to be shown, each with a name for it."""

    def mask(text: str) -> str:
        for value, name in hidden.items():
            text = text.replace(value, f"<{name}>") if value else text
        return text

    pages = [(page, checked(page, findings, mask)) for page in report.pages]
    words = [one.outcome for one in findings]
    counts = {"pass": words.count(PASS), "fail": words.count(FAIL), "could not be checked": words.count(UNCHECKED)}
    return (
        environment("provision.lesson")
        .get_template("report.html.j2")
        .render(report=report, facts=facts, pages=pages, counts=counts, has_checks=bool(findings))
    )


def checked(page: PageDone, findings: Sequence[Finding], mask: Callable[[str], str]) -> Checked:
    mine = [one for one in findings if one.step == page.page]
    unknown: dict[str, tuple[str, ...]] = {}
    for one in mine:
        if one.outcome == UNCHECKED:
            unknown[mask(one.reason)] = (*unknown.get(mask(one.reason), ()), mask(one.label))
    return Checked(
        sum(one.outcome == PASS for one in mine),
        tuple(failure(one, mask) for one in mine if one.outcome == FAIL),
        unknown,
    )


def failure(one: Finding, mask: Callable[[str], str]) -> Failure:
    if one.attribute == EXISTS:
        lines = ["not there"] + ([f"found: {one.found}"] if one.found else [])
    else:
        lines = difference_lines(in_full(one.attribute), one.found, one.expected, COLUMNS, ("found", "expected"))
    return Failure(mask(one.label), tuple(map(mask, lines)), mask(one.about), mask(one.todo))
