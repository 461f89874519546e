"""The function behind the API and behind the queue: six operations on one DynamoDB table.

An event is a JSON object with up to three keys:

    {"operation": "create", "tableName": "name", "payload": {"Item": {"id": "1", "name": "Bob"}}}

operation   create, read, delete, list, echo or ping.
tableName   for create, read, delete and list: the table to work on.
payload     for those four: an object with the arguments of the DynamoDB call.  For echo: any JSON value.

A fourth key, trace, changes nothing: its value is logged, so that a request can be followed by it.

It arrives in one of two ways.

Directly, from API Gateway or from the console's Test button.  The caller waits, and what
`lambda_handler` returns is the answer.  An exception becomes {"errorMessage": ..., "errorType": ...},
which API Gateway's non-proxy integration delivers with status 200: whoever calls looks at the body.

Through the queue.  Lambda fetches messages from SQS and hands them over as a batch: {"Records": [...]},
each record carrying one event as text in its "body".  Nobody waits for an answer, so read, list, echo
and ping are of no use there; the answer tells Lambda only which messages have to be tried again.

Numbers.  Python turns the JSON number 0.1 into a float, which is the nearest binary fraction and not
one tenth.  DynamoDB counts in decimal, up to 38 significant digits, and boto3 accepts no float at all.
So every number becomes an int or a Decimal on its way in.  On the way out, JSON knows neither Decimal
nor sets nor bytes:

    number, whole                        -> JSON number without a fraction
    number with a fraction               -> JSON number, if a Python float prints with just these digits
    any other number                     -> string of all its digits, such as "0.12345678901234567890123"
    set                                  -> array, sorted
    binary                               -> string, base64

A message from the queue keeps all its digits, as its text is parsed here.  A direct event was parsed
by Lambda's own runtime before this code saw it: of a number with a fraction, 15 to 17 digits remain.
DynamoDB knows no minus zero; it is stored as 0.

Formats: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from functools import cache
from typing import Any

import boto3
from boto3.dynamodb.types import DYNAMODB_CONTEXT, Binary
from botocore.exceptions import ClientError

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # unless told, a logger asks the root logger, and Lambda sets that to WARNING


@cache
def dynamodb() -> Any:
    """boto3's DynamoDB resource, made once and kept for every later invocation.

    Lambda keeps a Python process (an execution environment) alive and sends it one event after another.
    Region, credentials and endpoint come from the environment, where Lambda puts them.
    """
    return boto3.resource("dynamodb")


# Making the resource reads large files and takes a large part of a second on a small function.  Lambda
# allows 10 seconds for importing this module, but here only 3 for an invocation; so it is made now.
# Elsewhere (a test, a laptop without a Region) importing this file must not need AWS, and it waits.
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    dynamodb()


# --- the operations --------------------------------------------------------------------------------

# In these, `payload` becomes keyword arguments: {"Key": {"id": "1"}} calls table.get_item(Key={"id": "1"}).
# put_item replaces what has the same key.  That makes create safe to repeat, which the queue relies on.
TABLE_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "create": lambda table, payload: table.put_item(**payload),
    "read": lambda table, payload: table.get_item(**payload),
    "delete": lambda table, payload: table.delete_item(**payload),
    "list": lambda table, payload: table.scan(**payload),  # one page; LastEvaluatedKey: there are more
}

OTHER_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "echo": lambda payload: payload,
    "ping": lambda payload: "pong",
}

KNOWN_OPERATIONS = (*TABLE_OPERATIONS, *OTHER_OPERATIONS)

PAYLOAD_EXAMPLES = {
    "create": '{"Item": {"id": "1", "name": "Bob"}}',
    "read": '{"Key": {"id": "1"}}',
    "delete": '{"Key": {"id": "1"}}',
    "list": '{} or {"Limit": 10}',
}


def lambda_handler(event: Any, context: object) -> Any:
    """Where Lambda enters: one call per direct event, one call per batch from the queue."""
    if not isinstance(event, dict):
        raise EventRefused("event", f"is {json_kind(event)}, not an object")
    if "Records" in event:
        return run_batch(event)
    operation = event.get("operation")
    log.info("operation: %s", operation if operation in KNOWN_OPERATIONS else "none that is known")
    log_trace(event, "came directly")
    return run(event)


def log_trace(request: dict[str, Any], words: str) -> None:
    """A line for a request that bears a trace; what could forge or hide a line, or be content, is no trace."""
    trace = request.get("trace")
    if isinstance(trace, str) and len(trace) <= 64 and trace.replace("-", "").isalnum() and trace.isascii():
        log.info("%s %s", trace, words)


def times_of(record: dict[str, Any]) -> str:
    """When SQS took a message and Lambda first received it, in milliseconds since 1970, and which receive this is."""
    attributes = record.get("attributes")
    times = attributes if isinstance(attributes, dict) else {}
    sent, received = times.get("SentTimestamp"), times.get("ApproximateFirstReceiveTimestamp")
    return f"message sent {sent}, first received {received}, receive {times.get('ApproximateReceiveCount')}"


def run(request: dict[str, Any]) -> Any:
    """Carry out one request, whichever way it came, and return its answer ready for JSON."""
    operation = required(request, "operation", str, known=KNOWN_OPERATIONS)
    if operation in OTHER_OPERATIONS:
        payload = request.get("payload")
        with_each_number(finite, payload)
        return OTHER_OPERATIONS[operation](payload)
    if operation in TABLE_OPERATIONS:
        name = table_name(request)
        payload = table_payload(request, operation)
        table = dynamodb().Table(name)
        return json_ready(TABLE_OPERATIONS[operation](table, payload))
    raise EventRefused("operation", "is unknown", given=operation, known=KNOWN_OPERATIONS)


def table_name(request: dict[str, Any]) -> str:
    """The table asked for, if it is this deployment's.

    The deployment sets the environment variable TABLE_NAME.  The function's role allows that one table
    only; asking here gives a sentence in place of AccessDenied, and holds for a wider role as well.
    """
    served = os.environ.get("TABLE_NAME", "")
    known = [served] if served else []
    name: str = required(request, "tableName", str, known=known)
    if served and name != served:
        raise EventRefused("tableName", "is not this deployment's table", given=name, known=known)
    return name


def table_payload(request: dict[str, Any], operation: str) -> dict[str, Any]:
    """The arguments of the DynamoDB call, with numbers that DynamoDB can keep."""
    payload = required(request, "payload", dict, known=[f"{operation} takes {PAYLOAD_EXAMPLES[operation]}"])
    if "TableName" in payload:  # boto3 would let it win over the Table that it is called on
        raise EventRefused("payload", "must not have a TableName: tableName beside it names the table")
    arguments: dict[str, Any] = with_each_number(storable, payload)
    return arguments


# --- the queue's batches ---------------------------------------------------------------------------


def run_batch(event: dict[str, Any]) -> dict[str, Any]:
    """Carry out each message of a batch on its own, and report those that failed.

    If this raised an exception for one bad message, Lambda would take the whole batch for failed, and
    the good messages would come back with the bad one, again and again.  The report names the failed
    ones; Lambda deletes the rest from the queue.  It is heeded only because the trigger was made with
    FunctionResponseTypes=["ReportBatchItemFailures"].  A failed message becomes visible again after a
    while and is retried until the queue moves it to its dead-letter queue.

    SQS delivers at least once: a message may come twice, also after a success.  Nothing needs to be
    remembered for that, as every operation here may be repeated: create writes the same item under the
    same key, delete finds nothing left to delete.  (Order is not promised either: an old create that
    comes late replaces a newer one.)
    """
    failures = []
    records = sqs_records(event)
    for record in records:
        try:
            request = sqs_request(record)
            log_trace(request, times_of(record))
            run(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this message only
            log.error("message %r failed: %s", record["messageId"], reason_without_content(error))
            failures.append({"itemIdentifier": record["messageId"]})
    log.info("SQS batch: %d messages, %d failed", len(records), len(failures))
    return {"batchItemFailures": failures}


def sqs_records(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of an SQS batch; S3, SNS and others use the same outer shape and are refused whole."""
    records: list[dict[str, Any]] = required(event, "Records", list)
    for record in records:
        source = record.get("eventSource", "no source") if isinstance(record, dict) else json_kind(record)
        if source != "aws:sqs":
            raise EventRefused("Records", "do not come from SQS", given=source, known=["aws:sqs"])
        required(record, "messageId", str)
    return records


