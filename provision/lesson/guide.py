"""`--step`: leads through the lesson, one page for each step, and runs a step when the learner says so.

What was done and answered is kept beside the state file, so that a learner can stop and go on later. The state file,
not the lesson, says what exists: turning back deletes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from provision import STEPS, Step
from provision.account import conflicts
from provision.account.cost import idle_sentence, use_sentence
from provision.errata import ERRATA, Erratum
from provision.lesson import source, terms
from provision.lesson.call import FACES, faces
from provision.lesson.page import BadPage, ConsoleFace, Page, names, read, text_of, with_names
from provision.lesson.place import OPENING, PAGES, TESTS, Place, step_called
from provision.lesson.views import (
    CONSOLE_MARKS,
    show_call,
    show_change,
    show_code,
    show_drawing,
    show_markdown,
    show_page,
)
from provision.package import source_file
from provision.record.recording import invented_ids
from provision.record.transcript import Transcript
from provision.state.entries import Resource
from provision.state.resources import PLACES, where_to_see
from provision.terminal import outcome
from provision.terminal.prompts import Choice, Quit, agrees, choose, forget_typed_ahead, in_parts, pause, read_line
from provision.terminal.screen import Screen
from provision.terminal.shell import program
from provision.terminal.text import KEPT, kept

# By step, the key of what it makes last: when that is made, the step is done.
LAST_MADE = {place.step: key for key, place in PLACES.items()}
# What became of an entry of the state file, by its status.
WORDS = {"creating": "recorded", "created": "created", "deleting": "to be deleted", "deleted": "deleted"}
# How many lines the choices below a page take.
MENU_ROWS = 4
LAST = len(STEPS) + 1


class Guide:
    """One session of a lesson: the run, the screen, the run's transcript, and where the learner is.

    `run_step` runs one step of the walkthrough and shows it, `run_smoke_tests` tests the result, `show_result` shows
    what can be pasted then, `stopped` says how any of them ended early. `made_by` finds the calls that made a step's
    resources, as `call` events of transcripts; there may be none. `lessons`: a trainer's own folder.
    """

    def __init__(
        self,
        run: conflicts.Run,
        screen: Screen,
        transcript: Transcript,
        *,
        run_step: Callable[[Step], None],
        run_smoke_tests: Callable[[], None],
        show_result: Callable[[], None],
        made_by: Callable[[Step], list[dict[str, Any]]],
        stopped: Callable[[outcome.UserError], object],
        lessons: Path | None = None,
    ) -> None:
        self.run = run
        self.screen = screen
        self.transcript = transcript
        self.run_step = run_step
        self.run_smoke_tests = run_smoke_tests
        self.show_result = show_result
        self.made_by = made_by
        self.stopped = stopped
        self.lessons = lessons
        self.words = terms.read(lessons)
        self.place = Place.read(run.state.path)
        if self.place.endpoint != run.state.endpoint:  # of a sandbox that is gone
            self.place = Place(self.place.path, endpoint=run.state.endpoint)
        cost = f"{idle_sentence()} {use_sentence(by_queue=run.settings.has_queue_route)}"
        self.names = {
            **names(run.settings, account=run.aws.account_id, region=run.aws.region, partition=run.aws.partition),
            "cost": cost if run.aws.endpoint is None else "Nothing: this is a local AWS.",
        }
        self.face = FACES[0]
        self.seconds: dict[str, float] = {}  # by step, in this session

    # What exists.

    def is_made(self, step: Step) -> bool:
        entry = self.run.state.record(LAST_MADE[step.name])
        return entry is not None and entry.status == "created"

    def existing(self) -> list[str]:
        return [entry.key for entry in self.run.state.standing if entry.status == "created"]

    def missing(self, step: Step) -> list[Step]:
        """The steps that this one needs, directly or not, and that are not made, in their order."""
        needed: set[str] = set()
        look_at = [step]
        while look_at:
            for name in look_at.pop().load().NEEDS:
                if name not in needed:
                    needed.add(name)
                    look_at.append(step_called(name))
        return [one for one in STEPS if one.name in needed and not self.is_made(one)]

    def left_out(self) -> list[Step]:
        return [step for step in STEPS if not self.is_made(step)]

    def first_page(self) -> str:
        """The page of last time, which teardown turns back; without one the first whose step is not made."""
        if self.place.is_new and self.existing():
            return next((step.name for step in STEPS if not self.is_made(step)), OPENING)
        return self.place.page

    # The lesson.

    def lead(self, *, after: Step | None = None) -> None:
        """Lead until the learner comes to the end, or stops.

        `after` is the step after which to begin; None: where the lesson was left.
        """
        page: str | None = self.first_page() if after is None else PAGES[after.number + 1]
        if after is None and page not in (OPENING, None):
            how = "Going on" if self.existing() else "Beginning"
            self.screen.say(f"{how} with page {PAGES.index(str(page))}, {self.title_of(str(page))}.", "bold")
        if after is None and self.place.is_new and not self.left_out():
            self.screen.say(
                "Everything is built already, so these pages are for reading. To build it here, step by step:"
            )
            self.screen.keep(f"{program('teardown', self.run.where)}, and then this command again")
        try:
            while page is not None:
                self.place.note(page)
                page = self.page(page)
        except Quit:
            self.say_how_to_go_on()

    def page(self, name: str) -> str | None:
        """Show a page and do what the learner chooses there; the page to turn to, None at the end."""
        if name == OPENING:
            return self.opening()
        return self.tests() if name == TESTS else self.step(step_called(name))

    def title_of(self, page: str) -> str:
        return "Tests" if page == TESTS else step_called(page).title

    def opening(self) -> str:
        self.show_parts("What you build", [partial(self.show_text, "opening"), self.show_picture])
        first = Choice("next", "n", self.words("begin"), "turn to step 1")
        again = Choice("again", "x", self.words("start again"), "forget what you did and answered; deletes nothing")

        def choices() -> list[Choice]:
            has_begun = bool(self.place.done or self.place.answers)
            return [first, *([again] if has_begun else []), *self.everywhere(OPENING)]

        return self.chosen(OPENING, "The lesson", choices, {"again": self.start_again})

    def start_again(self) -> None:
        """Forget what was done and answered, if the learner says yes; what was made stays."""
        if not agrees(self.screen, self.words("Forget what you did and answered?")):
            return
        self.place.forget()
        self.screen.say("It is forgotten. What was made stays." if self.existing() else "It is forgotten.", "bold")
        self.show_how_to_take_it_down()

    def step(self, step: Step) -> str:
        page = self.read(step)
        self.show(step, page)
        does: dict[str, Callable[[], object]] = {
            "run": lambda: self.do(step, page),
            "code": lambda: self.show_code(step, page),
            "calls": lambda: self.show_calls(step, page),
            "answer": lambda: self.show_answer(page),
            "errata": lambda: self.show_errata(step.name),
            "text": lambda: self.show(step, page),
            "notes": lambda: show_markdown(self.screen, page.presenter),
        }
        title = self.words("Step {number} of 9, {title}", number=step.number, title=page.title)
        return self.chosen(step.name, title, lambda: self.choices(step), does)

    def tests(self) -> str | None:
        self.show_parts("Tests", [partial(self.show_text, "tests"), self.show_picture])
        does: dict[str, Callable[[], object]] = {
            "run": self.test,
            "errata": lambda: self.show_errata(None),
            "text": lambda: self.show_text("tests"),
        }
        title = self.words("Step {number} of 9, {title}", number=LAST, title=self.words("Tests"))
        page = self.chosen(TESTS, title, self.choices_of_tests, does)
        if page != "end":
            return page
        self.show_parts("The end", [partial(self.show_text, "ending")])
        self.show_how_to_take_it_down()
        return None

    def chosen(
        self,
        page: str,
        title: str,
        choices: list[Choice] | Callable[[], list[Choice]],
        does: dict[str, Callable[[], object]] | None = None,
    ) -> str:
        """Ask, and do what does not turn the page, until a choice turns it; the page it turns to. Raises Quit."""
        does = {"words": lambda: self.show_text("words"), "picture": self.show_picture, **(does or {})}
        number = PAGES.index(page)
        turns = {"back": PAGES[max(0, number - 1)], "next": PAGES[min(number + 1, LAST)], "end": "end"}
        while True:
            offered = choices() if callable(choices) else choices
            choice = choose(self.screen, title, offered, self.words)
            if choice in does:
                does[choice]()
            elif choice == "needed":
                return self.needed(page)[0].name
            elif choice == "back" and page != OPENING:
                self.say_what_stays(turns["back"])
                return turns["back"]
            else:
                return PAGES[int(choice)] if choice.isdigit() else turns[choice]

    def needed(self, page: str) -> list[Step]:
        """The steps to run before the one of this page."""
        return self.left_out() if page == TESTS else self.missing(step_called(page))

    def choices(self, step: Step) -> list[Choice]:
        """What can be chosen on a step's page; the first is what Enter does."""
        say, made, needed = self.words, self.is_made(step), self.missing(step)
        choices = []
        if made:
            choices.append(Choice("next", "n", say("next page"), "turn to the next page"))
        elif needed:
            go = say("go to step {number}", number=needed[0].number)
            choices.append(
                Choice("needed", "g", go, f"turn to step {needed[0].number}, {needed[0].title}: needed here")
            )
        else:
            choices.append(Choice("run", "r", say("run this step"), "run this step, and see its calls"))
        choices += [
            Choice("code", "c", say("code"), "the step's code, part by part"),
            Choice("calls", "l", say("calls"), "its calls: in the console, in boto3, as aws commands"),
            Choice("answer", "a", say("answer"), "the answer to the question of the page"),
        ]
        if made:
            choices.append(Choice("run", "r", "", "run it again; what exists stays as it is"))
        else:
            choices.append(
                Choice("next", "n", say("leave it out"), "turn to the next page, and leave this step for later")
            )
        return [*choices, *self.everywhere(step.name)]

    def choices_of_tests(self) -> list[Choice]:
        say, state = self.words, self.run.state
        again = Choice("run", "r", say("test again"), "run the tests again")
        end = Choice("end", "n", say("finish"), "the end of the lesson")
        if self.left_out():
            step = self.left_out()[0]
            go = say("go to step {number}", number=step.number)
            first = [Choice("needed", "g", go, f"turn to step {step.number}, {step.title}, which was left out")]
        elif state.is_tested and TESTS in self.place.done:
            first = [end, again]
        else:
            first = [Choice("run", "r", say("run the tests"), "run the walkthrough's tests"), end]
        return [*first, *self.everywhere(TESTS)]

    def everywhere(self, page: str) -> list[Choice]:
        """What can be chosen on every page."""
        say = self.words
        choices = [
            Choice("back", "b", say("back"), "turn back one page (deletes nothing)"),
            Choice("errata", "e", say("errata"), "where the walkthrough is wrong here, and what is done instead"),
            Choice("picture", "d", "", "the picture of what there is so far"),
            Choice("text", "t", "", "the text of this page again"),
            Choice("notes", "p", "", "the notes for the presenter"),
            Choice("words", "w", "", "what the words mean"),
            Choice("number", "0-9", "", "turn to that page"),
        ]
        unfit = {OPENING: ("back", "errata", "text", "notes"), TESTS: ("notes",)}
        return [choice for choice in choices if choice.word not in unfit.get(page, ())]

    def say_what_stays(self, page: str) -> None:
        """Where a page is turned back to a step that is made, how to take it down."""
        if page != OPENING and self.is_made(step_called(page)):
            command = program("teardown", [*self.run.where, "--back-to", str(PAGES.index(page))])
            self.screen.say("What was made stays. To take it down and make it again, quit and run", "dim")
            self.screen.keep(f"    {command}", "dim")

    def say_how_to_go_on(self) -> None:
        kept = "Your place and what was made are kept." if self.existing() else "Your place is kept."
        self.screen.say(f"{kept} To go on", "bold")
        self.screen.tell(program("provision", [*self.run.build, *self.screen.look, "--step"]))
        self.show_how_to_take_it_down()

    def show_how_to_take_it_down(self) -> None:
        if self.existing():
            self.screen.say("To take down what there is", "bold")
            self.screen.tell(program("teardown", [*self.run.where, *self.screen.look]))

    # What a page shows.

    def read(self, step: Step) -> Page:
        """The step's page; where it cannot be read, that is said, and the page is empty."""
        try:
            return read(step.name, self.names, folder=self.lessons, terms=self.words)
        except BadPage as bad:
            self.stopped(bad)
            return Page(step.title, "", "", "", "", "", "")

    def show_text(self, name: str) -> None:
        """A text that belongs to no step."""
        try:
            text = with_names(f"{name}.md", text_of(f"{name}.md", self.lessons), self.names)
        except BadPage as bad:
            self.stopped(bad)
            return
        if name != "words":
            show_page(self.screen, "")
        show_markdown(self.screen, text)

    def show(self, step: Step, page: Page) -> None:
        own = [partial(self.show_section, heading, text) for heading, text, behind in page.own if not behind]
        parts: list[Callable[[], None]] = [
            lambda: self.show_beginning(step, page),
            lambda: self.show_section("Why now", page.why_now),
            lambda: self.show_section("In the console", page.console),
            *own,
            lambda: self.show_corrections(step),
            self.show_picture,
            lambda: self.show_standing(step),
        ]
        self.show_parts(f"Page {step.number}", parts)

    def show_parts(self, what: str, parts: list[Callable[[], None]], *, below: int = MENU_ROWS) -> None:
        """The parts, in a terminal as many at once as fit; `what` names them at each stop."""
        in_parts(self.screen, parts, self.stop(what, "go on"), below=below)

    def stop(self, what: str, go_on: str, *more: str) -> str:
        """The prompt of a stop: where it is, and what the keys do there."""
        say = self.words
        keys = [f"{say('Enter')}: {say(go_on)}", *more, f"s: {say('skip the rest')}", f"q: {say('quit')}"]
        return f"{say(what)}.  {'  '.join(kept(*key.split()) for key in keys)}{KEPT}> "

    def show_beginning(self, step: Step, page: Page) -> None:
        show_page(self.screen, self.words("Step {number} of 9: {title}", number=step.number, title=page.title))
        self.show_section("What it is for", page.purpose)

    def show_section(self, title: str, text: str) -> None:
        if text:
            self.screen.heading(self.words(title))
            show_markdown(self.screen, text)

    def show_corrections(self, step: Step) -> None:
        """What is done otherwise than the walkthrough says, a line for each."""
        errata = [erratum for erratum in ERRATA if erratum.step == step.name and erratum.as_written]
        if errata:
            self.screen.heading(self.words("Other than the walkthrough (e tells why)"))
            self.screen.say()
        for erratum in errata:
            self.screen.prose(f" {erratum.number:>2}  ", erratum.done_here(self.run.settings))

    def show_errata(self, step: str | None) -> None:
        """The errata of a step, None: of no single step, in full."""
        errata = [erratum for erratum in ERRATA if erratum.step == step]
        self.show_parts("Errata", [partial(self.show_erratum, erratum) for erratum in errata])
        if not errata:
            self.screen.say("The walkthrough has no erratum here.", "dim")

    def show_erratum(self, erratum: Erratum) -> None:
        self.screen.heading(f"Erratum {erratum.number} of the walkthrough")
        self.screen.prose("    It says:  ", erratum.says)
        self.screen.prose("    True is:  ", erratum.truth)
        self.screen.prose("    Done:     ", erratum.done_here(self.run.settings))

    def show_picture(self) -> None:
        self.screen.heading(self.words("What there is so far"))
        show_drawing(self.screen, self.run.settings, self.existing())

    def show_standing(self, step: Step) -> None:
        """Whether the step can be run, or is done."""
        missing = self.missing(step)
        if missing and not self.is_made(step):
            needed = ", ".join(f"{one.number} ({one.title})" for one in missing)
            self.screen.say()
            self.screen.say(f"This step needs what does not exist yet: step {needed}.", "yellow")
        if self.is_made(step):
            self.screen.say()
            took = f" It took {self.seconds[step.name]:.1f} s." if step.name in self.seconds else ""
            self.screen.say(f"This step is done.{took}", "green")

    def show_answer(self, page: Page) -> None:
        self.show_section("Question", page.question)
        self.show_section("Answer", page.answer)
        for heading, text, behind in page.own:
            if behind:
                self.show_section(heading, text)

    def show_code(self, step: Step, page: Page) -> None:
        """The step's code, part by part: first what creates."""
        parts = source.parts_of(step, page.parts)
        for number, part in enumerate(parts, start=1):
            shown = partial(
                self.show_part, part, "" if step.name != "function" else str(source_file(self.run.settings))
            )
            if number == len(parts):
                self.show_parts("The code", [shown])
            else:
                self.show_parts("The code", [shown], below=0)
                prompt = self.stop("The code", parts[number].title)
                if pause(self.screen, prompt, ("", "s"), self.words) == "s":
                    return

    def show_part(self, part: source.Part, sent: str) -> None:
        self.screen.heading(part.title)
        self.screen.keep(f"{part.file}", "dim")
        if part.remark:
            self.screen.prose("", part.remark)
        self.screen.say()
        show_code(self.screen, part.text(), "python")
        if sent and part.file.startswith("provision/"):
            self.screen.keep(f"What it sends to Lambda is {sent}.", "dim")

    # The calls of a step.

    def show_calls(self, step: Step, page: Page) -> None:
        """The calls that made the step's resources; before there are any, what the console would ask for instead."""
        made = self.made_by(step)
        if made:
            self.show_faces(made, page)
            return
        consoles = [face for face in page.console_faces if not face.updates]
        parts: list[Callable[[], None]] = [partial(self.show_console, face) for face in consoles]
        self.show_parts("The calls", [*parts, partial(self.show_updates, step, page)])

    def show_console(self, face: ConsoleFace) -> None:
        self.screen.heading(f"{face.operation}{f' ({CONSOLE_MARKS[face.mark]})' if face.mark else ''}")
        for line in face.lines():
            self.screen.keep(f"    {line}")

    def show_updates(self, step: Step, page: Page) -> None:
        updates = list(dict.fromkeys(face.operation for face in page.console_faces if face.updates))
        only = f" Only where others changed something, it also calls {', '.join(updates)}." if updates else ""
        self.screen.say(f"The step creates what is not there yet, and looks before and after.{only}", "dim")
        if not self.is_made(step):
            self.screen.say("To see them as boto3: c, the code. As aws commands, in another terminal:", "dim")
            plan = [*self.run.build, *self.screen.look, "--dry-run", "--to", str(step.number)]
            self.screen.keep(f"    {program('provision', plan)}", "dim")

    def show_faces(self, calls: list[dict[str, Any]], page: Page) -> None:
        """Call by call, one face at a time, each when the learner is ready for it. Raises Quit."""
        for value, name in invented_ids(calls).items():
            self.screen.hide(value, name)
        number = 0
        while number < len(calls):
            self.show_parts("The call", [partial(self.show_one, calls[number], page)], below=0)
            number += 1
            turned = FACES[(FACES.index(self.face) + 1) % len(FACES)]
            what = f"Call {number} of {len(calls)}"
            prompt = self.stop(what, "the next call" if number < len(calls) else "go on", f"f: {turned}")
            answer = pause(self.screen, prompt, ("", "f", "s"), self.words)
            if answer == "s":
                return
            if answer == "f":
                self.face, number = turned, number - 1

    def show_one(self, call: dict[str, Any], page: Page) -> None:
        aws = self.run.aws
        shown = faces(call, page, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile)
        show_call(self.screen, call, shown, self.face)
        if self.face == "aws" and aws.base_url and not aws.profile:
            self.screen.say("    It needs credentials, and any will do here. To try it, first run", "dim")
            self.screen.keep("      export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any", "dim")

    # What a learner does.

    def do(self, step: Step, page: Page) -> None:
        """Run the step; show each call that changed something, what is new, and what came of the prediction."""
        guess = self.predicted(step, page) if not self.is_made(step) else None
        first = len(self.transcript.events)
        began = time.monotonic()
        if not self.runs(lambda: self.run_step(step)):
            return
        self.seconds[step.name] = time.monotonic() - began
        events = self.transcript.events[first:]
        calls = [event for event in events if event["type"] == "call"]
        writes = [call for call in calls if not call["read"]]
        if not writes:
            self.screen.say("Nothing was changed: it is all there, as the step sets it.")
        self.show_faces(writes, page)
        self.show_parts("What is new", [partial(self.show_changes, events)])
        if guess is not None:
            self.judge(step, page, guess, calls)
        self.screen.say()
        self.screen.say(f"Step {step.number} is done ({self.seconds[step.name]:.1f} s).", "bold green")
        if step.name not in self.place.done:
            self.place.did(step.name, "shown")
            self.ask_question(step, page)

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
        right = prediction.answer_for(said)
        self.place.answered(step.name, guess=prediction.choices[guess], aws=said)
        self.screen.heading(self.words("What you expected, and what AWS said"))
        self.screen.prose("    You:  ", prediction.choices[guess])
        self.screen.prose("    AWS:  ", said if right is None else f"{said}. {prediction.choices[right]}")

    def ask_question(self, step: Step, page: Page) -> None:
        """The page's question, and after the learner's answer that of the page."""
        if not page.question:
            return
        self.show_section("To think about", page.question)
        self.screen.say()
        say = self.words
        try:
            answer = read_line(
                self.screen, f"{say('Your answer, in a line')}  ({say('Enter')}: {say('none')}) > "
            ).strip()
        except EOFError:
            raise Quit from None
        if answer.lower() == "q":
            raise Quit
        if answer:
            self.place.answered(step.name, answer=answer)
        self.show_section("The page's answer", page.answer)
        for heading, text, behind in page.own:
            if behind:
                self.show_section(heading, text)

    def test(self) -> None:
        """Run the tests; when they pass, show what the learner can send."""
        if self.left_out():
            left_out = ", ".join(f"{one.number} ({one.title})" for one in self.left_out())
            self.screen.say(f"The architecture is not whole, as this was left out: step {left_out}.", "yellow")
        elif self.runs(self.run_smoke_tests):
            self.place.did(TESTS, "shown")
            self.screen.heading(self.words("Now you: paste these lines into another terminal"))
            self.show_result()

    def runs(self, what: Callable[[], None]) -> bool:
        """Run it, and whether it came to its end; else how it ended is said."""
        try:
            what()
        except outcome.Interrupted:
            raise
        except outcome.UserError as stop:
            self.stopped(stop)
            return False
        finally:
            forget_typed_ahead()  # an Enter of impatience would turn the page, and run what is there
        return True

    def show_changes(self, events: list[dict[str, Any]]) -> None:
        changes = {event["entry"]["key"]: event["entry"] for event in events if event["type"] == "entry"}
        if changes:
            self.screen.heading(self.words("What is new, and where to see it"))
        for entry in (Resource(**{**one, "before": {}}) for one in changes.values()):
            where = where_to_see(entry.kind, entry.identity, entry.outputs, self.run.aws)
            show_change(self.screen, entry, WORDS.get(entry.status, entry.status), where)
