"""SQS in front of moto: both protocols, our messages, moto's queues.

Every request to SQS comes through here, a client's and those that our own layers make, so that all meet the same
messages. One lock is held while moto or the messages are asked; a long poll lets go of it while it waits.
"""

from __future__ import annotations

import copy
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from sandbox.protocol.operations import Operation, in_order, json_object, nested
from sandbox.protocol.refusals import AMZ_JSON, XML_NAMESPACES, Words, last, refusal
from sandbox.protocol.scope import DEFAULT_REGION, credential_scope
from sandbox.sqs.messages import (
    LONGEST_POLL,
    NO_QUEUE,
    Definition,
    Messages,
    Refused,
    check_message,
    checked_entries,
    missing,
)

if TYPE_CHECKING:
    Served = tuple[int, list[tuple[str, str]], bytes]
    Environ = dict[str, Any]

# How long a long poll of a FIFO queue sleeps at most before it looks again: messages also become visible without
# anybody sending one, and moto does not announce that.
FIFO_LOOK = 0.2

READS = ("GetQueueAttributes", "GetQueueUrl", "ListQueues", "ListQueueTags", "ListDeadLetterSourceQueues")
MOVES = ("StartMessageMoveTask", "CancelMessageMoveTask", "ListMessageMoveTasks")
SENDS = ("SendMessage", "SendMessageBatch")

# What the query protocol calls the lists of the JSON protocol; the second ones are maps of Name to Value.
LISTS = {
    "AttributeName": "AttributeNames",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "SendMessageBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
}
MAPS = {
    "Attribute": "Attributes",
    "MessageAttribute": "MessageAttributes",
    "MessageSystemAttribute": "MessageSystemAttributes",
}
# The elements of its answers.
ELEMENTS = {"Messages": "Message", "Failed": "BatchResultErrorEntry"}

ROLE_ARN = re.compile(r'"(arn:[\w-]+:iam::\d{12}:role/[^"]+)"')
COUNT = re.compile(rb"<Name>(ApproximateNumberOfMessages\w*)</Name>(\s*)<Value>\d+</Value>")


