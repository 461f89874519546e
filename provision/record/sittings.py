"""A lesson that was taken in several sittings: its transcripts as one run.

The sittings of a lesson are the runs with --step on one deployment at one endpoint. A teardown that leaves nothing ends
the lesson: what is built after it belongs to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from provision.record.recording import NoTranscript, Recording, read


def is_sitting(recording: Recording) -> bool:
    return recording.header["program"] == "provision" and "--step" in (recording.header.get("arguments") or ())


def sittings_of(recording: Recording) -> list[Recording]:
    """The sittings of the lesson that a run belongs to, in the order in which they began; that run alone if none."""
    if recording.path is None or not is_sitting(recording):
        return [recording]
    sittings: list[Recording] = []
    standing: set[str] = set()
    for run in sorted(beside(recording), key=lambda one: str(one.header.get("started"))):
        standing = left_by(run, standing)
        if run.header["program"] == "teardown" and not standing:
            if any(one.path == recording.path for one in sittings):
                break
            sittings = []
        elif is_sitting(run):
            sittings.append(run)
    return sittings


def beside(recording: Recording) -> list[Recording]:
    """All runs of the same deployment at the same endpoint, this one included."""
    assert recording.path is not None
    runs = []
    for path in recording.path.parent.glob("*.jsonl"):
        try:
            run = recording if path == recording.path else read(path)
        except NoTranscript:
            continue
        if all(run.header.get(name) == recording.header.get(name) for name in ("deployment", "endpoint")):
            runs.append(run)
    return runs


def left_by(run: Recording, standing: set[str]) -> set[str]:
    """The keys of what is recorded after a run, if these were before it."""
    standing = set(standing)
    for event in run.events:
        if event["type"] == "entry":
            standing.add(event["entry"]["key"])
        elif event["type"] == "removed" and event["word"] in ("deleted", "gone"):
            standing.discard(event["key"])
    return standing


def joined(sittings: Sequence[Recording]) -> Recording:
    """The sittings as one run, each at once after the one before: the time between them is left out.

    Its header has how many they are, under "sittings", and when the last of them began, under "last_started".
    """
    if len(sittings) == 1:
        return sittings[0]
    events: list[dict[str, Any]] = []
    at, number = 0.0, 0
    for sitting in sittings:
        events += moved(sitting, at, number, is_last=sitting is sittings[-1])
        at += sitting.seconds
        number += max((call["number"] for call in sitting.calls), default=0)
    if events[-1]["type"] == "ended":
        calls = [event for event in events if event["type"] == "call"]
        events[-1] |= {"calls": len(calls), "writes": sum(not call["read"] for call in calls)}
    first, last = sittings[0], sittings[-1]
    header = {**first.header, "sittings": len(sittings), "last_started": last.header["started"]}
    return replace(last, header=header, events=events)


def moved(sitting: Recording, at: float, number: int, *, is_last: bool) -> list[dict[str, Any]]:
    """The events of a sitting, so many seconds later, its calls numbered on.

    What it called before its first step looked at what there is, and belongs to no step. How it ended only the last
    sitting tells, with the calls of all.
    """
    events, begun = [], False
    for event in sitting.events:
        begun = begun or event["type"] == "step"
        event = {**event, "at": event["at"] + at}
        if event["type"] == "call":
            event["number"] += number
        if event["type"] == "wait" and event["call"] is not None:
            event["call"] += number
        if event["type"] in ("call", "wait") and not begun:
            event["step"] = ""
        if event["type"] != "ended" or is_last:
            events.append(event)
    return events
