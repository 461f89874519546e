"""`--step`: leads through the lesson, one page for each step, and runs a step when the learner says so.

The last page is kept beside the state file, so that a learner can stop and go on later. The state file, not the lesson,
says what exists: turning back deletes nothing.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from provision import BESIDE, STEPS, Step
from provision.account import conflicts
from provision.errata import ERRATA, Erratum
from provision.lesson.call import faces
from provision.lesson.page import ConsoleFace, Page, names, read
from provision.lesson.place import Place, step_called
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
from provision.terminal.prompts import choose, forget_typed_ahead, in_parts, pause
from provision.terminal.screen import Screen
from provision.terminal.shell import program

# By step, the key of what it makes last: when that is made, the step is done.
LAST_MADE = {place.step: key for key, place in PLACES.items()}
# What became of an entry of the state file, by its status.
WORDS = {"creating": "recorded", "created": "made", "deleting": "to be deleted", "deleted": "deleted"}
# The key for each choice.
KEYS = {
    "next": "n",
    "needed": "n",
    "run": "r",
    "test": "t",
    "code": "c",
    "calls": "l",
    "answer": "a",
    "notes": "p",
    "words": "w",
    "skip": "s",
    "back": "b",
    "quit": "q",
}


class Guide:
    """One session of a lesson: the run, the screen, the run's transcript, and where the learner is.

    `run_step` runs one step of the walkthrough and shows it, `run_smoke_tests` tests the result, `stopped` says how
    either ended early. `made_by` finds the calls that made a step's resources, as `call` events of transcripts; there
    may be none.
    """

    def __init__(
        self,
        run: conflicts.Run,
        screen: Screen,
        transcript: Transcript,
        *,
        run_step: Callable[[Step], None],
        run_smoke_tests: Callable[[], None],
        made_by: Callable[[Step], list[dict[str, Any]]],
        stopped: Callable[[outcome.UserError], object],
        lessons: Path | None = None,
    ) -> None:
        self.run = run
        self.screen = screen
        self.transcript = transcript
        self.run_step = run_step
        self.run_smoke_tests = run_smoke_tests
        self.made_by = made_by
        self.stopped = stopped
        self.lessons = lessons
        self.place = Place.read(run.state.path)
        if self.place.endpoint != run.state.endpoint:  # of a sandbox that is gone
            self.place = Place(self.place.path, endpoint=run.state.endpoint)
        self.names = names(run.settings, account=run.aws.account_id, region=run.aws.region, partition=run.aws.partition)
        self.seconds: dict[str, float] = {}  # by step, in this session
        self.finished = False

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

    def ahead(self, step: Step) -> list[Step]:
        """The steps to make before a learner can go on from a page: what it needs; at the end, what was left out."""
        if step == STEPS[-1] and self.is_made(step):
            return [one for one in STEPS if not self.is_made(one)]
        return self.missing(step)

    def first_page(self) -> Step:
        """The page of last time, which teardown turns back; without one the first whose step is not made."""
        if self.place.is_new:
            return next((step for step in STEPS if not self.is_made(step)), STEPS[0])
        return self.place.step

    # The lesson.

    def lead(self, *, after: Step | None = None) -> bool:
        """Lead until the learner comes to the end, or stops; return whether it was the end.

        `after` is the step after which to begin; None: where the lesson was left.
        """
        step: Step | None = self.first_page() if after is None else STEPS[min(after.number, len(STEPS) - 1)]
        if after is None and not (self.place.is_new and step == STEPS[0]) and step is not None:
            how = "Going on" if self.existing() else "Beginning"
            self.screen.say(f"{how} with step {step.number}, {step.title}.", "bold")
        if after is None and self.place.is_new and all(map(self.is_made, STEPS)):
            self.screen.say(
                "Everything is built already, so these pages are for reading. To build it here, step by step:"
            )
            self.screen.keep(f"{program('teardown', self.run.where)}, and then this command again")
        while step is not None:
            self.place.note(step)
            step = self.page(step)
        return self.finished

    def page(self, step: Step) -> Step | None:
        """Show a step's page and do what the learner chooses there; the page to turn to, None to stop."""
        page = read(step.name, self.names, folder=self.lessons)
        self.show(step, page)
        stays: dict[str, Callable[[], object]] = {  # what a choice does that does not turn the page
            "run": lambda: self.do(step, page),
            "test": lambda: self.runs(self.run_smoke_tests),
            "code": lambda: self.code(step),
            "calls": lambda: self.show_calls(step, page),
            "answer": lambda: show_markdown(self.screen, page.answer),
            "notes": lambda: show_markdown(self.screen, page.presenter),
            "words": lambda: show_markdown(self.screen, read_words()),
        }
        while True:
            title = f"Step {step.number} of 8, {step.title}"
            choice = choose(self.screen, title, self.choices(step), KEYS, numbers=len(STEPS))
            if choice not in stays:
                return self.turn(step, choice)
            stays[choice]()

    def turn(self, step: Step, choice: str) -> Step | None:
        """The page that a choice turns to; None to stop."""
        if choice.isdigit():
            return STEPS[int(choice) - 1]
        if choice == "back":
            return self.back(step)
        if choice == "needed":
            return self.ahead(step)[0]
        if choice in ("next", "skip") and step != STEPS[-1]:
            return STEPS[step.number]
        if choice == "next":
            self.finished = True
        else:
            self.say_how_to_go_on()
        return None

    def code(self, step: Step) -> None:
        """The step's code, and for the function where the code is that it sends to Lambda."""
        show_code(self.screen, code_of(step), "python")
        self.screen.keep(f"It is in {inspect.getsourcefile(step.load())}.", "dim")
        if step.name == "function":
            self.screen.keep(f"What it sends to Lambda is {source_file(self.run.settings)}.", "dim")

    def choices(self, step: Step) -> dict[str, str]:
        """What can be chosen on a page, by the word that returns it; the first is what Enter does."""
        made, ahead = self.is_made(step), self.ahead(step)
        at_the_end = made and step == STEPS[-1]
        choices: dict[str, str] = {}
        if ahead and (at_the_end or not made):
            why = "was left out" if at_the_end else "this one needs"
            choices["needed"] = f"go to step {ahead[0].number}, {ahead[0].title}, which {why}"
        elif made:
            choices["next"] = "next page" if step != STEPS[-1] else "finish"
        else:
            choices["run"] = "run this step"
        if at_the_end and not ahead:
            choices["test"] = "test the whole architecture"
        choices["code"] = "show the code of this step"
        choices["calls"] = "show the calls it makes, before they are made" if not made else "show the calls again"
        choices["answer"] = "show the answer to the question"
        choices["notes"] = "show the notes for the presenter"
        choices["words"] = "show what the words mean"
        if made:
            choices["run"] = "run it again (what exists stays as it is)"
        else:
            choices["skip"] = "skip it for now"
        if step != STEPS[0]:
            choices["back"] = "turn back one page (deletes nothing)"
        choices["quit"] = "quit, and go on later"
        return choices

    def back(self, step: Step) -> Step:
        earlier = STEPS[step.number - 2]
        if self.is_made(earlier):
            command = program("teardown", [*self.run.where, "--back-to", str(earlier.number)])
            self.screen.say("What was made stays. To take it down and make it again, quit and run", "dim")
            self.screen.keep(f"    {command}", "dim")
        return earlier

    def say_how_to_go_on(self) -> None:
        kept = "Your place and what was made are kept." if self.existing() else "Your place is kept."
        self.screen.say(f"{kept} To go on", "bold")
        self.screen.tell(program("provision", [*self.run.build, *self.screen.look, "--step"]))
        if self.existing():
            self.screen.say("To take down what there is", "bold")
            self.screen.tell(program("teardown", [*self.run.where, *self.screen.look]))

    # What a page shows.

    def show(self, step: Step, page: Page) -> None:
        parts: list[Callable[[], None]] = [
            lambda: self.show_beginning(step, page),
            lambda: self.show_section("Why now", page.why_now),
            lambda: self.show_section("In the console", page.console),
            *(partial(self.show_erratum, erratum) for erratum in ERRATA if erratum.step == step.name),
            self.show_picture,
            lambda: self.show_question(step, page),
        ]
        self.show_parts(step, parts, f"More of page {step.number}")

    def show_parts(self, step: Step, parts: list[Callable[[], None]], what: str) -> None:
        """The parts, in a terminal as many at once as fit; `what` names the rest at each stop."""
        prompt = f"{what}. Enter: go on; e: to its end; x: no more of it > "
        menu = len(self.choices(step)) + 4  # its title, the line with the pages' numbers, and the prompt
        in_parts(self.screen, parts, prompt, below=menu)

    def show_beginning(self, step: Step, page: Page) -> None:
        show_page(self.screen, f"Step {step.number} of 8: {page.title}")
        self.show_section("What it is for", page.purpose)

    def show_section(self, title: str, text: str) -> None:
        self.screen.heading(title)
        show_markdown(self.screen, text)

    def show_erratum(self, erratum: Erratum) -> None:
        self.screen.heading(f"Erratum {erratum.number} of the walkthrough")
        self.screen.prose("    It says:  ", erratum.says)
        self.screen.prose("    True is:  ", erratum.truth)
        self.screen.prose("    Done:     ", erratum.done_here(self.run.settings))

    def show_picture(self) -> None:
        self.screen.heading("What there is so far")
        show_drawing(self.screen, self.run.settings, self.existing())

    def show_question(self, step: Step, page: Page) -> None:
        self.show_section("To think about", page.question)
        missing = self.missing(step)
        if missing:
            needed = ", ".join(f"{one.number} ({one.title})" for one in missing)
            self.screen.say(f"This step needs what does not exist yet: step {needed}.", "yellow")
        if self.is_made(step):
            took = f" It took {self.seconds[step.name]:.1f} s." if step.name in self.seconds else ""
            self.screen.say(f"This step is done.{took}", "green")
            if step == STEPS[-1] and self.ahead(step):
                left_out = ", ".join(f"{one.number} ({one.title})" for one in self.ahead(step))
                self.screen.say(f"The architecture is not whole, as this was left out: step {left_out}.", "yellow")

    def show_calls(self, step: Step, page: Page) -> None:
        """The calls that made the step's resources; before there are any, what the console would ask for instead."""
        made = self.made_by(step)
        if made:
            self.show_faces(made, page)
            return
        faces = [face for face in page.console_faces if not face.updates]
        parts: list[Callable[[], None]] = [partial(self.show_face, face) for face in faces]
        self.show_parts(step, [*parts, partial(self.show_updates, step, page)], "More of the calls")

    def show_face(self, face: ConsoleFace) -> None:
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

    def do(self, step: Step, page: Page) -> None:
        """Run the step; show each call that changed something, what is new in the state file, and where to see it."""
        first = len(self.transcript.events)
        began = time.monotonic()
        if not self.runs(lambda: self.run_step(step)):
            return
        self.seconds[step.name] = time.monotonic() - began
        events = self.transcript.events[first:]
        calls = [event for event in events if event["type"] == "call"]
        for value, name in invented_ids(calls).items():
            self.screen.hide(value, name)
        writes = [call for call in calls if not call["read"]]
        self.show_faces(writes, page)
        looked = len(calls) - len(writes)
        self.screen.say(
            f"{looked} further calls only looked; the transcript has them all: {self.transcript.path}", "dim"
        )
        if writes and self.run.aws.base_url and not self.run.aws.profile:
            self.say_how_to_try()
        self.show_changes(events)
        took = self.seconds[step.name]
        self.screen.say(f"Step {step.number} is done ({took:.1f} s).", "bold green")
        self.screen.heading("To think about")
        show_markdown(self.screen, page.question)

    def say_how_to_try(self) -> None:
        """What the `aws` commands of a page need on an emulator, which asks for no credentials."""
        self.screen.say()
        self.screen.say(
            "The aws commands of this page need credentials, and any will do here. To try one, first run", "dim"
        )
        self.screen.keep("    export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any")

    def show_faces(self, calls: list[dict[str, Any]], page: Page) -> None:
        """Call by call, each when the learner is ready for it."""
        aws = self.run.aws
        for value, name in invented_ids(calls).items():
            self.screen.hide(value, name)
        stopping = True
        for number, call in enumerate(calls, start=1):
            shown = faces(call, page, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile)
            show_call(self.screen, call, shown)
            if not stopping or number == len(calls):
                continue
            prompt = f"Call {number} of {len(calls)}. Enter: the next; e: all; x: no more of them > "
            answer = pause(self.screen, prompt, ("", "e", "x", "q"))
            if answer in ("x", "q"):
                return
            stopping = answer != "e"

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
        changes: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            if event["type"] == "entry":
                changes.setdefault(event["entry"]["key"], []).append(event["entry"])
        if changes:
            self.screen.heading("What is new in the state file, and where to see it")
        for entries in changes.values():
            entry = Resource(**{**entries[-1], "before": {}})
            words = ", then ".join(dict.fromkeys(WORDS.get(one["status"], one["status"]) for one in entries))
            show_change(
                self.screen, entry, words, where_to_see(entry.kind, entry.identity, entry.outputs, self.run.aws)
            )


def read_words() -> str:
    """What the words of the lesson mean."""
    return (BESIDE / "lessons" / "words.md").read_text(encoding="utf-8")


def code_of(step: Step) -> str:
    """The functions that run the step: `provision` first, then those of its module that it calls."""
    module = step.load()
    wanted = ["provision"]
    for name in wanted:  # it grows meanwhile
        codes = [getattr(module, name).__code__]
        for code in codes:
            codes += [inner for inner in code.co_consts if inspect.iscode(inner)]
            for called in code.co_names:
                function = getattr(module, called, None)
                if inspect.isfunction(function) and function.__module__ == module.__name__ and called not in wanted:
                    wanted.append(called)
    return "\n\n".join(inspect.getsource(getattr(module, name)) for name in wanted)
