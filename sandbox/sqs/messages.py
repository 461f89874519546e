"""The messages of standard queues.

moto keeps a queue's attributes, policy and tags; its messages are kept here. moto counts the whole queue three times
for each message that it delivers, so that a queue of a thousand is unusable, and it accepts old receipt handles, bodies
and attributes that SQS refuses.

What is accepted, and the messages of refusals, follow the API reference
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html) and, where it has no words, answers
of AWS that are quoted in public issue threads.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import itertools
import json
import re
import struct
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.protocol.refusals import Refused, Words
from sandbox.protocol.scope import last

# API_SendMessage.html, note: only characters of XML are allowed.
NOT_IN_A_MESSAGE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ATTRIBUTE_NAME = re.compile(r"[\w.-]{1,256}", re.ASCII)
ENTRY_ID = re.compile(r"[\w-]{1,80}", re.ASCII)

# Quotas: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
LARGEST_BATCH = 1024 * 1024
MOST_ENTRIES = 10
MOST_ATTRIBUTES = 10
LONGEST_DELAY = 900
LONGEST_VISIBILITY = 43_200
LONGEST_POLL = 20
PURGE_PAUSE = 60

SENDER = "AIDASANDBOXSANDBOX000"

LEGACY = "AWS.SimpleQueueService."
NO_QUEUE = Words(400, f"{LEGACY}NonExistentQueue", "The specified queue does not exist.")

Attributes = Mapping[str, Mapping[str, Any]]


def invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValue", message)


def invalid_value(name: str, value: object, reason: str) -> Refused:
    return invalid(f"Value {value} for parameter {name} is invalid. Reason: {reason}.")


def missing(name: str) -> Refused:
    return Refused(400, "MissingParameter", f"The request must contain the parameter {name}.")


class Definition(NamedTuple):
    """The attributes of a queue that its messages depend on; times in seconds."""

    arn: str
    visibility: int
    delay: int
    retention: int
    largest: int
    wait: int
    dead_letters: str | None
    most_receives: int

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Definition:
        """From the answer of GetQueueAttributes."""
        redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
        return cls(
            attributes["QueueArn"],
            int(attributes.get("VisibilityTimeout", 30)),
            int(attributes.get("DelaySeconds", 0)),
            int(attributes.get("MessageRetentionPeriod", 345_600)),
            int(attributes.get("MaximumMessageSize", LARGEST_BATCH)),
            int(attributes.get("ReceiveMessageWaitTimeSeconds", 0)),
            redrive.get("deadLetterTargetArn"),
            int(redrive.get("maxReceiveCount", 0)),
        )


@dataclass
class Message:
    """One message; times in seconds since 1970."""

    id: str
    body: str
    attributes: Attributes
    system_attributes: Attributes
    group: str | None
    sent: float
    visible: float
    receives: int = 0
    first_received: float = 0.0
    # The last one; it still deletes the message after that has become visible again.
    handle: str = ""
    source: str | None = None


@dataclass
class Contents:
    """The messages of one queue.

    ``ready`` has the ids of visible messages, and ``due`` has the others, delayed or in flight: when they become
    visible, a number that keeps the order, and the id. Entries of messages that are gone are skipped.
    """

    messages: dict[str, Message] = field(default_factory=dict)
    ready: deque[str] = field(default_factory=deque)
    due: list[tuple[float, int, str]] = field(default_factory=list)
    purged: float = 0.0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def put(self, message: Message, now: float) -> None:
        self.messages[message.id] = message
        self.hide(message, now)

    def hide(self, message: Message, now: float) -> None:
        """Put it into ``ready``, or into ``due`` until it is visible."""
        if message.visible <= now:
            self.ready.append(message.id)
        else:
            heapq.heappush(self.due, (message.visible, next(self.numbers), message.id))

    def wake(self, now: float) -> None:
        """Move what has become visible to ``ready``."""
        while self.due and self.due[0][0] <= now:
            visible, _, identity = heapq.heappop(self.due)
            message = self.messages.get(identity)
            # Each change of its visibility has its own entry.
            if message is not None and message.visible == visible:
                self.ready.append(identity)

    def expire(self, oldest: float) -> None:
        """Remove what was sent before ``oldest``; ``messages`` is nearly in the order of sending."""
        while self.messages and next(iter(self.messages.values())).sent < oldest:
            del self.messages[next(iter(self.messages))]

    def counts(self, now: float) -> dict[str, str]:
        self.wake(now)
        hidden = [bool(message.handle) for message in self.messages.values() if message.visible > now]
        flying = sum(hidden)
        return {
            "ApproximateNumberOfMessages": str(len(self.messages) - len(hidden)),
            "ApproximateNumberOfMessagesDelayed": str(len(hidden) - flying),
            "ApproximateNumberOfMessagesNotVisible": str(flying),
        }


class Messages:
    """Answers the calls about messages.

    ``lock`` is the lock of all calls to moto's SQS, ``exists`` tells whether a queue has that ARN, ``clock`` returns
    seconds since 1970. ``arrival`` is notified when a message may have become visible.
    """

    def __init__(
        self, lock: threading.RLock, exists: Callable[[str], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self.arrival = threading.Condition(lock)
        self._exists = exists
        self._clock = clock
        # Called for every message that comes or goes, with the queue's ARN; see :mod:`sandbox.state`.
        self.kept: Callable[[str, Message], None] = lambda arn, message: None
        self.dropped: Callable[[str, str | None], None] = lambda arn, identity: None
        self._queues: dict[str, Contents] = {}
        self._operations: dict[str, Callable[[Definition, Mapping[str, Any]], dict[str, Any]]] = {
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            "PurgeQueue": self._purge,
        }

    def does(self, action: str) -> bool:
        return action in self._operations

    def answer(self, action: str, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        """The result, with the names of the API model. Raises Refused."""
        with self.arrival:
            return self._operations[action](queue, given)

    def counts(self, arn: str) -> dict[str, str]:
        """The three approximate numbers of GetQueueAttributes; exact here."""
        with self.arrival:
            return self._contents(arn).counts(self._clock())

    def forget(self, arn: str) -> None:
        with self.arrival:
            self._queues.pop(arn, None)
            self.arrival.notify_all()

    def restore(self, arn: str, message: Message) -> None:
        """Put back a message from the journal, visible when its delay is over."""
        with self.arrival:
            self._contents(arn).put(message, self._clock())

    def remove(self, arn: str, identity: str | None) -> None:
        """Remove one message of the queue, or all."""
        with self.arrival:
            there = self._contents(arn).messages
            there.pop(identity, None) if identity is not None else there.clear()

    def _contents(self, arn: str) -> Contents:
        return self._queues.setdefault(arn, Contents())

    # Sending

    def _send(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        check_message(given, queue.largest)
        return self._put(queue, given)

    def _send_batch(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        entries = checked_entries("SendMessage", given)
        weight = sum(weight_of(entry) for entry in entries)
        if weight > LARGEST_BATCH:
            said = f"Batch requests cannot be longer than {LARGEST_BATCH} bytes. You have sent {weight} bytes."
            raise Refused(400, f"{LEGACY}BatchRequestTooLong", said)
        return one_by_one(entries, lambda entry: self._send(queue, entry))

    def _put(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        now = self._clock()
        if given.get("MessageDeduplicationId") is not None:
            raise invalid_value(
                "MessageDeduplicationId",
                given["MessageDeduplicationId"],
                "The request include parameter that is not valid for this queue type",
            )
        reason = f"DelaySeconds must be >= 0 and <= {LONGEST_DELAY}"
        delay = whole(given, "DelaySeconds", queue.delay, range(LONGEST_DELAY + 1), reason)
        message = Message(
            str(uuid.uuid4()),
            given["MessageBody"],
            dict(given.get("MessageAttributes") or {}),
            dict(given.get("MessageSystemAttributes") or {}),
            given.get("MessageGroupId"),
            now,
            now + delay,
        )
        self._contents(queue.arn).put(message, now)
        self.kept(queue.arn, message)
        self.arrival.notify_all()
        sent = {"MessageId": message.id, "MD5OfMessageBody": md5(message.body.encode())}
        if message.attributes:
            sent["MD5OfMessageAttributes"] = md5_of_attributes(message.attributes)
        if message.system_attributes:
            sent["MD5OfMessageSystemAttributes"] = md5_of_attributes(message.system_attributes)
        return sent

    # Receiving

    def _receive(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        reason = f"Must be between 1 and {MOST_ENTRIES}, if provided"
        most = whole(given, "MaxNumberOfMessages", 1, range(1, MOST_ENTRIES + 1), reason)
        reason = f"Must be >= 0 and <= {LONGEST_POLL}, if provided"
        wait = whole(given, "WaitTimeSeconds", queue.wait, range(LONGEST_POLL + 1), reason)
        visibility = visibility_of(given, queue.visibility)
        system = {*names(given, "AttributeNames"), *names(given, "MessageSystemAttributeNames")}
        wanted = names(given, "MessageAttributeNames")
        ends = self._clock() + wait
        contents = self._contents(queue.arn)
        while True:
            now = self._clock()
            if self._queues.get(queue.arn) is not contents:
                raise Refused(*NO_QUEUE)  # deleted while this call waited
            taken = self._take(queue, contents, most, now + visibility)
            if taken or now >= ends:
                break
            upcoming = contents.due[0][0] - now if contents.due else ends - now
            self.arrival.wait(max(0.001, min(upcoming, ends - now)))
        return {"Messages": [shape(message, system, wanted) for message in taken]} if taken else {}

    def _take(self, queue: Definition, contents: Contents, most: int, hidden_until: float) -> list[Message]:
        now = self._clock()
        contents.expire(now - queue.retention)
        contents.wake(now)
        taken: list[Message] = []
        # With a visibility timeout of 0 a message is ready at once, but not twice in one answer.
        for _ in range(len(contents.ready)):
            if len(taken) == most:
                break
            message = contents.messages.get(contents.ready.popleft())
            if message is None or message.visible > now:
                continue
            if queue.most_receives and message.receives >= queue.most_receives and self._bury(queue, message, now):
                del contents.messages[message.id]
                self.dropped(queue.arn, message.id)
                continue
            message.receives += 1
            message.first_received = message.first_received or now
            message.handle = handle_for(queue.arn, message.id)
            message.visible = hidden_until
            taken.append(message)
        for message in taken:
            contents.hide(message, now)
        return taken

    def _bury(self, queue: Definition, message: Message, now: float) -> bool:
        """Move it to the dead-letter queue. False if that has been deleted; the message stays then."""
        if queue.dead_letters is None or not self._exists(queue.dead_letters):
            return False
        message.visible, message.source, message.handle = now, queue.arn, ""
        self._contents(queue.dead_letters).put(message, now)
        self.kept(queue.dead_letters, message)
        self.arrival.notify_all()
        return True

    # What has been received

    def _delete(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        contents, handle, message = self._held(queue, given)
        # "otherwise, the request succeeds, but the message will not be deleted" (API_DeleteMessage.html, ReceiptHandle)
        if message is not None and message.handle == handle:
            del contents.messages[message.id]
            self.dropped(queue.arn, message.id)
        return {}

    def _delete_batch(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        return one_by_one(checked_entries("DeleteMessage", given), lambda entry: self._delete(queue, entry))

    def _change_visibility(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("VisibilityTimeout") is None:
            raise missing("VisibilityTimeout")
        visibility = visibility_of(given, 0)
        contents, handle, message = self._held(queue, given)
        now = self._clock()
        contents.wake(now)
        if message is None or message.handle != handle or message.visible <= now:
            raise invalid_value(
                "ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change"
            )
        message.visible = now + visibility
        contents.hide(message, now)
        self.arrival.notify_all()
        return {}

    def _change_visibility_batch(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        entries = checked_entries("ChangeMessageVisibility", given)
        return one_by_one(entries, lambda entry: self._change_visibility(queue, entry))

    def _held(self, queue: Definition, given: Mapping[str, Any]) -> tuple[Contents, str, Message | None]:
        handle = given.get("ReceiptHandle")
        if not handle:
            raise missing("ReceiptHandle")
        identity = message_of(str(handle), queue.arn)
        if identity is None:
            words = f'The input receipt handle "{handle}" is not a valid receipt handle.'
            raise Refused(400, "ReceiptHandleIsInvalid", words)
        contents = self._contents(queue.arn)
        return contents, str(handle), contents.messages.get(identity)

    def _purge(self, queue: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
        contents, now = self._contents(queue.arn), self._clock()
        if now < contents.purged + PURGE_PAUSE:
            name = last(queue.arn, ":")
            words = f"Only one PurgeQueue operation on {name} is allowed every {PURGE_PAUSE} seconds."
            raise Refused(403, f"{LEGACY}PurgeQueueInProgress", words)
        contents.messages.clear()
        contents.purged = now
        self.dropped(queue.arn, None)
        return {}


def shape(message: Message, system: Iterable[str], wanted: Iterable[str]) -> dict[str, Any]:
    """A received message with the attributes that were asked for."""
    shaped: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": message.handle,
        "MD5OfBody": md5(message.body.encode()),
        "Body": message.body,
    }
    known = {
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
        "ApproximateReceiveCount": str(message.receives),
        "SenderId": SENDER,
        "SentTimestamp": str(int(message.sent * 1000)),
    }
    if message.group is not None:
        known["MessageGroupId"] = message.group
    if message.source is not None:
        known["DeadLetterQueueSourceArn"] = message.source
    if "AWSTraceHeader" in message.system_attributes:
        known["AWSTraceHeader"] = message.system_attributes["AWSTraceHeader"].get("StringValue", "")
    asked = {name: value for name, value in known.items() if "All" in system or name in system}
    if asked:
        shaped["Attributes"] = asked
    chosen = {name: value for name, value in message.attributes.items() if matches(name, wanted)}
    if chosen:
        shaped["MessageAttributes"] = chosen
        shaped["MD5OfMessageAttributes"] = md5_of_attributes(chosen)
    return shaped


def matches(name: str, wanted: Iterable[str]) -> bool:
    """MessageAttributeNames: names, All, .*, or the beginning of names as in ``bar.*`` (API_ReceiveMessage.html)."""
    return any(
        one in ("All", ".*", name) or (one.endswith(".*") and name.startswith(one.removesuffix(".*"))) for one in wanted
    )


# A receipt handle names the message and is different each time; to a client it is opaque.


def handle_for(arn: str, identity: str) -> str:
    return base64.b64encode(f"{uuid.uuid4()} {arn} {identity}".encode()).decode()


def message_of(handle: str, arn: str) -> str | None:
    """The id of the handle's message; None if it is not a handle of this queue."""
    try:
        parts = base64.b64decode(handle, validate=True).decode().split(" ")
    except ValueError:
        return None
    return parts[2] if len(parts) == 3 and parts[1] == arn else None


