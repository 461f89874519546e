"""Undoes step 5: the function, and the log group it wrote to."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.function import find_function, find_log_group
from provision.ledger import Ledger, Resource
from teardown.kept import Kept
from teardown.trigger import others_on


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_function(aws.lambda_, resource.identity["FunctionName"])


def find_logs(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_log_group(aws.logs, resource.identity["logGroupName"])


def delete_function(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    """AWS deletes a function with triggers on it without a word, and leaves the triggers behind."""
    name = resource.identity["FunctionName"]
    others = others_on(aws, FunctionName=name)
    if others:
        raise Kept(others)
    aws.lambda_.delete_function(
        FunctionName=name,
    )
    aws.waiting.poll_until("the function to be gone", lambda: find_function(aws.lambda_, name) is None, budget=60)


def delete_log_group(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    aws.logs.delete_log_group(
        logGroupName=resource.identity["logGroupName"],
    )
