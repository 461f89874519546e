"""DynamoDB: what AWS refuses and moto does not, and what moto leaves half done, or answers unasked.

The messages are DynamoDB's, as issue threads and the tests of other emulators quote them.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from werkzeug.wrappers import Response

from sandbox.backend import Backend, BackendError, MotoFailed
from sandbox.dynamodb import expressions
from sandbox.dynamodb.values import BAD_VALUE, invalid, plain, with_plain_numbers
from sandbox.protocol.constraints import input_of
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused
from sandbox.protocol.scope import as_list, last
from sandbox.protocol.wording import reworded

Given = Mapping[str, Any]

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
NOT_A_NAME = (
    "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the "
    "characters a-z, A-Z, 0-9, '_', '-', and '.'"
)
NOT_THE_KEY = "The provided key element does not match the schema"
OF_ITEMS = (
    "PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem",
    "TransactGetItems", "TransactWriteItems",
)  # fmt: skip
OF_TABLES = ("CreateTable", "UpdateTable", "DescribeTable", "DeleteTable")
# What moto takes and forgets.
FORGOTTEN = (
    "TableClass", "ResourcePolicy", "OnDemandThroughput", "ReplicaUpdates", "VectorIndexes", "VectorIndexUpdates",
)  # fmt: skip


class Key(NamedTuple):
    """The key of an item that a call names; it may be the whole item, of a put."""

    table: str
    value: dict[str, Any]


class Tables:
    """In front of moto's DynamoDB."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ids: dict[str, str] = {}  # by ARN; moto's tables have none

    def handle(self, operation: Operation) -> Response | None:
        """The answer to a call about tables or items; None for any other call. Raises Refused and NotSimulated."""
        given = operation.parameters
        if operation.name in OF_TABLES:
            self._check_table(operation)
            return self._with_id(operation, reworded(operation, self._backend.forward(operation)))
        if operation.name == "TagResource":
            arn = operation.text("ResourceArn")
            if not self._keys(operation, last(arn, "/")):
                said = f"Requested resource not found: ResourcArn: {arn} not found"
                raise Refused(400, "ResourceNotFoundException", said)
        if operation.name not in OF_ITEMS:
            return None
        asked = plain(input_of("dynamodb", operation.name), given)
        for part in parts(operation.name, asked):
            expressions.check(part)
        self._check_keys(operation, asked)
        if operation.name == "UpdateItem" and not {"UpdateExpression", "AttributeUpdates"} & set(asked):
            asked["AttributeUpdates"] = {}  # moto breaks on an update of nothing
        if asked != given:
            operation = replace(operation, parameters=asked, body=json.dumps(asked).encode())
        return of_items(operation, self._carry_out(operation))

    # Tables

    def _check_table(self, operation: Operation) -> None:
        given = operation.parameters
        if operation.name == "CreateTable":
            check_new_table(given)
        if operation.name not in ("CreateTable", "UpdateTable"):
            return
        for name in FORGOTTEN:
            if given.get(name) not in (None, "STANDARD"):
                raise NotSimulated(f"The sandbox keeps no {name} of a table.")
        stream = given.get("StreamSpecification")
        if stream and stream.get("StreamEnabled"):
            raise NotSimulated("The sandbox has no streams of DynamoDB.")
        if operation.name == "UpdateTable":
            description = self._described(operation, operation.text("TableName"))
            if description and stream:
                raise invalid(f"Table does not have a stream to disable for TableName {operation.table}")
            check_indexes(given, description)

    def _with_id(self, operation: Operation, response: Response) -> Response:
        if response.status_code != 200:
            return response
        body = json.loads(response.get_data())
        description = body.get("Table") or body["TableDescription"]
        arn = description["TableArn"]
        if operation.name == "CreateTable":
            self._ids[arn] = self._backend.uuid()
        if arn in self._ids:
            description["TableId"] = self._ids[arn]
        if operation.name == "DeleteTable":
            self._ids.pop(arn, None)
        return rewritten(response, body)

    def _described(self, operation: Operation, table: str) -> dict[str, Any]:
        """moto's description of a table; empty if there is none."""

        def read() -> dict[str, Any]:
            try:
                asked = {"TableName": table}
                return dict(self._backend.json("dynamodb", "DescribeTable", asked, region=operation.region)["Table"])
            except BackendError:
                return {}

        return self._backend.kept("dynamodb", operation.region, table, read=read)

    def _keys(self, operation: Operation, table: str, index: str = "") -> dict[str, str]:
        """The types of the key attributes of a table, or of it and an index, by name; empty if there is none."""
        described = self._described(operation, table)
        types = {one["AttributeName"]: one["AttributeType"] for one in described.get("AttributeDefinitions", ())}
        indexes = [one for kind in ("Global", "Local") for one in described.get(f"{kind}SecondaryIndexes") or ()]
        schemas = [described, *(one for one in indexes if one["IndexName"] == index)]
        return {
            one["AttributeName"]: types[one["AttributeName"]] for some in schemas for one in some.get("KeySchema", ())
        }

    # Items

    def _check_keys(self, operation: Operation, asked: Given) -> None:
        for key in keys_named(operation.name, asked):
            keys = self._keys(operation, key.table)
            if keys and not fits(key.value, keys):
                raise invalid(NOT_THE_KEY)
            for name, value in key.value.items():
                if keys and "" in value.values():
                    raise invalid(
                        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                        f"contain an empty string value. Key: {name}"
                    )
        start = asked.get("ExclusiveStartKey")
        if operation.name in ("Query", "Scan") and start is not None:
            keys = self._keys(operation, operation.text("TableName"), operation.text("IndexName"))
            if keys and not fits(start, keys):
                raise invalid(f"The provided starting key is invalid: {NOT_THE_KEY}")

    def _carry_out(self, operation: Operation) -> Response:
        """moto's answer. It may stop in the middle of these two; then what was written is put back."""
        if operation.name not in ("UpdateItem", "BatchWriteItem"):
            return reworded(operation, self._backend.forward(operation))
        with self._backend.lock("dynamodb"):
            before = [(key, self._item(operation, key)) for key in self._written(operation)]
            try:
                response = reworded(operation, self._backend.forward(operation))
            except (MotoFailed, NotImplementedError):
                self._put_back(operation, before)
                raise
            made = operation.name == "UpdateItem" and any(item is None for _, item in before)
            if response.status_code != 200 or (made and expressions.only_takes_away(operation.parameters)):
                self._put_back(operation, before)
            return response

    def _written(self, operation: Operation) -> Iterator[Key]:
        """The keys of the items that the call writes, without the other attributes."""
        puts = (
            Key(table, one["PutRequest"]["Item"])
            for table, some in (operation.parameters.get("RequestItems") or {}).items()
            for one in some
            if one.get("PutRequest")
        )
        for key in (*keys_named(operation.name, operation.parameters), *puts):
            keys = self._keys(operation, key.table)
            if keys and set(keys) <= set(key.value):
                yield Key(key.table, {name: key.value[name] for name in keys})

    def _item(self, operation: Operation, key: Key) -> dict[str, Any] | None:
        asked = {"TableName": key.table, "Key": key.value}
        try:
            return self._backend.json("dynamodb", "GetItem", asked, region=operation.region).get("Item")
        except BackendError:
            return None  # the key has the wrong type, or is empty: nothing is there

    def _put_back(self, operation: Operation, before: list[tuple[Key, dict[str, Any] | None]]) -> None:
        for key, item in before:
            if self._item(operation, key) == item:
                continue
            action, named = ("DeleteItem", {"Key": key.value}) if item is None else ("PutItem", {"Item": item})
            self._backend.json("dynamodb", action, {"TableName": key.table, **named}, region=operation.region)


