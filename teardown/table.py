"""Undoes step 3: the table, with the items in it."""

from __future__ import annotations

from typing import Any

from provision.account.status import count_items
from provision.aws.clients import Clients
from provision.state.entries import TAG_KEYS, Resource
from provision.state.state import State
from provision.table import wait_until_ready
from teardown.trigger import triggers_of_others


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """The triggers on the table's stream. The suite itself never turns a stream on."""
    if not found.get("LatestStreamArn"):
        return []
    return triggers_of_others(aws, state, EventSourceArn=found["LatestStreamArn"])


def contents(aws: Clients, found: dict[str, Any]) -> str:
    """How many items are in it."""
    return count_items(aws.dynamodb, found["TableName"])


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """The items are deleted with it. DeleteTable answers while the table is still DELETING: the proof waits for it."""
    if found["TableStatus"] != "DELETING":
        aws.dynamodb.delete_table(
            TableName=resource.identity["TableName"],
        )


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put back the provisioned throughput of the table and of its indexes."""
    name = resource.identity["TableName"]
    if found["TableStatus"] != "ACTIVE":
        wait_until_ready(aws, name)
    before = resource.description
    throughput = resource.was("throughput", units(before))
    indexes = resource.was(
        "throughput of indexes",
        {index["IndexName"]: units(index) for index in before.get("GlobalSecondaryIndexes", [])},
    )
    if throughput and found.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        updates = [
            {"Update": {"IndexName": index, "ProvisionedThroughput": throughput_of_index}}
            for index, throughput_of_index in indexes.items()
        ]
        aws.dynamodb.update_table(
            TableName=name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput=throughput,
            **({"GlobalSecondaryIndexUpdates": updates} if updates else {}),
        )
        wait_until_ready(aws, name)
    state.note_restored(resource)
    aws.dynamodb.untag_resource(
        ResourceArn=found["TableArn"],
        TagKeys=list(TAG_KEYS),
    )


def units(table_or_index: dict[str, Any]) -> dict[str, int]:
    """The provisioned units, without the times that AWS adds to its description of them."""
    found = table_or_index.get("ProvisionedThroughput", {})
    return {name: found[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits") if name in found}
