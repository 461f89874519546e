"""Undoes step 3: the table, with the items in it."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.table import find_table
from provision.waiting import TABLE_BUSY
from teardown.trigger import others_hanging


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_table(aws.dynamodb, resource.identity["TableName"])


def others_on(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Triggers on the table's stream, which the suite never turns on."""
    if not found.get("LatestStreamArn"):
        return []
    return others_hanging(aws, ledger, EventSourceArn=found["LatestStreamArn"])


def delete_table(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    name = resource.identity["TableName"]
    if found["TableStatus"] != "DELETING":
        for attempt in aws.waiting.retry_while(TABLE_BUSY):
            with attempt:
                aws.dynamodb.delete_table(
                    TableName=name,
                )
    aws.dynamodb.get_waiter("table_not_exists").wait(
        TableName=name,
        WaiterConfig={"Delay": 2, "MaxAttempts": 150},
    )
