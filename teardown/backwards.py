"""Walks the state file backwards, then reads everything back to prove that nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from provision.aws.answers import AnswerLost, NotAWS
from provision.aws.clients import Clients
from provision.aws.credentials import is_of_credentials
from provision.aws.waiting import Wait, WaitingCannotHelp
from provision.cli.errors import explain
from provision.cli.runner import TRIES, settle
from provision.state.entries import TAG, Resource
from provision.state.file import StateRefused
from provision.state.ownership import is_being_deleted
from provision.state.resources import PLACES, TYPES, immutable_id
from provision.state.state import State
from provision.terminal import outcome
from teardown.looks import Looks
from teardown.verbs import VERBS

# So many looks in a row must find it gone. One look may be answered from a place that lags behind.
GONE_READS = 3
# In this time most is seen to be gone; what may come back is then looked for less often.
QUICK_SECONDS = 3.0
# The same where a run ended while it created the resource: it may be there, and not visible yet.
GONE_READS_IF_UNSURE = 10

# Seconds that the proof waits until nothing of it is seen any more, twice. For a queue AWS says up to 60; a table is
# DELETING as long as DynamoDB takes.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
GONE_WITHIN_SECONDS = 150.0

NOT_THERE = frozenset(
    {
        "NoSuchEntity",
        "ResourceNotFoundException",
        "NotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
    }
)

# After these errors nothing else would succeed, or could be recorded.
ENDINGS = (
    outcome.Interrupted,
    StateRefused,
    NotAWS,
    HTTPClientError,
    BotocoreConnectionError,
)


class StillInUse(outcome.UserError):
    """It is ours, and stays: something of somebody else's would stop working. It stays in the state file, too."""


@dataclass(frozen=True)
class Left:
    """A recorded resource that is still there, or may be, and why."""

    resource: Resource
    why: str


def what_stays(looks: Looks, *, include_adopted: bool = False) -> dict[str, str]:
    """By key, what stays because somebody else's resources depend on it, and why. Reads only.

    Ask before anything is deleted. Stage and permission are deleted before the function: somebody who uses the function
    would lose them before the walk sees that the function must stay.
    """
    aws, state = looks.aws, looks.state
    stays: dict[str, str] = {}
    for resource in state.standing:
        if VERBS[resource.kind].others_on is None or is_to_be_left(state, resource, include_adopted):
            continue
        with aws.calls.in_step(resource.step):
            why = why_it_stays(looks, resource)
        if why:
            stays[resource.key] = why
    for resource in state.standing:
        if resource.key in stays:
            stays = {**what_it_needs(state, resource), **stays}
    return stays


def why_it_stays(looks: Looks, resource: Resource) -> str:
    """Who else depends on it; "" where nobody does, or it is not ours. What cannot be found the walk reports later."""
    try:
        found = looks.find(resource)
        if found is None or not is_ours(looks, resource, found):
            return ""
    except Exception as error:  # noqa: BLE001
        failure(looks.aws, resource, error)
        return ""
    try:
        refuse_if_others_depend_on(looks, resource, found)
    except StillInUse as kept:
        return kept.what
    except Exception as error:  # noqa: BLE001
        return f"who else depends on it could not be read: {failure(looks.aws, resource, error)}"
    return ""


def what_it_needs(state: State, resource: Resource) -> dict[str, str]:
    """By key, what must stay because `resource` does."""
    needed: dict[str, str] = {}
    keys = [resource.key]
    while keys:
        for key in needs_of(keys.pop()):
            if key not in needed and state.record(key) is not None:
                needed[key] = f"{resource.name} stays and needs it"
                keys.append(key)
    return needed


def needs_of(key: str) -> tuple[str, ...]:
    """The keys of what a resource needs; none for a key that only a newer version knows."""
    return PLACES[key].needs if key in PLACES else ()