class Sqs:
    """``moto`` answers one request (a WSGI environ); ``lock`` guards it and must be reentrant; ``role_id`` tells the
    unique id of the role that an ARN names now.

    ``definitions`` are kept until a call that may change one; they are told by access key, Region and queue, as the
    account hangs on the key.
    """

    def __init__(
        self,
        moto: Callable[[Environ], Served],
        lock: threading.RLock,
        announce: Callable[[], None],
        role_id: Callable[[str], str | None],
    ) -> None:
        self._moto = moto
        self._lock = lock
        self._announce = announce
        self._role_id = role_id
        # By queue: the roles that its access policy named when it was set, with their unique ids then.
        self._named: dict[str, dict[str, str]] = {}
        self._definitions: dict[tuple[str, str, str], Definition] = {}
        self._arns: dict[str, bool] = {}
        self.messages = Messages(lock, self._exists)

    def serve(self, environ: Environ, body: bytes) -> Served:
        asked = Asked(environ, body)
        try:
            if asked.action in MOVES:
                words = f"The sandbox has no {asked.action} of sqs."
                return asked.refuse(Words(501, "NotImplementedException", words))
            if self.messages.does(asked.action):
                return self._on_messages(asked)
            return self._on_queues(asked)
        except Refused as refused:
            return asked.refuse(refused.words)

    def _on_messages(self, asked: Asked) -> Served:
        if not asked.queue:
            raise missing("QueueUrl")
        with self._lock:
            queue = self._definition(asked)
            if queue is None:
                raise Refused(NO_QUEUE)
            if not queue.fifo:
                answer = self.messages.answer(asked.action, queue, asked.parameters)
        if queue.fifo:
            return self._on_fifo(asked, queue)
        if asked.action in SENDS:
            self._announce()
        return asked.answer(answer)

    def _on_fifo(self, asked: Asked, queue: Definition) -> Served:
        if asked.action == "SendMessage":
            check_message(asked.parameters, queue.largest)
        elif asked.action == "SendMessageBatch":
            for entry in checked_entries("SendMessage", asked.parameters):
                check_message(entry, queue.largest)
        deadline = time.monotonic()
        if asked.action == "ReceiveMessage":
            wait = asked.parameters.get("WaitTimeSeconds", queue.wait)
            if str(wait).isdecimal() and int(wait) <= LONGEST_POLL:
                deadline += int(wait)
                asked = asked.without_waiting()
        while True:
            with self._lock:
                served = self._moto(asked.environ_again())
            if asked.action in SENDS:
                with self.messages.arrival:
                    self.messages.arrival.notify_all()
                self._announce()
            left = deadline - time.monotonic()
            if left <= 0 or served[0] != 200 or b"ReceiptHandle" in served[2]:
                return served
            with self.messages.arrival:
                self.messages.arrival.wait(min(left, FIFO_LOOK))

    def _on_queues(self, asked: Asked) -> Served:
        with self._lock:
            queue = self._definition(asked) if asked.action in ("DeleteQueue", "GetQueueAttributes") else None
            served = self._moto(asked.environ_again())
            if asked.action not in READS:
                self._definitions.clear()
                self._arns.clear()
            if served[0] != 200:
                return served
            if asked.action in ("CreateQueue", "SetQueueAttributes"):
                self._remember(asked)
            if queue is None:
                return served
            if asked.action == "DeleteQueue":
                self._named.pop(queue.arn, None)
                self.messages.forget(queue.arn)
                return served
            if asked.by_json:
                served = self._with_principals(served, queue.arn)
            return served if queue.fifo else with_counts(served, self.messages.counts(queue.arn), asked.by_json)

    # AWS keeps a role in a policy by its unique id, and shows that once the role is gone, also when another of its
    # name has come (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).

    def _remember(self, asked: Asked) -> None:
        attributes = asked.parameters.get("Attributes")
        policy = attributes.get("Policy") if isinstance(attributes, dict) else None
        queue = self._definition(asked.about(str(asked.parameters.get("QueueName") or asked.queue)))
        if policy is None or queue is None:
            return
        ids = {arn: self._role_id(arn) for arn in ROLE_ARN.findall(str(policy))}
        self._named[queue.arn] = {arn: identity for arn, identity in ids.items() if identity}

    def _with_principals(self, served: Served, arn: str) -> Served:
        gone = {one: identity for one, identity in self._named.get(arn, {}).items() if self._role_id(one) != identity}
        answered = json.loads(served[2] or b"{}")
        policy = (answered.get("Attributes") or {}).get("Policy")
        if not gone or not policy:
            return served
        for one, identity in gone.items():
            policy = policy.replace(f'"{one}"', f'"{identity}"')
        answered["Attributes"]["Policy"] = policy
        return (
            served[0],
            [one for one in served[1] if one[0].lower() != "content-length"],
            json.dumps(answered).encode(),
        )

    def _definition(self, asked: Asked) -> Definition | None:
        key = (asked.operation.access_key, asked.operation.region, asked.queue)
        if key not in self._definitions:
            attributes = self._attributes(asked)
            if attributes is None:
                return None
            self._definitions[key] = Definition.of(attributes)
        return self._definitions[key]

    def _attributes(self, asked: Asked) -> dict[str, str] | None:
        """The queue's, in the caller's account; None where there is no such queue."""
        wanted = json.dumps({"QueueUrl": f"http://sqs/{asked.queue}", "AttributeNames": ["All"]}).encode()
        environ = {
            **asked.environ,
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "RAW_URI": "/",
            "REQUEST_URI": "/",
            "QUERY_STRING": "",
            "CONTENT_TYPE": AMZ_JSON,
            "CONTENT_LENGTH": str(len(wanted)),
            "HTTP_X_AMZ_TARGET": "AmazonSQS.GetQueueAttributes",
            "wsgi.input": io.BytesIO(wanted),
        }
        status, _, body = self._moto(environ)
        return dict(json.loads(body)["Attributes"]) if status == 200 else None

    def _exists(self, arn: str) -> bool:
        """Whether a dead-letter queue is there; it is in the account and Region of its source."""
        if arn not in self._arns:
            _, _, _, region, account, name = arn.split(":")
            header = f"AWS4-HMAC-SHA256 Credential=sandbox/20260101/{region}/sqs/aws4_request, Signature=0"
            environ = {"HTTP_AUTHORIZATION": header, "HTTP_HOST": f"sqs.{region}.amazonaws.com", **BARE}
            asked = Asked({**environ, "PATH_INFO": f"/{account}/{name}"}, b"")
            self._arns[arn] = self._attributes(asked) is not None
        return self._arns[arn]