def check_new_table(given: Given) -> None:
    if not TABLE_NAME.fullmatch(str(given.get("TableName") or "")):
        raise invalid(NOT_A_NAME)
    keys, defined = given.get("KeySchema") or [], given.get("AttributeDefinitions") or []
    if keys and keys[0].get("KeyType") != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    wanted, names = ([str(one.get("AttributeName")) for one in some] for some in (keys, defined))
    if not set(wanted) <= set(names):
        raise invalid(
            f"{BAD_VALUE}Some index key attributes are not defined in "
            f"AttributeDefinitions. Keys: [{', '.join(wanted)}], AttributeDefinitions: [{', '.join(names)}]"
        )


def check_indexes(given: Given, description: Given) -> None:
    """Indexes that UpdateTable names; moto finds it out when other changes are made."""
    there = {one["IndexName"] for one in description.get("GlobalSecondaryIndexes") or ()}
    for update in given.get("GlobalSecondaryIndexUpdates") or ():
        for kind, one in update.items():
            if kind == "Create" and one.get("IndexName") in there:
                raise invalid("Attempting to create an index which already exists")
            if kind != "Create" and description and one.get("IndexName") not in there:
                raise Refused(400, "ResourceNotFoundException", "Requested resource not found")


def fits(key: Given, keys: Mapping[str, str]) -> bool:
    return set(key) == set(keys) and all(isinstance(one, dict) and keys[name] in one for name, one in key.items())


def parts(name: str, asked: Given) -> Iterator[Given]:
    """The parts of a call that have expressions of their own."""
    if name == "BatchGetItem":
        yield from (asked.get("RequestItems") or {}).values()
    elif name.startswith("Transact"):
        yield from (part for one in as_list(asked.get("TransactItems")) for part in one.values())
    else:
        yield asked


def keys_named(name: str, asked: Given) -> Iterator[Key]:
    """The keys of items that a call names apart from any other attribute."""
    if name.startswith("Batch"):
        for table, some in (asked.get("RequestItems") or {}).items():
            keys = some.get("Keys") or () if name == "BatchGetItem" else (one.get("DeleteRequest") for one in some)
            yield from (Key(table, one if name == "BatchGetItem" else one["Key"]) for one in keys if one)
    else:
        for part in parts(name, asked):
            if isinstance(part.get("Key"), dict):
                yield Key(str(part.get("TableName") or ""), part["Key"])


def of_items(operation: Operation, response: Response) -> Response:
    """An answer about items as DynamoDB gives it: numbers, the attributes that were asked for, no capacity unasked."""
    if response.status_code != 200:
        return response
    given, body = operation.parameters, with_plain_numbers(json.loads(response.get_data()))
    if given.get("ReturnConsumedCapacity") in (None, "NONE"):
        body.pop("ConsumedCapacity", None)
    wanted = given.get("AttributesToGet")
    if wanted:
        for holder, name in [(body, "Item"), *((body["Items"], n) for n in range(len(body.get("Items") or ())))]:
            if name in holder or isinstance(name, int):
                holder[name] = {one: value for one, value in holder[name].items() if one in wanted}
    return rewritten(response, body)


def rewritten(response: Response, body: Any) -> Response:
    data = json.dumps(body).encode()
    response.set_data(data)
    if "x-amz-crc32" in response.headers:  # SDKs compare it
        response.headers["x-amz-crc32"] = str(zlib.crc32(data))
    return response
