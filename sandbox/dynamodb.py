"""DynamoDB: what AWS refuses and moto does not.

The words are those of the service, as issue threads and the tests of other emulators quote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.backend import Backend
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import AMZ_JSON, Words
from sandbox.protocol.scope import last

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
NOT_A_NAME = (
    "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the "
    "characters a-z, A-Z, 0-9, '_', '-', and '.'"
)
KEY_MISMATCH = "The provided key element does not match the schema"
# Numbers have 38 significant digits (HowItWorks.NamingRulesDataTypes.html).
MOST_DIGITS = 38
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def invalid(message: str) -> Words:
    return Words(400, "ValidationException", message)


class Tables:
    """In front of moto's DynamoDB."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def refused(self, operation: Operation) -> Words | None:
        """AWS's words for the call, where moto would not refuse it."""
        given = operation.parameters
        if operation.name == "CreateTable":
            return new_table(given)
        if operation.name == "TagResource":
            arn = operation.text("ResourceArn")
            if not self._keys(operation, last(arn, "/")):
                return Words(
                    400, "ResourceNotFoundException", f"Requested resource not found: ResourcArn: {arn} not found"
                )
        if operation.name in ("GetItem", "DeleteItem", "UpdateItem"):
            keys, given_key = self._keys(operation, operation.text("TableName")), given.get("Key")
            if keys and isinstance(given_key, dict) and not fits(given_key, keys):
                return invalid(KEY_MISMATCH)
        for number in numbers(given.get("Item")) if operation.name == "PutItem" else ():
            if not NUMBER.fullmatch(number):
                return invalid(f"The parameter cannot be converted to a numeric value: {number}")
            if digits(number) > MOST_DIGITS:
                return invalid("Attempting to store more than 38 significant digits in a Number")
        return None

    def _keys(self, operation: Operation, table: str) -> dict[str, str]:
        """The types of the table's key attributes by name; empty where there is no such table."""
        if not TABLE_NAME.fullmatch(table):
            return {}
        answer = self._backend.call(
            "dynamodb",
            "POST",
            "/",
            headers={"Content-Type": AMZ_JSON, "X-Amz-Target": "DynamoDB_20120810.DescribeTable"},
            body=f'{{"TableName": "{table}"}}'.encode(),
            region=operation.region,
        )
        described = answer.json().get("Table") if answer.ok else None
        if not described:
            return {}
        types = {one["AttributeName"]: one["AttributeType"] for one in described["AttributeDefinitions"]}
        return {one["AttributeName"]: types[one["AttributeName"]] for one in described["KeySchema"]}


def new_table(given: Mapping[str, Any]) -> Words | None:
    name = given.get("TableName")
    if not isinstance(name, str) or not TABLE_NAME.fullmatch(name):
        return invalid(NOT_A_NAME)
    keys = given.get("KeySchema") or []
    defined = given.get("AttributeDefinitions") or []
    if not (isinstance(keys, list) and all(isinstance(one, dict) for one in [*keys, *defined])):
        return None
    for number, one in enumerate(defined, 1):
        if one.get("AttributeType") not in ("S", "N", "B"):
            return invalid(
                f"1 validation error detected: Value '{one.get('AttributeType')}' at "
                f"'attributeDefinitions.{number}.member.attributeType' failed to satisfy constraint: Member must "
                "satisfy enum value set: [B, N, S]"
            )
    if keys and keys[0].get("KeyType") != "HASH":
        return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    wanted = [str(one.get("AttributeName")) for one in keys]
    names = [str(one.get("AttributeName")) for one in defined]
    if not set(wanted) <= set(names):
        return invalid(
            "One or more parameter values were invalid: Some index key attributes are not defined in "
            f"AttributeDefinitions. Keys: [{', '.join(wanted)}], AttributeDefinitions: [{', '.join(names)}]"
        )
    return None


def fits(key: Mapping[str, Any], keys: Mapping[str, str]) -> bool:
    return set(key) == set(keys) and all(isinstance(one, dict) and keys[name] in one for name, one in key.items())


def numbers(value: object) -> Iterator[str]:
    """Every number of an item in DynamoDB's JSON."""
    if isinstance(value, dict):
        for kind, one in value.items():
            if kind == "N" and isinstance(one, str):
                yield one
            elif kind == "NS" and isinstance(one, list):
                yield from (each for each in one if isinstance(each, str))
            else:
                yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)


def digits(number: str) -> int:
    """Significant ones: without sign, point, exponent, and the zeros at either end."""
    mantissa = re.split("[eE]", number)[0].lstrip("+-").replace(".", "")
    return len(mantissa.strip("0"))
