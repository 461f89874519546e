"""A run's progress: drawn below all that has been said on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from provision.terminal.shell import is_unicode

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

    from provision.aws.answers import Call
    from provision.aws.calls import Calls
    from provision.aws.waiting import Wait


# A mark and a style for what is done, what is running, and what comes later; without colour the mark is enough.
MARKS = {"done": ("✓", "green"), "now": ("»", "bold"), "later": ("·", "dim")}
ASCII_MARKS = {"done": "+", "now": ">", "later": "."}
# A terminal whose window is made narrower folds its lines anew. A drawing is wiped by its number of rows, so the extra
# rows would stay. Down to this many columns nothing has to be folded.
NARROW = 59
SECONDS = re.compile(r"(\d) s\b")
ADDRESS = re.compile(r"\bhttps?://\S+")


@dataclass
class Progress:
    """The parts of a run in their order, titles by name; `now` says which of them is running ("": none yet).

    `typical` has the seconds of each part in earlier runs, and under "" those of a whole run. A thread of its own draws
    all this some times a second, so nothing here changes what it reads.
    """

    parts: Mapping[str, str]
    now: Callable[[], str]
    calls: Calls
    typical: Mapping[str, float] = field(default_factory=dict)
    notice: str = ""  # what a signal's handler, which may not print, had to say

    def __post_init__(self) -> None:
        self.clock = self.calls.waiting.clock
        self.began = self.clock()
        self._part, self._since = "", self.began
        self._wait: tuple[Wait, float, Call | None] | None = None

    def note(self, notice: str) -> None:
        """Draw this, too, from now on."""
        self.notice = notice

    def wait(self, wait: Wait) -> None:
        """A wait begins, or goes on."""
        self._wait = (wait, self.clock(), self._last_call)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # One column less: some terminals add an empty line after a full one.
        width = max(min(options.max_width - 1, NARROW), 20)
        yield Text("")
        if len(self.parts) > 1:
            yield from self.states(width, in_unicode=is_unicode(options.encoding))
        for line in [*self.times(width), *fill(self.doing(), width)]:
            yield Text(line, style="cyan", no_wrap=True)
        if self.notice:
            yield from (Text(line, style="bold yellow", no_wrap=True) for line in fill(self.notice, width))

    def states(self, width: int, *, in_unicode: bool) -> Iterator[Text]:
        """All parts, each with its mark, in as few lines as they need."""
        names = list(self.parts)
        at = names.index(self.now()) if self.now() in names else -1
        line = Text()
        for place, name in enumerate(names):
            state = "done" if place < at else "now" if place == at else "later"
            mark, style = MARKS[state]
            chip = f"  {mark if in_unicode else ASCII_MARKS[state]} {name}"
            if line.cell_len + len(chip) > width:
                yield line
                line = Text()
            line.append(chip, style=style)
        yield line

    def times(self, width: int) -> list[str]:
        """How long it has taken, and how long earlier runs took."""
        part = self.now()
        if part != self._part:
            self._part, self._since = part, self.clock()
        so_far = self.clock() - self.began
        told = so_far_of(so_far, self._whole())
        if part in self.parts and len(self.parts) > 1:
            told = f"{self.parts[part]}, {so_far_of(self.clock() - self._since, self.typical.get(part))}. In all {told}"
        return fill(f"{told}.", width)

    def _whole(self) -> float | None:
        known = [self.typical[part] for part in self.parts if part in self.typical]
        return sum(known) if self.parts and len(known) == len(self.parts) else self.typical.get("")

    def doing(self) -> str:
        """The wait or the call that is under way, with its seconds; "" in between."""
        if self._wait is not None:
            wait, told, call = self._wait
            # A wait repeats one call. Another call means that the wait is over.
            last = self._last_call
            if (last and last.operation) == (call and call.operation):
                elapsed = wait.elapsed + self.clock() - told
                return f"waiting for {wait.reason}: {elapsed:.0f} s of at most {wait.budget:.0f} s"
        call = self.calls.under_way
        return "" if call is None else f"{call.service}:{call.operation}, {self.clock() - call.started:.0f} s"

    @property
    def _last_call(self) -> Call | None:
        return self.calls.under_way or (self.calls.history[-1] if self.calls.history else None)


def so_far_of(seconds: float, typical: float | None) -> str:
    """ "1 s of about 4 s"; without the second half where no earlier run says so."""
    return f"{seconds:.0f} s" + ("" if typical is None else f" of about {max(typical, 1):.0f} s")


def fill(text: str, width: int) -> list[str]:
    """In lines of at most that width. A number keeps its unit. An address was said above in full, and is left out."""
    text = SECONDS.sub("\\1\xa0s", ADDRESS.sub("the address above", text))
    lines = textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]
