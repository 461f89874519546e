"""The function behind the API and behind the queue: six operations on one DynamoDB table.

An event is a JSON object:
    {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "1", "name": "Bob"}}}
create, read, delete and list call DynamoDB; payload holds the arguments of the call.  echo returns its payload, and
ping returns "pong".  An event may have a trace, which is logged, so that the event can be followed.
API Gateway and the console's Test button send one event and wait for the answer.  The queue keeps events as text;
Lambda fetches several of them at once, and nobody waits for an answer.
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

KEY = '{"Key": {"id": "1"}}'
PAYLOADS = {"create": '{"Item": {"id": "1", "name": "Bob"}}', "read": KEY, "delete": KEY, "list": '{} or {"Limit": 10}'}
OPERATIONS = [*PAYLOADS, "echo", "ping"]


def lambda_handler(event: Any, context: object) -> Any:
    """Lambda calls this once for each direct event, and once for each batch from the queue."""
    required({"event": event}, "event", dict)
    if "Records" in event:
        return run_batch(event)
    operation = event.get("operation")
    log.info("operation: %s", operation if operation in OPERATIONS else "none that is known")
    log_trace(event, "came directly")
    try:
        text = json.dumps(event)  # Lambda made floats of its fractions, and 15 to 17 digits are left of each
    except ValueError:  # Python writes no int of more than 4300 digits
        raise NumberRefused("number", OUT_OF_RANGE) from None
    return run(event, text)


def run(request: dict[str, Any], text: str) -> Any:
    """Carry out one request, whichever way it came.  `text` is the request as JSON."""
    json.loads(text, parse_constant=storable)  # refuses NaN and Infinity, which Python takes for JSON
    operation = required(request, "operation", str, OPERATIONS)
    if operation == "echo":
        return request.get("payload")
    if operation == "ping":
        return "pong"
    if operation not in PAYLOADS:
        raise EventRefused("operation", "is unknown", given=operation, known=OPERATIONS)
    served = os.environ.get("TABLE_NAME")
    name = required(request, "tableName", str, [served] if served else [])
    if served and name != served:
        raise EventRefused("tableName", "is not this deployment's table", given=name, known=[served])
    if "TableName" in required(request, "payload", dict, [f"{operation} takes {PAYLOADS[operation]}"]):
        raise EventRefused("payload", "must not have a TableName: tableName beside it names the table")

    payload = json.loads(text, parse_int=storable, parse_float=storable)["payload"]
    table = dynamodb().Table(name)
    if operation == "create":
        answer = table.put_item(**payload)  # replaces the item with the same key, if there is one
    elif operation == "read":
        answer = table.get_item(**payload)
    elif operation == "delete":
        answer = table.delete_item(**payload)  # succeeds as well if there is no such item
    else:
        answer = table.scan(**payload)  # gives one page; LastEvaluatedKey in it tells that there are more
    return json.loads(json.dumps(answer, default=json_value))


def run_batch(event: dict[str, Any]) -> dict[str, Any]:
    """Carry out each message of a batch, and tell Lambda which ones failed.

    Lambda sends those again, and deletes the others from the queue.  An exception would make all of them come again.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    SQS may deliver a message twice.  That does no harm: a repeated create or delete leaves the same table.
    """
    records = required(event, "Records", list)
    for record in records:  # S3 and SNS send Records, too
        source = record.get("eventSource", "no source") if isinstance(record, dict) else "no object"
        if source != "aws:sqs":
            raise EventRefused("Records", "do not come from SQS", given=source, known=["aws:sqs"])
        required(record, "messageId", str)
    failures = []
    for record in records:
        try:
            run_message(record)
            continue
        except EventRefused as error:
            reason = f"{error.key} {error.problem}"  # nothing that the sender wrote
        except json.JSONDecodeError as error:
            reason = f"body is not JSON: {error}"
        except ClientError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - one message must not fail the others
            reason = f"{type(error).__name__} (its text is left out, as it may quote the message)"
        log.error("message %r failed: %s", record["messageId"], reason)
        failures.append({"itemIdentifier": record["messageId"]})
    log.info("SQS batch: %d messages, %d failed", len(records), len(failures))
    return {"batchItemFailures": failures}


def run_message(record: dict[str, Any]) -> None:
    """Carry out the event in a message's body."""
    body = required(record, "body", str)
    event = required({"event": json.loads(body)}, "event", dict)
    attributes = record.get("attributes")
    times = attributes if isinstance(attributes, dict) else {}
    sent, received = times.get("SentTimestamp"), times.get("ApproximateFirstReceiveTimestamp")
    receives = times.get("ApproximateReceiveCount")
    log_trace(event, f"message sent {sent}, first received {received}, receive {receives}")
    run(event, body)


