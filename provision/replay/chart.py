"""A run's timeline as a chart: as text for a terminal of any width and any encoding, and as SVG.

Both have a row for each part of the run, below it one for each of the longest waits in it, whose reasons stand below.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from provision.lesson import svg
from provision.replay.timeline import Piece, Row, Timeline, Wait
from provision.terminal.screen import Screen

LISTED = 5  # how many of the waits, and of the calls, are named
NOTICEABLE = 0.05  # seconds from which on a wait or a call is
# The steps that an axis may have, in seconds.
STEPS_OF_AXIS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
)


MOST_TICKS = 10


@dataclass(frozen=True)
class Line:
    """A line of the chart: one of the run's parts, or a wait of the part above it, which has no counts."""

    title: str
    short: str
    start: float
    end: float
    pieces: list[Piece]
    row: Row
    counts: tuple[str, str] = ("", "")
    stopped: bool = False

    @property
    def is_wait(self) -> bool:
        return not self.counts[0]


def lines_of(shown: Timeline) -> list[Line]:
    found = []
    waits = list(enumerate(longest_waits(shown), start=1))
    for row in shown.rows:
        counts = (str(len(row.calls)), str(row.writes))
        stopped = row is shown.stopped_in
        found.append(Line(row.title, row.short, row.start, row.end, row.pieces, row, counts, stopped))
        of_row = [(number, wait) for number, wait in waits if wait.row is row]
        for number, wait in sorted(of_row, key=lambda one: one[1].pieces[0].start):
            label = f"  wait {number}"
            found.append(Line(label, label, wait.pieces[0].start, wait.pieces[-1].end, wait.pieces, row))
    return found


def longest_waits(shown: Timeline) -> list[Wait]:
    return [wait for wait in shown.waits if wait.seconds >= NOTICEABLE and wait.pieces][:LISTED]


def longest_calls(shown: Timeline) -> list[tuple[Row, Piece, float]]:
    """The calls that took longest without what they waited for inside: each with its row and its seconds."""
    found: dict[int, tuple[Row, Piece, float]] = {}
    for row in shown.rows:
        for piece in row.pieces:
            if piece.kind == "call":
                before = found.get(id(piece.about))
                found[id(piece.about)] = (row, piece, piece.seconds + (before[2] if before else 0.0))
    return sorted(filter(lambda one: one[2] >= NOTICEABLE, found.values()), key=lambda one: -one[2])[:LISTED]


# In words.


def seconds(value: float) -> str:
    """As short as it tells enough: 0.04, 4.2, 1234."""
    if 0 < value < 0.095:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 999.95 else f"{value:.0f}"


def heading(shown: Timeline) -> str:
    header = shown.recording.header
    return f"{header['program']} of {header['started'][:19].replace('T', ' ')} UTC, Region {header['region']}"


def summary(shown: Timeline) -> str:
    """The total, and what it is made of."""
    calls = sum(len(row.calls) for row in shown.rows)
    writes = sum(row.writes for row in shown.rows)
    parts = [f"calls {seconds(shown.in_calls)} s ({calls}, of them {writes} writing)"]
    parts += [f"waits {seconds(shown.in_waits)} s", f"the rest {seconds(shown.in_the_rest)} s"]
    if shown.pauses:
        parts.append(f"pauses {seconds(sum(shown.pauses))} s")
    return f"{seconds(shown.seconds)} s: {', '.join(parts)}."


def remarks(shown: Timeline) -> list[str]:
    """What must be known of the run to read its chart."""
    found = []
    if shown.pauses:
        count = len(shown.pauses)
        several = f"{count} pauses" if count > 1 else "One pause"
        found.append(
            f"{several} of {seconds(sum(shown.pauses))} s in all, in which nothing was under way (somebody was asked, "
            "or read), left out of the chart and its times."
        )
    ended = shown.recording.ended
    where = f" in {shown.stopped_in.title}" if shown.stopped_in is not None else ""
    if ended is None:
        found.append(f"The run was killed{where}: what it did last may be missing.")
    elif ended.get("stop"):
        found.append(f"Stopped{where}: {ended['stop']['what']}")
    elif ended["exit_code"]:
        found.append(f"It ended with exit code {ended['exit_code']}{where}.")
    return found


