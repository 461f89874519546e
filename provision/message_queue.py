"""Step 4: the queue with its access policy, and the dead-letter queue behind it. The lesson: lessons/queue.md

Document: policies/POC-Queue.json. The console writes its three statements by itself; the API writes none unasked.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-add-permissions.html
"""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import DEAD_LETTER_QUEUE_NOT_YET_VISIBLE, QUEUE_NAME_BLOCKED, QUEUE_POLICY_NAMES_NEW_ROLE
from provision.documents import policy_document, same_meaning
from provision.roles import find_role
from provision.settings import Settings
from provision.state.state import Ledger

NEEDS = ("roles",)


def find_queue(sqs: Any, name: str) -> dict[str, Any] | None:
    """The queue's attributes, with its QueueUrl."""
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        marks = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
    except sqs.exceptions.QueueDoesNotExist:
        return None
    return {**attributes, "QueueUrl": url, "Tags": marks}


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    if settings.has_dead_letter_queue:
        make_dead_letter_queue(aws, settings, ledger)
    make_queue(aws, settings, ledger)


def make_dead_letter_queue(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    name = settings.dead_letter_queue
    attributes = {"MessageRetentionPeriod": str(settings.dead_letter_retention)}
    queue = find_queue(aws.sqs, name)
    with ledger.making("dead-letter-queue", "sqs:queue", found=queue, QueueName=name) as made:
        if queue is None:
            for attempt in aws.waiting.retry_while(QUEUE_NAME_BLOCKED):
                with attempt:
                    aws.sqs.create_queue(
                        QueueName=name,
                        Attributes=attributes,
                        tags=ledger.tags,
                    )
            queue = aws.waiting.poll_until(
                f"queue {name} to become visible", lambda: find_queue(aws.sqs, name), budget=60
            )
            made.identify(queue)
        else:
            if made.lacks_mark():
                aws.sqs.tag_queue(
                    QueueUrl=queue["QueueUrl"],
                    Tags=made.tags,
                )
            found = queue["MessageRetentionPeriod"]
            wanted = attributes["MessageRetentionPeriod"]
            if made.differs("MessageRetentionPeriod", found=found, wanted=wanted):
                aws.sqs.set_queue_attributes(
                    QueueUrl=queue["QueueUrl"],
                    Attributes=attributes,
                )
        made["arn"] = queue["QueueArn"]
        made["url"] = queue["QueueUrl"]


def make_queue(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    name = settings.queue
    access_policy = policy_document("POC-Queue", aws, settings)
    attributes = {
        "Policy": json.dumps(access_policy),
        "VisibilityTimeout": str(settings.visibility_timeout),
    }
    if settings.has_dead_letter_queue:
        attributes["RedrivePolicy"] = json.dumps(
            {
                "deadLetterTargetArn": ledger.outputs("dead-letter-queue")["arn"],
                "maxReceiveCount": settings.max_receive_count,
            }
        )

    def role_is_missing() -> str | None:
        for role_name in (settings.api_role, settings.function_role):
            if find_role(aws.iam, role_name) is None:
                return f"The access policy names the role {role_name}, which does not exist."
        return None

    queue = find_queue(aws.sqs, name)
    with ledger.making("queue", "sqs:queue", found=queue, QueueName=name) as made:
        # SQS keeps the unique ids of the roles that the policy names: it must be written again when a role was.
        role_ids = " ".join(ledger.outputs(key)["id"] for key in ("api-role", "function-role"))
        if queue is None:
            for attempt in aws.waiting.retry_while(
                QUEUE_NAME_BLOCKED,
                QUEUE_POLICY_NAMES_NEW_ROLE,
                DEAD_LETTER_QUEUE_NOT_YET_VISIBLE,
                unless=role_is_missing,
            ):
                with attempt:
                    aws.sqs.create_queue(
                        QueueName=name,
                        Attributes=attributes,
                        tags=ledger.tags,
                    )
            queue = aws.waiting.poll_until(
                f"queue {name} to become visible", lambda: find_queue(aws.sqs, name), budget=60
            )
            made.identify(queue)
        else:
            if made.lacks_mark():
                aws.sqs.tag_queue(
                    QueueUrl=queue["QueueUrl"],
                    Tags=made.tags,
                )
            differs = False
            for attribute, wanted in attributes.items():
                found = queue.get(attribute, "")
                differs |= made.differs(attribute, found=found, wanted=wanted, same=same_value(found, wanted))
            differs |= made.differs("roles named", found=made.get("role_ids"), wanted=role_ids)
            if differs:
                for attribute in attributes:
                    made.replaces(attribute, queue.get(attribute, ""))
                for attempt in aws.waiting.retry_while(
                    QUEUE_POLICY_NAMES_NEW_ROLE, DEAD_LETTER_QUEUE_NOT_YET_VISIBLE, unless=role_is_missing
                ):
                    with attempt:
                        # All of them, whichever differs: some emulators forget a policy that is not sent along.
                        aws.sqs.set_queue_attributes(
                            QueueUrl=queue["QueueUrl"],
                            Attributes=attributes,
                        )
                wait_until_read_back(aws, name, attributes)
        made["arn"] = queue["QueueArn"]
        made["url"] = queue["QueueUrl"]
        made["role_ids"] = role_ids


def same_value(found: str, wanted: str) -> bool:
    """Whether two attribute values mean the same. Policy and RedrivePolicy are JSON, spelled as the service likes."""
    if not wanted.startswith("{") or not found.startswith("{"):
        return found == wanted
    if "Statement" in json.loads(wanted):
        return same_meaning(found, wanted)
    return _texts(json.loads(found)) == _texts(json.loads(wanted))


def _texts(document: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in document.items()}  # maxReceiveCount comes back as number or text


def wait_until_read_back(aws: Clients, name: str, attributes: dict[str, str]) -> None:
    """Changed attributes take up to 60 seconds to be seen by everyone.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    """

    def seen() -> bool:
        queue = find_queue(aws.sqs, name) or {}
        return all(same_value(queue.get(attribute, ""), wanted) for attribute, wanted in attributes.items())

    aws.waiting.poll_until(f"the new attributes of {name} to be visible", seen, budget=90)
