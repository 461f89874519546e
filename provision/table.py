"""Step 3: the table. The lesson: lessons/table.md

CreateTable answers while the table is still CREATING. A waiter calls DescribeTable until it is ACTIVE.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
"""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients, tags
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS: tuple[str, ...] = ()


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """Find the table; create it, or update what drifted; have it waited for until it is ACTIVE; record it."""
    table = find_table(aws.dynamodb, settings.table)
    if table is not None and table["TableStatus"] == "DELETING":
        wait_until_gone(aws, settings.table)
        table = None
    with state.resource("table", "dynamodb:table", found=table, TableName=settings.table) as entry:
        if table is None:
            create_table(aws, settings, entry)
        else:
            update_table(aws, settings, entry, table)
        if table is None or table["TableStatus"] != "ACTIVE" or entry.differences:
            aws.waiting.later(lambda: wait_until_ready(aws, settings.table))
        entry["arn"] = aws.arn("dynamodb", f"table/{settings.table}")


def create_table(aws: Clients, settings: Settings, entry: Entry) -> None:
    """On demand, with a string as the partition key. Only attributes of keys are declared; items may have others."""
    created = aws.dynamodb.create_table(
        TableName=settings.table,
        KeySchema=[{"AttributeName": settings.partition_key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": settings.partition_key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=entry.tag_list,
    )
    entry.identify(created["TableDescription"])


def update_table(aws: Clients, settings: Settings, entry: Entry, table: dict[str, Any]) -> None:
    """The key cannot be changed in place. The billing mode can, four times in 24 hours.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
    """
    entry.must_be_replaced(
        "key",
        found=table["KeySchema"],
        wanted=[{"AttributeName": settings.partition_key, "KeyType": "HASH"}],
    )
    entry.must_be_replaced(
        "key attribute",
        found=[
            attribute  # an index that somebody added declares attributes of its own
            for attribute in table["AttributeDefinitions"]
            if attribute["AttributeName"] == settings.partition_key
        ],
        wanted=[{"AttributeName": settings.partition_key, "AttributeType": "S"}],
    )
    if entry.needs_tag():
        aws.dynamodb.tag_resource(
            ResourceArn=table["TableArn"],
            Tags=entry.tag_list,
        )
    billing_mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if entry.drifted("billing mode", found=billing_mode, wanted="PAY_PER_REQUEST"):
        aws.dynamodb.update_table(
            TableName=settings.table,
            BillingMode="PAY_PER_REQUEST",
        )


def find_table(dynamodb: Any, name: str) -> dict[str, Any] | None:
    """The table as DescribeTable gives it, with its tags as a dict under "Tags"; None if there is none."""
    try:
        table = dynamodb.describe_table(TableName=name)["Table"]
        if table["TableStatus"] == "DELETING":
            return {**table, "Tags": {}}  # it has no tags any more
        listed = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return {**table, "Tags": tags(listed.get("Tags"))}


def wait_until_ready(aws: Clients, name: str) -> None:
    """Call DescribeTable every 2 seconds until it says ACTIVE, for 5 minutes at most."""
    aws.dynamodb.get_waiter("table_exists").wait(
        TableName=name,
        WaiterConfig={"Delay": 2, "MaxAttempts": 150},
    )


def wait_until_gone(aws: Clients, name: str) -> None:
    """Call DescribeTable every 2 seconds until it finds no table, for 5 minutes at most."""
    aws.dynamodb.get_waiter("table_not_exists").wait(
        TableName=name,
        WaiterConfig={"Delay": 2, "MaxAttempts": 150},
    )
