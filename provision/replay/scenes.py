"""A transcript as scenes: what the player and the web page show one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from provision import STEPS, Step
from provision.record.recording import Recording
from provision.state.entries import Difference, ResourceResult
from provision.state.resources import PLACES

Event = dict[str, Any]
# Seconds; longer silences of a recording are shortened to it.
LONGEST_SILENCE = 5.0


@dataclass(frozen=True)
class Scene:
    """A page of the run: a step, or what came before, between or after the steps."""

    title: str
    step: Step | None
    events: list[Event]


def scenes(recording: Recording, *, unseen: bool = False) -> list[Scene]:
    """The pages of a run, in its order.

    `unseen`: also pages before and between the steps on which nothing can be seen.
    """
    if recording.header["program"] == "teardown":
        return scenes_of_teardown(recording)
    if recording.header["program"] == "trace":
        return scenes_of_trace(recording)
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


def scenes_of_trace(recording: Recording) -> list[Scene]:
    """A page for each route, with what was looked up for its hops."""
    routes, rest = in_groups(recording, "hop", lambda hop: str(hop["route"]))
    return [*(Scene(route, None, events) for route, events in routes), Scene("The end", None, rest)]


def scenes_of_teardown(recording: Recording) -> list[Scene]:
    """A page for each step whose resources were removed, and one for what followed."""
    step_of = {event["entry"]["key"]: event["entry"]["step"] for event in recording.of("entry")}
    groups, rest = in_groups(recording, "removed", lambda removed: step_of.get(removed["key"], ""))
    found = []
    for name, events in groups:
        step = next((step for step in STEPS if step.name == name), None)
        title = f"Step {step.number} of 8, taken down: {step.title}" if step is not None else "Taken down"
        found.append(Scene(title, step, events))
    return [*found, Scene("The proof that nothing is left" if found else "Teardown", None, rest)]


def in_groups(
    recording: Recording, last: str, name_of: Callable[[Event], str]
) -> tuple[list[tuple[str, list[Event]]], list[Event]]:
    """The events in groups that end with one of the type `last`, which names the group; and the rest."""
    groups: list[tuple[str, list[Event]]] = []
    waiting: list[Event] = []
    for event in recording.events:
        waiting.append(event)
        if event["type"] == last:
            if not groups or groups[-1][0] != name_of(event):
                groups.append((name_of(event), []))
            groups[-1][1].extend(waiting)
            waiting = []
    return groups, waiting


def seconds_of(scene: Scene) -> float | None:
    """How long a step took in the run; None if it did not come to its end."""
    begun = [event["at"] for event in scene.events if event["type"] == "step"]
    done = [event["at"] for event in scene.events if event["type"] == "done"]
    return max(done[-1] - begun[0], 0.0) if begun and done else None


def existing(recording: Recording, so_far: Iterable[Event]) -> set[str]:
    """The keys of the state file's resources that existed after these events, as far as the run shows."""
    events = recording.events
    there: set[str] = set()
    if recording.header["program"] == "teardown":  # at first there is all that it deletes or leaves
        there |= {event["entry"]["key"] for event in events if event["type"] == "entry"}
        there |= {event["key"] for event in events if event["type"] == "removed"}
    elif recording.header["program"] == "trace":  # everything is there, and stays
        there |= {key for key, place in PLACES.items() if not place.is_extra}
    for event in so_far:
        if event["type"] == "entry":
            (there.add if event["entry"]["status"] == "created" else there.discard)(event["entry"]["key"])
        elif event["type"] == "done":
            there |= {one["key"] for one in event["happened"]}
        elif event["type"] == "removed" and event["word"] in ("left", "kept", "failed"):
            there.add(event["key"])
    return there


def results(fields: dict[str, Any]) -> ResourceResult:
    """What a step did, read from the transcript."""
    differences = tuple(
        Difference(one["attribute"], one["found"], one["wanted"], one.get("left", False))
        for one in fields["differences"]
    )
    return ResourceResult(
        fields["key"],
        fields["kind"],
        fields["identity"],
        fields["outcome"],
        differences,
        tuple(fields["notes"]),
    )


def is_seen(event: Event) -> bool:
    """Whether an event leaves a line on the screen."""
    return event["type"] in ("wait", "done", "trial", "removed", "hop", "ended") or (
        event["type"] == "call" and not event["read"]
    )
