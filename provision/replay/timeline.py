"""Where the time of a run went: its steps, and in each the calls, the waits and the rest.

All times are in seconds. No moment counts twice: calls, waits, pauses and the rest add up to the whole run.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from provision.record.recording import Recording
from provision.replay.scenes import LONGEST_SILENCE, Event, Scene, scenes

Span = tuple[float, float]
NOTICEABLE = 0.05  # seconds; a shorter wait or call is not listed
LISTED = 5  # at most so many waits, and so many calls


@dataclass(frozen=True)
class Piece:
    """A time in which one call or one wait was under way; `about` is the transcript's event.

    A call with a wait inside has several pieces; so has a wait that calls interrupt.
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
        about = self.about
        return str(about["reason"]) if self.kind == "wait" else f"{about['service']} {about['operation']}"

    @property
    def words(self) -> str:
        about = self.about
        if self.kind == "wait":
            said = f" AWS says: {about['words']}" if about["words"] else ""
            return f"wait, {in_short(self.seconds)} s: {self.what}. {about['means']}{said}".strip()
        refused = f", refused: {about['error']['code']}" if about["error"] else ""
        sent = f", sent {about['sent']} times" if about["sent"] > 1 else ""
        return f"call, {in_short(self.seconds)} s: {self.what}{' (read)' if about['read'] else ''}{sent}{refused}"


@dataclass
class Row:
    """A part of the run: a step, or what came before, between or after the steps."""

    title: str
    scene: Scene
    start: float = 0.0
    end: float = 0.0
    pieces: list[Piece] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(event["type"] == "call" for event in self.scene.events)

    @property
    def writes(self) -> int:
        return sum(event["type"] == "call" and not event["read"] for event in self.scene.events)


@dataclass(frozen=True)
class Timeline:
    """A run's parts in their order. Their times, and `length`, leave out the pauses."""

    recording: Recording
    rows: list[Row]
    pauses: list[float]
    length: float

    def seconds_of(self, kind: str) -> float:
        """Of calls or of waits; "rest" is the suite's own work, and requests that are no calls of AWS's API."""
        if kind == "rest":
            return max(self.length - self.seconds_of("call") - self.seconds_of("wait"), 0.0)
        return sum(piece.seconds for row in self.rows for piece in row.pieces if piece.kind == kind)

    def longest(self, kind: str) -> list[tuple[float, Row, Piece]]:
        """The longest waits or calls: the seconds of each in all its pieces, its row, and its last piece."""
        found: dict[tuple[int, Any], tuple[float, Row, Piece]] = {}
        for row in self.rows:
            for piece in (one for one in row.pieces if one.kind == kind):
                key = (id(row), piece.what if kind == "wait" else id(piece.about))
                found[key] = (found.get(key, (0.0,))[0] + piece.seconds, row, piece)
        in_order = sorted(found.values(), key=lambda one: -one[0])
        return [one for one in in_order if one[0] >= NOTICEABLE][:LISTED]

    def remarks(self) -> Iterator[str]:
        """The total and its parts, and how the run ended unless it ended well."""
        calls, writes = sum(row.calls for row in self.rows), sum(row.writes for row in self.rows)
        parts = [f"calls {in_short(self.seconds_of('call'))} s ({calls}, of them {writes} writing)"]
        parts += [f"waits {in_short(self.seconds_of('wait'))} s", f"the rest {in_short(self.seconds_of('rest'))} s"]
        parts += [f"pauses {in_short(sum(self.pauses))} s"] if self.pauses else []
        yield f"{in_short(self.length + sum(self.pauses))} s: {', '.join(parts)}."
        if self.pauses:
            yield "Pauses, in which a person was asked or read, are left out of the table."
        ended = self.recording.ended
        is_open = self.rows and all(event["type"] != "done" for event in self.rows[-1].scene.events)
        where = f" in {self.rows[-1].title}" if is_open else ""
        if ended is None:
            yield f"The run was killed{where}: what it did last may be missing."
        elif ended.get("stop"):
            yield f"Stopped{where}: {ended['stop']['what']}"
        elif ended["exit_code"]:
            yield f"It ended with exit code {ended['exit_code']}{where}."


def in_short(seconds: float) -> str:
    """With as many digits as say enough: 0.04, 4.2, 1234."""
    return f"{seconds:.2f}" if 0 < seconds < 0.095 else f"{seconds:.1f}" if seconds < 999.95 else f"{seconds:.0f}"


