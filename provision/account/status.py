"""`status`: what of a deployment exists, since when, whether it is as it should be, and what waits in it. Reads only.

Whether a resource is healthy is said by the steps themselves: it is what a run would
find to do (provision/account/plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import ClientError

from provision.account.plan import DryState, Planned
from provision.aws.clients import Clients
from provision.message_queue import find_queue
from provision.settings import Settings
from provision.state.entries import Difference
from provision.terminal.text import plural


@dataclass(frozen=True)
class ResourceStatus:
    """One resource. `word` is "healthy", "drifted", "missing" (it was made, and is gone), "not built", "in the way" or
    "unknown" (what it needs is drifted or missing). `since` is when it was made, in UTC; empty where it is not."""

    key: str
    kind: str
    identity: dict[str, str]
    word: str
    since: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


WORDS = {"OK": "healthy", "update": "drifted", "adopt": "in the way", "in the way": "in the way"}


def states(planned: Sequence[Planned], state: DryState) -> list[ResourceStatus]:
    """What the plan means for each resource; the state file says whether it was ever made."""
    found = []
    for one in planned:
        entry = next((entry for entry in state.as_opened if entry.key == one.key and entry.status == "created"), None)
        word = WORDS.get(one.word, "")
        if not word:
            word = "not built" if entry is None else "missing" if one.word == "create" else "unknown"
        notes = (*one.notes, *([f"it needs {one.needs}"] if one.needs and word == "unknown" else []))
        since = entry.since if entry is not None else ""
        found.append(ResourceStatus(one.key, one.kind, one.identity, word, since, one.differences, notes))
    return found


def is_as_built(found: Sequence[ResourceStatus]) -> bool:
    """Whether nothing has drifted, and nothing of it is missing: what was never built is no fault."""
    return all(state.word in ("healthy", "not built") for state in found)


def waiting_messages(aws: Clients, settings: Settings, found: Sequence[ResourceStatus]) -> dict[str, str]:
    """How many messages wait in each queue that is there, in words, by key."""
    names = {"queue": settings.queue, "dead-letter-queue": settings.dead_letter_queue}
    counted = {}
    for state in found:
        if state.key in names and state.word in ("healthy", "drifted"):
            try:
                queue = find_queue(aws.sqs, names[state.key])
            except ClientError as error:
                counted[state.key] = f"could not be counted: {error.response['Error']['Code']}"
                continue
            counted[state.key] = messages(queue) if queue is not None else "not there any more"
    return counted


def messages(queue: Mapping[str, str]) -> str:
    """How many messages wait in a queue, hidden and delayed ones included, by its attributes. SQS counts roughly.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
    """
    waiting = sum(
        int(queue.get(attribute, 0))
        for attribute in (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
    )
    return plural(waiting, "waiting message") if waiting else "no messages"
