"""Undoes step 3: the table, with the items in it."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.state.entries import MARKS, Resource
from provision.state.state import Ledger
from provision.table import find_table
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
        aws.dynamodb.delete_table(
            TableName=name,
        )
    aws.dynamodb.get_waiter("table_not_exists").wait(
        TableName=name,
        WaiterConfig={"Delay": 2, "MaxAttempts": 150},
    )


def put_table_back(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    name = resource.identity["TableName"]
    if found["TableStatus"] != "ACTIVE":
        wait_until_active(aws, name)
    throughput = resource.was("throughput")
    if throughput and found.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        indexes = [
            {"Update": {"IndexName": index, "ProvisionedThroughput": units}}
            for index, units in resource.was("throughput of indexes", {}).items()
        ]
        aws.dynamodb.update_table(
            TableName=name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput=throughput,
            **({"GlobalSecondaryIndexUpdates": indexes} if indexes else {}),
        )
        wait_until_active(aws, name)
    ledger.is_put_back(resource)
    aws.dynamodb.untag_resource(
        ResourceArn=found["TableArn"],
        TagKeys=list(MARKS),
    )


def wait_until_active(aws: Clients, name: str) -> None:
    aws.dynamodb.get_waiter("table_exists").wait(
        TableName=name,
        WaiterConfig={"Delay": 2, "MaxAttempts": 150},
    )