def sqs_request(record: dict[str, Any]) -> dict[str, Any]:
    """The request in a message's body, parsed so that no digit of a number is lost."""
    body = required(record, "body", str)
    try:
        request = json.loads(body, parse_float=decimal_from, parse_constant=not_a_number)
    except NumberRefused:
        raise
    except ValueError as error:
        raise EventRefused("body", f"is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise EventRefused("body", f"is {json_kind(request)}, not an object")
    return request


def reason_without_content(error: Exception) -> str:
    """Why a message failed, for the log, which more people read than the table.

    A message may hold personal data, and exceptions like to quote: botocore's parameter errors repeat
    the whole argument.  Our own reasons and AWS's say what is wrong; of others only the kind is told.
    """
    if isinstance(error, EventRefused):
        return error.reason
    if isinstance(error, ClientError):
        return str(error)
    return f"{type(error).__name__} (its text is left out, as it may quote the message)"


# --- numbers, sets and binary ----------------------------------------------------------------------

# DynamoDB's documented limits: 38 significant digits, 1E-130 up to (but not including) 1E+126.  A trap
# makes the context raise where it would otherwise round.
NUMBER_LIMITS = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, Overflow, Underflow, Subnormal])
OUT_OF_RANGE = "is outside DynamoDB's range, which is 1E-130 to 9.99...E+125, positive or negative"
TOO_MANY_DIGITS = "has more significant digits than the 38 that DynamoDB keeps"
NOT_FINITE = "is NaN or infinite, which neither JSON nor DynamoDB has"