# Parameters


def whole(given: Mapping[str, Any], name: str, otherwise: int, allowed: range, reason: str) -> int:
    """A whole number in the allowed range. Raises Refused with the reason, in AWS's words, where it is outside."""
    value = given.get(name)
    if value is None:
        return otherwise
    if isinstance(value, str):
        with suppress(ValueError):
            value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_value(name, value, "Must be an integer")
    if value not in allowed:
        raise invalid_value(name, value, reason)
    return value


def visibility_of(given: Mapping[str, Any], otherwise: int) -> int:
    reason = f"Must be between 0 and {LONGEST_VISIBILITY}, if provided"
    return whole(given, "VisibilityTimeout", otherwise, range(LONGEST_VISIBILITY + 1), reason)


def names(given: Mapping[str, Any], parameter: str) -> list[str]:
    listed = given.get(parameter) or []
    return [str(name) for name in listed] if isinstance(listed, list) else []


def checked_entries(operation: str, given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a batch. Raises Refused for too many, none, or a wrong or repeated id."""
    entries = given.get("Entries") or []
    if not entries:
        words = f"There should be at least one {operation}BatchRequestEntry in the request."
        raise Refused(400, f"{LEGACY}EmptyBatchRequest", words)
    if len(entries) > MOST_ENTRIES:
        words = f"Maximum number of entries per request are {MOST_ENTRIES}. You have sent {len(entries)}."
        raise Refused(400, f"{LEGACY}TooManyEntriesInBatchRequest", words)
    seen: set[str] = set()
    for entry in entries:
        identity = str(entry.get("Id") or "")
        if not ENTRY_ID.fullmatch(identity):
            words = (
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long."
            )
            raise Refused(400, f"{LEGACY}InvalidBatchEntryId", words)
        if identity in seen:
            raise Refused(400, f"{LEGACY}BatchEntryIdsNotDistinct", f"Id {identity} repeated.")
        seen.add(identity)
    return list(entries)


def one_by_one(
    entries: Iterable[Mapping[str, Any]], act: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """The answer to a batch: the result or the refusal of each entry."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            done.append({"Id": entry["Id"], **act(entry)})
        except Refused as refused:
            words = refused.words
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": words.code, "Message": words.message})
    return {"Successful": done, **({"Failed": failed} if failed else {})}


def check_message(given: Mapping[str, Any], largest: int) -> None:
    """Raise Refused for a message that SQS would not accept in any queue."""
    body = given.get("MessageBody")
    if not body:
        raise missing("MessageBody")
    if not isinstance(body, str):
        raise invalid_value("MessageBody", body, "Must be a string")
    if unsound := NOT_IN_A_MESSAGE.search(body):
        words = (
            f"Invalid binary character '#x{ord(unsound[0]):X}' was found in the message body, the set of allowed "
            "characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        )
        raise Refused(400, "InvalidMessageContents", words)
    attributes = given.get("MessageAttributes") or {}
    check_attributes(attributes)
    check_system_attributes(given.get("MessageSystemAttributes") or {})
    if len(attributes) > MOST_ATTRIBUTES:
        raise invalid(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MOST_ATTRIBUTES}]."
        )
    if weight_of(given) > largest:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {largest} bytes.")