BARE: Environ = {
    "SCRIPT_NAME": "",
    "REQUEST_METHOD": "POST",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": io.StringIO(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


class Asked:
    """One request to SQS, read in either protocol.

    ``parameters`` go by the JSON protocol's names; ``queue`` is the name at the end of the queue's URL, which the
    query protocol may have in the path instead.
    """

    def __init__(self, environ: Environ, body: bytes) -> None:
        self.environ = environ
        self.body = body
        target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
        self.by_json = bool(target)
        if self.by_json:
            self.action = target.rpartition(".")[2]
            self.parameters: Mapping[str, Any] = json_object(body)
        else:
            form = body.decode("utf-8", "replace") or str(environ.get("QUERY_STRING", ""))
            fields = dict(parse_qsl(form, keep_blank_values=True))
            self.action = fields.get("Action", "")
            self.parameters = renamed(nested(fields))
        url = self.parameters.get("QueueUrl")
        self.queue = last(url if isinstance(url, str) and url else str(environ.get("PATH_INFO", "")), "/")
        scope = credential_scope(str(environ.get("HTTP_AUTHORIZATION", "")))
        region, key = (scope.region, scope.access_key) if scope else (DEFAULT_REGION, "")
        self.operation = Operation("sqs", self.action, self.parameters, region, key)

    def environ_again(self) -> Environ:
        """For one more asking of moto, which reads the body to its end."""
        return {**self.environ, "wsgi.input": io.BytesIO(self.body), "CONTENT_LENGTH": str(len(self.body))}

    def about(self, queue: str) -> Asked:
        """The same caller, about another queue."""
        other = copy.copy(self)
        other.queue = queue
        return other

    def without_waiting(self) -> Asked:
        if self.by_json:
            body = json.dumps({**self.parameters, "WaitTimeSeconds": 0}).encode()
        else:
            fields = dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
            body = urlencode({**fields, "WaitTimeSeconds": "0"}).encode()
        return Asked(self.environ, body)

    def answer(self, result: Mapping[str, Any]) -> Served:
        request_id = str(uuid.uuid4())
        if self.by_json:
            headers = [("Content-Type", AMZ_JSON), ("x-amzn-RequestId", request_id)]
            return 200, headers, json.dumps(result).encode()
        inside = "".join(element(self.action, name, value) for name, value in result.items())
        inside = f"<{self.action}Result>{inside}</{self.action}Result>" if inside else ""
        text = (
            f'<?xml version="1.0"?><{self.action}Response xmlns="{XML_NAMESPACES["sqs"]}">{inside}'
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{self.action}Response>"
        )
        return 200, [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], text.encode()

    def refuse(self, words: Words) -> Served:
        from werkzeug.wrappers import Request

        response = refusal(Request(self.environ), self.operation, words)
        return response.status_code, list(response.headers.items()), response.get_data()


def renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A form's parameters by the JSON protocol's names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if name in LISTS and isinstance(value, dict):
            found[LISTS[name]] = [renamed(one) if isinstance(one, dict) else one for one in in_order(value)]
        elif name in MAPS and isinstance(value, dict):
            pairs = [one for one in in_order(value) if isinstance(one, dict)]
            found[MAPS[name]] = {str(one.get("Name", "")): one.get("Value") for one in pairs}
        else:
            found[name] = value
    return found


def element(action: str, name: str, value: Any) -> str:
    """One member of a result as the query protocol writes it: lists flattened, maps as Name and Value."""
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


def with_counts(served: Served, counts: Mapping[str, str], by_json: bool) -> Served:
    """moto's answer of GetQueueAttributes with our numbers in the place of its own."""
    status, headers, body = served
    if by_json:
        answered = json.loads(body or b"{}")
        attributes = answered.get("Attributes") or {}
        attributes.update({name: value for name, value in counts.items() if name in attributes})
        body = json.dumps(answered).encode()
    else:

        def number(found: re.Match[bytes]) -> bytes:
            value = counts[found[1].decode()].encode()
            return b"<Name>" + found[1] + b"</Name>" + found[2] + b"<Value>" + value + b"</Value>"

        body = COUNT.sub(number, body)
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    return status, [*kept, ("Content-Length", str(len(body)))], body
