"""The terminal, or the pipe, that a program talks to. Talk goes to stderr, data to stdout.

Texts of AWS and others are never read as markup, and no control character of theirs reaches the terminal. The views of
each room decide what is said.
"""

from __future__ import annotations

import copy
import io
import json
import os
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from rich.console import Console as RichConsole
from rich.segment import Segment
from rich.text import Text

from provision.terminal import outcome
from provision.terminal.json_values import plain
from provision.terminal.shell import cannot_write, is_unicode, silence
from provision.terminal.text import KEPT, folded, visible
from provision.terminal.ticker import SILENCE, Ticker

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult
    from rich.live import Live


FRAMES = 4  # drawings a second, of a run's progress
INDENT = " " * 15  # of what belongs to the line above it
NAMES_AT = len(INDENT) + 11  # the column of the names in a list of resources
READABLE = 100  # columns at most for sentences: longer lines are hard to read
PLAIN_TEXT: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}


class Masked:
    """A file that gets some texts replaced by others."""

    def __init__(self, file: Any, masks: Mapping[str, str]) -> None:
        self.file = file
        self.masks = masks

    def write(self, text: str) -> int:
        for value in sorted(self.masks, key=len, reverse=True):
            text = text.replace(value, self.masks[value])
        self.file.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class Console(RichConsole):
    """rich's console, with some differences.

    A line and a drawing take turns: rich works out what to wipe before it writes, and two at once would wipe each
    other's lines. A reader that goes away does not end the program: the console falls silent. A full disk does.
    COLUMNS=0 means nothing; rich would print lines of that width. And only rich itself steers the terminal: a control
    character in a text is shown as its escape.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.turn = threading.RLock()
        if self.width < 1:
            self.width = 80

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            with self.turn:
                super().print(*objects, **options)
        except OSError as error:
            self.quiet = True
            raise cannot_write(self.file, error) from error

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(self.file)


class Progress(Protocol):
    """A run's progress: drawn below all that is said, or a line after a long silence."""

    @property
    def notice(self) -> str:
        """What a signal's handler, which may not print, had to say."""

    def note(self, notice: str) -> None:
        """Draw this, too, from now on."""

    def doing(self) -> str:
        """What is being done now; "" in between."""

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult: ...