def timeline(recording: Recording) -> Timeline:
    """The timeline of one run. A killed run ends with its last event."""
    parts = scenes(recording, unseen=True)
    rows = [Row(title_of(part), part) for part in parts if any(event["type"] != "ended" for event in part.events)]
    place(rows)
    waits = list(waits_in(recording))
    # Inside a call, the wait that began last counts. Outside, a call interrupts a wait.
    inside = sorted((one for one in waits if one.about["call"] is not None), key=lambda one: -one.start)
    between = [one for one in waits if one.about["call"] is None]
    calls = [Piece("call", call["at"], ended_at(call), call) for call in recording.calls]
    pieces = list(apart([*inside, *calls, *between]))
    cut = pauses(rows, pieces, recording)
    for row in rows:
        mine = {id(event) for event in row.scene.events}
        own = (piece for piece in pieces if id(piece.about) in mine)
        moved = (replace(one, start=without(cut, one.start), end=without(cut, one.end)) for one in own)
        row.pieces = sorted(moved, key=lambda piece: (piece.start, piece.end))
        row.start, row.end = without(cut, row.start), without(cut, row.end)
    lengths = [end - start for start, end in cut]
    return Timeline(recording, rows, lengths, recording.seconds - sum(lengths))


def title_of(scene: Scene) -> str:
    return scene.title if scene.step is None else f"{scene.step.number} {scene.step.title}"


def place(rows: list[Row]) -> None:
    """Set when each row began and ended; none begins before the one above it has ended."""
    last = 0.0
    for row in rows:
        row.start = max(last, min(event["at"] for event in row.scene.events)) if last or row.scene.step else 0.0
        row.end = last = max(row.start, *map(ended_at, row.scene.events))


def ended_at(event: Event) -> float:
    return float(event["at"] + event.get("seconds", 0.0))


def waits_in(recording: Recording) -> Iterator[Piece]:
    """The waits. An event reports one at one moment; it ended when its call did, or else the next event came."""
    calls = {call["number"]: call for call in recording.calls}
    for event, after in zip(recording.events, [*recording.events[1:], *recording.events[-1:]], strict=True):
        if event["type"] == "wait":
            call = calls.get(event["call"])
            end = ended_at(call) if call else max(after["at"], event["at"])
            start = event["at"] if call else max(event["at"] - event["elapsed"], 0.0)
            yield Piece("wait", min(start, end), end, event)


def apart(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces without overlaps: of two pieces, the earlier one in the list gets the time that both have."""
    taken: list[Span] = []
    for piece in pieces:
        if piece.start == piece.end:
            yield piece
        for start, end in list(free(piece.start, piece.end, taken)):
            insort(taken, (start, end))
            yield replace(piece, start=start, end=end)


def free(start: float, end: float, taken: list[Span]) -> Iterator[Span]:
    """The parts between two moments that are in none of these spans, which are sorted and do not overlap."""
    for begin, until in taken[max(bisect_left(taken, (start, start)) - 1, 0) :]:
        if begin >= end:
            break
        if begin > start:
            yield start, begin
        start = max(start, until)
    if start < end:
        yield start, end


def pauses(rows: list[Row], pieces: list[Piece], recording: Recording) -> list[Span]:
    """When nothing was under way for long: a person was asked, or read. In a lesson that is most of the time.

    A step has no pauses, except that a teardown asks within its first one.
    """
    program = recording.header["program"]
    busy = [(row.start, row.end) for row in rows if is_busy(row, program)]
    busy += [(piece.start, piece.end) for piece in pieces]
    busy.append((0.0, min((event["at"] for event in recording.events), default=0.0)))
    taken: list[Span] = []
    for span in busy:
        for part in list(free(*span, taken)):
            insort(taken, part)
    return [(start, end) for start, end in free(0.0, recording.seconds, taken) if end - start > LONGEST_SILENCE]


def is_busy(row: Row, program: str) -> bool:
    tried = any(event["type"] in ("trial", "hop") for event in row.scene.events)
    return program != "teardown" and (row.scene.step is not None or tried)


def without(cut: list[Span], moment: float) -> float:
    """A moment of the run, counted without the pauses before it."""
    return moment - sum(max(min(end, moment) - start, 0.0) for start, end in cut)
