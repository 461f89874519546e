"""Everything that is printed. Talk goes to stderr, data to stdout; AWS's texts are never read as markup."""

from __future__ import annotations

import datetime
import io
import json
import math
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console as RichConsole
from rich.text import Text

from provision import STEPS, Step
from provision.account.cost import idle_sentence, use_sentence
from provision.cli.progress import Progress
from provision.errata import ERRATA
from provision.state.resources import name_of, noun_of
from provision.terminal import outcome
from provision.terminal.differences import difference_lines
from provision.terminal.json_values import plain
from provision.terminal.prompts import ROWS_OF_A_PAUSE, forget_typed_ahead, wait_for_a_line
from provision.terminal.shell import command_line, is_unicode, program, with_variables
from provision.terminal.text import KEPT, folded, kept, plural
from provision.terminal.ticker import SILENCE, Ticker

if TYPE_CHECKING:  # boto3 takes a quarter of a second to import, and some programs only have something to say
    from rich.live import Live

    from provision.account.plan import Planned
    from provision.account.recovery import Recovered
    from provision.account.request_trace import Hop
    from provision.account.smoke_tests import Trial
    from provision.account.status import State
    from provision.aws.calls import Tap
    from provision.aws.clients import Clients
    from provision.aws.waiting import Wait
    from provision.errata import Erratum
    from provision.lesson.call import Faces
    from provision.settings import Settings
    from provision.state.entries import Difference, Happened, Resource
    from provision.state.state import Ledger


DOCUMENT = 1  # the version of what --output json writes; docs/output.schema.json has its form

IN_BANNER = ("region", "profile", "endpoint_url", "state", "learner")  # options with a line of their own there

FRAMES = 4  # drawings a second, of what a run is about

HEARTBEAT = 15.0  # seconds between two lines about one wait

ENOUGH = 10  # minutes that credentials should last at least: on AWS a build takes two or three, more in a class

INDENT = " " * 15  # of what belongs to the line above it

NAMES_AT = len(INDENT) + 11  # the column of the names in a list of things

READABLE = 100  # columns at most for sentences: the eye does not find the way back from the end of longer lines


STYLES = {
    "created": "green",
    "recovered": "green",
    "mended": "yellow",
    "adopted": "yellow",
    "deleted": "green",
    "gone": "green",
    "left": "green",
    "OK": "green",
    "kept": "red",
    "failed": "red",
    "unchanged": "dim",
    "create": "green",
    "mend": "yellow",
    "adopt": "yellow",
    "later": "dim",
    "in the way": "red",
    "delete": "green",
    "put back": "yellow",
    "stay": "red",
    "healthy": "green",
    "drifted": "yellow",
    "missing": "red",
    "unknown": "yellow",
    "not built": "dim",
}


# Where a call has no page of its own in the console.
CONSOLE_MARKS = {
    "unasked": "the console does this unasked",
    "not in the walkthrough": "not in the walkthrough; in the console it would be",
}


# How many things of a plan, by its word for each.
PLANNED = {
    "create": "to create",
    "mend": "to mend",
    "adopt": "to take over and mend",
    "later": "later, once what they need is there",
    "in the way": "in the way",
    "delete": "to delete",
    "put back": "to put back as found, and leave",
    "gone": "gone already",
    "stay": "to stay",
    "failed": "that cannot be told",
}


# AWS's texts are never read as markup.
PLAIN_TEXT: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}


class Masked(io.TextIOBase):
    """A file behind which some texts have others in their place."""

    def __init__(self, file: Any, masks: Mapping[str, str]) -> None:
        self.file = file
        self.masks = masks

    def write(self, text: str) -> int:
        for value in sorted(self.masks, key=len, reverse=True):
            text = text.replace(value, self.masks[value])
        self.file.write(text)
        return len(text)

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        number: int = self.file.fileno()
        return number

    def isatty(self) -> bool:
        is_one: bool = self.file.isatty()
        return is_one

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return self.file.encoding


