"""SQS: what AWS refuses when a queue is defined, and what moto's queues forget.

SetQueueAttributes changes the attributes that it names and leaves the others
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html); moto drops the
access policy whenever a call does not name it, and takes any value for nearly every attribute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from sandbox.backend import Backend, BackendError
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import AMZ_JSON, Words
from sandbox.protocol.scope import as_list, last

# API_SetQueueAttributes.html: the least and the most of each.
RANGES = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
BOOLEANS = ("ContentBasedDeduplication", "FifoQueue", "SqsManagedSseEnabled")
OTHERS = (
    "DeduplicationScope",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "RedrivePolicy",
)
SETTABLE = {*RANGES, *BOOLEANS, *OTHERS}
READABLE = SETTABLE | {
    "All", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed", "CreatedTimestamp",
    "ApproximateNumberOfMessagesNotVisible", "LastModifiedTimestamp", "QueueArn",
}  # fmt: skip

# The actions that an access policy can name (Service Authorization Reference, Amazon SQS).
ACTIONS = {
    "addpermission", "cancelmessagemovetask", "changemessagevisibility", "createqueue", "deletemessage",
    "deletequeue", "getqueueattributes", "getqueueurl", "listdeadlettersourcequeues", "listmessagemovetasks",
    "listqueues", "listqueuetags", "purgequeue", "receivemessage", "removepermission", "sendmessage",
    "setqueueattributes", "startmessagemovetask", "tagqueue", "untagqueue",
}  # fmt: skip
ROLE = re.compile(r"arn:[\w-]+:iam::\d{12}:(role|user)/(.+)")
ACCOUNT_PRINCIPAL = re.compile(r"\*|\d{12}|arn:[\w-]+:iam::\d{12}:root|arn:[\w-]+:sts::\d{12}:assumed-role/.+")
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
MOST_RECEIVES = 1000


def invalid_attribute(name: str) -> Words:
    return Words(400, "InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def invalid_redrive(text: str, reason: str) -> Words:
    # The code and these reasons are the ones that other emulators recorded on AWS.
    return Words(400, "InvalidParameterValue", f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}")


class Queues:
    """In front of moto's SQS; `handle` returns None for all that moto does right by itself."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handle(self, operation: Operation) -> Response | Words | None:
        words = self._refused(operation)
        if words is not None or operation.name != "SetQueueAttributes" or operation.protocol != "json":
            return words
        return self._with_policy(operation)

    def _refused(self, operation: Operation) -> Words | None:
        if operation.name == "GetQueueAttributes":
            names = operation.parameters.get("AttributeNames")
            return self._unknown(names if isinstance(names, list) else [], READABLE)
        attributes = operation.parameters.get("Attributes")
        if operation.name not in ("CreateQueue", "SetQueueAttributes") or not isinstance(attributes, dict):
            return None
        words = self._unknown(attributes, SETTABLE)
        if words is None and operation.name == "CreateQueue":
            words = self._differs(operation.queue, attributes, operation.region)
        for name, value in attributes.items():
            words = words or self._unfit(name, str(value), operation.region)
        return words

    def _unknown(self, names: Any, known: set[str]) -> Words | None:
        wrong = next((str(name) for name in names if name not in known), None)
        return None if wrong is None else Words(400, "InvalidAttributeName", f"Unknown Attribute {wrong}.")

    def _unfit(self, name: str, value: str, region: str) -> Words | None:
        if name in RANGES:
            least, most = RANGES[name]
            fits = re.fullmatch(r"\d{1,9}", value) is not None and least <= int(value) <= most
            return None if fits else invalid_attribute(name)
        if name in BOOLEANS:
            return None if value.lower() in ("true", "false") else invalid_attribute(name)
        if name == "Policy" and value:
            return None if self._is_policy(value) else invalid_attribute(name)
        if name == "RedrivePolicy" and value:
            return self._redrive(value, region)
        return None

    def _differs(self, name: str, attributes: Mapping[str, Any], region: str) -> Words | None:
        """CreateQueue of a queue that is there is refused where a given attribute has another value."""
        there = self._attributes(name, "All", region)
        for one, value in attributes.items():
            if there and one in RANGES and there.get(one) != str(value):
                said = f"A queue already exists with the same name and a different value for attribute {one}"
                return Words(400, "QueueAlreadyExists", said)
        return None

    def _is_policy(self, text: str) -> bool:
        """Whether SQS takes it: every way to be wrong has the same words."""
        try:
            document = json.loads(text)
        except ValueError:
            return False
        statements = as_list(document.get("Statement")) if isinstance(document, dict) else []
        return bool(statements) and all(self._is_statement(one) for one in statements)

    def _is_statement(self, statement: Any) -> bool:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            return False
        if not {"Resource", "NotResource"} & set(statement):
            return False
        actions = [str(one).lower() for one in as_list(statement.get("Action", statement.get("NotAction")))]
        known = all(one == "*" or re.fullmatch(r"(sqs:)?([\w*?]+)", one) for one in actions)
        named = [one.removeprefix("sqs:") for one in actions if "*" not in one and "?" not in one]
        if not actions or not known or not set(named) <= ACTIONS:
            return False
        principal = statement.get("Principal", statement.get("NotPrincipal"))
        if isinstance(principal, dict) and principal:
            return all(
                kind != "AWS" or self._is_identity(str(one)) for kind, who in principal.items() for one in as_list(who)
            )
        return principal == "*"

    def _is_identity(self, principal: str) -> bool:
        """An account, or a role or user that is there: SQS asks IAM for its unique id."""
        found = ROLE.fullmatch(principal)
        if found is None:
            return ACCOUNT_PRINCIPAL.fullmatch(principal) is not None
        if found[1] == "role":
            return self._backend.role_id(principal) is not None
        return bool(self._backend.iam("GetUser", "Arn", {"UserName": last(found[2], "/")}))

    def _redrive(self, text: str, region: str) -> Words | None:
        try:
            policy = json.loads(text)
        except ValueError:
            policy = None
        if not isinstance(policy, dict):
            return invalid_redrive(text, "Redrive policy is not a valid JSON map.")
        if not policy:
            return None
        for name in ("deadLetterTargetArn", "maxReceiveCount"):
            if name not in policy:
                return invalid_redrive(text, f"Redrive policy does not contain mandatory attribute: {name}.")
        most = str(policy["maxReceiveCount"])
        if not re.fullmatch(r"\d{1,4}", most) or not 1 <= int(most) <= MOST_RECEIVES:
            said = (
                f"Invalid value for maxReceiveCount: {most}, valid values are from 1 to {MOST_RECEIVES} both inclusive."
            )
            return invalid_redrive(text, said)
        target = str(policy["deadLetterTargetArn"])
        if not self._attributes(last(target, ":"), "QueueArn", region):
            return invalid_redrive(text, "Dead letter target does not exist.")
        return None

    def _attributes(self, queue: str, name: str, region: str) -> dict[str, str]:
        """Of a queue; nothing where there is none."""
        asked = {"QueueUrl": f"http://sqs/{queue}", "AttributeNames": [name]}
        try:
            answer = self._backend.sqs("GetQueueAttributes", asked, region=region)
        except BackendError:
            return {}
        return dict(answer.get("Attributes") or {})

    def _with_policy(self, operation: Operation) -> Response | None:
        """SetQueueAttributes with the access policy that it does not name."""
        attributes = operation.parameters.get("Attributes")
        if not isinstance(attributes, dict) or "Policy" in attributes:
            return None
        policy = self._attributes(operation.queue, "Policy", operation.region).get("Policy")
        if not policy:
            return None
        asked = {**operation.parameters, "Attributes": {**attributes, "Policy": policy}}
        answer = self._backend.call(
            "sqs",
            "POST",
            "/",
            headers={"Content-Type": AMZ_JSON, "X-Amz-Target": "AmazonSQS.SetQueueAttributes"},
            body=json.dumps(asked).encode(),
            region=operation.region,
        )
        return Response(answer.body, status=answer.status, headers=dict(answer.headers))
