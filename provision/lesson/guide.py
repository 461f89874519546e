"""`--step`: leads through the lesson, one page for each step, and runs a step when the learner says so.

What was done and answered is kept beside the state file, so that a learner can stop and go on later. The state file,
not the lesson, says what exists: turning back deletes nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from provision import STEPS, Step
from provision.account import conflicts
from provision.aws.call_text import NO_AWS
from provision.check.mistakes import EXISTS
from provision.check.verdicts import PASS, Finding
from provision.lesson.by_hand import DONE, SHOW, Watch, with_what_helps
from provision.lesson.checked import explained
from provision.lesson.choices import everywhere, of_step, of_tests
from provision.lesson.page import Page
from provision.lesson.place import OPENING, PAGES, TESTS, Place, step_called
from provision.lesson.shown import Shown
from provision.lesson.standing import Standing
from provision.lesson.views import show_markdown
from provision.record.transcript import Transcript
from provision.state.entries import CannotUpdate
from provision.terminal import outcome
from provision.terminal.prompts import Choice, Quit, Turn, agrees, choose, forget_typed_ahead, pause, read_line
from provision.terminal.screen import Screen
from provision.terminal.shell import program
from provision.terminal.text import KEPT

ALL_RIGHT = "All of it is right. It is taken over, so that a teardown removes it, too."
HOW_BY_HAND = "Do it in the console, or in another terminal. The lesson looks on, and makes nothing."
HOW_WITHOUT_CONSOLE = "A local AWS has no console: do it in another terminal. The lesson looks on, and makes nothing."
SHELL = "A shell in which plain aws and boto3 speak to the right place:"
LAST = len(STEPS) + 1


@dataclass(frozen=True)
class Can:
    """What the lesson can do with its run; each raises UserError when it ends early.

    `run_step` runs a step and shows it; `test` runs the tests of the result; `show_result` shows what can be pasted
    then; `stopped` says how one of them ended early. `made` finds the calls that made a step's resources, `planned`
    those that it would make, both as `call` events of transcripts. Of a step that is done by hand `left` finds
    the calls that make or correct what is not right yet, `look` each attribute, and `take_over` records what was made.
    """

    run_step: Callable[[Step], None]
    test: Callable[[], None]
    show_result: Callable[[], None]
    stopped: Callable[[outcome.UserError], object]
    made: Callable[[Step], list[dict[str, Any]]]
    planned: Callable[[Step], list[dict[str, Any]]]
    left: Callable[[Step, Sequence[Finding]], list[dict[str, Any]]]
    look: Callable[[Step], list[Finding]]
    take_over: Callable[[Step], None]


class Guide:
    """One session of a lesson: the run, the screen, the run's transcript, and where the learner is.

    `lessons`: a trainer's own folder.
    """

    def __init__(
        self, run: conflicts.Run, screen: Screen, transcript: Transcript, can: Can, lessons: Path | None = None
    ) -> None:
        self.run = run
        self.screen = screen
        self.transcript = transcript
        self.can = can
        self.standing = Standing(run.state)
        self.shown = Shown(run, screen, self.standing, can.stopped, lessons)
        self.words = self.shown.words
        self.theirs: set[str] = set()  # keys of what the learner has said to have made by hand
        self.place = Place.read(run.state.path)
        if self.place.endpoint != run.state.endpoint:  # of a sandbox that is gone
            self.place = Place(self.place.path, endpoint=run.state.endpoint)

    def first_page(self) -> str:
        """The page of last time, which teardown turns back; without one the first whose step is not made."""
        if self.place.is_new and self.standing.existing():
            return next((step.name for step in STEPS if not self.standing.is_made(step)), OPENING)
        return self.place.page

    def lead(self, *, after: Step | None = None) -> None:
        """Lead until the learner comes to the end, or stops.

        `after` is the step after which to begin; None: where the lesson was left.
        """
        page: str | None = self.first_page() if after is None else PAGES[after.number + 1]
        if after is None and page not in (OPENING, None):
            how = "Going on" if self.standing.existing() else "Beginning"
            self.screen.say(f"{how} with page {PAGES.index(str(page))}, {self.title_of(str(page))}.", "bold")
        if after is None and not self.standing.left_out() and not self.place.done:
            self.screen.say("Everything is built already, so these pages are for reading.", "bold")
            self.screen.say("To build it here, step by step, take it down first, and run this command again:")
            self.screen.keep(f"    {program('teardown', self.run.where)}")
        try:
            while page is not None:
                self.place.note(page)
                page = self.page(page)
        except Quit:
            self.say_how_to_go_on()

    def page(self, name: str) -> str | None:
        """Show a page and do what the learner chooses there; the page to turn to, None at the end."""
        try:
            if name == OPENING:
                return self.opening()
            return self.tests() if name == TESTS else self.step(step_called(name))
        except Turn as turned:
            return PAGES[turned.number]

    def title_of(self, page: str) -> str:
        return "Tests" if page == TESTS else step_called(page).title

    def opening(self) -> str:
        self.shown.parts("What you build", [partial(self.shown.text, "opening"), self.shown.picture])
        first = Choice("next", "n", self.words("begin"), "turn to step 1")
        again = Choice("again", "x", self.words("start again"), "forget what you did and answered; deletes nothing")

        def choices() -> list[Choice]:
            has_begun = bool(self.place.done or self.place.answers)
            return [first, *([again] if has_begun else []), *everywhere(self.words, OPENING)]

        return self.chosen(OPENING, "The lesson", choices, {"again": self.start_again})

    def start_again(self) -> None:
        """Forget what was done and answered, if the learner says yes; what was made stays."""
        if not agrees(self.screen, self.words("Forget what you did and answered? What was made stays.")):
            return
        self.place.forget()
        self.screen.say(
            "It is forgotten. What was made stays." if self.standing.existing() else "It is forgotten.", "bold"
        )
        self.show_how_to_take_it_down()

    def step(self, step: Step) -> str:
        page = self.shown.read(step)
        self.shown.page(step, page)
        if step.name in self.place.done and self.standing.is_made(step):
            self.ask_question(step, page)
        does: dict[str, Callable[[], object]] = {
            "run": lambda: self.do(step, page),
            "hand": lambda: self.by_hand(step, page),
            "code": lambda: self.shown.code(step, page),
            "calls": lambda: self.calls(step, page),
            "answer": lambda: self.shown.answer(page, question=True),
            "errata": lambda: self.shown.errata(step.name),
            "text": lambda: self.shown.page(step, page),
            "notes": lambda: show_markdown(self.screen, page.presenter),
        }
        title = self.words("Step {number} of 9, {title}", number=step.number, title=page.title)
        return self.chosen(step.name, title, lambda: of_step(self.words, self.standing, step), does)

    def tests(self) -> str | None:
        self.shown.parts("Tests", [partial(self.shown.text, "tests"), self.shown.picture])
        does: dict[str, Callable[[], object]] = {
            "run": self.test,
            "errata": lambda: self.shown.errata(None),
            "text": lambda: self.shown.text("tests"),
        }
        title = self.words("Step {number} of 9, {title}", number=LAST, title=self.words("Tests"))
        page = self.chosen(TESTS, title, lambda: of_tests(self.words, self.standing, tested=self.is_tested), does)
        if page != "end":
            return page
        self.shown.parts("The end", [partial(self.shown.text, "ending")])
        self.screen.say()
        self.show_how_to_take_it_down()
        return None

    def chosen(
        self,
        page: str,
        title: str,
        choices: Callable[[], list[Choice]],
        does: dict[str, Callable[[], object]] | None = None,
    ) -> str:
        """Ask, and do what does not turn the page, until a choice turns it; the page it turns to. Raises Quit."""
        does = {"words": lambda: self.shown.text("words"), "picture": self.shown.picture, **(does or {})}
        number = PAGES.index(page)
        turns = {"back": PAGES[max(0, number - 1)], "next": PAGES[min(number + 1, LAST)], "end": "end"}
        while True:
            choice = choose(self.screen, title, choices(), self.words)
            if choice in does:
                does[choice]()
            elif choice == "needed":
                return self.needed(page)[0].name
            elif choice == "back" and page != OPENING:
                self.say_what_stays(turns["back"])
                return turns["back"]
            else:
                return PAGES[int(choice)] if choice.isdigit() else turns[choice]

    @property
    def is_tested(self) -> bool:
        """Whether the tests passed for what is there now, and were seen in this lesson."""
        return self.run.state.is_tested and TESTS in self.place.done

    def needed(self, page: str) -> list[Step]:
        """The steps to run before the one of this page."""
        return self.standing.left_out() if page == TESTS else self.standing.missing(step_called(page))

    def say_what_stays(self, page: str) -> None:
        """Where a page is turned back to a step that is made, how to take it down."""
        if page != OPENING and self.standing.is_made(step_called(page)):
            command = program("teardown", [*self.run.where, "--back-to", str(PAGES.index(page))])
            self.screen.say("What was made stays. To take it down and make it again, quit and run", "dim")
            self.screen.keep(f"    {command}", "dim")

    def say_how_to_go_on(self) -> None:
        kept = "Your place and what was made are kept." if self.standing.existing() else "Your place is kept."
        self.screen.say(f"{kept} To go on", "bold")
        self.screen.tell(program("provision", [*self.run.build, *self.screen.look, "--step"]))
        self.show_how_to_take_it_down()

    def show_how_to_take_it_down(self) -> None:
        if self.standing.existing():
            self.screen.say("To take down what there is", "bold")
            self.screen.tell(program("teardown", [*self.run.where, *self.screen.look]))

    # What a learner does.

    def do(self, step: Step, page: Page, run_step: Callable[[Step], None] | None = None) -> None:
        """Run the step; show each call that changed something, what is new, and what came of the prediction."""
        guess = self.predicted(step, page) if not (self.standing.is_made(step) or run_step) else None
        first = len(self.transcript.events)
        began = time.monotonic()
        if not self.runs(lambda: (run_step or self.can.run_step)(step), but=CannotUpdate if run_step else Quit):
            return
        self.shown.seconds[step.name] = time.monotonic() - began
        if step.name not in self.place.done:
            self.place.did(step.name, "shown")
        events = self.transcript.events[first:]
        calls = [event for event in events if event["type"] == "call"]
        writes = [call for call in calls if not call["read"]]
        if not writes:
            self.screen.say("Nothing was changed: it is all there, as the step sets it.")
        self.shown.faces(writes, page)
        self.shown.parts("What is new", [partial(self.shown.changes, events)])
        if guess is not None:
            self.judge(step, page, guess, calls)
        self.screen.say()
        self.screen.say(f"Step {step.number} is done ({self.shown.seconds[step.name]:.1f} s).", "bold green")
        self.ask_question(step, page)

    def calls(self, step: Step, page: Page) -> None:
        """The calls of a step: those that it made, else those that it would make."""
        made = self.can.made(step)
        planned: list[dict[str, Any]] = []
        if made or self.runs(lambda: planned.extend(self.can.planned(step))):
            self.shown.calls(step, page, made, planned)

    def by_hand(self, step: Step, page: Page) -> None:
        """The learner does the step elsewhere; when all is right, or at a word, it is taken over."""
        calls: list[dict[str, Any]] = []
        if not self.runs(lambda: calls.extend(self.can.planned(step))) or not self.may_take_over(step):
            return
        self.screen.heading(self.words("By hand"))
        is_local = self.run.aws.endpoint is not None
        if is_local and self.shown.face == "console":
            self.shown.face = "aws"
        self.screen.say(f"{HOW_WITHOUT_CONSOLE if is_local else HOW_BY_HAND} {SHELL}")
        self.screen.keep(f"    {program('provision', ['shell', *self.run.where])}")
        if shutil.which("aws") is None:
            self.screen.say(NO_AWS, "yellow")
        self.shown.shell_is_said = True
        self.shown.faces(calls, page, planned=True, tags=False)
        watch = Watch(
            self.screen,
            self.words,
            look=lambda: explained(self.can.look(step), self.shown.names, folder=self.shown.lessons),
            left=lambda findings: self.can.left(step, findings),
            show_calls=lambda left: self.shown.faces(left or calls, page, planned=True, tags=False),
            show_commands=lambda left: self.shown.commands(left, page),
        )
        self.screen.say()
        self.do_or_take_over(step, page, watch)

    def do_or_take_over(self, step: Step, page: Page, watch: Watch) -> None:
        """Watch until all is right, or a word of the learner; take it over. What cannot be is told, and watched on."""
        ended: list[str] = []
        while True:
            if not self.runs(lambda: ended.append(watch.until_right())):
                return
            if not self.may_take_over_what_came(watch):
                return
            try:
                if ended[-1] == SHOW:
                    self.do(step, page, self.can.take_over if watch.has_begun else None)
                    return
                if ended[-1] == DONE:
                    self.screen.say(self.words(ALL_RIGHT), "green")
                if not self.runs(lambda: self.can.take_over(step), but=CannotUpdate):
                    return
            except CannotUpdate as stop:
                self.can.stopped(with_what_helps(stop, watch.findings))
                continue
            self.place.did(step.name, "by hand", tries=watch.tries)
            self.screen.say(f"Step {step.number} is done, by hand.", "bold green")
            self.ask_question(step, page)
            return

    def may_take_over(self, step: Step) -> bool:
        """Whether what is there before the learner begins is the learner's: a teardown deletes what is taken over."""
        seen: list[Finding] = []
        if not self.runs(lambda: seen.extend(self.can.look(step))):
            return False
        strange = {one.key: one.label for one in self.untold(seen)}
        return not strange or self.agrees(f"There already, before you begin: {', '.join(strange.values())}.", strange)

    def may_take_over_what_came(self, watch: Watch) -> bool:
        """The same of what came since. In a sandbox nobody else can have made it, so nothing is asked there."""
        came = {one.key: f"{one.label}, first seen {watch.since[one.key]}" for one in self.untold(watch.findings)}
        if not came or self.run.aws.is_sandbox:
            return True
        return self.agrees(f"There since you began: {'; '.join(came.values())}.", came)

    def untold(self, findings: Sequence[Finding]) -> list[Finding]:
        """Of each resource that is there, unless it is recorded, or the learner has said whose it is."""
        there = [one for one in findings if (one.attribute, one.outcome) == (EXISTS, PASS)]
        return [one for one in there if self.run.state.record(one.key) is None and one.key not in self.theirs]

    def agrees(self, what: str, keys: Iterable[str]) -> bool:
        """Whether the learner says that they made it."""
        self.screen.say()
        self.screen.say(what, "yellow")
        self.screen.say("What is taken over is this lesson's, and a teardown deletes it, with all that is in it.")
        if not agrees(self.screen, self.words("Did you make it, and is it to be taken over?")):
            return False
        self.theirs.update(keys)
        return True

    def predicted(self, step: Step, page: Page) -> str | None:
        """The letter of the answer that the learner expects; None where nothing is asked, or it is left open."""
        prediction = page.prediction
        if prediction is None or "guess" in self.place.answers.get(step.name, {}):
            return None
        self.screen.heading(self.words("Before it runs"))
        show_markdown(self.screen, prediction.question)
        self.screen.say()
        for letter, answer in prediction.choices.items():
            self.screen.prose(f"  {letter}  ", answer)
        say, letters = self.words, ", ".join(prediction.choices)
        prompt = (
            f"{say('What do you expect?')}  {letters}  s: {say('skip the question')}  q:{KEPT}{say('quit')}{KEPT}> "
        )
        answer = pause(self.screen, prompt, (*prediction.choices, "s"), self.words)
        return None if answer == "s" else answer

    def judge(self, step: Step, page: Page, guess: str, calls: list[dict[str, Any]]) -> None:
        """What AWS said to what the learner expected."""
        prediction = page.prediction
        said = prediction.said_by(calls) if prediction is not None else None
        if prediction is None or said is None:
            return
        self.place.answered(step.name, guess=prediction.choices[guess], aws=said)
        self.screen.heading(self.words("What you expected, and what the answer was"))
        self.screen.prose("    ", f"You expected: {prediction.choices[guess]}.")
        for line in prediction.verdict(guess, said, local=self.run.aws.endpoint is not None):
            self.screen.prose("    ", line)

    def ask_question(self, step: Step, page: Page) -> None:
        """The page's question, and after the learner's answer that of the page. It is asked until it was answered."""
        if not page.question or "answer" in self.place.answers.get(step.name, {}):
            return
        self.shown.section("To think about", page.question)
        self.screen.say()
        say = self.words
        keys = f"{say('Enter')}: {say('none')}  q:{KEPT}{say('quit')}"
        try:
            answer = read_line(self.screen, f"{say('Your answer, in a line')}  ({keys}) > ").strip()
        except EOFError:
            raise Quit from None
        if answer.lower() == "q":
            raise Quit
        self.place.answered(step.name, answer=answer)
        self.shown.answer(page)

    def test(self) -> None:
        """Run the tests; when they pass, show what the learner can send."""
        if self.standing.left_out():
            left_out = ", ".join(f"{one.number} ({one.title})" for one in self.standing.left_out())
            self.screen.say(f"The architecture is not whole, as this was left out: step {left_out}.", "yellow")
        elif self.runs(self.can.test):
            self.place.did(TESTS, "shown")
            self.screen.heading(self.words("Now you: paste these lines into another terminal"))
            self.can.show_result()

    def runs(self, what: Callable[[], None], *, but: type[Exception] = outcome.Interrupted) -> bool:
        """Run it, and whether it came to its end; else how it ended is said. `but`: this is raised."""
        try:
            what()
        except (outcome.Interrupted, but):
            raise
        except outcome.UserError as stop:
            self.can.stopped(in_a_lesson(stop))
            return False
        finally:
            forget_typed_ahead()  # an Enter of impatience would turn the page, and run what is there
        return True


def in_a_lesson(stop: outcome.UserError) -> outcome.UserError:
    """The same ending with what a learner can do first, where another way to run is advised."""
    if not any("--adopt" in line for line in stop.advice):
        return stop
    here = "If you made it: choose h, which takes it over. If not, or if it is wrong: delete it, then choose r."
    return stop.with_words(advice=(here, "Or outside of the lesson:", *stop.advice))
