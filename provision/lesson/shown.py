"""What a lesson shows, in pieces that fit the terminal: a page, code, calls, errata."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from provision import Step
from provision.account import conflicts
from provision.account.cost import cost_sentences
from provision.errata import ERRATA, Erratum
from provision.lesson import source, terms
from provision.lesson.call import FACES, faces
from provision.lesson.page import BadPage, Page, names, read, text_of, with_names
from provision.lesson.standing import Standing
from provision.lesson.views import (
    show_call,
    show_change,
    show_code,
    show_drawing,
    show_markdown,
    show_page,
    show_todo,
)
from provision.package import source_file
from provision.record.recording import invented_ids
from provision.state.entries import Resource
from provision.state.resources import where_to_see
from provision.terminal import outcome
from provision.terminal.prompts import in_parts, pause
from provision.terminal.screen import Screen
from provision.terminal.shell import command_line, interpreter, program
from provision.terminal.text import KEPT, kept

# What became of an entry of the state file, by its status.
WORDS = {"creating": "recorded", "created": "created", "deleting": "to be deleted", "deleted": "deleted"}
# How many lines the choices below a page take.
MENU_ROWS = 4
# So many words of the glossary stand together.
WORDS_AT_ONCE = 6


class Shown:
    """Shows the parts of a lesson. `stopped` says that a page cannot be read; `lessons` is a trainer's own folder."""

    def __init__(
        self,
        run: conflicts.Run,
        screen: Screen,
        standing: Standing,
        stopped: Callable[[outcome.UserError], object],
        lessons: Path | None,
    ) -> None:
        self.run = run
        self.screen = screen
        self.standing = standing
        self.stopped = stopped
        self.lessons = lessons
        self.words = terms.read(lessons)
        self.names = {
            **names(run.settings, account=run.aws.account_id, region=run.aws.region, partition=run.aws.partition),
            "where": command_line(run.where),
            "cost": cost_sentences(run.settings) if run.aws.endpoint is None else "Nothing: this is a local AWS.",
        }
        self.face = FACES[0]
        self.shell_is_said = False  # since the page was shown
        self.seconds: dict[str, float] = {}  # by step, how long it took in this session

    def read(self, step: Step) -> Page:
        """The step's page; where it cannot be read, that is said, and the page is empty."""
        try:
            return read(step.name, self.names, folder=self.lessons, terms=self.words)
        except BadPage as bad:
            self.stopped(bad)
            return Page(step.title, "", "", "", "", "", "")

    def text(self, name: str) -> None:
        """A text that belongs to no step."""
        try:
            text = with_names(f"{name}.md", text_of(f"{name}.md", self.lessons), self.names)
        except BadPage as bad:
            self.stopped(bad)
            return
        title, _, text = text.partition("\n")
        if name == "words":
            words = re.split(r"\n(?=- )", text.strip())
            some = ["\n".join(words[first : first + WORDS_AT_ONCE]) for first in range(0, len(words), WORDS_AT_ONCE)]
            parts = [partial(show_markdown, self.screen, one) for one in some[1:]]
            self.parts("Words", [partial(self.section, title.removeprefix("# "), some[0]), *parts])
        else:
            show_page(self.screen, title.removeprefix("# "))
            show_markdown(self.screen, text.strip())

    def page(self, step: Step, page: Page) -> None:
        self.shell_is_said = False
        own = [partial(self.section, heading, text) for heading, text, behind in page.own if not behind]
        parts: list[Callable[[], None]] = [
            lambda: self.beginning(step, page),
            lambda: self.section("Why now", page.why_now),
            lambda: self.section("In the console", page.console),
            *own,
            lambda: self.corrections(step),
            self.picture,
            lambda: self.done_or_needed(step),
        ]
        self.parts(self.words("Page {number}", number=step.number), parts)

    def parts(self, what: str, parts: list[Callable[[], None]], *, below: int = MENU_ROWS) -> None:
        """The parts, in a terminal as many at once as fit; `what` names them at each stop, where s skips the rest."""
        in_parts(self.screen, parts, self.stop(what, "go on"), below=below, words=self.words)

    def stop(self, what: str, go_on: str, *more: str) -> str:
        """The prompt of a stop: where it is, and what the keys do there."""
        say = self.words
        keys = [f"{say('Enter')}: {say(go_on)}", *more, f"s: {say('skip the rest')}", f"q: {say('quit')}"]
        return f"{say(what)}.  {'  '.join(kept(*key.split()) for key in keys)}{KEPT}> "

    def beginning(self, step: Step, page: Page) -> None:
        show_page(self.screen, self.words("Step {number} of 9: {title}", number=step.number, title=page.title))
        self.section("What it is for", page.purpose)

    def section(self, title: str, text: str) -> None:
        if text:
            self.screen.heading(self.words(title))
            show_markdown(self.screen, text)

    def corrections(self, step: Step) -> None:
        """What is done otherwise than the walkthrough says, a line for each."""
        errata = [erratum for erratum in ERRATA if erratum.step == step.name and erratum.as_written]
        if errata:
            self.screen.heading(self.words("What differs from the walkthrough (e tells why)"))
            self.screen.say()
        for erratum in errata:
            self.screen.prose(f" {erratum.number:>2}  ", erratum.done_here(self.run.settings))

    def errata(self, step: str | None) -> None:
        """The errata of a step, None: of no single step, in full."""
        errata = [erratum for erratum in ERRATA if erratum.step == step]
        self.parts("Errata", [partial(self.erratum, erratum) for erratum in errata])
        if not errata:
            self.screen.say("The walkthrough has no erratum here.", "dim")

    def erratum(self, erratum: Erratum) -> None:
        self.screen.heading(f"Erratum {erratum.number} of the walkthrough")
        self.screen.prose("    It says:  ", erratum.says)
        self.screen.prose("    In fact:  ", erratum.truth)
        self.screen.prose("    Done:     ", erratum.done_here(self.run.settings))

    def picture(self) -> None:
        self.screen.heading(self.words("What there is so far"))
        show_drawing(self.screen, self.run.settings, self.standing.existing())

    def done_or_needed(self, step: Step) -> None:
        """Whether the step can be run, or is done."""
        missing = self.standing.missing(step)
        if missing and not self.standing.is_made(step):
            needed = ", ".join(f"{one.number} ({one.title})" for one in missing)
            self.screen.say()
            self.screen.say(f"This step needs what does not exist yet: step {needed}.", "yellow")
        if self.standing.is_made(step):
            self.screen.say()
            took = f" It took {self.seconds[step.name]:.1f} s." if step.name in self.seconds else ""
            self.screen.say(f"This step is done.{took}", "green")

    def answer(self, page: Page, *, question: bool = False) -> None:
        """The answer to the page's question; with `question` that first, as it may not have been asked yet."""
        if question:
            self.section("Question", page.question)
        self.section("The page's answer", page.answer)
        for heading, text, behind in page.own:
            if behind:
                self.section(heading, text)

    def code(self, step: Step, page: Page) -> None:
        """The step's code, part by part: first what creates."""
        parts = source.parts_of(step, page.parts)
        for number, part in enumerate(parts, start=1):
            shown = partial(
                self.part_of_code, part, "" if step.name != "function" else str(source_file(self.run.settings))
            )
            if number == len(parts):
                self.parts("The code", [shown])
            else:
                self.parts("The code", [shown], below=0)
                prompt = self.stop("The code", parts[number].title)
                if pause(self.screen, prompt, ("", "s"), self.words) == "s":
                    return

    def part_of_code(self, part: source.Part, sent: str) -> None:
        self.screen.heading(part.title)
        self.screen.keep(f"{part.file}", "dim")
        if part.remark:
            self.screen.prose("", part.remark)
        self.screen.say()
        show_code(self.screen, part.text(), "python", to_read=True)
        if sent and part.file.startswith("provision/"):
            self.screen.keep(f"What it sends to Lambda is {sent}.", "dim")

    def calls(self, step: Step, page: Page, made: list[dict[str, Any]], planned: list[dict[str, Any]]) -> None:
        """The calls that made the step's resources; before there are any, those that it will make."""
        if made:
            self.faces(made, page)
            return
        self.faces(planned, page, planned=True)
        updates = list(dict.fromkeys(face.operation for face in page.console_faces if face.updates))
        only = f" Only where others changed something, it also calls {', '.join(updates)}." if updates else ""
        self.screen.say(f"The step creates what is not there yet, and looks before and after.{only}", "dim")

    def faces(self, calls: list[dict[str, Any]], page: Page, *, planned: bool = False, tags: bool = True) -> None:
        """Call by call, one face at a time, each when the learner is ready for it. Raises Quit.

        `planned`: they are still to be made. Without `tags` they are those of a person who knows no tag of ours.
        """
        for value, name in invented_ids(calls).items():
            self.screen.hide(value, name)
        number = 0
        while number < len(calls):
            turned = FACES[(FACES.index(self.face) + 1) % len(FACES)]
            if self.face == "aws":
                self.where_to_paste()
            self.call(calls[number], page, planned=planned, tags=tags)  # never cut: it is there to be copied
            number += 1
            what = self.words("Call {number} of {count}", number=number, count=len(calls))
            prompt = self.stop(what, "the next call" if number < len(calls) else "go on", f"f: {turned}")
            answer = pause(self.screen, prompt, ("", "f", "s"), self.words)
            if answer == "s":
                return
            if answer == "f":
                self.face, number = turned, number - 1

    def commands(self, calls: list[dict[str, Any]], page: Page) -> None:
        """The `aws` commands of calls that are still to be made by hand."""
        self.screen.heading(self.words("With aws"))
        self.where_to_paste()
        face, self.face = self.face, "aws"
        for call in calls:
            self.call(call, page, planned=True, tags=False)
        self.face = face

    def where_to_paste(self) -> None:
        """Which shell has the credentials of a sandbox: said once for each page."""
        if self.run.aws.base_url and not self.run.aws.profile and not self.shell_is_said:
            self.shell_is_said = True
            self.screen.say()
            self.screen.say("The aws commands need credentials. A shell that has them, in another terminal:", "dim")
            self.screen.keep(f"    {program('provision', ['shell', *self.run.where])}", "dim")

    def call(self, call: dict[str, Any], page: Page, *, planned: bool, tags: bool) -> None:
        aws = self.run.aws
        shown = faces(call, page, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile, tags=tags)
        if planned:
            if self.face == "aws" and "function.zip" in str(call["parameters"]):
                self.screen.say()
                self.screen.say("  The next command sends function.zip. First make it, in the same folder:", "dim")
                zipped = source_file(self.run.settings)
                self.screen.keep(f"    {interpreter()} -m zipfile -c function.zip {zipped}", "dim")
            show_todo(self.screen, shown, self.face)
            if self.face != "console" and "(known after step " in shown.aws:
                self.screen.say("    (known after ...): first make the calls before it, then press l.", "dim")
        else:
            show_call(self.screen, call, shown, self.face)

    def changes(self, events: list[dict[str, Any]]) -> None:
        changes = {event["entry"]["key"]: event["entry"] for event in events if event["type"] == "entry"}
        if changes:
            self.screen.heading(self.words("What is new, and where to see it"))
            if self.run.aws.endpoint:
                self.where_to_paste()
        for entry in (Resource(**{**one, "before": {}}) for one in changes.values()):
            where = where_to_see(entry.kind, entry.identity, entry.outputs, self.run.aws)
            show_change(self.screen, entry, WORDS.get(entry.status, entry.status), where)
