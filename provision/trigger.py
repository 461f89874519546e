"""Step 6: the trigger, which hands the queue's messages to the function. The lesson: lessons/trigger.md

The console says trigger, the API event source mapping. It stays when its queue or its function is deleted.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from provision.aws.clients import Clients
from provision.aws.reasons import (
    QUEUE_NOT_YET_KNOWN_TO_LAMBDA,
    ROLE_NOT_YET_PERMITTED,
    VISIBILITY_TIMEOUT_NOT_YET_SEEN,
)
from provision.documents import policy_document, same_meaning
from provision.function import find_function, role_does_not_trust_lambda
from provision.message_queue import find_queue
from provision.policies import find_policy
from provision.roles import find_attachment
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("policies", "queue", "function")

T = TypeVar("T")

CONCURRENCY = "ScalingConfig > MaximumConcurrency"


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """Find the trigger; create it, or update it; have it waited for until it is enabled; record it."""
    queue_arn = state.outputs("queue")["arn"]
    recorded = state.record("trigger")
    uuid = recorded.outputs.get("id") if recorded is not None else None
    trigger = find_trigger(aws.lambda_, queue_arn, settings.function, uuid)
    if trigger is not None and trigger["State"] == "Deleting":
        wait_until_gone(aws, queue_arn, settings.function, uuid)
        trigger = None
    with state.resource(
        "trigger",
        "lambda:event-source-mapping",
        found=trigger,
        EventSourceArn=queue_arn,
        FunctionName=settings.function,
    ) as entry:
        if trigger is None:
            uuid = once_permitted(aws, settings, state, lambda: create_trigger(aws, settings, entry, queue_arn))
        else:
            uuid = trigger["UUID"]
            if trigger_drifted(aws, settings, entry, trigger):
                once_permitted(aws, settings, state, lambda: update_trigger(aws, settings, uuid))
        if trigger is None or trigger["State"] != "Enabled":
            aws.waiting.later(lambda: wait_until_ready(aws, uuid))


def create_trigger(aws: Clients, settings: Settings, entry: Entry, queue_arn: str) -> str:
    """Lambda polls the queue with the function's role, and invokes the function with up to `BatchSize` messages.

    `ScalingConfig` says how many invocations it may have running at once: a flood leaves room for other functions.
    With ReportBatchItemFailures SQS delivers again only the messages that the function names.
    https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    """
    created = aws.lambda_.create_event_source_mapping(
        EventSourceArn=queue_arn,
        FunctionName=settings.function,
        BatchSize=settings.batch_size,
        Enabled=True,
        FunctionResponseTypes=settings.function_response_types,
        ScalingConfig=settings.scaling_config,
        Tags=entry.tags,
    )
    entry.identify(created)
    return str(created["UUID"])


def trigger_drifted(aws: Clients, settings: Settings, entry: Entry, trigger: dict[str, Any]) -> bool:
    """Put the tag back. Whether anything else must be updated; a trigger that is being enabled counts as enabled."""
    if entry.needs_tag():
        aws.lambda_.tag_resource(
            Resource=trigger["EventSourceMappingArn"],
            Tags=entry.tags,
        )
    state = "Enabled" if trigger["State"] in ("Creating", "Enabling", "Updating") else trigger["State"]
    response_types = trigger.get("FunctionResponseTypes", [])
    drifted = entry.drifted("State", found=state, wanted="Enabled")
    drifted |= entry.drifted("FunctionName", found=serves(trigger), wanted=settings.function)
    drifted |= entry.drifted("BatchSize", found=trigger["BatchSize"], wanted=settings.batch_size)
    drifted |= entry.drifted("FunctionResponseTypes", found=response_types, wanted=settings.function_response_types)
    concurrency = trigger.get("ScalingConfig", {}).get("MaximumConcurrency")
    drifted |= entry.drifted(CONCURRENCY, found=concurrency, wanted=settings.maximum_concurrency)
    return drifted


def update_trigger(aws: Clients, settings: Settings, uuid: str) -> None:
    """A mapping can get another function, never another queue.

    https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html
    """
    aws.lambda_.update_event_source_mapping(
        UUID=uuid,
        FunctionName=settings.function,
        BatchSize=settings.batch_size,
        Enabled=True,
        FunctionResponseTypes=settings.function_response_types,
        ScalingConfig=settings.scaling_config,
    )


def find_trigger(lambda_: Any, queue_arn: str, function_name: str, uuid: str | None = None) -> dict[str, Any] | None:
    """The queue's mapping with this UUID, whichever function it invokes by now; else the one between the two.

    There is one at most between a queue and a function. The list is asked for by queue alone: a mapping outlives its
    function, and with the name of a function that is gone Lambda refuses to list anything
    (prowler-cloud/prowler#11228).
    """
    if uuid is not None:
        # By its id first: the list may lag behind.
        with contextlib.suppress(lambda_.exceptions.ResourceNotFoundException):
            mapping = lambda_.get_event_source_mapping(UUID=uuid)
            trigger = with_tags(lambda_, mapping) if mapping["EventSourceArn"] == queue_arn else None
            if trigger is not None:
                return trigger
    paginator = lambda_.get_paginator("list_event_source_mappings")
    listed = [one for page in paginator.paginate(EventSourceArn=queue_arn) for one in page["EventSourceMappings"]]
    # Its id again: it may have another function by now.
    for mapping in sorted(listed, key=lambda one: one["UUID"] != uuid):
        trigger = with_tags(lambda_, mapping) if mapping["UUID"] == uuid or serves(mapping) == function_name else None
        if trigger is not None:
            return trigger
    return None


def serves(mapping: dict[str, Any]) -> str:
    """The name of the function that a mapping invokes."""
    name: str = mapping["FunctionArn"].split(":")[6]
    return name


def with_tags(lambda_: Any, mapping: dict[str, Any]) -> dict[str, Any] | None:
    """The mapping with its tags, none while it is being deleted; None if it is gone since it was listed.

    In a partition where mappings have no tags it comes without "Tags". Tags on mappings came in 2024, and not
    everywhere (hashicorp/terraform-provider-aws#40755, aws/aws-cdk#31532).
    """
    if mapping["State"] == "Deleting":
        return {**mapping, "Tags": {}}
    arn = mapping.get("EventSourceMappingArn")
    if arn is None:
        return mapping
    try:
        listed = lambda_.list_tags(Resource=arn)
    except lambda_.exceptions.InvalidParameterValueException:
        return mapping
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    return {**mapping, "Tags": listed.get("Tags", {})}


def wait_until_ready(aws: Clients, uuid: str) -> None:
    """Until its State is Enabled. It is Creating or Enabling first, often for some tens of seconds."""

    def is_enabled() -> bool:
        try:
            return bool(aws.lambda_.get_event_source_mapping(UUID=uuid)["State"] == "Enabled")
        except aws.lambda_.exceptions.ResourceNotFoundException:
            return False  # not yet seen everywhere

    aws.waiting.poll_until(
        "the trigger to be enabled",
        is_enabled,
        budget=300,
        means="Lambda starts to receive from the queue; until then messages wait in it.",
    )


def wait_until_gone(aws: Clients, queue_arn: str, function_name: str, uuid: str | None) -> None:
    """Until it is no longer listed. While Lambda deletes a mapping its State is Deleting."""
    aws.waiting.poll_until(
        "the old trigger to be gone",
        lambda: find_trigger(aws.lambda_, queue_arn, function_name, uuid) is None,
        budget=180,
        times=2,
    )


def once_permitted(aws: Clients, settings: Settings, state: State, call: Callable[[], T]) -> T:
    """What `call` returns, once Lambda sees the role's new permissions, the queue, and its new visibility timeout."""
    return aws.waiting.retry(
        call,
        ROLE_NOT_YET_PERMITTED,
        VISIBILITY_TIMEOUT_NOT_YET_SEEN,
        QUEUE_NOT_YET_KNOWN_TO_LAMBDA,
        unless=lambda: why_waiting_cannot_help(aws, settings, state),
    )


def why_waiting_cannot_help(aws: Clients, settings: Settings, state: State) -> str | None:
    """What is really wrong: with queue, timeouts, role, or its policy. None when Lambda only has to see them."""
    queue = find_queue(aws.sqs, settings.queue)
    function = find_function(aws.lambda_, settings.function)
    if queue is None:
        return f"The queue {settings.queue} does not exist."
    if function is not None and int(queue["VisibilityTimeout"]) < function["Timeout"]:
        return (
            f"The queue hides a message for {queue['VisibilityTimeout']} s (visibility timeout), and the function "
            f"may work on it for {function['Timeout']} s: somebody else would get it meanwhile."
        )
    distrust = role_does_not_trust_lambda(aws, settings)
    if distrust or settings.rules.lambda_role_arn:  # what somebody else's role may do may be said in other words
        return distrust
    arn = state.identity("read-policy")["PolicyArn"]
    if find_attachment(aws.iam, settings.function_role, arn) is None:
        return f"The policy {settings.read_policy} is not attached to {settings.function_role}."
    policy = find_policy(aws.iam, arn)
    if policy is None:
        return f"The policy {settings.read_policy} does not exist."
    version = aws.iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])
    wanted = policy_document("Lambda-Read-SQS", aws, settings)
    if not same_meaning(version["PolicyVersion"]["Document"], wanted):
        return f"The policy {settings.read_policy} is not as step 1 made it: it must allow sqs:ReceiveMessage."
    return None