def with_each_number(change: Callable[[Any], Any], value: Any) -> Any:
    """A copy of a JSON value with `change` applied to each number in it, however deep."""
    if isinstance(value, dict):
        return {key: with_each_number(change, member) for key, member in value.items()}
    if isinstance(value, list):
        return [with_each_number(change, member) for member in value]
    if isinstance(value, bool):  # to Python, True is an int as well
        return value
    if isinstance(value, (int, float, Decimal)):
        return change(value)
    return value


def finite(number: float | Decimal) -> float | Decimal:
    """The number as it is; NaN and the infinities, which Python's JSON parser lets pass, are refused."""
    if isinstance(number, float) and not math.isfinite(number):
        raise NumberRefused(NOT_FINITE, given=number)
    return number


def storable(number: float | Decimal) -> int | Decimal:
    """The number as an int or Decimal that DynamoDB keeps without a change, or NumberRefused.

    repr(0.1) is "0.1", the shortest text that means this float: the digits which the sender wrote.
    Decimal(0.1) would write the binary fraction in full, 0.1000000000000000055511151231257827...
    """
    number = finite(number)
    if isinstance(number, int) and abs(number) < 10**38:
        return number  # stays an int: arguments such as Limit must not be Decimal
    decimal = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    try:
        decimal = NUMBER_LIMITS.normalize(decimal)  # drops zeros at the end, which are no digits to lose
        DYNAMODB_CONTEXT.create_decimal(decimal)  # boto3's own limits are a little narrower near 1E-130
    except (Overflow, Underflow, Subnormal):
        raise NumberRefused(OUT_OF_RANGE, given=decimal) from None
    except Inexact:
        raise NumberRefused(TOO_MANY_DIGITS, given=decimal) from None
    return decimal if decimal else 0  # minus zero is a Decimal, too


def decimal_from(text: str) -> Decimal:
    """A JSON number with a fraction or an exponent; Decimal itself gives up at exponents of 19 digits."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise NumberRefused(OUT_OF_RANGE, given=text) from None


def not_a_number(text: str) -> float:
    """Python's JSON parser asks here about NaN, Infinity and -Infinity, which are no JSON."""
    raise NumberRefused(NOT_FINITE, given=text)


def json_ready(value: Any) -> Any:
    """An answer of boto3 with everything in it that JSON lacks put as the module's docstring says."""
    if isinstance(value, dict):
        return {key: json_ready(member) for key, member in value.items()}
    if isinstance(value, list):
        return [json_ready(member) for member in value]
    if isinstance(value, set):
        return [json_ready(member) for member in sorted(value, key=order)]
    if isinstance(value, (Binary, bytes, bytearray)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, Decimal):
        return json_number(value)
    return value


def json_number(number: Decimal) -> int | float | str:
    """An int or a float if that is the same number, digit by digit; else its digits as text."""
    if number == number.to_integral_value():
        return int(number)
    if Decimal(repr(float(number))) == number:
        return float(number)
    return str(number)


def order(member: Any) -> Any:
    """What a set's member is sorted by; boto3's Binary has no order of its own."""
    return bytes(member) if isinstance(member, Binary) else member


# --- what is wrong with an event -------------------------------------------------------------------


class EventRefused(ValueError):
    """The event asks for something that is not done; no call has been made for it.

    `key` is the part of the event that is wrong, `problem` how, `given` the value found there, `known`
    what would be accepted.  `reason` is the part of the sentence without the sender's own words.
    """

    def __init__(self, key: str, problem: str, given: object = None, known: Iterable[str] = ()) -> None:
        self.key = key
        self.problem = problem
        self.given = given
        self.known = tuple(known)
        self.reason = f"{key} {problem}"
        found = "" if given is None else f" (given: {shortened(given)})"
        accepted = f"; known: {', '.join(self.known)}" if self.known else ""
        super().__init__(self.reason + found + accepted)


class NumberRefused(EventRefused):
    """A number that would be lost or changed on its way into the table."""

    def __init__(self, problem: str, given: object) -> None:
        super().__init__("number", problem, given)


JSON_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}


def json_kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    return JSON_KINDS.get(type(value), "a number")


def required(holder: dict[str, Any], key: str, kind: type, known: Iterable[str] = ()) -> Any:
    """The value under a key that must be there and of that kind."""
    if key not in holder:
        raise EventRefused(key, "is missing", known=known)
    if not isinstance(holder[key], kind):
        raise EventRefused(key, f"is {json_kind(holder[key])}, not {JSON_KINDS[kind]}", known=known)
    return holder[key]


def shortened(value: object) -> str:
    """A value for an error message, on one line and not much of it."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
