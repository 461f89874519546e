"""Event source mappings: an SQS queue that invokes a function.

All of this is ours. moto's mappings deliver inside SendMessage, once, without retries or partial batches, and
SendMessage breaks when the function is gone. So moto never has a mapping.

What is polled, batched, deleted and left follows the Lambda guide, "Using Lambda with Amazon SQS" and its page on error
handling (services-sqs-errorhandling). Failed messages wait for the queue's visibility timeout, and go to the
dead-letter queue when they have been received often enough.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Response

from sandbox.backend import Backend, BackendError
from sandbox.lambda_.functions import Functions
from sandbox.lambda_.requests import NoSuchFunction, conflict, invalid
from sandbox.protocol.constraints import counted, input_of, of_value
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused, answer_json
from sandbox.protocol.scope import FunctionName, last

log = logging.getLogger(__name__)

QUEUE_ARN = re.compile(r"arn:[a-z-]+:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+")

# AWS starts with five pollers for a queue (Lambda guide, "Scaling behavior"); two are enough for two cores.
POLLERS = 2

# A sent message wakes the pollers; this is for those that become visible again or were delayed.
IDLE_SECONDS = 0.5

# One ReceiveMessage returns ten messages at most (SQS API reference).
LARGEST_RECEIVE = 10

# An event may be as large as the payload of a synchronous invocation; a record is larger than its message's body.
LARGEST_BATCH_BYTES = 5 * 1024 * 1024

# Lambda guide, "Configuring an SQS queue for use with Lambda": the execution role's three permissions.
ROLE_ACTIONS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")

# Parameters of CreateEventSourceMapping that belong to streams, Kafka, MQ and DocumentDB.
NOT_FOR_QUEUES = (
    "StartingPosition", "StartingPositionTimestamp", "ParallelizationFactor", "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError", "MaximumRetryAttempts", "TumblingWindowInSeconds", "Topics", "Queues",
    "SourceAccessConfigurations", "SelfManagedEventSource", "DestinationConfig",
)  # fmt: skip
NOT_HERE = ("FilterCriteria", "KMSKeyArn", "ProvisionedPollerConfig", "LoggingConfig")


@dataclass
class EventSourceMapping:
    """One mapping: its configuration, its state, and the threads that poll for it."""

    uuid: str
    queue_arn: str
    function: FunctionName
    batch_size: int = 10
    window: int = 0
    response_types: list[str] = field(default_factory=list)
    scaling: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    # The state during a change; None when it is done.
    passing: str | None = None
    reason: str = "USER_INITIATED"
    last_result: str = "No records processed"
    modified: float = field(default_factory=time.time)
    stopping: threading.Event = field(default_factory=threading.Event)
    pollers: list[threading.Thread] = field(default_factory=list)

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.function.region}:{self.function.account}:event-source-mapping:{self.uuid}"

    @property
    def function_arn(self) -> str:
        qualifier = f":{self.function.qualifier}" if self.function.qualifier else ""
        return self.function.arn + qualifier

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self.pollers)

    @property
    def state(self) -> str:
        return self.passing or ("Enabled" if self.enabled else "Disabled")

    def shape(self) -> dict[str, Any]:
        """EventSourceMappingConfiguration of the API model; LastModified is in seconds since 1970."""
        shaped: dict[str, Any] = {
            "UUID": self.uuid,
            "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": self.window,
            "EventSourceArn": self.queue_arn,
            "FunctionArn": self.function_arn,
            "LastModified": round(self.modified, 3),
            "LastProcessingResult": self.last_result,
            "State": self.state,
            "StateTransitionReason": self.reason,
            "FunctionResponseTypes": self.response_types,
            "EventSourceMappingArn": self.arn,
        }
        if self.scaling:
            shaped["ScalingConfig"] = self.scaling
        if self.metrics:
            shaped["MetricsConfig"] = self.metrics
        return shaped


class Mappings:
    """Answers the calls about mappings, and polls for them.

    Without ``polling`` nothing runs by itself: :meth:`pump` delivers one batch in the caller's thread.
    """

    def __init__(self, backend: Backend, functions: Functions, *, polling: bool = True) -> None:
        self._backend = backend
        self._functions = functions
        self._polling = polling
        self._guard = threading.RLock()
        self._shelf: dict[str, EventSourceMapping] = {}
        self._bell = threading.Condition()
        self._rung = 0
        backend.listen_for_messages(self._ring)
        functions.permissions.function_of_trigger = self._function_arn

    def go(self) -> None:
        """Poll from now on, also for the mappings that exist."""
        self._polling = True
        with self._guard:
            mappings = list(self._shelf.values())
        for mapping in mappings:
            self._engage(mapping)

    def stop(self) -> None:
        with self._guard:
            mappings = list(self._shelf.values())
        for mapping in mappings:
            mapping.stopping.set()
        self._ring()
        for mapping in mappings:
            for thread in mapping.pollers:
                thread.join(timeout=5)

    # The front's door

    def handle(self, operation: Operation) -> Response | None:
        region, identity = operation.region, operation.text("UUID")
        match operation.name:
            case "CreateEventSourceMapping":
                return answer_json(202, self._create(operation.parameters, region))
            case "ListEventSourceMappings":
                return answer_json(200, self._list(operation.parameters, region))
            case "GetEventSourceMapping":
                return answer_json(200, self._get(identity, region).shape())
            case "UpdateEventSourceMapping":
                return answer_json(202, self._update(self._get(identity, region), operation.parameters))
            case "DeleteEventSourceMapping":
                return answer_json(202, self._delete(self._get(identity, region)))
            case "ListTags" | "TagResource" | "UntagResource" if ":event-source-mapping:" in operation.text("Resource"):
                return self._tags(operation, self._get(last(operation.text("Resource"), ":"), region))
        return None

    def enabled(self) -> list[tuple[str, str]]:
        """UUID and Region of each mapping that is enabled."""
        with self._guard:
            return [(one.uuid, one.function.region) for one in self._shelf.values() if one.enabled]

    def _function_arn(self, uuid: str) -> str | None:
        """Of the function that this mapping invokes, or None if there is no such mapping."""
        mapping = self._shelf.get(uuid)
        return None if mapping is None else mapping.function.arn

    # Control plane

    def _create(self, wanted: Mapping[str, Any], region: str) -> dict[str, Any]:
        queue_arn = str(wanted.get("EventSourceArn") or "")
        function = FunctionName.parse(str(wanted.get("FunctionName") or ""), region)
        if QUEUE_ARN.fullmatch(queue_arn) is None:
            if re.match(r"arn:[a-z-]+:(?!sqs:)", queue_arn):
                raise NotSimulated("The sandbox maps SQS queues only.")
            raise invalid("Unrecognized event source.")
        mapping = EventSourceMapping(self._backend.uuid(), queue_arn, function)
        settings = settings_of(mapping, wanted)
        configuration = self._functions.find(str(wanted["FunctionName"]), region=region)
        self._check_source(queue_arn, configuration)
        vars(mapping).update(settings)
        tags = wanted.get("Tags") or {}
        mapping.tags = {str(key): str(value) for key, value in tags.items()}
        mapping.enabled = wanted.get("Enabled") is not False
        with self._guard:
            self._refuse_duplicate(mapping)
            self._shelf[mapping.uuid] = mapping
            answer = {**mapping.shape(), "State": "Creating"}
        self._engage(mapping)
        return answer

    def _update(self, mapping: EventSourceMapping, wanted: Mapping[str, Any]) -> dict[str, Any]:
        settings = settings_of(mapping, wanted)
        function = mapping.function
        if wanted.get("FunctionName"):
            function = FunctionName.parse(str(wanted["FunctionName"]), mapping.function.region)
        enabled = mapping.enabled if wanted.get("Enabled") is None else bool(wanted["Enabled"])
        configuration = self._functions.find(function.arn, region=function.region)
        self._check_source(mapping.queue_arn, configuration)
        with self._guard:
            if mapping.passing == "Deleting":
                said = "Cannot update the event source mapping because it is in use."
                raise Refused(400, "ResourceInUseException", said)
            if function != mapping.function:
                self._refuse_duplicate(EventSourceMapping(mapping.uuid, mapping.queue_arn, function))
            vars(mapping).update(settings)
            mapping.function = function
            changed = "Enabling" if enabled else "Disabling"
            passing = changed if enabled != mapping.enabled else "Updating"
            mapping.enabled = enabled
            mapping.reason = "USER_INITIATED"
            mapping.modified = time.time()
            answer = {**mapping.shape(), "State": passing}
        self._engage(mapping)
        return answer

    def _delete(self, mapping: EventSourceMapping) -> dict[str, Any]:
        with self._guard:
            mapping.passing = "Deleting"
            mapping.modified = time.time()
            mapping.stopping.set()
            answer = mapping.shape()
        self._ring()
        return answer

    def _get(self, identity: str, region: str) -> EventSourceMapping:
        with self._guard:
            self._sweep()
            mapping = self._shelf.get(identity)
        if mapping is None or mapping.function.region != region:
            raise Refused(404, "ResourceNotFoundException", "The resource you requested does not exist.")
        return mapping

    def _list(self, asked: Mapping[str, Any], region: str) -> dict[str, Any]:
        with self._guard:
            self._sweep()
            found = [one for one in self._shelf.values() if one.function.region == region]
        if asked.get("EventSourceArn"):
            found = [one for one in found if one.queue_arn == asked["EventSourceArn"]]
        if asked.get("FunctionName"):
            name = FunctionName.parse(asked["FunctionName"], region)
            try:
                self._functions.find(name.arn, region=region)
            except NoSuchFunction as error:
                # prowler-cloud/prowler#11228 has the words.
                raise invalid("Function does not exist") from error
            found = [one for one in found if one.function == name]
        try:
            first = int(asked.get("Marker") or 0)
            most = min(max(int(asked.get("MaxItems") or 100), 1), 100)
        except ValueError as error:
            raise invalid("Invalid pagination token or page size.") from error
        listed: dict[str, Any] = {"EventSourceMappings": [one.shape() for one in found[first : first + most]]}
        if len(found) > first + most:
            listed["NextMarker"] = str(first + most)
        return listed

    def _tags(self, operation: Operation, mapping: EventSourceMapping) -> Response:
        with self._guard:
            if operation.name == "ListTags":
                return answer_json(200, {"Tags": dict(mapping.tags)})
            if operation.name == "TagResource":
                given = operation.parameters.get("Tags") or {}
                mapping.tags.update({str(key): str(value) for key, value in given.items()})
            else:
                for key in operation.request.args.getlist("tagKeys"):
                    mapping.tags.pop(key, None)
        return answer_json(204)

    def _check_source(self, queue_arn: str, configuration: Mapping[str, Any]) -> None:
        """What Lambda checks before it accepts a queue: that it exists, may be read, and has a long enough timeout."""
        role = str(configuration.get("Role", ""))
        for action in ROLE_ACTIONS:
            if not self._functions.permissions.allows(role, f"sqs:{action}", queue_arn):
                raise invalid(f"The function execution role does not have permissions to call {action} on SQS")
        try:
            read = self._backend.of_queue("GetQueueAttributes", queue_arn, AttributeNames=["VisibilityTimeout"])
        except BackendError as error:
            if "NonExistentQueue" not in error.code and "QueueDoesNotExist" not in error.code:
                raise
            raise invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
                "SQS Error Message: The specified queue does not exist."
            ) from error
        visibility = int(read["Attributes"]["VisibilityTimeout"])
        timeout = int(configuration.get("Timeout") or 3)
        if visibility < timeout:
            raise invalid(
                f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
            )

    def _refuse_duplicate(self, mapping: EventSourceMapping) -> None:
        self._sweep()
        pair = (mapping.queue_arn, mapping.function_arn)
        for other in self._shelf.values():
            if other.uuid != mapping.uuid and (other.queue_arn, other.function_arn) == pair:
                raise conflict(
                    f'An event source mapping with SQS arn (" {mapping.queue_arn} ") and function '
                    f'(" {mapping.function.name} ") already exists. Please update or delete the existing mapping '
                    f"with UUID {other.uuid}"
                )

    def _sweep(self) -> None:
        """Remove the mappings whose deletion is complete: one is Deleting until its last batch is done."""
        gone = [one.uuid for one in self._shelf.values() if one.passing == "Deleting" and not one.busy]
        for identity in gone:
            del self._shelf[identity]

    # Polling

    def _engage(self, mapping: EventSourceMapping) -> None:
        """Start the pollers, or wake them: they read ``enabled`` before each receive."""
        with self._guard:
            if self._polling and mapping.enabled and not mapping.busy and not mapping.stopping.is_set():
                mapping.pollers = [
                    threading.Thread(
                        target=self._poll, args=(mapping, number), name=f"poller-{mapping.uuid[:8]}", daemon=True
                    )
                    for number in range(POLLERS)
                ]
                for thread in mapping.pollers:
                    thread.start()
        self._ring()

    def _poll(self, mapping: EventSourceMapping, number: int) -> None:
        seen = 0
        while not mapping.stopping.is_set():
            with self._bell:
                seen = self._rung
            try:
                received = self.pump(mapping.uuid) if mapping.enabled else 0
            except Exception:
                log.exception("a batch of %s could not be delivered", mapping.queue_arn)
                mapping.stopping.wait(1)
                continue
            if received:
                if received >= min(mapping.batch_size, LARGEST_RECEIVE):
                    self._ring()  # there may be more for the other poller
                continue
            with self._bell:
                # Only the first poller looks unless it is woken; the second would find nothing either.
                self._bell.wait_for(
                    lambda: self._rung != seen or mapping.stopping.is_set(),  # noqa: B023
                    timeout=IDLE_SECONDS if number == 0 else 5,
                )

    def _ring(self) -> None:
        with self._bell:
            self._rung += 1
            self._bell.notify_all()

    def pump(self, identity: str) -> int:
        """Receive one batch and deliver it; returns the number of messages. Without a function to invoke, or without
        permission to receive, the messages stay in the queue untouched."""
        with self._guard:
            mapping = self._shelf.get(identity)
        if mapping is None:
            return 0
        try:
            configuration = self._functions.find(mapping.function_arn, region=mapping.function.region)
        except NoSuchFunction:
            mapping.last_result = "PROBLEM: Function not found"
            return 0
        role = str(configuration.get("Role", ""))
        if not all(
            self._functions.permissions.allows(role, f"sqs:{action}", mapping.queue_arn) for action in ROLE_ACTIONS
        ):
            mapping.last_result = "PROBLEM: The function execution role may not read the queue"
            return 0
        try:
            messages = self._receive(mapping)
            if messages:
                self._deliver(mapping, messages)
        except BackendError as error:
            # The queue was deleted, or the call was refused; no message is lost.
            mapping.last_result = f"PROBLEM: {error.code or 'SQS refused'}"
            return 0
        return len(messages)

    def _receive(self, mapping: EventSourceMapping) -> list[dict[str, Any]]:
        """Up to a batch. A batching window begins with the first message, and receives what arrives until it ends."""
        gathered: list[dict[str, Any]] = []
        weight, closes = 0, 0.0
        while len(gathered) < mapping.batch_size and weight < LARGEST_BATCH_BYTES:
            with self._bell:
                seen = self._rung
            answered = self._backend.of_queue(
                "ReceiveMessage",
                mapping.queue_arn,
                MaxNumberOfMessages=min(LARGEST_RECEIVE, mapping.batch_size - len(gathered)),
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            )
            came = answered.get("Messages") or []
            gathered += came
            weight += sum(len(message.get("Body", "").encode()) for message in came)
            if not gathered or not mapping.window:
                return gathered
            closes = closes or time.monotonic() + mapping.window
            left = closes - time.monotonic()
            if left <= 0 or mapping.stopping.is_set():
                return gathered
            if not came:
                with self._bell:
                    self._bell.wait_for(
                        lambda: self._rung != seen or mapping.stopping.is_set(),  # noqa: B023
                        timeout=min(left, IDLE_SECONDS),
                    )
        return gathered

    def _deliver(self, mapping: EventSourceMapping, messages: list[dict[str, Any]]) -> None:
        event = {"Records": [record(message, mapping.queue_arn) for message in messages]}
        payload, region = json.dumps(event).encode(), mapping.function.region
        try:
            done = self._functions.invoke(mapping.function_arn, payload, region=region)
        except NoSuchFunction:
            mapping.last_result = "PROBLEM: Function not found"
            return
        except (Refused, NotSimulated):
            mapping.last_result = "PROBLEM: Function call failed"
            return
        if done.function_error:
            mapping.last_result = "PROBLEM: Function call failed"
            return
        sent = [message["MessageId"] for message in messages]
        failed = failures(done.payload, sent) if "ReportBatchItemFailures" in mapping.response_types else set()
        mapping.last_result = "OK" if not failed else "PROBLEM: Function reported failed items"
        settled = [message for message in messages if message["MessageId"] not in failed]
        for first in range(0, len(settled), LARGEST_RECEIVE):
            some = settled[first : first + LARGEST_RECEIVE]
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(some)]
            self._backend.of_queue("DeleteMessageBatch", mapping.queue_arn, Entries=entries)


def settings_of(mapping: EventSourceMapping, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a create or update sets, by the names of a mapping's fields. Raises Refused and NotSimulated."""
    for name in NOT_HERE:
        if wanted.get(name):
            raise NotSimulated(f"The sandbox has no {name} for event source mappings.")
    for name in NOT_FOR_QUEUES:
        if wanted.get(name) is not None:
            raise invalid(f"{name} is not valid for SQS event sources.")
    names = {
        "batch_size": "BatchSize",
        "window": "MaximumBatchingWindowInSeconds",
        "response_types": "FunctionResponseTypes",
        "scaling": "ScalingConfig",
        "metrics": "MetricsConfig",
    }
    given = {name: wanted[theirs] for name, theirs in names.items() if wanted.get(theirs) is not None}
    members = input_of("lambda", "CreateEventSourceMapping").members
    for name in ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes"):
        for said in of_value(members[name], wanted.get(name), "lambda", name[0].lower() + name[1:]):
            raise invalid(counted([said]))
    size, window = (int(given.get(name, getattr(mapping, name))) for name in ("batch_size", "window"))
    if size > 10 and not window:
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
    concurrency = given.get("scaling", {}).get("MaximumConcurrency")
    if concurrency is not None and not 2 <= int(concurrency) <= 1000:
        raise invalid("MaximumConcurrency must be between 2 and 1000.")
    return {**given, "batch_size": size, "window": window}