def wait_words(number: int, wait: Wait) -> str:
    """How long a wait was, where, what for, and what that means."""
    during = f" ({wait.during})" if wait.during else ""
    words = f"wait {number}, {seconds(wait.seconds)} s in {wait.row.title}{during}: {wait.about['reason']}"
    return f"{words}. {wait.about['means']}".rstrip()


def call_words(row: Row, piece: Piece, took: float) -> str:
    return f"{seconds(took)} s in {row.title}: {piece.what}"


# As text.


def print_chart(shown: Timeline, screen: Screen, *, width: int) -> None:
    """The chart, and below it the longest waits and calls in words: data."""
    encoding = screen.data.encoding

    def tell(begin: str, words: str, style: str = "") -> None:
        screen.prose(begin, writable(words, encoding), style, data=True)

    tell("", heading(shown), "bold")
    tell("", summary(shown))
    for remark in remarks(shown):
        tell("", remark, "yellow")
    screen.tell()
    screen.data.print(as_text(shown, width=width, encoding=encoding), soft_wrap=True)
    waits, calls = longest_waits(shown), longest_calls(shown)
    for number, wait in enumerate(waits, start=1):
        if number == 1:
            screen.tell()
            tell("", "The longest waits", "bold")
        tell("    ", wait_words(number, wait))
        if wait.about["words"]:
            tell("        AWS says: ", wait.about["words"], "dim")
    for number, (row, piece, took) in enumerate(calls):
        if number == 0:
            screen.tell()
            tell("", "The longest calls", "bold")
        tell("    ", call_words(row, piece, took))


@dataclass(frozen=True)
class Marks:
    """The characters of the chart."""

    call: str
    wait: str
    rest: str
    axis: str
    tick: str


BLOCKS = Marks(call="█", wait="░", rest="─", axis="─", tick="┬")
ASCII = Marks(call="#", wait="=", rest=".", axis="-", tick="+")
COLOURS = {"call": "blue", "wait": "yellow", "rest": "dim", "": ""}
LEAST = 12  # columns for the bars


def marks_for(encoding: str) -> Marks:
    """Blocks where the output can have them."""
    try:
        "".join(vars(BLOCKS).values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def writable(words: str, encoding: str) -> str:
    """The words with what an output cannot write as its escape."""
    return words.encode(encoding, "backslashreplace").decode(encoding)


def as_text(shown: Timeline, *, width: int, encoding: str = "utf-8") -> Text:
    """The chart's rows below an axis. No line is wider than `width`, if that is 60 or more."""
    lines = lines_of(shown)
    marks = marks_for(encoding)
    table = [("", "start", "took", "calls", "writes")]
    table += [(line.title, seconds(line.start), seconds(line.end - line.start), *line.counts) for line in lines]
    total = (str(sum(len(row.calls) for row in shown.rows)), str(sum(row.writes for row in shown.rows)))
    table.append(("Total", "", seconds(shown.length), *total))
    if bars_width(table, width) < 45:
        table[1:-1] = [(line.short, *cells[1:]) for line, cells in zip(lines, table[1:-1], strict=True)]
    room = max(bars_width(table, width), LEAST)
    labels, ruler = axis(shown.length, room, marks)
    drawn = Text()
    for number, cells in enumerate(laid_out(table)):
        line = lines[number - 1] if 0 < number <= len(lines) else None
        style = "bold" if line is None else "red" if line.stopped else "yellow" if line.is_wait else ""
        drawn.append(writable(cells, encoding), style)
        if number == 0:
            drawn.append(f"  {labels}".rstrip() + "\n" + " " * len(cells) + "  ")
            drawn.append(ruler, "dim")
        elif line is not None:
            drawn.append("  ")
            drawn.append_text(drawn_bar(bar(line, shown.length, room), marks))
        drawn.append("\n")
    drawn.append("\n")
    for kind, words in (("call", "a call"), ("wait", "a wait"), ("rest", "the rest, between them")):
        drawn.append(getattr(marks, kind), COLOURS[kind])
        drawn.append(f" {words}   " if kind != "rest" else f" {words}", "dim")
    return drawn


def bars_width(table: Sequence[tuple[str, ...]], width: int) -> int:
    return width - len(laid_out(table)[0]) - 2


def laid_out(table: Sequence[tuple[str, ...]]) -> list[str]:
    """The columns before the bars: the first one's texts begin below each other, the numbers end so."""
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            f"{cell:<{size}}" if column == 0 else f"{cell:>{size}}"
            for column, (cell, size) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in table
    ]


