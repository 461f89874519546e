"""Walks the ledger backwards, then reads everything back to prove that nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provision import outcome
from provision.aws import Clients
from provision.errors import explain
from provision.ledger import Ledger, Resource
from provision.runner import SETTLE, TRIES
from provision.tap import AnswerLost
from provision.waiting import Wait
from teardown import FIND, UNDO
from teardown.kept import Kept

# What a thing needs in order to go on working, and what therefore stays when it must stay.
RESTS_ON = {
    "function": ("log-group", "function-role", "write-policy", "read-policy", "table"),
    "queue": ("dead-letter-queue",),
}

# How many times in a row everything must be found gone. One look may be answered from a place that lags behind.
LOOKS = 3


@dataclass(frozen=True)
class Left:
    """A recorded thing that is still there, and why."""

    resource: Resource
    why: str


def take_down(aws: Clients, ledger: Ledger, *, tell: Callable[[str, Resource, str], None]) -> list[Left]:
    """Delete what the ledger records, the last first, and go on past what fails.

    `tell` gets a word ("deleted", "gone", "kept", "failed"), the thing and a remark. What is left stays in the ledger.
    Errors of credentials end it at once, since nothing else would succeed either.
    """
    left: list[Left] = []
    needed: dict[str, str] = {}
    for resource in reversed(ledger.standing):
        ledger.step = resource.step
        needed_by = needed.get(resource.key) or needed.get(resource.parent or "")
        if needed_by:
            left.append(Left(resource, f"kept, as the {needed_by} needs it"))
            tell("kept", resource, f"the {needed_by} needs it")
            continue
        try:
            word, remark = remove(aws, ledger, resource)
        except Kept as kept:
            left.append(Left(resource, kept.what))
            needed.update(dict.fromkeys(RESTS_ON.get(resource.key, ()), resource.key))
            tell("kept", resource, f"others depend on it: {', '.join(kept.others)}")
        except Exception as error:
            stop = explain(error, step=resource.step, profile=aws.profile)
            if stop is None or stop.exit_code in (outcome.INTERRUPTED, outcome.ENVIRONMENT):
                raise
            left.append(Left(resource, stop.what))
            tell("failed", resource, stop.what)
        else:
            tell(word, resource, remark)
    return left


def remove(aws: Clients, ledger: Ledger, resource: Resource) -> tuple[str, str]:
    """Delete one thing, unless it is gone already or has become somebody else's. What happened, and a remark."""
    for tries_left in reversed(range(TRIES)):
        try:
            found = look(aws, ledger, resource)
            if found is None:
                ledger.gone(resource)
                return "gone", "it was not there any more"
            if not is_ours(aws, ledger, resource, found):
                ledger.gone(resource)
                return "gone", "what bears its name now is somebody else's, and was not touched"
            with ledger.deleting(resource):
                UNDO[resource.kind](aws, ledger, resource, found)
            return "deleted", ""
        except AnswerLost as lost:
            if not tries_left:
                raise
            aws.waiting.tell(Wait("answer lost", "Looking again at what is there.", str(lost), 0.0, SETTLE))
            aws.waiting.sleep(SETTLE)
    raise AssertionError("unreachable")


def look(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, object] | None:
    """What is there under the recorded identity. "Nothing" is believed after several looks."""
    for looks_left in reversed(range(LOOKS)):
        found = FIND[resource.kind](aws, ledger, resource)
        if found is not None or not looks_left:
            return found
        aws.waiting.sleep(1.0)
    return None


def is_ours(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, object]) -> bool:
    """Whether it is what the ledger recorded: by its own mark, or, where it can carry none, by its parent's."""
    if resource.parent is None:
        return ledger.is_ours(resource, found)
    parent = ledger.record(resource.parent)
    if parent is None:
        return False
    found_parent = FIND[parent.kind](aws, ledger, parent)
    return found_parent is not None and ledger.is_ours(parent, found_parent)


def prove(aws: Clients, ledger: Ledger) -> list[Left]:
    """Read back everything that was deleted, each through its own service, several times. What is there after all?

    A log group can come back: a last invocation writes its line after the group was deleted. It is deleted again.
    """
    left: dict[str, Left] = {}
    for number in range(LOOKS):
        if number:
            aws.waiting.sleep(1.0)
        for resource in [entry for entry in ledger.resources if entry.status == "deleted"]:
            found = FIND[resource.kind](aws, ledger, resource)
            if found is None:
                continue
            if resource.kind == "logs:log-group" and came_back(aws, ledger):
                with ledger.deleting(resource):
                    UNDO[resource.kind](aws, ledger, resource, found)
            elif resource.parent is None and ledger.is_ours(resource, found):
                left[resource.key] = Left(resource, "still there although it was deleted")
    for entry in left.values():
        entry.resource.status = "deleting"
    return list(left.values())


def came_back(aws: Clients, ledger: Ledger) -> bool:
    """Whether a log group found after its deletion can only be from the function that was just deleted."""
    function = next((entry for entry in ledger.resources if entry.kind == "lambda:function"), None)
    return function is not None and function.status == "deleted" and FIND[function.kind](aws, ledger, function) is None


def receipt(ledger: Ledger) -> dict[str, object]:
    """What was proved to be gone."""
    things = [
        {"kind": entry.kind, "identity": entry.identity, "found": False}
        for entry in ledger.resources
        if entry.status == "deleted"
    ]
    return {"looks": LOOKS, "things": things}
