"""DynamoDB: what AWS refuses and moto does not.

The messages are DynamoDB's, as issue threads and the tests of other emulators quote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.backend import Backend, BackendError
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Refused
from sandbox.protocol.scope import last

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
NOT_A_NAME = (
    "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the "
    "characters a-z, A-Z, 0-9, '_', '-', and '.'"
)
# Numbers have 38 significant digits (HowItWorks.NamingRulesDataTypes.html).
MOST_DIGITS = 38
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def invalid(message: str) -> Refused:
    return Refused(400, "ValidationException", message)


class Tables:
    """In front of moto's DynamoDB."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def check(self, operation: Operation) -> None:
        """Raise Refused for what moto would accept."""
        given = operation.parameters
        match operation.name:
            case "CreateTable":
                check_new_table(given)
            case "TagResource":
                arn = operation.text("ResourceArn")
                if not self._keys(operation, last(arn, "/")):
                    said = f"Requested resource not found: ResourcArn: {arn} not found"
                    raise Refused(400, "ResourceNotFoundException", said)
            case "GetItem" | "DeleteItem" | "UpdateItem":
                keys, key = self._keys(operation, operation.text("TableName")), given.get("Key")
                if keys and isinstance(key, dict) and not fits(key, keys):
                    raise invalid("The provided key element does not match the schema")
            case "PutItem":
                for number in numbers(given.get("Item")):
                    if not NUMBER.fullmatch(number):
                        raise invalid(f"The parameter cannot be converted to a numeric value: {number}")
                    if digits(number) > MOST_DIGITS:
                        raise invalid("Attempting to store more than 38 significant digits in a Number")

    def _keys(self, operation: Operation, table: str) -> dict[str, str]:
        """The types of the table's key attributes by name; empty if there is no such table."""
        try:
            asked = {"TableName": table}
            described = self._backend.json("dynamodb", "DescribeTable", asked, region=operation.region)["Table"]
        except BackendError:
            return {}
        types = {one["AttributeName"]: one["AttributeType"] for one in described["AttributeDefinitions"]}
        return {one["AttributeName"]: types[one["AttributeName"]] for one in described["KeySchema"]}


def check_new_table(given: Mapping[str, Any]) -> None:
    if not TABLE_NAME.fullmatch(str(given.get("TableName") or "")):
        raise invalid(NOT_A_NAME)
    keys, defined = given.get("KeySchema") or [], given.get("AttributeDefinitions") or []
    if keys and keys[0].get("KeyType") != "HASH":
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    wanted, names = ([str(one.get("AttributeName")) for one in some] for some in (keys, defined))
    if not set(wanted) <= set(names):
        raise invalid(
            "One or more parameter values were invalid: Some index key attributes are not defined in "
            f"AttributeDefinitions. Keys: [{', '.join(wanted)}], AttributeDefinitions: [{', '.join(names)}]"
        )


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
    """The significant digits: without sign, point, exponent, and zeros at either end."""
    mantissa = re.split("[eE]", number)[0].lstrip("+-").replace(".", "")
    return len(mantissa.strip("0"))
