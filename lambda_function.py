"""The function behind the API and behind the queue: six operations on one DynamoDB table.

An event is a JSON object:
    {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "1", "name": "Bob"}}}
create, read, delete and list call DynamoDB; payload holds the arguments of the call.  echo returns its payload, and
ping returns "pong".  API Gateway and the console's Test button send one event and wait for the answer.  The queue keeps
events as text; Lambda fetches several of them at once, and nobody waits for an answer.
Anybody may send an event.  So neither the log nor a refusal quotes one: only its trace is logged, to follow it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from decimal import Decimal, Inexact, InvalidOperation, Overflow, Rounded, Underflow
from functools import cache
from typing import Any

import boto3
from boto3.dynamodb.types import DYNAMODB_CONTEXT, Binary
from botocore.exceptions import ClientError

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # Lambda's default is WARNING


@cache
def dynamodb() -> Any:
    """boto3's DynamoDB resource.  Lambda keeps this Python process for later events, and the resource with it."""
    return boto3.resource("dynamodb")


# The resource takes long to make.  Lambda allows 10 seconds for this import, beside those for the invocation.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # elsewhere, importing this file must not need a Region
    dynamodb()

ARGUMENTS = {  # what a payload may have; the table is named beside it
    "create": ["Item", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues", "ReturnValues"],
    "read": ["Key", "ConsistentRead", "ExpressionAttributeNames", "ProjectionExpression"],
    "delete": ["Key", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues", "ReturnValues"],
    "list": ["Limit", "ExclusiveStartKey", "ExpressionAttributeNames", "ExpressionAttributeValues", "FilterExpression"],
}
OPERATIONS = [*ARGUMENTS, "echo", "ping"]
ID = re.compile("[0-9A-Za-z-]{1,64}")  # all that is logged of what comes from outside


def lambda_handler(event: Any, context: Any) -> Any:
    """Lambda calls this once for each direct event, and once for each batch from the queue."""
    if isinstance(event, dict) and "Records" in event:
        return run_batch(event, context)
    try:
        # Lambda turned the event's fractions into floats, which keep 15 to 17 digits.
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        operation = required({"event": parsed(text)}, "event", dict).get("operation")
        log.info("operation: %s", operation if operation in OPERATIONS else "none that is known")
        log_trace(event, "came directly")
        return run(event, text)
    except Exception as error:  # noqa: BLE001 - Lambda answers and logs whatever is raised
        raise refusal(error) from None


def run(request: dict[str, Any], text: str) -> Any:
    """Carry out one request, whichever way it came.  `text` is the request as JSON."""
    operation = required(request, "operation", str, OPERATIONS)
    if operation == "echo":
        return request.get("payload")
    if operation == "ping":
        return "pong"
    if operation not in ARGUMENTS:
        raise EventRefused("operation", "is unknown", OPERATIONS)
    served = os.environ.get("TABLE_NAME")
    name = required(request, "tableName", str, [served] if served else [])
    if served and name != served:
        raise EventRefused("tableName", "is not this deployment's table", [served])
    if not required(request, "payload", dict, ARGUMENTS[operation]).keys() <= set(ARGUMENTS[operation]):
        raise EventRefused("payload", f"has what {operation} does not take", ARGUMENTS[operation])
    payload = json.loads(text, parse_int=storable, parse_float=storable)["payload"]
    table = dynamodb().Table(name)
    calls = {
        "create": table.put_item,  # replaces the item with the same key, if there is one
        "read": table.get_item,
        "delete": table.delete_item,  # succeeds as well if there is no such item
        "list": table.scan,  # gives one page; LastEvaluatedKey in it tells that there are more
    }
    return json.loads(json.dumps(calls[operation](**payload), default=json_value))


def run_batch(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Carry out each message of a batch, and tell Lambda which ones failed.

    Lambda sends those again, and deletes the others from the queue.  An exception or a timeout would make all of them
    come again.  So the small ones come first, and none is begun after half of the time.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    SQS may deliver a message twice.  That does no harm: a repeated create or delete leaves the same table.
    """
    records = required(event, "Records", list)
    queues = context.invoked_function_arn.partition(":function:")[0].replace(":lambda:", ":sqs:")
    for record in records:  # S3 and SNS send Records, too, and so could a caller of the API
        source = record.get("eventSourceARN") if isinstance(record, dict) else None
        if not str(source).startswith(f"{queues}:") or not ID.fullmatch(required(record, "messageId", str)):
            raise EventRefused("Records", "do not come from SQS in this account and Region")
    records = sorted(records, key=lambda record: len(str(record.get("body"))))
    failures = [{"itemIdentifier": record["messageId"]} for record in records[10:]]  # the trigger sends 10 at most
    half = context.get_remaining_time_in_millis() / 2
    for record in records[:10]:
        try:
            if context.get_remaining_time_in_millis() < half:
                raise EventRefused("time", "is too short: this message has to come again")
            run_message(record)
        except Exception as error:  # noqa: BLE001 - one message must not fail the others
            log.error("message %r failed: %s", record["messageId"], refusal(error))
            failures.append({"itemIdentifier": record["messageId"]})
    log.info("SQS batch: %d messages, %d failed", len(records), len(failures))
    return {"batchItemFailures": failures}


def run_message(record: dict[str, Any]) -> None:
    """Carry out the event in a message's body."""
    body = required(record, "body", str)
    event = required({"event": parsed(body)}, "event", dict)
    told = record.get("attributes")
    times = {name: value for name, value in told.items() if ID.fullmatch(str(value))} if isinstance(told, dict) else {}
    sent, received = times.get("SentTimestamp"), times.get("ApproximateFirstReceiveTimestamp")
    log_trace(event, f"message sent {sent}, first received {received}, receive {times.get('ApproximateReceiveCount')}")
    run(event, body)


def log_trace(event: dict[str, Any], words: str) -> None:
    """Log an event that has a trace."""
    trace = event.get("trace")
    if isinstance(trace, str) and ID.fullmatch(trace):
        log.info("%s %s", trace, words)


class EventRefused(ValueError):
    def __init__(self, key: str, problem: str, known: list[str] | None = None) -> None:
        super().__init__(f"{key} {problem}" + (f"; known: {', '.join(known)}" if known else ""))


def refusal(error: Exception) -> EventRefused:
    """What is said of an exception.  The words of AWS and of boto3 may quote the event, or name account and role."""
    if isinstance(error, ClientError):
        return EventRefused("DynamoDB", f"answered {error.response['Error']['Code']} to {error.operation_name}")
    if isinstance(error, json.JSONDecodeError):
        return EventRefused("body", f"is not JSON: {error}")
    return error if isinstance(error, EventRefused) else EventRefused("request", f"failed with {type(error).__name__}")


def required(holder: dict[str, Any], key: str, kind: type, known: list[str] | None = None) -> Any:
    """The value under a key that must be there and of that kind."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    if key not in holder:
        raise EventRefused(key, "is missing", known)
    if not isinstance(holder[key], kind):
        raise EventRefused(key, f"is {kinds.get(type(holder[key]), 'a number')}, not {kinds[kind]}", known)
    return holder[key]


def parsed(text: str) -> Any:
    """What a JSON text says.  NaN and Infinity, which Python takes for JSON, are refused."""
    if len(text.encode("utf-8", "surrogatepass")) > 65_536:  # with 128 MB the worst of this size takes 3 seconds
        raise EventRefused("event", "is above 64 KiB")
    return json.loads(text, parse_constant=storable)


# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
# DynamoDB returns 1e39 with 39 zeros.  boto3 counts them, and raises Rounded above 38 digits (boto/boto3#2500, #4693).
DYNAMODB_CONTEXT.traps[Rounded] = False  # a digit that is not zero still raises Inexact


def storable(text: str) -> int | Decimal:
    """A number of a JSON text as boto3 takes it: an int if it is whole, else a Decimal.  boto3 takes no float."""
    try:
        number = Decimal(text)
        if not number.is_finite():
            raise EventRefused("number", "is NaN or infinite, which neither JSON nor DynamoDB has")
        number = DYNAMODB_CONTEXT.normalize(number) if number else Decimal(0)  # no zeros at the end, and no -0.0
        if not -130 <= number.adjusted() <= 125:  # the exponent, if one digit stands before the point
            raise Overflow
    except (InvalidOperation, Overflow, Underflow):
        raise EventRefused(
            "number", "is outside DynamoDB's range: 1E-130 to 9.99...E+125 and their negatives"
        ) from None
    except Inexact:
        raise EventRefused("number", "has more significant digits than the 38 of DynamoDB") from None
    return int(number) if number == int(number) else number  # Limit must be an int; JSON does not tell 1 from 1.0


def json_value(value: Any) -> Any:
    """json.dumps calls this for what it does not know: the sets, binary values and Decimals that boto3 returns."""
    if isinstance(value, set):  # boto3's Binary cannot be compared, its bytes can
        return sorted(value, key=lambda member: bytes(member) if isinstance(member, Binary) else member)
    if isinstance(value, Binary):
        return base64.b64encode(bytes(value)).decode("ascii")
    number = int(value) if value == int(value) else float(value)
    return number if Decimal(repr(number)) == value else str(value)  # a float has not enough digits for all of them
