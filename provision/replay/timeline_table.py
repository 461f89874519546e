"""A run's timeline in the terminal: a table with a bar in each row, for any width and encoding."""

from __future__ import annotations

import math

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from provision.replay.timeline import Row, Timeline, in_short
from provision.terminal.screen import Screen
from provision.terminal.shell import is_unicode

BLOCKS = {"call": "█", "wait": "░", "rest": "─"}
ASCII = {"call": "#", "wait": "=", "rest": "."}
NUMBERS = 30  # columns of the numbers and the space between them
COLOURS = {"call": "blue", "wait": "yellow", "rest": "dim"}


class Bars:
    """The bar of a row, as wide as its column."""

    def __init__(self, row: Row, length: float) -> None:
        self.row, self.length = row, length

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = marks_for(console.encoding)
        drawn = Text(no_wrap=True)
        for kind in cells(self.row, self.length, options.max_width):
            drawn.append(marks.get(kind, " "), COLOURS.get(kind, ""))
        drawn.rstrip()
        yield drawn


def cells(row: Row, length: float, width: int) -> list[str]:
    """What a bar shows in each cell. Short pieces are drawn over long ones, so that none is hidden."""
    drawn = [""] * width
    spans = [("rest", row.start, row.end)]
    spans += [(one.kind, one.start, one.end) for one in sorted(row.pieces, key=lambda piece: -piece.seconds)]
    scale = width / length if length > 0 else 0.0
    for kind, start, end in spans:
        first = min(int(start * scale), width - 1)
        last = min(max(math.ceil(end * scale), first + 1), width)
        drawn[first:last] = [kind] * (last - first)
    return drawn


def marks_for(encoding: str) -> dict[str, str]:
    """Blocks, if the output can have them."""
    return BLOCKS if is_unicode(encoding) else ASCII


def table(shown: Timeline, width: int) -> Table:
    drawn = Table(box=None, expand=True, pad_edge=False, show_footer=True, padding=(0, 2, 0, 0))
    total = (in_short(shown.length), sum(row.calls for row in shown.rows), sum(row.writes for row in shown.rows))
    drawn.add_column("", "Total", max_width=max(width - NUMBERS - 16, 10))
    for name, sum_of in zip(("start", "took", "calls", "writes"), ("", *map(str, total)), strict=True):
        drawn.add_column(name, sum_of, justify="right", no_wrap=True)
    drawn.add_column(f"0 to {in_short(shown.length)} s", ratio=1, no_wrap=True)
    for row in shown.rows:
        numbers = in_short(row.start), in_short(row.end - row.start), str(row.calls), str(row.writes)
        drawn.add_row(Text(row.title), *numbers, Bars(row, shown.length))
    return drawn


def print_timeline(shown: Timeline, screen: Screen) -> None:
    """The total, the table, and the longest waits and calls: data."""
    encoding = screen.data.encoding

    def tell(begin: str, words: str, style: str = "") -> None:
        screen.prose(begin, words.encode(encoding, "backslashreplace").decode(encoding), style, data=True)

    header = shown.recording.header
    started = header["started"][:19].replace("T", " ")
    tell("", f"{header['program']} of {started} UTC, Region {header['region']}", "bold")
    for remark in shown.remarks():
        tell("", remark)
    screen.tell()
    # Some terminals add an empty line after a full one.
    width = screen.data.width - 1 if screen.data_in_terminal else 80
    screen.data.print(table(shown, width), width=width)
    marks = marks_for(encoding)
    tell("", f"{marks['call']} a call   {marks['wait']} a wait   {marks['rest']} the rest, between them", "dim")
    for kind in ("wait", "call"):
        for number, (took, row, piece) in enumerate(shown.longest(kind)):
            if number == 0:
                screen.tell()
                tell("", f"The longest {kind}s", "bold")
            means = f". {piece.about['means']}".rstrip() if kind == "wait" else ""
            tell("    ", f"{in_short(took)} s in {row.title}: {piece.what}{means}")
            if kind == "wait" and piece.about["words"]:
                tell("        AWS says: ", piece.about["words"], "dim")
