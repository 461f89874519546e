"""Step 3: the table. The lesson: lessons/table.md

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
"""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients, tags
from provision.settings import Settings
from provision.state.state import Ledger

NEEDS: tuple[str, ...] = ()


def find_table(dynamodb: Any, name: str) -> dict[str, Any] | None:
    try:
        table = dynamodb.describe_table(TableName=name)["Table"]
        if table["TableStatus"] == "DELETING":
            return {**table, "Tags": {}}  # it has no tags any more
        listed = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return {**table, "Tags": tags(listed.get("Tags"))}


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    key_schema = [{"AttributeName": settings.partition_key, "KeyType": "HASH"}]
    attributes = [{"AttributeName": settings.partition_key, "AttributeType": "S"}]
    table = find_table(aws.dynamodb, settings.table)
    if table is not None and table["TableStatus"] == "DELETING":
        aws.dynamodb.get_waiter("table_not_exists").wait(
            TableName=settings.table,
            WaiterConfig={"Delay": 2, "MaxAttempts": 150},
        )
        table = None
    with ledger.making("table", "dynamodb:table", found=table, TableName=settings.table) as made:
        if table is None:
            created = aws.dynamodb.create_table(
                TableName=settings.table,
                KeySchema=key_schema,
                AttributeDefinitions=attributes,
                BillingMode="PAY_PER_REQUEST",
                Tags=ledger.tag_list,
            )
            made.identify(created["TableDescription"])
        else:
            made.cannot_mend("key", found=table["KeySchema"], wanted=key_schema)
            # An index that somebody added brings attributes of its own; they do not make it another key.
            key_attributes = [
                attribute
                for attribute in table["AttributeDefinitions"]
                if attribute["AttributeName"] == settings.partition_key
            ]
            made.cannot_mend("key attribute", found=key_attributes, wanted=attributes)
            if made.lacks_mark():
                aws.dynamodb.tag_resource(
                    ResourceArn=table["TableArn"],
                    Tags=made.tag_list,
                )
            billing_mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
            if made.differs("billing mode", found=billing_mode, wanted="PAY_PER_REQUEST"):
                made.replaces("throughput", throughput(table))
                made.replaces(
                    "throughput of indexes",
                    {index["IndexName"]: throughput(index) for index in table.get("GlobalSecondaryIndexes", [])},
                )
                aws.dynamodb.update_table(
                    TableName=settings.table,
                    BillingMode="PAY_PER_REQUEST",
                )
        if table is None or table["TableStatus"] != "ACTIVE" or made.differences:
            aws.dynamodb.get_waiter("table_exists").wait(
                TableName=settings.table,
                WaiterConfig={"Delay": 2, "MaxAttempts": 150},
            )
        made["arn"] = aws.arn("dynamodb", f"table/{settings.table}")


def throughput(table_or_index: dict[str, Any]) -> dict[str, int]:
    """The provisioned units, without the times that AWS adds to its description of them."""
    found = table_or_index.get("ProvisionedThroughput", {})
    return {name: found[name] for name in ("ReadCapacityUnits", "WriteCapacityUnits") if name in found}