class Console(RichConsole):
    """rich's, with two ways of its own.

    A line and a drawing take turns: rich works out what to wipe before it writes, and when both did so at once the one
    wiped what the other had just said. And a reader that goes away does not end the program: it says no more there.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.turn = threading.RLock()

    def print(self, *objects: Any, **options: Any) -> None:
        with self.turn:
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with suppress(OSError, ValueError):
            # Python would say so once more when it closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Declined(outcome.Stop):
    """A person was asked and did not say yes."""


class Screen:
    """The terminal, or the pipe, that a program talks to."""

    def __init__(self, *, talk: Console | None = None, data: Console | None = None, name: str = "") -> None:
        self.talk = talk or Console(stderr=True, **PLAIN_TEXT)
        self.data = data or Console(**PLAIN_TEXT)
        # What has been shown, for `--output json`: one document in the place of the data, at the end.
        self.document: dict[str, Any] = {"schema": DOCUMENT, "program": name}
        self._document_to: Console | None = None
        self.asking = False
        self.in_terminal, self.data_in_terminal = self.talk.is_terminal, self.data.is_terminal
        self.presenting = False
        self.look: list[str] = []  # the options that say so, for a command that goes on
        self._masks: dict[str, str] = {}
        self._told: dict[str, float] = {}
        self._progress: Progress | None = None
        self._live: Live | None = None
        self._ticker: Ticker | None = None
        self._said_at = time.monotonic()
        self.log: Path | None = None  # where --debug writes
        self.sources: Mapping[str, str] = {}  # of the options' values that are no defaults

    def use(self, *, plain: bool, presenting: bool, color: str = "auto", output: str = "text") -> None:
        """`plain`: no colour, no emphasis, no line that changes. `presenting`: for a room to read, and to be filmed.

        `color` is "auto", "always" or "never"; "auto" heeds NO_COLOR (https://no-color.org). The variable ACCESSIBLE,
        by which people who use a screen reader ask programs for plain text, means `plain`. `output` "json": stdout gets
        one document, when `finish` is told that the program ends.
        """
        self.presenting = presenting
        self.look = [*(["--plain"] if plain else []), *(["--present"] if presenting else [])]
        plain = plain or bool(os.environ.get("ACCESSIBLE"))
        self.talk, self.data = (
            Console(
                file=cast(IO[str], Masked(console.file, self._masks)) if presenting else console.file,
                force_terminal=False if plain else console.is_terminal,
                width=None if console.is_terminal else console.width,
                color_system="standard" if color == "always" and not plain else "auto",
                no_color={"auto": None, "always": False, "never": True}[color],
                **PLAIN_TEXT,
            )
            for console in (self.talk, self.data)
        )
        if output == "json":
            self._document_to, self.data = self.data, Console(file=io.StringIO(), **PLAIN_TEXT)

    @property
    def writes_document(self) -> bool:
        """Whether stdout is kept for one document at the end."""
        return self._document_to is not None

    def give_stdout_away(self) -> Callable[[str], None]:
        """What writes to stdout from here on; what would have been data is said instead."""
        file = self.data.file
        self.data, self.data_in_terminal = self.talk, self.in_terminal

        def write(text: str) -> None:
            try:
                file.write(text)
                file.flush()
            except BrokenPipeError:
                # Whoever read has seen enough. Python would say so once more when it closes stdout.
                os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
                raise

        return write

    def finish(self, exit_code: int) -> None:
        """The program ends: print the document, where it was asked for."""
        if self._document_to is not None:
            self.document["exit_code"] = exit_code
            ascii_only = not is_unicode(self._document_to.encoding)  # an escape of JSON's own can be read everywhere
            text = json.dumps(plain(self.document), indent=2, ensure_ascii=ascii_only)
            self._document_to.print(Text(text), soft_wrap=True)

    def hide(self, value: str, name: str) -> None:
        """From here on show <name> in the place of a value that an audience need not see, when presenting."""
        if self.presenting and value:
            self._masks[value] = f"<{name}>"

    def hide_ids(self, aws: Clients, ledger: Ledger) -> None:
        """When presenting: what an audience could misuse is shown by its name only."""
        self.hide(aws.account_id, "account")
        if aws.alias:
            self.hide(aws.alias, "alias")
        self.hide(aws.caller, "caller")
        for entry in ledger.resources:
            self.hide(entry.outputs.get("id", ""), f"id of {entry.key}")

    def say(self, text: str = "", style: str = "") -> None:
        """Talk, in sentences."""
        words = text.lstrip(" ")
        self.prose(text[: len(text) - len(words)], words, style)

    def say_at_once(self, text: str) -> None:
        """Talk from within a signal's handler: past the console, which may be in the middle of a line just then."""
        if self._live is not None and self._progress is not None:
            self._progress.notice = text
            return
        with suppress(OSError, ValueError):  # what stands in for stderr may be no file
            os.write(self.talk.file.fileno(), f"\n{text}\n".encode())

    def keep(self, text: str, style: str = "") -> None:
        """Talk with something in it that a person may copy: left as one line, however long."""
        self._said_at = time.monotonic()
        self.talk.print(Text(text, style=style), soft_wrap=True)

    def tell(self, text: str = "") -> None:
        """A line of data, on stdout."""
        self.data.print(Text(text), soft_wrap=True)

    def prose(self, begin: str, text: str, style: str = "", *, data: bool = False) -> None:
        """Sentences behind a label: in a terminal they go on below themselves, in a pipe they stay one line.

        Only between words; nothing that a person would copy (an ARN, a URL, a path) is ever divided.
        """
        console = self.data if data else self.talk
        self._said_at = time.monotonic()
        line = begin + text
        if (self.data_in_terminal if data else self.in_terminal) and text:
            line = textwrap.fill(
                text,
                # One column less: a line that fills the last one makes some terminals add an empty one.
                width=max(min(console.width - 1, READABLE), len(begin) + 20),
                initial_indent=begin,
                subsequent_indent=" " * len(begin),
                break_long_words=False,
                break_on_hyphens=False,
            )
        console.print(Text(line, style=style), soft_wrap=True)

    def between_words(self, text: Text, *, data: bool = False, below: int = NAMES_AT) -> None:
        """A line of a list: in a terminal it goes on at the column `below`, in a pipe it stays one line."""
        console = self.data if data else self.talk
        if self.data_in_terminal if data else self.in_terminal:
            if below + max(map(len, text.plain.split(" "))) >= console.width:
                below = min(below, len(INDENT))  # a long name has a line of its own
            text = folded(text, console.width - 1, below)
        text.plain = text.plain.replace(KEPT, " ")
        console.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.prose("Warning: ", text, "yellow")

    # Before the first step.

    def banner(self, aws: Clients, settings: Settings, ledger: Ledger) -> None:
        self.place(aws)
        self.document |= {
            "deployment": ledger.deployment,
            "ledger": str(ledger.path),
            "learner": settings.learner,
            "as_written": settings.as_written,
        }
        state = "new" if ledger.is_new else f"{plural(len(ledger.standing), 'thing')} recorded"
        self.keep(f"Deployment     {ledger.deployment} ({state})")
        self.keep(f"Ledger         {ledger.path}{self.source_of('state')}")
        if settings.learner:
            self.say(f"Learner        {settings.learner}{self.source_of('learner')}")
        if settings.as_written:
            self.prose("As written     ", "what the walkthrough literally says, with its faults", "yellow")
        for warning in aws.warnings:
            self.warn(warning)

    def place(self, aws: Clients) -> None:
        """Account, caller and Region, each with where it came from."""
        self.document |= {
            "account": aws.account_id,
            "caller": aws.caller,
            "region": aws.region,
            "endpoint": aws.endpoint,
            "warnings": list(aws.warnings),
        }
        if aws.endpoint and aws.endpoint.startswith("sandbox:"):
            self.prose("Local AWS      ", f"{aws.base_url} on this machine ({aws.endpoint})", "bold")
        else:
            if aws.endpoint:
                where = f"{aws.endpoint}, which is NOT AWS ({aws.endpoint_from})"
                self.prose("Endpoint       ", where, "bold yellow")
            alias = f" ({aws.alias})" if aws.alias else ""
            self.keep(f"Account        {aws.account_id}{alias}", "bold")
            self.keep(f"Caller         {aws.caller}")
            left = "" if aws.expires is None else f", which end in {minutes_until(aws.expires)} min"
            if aws.profile_from:
                self.keep(f"Profile        {aws.profile_from.value} ({aws.profile_from.source})")
            self.keep(f"Credentials    {aws.credentials_from}{left}")
            if aws.expires is not None and minutes_until(aws.expires) < ENOUGH:
                self.warn(
                    f"These credentials end in {minutes_until(aws.expires)} minutes. A run that they end goes on "
                    "when it is started again with new ones."
                )
        self.prose("Region         ", f"{aws.region} ({aws.region_from.source})")
        for source in sorted(set(self.sources.values())):
            names = [name for name, where in self.sources.items() if where == source and name not in IN_BANNER]
            if names and not source.startswith("--"):
                self.keep(f"Setting        {', '.join(sorted(names)).replace('_', '-')} ({source})")

    def source_of(self, name: str) -> str:
        """Where an option's value came from, in brackets; "" of a default."""
        return f" ({self.sources[name]})" if name in self.sources else ""

    def ask(self, question: str, *, flag: str) -> None:
        """Ask for consent. Raises Stop when it is refused, or when nobody is there to be asked."""
        if not sys.stdin.isatty():
            raise outcome.Stop(
                f"{question} Nobody is there to be asked: this is not a terminal.",
                means="Nothing was changed.",
                advice=(f"Add {flag} to say yes beforehand.",),
                exit_code=outcome.USAGE,
            )
        self.say()
        forget_typed_ahead()
        try:
            answer = self.read_line(f"{question} [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise Declined("Not done: consent was not given.", means="Nothing was changed.")

    def agrees(self, question: str) -> bool:
        """Whether a person, asked now, says yes."""
        try:
            self.ask(question, flag="--yes")
        except Declined:
            return False
        return True

    # While steps run.

    @property
    def draws(self) -> bool:
        """Whether something may be drawn that moves: on a terminal that can, and whose user has not asked for rest."""
        can = self.talk.is_terminal and self.talk.is_interactive and not self.talk.is_dumb_terminal
        return can and self.talk.file.isatty()  # FORCE_COLOR calls a pipe a terminal, too

    @contextmanager
    def progress(self, progress: Progress) -> Iterator[None]:
        """Show how a run gets on while the block lasts.

        On a terminal below everything that is said, and gone without a trace at the end: what was said stays. Where
        nothing can be drawn, or nothing should move, a line after a long silence.
        """
        self._progress = progress
        try:
            if self.draws:
                self._draw(progress)
                try:
                    yield
                finally:
                    self._wipe()
            else:
                with Ticker(min(1.0, SILENCE / 4), lambda: self._still(progress)):
                    yield
        finally:
            self._progress, self._live = None, None
            if progress.notice:
                self.say(progress.notice, "bold yellow")

    def _draw(self, progress: Progress) -> None:
        """Draw from here on. What was stopped is never started again: it would wipe what was said since, as its own."""
        from rich.live import Live  # it takes time to import, which only a terminal needs

        live = Live(
            progress,
            console=self.talk,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

        def refresh() -> None:
            with self.talk.turn:
                live.refresh()

        with self.talk.turn:
            live.start(refresh=True)
        self._live, self._ticker = live, Ticker(1 / FRAMES, refresh)
        self._ticker.start()

    def _wipe(self) -> None:
        """Draw no more, and leave nothing of it."""
        if self._live is not None and self._ticker is not None:
            self._ticker.stop()
            with self.talk.turn:
                self._live.stop()

    def _still(self, progress: Progress) -> None:
        """What is being done, when nothing has been said for long: a log must show that it is alive."""
        doing = progress.doing()
        if doing and time.monotonic() - self._said_at >= SILENCE:
            self.prose("    still      ", doing, "cyan")

    @contextmanager
    def _nothing_moves(self) -> Iterator[None]:
        """While the block lasts nothing is drawn: a person is typing."""
        if self._live is None or self._progress is None:
            yield
            return
        self._wipe()
        try:
            yield
        finally:
            self._draw(self._progress)

    def begin_waits(self) -> None:
        """From here on each wait is told anew."""
        self._told.clear()

    def step_started(self, step: Step) -> None:
        self.begin_waits()
        self.say()
        self.say(f"{step.number}/8 {step.title}", "bold")

    def step_ended(self, step: Step, happened: list[Happened], settings: Settings) -> None:
        """What the step did; and, unless there was nothing to do, the errata that have to do with it."""
        for event in happened:
            self._note_thing(event, outcome=event.outcome, step=step.name)
            self.line(event.outcome, noun_of(event.kind), name_of(event.kind, event.identity))
            for difference in event.differences:
                room = self.talk.width - len(INDENT) - 1
                for line in difference_lines(difference.attribute, difference.found, difference.wanted, room):
                    self.keep(INDENT + line, "dim")
            for note in event.notes:
                self.prose(INDENT, note, "dim")
        if all(event.outcome == "unchanged" for event in happened):
            return
        for erratum in ERRATA:
            if erratum.step == step.name and erratum.as_written:
                self.prose(f"    erratum {erratum.number:<2} It says: ", erratum.says, "dim")
                self.prose(f"{INDENT}Done:    ", erratum.done_here(settings), "dim")

    def _note_thing(self, thing: Any, **more: Any) -> None:
        """One more thing in the document, with what is known of it."""
        known = {name: getattr(thing, name) for name in ("key", "kind", "identity")}
        differences = [vars(difference) for difference in getattr(thing, "differences", ())]
        notes = list(getattr(thing, "notes", ()))
        self.document.setdefault("things", []).append(
            {
                **known,
                **more,
                **({"differences": differences} if differences else {}),
                **({"notes": notes} if notes else {}),
            }
        )

    def removed(self, word: str, resource: Resource, remark: str, *, told: bool) -> None:
        """What became of one thing of a teardown; `told`: the person knows it already."""
        self._note_thing(resource, outcome=word, step=resource.step, **({"remark": remark} if remark else {}))
        if not told:
            name = name_of(resource.kind, resource.identity)
            self.line(word, noun_of(resource.kind), f"{name}  ({remark})" if remark else name)

    def line(self, word: str, kind: str, name: str) -> None:
        text = Text("    ")
        text.append(f"{word:<10} ", style=STYLES.get(word, ""))
        text.append(f"{kind:<11}")
        text.append(name)
        self._said_at = time.monotonic()
        self.between_words(text)
        self.space()

    def space(self) -> None:
        """Room between two lines, for those in the last row."""
        if self.presenting:
            self.say()

    def took(self, seconds: float) -> None:
        """How long a step took in this run."""
        self.say(f"    {'took':<11}{seconds:.1f} s", "dim")

    def wait(self, wait: Wait) -> None:
        """A line when a wait begins, and one again every fifteen seconds while it lasts, unless it is drawn."""
        if self._progress is not None:
            self._progress.wait(wait)
        last = self._told.get(wait.reason)
        if last is not None and wait.elapsed < last:
            last = None  # the same reason, and another wait
        if last is not None and 0 <= wait.elapsed - last < (HEARTBEAT if self._live is None else wait.budget):
            return
        self._told[wait.reason] = wait.elapsed
        most = f"at most {wait.budget:.0f} s"
        so_far = most if last is None else f"{wait.elapsed:.0f} s so far, {most}"
        # Without words of AWS nothing was refused: something that was asked for is still to come.
        what = wait.reason if wait.words else f"for {wait.reason}"
        self.prose("    waiting    ", f"{what} ({so_far}). {wait.means}".rstrip(), "cyan")
        if wait.words and last is None:
            self.prose(f"{INDENT}AWS says: ", wait.words, "dim")

    def trials_started(self) -> None:
        self._told.clear()
        self.say()
        self.say("Tests of the walkthrough", "bold")

    def trial(self, trial: Trial) -> None:
        self.document.setdefault("tests", []).append({"title": trial.title, "saw": trial.saw})
        text = Text("    ")
        text.append(f"{'OK':<11}", style=STYLES["OK"])
        text.append(trial.title)
        if self.in_terminal:
            text = folded(text, self.talk.width - 1, len(INDENT))
        self.talk.print(text, soft_wrap=True)
        self.say(INDENT + trial.saw, "dim")

    # In a lesson.

    @property
    def width(self) -> int:
        """How wide a text may be."""
        return min(self.talk.width, READABLE)

    def page(self, title: str) -> None:
        """The beginning of a page; of a clear screen, when presenting."""
        if self.presenting:
            self.clear()
        self.say()
        self.say("=" * (self.width - 1) if self.in_terminal else "")
        self.say(title, "bold")

    def heading(self, title: str) -> None:
        self.say()
        self.say(title, "bold")

    def markdown(self, text: str) -> None:
        """A text of a lesson: laid out in a terminal, as it stands in a pipe."""
        from rich.markdown import Markdown  # it takes a tenth of a second to import, which only a lesson needs
        from rich.theme import Theme

        self.say()
        if self.in_terminal:
            # Without rich's black behind it, which is a bar across a light terminal.
            with self.talk.use_theme(Theme({"markdown.code": "bold cyan"})):
                self.talk.print(Markdown(text), width=self.width, soft_wrap=False)
        else:
            self.keep(text)

    def clear(self) -> None:
        self.talk.clear()

    @contextmanager
    def state_line(self) -> Iterator[Callable[[str], None]]:
        """A line that stays below everything else inside the block, and a function that changes it."""
        from rich.live import Live  # as above

        with Live(Text(""), console=self.talk, auto_refresh=False, transient=True) as live:
            yield lambda text: live.update(Text(text, style="reverse", no_wrap=True, overflow="ellipsis"), refresh=True)

    def drawing(self, drawing: Text) -> None:
        self.say()
        self.talk.print(drawing, soft_wrap=True)

    def code(self, code: str, language: str, indent: str = "") -> None:
        """Code without padding, so that it can be copied as it is."""
        from rich.syntax import Syntax  # as above

        text = Syntax("", language, theme="ansi_dark", background_color="default").highlight(code.rstrip("\n"))
        for line in text.split("\n"):
            self.talk.print(Text(indent) + line, soft_wrap=True)

    def call(self, call: Mapping[str, Any], faces: Faces) -> None:
        """One call, as console page, as boto3 and as `aws` command; then what matters of its answer."""
        self.say()
        seconds = f"{call['seconds']:.2f} s" + (f", sent {call['sent']} times" if call["sent"] > 1 else "")
        self.keep(f"  {faces.title}  ({seconds})", "bold")
        self.say(f"    Console{f' ({CONSOLE_MARKS[faces.mark]})' if faces.mark else ''}", "cyan")
        looks = "nothing: the console looks by itself" if call["read"] else "nothing: the lesson has no page for it"
        for line in faces.console or [looks]:
            self.keep(f"      {line}")
        self.say("    boto3", "cyan")
        self.code(faces.boto3, "python", "      ")
        self.say("    aws", "cyan")
        self.code(faces.aws, "bash", "      ")
        if call["error"]:
            self.keep(f"    Refused   {call['error']['code']}: {call['error']['message']}", "red")
        if faces.answer:
            self.say("    Answer", "cyan")
        for found, words in faces.answer:
            self.keep(f"      {found}")
            self.prose("      ", words, "dim")

    def change(self, entry: Resource, words: str, where: str) -> None:
        """One entry of the ledger: what became of it, what AWS calls it, and where to see the thing."""
        self.line("", noun_of(entry.kind), f"{name_of(entry.kind, entry.identity)}  ({words})")
        for name, value in entry.outputs.items():
            self.keep(f"{INDENT}{name}: {value}", "dim")
        self.keep(f"{INDENT}see {where}", "dim")

    def choose(self, title: str, choices: Mapping[str, str], keys: Mapping[str, str], numbers: int = 0) -> str:
        """Ask which of the choices; the word that was chosen, or a number up to `numbers`.

        `choices` are words with what they mean, `keys` the letter for each. Enter means the first, the end of the
        input the last. Raises Stop where nobody is there to be asked.
        """
        words = list(choices)

        def show_them() -> None:
            self.say()
            self.say(title, "bold")
            for word in words:
                self.keep(f"  {keys[word]}{' or Enter' if word == words[0] else '':<10}{choices[word]}")
            if numbers:
                self.keep(f"  1-{numbers}{'':<8}turn to that page")

        show_them()
        meant = {**{keys[word]: word for word in words}, **{word: word for word in words}, "": words[0]}
        meant |= {str(number): str(number) for number in range(1, numbers + 1)}
        while True:
            try:
                answer = self.read_line("> ").strip().lower()
            except EOFError:
                return words[-1]
            if answer in meant:
                return meant[answer]
            if answer == "?":
                show_them()
            else:
                self.say(f"{answer!r} is none of them. To see them again: ?", "yellow")

    def pause(self, prompt: str, answers: Collection[str]) -> str:
        """Which of these answers a person gives before it goes on; "" at the end of the input, too."""
        self.say()
        while True:
            try:
                answer = self.read_line(prompt).strip().lower()
            except EOFError:
                return ""
            if answer in answers:
                return answer
            self.say(f"{answer!r} is none of them.", "yellow")

    def in_parts(self, parts: Sequence[Callable[[], None]], prompt: str, *, below: int) -> None:
        """Show a long page part by part. In a terminal, what would not fit below the last stop waits for a person.

        A part only shows something: it is called twice, to be measured first. `below` are the lines that follow the
        last of them. The answer "e" ends the stops, "x" and "q" the page.
        """
        stopping, used = self.in_terminal, 0
        sizes = [self.rows_of(part) if stopping else 0 for part in parts]
        for number, size in enumerate([*sizes, below]):
            if stopping and used and used + size + ROWS_OF_A_PAUSE > self.talk.height:
                answer = self.pause(prompt, ("", "e", "x", "q"))
                if answer in ("x", "q"):
                    return
                stopping, used = answer != "e", 0
            if number < len(parts):
                parts[number]()
                used += size

    def rows_of(self, part: Callable[[], None]) -> int:
        """How many rows of the terminal something takes that is shown."""
        with self.talk.capture() as captured:
            part()
        lines = Text.from_ansi(captured.get()).split("\n")
        return sum(max(1, math.ceil(line.cell_len / self.talk.width)) for line in lines)

    def read_line(self, prompt: str) -> str:
        """What a person types. Raises EOFError at the end of the input."""
        self.asking = True  # before the question can be seen: from here on Ctrl-C ends the program at once
        try:
            with self._nothing_moves():
                shown = Text(prompt, style="bold")
                if self.in_terminal:
                    shown = folded(Text(prompt.rstrip(), style="bold"), self.talk.width - 2, 0).append(" ", "bold")
                self.talk.print(shown, end="")
                wait_for_a_line()
                try:
                    return input()
                except (EOFError, KeyboardInterrupt):
                    self.talk.print()  # nobody has ended the question's line
                    raise
        finally:
            self.asking = False

    # Following a request.

    def hop(self, hop: Hop) -> None:
        """One place that a request came to: when, how long it took there, who says so, and what was seen. Data."""
        hops = self.document.setdefault("hops", [])
        if not hops or hops[-1]["route"] != hop.route:
            self.tell()
            self.data.print(Text(hop.route, style="bold"), soft_wrap=True)
        hops.append(vars(hop))
        after = "" if hop.after is None else f"{hop.after:.3f} s"
        took = "" if hop.took is None else f"took {hop.took:.3f} s; "
        begin = f"    {after:>9}  {hop.place:<18}"
        style = "dim" if hop.after is None else ""
        self.prose(begin, f"{took}{hop.saw}", style, data=True)
        if hop.source:
            self.prose(" " * len(begin), f"by {hop.source}", "dim", data=True)

    # Before anything is done.

    def plan(self, planned: Sequence[Planned], aws: Clients) -> None:
        """What would become of each thing: data."""
        from provision.aws.call_text import aws_command  # it reads botocore's models, which only this and a lesson need
        from provision.state.resources import PLACES

        self.tell()
        for one in planned:
            calls = [f"{call.service}:{call.operation}" for call in one.calls]
            needs = {"needs": one.needs} if one.needs else {}
            self._note_thing(one, outcome=one.word, step=PLACES[one.key].step, calls=calls, **needs)
            text = Text("    ")
            text.append(f"{one.word:<11}", style=STYLES.get(one.word, ""))
            remark = f"  (needs {one.needs})" if one.needs else f"  ({one.theirs})" if one.theirs else ""
            text.append(f"{noun_of(one.kind):<11}{name_of(one.kind, one.identity)}{remark}")
            self.between_words(text, data=True)
            self.differences(one.differences, "wanted", "found")
            for note in one.notes:
                self.prose(INDENT, note, data=True)
            for call in one.calls:
                command = aws_command(
                    call.service,
                    call.operation,
                    plain(call.parameters),
                    region=aws.region,
                    endpoint_url=aws.base_url,
                    profile=aws.profile,
                )
                for line in command.splitlines():
                    self.data.print(Text(INDENT + line, style="dim"), soft_wrap=True)
        words = [one.word for one in planned]
        counts = [f"{words.count(word)} {what}" for word, what in PLANNED.items() if word in words]
        self.tell()
        if not counts:
            self.tell("Nothing to do: everything is as it should be.")
        else:
            self.tell(f"{', '.join(counts)}. Nothing was changed.")

    def status(
        self, found: Sequence[State], waiting: Mapping[str, str], seen: Mapping[str, str], *, url: str = ""
    ) -> None:
        """What there is: data. `waiting` are the messages in each queue, `seen` where to see each thing, by key.

        `url` is what clients call, where that is there.
        """
        from provision.state.resources import PLACES

        self.tell()
        for state in found:
            more = {"messages": waiting[state.key]} if state.key in waiting else {}
            self._note_thing(state, outcome=state.word, step=PLACES[state.key].step, since=state.since or None, **more)
            since = f"  {kept('since', state.since[:10], state.since[11:16], 'UTC')}" if state.since else ""
            remark = f"  ({waiting[state.key]})" if state.key in waiting else ""
            text = Text("    ")
            text.append(f"{state.word:<11}", style=STYLES.get(state.word, ""))
            text.append(f"{noun_of(state.kind):<11}{name_of(state.kind, state.identity)}{remark}")
            text.append(since, style="dim")
            self.between_words(text, data=True)
            self.differences(state.differences, "wanted", "found")
            for note in state.notes:
                self.prose(INDENT, note, data=True)
            if state.key in seen:
                self.data.print(Text(f"{INDENT}see {seen[state.key]}", style="dim"), soft_wrap=True)
        words = [state.word for state in found]
        self.tell()
        self.tell(", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) + ".")
        if url:
            self.document["invoke_url"] = url
            self.tell(f"Invoke URL:   {url}")

    def differences(self, differences: Sequence[Difference], wanted: str, found: str) -> None:
        """Attribute by attribute, as data; the two words are for the two sides."""
        room = self.data.width - len(INDENT) if self.data.is_terminal else 1000
        for one in differences:
            for line in difference_lines(one.attribute, one.found, one.wanted, room, (found, wanted)):
                self.tell(INDENT + line)

    def still_running(self, aws: Clients, settings: Settings, arguments: list[str], *, to_mend: list[str]) -> None:
        """What it costs while it is there, and how to end that; before, how to mend it, where that is `to_mend`."""
        self.say()
        self.cost(aws, settings)
        if to_mend:
            self.say()
            self.say("To mend what is not as it should be", "bold")
            self.keep(program("provision", to_mend))
        self.say()
        self.say("To take everything down", "bold")
        self.keep(program("teardown", arguments))

    def cost(self, aws: Clients, settings: Settings) -> None:
        if aws.endpoint is None:
            self.say(f"{idle_sentence()} {use_sentence(by_queue=settings.has_queue_route)}", "dim")
        else:
            self.say("It costs nothing: it is not on AWS.", "dim")

    # At the end.

    def counts(self, tap: Tap, seconds: float) -> None:
        calls, writes = len(tap.calls), len(tap.writes())
        self.document |= {"calls": calls, "writing_calls": writes, "seconds": round(seconds, 1)}
        self.say()
        self.say(f"{seconds:.1f} s, {calls} API calls, {writes} of them writing.", "dim")

    def built(self, aws: Clients, settings: Settings, ledger: Ledger, arguments: list[str]) -> None:
        """The Invoke URL, lines to paste, and how to take it all down: the last lines, and data.

        What they are for is talk, so that on stdout each line but the first is a command and nothing else.
        """
        url = ledger.outputs("stage")["url"]
        self.document["invoke_url"] = url
        event = {
            "operation": "create",
            "tableName": settings.table,
            "payload": {"Item": {"id": "1", "name": "Bob"}},
        }
        command = command_line(["curl", "-d", json.dumps(event), url])
        self.say()
        self.say("Anyone who knows this URL may call it (erratum 7).", "dim")
        self.cost(aws, settings)
        self.tell(f"Invoke URL:   {url}")
        self.say()
        self.say("To create Bob, paste", "bold")
        self.tell(command)
        if settings.has_queue_route:
            self.say()
            self.say("To create him by way of the queue, so that nobody waits for the function", "bold")
            self.tell(f"{command}/{settings.queue_path_part}")
        self.say()
        self.say("To look at the table", "bold")
        look = ["dynamodb", "scan", "--table-name", settings.table, "--region", aws.region]
        if aws.base_url:
            any_one = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
            credentials = any_one if aws.takes_any_credentials else {}
            self.tell(with_variables(credentials, ["aws", "--endpoint-url", aws.base_url, *look]))
        else:
            self.tell(command_line(["aws", *look, *(["--profile", aws.profile] if aws.profile else [])]))
        self.say()
        self.say("To take everything down", "bold")
        self.tell(program("teardown", arguments))

    def what_else(self, arguments: list[str]) -> None:
        """What a learner can do with what is built."""
        self.say()
        self.say(
            "To follow a request through it, to see how it is, to play this lesson's run again, to have it as a page"
        )
        for words in (["trace", *arguments], ["status", *arguments], ["replay"], ["replay", "--html", "page.html"]):
            self.keep(program("provision", words))

    def built_to(self, step: Step, arguments: list[str]) -> None:
        """What comes next when only some of the steps were wanted."""
        self.say()
        self.say(f"Step {step.number} of 8 is done. To go on to the end", "bold")
        self.tell(program("provision", arguments))
        self.say()
        self.say("To take down what there is", "bold")
        self.tell(program("teardown", arguments))

    def resources(self, title: str, resources: list[Resource], details: dict[str, str]) -> None:
        self.say()
        self.say(title, "bold")
        for resource in resources:
            name = name_of(resource.kind, resource.identity)
            detail = details.get(resource.key)
            self.line("", noun_of(resource.kind), f"{name}  ({detail})" if detail else name)

    def recovered(self, recovered: Recovered) -> None:
        """What the new ledger will record, and what it will not."""
        adopted = {
            one.key: "a person made it, and it was adopted" for one in recovered.resources if one.origin == "adopted"
        }
        self.resources(f"To be recorded, of deployment {recovered.deployment}", recovered.resources, adopted)
        if recovered.left_out:
            self.say()
            self.say("Not to be recorded", "bold")
        for thing, why in recovered.left_out:
            self.line("", noun_of(thing.kind), f"{name_of(thing.kind, thing.identity)}  ({why})")

    def errata(self, errata: tuple[Erratum, ...] = ERRATA) -> None:
        titles = {step.name: f"step {step.number}, {step.title}" for step in STEPS}
        self.document["errata"] = [vars(erratum) for erratum in errata]
        for erratum in errata:
            self.tell(f"{erratum.number:>2}  {titles[erratum.step] if erratum.step else 'the walkthrough as a whole'}")
            self.prose("    It says:     ", erratum.says, data=True)
            self.prose("    True is:     ", erratum.truth, data=True)
            self.prose("    Done:        ", erratum.done, data=True)
            if erratum.as_written:
                self.prose("    As written:  ", erratum.as_written, data=True)

    def stopped(self, stop: outcome.Stop, transcript: Path | None = None) -> None:
        """How it ended, what that means, what to do, and which files tell more when something failed."""
        what = stop.what
        things = [{"kind": kind, "identity": identity, "remark": remark} for kind, identity, remark in stop.things]
        self.document["error"] = {"what": what, "means": stop.means, "advice": list(stop.advice), "things": things}
        style = "bold red"
        if stop.exit_code == outcome.INTERRUPTED or isinstance(stop, Declined):
            style = "bold yellow"
        elif what.startswith("An error occurred ("):
            what = f"aws: [ERROR]: {what}"  # in the exact words of the AWS CLI
        else:
            what = f"Error: {what}"
        self.say()
        self.say(what, style)
        for kind, identity, remark in stop.things:
            self.line("", noun_of(kind), name_of(kind, identity))
            if remark:
                self.prose(INDENT, remark, "dim")
        if stop.means:
            self.prose("  What it means: ", stop.means)
        for number, advice in enumerate(stop.advice):
            label = f"  {'What to do:' if not number else '           '}    "
            if is_sentence(advice):
                self.prose(label, advice)
            else:
                self.keep(label + advice)
        if stop.exit_code != outcome.INTERRUPTED and not isinstance(stop, Declined):
            for name, path in (("Transcript", transcript), ("Log", self.log)):
                if path is not None:
                    self.document["error"][name.lower()] = str(path)
                    self.keep(f"  {f'{name}:':<15}{path}", "dim")


def is_sentence(advice: str) -> bool:
    """Whether there is no command line in it, which must stay one line."""
    return advice.endswith((".", ":", ",")) and not advice.startswith(" ") and " -m " not in advice


def minutes_until(moment: datetime.datetime) -> int:
    return max(0, int((moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds() // 60))