def bar(line: Line, length: float, width: int) -> list[str]:
    """What a line shows in each cell: "call", "wait", "rest", or "": that which filled most of the cell's time.

    What there is of calls and waits has at least one cell, if the line has as many.
    """
    cells: list[dict[str, float]] = [{} for _ in range(width)]
    for piece in line.pieces:
        spread(cells, piece.kind, piece.start, piece.end, length)
    if not line.is_wait:
        spread(cells, "rest", line.start, line.end, length)
        for cell in cells:
            if "rest" in cell:
                cell["rest"] -= cell.get("call", 0.0) + cell.get("wait", 0.0)
    shown = [max(cell, key=lambda kind: (cell[kind], kind)) if cell else "" for cell in cells]
    for kind in ("call", "wait"):
        having = [number for number, cell in enumerate(cells) if kind in cell]
        others = {one for one in shown if one and one != kind and one != "rest"}
        if having and kind not in shown:
            best = max(having, key=lambda number: cells[number][kind])
            if shown[best] == "rest" or shown.count(shown[best]) > 1 or not others:
                shown[best] = kind
    return shown


def spread(cells: list[dict[str, float]], kind: str, start: float, end: float, length: float) -> None:
    """Add to each cell the seconds of a stretch that fall into it; what takes no time is in one cell all the same."""
    per_cell = length / len(cells) if length > 0 else 1.0
    first = min(max(int(start / per_cell), 0), len(cells) - 1)
    last = min(max(math.ceil(end / per_cell), first + 1), len(cells))
    for number in range(first, last):
        within = min(end, (number + 1) * per_cell) - max(start, number * per_cell)
        cells[number][kind] = cells[number].get(kind, 0.0) + max(within, 0.0)


def drawn_bar(cells: list[str], marks: Marks) -> Text:
    drawn = Text()
    while cells and not cells[-1]:
        cells = cells[:-1]
    for kind in cells:
        drawn.append(getattr(marks, kind) if kind else " ", COLOURS[kind])
    return drawn


def axis(length: float, width: int, marks: Marks) -> tuple[str, str]:
    """The labels of the time, and below them the line with a mark where each begins."""
    step = step_of_axis(length, min(width / 7, MOST_TICKS))
    labels = [" "] * width
    ruler = [marks.axis] * width
    for time in ticks(length, step):
        at = int(time / length * width) if length > 0 else 0
        label = time_label(time, step)
        if at + len(label) <= width and not "".join(labels[max(at - 1, 0) :]).strip():
            labels[at : at + len(label)] = label
        if at < width:
            ruler[at] = marks.tick
    return "".join(labels), "".join(ruler)


def step_of_axis(length: float, most: float) -> float:
    """The seconds between two ticks, so that there are no more than `most`."""
    for step in STEPS_OF_AXIS:
        if length / step <= most:
            return step
    return STEPS_OF_AXIS[-1] * math.ceil(length / STEPS_OF_AXIS[-1] / most)


def ticks(length: float, step: float) -> Iterator[float]:
    for number in range(int(length / step + 1e-9) + 1):
        yield number * step


def time_label(time: float, step: float) -> str:
    if step >= 3600:
        return f"{time / 3600:.0f} h"
    if step >= 60:
        return f"{time / 60:.0f} min"
    places = 3 if step < 0.01 else 2 if step < 0.1 else 1 if step < 1 else 0
    return f"{time:.{places}f} s"


# As SVG.

