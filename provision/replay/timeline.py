"""Where the time of a run went: its steps, and in each the calls, the waits and the rest. Made from its transcript.

All times are in seconds. No moment is counted twice: calls, waits, pauses and the rest add up to the whole run.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from provision import STEPS
from provision.record.recording import Recording
from provision.replay.scenes import LONGEST_SILENCE

Event = dict[str, Any]
SCATTER = 0.25  # seconds between two clock readings that a transcript takes for the same moment


@dataclass(frozen=True)
class Piece:
    """A stretch of time in which one call, or one wait, was under way. `about` is the transcript's event.

    A call that waits in between, or that interrupts a wait, has several pieces, and so has such a wait.
    """

    kind: str  # "call" or "wait"
    start: float
    end: float
    about: Event

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def what(self) -> str:
        if self.kind == "wait":
            return str(self.about["reason"])
        return f"{self.about['service']} {self.about['operation']}"


@dataclass(frozen=True)
class Wait:
    """One wait from its beginning to its end. `about` is the last event that tells of it."""

    row: Row
    pieces: list[Piece]
    about: Event
    during: str  # the call that was sent again and again; "" when something else was looked for

    @property
    def seconds(self) -> float:
        return sum(piece.seconds for piece in self.pieces)


@dataclass(eq=False)
class Row:
    """A part of the run: a step, or what came before or after the steps.

    In a row that is `busy` the suite is at work all the time: no person is asked, or reads.
    """

    title: str
    short: str
    events: list[Event]
    busy: bool = False
    done: bool = False
    start: float = 0.0
    end: float = 0.0
    pieces: list[Piece] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def calls(self) -> list[Event]:
        return [event for event in self.events if event["type"] == "call"]

    @property
    def writes(self) -> int:
        return sum(not call["read"] for call in self.calls)


@dataclass(frozen=True)
class Timeline:
    """A run's parts in their order, and what was waited for, the longest first.

    The times of rows and pieces leave out the pauses: what remains is `length`, and the whole run was `seconds`.
    """

    recording: Recording
    rows: list[Row]
    waits: list[Wait]
    pauses: list[float]
    length: float

    @property
    def seconds(self) -> float:
        return self.length + sum(self.pauses)

    @property
    def in_calls(self) -> float:
        return self._sum_of("call")

    @property
    def in_waits(self) -> float:
        return self._sum_of("wait")

    @property
    def in_the_rest(self) -> float:
        """What the suite did itself: it started, computed, saved, and sent requests that are no calls of AWS's API."""
        return max(self.length - self.in_calls - self.in_waits, 0.0)

    @property
    def stopped_in(self) -> Row | None:
        """The row in which a build failed, was stopped, or was killed; None when it ended well, or between two."""
        ended = self.recording.ended
        if (ended is not None and ended["exit_code"] == 0) or not self.rows or self.rows[-1].done:
            return None
        return self.rows[-1] if self.recording.header["program"] == "provision" else None

    def _sum_of(self, kind: str) -> float:
        return sum(piece.seconds for row in self.rows for piece in row.pieces if piece.kind == kind)


def timeline(recording: Recording) -> Timeline:
    """The timeline of one run. A run that was killed ends with the last that was written down."""
    rows = rows_of(recording)
    waits = list(waits_in(recording, rows))
    waited = [piece for wait in waits for piece in wait.pieces]
    # Inside a call the wait that began last is the one that goes on; between calls, calls interrupt a wait.
    inside = sorted(filter(is_inside, waited), key=lambda piece: -piece.start)
    between = [piece for piece in waited if not is_inside(piece)]
    pieces = list(apart([*inside, *calls_in(rows), *between]))
    place(rows)
    cut = pauses(rows, pieces, recording.seconds)
    pieces = [replace(one, start=without(cut, one.start), end=without(cut, one.end)) for one in pieces]
    pieces.sort(key=lambda piece: (piece.start, piece.end))
    for row in rows:
        row.start, row.end = without(cut, row.start), without(cut, row.end)
        mine = {id(event) for event in row.events}
        row.pieces = [piece for piece in pieces if id(piece.about) in mine]
    shown = [replace(wait, pieces=pieces_of(wait, pieces)) for wait in waits]
    shown.sort(key=lambda wait: -wait.seconds)
    lengths = [end - start for start, end in cut]
    return Timeline(recording, rows, shown, lengths, recording.seconds - sum(lengths))


