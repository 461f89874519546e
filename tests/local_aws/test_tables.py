"""DynamoDB's items: numbers, updates that are refused, and what an answer has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.sandbox_account import Account

WRITTEN = {
    "1e3": "1000",
    "007": "7",
    "+3": "3",
    "1.0": "1",
    "-0": "0",
    ".5": "0.5",
    "100.000": "100",
    "1E-7": "0.0000001",
}


class Items:
    def __init__(self, account: Account) -> None:
        self.client, self.table = account.dynamodb, account.table()

    def read(self, name: str, **more: Any) -> dict[str, Any] | None:
        item = self.client.get_item(TableName=self.table, Key=key(name), **more).get("Item")
        return None if item is None else {one: value for one, value in item.items() if one != "id"}

    def put(self, name: str, **attributes: Any) -> None:
        self.client.put_item(TableName=self.table, Item={**key(name), **attributes})

    def update(self, name: str, expression: str | None = None, **more: Any) -> Any:
        asked = {"UpdateExpression": expression} if expression else {}
        return self.client.update_item(TableName=self.table, Key=key(name), **asked, **more)


def key(name: str) -> dict[str, Any]:
    return {"id": {"S": name}}


@pytest.fixture(scope="module")
def items(account: Account) -> Items:
    return Items(account)


def numbers_put(items: Items, item: dict[str, Any]) -> None:
    items.put("numbers", **item)


def numbers_in_a_batch(items: Items, item: dict[str, Any]) -> None:
    items.client.batch_write_item(RequestItems={items.table: [{"PutRequest": {"Item": {**key("numbers"), **item}}}]})


def numbers_in_a_transaction(items: Items, item: dict[str, Any]) -> None:
    put = {"TableName": items.table, "Item": {**key("numbers"), **item}}
    items.client.transact_write_items(TransactItems=[{"Put": put}])


def numbers_in_an_update(items: Items, item: dict[str, Any]) -> None:
    values = {f":{name}": value for name, value in item.items()}
    expression = "SET " + ", ".join(f"{name} = :{name}" for name in item)
    items.update("numbers", expression, ExpressionAttributeValues=values)


@pytest.mark.parametrize("write", [numbers_put, numbers_in_a_batch, numbers_in_a_transaction, numbers_in_an_update])
def test_a_number_comes_back_as_dynamodb_writes_it(items: Items, write: Callable[[Items, Any], None]) -> None:
    write(items, {f"n{number}": {"L": [{"N": text}, {"NS": [text]}]} for number, text in enumerate(WRITTEN)})
    wanted = {f"n{number}": {"L": [{"N": text}, {"NS": [text]}]} for number, text in enumerate(WRITTEN.values())}
    assert items.read("numbers") == wanted


def test_a_number_of_a_condition_and_of_arithmetic_is_the_same_number(items: Items) -> None:
    items.put("sum", n={"N": "1e1"})
    items.update("sum", "SET n = n + :n", ConditionExpression="n = :ten",
                 ExpressionAttributeValues={":n": {"N": "1e-7"}, ":ten": {"N": "10.0"}})  # fmt: skip
    assert items.read("sum") == {"n": {"N": "10.0000001"}}


def test_an_update_of_nothing_makes_the_item_and_one_that_only_takes_away_does_not(items: Items) -> None:
    items.update("nothing")
    assert items.read("nothing") == {}
    items.update("away", "REMOVE a")
    items.update("away", AttributeUpdates={"a": {"Action": "DELETE"}})
    assert items.read("away") is None
    items.put("here", a={"S": "1"}, b={"S": "2"})
    items.update("here", "REMOVE a")
    assert items.read("here") == {"b": {"S": "2"}}


def test_what_is_refused_or_not_simulated_changes_nothing(items: Items) -> None:
    items.put("kept", a={"S": "text"})
    for name in ("kept", "never"):
        with pytest.raises(ClientError):
            items.update(name, "SET b = :n, a = a + :n", ExpressionAttributeValues={":n": {"N": "1"}})
        with pytest.raises(ClientError):  # moto breaks on this one
            items.update(name, AttributeUpdates={"b": {"Action": "PUT", "Value": {"N": "1"}}, "c": {"Action": "ADD",
                         "Value": {"BS": [b"x"]}}})  # fmt: skip
    large = {"PutRequest": {"Item": {**key("large"), "b": {"S": "x" * 410_000}}}}
    with pytest.raises(ClientError):
        items.client.batch_write_item(
            RequestItems={items.table: [{"PutRequest": {"Item": {**key("kept"), "a": {"S": "other"}}}}, large]}
        )
    assert items.read("kept") == {"a": {"S": "text"}}
    assert items.read("never") is None


def test_only_the_attributes_asked_for_are_answered(items: Items) -> None:
    items.put("some", a={"S": "1"}, b={"B": b"\x00"}, c={"N": "3"})
    wanted = {"id": {"S": "some"}, "b": {"B": b"\x00"}}
    asked = {"TableName": items.table, "AttributesToGet": ["id", "b", "nope"]}
    assert items.client.get_item(Key=key("some"), **asked)["Item"] == wanted
    assert wanted in items.client.scan(**asked)["Items"]
    equal = {"id": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "some"}]}}
    assert items.client.query(KeyConditions=equal, **asked)["Items"] == [wanted]


def test_consumed_capacity_is_answered_to_those_who_ask(items: Items) -> None:
    for more in ({}, {"ReturnConsumedCapacity": "NONE"}):
        assert "ConsumedCapacity" not in items.update("capacity", **more)
    batch = {items.table: [{"DeleteRequest": {"Key": key("capacity")}}]}
    assert "ConsumedCapacity" not in items.client.batch_write_item(RequestItems=batch)
    asked = {"TableName": items.table, "ReturnConsumedCapacity": "TOTAL"}
    assert "ConsumedCapacity" in items.client.get_item(Key=key("capacity"), **asked)


def test_a_table_has_an_id_of_its_own(account: Account) -> None:
    name = account.name("identified")
    schema = {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST",
              "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]}  # fmt: skip

    def made() -> str:
        return str(account.dynamodb.create_table(TableName=name, **schema)["TableDescription"]["TableId"])

    first = made()
    assert account.dynamodb.describe_table(TableName=name)["Table"]["TableId"] == first
    assert account.dynamodb.delete_table(TableName=name)["TableDescription"]["TableId"] == first
    assert made() != first


def test_an_item_of_thousands_of_attributes_is_refused_before_it_takes_seconds(items: Items) -> None:
    begun = time.process_time()
    for attributes in ({f"a{n}": {"N": "1"} for n in range(4000)},
                       {"l": {"L": [{"N": "1"}] * 3_000}, **{f"a{n}": {"N": "1"} for n in range(400)}}):  # fmt: skip
        with pytest.raises(ClientError, match="takes no item of so many attributes"):
            items.put("wide", **attributes)
    assert time.process_time() - begun < 2
    items.put("wide", l={"L": [{"N": "1"}] * 3_000})
