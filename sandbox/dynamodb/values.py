"""Attribute values: checked as DynamoDB checks them, and numbers written as DynamoDB writes them.

The messages are those that dynalite's tests, which are also run on AWS, expect.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import Any

from sandbox.protocol.refusals import NotSimulated, Refused

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?", re.ASCII)
MOST_DIGITS = 38
LARGEST_EXPONENT, SMALLEST_EXPONENT = 125, -130
DEEPEST = 32
TYPES = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
EMPTY_SETS = {"SS": "An string set  may not be empty", "NS": "An number set  may not be empty",
                 "BS": "Binary sets should not be empty"}  # fmt: skip
# moto adds up all values of an item once for each of its attributes; a million takes it a quarter of a second.
MOST_SUMS = 1_000_000

BAD_VALUE = "One or more parameter values were invalid: "


def invalid(message: str) -> Refused:
    return Refused(400, "ValidationException", message)


def plain(shape: Any, given: Any, name: str = "") -> Any:
    """The parameters of a request, or a part of them, with numbers as DynamoDB keeps them. Raises Refused."""
    if given is None:
        return None
    if shape.name == "AttributeValue":
        return attribute_value(given)
    if shape.type_name == "structure":
        members = shape.members
        return {one: plain(members[one], value, one) if one in members else value for one, value in given.items()}
    if shape.type_name == "map":
        if name == "Item":
            check_cost(given)
        return {key: in_map(shape.value, name, key, value) for key, value in given.items()}
    return [plain(shape.member, one) for one in given] if shape.type_name == "list" else given


def in_map(shape: Any, name: str, key: str, value: Any) -> Any:
    """A value of a map; a refusal names the key where DynamoDB names it."""
    try:
        return plain(shape, value)
    except Refused as refused:
        if name != "ExpressionAttributeValues":
            raise
        said = f"ExpressionAttributeValues contains invalid value: {refused.words.message} for key {key}"
        raise invalid(said) from refused


def attribute_value(given: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    kinds = [kind for kind in TYPES if given.get(kind) is not None]
    if len(kinds) != 1:
        said = "has more than one datatypes set" if kinds else "is empty"
        raise invalid(f"Supplied AttributeValue {said}, must contain exactly one of the supported datatypes")
    if depth > DEEPEST:
        raise invalid("Nesting Levels have exceeded supported limits: Attributes Nesting Level is limited to 32")
    kind = kinds[0]
    value = given[kind]
    if kind == "NULL" and value is not True:
        raise invalid(f"{BAD_VALUE}Null attribute value types must have the value of true")
    if kind == "N":
        value = number(value)
    elif kind in EMPTY_SETS:
        value = a_set(kind, value)
    elif kind == "M":
        value = {key: attribute_value(one, depth + 1) for key, one in value.items()}
    elif kind == "L":
        value = [attribute_value(one, depth + 1) for one in value]
    return {kind: value}


def a_set(kind: str, given: list[str]) -> list[str]:
    if not given:
        raise invalid(BAD_VALUE + EMPTY_SETS[kind])
    members = [number(one) for one in given] if kind == "NS" else given
    if max(Counter(members).values()) > 1:
        if kind == "NS":
            raise invalid("Input collection contains duplicates")
        of_type = "of type BS" if kind == "BS" else ""
        raise invalid(f"{BAD_VALUE}Input collection [{', '.join(given)}]{of_type} contains duplicates.")
    return members


def number(text: str) -> str:
    """As DynamoDB keeps it: 1e3 is 1000, 1.0 is 1, -0 is 0."""
    if not text:
        raise invalid("The parameter cannot be converted to a numeric value")
    found = NUMBER.fullmatch(text)
    if not found:
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}")
    exponent = found[2] or ""
    # Decimal does not read exponents of any length; this one is far outside.
    value = Decimal(text if len(exponent) < 9 else f"{found[1]}e{'-' if exponent[0] == '-' else ''}99999999")
    if value:
        if value.adjusted() > LARGEST_EXPONENT:
            raise invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
        if value.adjusted() < SMALLEST_EXPONENT:
            raise invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
        if len("".join(map(str, value.as_tuple().digits)).strip("0")) > MOST_DIGITS:
            raise invalid("Attempting to store more than 38 significant digits in a Number")
    return written(value)


def written(value: Decimal | str) -> str:
    """A number in plain digits. A text that is none, which only PartiQL can store here, stays as it is."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return value
        value = Decimal(value)
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def check_cost(item: dict[str, Any]) -> None:
    if len(item) > 1 and len(item) * count(item) > MOST_SUMS:
        raise NotSimulated("The sandbox takes no item of so many attributes and values; its moto would take seconds.")


def count(value: Any) -> int:
    """How many values there are in an item, or in a part of it."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, below))


def with_plain_numbers(answered: Any) -> Any:
    """An answer with the numbers that moto has computed or read anew as DynamoDB writes them."""
    if isinstance(answered, list):
        return [with_plain_numbers(one) for one in answered]
    if not isinstance(answered, dict):
        return answered
    if len(answered) == 1:
        kind, value = next(iter(answered.items()))
        if kind == "N" and isinstance(value, str):
            return {kind: written(value)}
        if kind == "NS" and isinstance(value, list):
            return {kind: [written(one) for one in value]}
    return {key: with_plain_numbers(one) for key, one in answered.items()}
