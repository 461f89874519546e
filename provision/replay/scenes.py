"""A transcript as scenes: what a player or a page shows one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from provision import STEPS, Step
from provision.record.recording import Recording
from provision.state.entries import Difference, ResourceResult
from provision.state.resources import PLACES

# What a person waits for at most, in seconds of the recording: longer silences are shortened.
LONGEST_SILENCE = 5.0


@dataclass(frozen=True)
class Scene:
    """A page of the run: one of its steps, or what came before, between or after them."""

    title: str
    step: Step | None
    events: list[dict[str, Any]]


def scenes(recording: Recording, *, unseen: bool = False) -> list[Scene]:
    """The pages of a run, in its order. Of a teardown the steps are those whose resources were removed.

    `unseen`: also those before and between the steps that have nothing but looks.
    """
    if recording.header["program"] == "teardown":
        return list(scenes_of_teardown(recording))
    if recording.header["program"] == "trace":
        return list(scenes_of_trace(recording))
    found: list[Scene] = []
    parts = list(recording.steps())
    for number, (name, events) in enumerate(parts, start=1):
        if not name and not unseen and not any(map(is_seen, events)):
            continue
        step = next((step for step in STEPS if step.name == name), None)
        if step is not None:
            title = f"Step {step.number} of 8: {step.title}"
        elif number < len(parts):
            title = "Between the steps" if found else "Before the steps"
        else:
            title = "Tests, and the end" if any(event["type"] == "trial" for event in events) else "The end"
        found.append(Scene(title, step, events))
    return found or [Scene("The end", None, recording.events)]


def scenes_of_trace(recording: Recording) -> Iterator[Scene]:
    """A page for each route, with what was looked up for its hops."""
    route = ""
    events: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for event in recording.events:
        waiting.append(event)
        if event["type"] == "hop":
            if route and event["route"] != route:
                yield Scene(route, None, events)
                events = []
            route = event["route"]
            events += waiting
            waiting = []
    if route:
        yield Scene(route, None, events)
    yield Scene("The end", None, waiting)


def scenes_of_teardown(recording: Recording) -> Iterator[Scene]:
    steps = {event["entry"]["key"]: event["entry"]["step"] for event in recording.of("entry")}
    waiting: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    step_name = ""
    for event in recording.events:
        waiting.append(event)
        if event["type"] == "removed":
            name = steps.get(event["key"], "")
            if events and name != step_name:
                yield scene_of_removal(step_name, events)
                events = []
            step_name = name
            events += waiting
            waiting = []
    if events:
        yield scene_of_removal(step_name, events)
    yield Scene("The proof that nothing is left" if events else "Teardown", None, waiting)


def scene_of_removal(name: str, events: list[dict[str, Any]]) -> Scene:
    step = next((step for step in STEPS if step.name == name), None)
    title = f"Step {step.number} of 8, taken down: {step.title}" if step is not None else "Taken down"
    return Scene(title, step, events)


def seconds_of(scene: Scene) -> float | None:
    """How long a step took in the run; None where it did not come to its end."""
    begun = [event["at"] for event in scene.events if event["type"] == "step"]
    done = [event["at"] for event in scene.events if event["type"] == "done"]
    return max(done[-1] - begun[0], 0.0) if begun and done else None


def existing(recording: Recording, so_far: Iterable[dict[str, Any]]) -> set[str]:
    """The state file's keys of what there was after these events of a run, as far as the run came across it."""
    events = recording.events
    there: set[str] = set()
    if recording.header["program"] == "teardown":  # it begins with all that it takes away, or leaves
        there |= {event["entry"]["key"] for event in events if event["type"] == "entry"}
        there |= {event["key"] for event in events if event["type"] == "removed"}
    elif recording.header["program"] == "trace":  # what it goes through was there, and stays
        there |= set(PLACES)
    for event in so_far:
        if event["type"] == "entry":
            (there.add if event["entry"]["status"] == "created" else there.discard)(event["entry"]["key"])
        elif event["type"] == "done":
            there |= {one["key"] for one in event["happened"]}
        elif event["type"] == "removed" and event["word"] in ("left", "kept", "failed"):
            there.add(event["key"])
    return there


def results(fields: dict[str, Any]) -> ResourceResult:
    """What a step did, as it was before it was written down."""
    differences = tuple(Difference(one["attribute"], one["found"], one["wanted"]) for one in fields["differences"])
    return ResourceResult(
        fields["key"],
        fields["kind"],
        fields["identity"],
        fields["outcome"],
        differences,
        tuple(fields["notes"]),
    )


def is_seen(event: dict[str, Any]) -> bool:
    """Whether an event leaves a line on the screen."""
    return event["type"] in ("wait", "done", "trial", "removed", "hop", "ended") or (
        event["type"] == "call" and not event["read"]
    )