def check_attributes(attributes: object) -> None:
    """Names and types are those of the developer guide, sqs-message-metadata."""
    if not isinstance(attributes, dict):
        raise invalid("The message attributes must be a map.")
    for name, value in attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise invalid(
                f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, "
                "underscore (_), hyphen (-), and period (.) characters."
            )
        kind = value.get("DataType") if isinstance(value, dict) else None
        if not isinstance(kind, str) or not kind:
            raise invalid(f"The message attribute '{name}' must contain a non-empty message attribute type.")
        base = kind.partition(".")[0]
        if base not in ("String", "Number", "Binary"):
            raise invalid(
                f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
                "prefixes is Binary, Number, and String."
            )
        content = value.get("BinaryValue" if base == "Binary" else "StringValue")
        if not isinstance(content, str) or not content:
            raise invalid(
                f"The message attribute '{name}' must contain a non-empty message attribute value for message "
                f"attribute type '{kind}'."
            )
        try:
            if base == "Binary":
                base64.b64decode(content, validate=True)
            elif base == "Number":
                float(content)
        except ValueError as error:  # binascii.Error is one
            numeric = f"Can't cast the value of message (user) attribute '{name}' to a number."
            other = f"The message attribute '{name}' has a value that is not base64."
            raise invalid(numeric if base == "Number" else other) from error