def pieces_of(wait: Wait, pieces: list[Piece]) -> list[Piece]:
    mine = {id(piece.about) for piece in wait.pieces}
    return [piece for piece in pieces if id(piece.about) in mine]


def is_inside(piece: Piece) -> bool:
    """Whether it is a wait in the course of a call, which counts its time as its own."""
    return piece.about["call"] is not None


# The rows.


def rows_of(recording: Recording) -> list[Row]:
    program = recording.header["program"]
    if program == "teardown":
        return rows_of_teardown(recording)
    if program == "trace":
        rows, events = rows_up_to(recording.events, "hop", lambda hop: (hop["route"], short_route(hop["route"])))
        left = [event for event in events if event["type"] in ("call", "wait")]
        return begun(rows, "Before it sends") + ([Row("At the end", "End", left, busy=True)] if left else [])
    return rows_of_provision(recording)


def rows_of_provision(recording: Recording) -> list[Row]:
    rows = [Row("Before the steps", "Before", [])]
    row: Row | None = rows[0]
    for event in recording.events:
        kind = event["type"]
        if kind == "ended":
            continue
        if kind == "step":
            if row is None or row.title != title_of(event["step"]):  # else the step is looked at once more
                row = step_row(event["step"])
                rows.append(row)
        elif event.get("step") == "trials" or kind == "trial":
            if row is None or row.short != "Tests":
                row = Row("Tests of the result", "Tests", [], busy=True)
                rows.append(row)
        elif row is None and kind in ("call", "wait"):
            row = Row("Between the steps", "Between", [])
            rows.append(row)
        if row is None:
            continue
        row.events.append(event)
        if kind == "done":
            row.done = True
            row = None
    return [row for row in rows if row.events]


def rows_of_teardown(recording: Recording) -> list[Row]:
    steps = {event["entry"]["key"]: event["entry"]["step"] for event in recording.of("entry")}

    def names(removed: Event) -> tuple[str, str]:
        step = steps.get(removed["key"], "")
        return (title_of(step), short_of(step)) if step else ("Other things", "Others")

    rows, events = rows_up_to(recording.events, "removed", names)
    for row in rows:
        row.busy = False  # consent is asked for in the course of the first
    rows = begun(rows, "Before it deletes")
    events = [event for event in events if event["type"] in ("call", "wait")]
    if events:
        ended = recording.ended
        well = ended is not None and ended["exit_code"] == 0
        if not rows:
            rows.append(Row("Looking for what is there", "Looking", events))
        else:
            rows.append(
                Row("Proof that nothing is left", "Proof", events) if well else Row("After it", "After", events)
            )
    return rows


def rows_up_to(
    events: list[Event], kind: str, names: Callable[[Event], tuple[str, str]]
) -> tuple[list[Row], list[Event]]:
    """A row for each event of a kind with all that led to it, one for those of the same name; and what is left."""
    rows: list[Row] = []
    waiting: list[Event] = []
    for event in events:
        waiting.append(event)
        if event["type"] == kind:
            title, short = names(event)
            if not rows or rows[-1].title != title:
                rows.append(Row(title, short, [], busy=True, done=True))
            rows[-1].events += waiting
            waiting = []
    return rows, waiting


def begun(rows: list[Row], title: str) -> list[Row]:
    """The rows, with a first one for what came before the work on the first: other steps' looks, or none's."""
    if not rows:
        return rows
    events = rows[0].events
    first = next(number for number, event in enumerate(events) if event["type"] in ("removed", "hop"))
    step = next((event["step"] for event in reversed(events[:first]) if event["type"] == "call"), "")
    while first and events[first - 1].get("step", step) == step:
        first -= 1
    if first == 0:
        return rows
    rows[0].events = events[first:]
    return [Row(title, "Before", events[:first], done=True), *rows]


def step_row(name: str) -> Row:
    return Row(title_of(name), short_of(name), [], busy=True)