PALETTE = """
.timeline { --ink: #1f2328; --soft: #57606a; --paper: #ffffff; --line: #d0d7de; --call: #0550ae; --wait: #9a6700;
  --bad: #a40e26; }
@media (prefers-color-scheme: dark) { .timeline { --ink: #e6edf3; --soft: #9da7b3; --paper: #0d1117; --line: #3d444d;
  --call: #79c0ff; --wait: #e3b341; --bad: #ff7b72; } }
@media print { .timeline { --ink: #000000; --soft: #333333; --paper: #ffffff; --line: #bbbbbb; --call: #0550ae;
  --wait: #9a6700; --bad: #a40e26; } }
"""
STYLE = """
.timeline { background: var(--paper); font-family: system-ui, sans-serif; font-size: 13px; }
.timeline text { fill: var(--ink); }
.timeline .title { font-size: 18px; font-weight: 600; }
.timeline .soft, .timeline .head { fill: var(--soft); }
.timeline .number { text-anchor: end; font-variant-numeric: tabular-nums; }
.timeline .stopped { fill: var(--bad); font-weight: 600; }
.timeline .waiting { fill: var(--wait); }
.timeline .paper { fill: var(--paper); }
.timeline .call { fill: var(--call); }
.timeline .wait { fill: url(#stripes); stroke: var(--wait); }
.timeline .rest { fill: var(--soft); }
.timeline .tick { stroke: var(--line); }
"""
# So that a wait can be told from a call without colour, and on paper.
STRIPES = (
    '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path class="paper" d="M0 0H6V6H0z"/><path d="M0 0V6" stroke="var(--wait)" stroke-width="5"/></pattern></defs>'
)
WIDE = 1000
EDGE = 20
LINE = 24  # the height of a row
CHARACTER = 7.4  # of a text in 13 px, in the middle
NUMBERS = 52  # the width of a column of numbers
LONGEST_LABEL = 40
LETTERS = 125  # that a line has room for


def as_svg(shown: Timeline, *, in_page: bool = False) -> str:
    """The chart as one self-contained picture, light or dark as its reader has it.

    `in_page`: in the colours of the page that it stands in (--ink, --soft, --paper, --line, --call, --wait, --bad).
    """
    lines = lines_of(shown)
    label_width = CHARACTER * min(max([len(line.title) for line in lines] + [10]), LONGEST_LABEL)
    left = EDGE + label_width + 4 * NUMBERS + 16
    below = [wrapped for words in notes(shown) for wrapped in wrap(words)]
    top = 116
    bottom = top + LINE * len(lines)
    height = bottom + 52 + 19 * len(below)
    head = svg.opening("timeline", WIDE, height, 'role="graphics-document" aria-labelledby="title described"')
    drawn = [
        head,
        f'<title id="title">{svg.escaped(f"Where the time went: {heading(shown)}")}</title>',
        f'<desc id="described">{svg.escaped(described(shown))}</desc>',
        f"<style>{'' if in_page else PALETTE}{STYLE}</style>",
        STRIPES,
        f'<rect class="paper" width="{WIDE}" height="{height}"/>',
        svg.text("title", EDGE, 34, f"Where the time went: {heading(shown)}"),
        svg.text("soft", EDGE, 58, summary(shown)),
        *axis_elements(shown.length, left, top, bottom),
        *heads(EDGE + label_width, top - 12),
    ]
    for number, line in enumerate(lines):
        drawn += row_elements(line, EDGE + label_width, left, top + LINE * number, shown.length)
    total = (seconds(shown.length), str(sum(len(row.calls) for row in shown.rows)))
    cells = ("", *total, str(sum(row.writes for row in shown.rows)))
    drawn += ["<g>", svg.text("head", EDGE, bottom + 17, "Total")]
    drawn += [number_text(cell, EDGE + label_width, column, bottom + 17) for column, cell in enumerate(cells) if cell]
    drawn += ["</g>", *legend(left, bottom + 17)]
    drawn += [svg.text("soft", EDGE, bottom + 52 + 19 * number, words) for number, words in enumerate(below)]
    return "\n".join([*drawn, "</svg>"]) + "\n"


def notes(shown: Timeline) -> Iterator[str]:
    """What stands below the picture."""
    yield from remarks(shown)
    for number, wait in enumerate(longest_waits(shown), start=1):
        yield wait_words(number, wait)
    for row, piece, took in longest_calls(shown):
        yield f"call, {call_words(row, piece, took)}"