def log_trace(event: dict[str, Any], words: str) -> None:
    """Log an event that has a trace.  Any other text could forge a line of the log, or be somebody's data."""
    trace = event.get("trace")
    if isinstance(trace, str) and re.fullmatch("[0-9A-Za-z-]{1,64}", trace):
        log.info("%s %s", trace, words)


class EventRefused(ValueError):
    def __init__(self, key: str, problem: str, given: object = None, known: list[str] | None = None) -> None:
        self.key, self.problem, self.given, self.known = key, problem, given, tuple(known or ())
        found = "" if given is None else f" (given: {given!r:.60})"
        accepted = f"; known: {', '.join(self.known)}" if self.known else ""
        super().__init__(f"{key} {problem}{found}{accepted}")


class NumberRefused(EventRefused):
    """A number would be lost or changed on its way into the table."""


def required(holder: dict[str, Any], key: str, kind: type, known: list[str] | None = None) -> Any:
    """The value under a key that must be there and of that kind."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    if key not in holder:
        raise EventRefused(key, "is missing", known=known)
    if not isinstance(holder[key], kind):
        raise EventRefused(key, f"is {kinds.get(type(holder[key]), 'a number')}, not {kinds[kind]}", known=known)
    return holder[key]


# Numbers: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
OUT_OF_RANGE = "is outside DynamoDB's range, which is 1E-130 to 9.99...E+125, positive or negative"
# DynamoDB returns 1e39 as a one with 39 zeros.  boto3 counts the zeros, and raises Rounded for more than 38 digits: the
# item could no longer be read or listed.  Refusing it in create would not help with items that others wrote.
# https://github.com/boto/boto3/issues/2500 and https://github.com/boto/boto3/issues/4693
DYNAMODB_CONTEXT.traps[Rounded] = False  # a digit that is not zero still raises Inexact


def storable(text: str) -> int | Decimal:
    """A number of a JSON text as boto3 takes it: an int if it is whole, else a Decimal.  boto3 takes no float."""
    try:
        number = Decimal(text)
        if not number.is_finite():
            raise NumberRefused("number", "is NaN or infinite, which neither JSON nor DynamoDB has", given=text)
        if number == 0:
            return 0  # DynamoDB has no -0.0
        number = DYNAMODB_CONTEXT.normalize(number)  # drops zeros at the end, as DynamoDB does
    except (InvalidOperation, Overflow, Underflow):
        raise NumberRefused("number", OUT_OF_RANGE, given=text) from None
    except Inexact:
        raise NumberRefused("number", "has more significant digits than the 38 of DynamoDB", given=text) from None
    if not -130 <= number.adjusted() <= 125:  # the exponent, if one digit stands before the point
        raise NumberRefused("number", OUT_OF_RANGE, given=text)
    return int(number) if number == int(number) else number  # Limit must be an int; JSON does not tell 1 from 1.0


def json_value(value: Any) -> Any:
    """json.dumps calls this for what it does not know: the sets, binary values and Decimals that boto3 returns."""
    if isinstance(value, set):  # boto3's Binary cannot be compared, its bytes can
        return sorted(value, key=lambda member: bytes(member) if isinstance(member, Binary) else member)
    if isinstance(value, Binary):
        return base64.b64encode(bytes(value)).decode("ascii")
    if value == int(value):
        return int(value)
    if value == Decimal(repr(float(value))):
        return float(value)
    return str(value)  # a float has not enough digits for it
