"""What goes with the things that are deleted: items, messages, and what others hung on them."""

from __future__ import annotations

from botocore.exceptions import ClientError

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.message_queue import find_queue
from teardown.policies import attached_to
from teardown.trigger import others_on

MANY = 1000  # items counted at most, so that looking stays cheap


def contents(aws: Clients, ledger: Ledger) -> dict[str, str]:
    """For each recorded thing, by key, a remark on what is in it or hangs on it. Reads only; no remark on an error."""
    remarks = {}
    for resource in ledger.standing:
        try:
            remark = remark_on(aws, ledger, resource)
        except ClientError:
            continue
        if remark:
            remarks[resource.key] = remark
    return remarks


def remark_on(aws: Clients, ledger: Ledger, resource: Resource) -> str | None:
    if resource.kind == "dynamodb:table":
        answer = aws.dynamodb.scan(
            TableName=resource.identity["TableName"],
            Select="COUNT",
            Limit=MANY,
        )
        more = "more than " if "LastEvaluatedKey" in answer else ""
        return plural(answer["Count"], "item", more) if answer["Count"] else "no items"
    if resource.kind == "sqs:queue":
        queue = find_queue(aws.sqs, resource.identity["QueueName"])
        if queue is None:
            return None
        waiting = sum(
            int(queue.get(attribute, 0))
            for attribute in (
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            )
        )
        others = not_recorded(ledger, others_on(aws, EventSourceArn=queue["QueueArn"]))
        return with_others(plural(waiting, "waiting message") if waiting else "no messages", others)
    if resource.kind == "lambda:function":
        return with_others("", not_recorded(ledger, others_on(aws, FunctionName=resource.identity["FunctionName"])))
    if resource.kind == "iam:policy":
        ours = {f"role {entry.identity['RoleName']}" for entry in ledger.standing if entry.kind == "iam:role"}
        others = [name for name in attached_to(aws, resource.identity["PolicyArn"]) if name not in ours]
        return with_others("", others)
    return None


def not_recorded(ledger: Ledger, triggers: list[str]) -> list[str]:
    ours = ledger.record("trigger")
    return [name for name in triggers if ours is None or name != f"trigger {ours.outputs.get('id')}"]


def with_others(remark: str, others: list[str]) -> str | None:
    parts = [remark] if remark else []
    if others:
        parts.append(f"stays, as others depend on it: {', '.join(others)}")
    return "; ".join(parts) or None


def plural(count: int, noun: str, more: str = "") -> str:
    return f"{more}{count} {noun}{'' if count == 1 else 's'}"