def wrap(words: str) -> list[str]:
    return textwrap.wrap(words, LETTERS, subsequent_indent="      ", max_lines=4, placeholder=" ...")


def described(shown: Timeline) -> str:
    """The picture in words, for those who do not see it."""
    rows = "; ".join(f"{row.title} {seconds(row.seconds)} s" for row in shown.rows)
    waits = longest_waits(shown)
    longest = f" The longest wait: {waits[0].about['reason']}, {seconds(waits[0].seconds)} s." if waits else ""
    return f"{summary(shown)} {rows}.{longest}"


def axis_elements(length: float, left: float, top: float, bottom: float) -> Iterator[str]:
    width = WIDE - EDGE - left
    step = step_of_axis(length, min(width / 70, MOST_TICKS))
    for time in ticks(length, step):
        x = left + (time / length * width if length > 0 else 0.0)
        yield f'<path class="tick" d="M{x:.1f} {top - 4:g}V{bottom:g}"/>'
        label = time_label(time, step)
        if x + CHARACTER * len(label) <= WIDE - EDGE / 2:
            yield svg.text("head", round(x, 1), top - 12, label)


def heads(left: float, y: float) -> Iterator[str]:
    for column, name in enumerate(("start", "took", "calls", "writes")):
        yield number_text(name, left, column, y)


def number_text(words: str, left: float, column: int, y: float) -> str:
    return svg.text("number", left + NUMBERS * (column + 1), y, words)


def row_elements(line: Line, label_end: float, left: float, y: float, length: float) -> Iterator[str]:
    """A row's label, numbers and bars; each bar says what it is."""
    took = seconds(line.end - line.start)
    words = f"{line.title.strip()}, begun at {seconds(line.start)} s, took {took} s"
    if not line.is_wait:
        words += f", {line.counts[0]} calls, {line.counts[1]} of them writing"
    yield f'<g role="group" aria-label="{svg.escaped(words)}">'
    name = "stopped" if line.stopped else "waiting" if line.is_wait else "label"
    yield svg.text(
        name, EDGE + (14 if line.is_wait else 0), y + 17, textwrap.shorten(line.title, 40, placeholder="...")
    )
    cells = (seconds(line.start), took, *line.counts)
    yield from (number_text(cell, label_end, column, y + 17) for column, cell in enumerate(cells) if cell)
    if not line.is_wait:
        x, wide = extent(line.start, line.end, left, length)
        yield svg.rect("rest", x, y + 11, wide, 2, f"{line.title}: {took} s in all")
    for piece in line.pieces:
        x, wide = extent(piece.start, piece.end, left, length)
        yield svg.rect(piece.kind, x, y + 5, wide, 14, piece_words(piece))
    yield "</g>"


def extent(start: float, end: float, left: float, length: float) -> tuple[float, float]:
    """Where a bar begins and how wide it is: never too narrow to be seen, never beyond the edge."""
    room = WIDE - EDGE - left
    scale = room / length if length > 0 else 0.0
    wide = min(max((end - start) * scale, 1.5), room)
    return min(left + start * scale, WIDE - EDGE - wide), wide


def piece_words(piece: Piece) -> str:
    about = piece.about
    if piece.kind == "wait":
        said = f" AWS says: {about['words']}" if about["words"] else ""
        return f"wait, {seconds(piece.seconds)} s: {piece.what}. {about['means']}{said}".strip()
    refused = f", refused: {about['error']['code']}" if about["error"] else ""
    sent = f", sent {about['sent']} times" if about["sent"] > 1 else ""
    return f"call, {seconds(piece.seconds)} s: {piece.what}{' (read)' if about['read'] else ''}{sent}{refused}"


def legend(left: float, y: float) -> Iterator[str]:
    x = left
    for kind, words in (("call", "a call"), ("wait", "a wait"), ("rest", "the rest, between them")):
        high = 2 if kind == "rest" else 12
        yield f'<rect class="{kind}" x="{x:g}" y="{y - 5 - high / 2:g}" width="18" height="{high}"/>'
        yield svg.text("soft", x + 24, y, words)
        x += 24 + CHARACTER * len(words) + 24