def title_of(name: str) -> str:
    step = next((step for step in STEPS if step.name == name), None)
    return f"{step.number} {step.title}" if step is not None else name


def short_of(name: str) -> str:
    title = title_of(name)
    return title if len(title) <= 14 else " ".join(title.split()[:2])


def short_route(route: str) -> str:
    return route.rpartition("/")[2] or route


def place(rows: list[Row]) -> None:
    """When each row began and ended, none before the one before it had. What came before the work is from 0 on."""
    last = 0.0
    for number, row in enumerate(rows):
        row.start = max(last, min(event["at"] for event in row.events)) if number or row.busy else 0.0
        row.end = max(row.start, *(ended_at(event) for event in row.events))
        last = row.end


def ended_at(event: Event) -> float:
    return float(event["at"] + event.get("seconds", 0.0))


# The pieces.


def calls_in(rows: list[Row]) -> Iterator[Piece]:
    for row in rows:
        for call in row.calls:
            yield Piece("call", call["at"], ended_at(call), call)


def waits_in(recording: Recording, rows: list[Row]) -> Iterator[Wait]:
    """What was waited for. An event tells of a wait at one moment; where it ended is seen by what came next."""
    calls = {call["number"]: call for call in recording.calls}
    following = dict(zip(map(id, recording.events), recording.events[1:], strict=False))
    for row in rows:
        waits: list[Wait] = []
        for event in (event for event in row.events if event["type"] == "wait"):
            call = calls.get(event["call"])
            after = following.get(id(event), event)
            # The look that follows begins later than what was told of the one before it.
            end = ended_at(call) if call is not None else max(after["at"], event["at"])
            start = event["at"] if call is not None else max(event["at"] - event["elapsed"], 0.0)
            piece = Piece("wait", min(start, end), end, event)
            same = next((wait for wait in reversed(waits) if is_the_same(wait, piece)), None)
            if same is not None:
                further = [] if is_inside(piece) else [piece]  # the first has all of it, to the call's end
                waits[waits.index(same)] = replace(same, pieces=[*same.pieces, *further], about=event)
            else:
                during = f"{call['service']} {call['operation']}" if call is not None else ""
                waits.append(Wait(row, [piece], event, during))
        yield from waits


def is_the_same(wait: Wait, piece: Piece) -> bool:
    """Whether an event tells of a wait that an earlier one has told of, and that has gone on since."""
    if wait.about["reason"] != piece.about["reason"] or wait.about["call"] != piece.about["call"]:
        return False
    return is_inside(piece) or bool(piece.start < wait.about["at"] + SCATTER)


def apart(spans: Iterable[Piece]) -> Iterator[Piece]:
    """The spans with none of their time in common: what two of them claim is the earlier one's in the list."""
    taken: list[tuple[float, float]] = []
    for span in spans:
        if span.start == span.end:
            yield span
            continue
        for start, end in list(free(span.start, span.end, taken)):
            insort(taken, (start, end))
            yield replace(span, start=start, end=end)


def free(start: float, end: float, taken: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The parts between two moments that are in none of the intervals, which are sorted and do not overlap."""
    first = max(bisect_left(taken, (start, start)) - 1, 0)
    for begin, until in taken[first:]:
        if begin >= end:
            break
        if begin > start:
            yield start, begin
        start = max(start, until)
    if start < end:
        yield start, end


# The pauses.


def pauses(rows: list[Row], pieces: list[Piece], seconds: float) -> list[tuple[float, float]]:
    """When nothing was under way for long: a person was asked, or read. In a lesson that is most of the time."""
    busy = [(row.start, row.end) for row in rows if row.busy] + [(piece.start, piece.end) for piece in pieces]
    begin = min((event["at"] for row in rows for event in row.events), default=seconds)
    busy.append((0.0, begin))
    taken: list[tuple[float, float]] = []
    for start, end in busy:
        for part in list(free(start, end, taken)):
            insort(taken, part)
    return [(start, end) for start, end in free(0.0, seconds, taken) if end - start > LONGEST_SILENCE]


def without(cut: list[tuple[float, float]], moment: float) -> float:
    """A moment of the run as one of the time that is left when the pauses are cut out."""
    return moment - sum(max(min(end, moment) - start, 0.0) for start, end in cut)
