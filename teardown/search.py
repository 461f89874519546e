"""Looks in the account when there is no ledger: are there things of the suite, and whose are they?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from provision.aws import EXPIRED, REFUSED, Clients
from provision.function import find_function, find_log_group
from provision.ledger import TAG
from provision.message_queue import find_queue
from provision.policies import find_policy
from provision.roles import find_role
from provision.settings import Settings
from provision.table import find_table
from teardown.api import list_apis
from teardown.trigger import find_hanging


@dataclass(frozen=True)
class Seen:
    """Something that bears one of the suite's names, or its mark, and what the mark says."""

    kind: str
    name: str
    mark: str


def mark_in(tags: Mapping[str, str] | None) -> str:
    if tags is None:
        return "its tags could not be read"
    return f"deployment {tags[TAG]}" if TAG in tags else "no mark of this suite"


def search(aws: Clients, settings: Settings) -> tuple[list[Seen], list[str]]:
    """What is in this account and Region, and, in words, what could not be looked at. Reads only.

    Each thing is asked for through its own service: the tagging API lists things that are long gone, and none of IAM's.
    Names are those of these settings. Marks show the things of other learners, too, where a list brings them along.
    """
    seen: list[Seen] = []
    unanswered: list[str] = []
    for what, look in looks(aws, settings):
        try:
            seen += [one for one in look() if one not in seen]
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in EXPIRED | REFUSED:
                raise
            unanswered.append(f"{what} ({code})")
    return seen, unanswered


def looks(aws: Clients, settings: Settings) -> Iterator[tuple[str, Callable[[], list[Seen]]]]:
    """What to look for, in words, and the look."""
    for policy in (settings.write_policy, settings.read_policy):
        arn = aws.arn("iam", f"policy/{policy}", region="")
        yield f"policy {policy}", partial(named, "iam:policy", policy, find_policy, aws.iam, arn)
    for role in (settings.function_role, settings.api_role):
        yield f"role {role}", partial(named, "iam:role", role, find_role, aws.iam, role)
    table = settings.table
    yield f"table {table}", partial(named, "dynamodb:table", table, find_table, aws.dynamodb, table)
    for queue in (settings.dead_letter_queue, settings.queue):
        yield f"queue {queue}", partial(named, "sqs:queue", queue, find_queue, aws.sqs, queue)
        yield f"triggers on {queue}", partial(hanging, aws, EventSourceArn=aws.arn("sqs", queue))
    function = settings.function
    yield f"function {function}", partial(named, "lambda:function", function, find_function, aws.lambda_, function)
    yield f"triggers on {function}", partial(hanging, aws, FunctionName=function)
    group = settings.log_group
    yield f"log group {group}", partial(named, "logs:log-group", group, find_log_group, aws.logs, group)
    yield "log groups of other learners", partial(marked_log_groups, aws)
    yield f"REST APIs named {settings.api}", partial(apis, aws, settings.api)


def named(
    kind: str, name: str, find: Callable[[Any, str], Mapping[str, Any] | None], client: Any, identity: str
) -> list[Seen]:
    found = find(client, identity)
    return [] if found is None else [Seen(kind, name, mark_in(found["Tags"]))]


def hanging(aws: Clients, **source_or_function: str) -> list[Seen]:
    """Triggers, which outlive the queue and the function that they name."""
    try:
        found = find_hanging(aws, **source_or_function)
    except (
        aws.lambda_.exceptions.ResourceNotFoundException,
        aws.lambda_.exceptions.InvalidParameterValueException,
    ):
        return []  # of a function that is not there
    return [Seen("lambda:event-source-mapping", mapping["UUID"], mark_in(mapping.get("Tags", {}))) for mapping in found]


def apis(aws: Clients, name: str) -> list[Seen]:
    return [
        Seen("apigateway:rest-api", f"{api['name']} ({api['id']})", mark_in(api["Tags"]))
        for api in list_apis(aws)
        if api["name"] == name or TAG in api["Tags"]
    ]


def marked_log_groups(aws: Clients) -> list[Seen]:
    """Log groups of functions called POC-Lambda-1-..., where they carry a mark."""
    seen = []
    for page in aws.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=Settings().log_group + "-"):
        for group in page["logGroups"]:
            found = find_log_group(aws.logs, group["logGroupName"])
            if found is not None and TAG in found["Tags"]:
                seen.append(Seen("logs:log-group", group["logGroupName"], mark_in(found["Tags"])))
    return seen