def take_down(
    looks: Looks,
    *,
    tell: Callable[[str, Resource, str], None],
    stays: Mapping[str, str] | None = None,
    include_adopted: bool = False,
    keep: Collection[str] = (),
) -> list[Left]:
    """Delete what the state file records, the last first, and go on after a failure. What the steps `keep` made stays.

    What was adopted is put back as it was and left, unless `include_adopted`. `tell` gets a word ("deleted", "left",
    "gone", "kept", "failed"), the resource and a remark. `stays` is what `what_stays` saw, where that was asked
    already. What is left over stays in the state file. Expired credentials and the like end it at once.
    """
    aws, state = looks.aws, looks.state
    left: dict[str, Left] = {}
    staying = dict(what_stays(looks, include_adopted=include_adopted) if stays is None else stays)
    for resource in reversed(state.standing):
        if resource.step in keep:
            continue
        with aws.calls.in_step(resource.step):
            try:
                leave = is_to_be_left(state, resource, include_adopted)
                word, remark = remove(looks, resource, staying.get(resource.key), leave=leave)
            except StillInUse as kept:
                # Somebody may have come since `what_stays` looked: then at least what is not yet deleted stays, too.
                staying = {**what_it_needs(state, resource), **staying}
                word, remark = "kept", kept.what
            except Exception as error:  # noqa: BLE001
                word, remark = "failed", failure(aws, resource, error)
            tell(word, resource, remark)
        if word in ("kept", "failed"):
            left[resource.key] = Left(resource, remark)
        elif word != "left":
            for part in [one.resource for one in left.values() if one.resource.parent == resource.key]:
                # A permission or a stage that could not be deleted by itself was deleted with the function or API.
                state.note_gone(part)
                tell("gone", part, f"it went with {resource.name}")
                del left[part.key]
    return list(left.values())


def failure(aws: Clients, resource: Resource, error: Exception) -> str:
    """What went wrong, in one sentence. Raises the error itself where the teardown must end with it."""
    if isinstance(error, ENDINGS) or is_of_credentials(error):
        raise error
    stop = explain(error, step=resource.step, profile=aws.profile)
    if stop is None:
        raise error
    return stop.what


def is_to_be_left(state: State, resource: Resource, include_adopted: bool) -> bool:
    """Whether it is put back and left, as it was there before."""
    if resource.is_used:
        return True
    return resource.is_adopted and not include_adopted and not VERBS[resource.kind].must_go(state, resource)


def was_restored(aws: Clients, state: State, resource: Resource) -> bool:
    """Whether something adopted is as it was: without our tag, and with nothing else to put back.

    The tag is the first thing that is put on, and the last that is removed. Tags may lag behind, so several looks must
    find none.
    """
    if set(resource.before) - {"tags"}:
        return False
    for looks_left in reversed(range(GONE_READS)):
        found = VERBS[resource.kind].find(aws, state, resource)
        if found is None or found.get("Tags") is None or found["Tags"].get(TAG):
            return False
        if looks_left:
            aws.waiting.sleep(1.0)
    return True


def refuse_while_parts_stand(state: State, resource: Resource) -> None:
    """Raise UserError while a part of ours is on it: without the parent's tag nobody could tell whose the part is."""
    parts = [entry.name for entry in state.standing if entry.parent == resource.key]
    if parts:
        raise outcome.UserError(f"{', '.join(parts)} on it could not be taken away, so its tag stays, too")


