"""What a build does: one line a step, with the result in front; or each resource, where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.text import Text

from provision import Step
from provision.account.outcomes import ResourceOutcome
from provision.account.smoke_tests import SmokeTest
from provision.record.views import (
    STYLES,
    show_difference,
    show_step_ended,
    show_step_started,
    show_test,
    show_tests_started,
    show_took,
)
from provision.settings import Settings
from provision.state.entries import ResourceResult
from provision.state.resources import TYPES, name_of, noun_of
from provision.terminal.screen import INDENT, READABLE, Screen
from provision.terminal.text import kept

TITLE = 17  # columns of a step's number and title
NAMES_AT = 2 + TITLE + 11

BRINGS_ITS_OWN = "the function's role is somebody else's, and has its own"


class StepLines:
    """The lines of a build's steps.

    A step that found everything as it should be is shown only where another one did not. `verbose`: each resource, each
    difference, and the errata.
    """

    def __init__(self, screen: Screen, settings: Settings, *, verbose: bool) -> None:
        self.screen = screen
        self.settings = settings
        self.verbose = verbose
        self._shown = False
        self._held: list[Callable[[], None]] = []

    def started(self, step: Step) -> None:
        if self.verbose:
            show_step_started(self.screen, step)

    def ended(self, step: Step, results: Sequence[ResourceResult], seconds: float) -> None:
        if self.verbose:
            show_step_ended(self.screen, step, results, self.settings)
            if self.screen.presenting:
                show_took(self.screen, seconds)
            return
        if not results and step.name == "policies" and self.settings.rules.lambda_role_arn:
            self._held.append(lambda: show_line(self.screen, f"{step.number}/8 {step.title}", "none", [BRINGS_ITS_OWN]))
            return
        self._held.append(lambda: show_step(self.screen, step, results, seconds))
        if self._shown or not results or any(map(is_worth_a_line, results)):
            if not self._shown:
                self.screen.say()
            self._shown = True
            for show in self._held:
                show()
            self._held = []


class TestLines:
    """The lines of the walkthrough's tests: one for all that passed, and each that failed. `verbose`: each."""

    def __init__(self, screen: Screen, *, verbose: bool) -> None:
        self.screen = screen
        self.verbose = verbose
        self._passed: list[str] = []
        if verbose:
            show_tests_started(screen)

    def ended(self, test: SmokeTest) -> None:
        if self.verbose or not test.passed:
            show_test(self.screen, test.title, test.saw, passed=test.passed)
        else:
            self._passed.append(test.title.partition(":")[0])

    def sum_up(self, seconds: float) -> None:
        if self._passed:
            show_line(self.screen, "    Tests", f"{len(self._passed)} passed", self._passed, seconds)


def is_worth_a_line(result: ResourceResult) -> bool:
    return result.outcome != "unchanged" or bool(result.notes or result.differences)


def show_step(screen: Screen, step: Step, results: Sequence[ResourceResult], seconds: float) -> None:
    """A line for each outcome of the step, as a rule one; below it what was updated, and what is to be known."""
    title = f"{step.number}/8 {step.title}"
    if not results:  # it ended before anything was done
        show_line(screen, title, "stopped", [])
    told = whole_ones(results, lambda one: one.kind)
    told = [one for one in told if one.outcome != "unchanged"] or told
    for outcome in dict.fromkeys(one.outcome for one in told):
        names = [name_of(one.kind, one.identity) for one in told if one.outcome == outcome]
        show_line(screen, title, outcome, names, seconds if title else None)
        title = ""
    several = sum(bool(one.differences) for one in results) > 1
    for result in results:
        if several and result.differences:
            screen.keep(f"{INDENT[2:]}{noun_of(result.kind)} {name_of(result.kind, result.identity)}", "dim")
        for difference in result.differences:
            show_difference(screen, difference)
        for note in result.notes:
            screen.prose(" " * NAMES_AT, note, "dim")
    screen.space()


R = TypeVar("R", ResourceResult, ResourceOutcome)


def whole_ones(results: Sequence[R], type_of: Callable[[R], str]) -> list[R]:
    """Without the parts whose outcome is a whole's: they go without saying."""
    wholes = [one for one in results if not TYPES[type_of(one)].goes_without_saying] or list(results)
    of_wholes = {one.outcome for one in wholes}
    return [one for one in results if one in wholes or one.outcome not in of_wholes]


def show_line(
    screen: Screen,
    title: str,
    word: str,
    names: Sequence[str],
    seconds: float | None = None,
    *,
    data: bool = False,
    style: str | None = None,
) -> None:
    """A line of a table: a step, a word for what became of these, and their names."""
    text = Text(f"  {title:<{TITLE}}")
    text.append(f"{word:<11}", style=STYLES.get(word.split()[-1], "") if style is None else style)
    text.append(", ".join(names))
    if seconds is not None:
        took = kept(f"  {seconds:.1f}", "s")
        width = min(screen.talk.width - 1, READABLE) if screen.in_terminal else 0
        text.append(took.rjust(width - len(text)), style="dim")
    screen.between_words(text, below=NAMES_AT, data=data)