def record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """One message in the shape of an SQS event (Lambda guide, with-sqs)."""
    shaped: dict[str, Any] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message.get("Body", ""),
        "attributes": message.get("Attributes") or {},
        "messageAttributes": {
            name: message_attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    if message.get("MD5OfMessageAttributes"):
        shaped["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return shaped


def message_attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    shaped: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value.get("DataType")}
    if value.get("StringValue") is not None:
        shaped["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        shaped["binaryValue"] = value["BinaryValue"]
    return shaped


def failures(payload: bytes, sent: list[str]) -> set[str]:
    """The ids of the messages that a partial batch response leaves in the queue: none, some, or all of them.

    Complete success: an empty or null response or list. Complete failure: a response that is no JSON, an empty or
    null identifier, another key than itemIdentifier, an id that was not sent (services-sqs-errorhandling,
    "Success and failure conditions").
    """
    everything = set(sent)
    try:
        answered = json.loads(payload) if payload.strip() else None
    except ValueError:
        return everything
    if answered is None or answered == {}:
        return set()
    if not isinstance(answered, dict):
        return everything
    listed = answered.get("batchItemFailures")
    if listed is None or listed == []:
        # A response about other things reports no failures.
        return set()
    if not isinstance(listed, list):
        return everything
    failed: set[str] = set()
    for entry in listed:
        identifier = entry.get("itemIdentifier") if isinstance(entry, dict) else None
        if not isinstance(identifier, str) or identifier not in everything:
            return everything
        failed.add(identifier)
    return failed