def remove(looks: Looks, resource: Resource, stays: str | None, *, leave: bool = False) -> tuple[str, str]:
    """Delete one resource, unless it is gone, is somebody else's by now, or `stays`: a word and a remark.

    With `leave` it is put back as it was, and left.
    """
    aws, state = looks.aws, looks.state
    if resource.is_used:
        state.note_left(resource)
        return "left", "somebody else's, and only used"
    how = "in an earlier run" if resource.status == "deleting" else None
    began = aws.waiting.clock()
    for tries_left in reversed(range(TRIES)):
        found = look(looks, resource)
        if found is None:
            state.note_gone(resource)
            return ("deleted", how) if how else ("gone", "it was not there any more")
        over = nothing_to_do(looks, resource, found)
        if over is not None:
            return over
        if stays:
            raise StillInUse(stays)
        refuse_what_must_not_go(looks, resource, found, leave=leave)
        known = immutable_id(resource.kind, found)
        if known is not None:
            resource.outputs["id"] = known  # this one is deleted and must be gone, whatever id the file had
        looks.forget(resource)
        try:
            return restore_one(aws, state, resource, found) if leave else delete(aws, state, resource, found)
        except AnswerLost as lost:
            if not tries_left:
                raise
            how = "by a call whose answer was lost"
            most = sum(settle(number) for number in range(1, TRIES))
            elapsed = aws.waiting.clock() - began
            aws.waiting.tell(Wait("answer lost", "Looking again at what is there.", str(lost), elapsed, most))
        except WaitingCannotHelp:
            refuse_if_others_depend_on(looks, resource, found)
            raise
        except ClientError as error:
            # It was deleted between the look and the call, or the look was answered from a place that lags behind.
            if error.response.get("Error", {}).get("Code") not in NOT_THERE or not tries_left:
                refuse_what_others_use(looks, resource, found, error)
                raise
        aws.waiting.sleep(settle(TRIES - tries_left))
    raise AssertionError("unreachable")


def refuse_what_others_use(looks: Looks, resource: Resource, found: dict[str, Any], error: ClientError) -> None:
    """Raise StillInUse where that is why IAM refused."""
    if error.response.get("Error", {}).get("Code") == "DeleteConflict":
        refuse_if_others_depend_on(looks, resource, found)


def refuse_what_must_not_go(looks: Looks, resource: Resource, found: dict[str, Any], *, leave: bool) -> None:
    """The last question before the call. What IAM would refuse, it is left to refuse."""
    if leave:
        refuse_while_parts_stand(looks.state, resource)
    elif not VERBS[resource.kind].iam_refuses:
        refuse_if_others_depend_on(looks, resource, found)


def nothing_to_do(looks: Looks, resource: Resource, found: dict[str, Any]) -> tuple[str, str] | None:
    """The word and the remark where nothing is to be done: it is put back already, or somebody else's. Else None."""
    state = looks.state
    if resource.is_adopted and was_restored(looks.aws, state, resource):
        state.note_left(resource)
        return "left", "adopted, and as it was found"
    if not is_ours(looks, resource, found):
        note_namesake(resource, found)
        state.note_gone(resource)
        return "gone", "what bears its name now is somebody else's, and was not touched"
    return None


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> tuple[str, str]:
    """Delete it, recorded before and after."""
    with state.deleting(resource):
        VERBS[resource.kind].delete(aws, state, resource, found)
    # Of that AWS acknowledged nothing in this run: see `prove`.
    return "deleted", "it was being deleted already" if is_being_deleted(found) else ""


