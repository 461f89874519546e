"""Looks in the account when there is no ledger: are there things of the suite's names, and whose are they?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision.aws import Clients
from provision.function import find_function, find_log_group
from provision.ledger import TAG
from provision.message_queue import find_queue
from provision.policies import find_policy
from provision.roles import find_role
from provision.settings import Settings
from provision.table import find_table


@dataclass(frozen=True)
class Seen:
    """Something that bears one of the suite's names. `deployment` is the mark it carries, None for none."""

    kind: str
    name: str
    deployment: str | None


def search(aws: Clients, settings: Settings) -> list[Seen]:
    """Everything in this account and Region that bears a name of these settings. Reads only.

    Each thing is asked for through its own service: the tagging API lists things that are long gone, and none of IAM's.
    """
    looked: list[tuple[str, str, Mapping[str, Any] | None]] = []
    for policy in (settings.write_policy, settings.read_policy):
        found = find_policy(aws.iam, aws.arn("iam", f"policy/{policy}", region=""))
        looked.append(("iam:policy", policy, found))
    for role in (settings.function_role, settings.api_role):
        looked.append(("iam:role", role, find_role(aws.iam, role)))
    looked.append(("dynamodb:table", settings.table, find_table(aws.dynamodb, settings.table)))
    for queue in (settings.dead_letter_queue, settings.queue):
        looked.append(("sqs:queue", queue, find_queue(aws.sqs, queue)))
    looked.append(("logs:log-group", settings.log_group, find_log_group(aws.logs, settings.log_group)))
    looked.append(("lambda:function", settings.function, find_function(aws.lambda_, settings.function)))
    seen = [Seen(kind, name, (found.get("Tags") or {}).get(TAG)) for kind, name, found in looked if found is not None]
    for page in aws.apigateway.get_paginator("get_rest_apis").paginate(limit=500):
        for api in page["items"]:
            if api["name"] == settings.api:
                seen.append(Seen("apigateway:rest-api", f"{api['name']} ({api['id']})", api.get("tags", {}).get(TAG)))
    return seen
