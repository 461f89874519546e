"""What happens in a run, on the screen: during the run, and when its transcript is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from provision import Step
from provision.aws.waiting import Wait
from provision.errata import ERRATA
from provision.settings import Settings
from provision.state.entries import Difference, ResourceResult
from provision.state.resources import name_of, noun_of
from provision.terminal.differences import LEFT, difference_lines
from provision.terminal.screen import INDENT, Screen
from provision.terminal.text import folded

HEARTBEAT = 15.0  # seconds between two lines about one wait

# By outcome, of a step and of a teardown.
STYLES = {
    "created": "green",
    "recovered": "green",
    "updated": "yellow",
    "adopted": "yellow",
    "unchanged": "dim",
    "deleted": "green",
    "gone": "green",
    "left": "green",
    "passed": "green",
    "stopped": "red",
    "kept": "red",
    "failed": "red",
}


def show_step_started(screen: Screen, step: Step) -> None:
    screen.heading(f"{step.number}/8 {step.title}")


def show_step_ended(screen: Screen, step: Step, results: Sequence[ResourceResult], settings: Settings) -> None:
    """What the step did; then the errata that concern it, unless nothing was to be done."""
    for event in results:
        show_outcome(screen, event.outcome, event.kind, event.identity)
        for difference in event.differences:
            show_difference(screen, difference)
        for note in event.notes:
            screen.prose(INDENT, note, "dim")
    if all(event.outcome == "unchanged" for event in results):
        return
    for erratum in ERRATA:
        if erratum.step == step.name and erratum.as_written:
            screen.prose(f"    erratum {erratum.number:<2} It says: ", erratum.says, "dim")
            screen.prose(f"{INDENT}Done:    ", erratum.done_here(settings), "dim")


def show_difference(screen: Screen, difference: Difference) -> None:
    """What was found, and what it is now."""
    room = screen.talk.width - len(INDENT) - 1
    found = "not recorded" if difference.attribute == "role id" and difference.found is None else difference.found
    words = LEFT if difference.left else ("was", "now")
    for line in difference_lines(difference.attribute, found, difference.wanted, room, words):
        screen.keep(INDENT + line, "dim")


def show_took(screen: Screen, seconds: float) -> None:
    """How long a step took."""
    screen.say(f"    {'took':<11}{seconds:.1f} s", "dim")


def show_outcome(screen: Screen, word: str, kind: str, identity: Mapping[str, str], remark: str = "") -> None:
    """What became of one resource. A transcript may have a resource type that this version does not know."""
    name = name_of(kind, dict(identity))
    screen.line(word, noun_of(kind), f"{name}  ({remark})" if remark else name, STYLES.get(word, ""))


def show_tests_started(screen: Screen) -> None:
    screen.heading("Tests of the walkthrough")


def show_test(screen: Screen, title: str, saw: str, *, passed: bool = True) -> None:
    """One of the walkthrough's own tests."""
    text = Text("    ")
    text.append(f"{'OK' if passed else 'failed':<11}", style="green" if passed else "red")
    text.append(title)
    if screen.in_terminal:
        text = folded(text, screen.talk.width - 1, len(INDENT))
    screen.talk.print(text, soft_wrap=True)
    screen.say(INDENT + saw, "dim")


def show_hop(
    screen: Screen,
    *,
    route: str,
    place: str,
    after: float | None,
    took: float | None,
    source: str,
    saw: str,
    is_first: bool,
) -> None:
    """One place that a request came to: when, how long it took there, the source of that, and what was seen. Data.

    `is_first` of its route: then the route is named.
    """
    if is_first:
        screen.tell()
        screen.data.print(Text(route, style="bold"), soft_wrap=True)
    told = "" if after is None else f"{after:.3f} s"
    so_long = "" if took is None else f"took {took:.3f} s; "
    begin = f"    {told:>9}  {place:<18}"
    screen.prose(begin, f"{so_long}{saw}", "dim" if after is None else "", data=True)
    if source:
        screen.prose(" " * len(begin), f"by {source}", "dim", data=True)


class WaitLines:
    """A line when a wait has lasted `patience` seconds, and another every fifteen unless its progress is drawn."""

    def __init__(self, screen: Screen, patience: float = 0) -> None:
        self.screen = screen
        self.patience = patience
        self._told: dict[str, float] = {}

    def begin(self) -> None:
        """From here on each wait has its first line again."""
        self._told.clear()

    def show(self, wait: Wait) -> None:
        last = self._told.get(wait.reason)
        if last is not None and wait.elapsed < last:
            last = None  # another wait for the same reason
        if wait.elapsed < self.patience:
            return
        every = wait.budget if self.screen.is_drawing else HEARTBEAT
        if last is not None and 0 <= wait.elapsed - last < every:
            return
        self._told[wait.reason] = wait.elapsed
        most = f"at most {wait.budget:.0f} s"
        so_far = most if last is None else f"{wait.elapsed:.0f} s so far, {most}"
        # Without words of AWS nothing was refused: what was asked for is still to come.
        what = wait.reason if wait.words else f"for {wait.reason}"
        self.screen.prose("    waiting    ", f"{what} ({so_far}). {wait.means}".rstrip(), "cyan")
        if wait.words and last is None:
            self.screen.prose(f"{INDENT}AWS says: ", wait.words, "dim")