def restore_one(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> tuple[str, str]:
    """Put something adopted back as it was, recorded before and after."""
    restore = VERBS[resource.kind].restore
    assert restore is not None, "only what can be put back is adopted"
    with state.restoring(resource):
        restore(aws, state, resource, found)
    return "left", "adopted, and put back as it was found"


def look(looks: Looks, resource: Resource) -> dict[str, Any] | None:
    """What AWS has under the recorded identity. Only several looks in a row prove that there is nothing."""
    for looks_left in reversed(range(GONE_READS if resource.status != "creating" else GONE_READS_IF_UNSURE)):
        found = looks.find(resource)
        if found is not None or not looks_left:
            return found
        looks.aws.waiting.sleep(1.0)
    return None


def is_ours(looks: Looks, resource: Resource, found: dict[str, Any]) -> bool:
    """Whether it is what the state file records: by its own tag, or by its parent's where it can carry none.

    The resource type says which, not the entry: an entry is only a claim.
    """
    state = looks.state
    is_part = VERBS[resource.kind].is_part
    if is_part is None and "Tags" not in found:  # a trigger, in some partitions
        return is_between_ours(looks, resource, found)
    if is_part is None:
        return state.is_ours(resource, found)
    parent = state.record(resource.parent or "")
    if parent is None or VERBS[parent.kind].is_part is not None:
        return False
    found_parent = look(looks, parent)
    return (
        found_parent is not None
        and state.is_ours(parent, found_parent)
        and is_part(looks.aws, state, resource, found_parent)
    )


def is_between_ours(looks: Looks, trigger: Resource, found: dict[str, Any]) -> bool:
    """Whether a trigger joins our queue and our function: this decides in a partition without tags on triggers.

    There is one between the two at most. If its id is recorded, it must have that id: else it was made since, by hand.
    """
    if trigger.outputs.get("id") not in (None, found["UUID"]):
        return False
    for key, arn in (("queue", found["EventSourceArn"]), ("function", found["FunctionArn"])):
        end = looks.state.record(key)
        found_end = look(looks, end) if end is not None else None
        if end is None or found_end is None or not looks.state.is_ours(end, found_end):
            return False
        if arn not in (found_end.get("QueueArn"), found_end.get("FunctionArn")):
            return False
    return True


def refuse_if_others_depend_on(looks: Looks, resource: Resource, found: dict[str, Any]) -> None:
    """Raise StillInUse with the names of what somebody else attached to it."""
    others = looks.others_on(resource, found)
    if others:
        raise StillInUse(f"others depend on it: {', '.join(others)}")


def contents(looks: Looks) -> dict[str, str]:
    """By key, what is in each recorded table and queue and is deleted with it. Reads only."""
    remarks = {}
    for resource in looks.state.standing:
        if VERBS[resource.kind].contents is None:
            continue
        with looks.aws.calls.in_step(resource.step):
            try:
                remarks[resource.key] = remark_on(looks, resource)
            except ClientError as error:
                if is_of_credentials(error):
                    raise
                code = error.response.get("Error", {}).get("Code", "")
                remarks[resource.key] = f"what is in it could not be counted: {code}"
    return remarks


def remark_on(looks: Looks, resource: Resource) -> str:
    """What is in it, in words."""
    found = looks.find(resource)
    if found is None:
        return "not there any more"
    try:
        if found["Tags"] is not None and not is_ours(looks, resource, found):
            return "somebody else's by now, and not touched"
    except outcome.UserError as error:
        return error.what
    count = VERBS[resource.kind].contents
    assert count is not None
    return count(looks.aws, found)


def comes_back(aws: Clients, resource: Resource) -> float:
    """Seconds for which it must stay gone. An emulator has one place to answer from."""
    return TYPES[resource.kind].comes_back if aws.endpoint is None else 0.0


def pause_before_the_next_look(aws: Clients, unproved: list[Resource], late: list[Resource], waited: float) -> None:
    """A second; three where nothing is seen any more, and only what may come back is still looked for."""
    names = ", ".join(entry.name for entry in late or unproved)
    most = max(comes_back(aws, entry) for entry in unproved)
    if late:
        aws.waiting.tell(
            Wait(f"{names} to be gone", "It was deleted and is still seen.", "", waited, GONE_WITHIN_SECONDS)
        )
    elif most and waited >= QUICK_SECONDS:
        aws.waiting.pause(Wait(f"{names} to stay gone", "AWS may show it once more.", "", waited, most), 3.0)
        return
    aws.waiting.sleep(1.0)


def looks_needed(resource: Resource, acknowledged: Collection[str]) -> int:
    """So many looks in a row must find it gone. Where AWS acknowledged its deletion in this run, mostly one."""
    return TYPES[resource.kind].gone_reads if resource.key in acknowledged else GONE_READS


def goes_with_its_parent(resource: Resource, unproved: Collection[str]) -> bool:
    """Whether its parent's absence proves its own: a deleted API has no stage, a deleted role no attachment."""
    return resource.parent in unproved and VERBS[resource.kind].is_part is not None


def prove(aws: Clients, state: State, acknowledged: Collection[str] = ()) -> list[Left]:
    """Look for everything that was deleted. What is still there?

    `acknowledged` are the keys of what AWS said in this run that it deleted. What was not there any more, or was
    deleted by a call whose answer was lost, is looked for several times.

    A log group comes back when a last invocation writes to it: it is deleted again. So is, once, whatever is seen after
    GONE_WITHIN_SECONDS: then the looks of an earlier run were answered from a place that lags behind.
    """
    left: dict[str, Left] = {}
    unproved = {
        entry.key: entry for entry in state.resources if entry.status == "deleted" and "left" not in entry.outputs
    }
    unproved = {key: entry for key, entry in unproved.items() if not goes_with_its_parent(entry, unproved)}
    misses = dict.fromkeys(unproved, 0)
    namesakes: dict[str, dict[str, Any]] = {}
    again = False
    began = aws.waiting.clock()
    while unproved:
        for key, resource in list(unproved.items()):
            with aws.calls.in_step(resource.step):
                try:
                    there = is_there(aws, state, resource, namesakes)
                except Exception as error:  # noqa: BLE001
                    left[key] = Left(resource, f"it could not be read back: {failure(aws, resource, error)}")
                    del unproved[key]
                    continue
            misses[key] = 0 if there else misses[key] + 1
            if misses[key] < looks_needed(resource, acknowledged):
                continue
            if aws.waiting.clock() - began >= comes_back(aws, resource):
                del unproved[key]
        waited = aws.waiting.clock() - began
        late = [resource for key, resource in unproved.items() if not misses[key]]
        if late and waited > GONE_WITHIN_SECONDS and not again:
            again, began = True, aws.waiting.clock()
            for resource in late:
                with aws.calls.in_step(resource.step):
                    # Now its tag decides again: to wait for something, its id was enough; to delete it, it is not.
                    resource.status = "deleting"
                    try:
                        remove(Looks(aws, state), resource, None)
                    except Exception as error:  # noqa: BLE001
                        left[resource.key] = Left(resource, failure(aws, resource, error))
                        del unproved[resource.key]
            continue
        if late and waited > GONE_WITHIN_SECONDS:
            left.update((entry.key, Left(entry, "it is still there although it was deleted")) for entry in late)
            break
        if unproved:
            pause_before_the_next_look(aws, list(unproved.values()), late, waited)
    for entry in left.values():
        entry.resource.status = "deleting"
    note_namesakes(state, namesakes)
    return list(left.values())


def is_there(aws: Clients, state: State, resource: Resource, namesakes: dict[str, dict[str, Any]]) -> bool:
    """Whether something deleted is still seen. A namesake that somebody else made since does not count.

    It is put into `namesakes`: only the last look knows whether it is one. A log group that comes back has no stream at
    first.
    """
    namesakes.pop(resource.key, None)
    found = VERBS[resource.kind].find(aws, state, resource)
    if found is None:
        return False
    if VERBS[resource.kind].came_back(aws, state, resource, found):
        with state.deleting(resource):
            VERBS[resource.kind].delete(aws, state, resource, found)
        return True
    if is_ours(Looks(aws, state), resource, found):
        return True
    namesakes[resource.key] = found
    return False


def note_namesakes(state: State, namesakes: Mapping[str, dict[str, Any]]) -> None:
    """Of those that the last looks saw, by key."""
    for resource in state.resources:
        if resource.key in namesakes:
            note_namesake(resource, namesakes[resource.key])


def note_namesake(resource: Resource, found: Mapping[str, Any]) -> None:
    """Into the entry, and so into the receipt: what bears the name now is somebody else's."""
    resource.outputs["namesake"] = immutable_id(resource.kind, found) or "without an id"


def receipt(state: State) -> dict[str, object]:
    """What was proved to be gone, and what was adopted and left.

    "namesake" is the id of somebody else's resource that has the name now.
    """
    resources = [
        {
            "kind": entry.kind,
            "identity": entry.identity,
            "found": "left" in entry.outputs,
            **({"adopted": "left as it was found"} if "left" in entry.outputs else {}),
            **({"namesake": entry.outputs["namesake"]} if "namesake" in entry.outputs else {}),
        }
        for entry in state.resources
        if entry.status == "deleted"
    ]
    return {"things": resources}


def close(state: State, left: list[Left]) -> None:
    """Save the state file; empty it, but for the receipt, if nothing is left.

    While anything is left all entries stay, the deleted ones too. So a resource that is made again takes its old place,
    and the receipt in the end lists everything.
    """
    if left or state.standing:
        state.save()
    else:
        state.close_books(receipt(state))
