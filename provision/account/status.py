"""`status`: what of a deployment exists, since when, whether it is as it should be, and what waits in it. Reads only.

Whether a resource is unchanged since it was built is said by the steps themselves: it is what a run would find to do
(provision/account/plan.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from provision.account.outcomes import ResourceOutcome, outcome_of
from provision.account.plan import DryState, Planned
from provision.aws.clients import Clients
from provision.message_queue import find_queue
from provision.settings import Settings
from provision.terminal.text import plural

COUNTED_ITEMS = 1000

# By a plan's word. The others mean "not built", "missing" (it was made, and is gone), or "unknown" (what it needs is
# drifted or missing).
WORDS = {
    "unchanged": "unchanged",
    "drifted": "drifted",
    "update": "drifted",
    "adopt": "in the way",
    "in the way": "in the way",
}


def states(planned: Sequence[Planned], state: DryState) -> list[ResourceOutcome]:
    """What the plan means for each resource; the state file says whether it was ever made."""
    found = []
    for one in planned:
        entry = next((entry for entry in state.as_opened if entry.key == one.key and entry.status == "created"), None)
        word = WORDS.get(one.word, "")
        if not word:
            word = "not built" if entry is None else "missing" if one.word == "create" else "unknown"
        notes = (*one.notes, *([f"it needs {one.needs}"] if one.needs and word == "unknown" else []))
        notes += (one.theirs,) if one.theirs else ()
        since = entry.since or None if entry is not None else None
        found.append(outcome_of(one, word, changes=one.differences, notes=notes, since=since, compared=one.compared))
    return found


def is_as_built(found: Sequence[ResourceOutcome]) -> bool:
    """Whether nothing has drifted, and nothing of it is missing: what was never built is no fault."""
    return all(one.outcome in ("unchanged", "not built") for one in found)


def is_left(one: ResourceOutcome) -> bool:
    """Whether it has drifted, and a run would leave it so."""
    return one.outcome == "drifted" and bool(one.changes) and all(change.left for change in one.changes)


def with_contents(aws: Clients, settings: Settings, found: Sequence[ResourceOutcome]) -> Iterator[ResourceOutcome]:
    """The same, with what is in the table and in each queue that is there, or a remark why nobody knows."""
    for one in found:
        if one.outcome not in ("unchanged", "drifted"):
            yield one
            continue
        try:
            yield with_content(aws, settings, one)
        except ClientError as error:
            yield replace(one, remark=f"could not be counted: {error.response['Error']['Code']}")


def with_content(aws: Clients, settings: Settings, one: ResourceOutcome) -> ResourceOutcome:
    if one.key == "table":
        return replace(one, remark=count_items(aws.dynamodb, settings.table))
    names = {"queue": settings.queue, "dead-letter-queue": settings.dead_letter_queue}
    if one.key not in names:
        return one
    queue = find_queue(aws.sqs, names[one.key])
    return replace(one, messages=messages(queue)) if queue is not None else replace(one, remark="not there any more")


def count_items(dynamodb: Any, name: str) -> str:
    """How many items are in it, in words. It counts up to COUNTED_ITEMS, as every item read costs."""
    answer = dynamodb.scan(
        TableName=name,
        Select="COUNT",
        Limit=COUNTED_ITEMS,
    )
    more = "more than " if "LastEvaluatedKey" in answer else ""
    return more + plural(answer["Count"], "item") if answer["Count"] else "no items"


def in_words(waiting: int) -> str:
    return plural(waiting, "waiting message") if waiting else "no messages"


def messages(queue: Mapping[str, str]) -> int:
    """How many messages wait in a queue, hidden and delayed ones included, by its attributes. SQS counts roughly.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
    """
    return sum(
        int(queue.get(attribute, 0))
        for attribute in (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
    )
