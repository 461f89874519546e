"""Step 4: the queue with its access policy, and the dead-letter queue behind it. The lesson: lessons/queue.md

Document: policies/POC-Queue.json. The console writes its first three statements; CreateQueue writes none by itself. The
fourth refuses who comes without TLS.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-add-permissions.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-security-best-practices.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import DEAD_LETTER_QUEUE_NOT_YET_VISIBLE, QUEUE_NAME_BLOCKED, QUEUE_POLICY_NAMES_NEW_ROLE
from provision.documents import policy_document, same_meaning
from provision.roles import find_role
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("roles",)


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The dead-letter queue comes first: the queue names it."""
    if settings.has_dead_letter_queue:
        provision_dead_letter_queue(aws, settings, state)
    provision_queue(aws, settings, state)


def provision_dead_letter_queue(aws: Clients, settings: Settings, state: State) -> None:
    """Find the dead-letter queue; create it, or update how long it keeps a message; record it."""
    name = settings.dead_letter_queue
    attributes = {"MessageRetentionPeriod": str(settings.dead_letter_retention)}
    queue = find_queue(aws.sqs, name)
    with state.resource("dead-letter-queue", "sqs:queue", found=queue, QueueName=name) as entry:
        if queue is None:
            url = aws.waiting.retry(lambda: create_queue(aws, entry, name, attributes), QUEUE_NAME_BLOCKED)
            queue = wait_until_ready(aws, url, attributes, entry.tags)
            entry.identify(queue)
        elif queue_drifted(aws, entry, queue, attributes):
            set_attributes(aws, queue, attributes)
        entry["arn"] = queue["QueueArn"]
        entry["url"] = queue["QueueUrl"]


def provision_queue(aws: Clients, settings: Settings, state: State) -> None:
    """Find the queue; create it, or update its attributes; record it with the ids of the roles that it names."""
    name = settings.queue
    attributes = queue_attributes(aws, settings, state)
    reasons = QUEUE_POLICY_NAMES_NEW_ROLE, DEAD_LETTER_QUEUE_NOT_YET_VISIBLE
    queue = find_queue(aws.sqs, name)
    with state.resource("queue", "sqs:queue", found=queue, QueueName=name) as entry:
        # SQS keeps the ids of the roles that the policy names: when a role is made again, the policy must be set again.
        # Where none are noted yet the policy tells: SQS shows the id of a role that is gone in place of its ARN.
        role_ids = " ".join(state.outputs(key)["id"] for key in ("api-role", "function-role"))
        if queue is None:
            url = aws.waiting.retry(
                lambda: create_queue(aws, entry, name, attributes),
                QUEUE_NAME_BLOCKED,
                *reasons,
                unless=lambda: missing_role(aws, settings),
            )
            queue = wait_until_ready(aws, url, attributes, entry.tags)
            entry.identify(queue)
        else:
            drifted = queue_drifted(aws, entry, queue, attributes)
            drifted |= entry.drifted("roles named", found=entry.get("role_ids") or role_ids, wanted=role_ids)
            if drifted:
                # All of them, whichever differs: some emulators forget a policy that is not sent along.
                aws.waiting.retry(
                    lambda: set_attributes(aws, queue, attributes),
                    *reasons,
                    unless=lambda: missing_role(aws, settings),
                )
                wait_until_ready(aws, queue["QueueUrl"], attributes, entry.tags)
        entry["arn"] = queue["QueueArn"]
        entry["url"] = queue["QueueUrl"]
        entry["role_ids"] = role_ids


def queue_attributes(aws: Clients, settings: Settings, state: State) -> dict[str, str]:
    """What the console's page asks for. SQS takes every attribute as text, and documents as JSON text.

    VisibilityTimeout: how long SQS hides a message from others while the function works on it, in seconds.
    RedrivePolicy: after how many receives a message goes to the dead-letter queue.
    """
    attributes = {
        "Policy": json.dumps(policy_document("POC-Queue", aws, settings)),
        "VisibilityTimeout": str(settings.visibility_timeout),
    }
    if settings.has_dead_letter_queue:
        attributes["RedrivePolicy"] = json.dumps(
            {
                "deadLetterTargetArn": state.outputs("dead-letter-queue")["arn"],
                "maxReceiveCount": settings.max_receive_count,
            }
        )
    return attributes


def create_queue(aws: Clients, entry: Entry, name: str, attributes: dict[str, str]) -> str:
    """SQS answers with the queue's URL, which all other calls take. The same call again changes nothing."""
    created = aws.sqs.create_queue(
        QueueName=name,
        Attributes=attributes,
        tags=entry.tags,
    )
    return str(created["QueueUrl"])


def set_attributes(aws: Clients, queue: Mapping[str, Any], attributes: dict[str, str]) -> None:
    """SQS leaves other attributes as they are."""
    aws.sqs.set_queue_attributes(
        QueueUrl=queue["QueueUrl"],
        Attributes=attributes,
    )


def queue_drifted(aws: Clients, entry: Entry, queue: Mapping[str, Any], attributes: dict[str, str]) -> bool:
    """Put the tag back. Whether one of these attributes must be set."""
    if entry.needs_tag():
        aws.sqs.tag_queue(
            QueueUrl=queue["QueueUrl"],
            Tags=entry.tags,
        )
    drifted = False
    for attribute, wanted in attributes.items():
        found = queue.get(attribute, "")
        drifted |= entry.drifted(attribute, found=found, wanted=wanted, same=same_value(found, wanted))
    return drifted


def find_queue(sqs: Any, name: str) -> dict[str, Any] | None:
    """The queue's attributes, with its QueueUrl, and its tags under "Tags"; None if there is none."""
    try:
        return describe_queue(sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        return None


def describe_queue(sqs: Any, url: str) -> dict[str, Any]:
    """The same of the queue at this URL. Raises QueueDoesNotExist."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
    return {**attributes, "QueueUrl": url, "Tags": tags}


def wait_until_ready(aws: Clients, url: str, attributes: dict[str, str], tags: Mapping[str, str]) -> dict[str, Any]:
    """The queue, once it shows these attributes and tags. Attributes take up to 60 seconds to spread.

    Without our tag it is somebody else's, made a moment before: CreateQueue takes any queue with the same attributes.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    """

    def look() -> dict[str, Any] | None:
        try:
            queue = describe_queue(aws.sqs, url)
        except aws.sqs.exceptions.QueueDoesNotExist:
            return None
        seen = all(same_value(queue.get(attribute, ""), wanted) for attribute, wanted in attributes.items())
        return queue if seen and tags.items() <= queue["Tags"].items() else None

    name = url.rpartition("/")[-1]
    return aws.waiting.poll_until(f"the attributes and tags of {name} to be visible", look, budget=90)


def missing_role(aws: Clients, settings: Settings) -> str | None:
    """Why waiting cannot help: SQS refuses a policy that names a role which does not exist."""
    for role_name in (settings.api_role, settings.function_role):
        if find_role(aws.iam, role_name) is None:
            return f"The access policy names the role {role_name}, which does not exist."
    return None


def same_value(found: str, wanted: str) -> bool:
    """Whether two attribute values mean the same. SQS may spell Policy and RedrivePolicy, both JSON, differently."""
    if not wanted.startswith("{") or not found.startswith("{"):
        return found == wanted
    if "Statement" in json.loads(wanted):
        return same_meaning(found, wanted)
    return _texts(json.loads(found)) == _texts(json.loads(wanted))


def _texts(document: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in document.items()}  # maxReceiveCount comes back as number or text
