"""What in a request or an answer is seen later than it is done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.protocol.operations import Operation, json_object
from sandbox.protocol.refusals import Words, last
from sandbox.protocol.scope import FunctionName

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response


@dataclass(frozen=True)
class NotYet:
    """Something that is not so yet: from when to when on the weather's clock, and what was there before."""

    since: float
    until: float
    keeps: Any = None


class TooEarly(Exception):
    """The call is refused since something is not so yet; ``why`` is that span of the forecast."""

    def __init__(self, why: str, still: NotYet, words: Words) -> None:
        super().__init__(words.message)
        self.why, self.still, self.words = why, still, words


SEEN = "sandbox.weather.seen"


TABLE_DATA = frozenset({"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"})

ITEM_LISTS = frozenset({"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems"})


# What Lambda refuses while a function is Pending, and what while it is updated
# (https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html).
NOT_WHILE_UPDATING = frozenset({"UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"})

NOT_WHILE_PENDING = NOT_WHILE_UPDATING | {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}


# Which of a call's parameters say what it is about, by service; API Gateway's and Lambda's are looked at one by one.
NAMING: dict[str, tuple[str, ...]] = {
    "iam": ("RoleName", "PolicyName", "PolicyArn", "UserName", "GroupName", "InstanceProfileName"),
    "sts": ("RoleArn",),
    "dynamodb": ("TableName", "ResourceArn"),
    "sqs": ("QueueName", "QueueUrl"),
    "logs": ("logGroupName", "resourceArn", "logStreamName"),
}


# Names


def called(operation: Operation) -> str:
    return f"{operation.service} {operation.name}"


def function_of(operation: Operation) -> FunctionName | None:
    """The function that a call of Lambda is about, however it is named."""
    named = operation.text("FunctionName") or operation.text("Resource")
    if not named or ":event-source-mapping:" in named:
        return None
    return FunctionName.parse(named, operation.region)


def table_of(operation: Operation) -> str:
    """The table's name, also where its ARN stands in its place."""
    return last(operation.text("TableName") or operation.text("ResourceArn"), "/")


def tables_of(operation: Operation) -> list[str]:
    """The tables that a call on items is about."""
    if operation.name in TABLE_DATA:
        return [table_of(operation)]
    if operation.name not in ITEM_LISTS:
        return []
    items = operation.parameters.get("RequestItems")
    if isinstance(items, dict):
        return [last(str(name), "/") for name in items]
    named = []
    for item in operation.parameters.get("TransactItems") or ():
        for part in item.values() if isinstance(item, dict) else ():
            if isinstance(part, dict):
                named.append(last(str(part.get("TableName", "")), "/"))
    return named


def queue_of(operation: Operation) -> str:
    return operation.text("QueueName") or last(operation.text("QueueUrl"), "/")


def attributes_given(operation: Operation) -> dict[str, str]:
    """A queue's attributes in a call, of either protocol."""
    given = operation.parameters.get("Attributes")
    if isinstance(given, dict):
        return {str(name): str(value) for name, value in given.items()}
    found = {}
    for key, name in operation.parameters.items():
        if key.startswith("Attribute.") and key.endswith(".Name"):
            found[str(name)] = operation.text(f"{key[: -len('.Name')]}.Value")
    return found


def policy_given(operation: Operation) -> dict[str, Any]:
    return json_object(attributes_given(operation).get("Policy", "").encode())


def roles_named(policy: Mapping[str, Any]) -> Iterable[str]:
    """The names of the roles that the principals of a policy's statements are."""
    statements = policy.get("Statement") or ()
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal") if isinstance(statement, dict) else None
        named = principal.get("AWS") if isinstance(principal, dict) else None
        for arn in [named] if isinstance(named, str) else named or ():
            if ":role/" in str(arn):
                yield last(str(arn), "/")


def is_handlers(request: Request) -> bool:
    """Whether the call comes from a handler: SDKs tell where they run (AWS_EXECUTION_ENV) in their User-Agent."""
    return "exec-env/AWS_Lambda" in request.headers.get("User-Agent", "")


def _changed(response: Response, body: Mapping[str, Any]) -> Response:
    """The same answer with another body. The checksum that DynamoDB sends along would no longer fit."""
    response.set_data(json.dumps(body))
    response.headers.pop("x-amz-crc32", None)
    return response
