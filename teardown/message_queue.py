"""Undoes step 4: the queue and its dead-letter queue, with the messages in them."""

from __future__ import annotations

from typing import Any

from provision.account.status import in_words, messages
from provision.aws.clients import Clients
from provision.message_queue import wait_until_ready
from provision.state.entries import TAG_KEYS, Resource
from provision.state.state import State
from teardown.trigger import refuse_while_our_trigger_is_on, triggers_of_others


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """The names of somebody else's triggers on the queue."""
    return triggers_of_others(aws, state, EventSourceArn=found["QueueArn"])


def contents(aws: Clients, found: dict[str, Any]) -> str:
    """How many messages wait in it."""
    return in_words(messages(found))


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """The messages are deleted with it. SQS may show the queue for 60 seconds more: the proof waits for it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
    """
    refuse_while_our_trigger_is_on(state, EventSourceArn=found["QueueArn"])
    aws.sqs.delete_queue(
        QueueUrl=found["QueueUrl"],
    )


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put its attributes back. An attribute that was not set before is set to "", which removes it."""
    refuse_while_our_trigger_is_on(state, EventSourceArn=found["QueueArn"])
    names = ("Policy", "VisibilityTimeout", "RedrivePolicy", "MessageRetentionPeriod")
    was = {name: resource.was(name, resource.description.get(name, "")) for name in names}
    # The steps set all attributes of a queue at once, whichever differed.
    attributes = {
        name: value
        for name, value in was.items()
        if name in resource.before or (resource.description and found.get(name, "") != value)
    }
    if attributes:
        aws.sqs.set_queue_attributes(
            QueueUrl=found["QueueUrl"],
            Attributes=attributes,
        )
        wait_until_ready(aws, found["QueueUrl"], attributes, state.tags)
    state.note_restored(resource)
    aws.sqs.untag_queue(
        QueueUrl=found["QueueUrl"],
        TagKeys=list(TAG_KEYS),
    )
