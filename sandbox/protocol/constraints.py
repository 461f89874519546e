"""The constraints of the API models: types, lengths, patterns, ranges, enumerations, required members.

moto accepts names that AWS refuses. AWS's services check a request against their API model before anything else, and
all refuse it in the same words. botocore ships those models, so this check has the same source.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import OperationNotFoundError, ServiceModel

from sandbox.protocol.operations import BY_PATH, Operation, model, parse_json
from sandbox.protocol.refusals import Refused
from sandbox.protocol.scope import MODULES

# The error code with which each service refuses (their API references, "Common Errors"; Logs: InvalidParameter).
CODES = {
    "iam": "ValidationError",
    "sts": "ValidationError",
    "dynamodb": "ValidationException",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "apigateway": "ValidationException",
}
# Members for which a service has words of its own; the module of that service refuses them.
ELSEWHERE = {
    "dynamodb": frozenset({"TableName", "KeySchema", "Key", "Item"}),
    "lambda": frozenset({"Runtime", "BatchSize", "MaximumBatchingWindowInSeconds", "ScalingConfig", "Environment",
                         "FunctionResponseTypes", "StartingPosition", "UUID", "EventSourceArn"}),
}  # fmt: skip
# IAM has a sentence of its own for the characters of names.
NAME_PATTERN = r"[\w+=,.@-]+"


def check(operation: Operation) -> None:
    """Raise Refused for a request that its API model does not allow; a request without a model passes."""
    service = operation.service
    shape = input_of(service, operation.name) if service in MODULES else None
    if shape is None:
        return
    unreadable = unread(operation, shape)
    if unreadable is not None:
        raise Refused(400, "SerializationException", unreadable)
    if service not in CODES:
        return
    within = f"{operation.name[0].lower()}{operation.name[1:]}Input." if service == "apigateway" else ""
    found = list(violations(shape, {**operation.parameters, **in_headers(operation, shape)}, service, within))
    if found:
        alone = len(found) == 1 and found[0].startswith("The specified value")
        raise Refused(400, CODES[service], found[0] if alone else counted(found))


def in_headers(operation: Operation, shape: Any) -> dict[str, str]:
    """The parameters that a REST call sends as headers, by the names of those."""
    named = (one.serialization for one in shape.members.values())
    names = [one["name"] for one in named if one.get("location") == "header"]
    return {name: given for name in names if (given := operation.request.headers.get(name)) is not None}


def unread(operation: Operation, shape: Any) -> str | None:
    """What a service says of a body that is not JSON, or of a value of the wrong type; None if it can read the body.

    A REST service reads path and query separately, and some bodies (Invoke's) belong to the caller.
    """
    if operation.protocol == "query":
        return None
    members = dict(shape.members)
    if operation.protocol == "rest":
        members = {name: one for name, one in members.items() if "location" not in one.serialization}
        if shape.serialization.get("payload") or not members or not operation.body.strip():
            return None
    try:
        decoded = parse_json(operation.body or b"{}")
    except ValueError as error:
        of_rest = {
            "lambda": f"Could not parse request body into json: {error}",
            "apigateway": "Invalid JSON in request",
        }
        return of_rest.get(operation.service, "Unable to parse the request body as JSON.")
    if not isinstance(decoded, dict) and operation.protocol == "rest":
        return "Start of structure or map expected."
    return mistyped(shape, decoded) if operation.protocol == "json" else first_mistyped(members, decoded)


def first_mistyped(members: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    named = ((one, values.get(one.serialization.get("name", name))) for name, one in members.items())
    return next((said for one, value in named if (said := mistyped(one, value))), None)


NAMES_OF_VALUES = {str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE"}
TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,), "map": (dict,), "list": (list,), "string": (str,), "blob": (str,), "boolean": (bool,),
    "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float),
    "timestamp": (int, float, str),
}  # fmt: skip


def mistyped(shape: Any, value: Any) -> str | None:
    """AWS's words for the first value whose type is not that of its shape."""
    wanted = TYPES[shape.type_name]
    if value is None:
        return None
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        if isinstance(value, dict):
            return "Start of structure or map found where not expected."
        if isinstance(value, list):
            return "Start of list found where not expected."
        kind = {"string": "String", "integer": "Integer", "long": "Long", "boolean": "Boolean"}.get(shape.type_name)
        found = "FALSE_VALUE" if value is False else NAMES_OF_VALUES[type(value)]
        return f"{found} cannot be converted to {kind}" if kind else "Unexpected token found where not expected."
    inner: Any = value
    below: list[tuple[Any, Any]] = []
    if shape.type_name == "structure":
        below = [(one, inner.get(name)) for name, one in shape.members.items()]
    elif shape.type_name == "map":
        below = [(shape.value, one) for one in inner.values()]
    elif shape.type_name == "list":
        below = [(shape.member, one) for one in inner]
        if None in inner:
            return "Expected a value where null was found."
    return next((said for one, each in below if (said := mistyped(one, each))), None)


def counted(found: list[str]) -> str:
    return f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: {'; '.join(found)}"


def violations(shape: Any, given: Mapping[str, Any], service: str, path: str = "") -> Iterator[str]:
    """What is wrong with the members of a structure, in AWS's words."""
    for name, member in shape.members.items():
        if name in ELSEWHERE.get(service, ()) or name == shape.serialization.get("payload"):
            continue  # a payload is the whole body
        at = path + name[0].lower() + name[1:]
        # A REST service's parameters go by their names in path, query and body.
        value = given.get(member.serialization.get("name", name) if service in BY_PATH else name)
        if value is None:
            if name in shape.required_members and "location" not in member.serialization:
                yield f"Value null at '{at}' failed to satisfy constraint: Member must not be null"
            continue
        yield from of_value(member, value, service, at)


def of_value(shape: Any, value: Any, service: str, at: str) -> Iterator[str]:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        yield from violations(shape, value, service, f"{at}.")
    elif shape.type_name == "list" and isinstance(value, list):
        yield from lengths(shape, value, len(value), at)
        yield from of_members(shape, value, service, at)
    elif shape.type_name == "string" and isinstance(value, str):
        yield from lengths(shape, value, len(value), at)
        if shape.enum and value not in shape.enum:
            yield of_constraint(value, at, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not compiled(pattern).fullmatch(value):
            if service == "iam" and pattern == NAME_PATTERN:
                yield (
                    f"The specified value for {at} is invalid. It must contain only alphanumeric characters and/or "
                    "the following: +=,.@_-"
                )
            else:
                yield of_constraint(value, at, f"Member must satisfy regular expression pattern: {pattern}")
    elif shape.type_name in ("integer", "long"):
        try:
            number = int(value)
        except (TypeError, ValueError):
            return  # not a number: moto or a plane refuses it
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if least is not None and number < least:
            yield of_constraint(value, at, f"Member must have value greater than or equal to {least}")
        if most is not None and number > most:
            yield of_constraint(value, at, f"Member must have value less than or equal to {most}")


def of_members(shape: Any, values: list[Any], service: str, at: str) -> Iterator[str]:
    """What is wrong with the members of a list. Of texts, the REST services name the list (recorded on AWS)."""
    if service not in BY_PATH or shape.member.type_name != "string":
        for number, one in enumerate(values, 1):
            yield from of_value(shape.member, one, service, f"{at}.{number}.member")
        return
    for one in values:
        for said in of_value(shape.member, one, service, at):
            constraint = f"Member must satisfy constraint: [{said.partition('constraint: ')[2]}]"
            yield of_constraint(f"[{', '.join(map(str, values))}]", at, constraint)
            return


def lengths(shape: Any, value: object, length: int, at: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and length < least:
        yield of_constraint(value, at, f"Member must have length greater than or equal to {least}")
    if most is not None and length > most:
        yield of_constraint(value, at, f"Member must have length less than or equal to {most}")


def of_constraint(value: object, at: str, constraint: str) -> str:
    return f"Value '{value}' at '{at}' failed to satisfy constraint: {constraint}"


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    """ASCII only, as Java reads it; a pattern that Python cannot read matches everything."""
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:
        return re.compile(r"(?s:.*)")


@functools.cache
def model_of(service: str) -> Any:
    return ServiceModel(model(service), service)


@functools.cache
def input_of(service: str, name: str) -> Any:
    """The shape of an operation's parameters; None if there is no such operation, or if it takes none."""
    try:
        return model_of(service).operation_model(name).input_shape
    except OperationNotFoundError:
        return None