class Screen:
    """The two streams of a program, and how they look: in a terminal, in a pipe, for an audience, as a document."""

    def __init__(self, *, talk: Console | None = None, data: Console | None = None) -> None:
        self.talk = talk or Console(stderr=True, **PLAIN_TEXT)
        self.data = data or Console(**PLAIN_TEXT)
        self._json_to: Console | None = None
        self.asking = False
        self.in_terminal, self.data_in_terminal = self.talk.is_terminal, self.data.is_terminal
        self.presenting = False
        self.look: list[str] = []  # the options for the same look, for a command to paste
        self._masks: dict[str, str] = {}
        self._progress: Progress | None = None
        self._live: Live | None = None
        self._ticker: Ticker | None = None
        self._said_at = time.monotonic()

    def use(self, *, plain: bool, presenting: bool, color: str = "auto", output: str = "text") -> None:
        """`plain`: no colour, no emphasis, no line that changes. `presenting`: for an audience, and to be filmed.

        `color` is "auto", "always" or "never"; "auto" heeds NO_COLOR (https://no-color.org). The variable ACCESSIBLE,
        by which people who use a screen reader ask programs for plain text, means `plain`. `output` "json": stdout gets
        nothing but what `write_json` is given, once.
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
            self._json_to, self.data = self.data, Console(file=io.StringIO(), **PLAIN_TEXT)

    @property
    def writes_json(self) -> bool:
        """Whether stdout is kept for one document at the end."""
        return self._json_to is not None

    def give_stdout_away(self) -> Callable[[str], None]:
        """A function that alone writes to stdout from here on; data goes to stderr instead.

        What goes into a file or a pipe stays as it is.
        """
        file, in_terminal = self.data.file, self.data_in_terminal
        self.data, self.data_in_terminal = self.talk, self.in_terminal

        def write(text: str) -> None:
            try:
                file.write(visible(text) if in_terminal else text)
                file.flush()
            except OSError:
                silence(file)
                raise

        return write

    def with_talk_as_data(self) -> Screen:
        """The same screen with its talk on stdout, where that is what was asked for."""
        other = copy.copy(self)
        other.talk, other.in_terminal = self.data, self.data_in_terminal
        return other

    def write_json(self, document: Mapping[str, Any]) -> None:
        """The program ends: print its document, if one was asked for."""
        if self._json_to is not None:
            ascii_only = not is_unicode(self._json_to.encoding)  # any reader of JSON knows its escapes
            text = json.dumps(plain(document), indent=2, ensure_ascii=ascii_only)
            self._json_to.print(Text(text), soft_wrap=True)

    def hide(self, value: str, name: str) -> None:
        """When presenting, show <name> from here on instead of a value that an audience need not see."""
        if self.presenting and value:
            self._masks[value] = f"<{name}>"

    # What is said.

    def say(self, text: str = "", style: str = "") -> None:
        """Talk, in sentences."""
        words = text.lstrip(" ")
        self.prose(text[: len(text) - len(words)], words, style)

    def say_at_once(self, text: str) -> None:
        """Talk from a signal's handler: past the console, which may be in the middle of a line."""
        if self._live is not None and self._progress is not None:
            self._progress.note(text)
            return
        with suppress(OSError, ValueError):  # stderr may have been replaced by something that is no file
            os.write(self.talk.file.fileno(), f"\n{visible(text)}\n".encode())

    def keep(self, text: str, style: str = "") -> None:
        """Talk that a person may copy from: it stays one line, however long."""
        self._said_at = time.monotonic()
        self.talk.print(Text(text, style=style), soft_wrap=True)

    def tell(self, text: str = "") -> None:
        """A line of data, on stdout."""
        self.data.print(Text(text), soft_wrap=True)

    def prose(self, begin: str, text: str, style: str = "", *, data: bool = False) -> None:
        """Sentences after a label: in a terminal they are folded below their beginning, in a pipe they stay one line.

        They are folded between words only; nothing that a person would copy (an ARN, a URL, a path) is divided.
        """
        console = self.data if data else self.talk
        self._said_at = time.monotonic()
        line = begin + text
        if (self.data_in_terminal if data else self.in_terminal) and text:
            line = textwrap.fill(
                text,
                # One column less: some terminals add an empty line after a full one.
                width=max(min(console.width - 1, READABLE), len(begin) + 20),
                initial_indent=begin,
                subsequent_indent=" " * len(begin),
                break_long_words=False,
                break_on_hyphens=False,
            )
        console.print(Text(line, style=style), soft_wrap=True)

    def between_words(self, text: Text, *, data: bool = False, below: int = NAMES_AT) -> None:
        """A line of a list: in a terminal it is folded to the column `below`, in a pipe it stays one line."""
        console = self.data if data else self.talk
        if self.data_in_terminal if data else self.in_terminal:
            if below + max(map(len, text.plain.split(" "))) >= console.width:
                below = min(below, len(INDENT))  # a long name has a line of its own
            text = folded(text, console.width - 1, below)
        text.plain = text.plain.replace(KEPT, " ")
        console.print(text, soft_wrap=True)

    def line(self, word: str, kind: str, name: str, style: str = "") -> None:
        """A line of a list: what became of a resource (in the style), its type and its name."""
        text = Text("    ")
        text.append(f"{word:<10} ", style=style)
        text.append(f"{kind:<11}")
        text.append(name)
        self._said_at = time.monotonic()
        self.between_words(text)
        self.space()

    def space(self) -> None:
        """Room between two lines, when presenting."""
        if self.presenting:
            self.say()

    def heading(self, title: str) -> None:
        self.say()
        self.say(title, "bold")

    def warn(self, text: str) -> None:
        self.prose("Warning: ", text, "yellow")

    @property
    def width(self) -> int:
        """How wide a text may be."""
        return min(self.talk.width, READABLE)

    def clear(self) -> None:
        self.talk.clear()

    def stopped(self, error: outcome.Error) -> None:
        """How it ended, what that means, and what to do; the files that tell more, when something failed."""
        what = error.what
        failed = error.code not in ("interrupted", "declined")
        if failed:
            # AWS's own words look as the AWS CLI writes them.
            what = f"aws: [ERROR]: {what}" if what.startswith("An error occurred (") else f"Error: {what}"
        self.say()
        self.say(what, "bold red" if failed else "bold yellow")
        for resource in error.resources:
            self.line("", resource["noun"], resource["name"])
            if resource["remark"]:
                self.prose(INDENT, resource["remark"], "dim")
        if error.means:
            self.prose("  What it means: ", error.means)
        for number, advice in enumerate(error.advice):
            label = f"  {'What to do:' if not number else '           '}    "
            if is_sentence(advice):
                self.prose(label, advice)
            else:
                self.keep(label + advice)
        for name, path in (("Transcript", error.transcript), ("Log", error.log)):
            if failed and path is not None:
                self.keep(f"  {f'{name}:':<15}{path}", "dim")

    # While it runs.

    @property
    def draws(self) -> bool:
        """Whether something that moves may be drawn: the terminal can, and its user has not asked for plain text."""
        can = self.talk.is_terminal and self.talk.is_interactive and not self.talk.is_dumb_terminal
        return can and self.talk.file.isatty()  # FORCE_COLOR calls a pipe a terminal, too

    @property
    def is_drawing(self) -> bool:
        """Whether something is being drawn below what is said."""
        return self._live is not None

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside the block Ctrl-C ends the program at once: a person is asked, or no call is under way."""
        self.asking = True
        try:
            yield
        finally:
            self.asking = False

    @contextmanager
    def progress(self, progress: Progress) -> Iterator[None]:
        """Show a run's progress inside the block.

        On a terminal it is drawn below everything that is said, and wiped at the end. Where nothing can be drawn, or
        nothing should move, there is a line after a long silence.
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
        """Draw from here on. A stopped Live is not started again: it would wipe what was said since."""
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
        """Stop drawing, and wipe it."""
        if self._live is not None and self._ticker is not None:
            self._ticker.stop()
            with self.talk.turn:
                self._live.stop()

    def _still(self, progress: Progress) -> None:
        """After a long silence say what is being done, so that a log shows that the program works."""
        doing = progress.doing()
        if doing and time.monotonic() - self._said_at >= SILENCE:
            self.prose("    still      ", doing, "cyan")

    @contextmanager
    def motionless(self) -> Iterator[None]:
        """Draw nothing inside the block: a person is typing."""
        if self._live is None or self._progress is None:
            yield
            return
        self._wipe()
        try:
            yield
        finally:
            self._draw(self._progress)


def is_sentence(advice: str) -> bool:
    """Whether it is a sentence, which may be folded, and has no command line in it, which must not be."""
    return advice.endswith((".", ":", ",")) and not advice.startswith(" ") and " -m " not in advice
