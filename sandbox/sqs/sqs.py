"""SQS in front of moto: both protocols, our messages, moto's queues.

Every request to SQS comes through here, a client's or our own, so that all have the same messages. One lock is held
while moto or the messages are read or changed; a long poll releases it while it waits.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sandbox.protocol.operations import Operation, environ_again
from sandbox.protocol.refusals import AMZ_JSON, XML_NAMESPACES, Refused, answer, refusal
from sandbox.protocol.scope import Scope, environ_of, signed
from sandbox.sqs.messages import NO_QUEUE, Definition, Messages, missing

Environ = dict[str, Any]

READS = ("GetQueueAttributes", "GetQueueUrl", "ListQueues", "ListQueueTags", "ListDeadLetterSourceQueues")
SENDS = ("SendMessage", "SendMessageBatch")

# The XML elements of lists in its answers.
ELEMENTS = {"Messages": "Message", "Failed": "BatchResultErrorEntry"}

ROLE_ARN = re.compile(r'"(arn:[\w-]+:iam::\d{12}:role/[^"]+)"')
COUNT = re.compile(rb"<Name>(ApproximateNumberOfMessages\w*)</Name>(\s*)<Value>\d+</Value>")


class Sqs:
    """``moto`` answers one request (a WSGI environ, and whether it may change a queue); ``lock`` guards it and must be
    reentrant; ``role_id`` returns the unique id of the role that an ARN names now.

    Definitions of queues are kept until a call may have changed one, by access key, Region and queue: the account
    depends on the key.
    """

    def __init__(
        self,
        moto: Callable[[Environ, bool], Response],
        lock: threading.RLock,
        announce: Callable[[], None],
        role_id: Callable[[str], str | None],
    ) -> None:
        self._moto = moto
        self._lock = lock
        self._announce = announce
        self._role_id = role_id
        # By queue: the roles in its access policy, with the unique ids that they had when the policy was set.
        self._named: dict[str, dict[str, str]] = {}
        self._definitions: dict[tuple[str, str, str], Definition] = {}
        self._arns: dict[str, bool] = {}
        self.messages = Messages(lock, self._exists)

    def serve(self, operation: Operation) -> Response:
        try:
            return self._on_messages(operation) if self.messages.does(operation.name) else self._on_queues(operation)
        except Refused as refused:
            return refusal(operation, refused.words)

    def _on_messages(self, operation: Operation) -> Response:
        if not operation.queue:
            raise missing("QueueUrl")
        with self._lock:
            queue = self._definition(operation, operation.queue)
            if queue is None:
                raise Refused(*NO_QUEUE)
            result = self.messages.answer(operation.name, queue, operation.parameters)
        if operation.name in SENDS:
            self._announce()
        return answered(operation, result)

    def _on_queues(self, operation: Operation) -> Response:
        name = operation.name
        with self._lock:
            asks = name in ("DeleteQueue", "GetQueueAttributes")
            queue = self._definition(operation, operation.queue) if asks else None
            served = self._moto(environ_again(operation), name not in READS)
            if name not in READS:
                self._definitions.clear()
                self._arns.clear()
            if served.status_code != 200:
                return served
            if name in ("CreateQueue", "SetQueueAttributes"):
                self._remember(operation)
            if queue is None:
                return served
            if name == "DeleteQueue":
                self._named.pop(queue.arn, None)
                self.messages.forget(queue.arn)
                return served
            by_json = operation.protocol == "json"
            if by_json:
                self._show_principals(served, queue.arn)
            put_counts(served, self.messages.counts(queue.arn), by_json)
            return served

    # AWS stores a role in a policy by its unique id, and shows that once the role is deleted, even if another role has
    # its name (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).

    def _remember(self, operation: Operation) -> None:
        attributes = operation.parameters.get("Attributes")
        policy = attributes.get("Policy") if isinstance(attributes, dict) else None
        queue = self._definition(operation, operation.queue)
        if policy is None or queue is None:
            return
        ids = {arn: self._role_id(arn) for arn in ROLE_ARN.findall(str(policy))}
        self._named[queue.arn] = {arn: identity for arn, identity in ids.items() if identity}

    def _show_principals(self, served: Response, arn: str) -> None:
        gone = {one: identity for one, identity in self._named.get(arn, {}).items() if self._role_id(one) != identity}
        body = json.loads(served.get_data() or b"{}")
        policy = (body.get("Attributes") or {}).get("Policy")
        if not gone or not policy:
            return
        for one, identity in gone.items():
            policy = policy.replace(f'"{one}"', f'"{identity}"')
        body["Attributes"]["Policy"] = policy
        served.set_data(json.dumps(body))

    def _definition(self, operation: Operation, queue: str) -> Definition | None:
        key = (operation.access_key, operation.region, queue)
        if key not in self._definitions:
            attributes = self._attributes(*key)
            if attributes is None:
                return None
            self._definitions[key] = Definition.of(attributes)
        return self._definitions[key]

    def _attributes(self, access_key: str, region: str, queue: str) -> dict[str, str] | None:
        """The queue's attributes in the caller's account; None if there is no such queue."""
        wanted = json.dumps({"QueueUrl": f"http://sqs/{queue}", "AttributeNames": ["All"]}).encode()
        headers = {
            "Host": f"sqs.{region}.amazonaws.com",
            "Authorization": signed(Scope(access_key, region, "sqs")),
            "Content-Type": AMZ_JSON,
            "X-Amz-Target": "AmazonSQS.GetQueueAttributes",
        }
        served = self._moto(environ_of("POST", "/", headers.items(), wanted), False)
        return dict(json.loads(served.get_data())["Attributes"]) if served.status_code == 200 else None

    def _exists(self, arn: str) -> bool:
        """Whether a dead-letter queue exists; it is in the account and Region of its source."""
        if arn not in self._arns:
            _, _, _, region, _, name = arn.split(":")
            self._arns[arn] = self._attributes("sandbox", region, name) is not None
        return self._arns[arn]


def answered(operation: Operation, result: Mapping[str, Any]) -> Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    if operation.protocol == "json":
        return answer(200, json.dumps(result), AMZ_JSON, headers)
    action = operation.name
    inside = "".join(element(action, name, value) for name, value in result.items())
    inside = f"<{action}Result>{inside}</{action}Result>" if inside else ""
    text = (
        f'<?xml version="1.0"?><{action}Response xmlns="{XML_NAMESPACES["sqs"]}">{inside}<ResponseMetadata>'
        f"<RequestId>{headers['x-amzn-RequestId']}</RequestId></ResponseMetadata></{action}Response>"
    )
    return answer(200, text, "text/xml", headers)


def element(action: str, name: str, value: Any) -> str:
    """One member of a result in the query protocol: lists are flattened, maps have Name and Value."""
    if name == "Attributes":
        return "".join(
            f"<Attribute><Name>{escape(one)}</Name><Value>{escape(text)}</Value></Attribute>"
            for one, text in value.items()
        )
    if name == "MessageAttributes":
        return "".join(
            f"<MessageAttribute><Name>{escape(one)}</Name><Value>"
            + "".join(element(action, key, part) for key, part in content.items())
            + "</Value></MessageAttribute>"
            for one, content in value.items()
        )
    if isinstance(value, list):
        tag = ELEMENTS.get(name, f"{action}ResultEntry")
        inner = ["".join(element(action, key, part) for key, part in one.items()) for one in value]
        return "".join(f"<{tag}>{text}</{tag}>" for text in inner)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"


def put_counts(served: Response, counts: Mapping[str, str], by_json: bool) -> None:
    """Replace the numbers in moto's answer to GetQueueAttributes by ours."""
    if by_json:
        body = json.loads(served.get_data() or b"{}")
        attributes = body.get("Attributes") or {}
        attributes.update({name: value for name, value in counts.items() if name in attributes})
        served.set_data(json.dumps(body))
        return

    def number(found: re.Match[bytes]) -> bytes:
        value = counts[found[1].decode()].encode()
        return b"<Name>" + found[1] + b"</Name>" + found[2] + b"<Value>" + value + b"</Value>"

    served.set_data(COUNT.sub(number, served.get_data()))