def check_system_attributes(attributes: object) -> None:
    """Only AWSTraceHeader, a string, can be sent (API_SendMessage.html, MessageSystemAttributes)."""
    check_attributes(attributes)
    assert isinstance(attributes, dict)
    for name, value in attributes.items():
        if name != "AWSTraceHeader" or value["DataType"] != "String":
            raise invalid(f"Message system attribute name '{name}' is invalid or its type is not String.")


def weight_of(message: Mapping[str, Any]) -> int:
    """Bytes that count towards the quota: the body, and each attribute's name, type and value."""
    weight = len(str(message.get("MessageBody") or "").encode("utf-8", "replace"))
    attributes = message.get("MessageAttributes")
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, dict):
            weight += len(str(name).encode()) + sum(len(str(one).encode()) for one in value.values())
    return weight


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Attributes) -> str:
    """The digest of sqs-message-metadata: sorted names, each with type and value, lengths in four bytes."""
    digest = b""
    for name in sorted(attributes):
        kind = str(attributes[name]["DataType"])
        binary = kind.partition(".")[0] == "Binary"
        value = attributes[name]["BinaryValue" if binary else "StringValue"]
        content = base64.b64decode(value) if binary else value.encode()
        digest += with_length(name.encode()) + with_length(kind.encode())
        digest += (b"\x02" if binary else b"\x01") + with_length(content)
    return md5(digest)


def with_length(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data
