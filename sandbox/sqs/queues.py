"""SQS: what AWS refuses when a queue is created or changed, and what moto forgets.

SetQueueAttributes changes the attributes that it names and leaves the others
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html); moto drops the
access policy if a call does not name it, and accepts any value for nearly every attribute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Response

from sandbox.backend import Backend, BackendError
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused
from sandbox.protocol.scope import as_list, last

# API_SetQueueAttributes.html: minimum and maximum of each.
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
    "DeduplicationScope", "FifoThroughputLimit", "KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy",
)  # fmt: skip
SETTABLE = {*RANGES, *BOOLEANS, *OTHERS}

# The actions that an access policy can name (Service Authorization Reference, Amazon SQS).
ACTIONS = {
    "addpermission", "cancelmessagemovetask", "changemessagevisibility", "createqueue", "deletemessage",
    "deletequeue", "getqueueattributes", "getqueueurl", "listdeadlettersourcequeues", "listmessagemovetasks",
    "listqueues", "listqueuetags", "purgequeue", "receivemessage", "removepermission", "sendmessage",
    "setqueueattributes", "startmessagemovetask", "tagqueue", "untagqueue",
}  # fmt: skip
ACCOUNT_PRINCIPAL = re.compile(r"\*|\d{12}|arn:[\w-]+:iam::\d{12}:root|arn:[\w-]+:sts::\d{12}:assumed-role/.+")
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
MOST_RECEIVES = 1000


def invalid_attribute(name: str) -> Refused:
    return Refused(400, "InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def invalid_redrive(text: str, reason: str) -> Refused:
    # The code and these reasons are the ones that other emulators recorded on AWS.
    said = f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
    return Refused(400, "InvalidParameterValue", said)


class Queues:
    """In front of moto's SQS."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handle(self, operation: Operation) -> Response | None:
        """The answer to SetQueueAttributes if it needs the policy, else None. Raises Refused and NotSimulated."""
        if operation.name == "CreateQueue" and operation.queue.endswith(".fifo"):
            raise NotSimulated("The sandbox has no FIFO queues.")
        if operation.name == "CreateQueue":
            self._check_same_tags(operation)
        attributes = operation.parameters.get("Attributes")
        if operation.name not in ("CreateQueue", "SetQueueAttributes") or not isinstance(attributes, dict):
            return None
        for name in attributes:
            if name not in SETTABLE:
                raise Refused(400, "InvalidAttributeName", f"Unknown Attribute {name}.")
        if operation.name == "CreateQueue":
            self._check_same(operation.queue, attributes, operation.region)
        for name, value in attributes.items():
            self._check_value(name, str(value), operation.region)
        by_json = operation.name == "SetQueueAttributes" and operation.protocol == "json"
        return self._with_policy(operation, attributes) if by_json else None

    def _check_value(self, name: str, value: str, region: str) -> None:
        fits = True
        if name in RANGES:
            least, most = RANGES[name]
            fits = re.fullmatch(r"\d{1,9}", value) is not None and least <= int(value) <= most
        elif name in BOOLEANS:
            fits = value.lower() in ("true", "false")
        elif name == "Policy" and value:
            fits = self._is_policy(value)
        elif name == "RedrivePolicy" and value:
            self._check_redrive(value, region)
        if not fits:
            raise invalid_attribute(name)

    def _check_same(self, name: str, attributes: Mapping[str, Any], region: str) -> None:
        """CreateQueue of an existing queue is refused if a given attribute has another value there."""
        there = self._attributes(name, "All", region)
        for one, value in attributes.items():
            if there and one in RANGES and there.get(one) != str(value):
                said = f"A queue already exists with the same name and a different value for attribute {one}"
                raise Refused(400, "QueueAlreadyExists", said)

    def _check_same_tags(self, operation: Operation) -> None:
        """CreateQueue never tags an existing queue anew; it is refused. https://github.com/Bogdanp/dramatiq_sqs/pull/13

        AWS's words are not known.
        """
        tags = operation.parameters.get("tags")
        asked = {"QueueUrl": f"http://sqs/{operation.queue}"}
        if not isinstance(tags, dict) or not self._attributes(operation.queue, "QueueArn", operation.region):
            return
        if self._backend.json("sqs", "ListQueueTags", asked, region=operation.region).get("Tags", {}) != tags:
            raise Refused(400, "QueueAlreadyExists", "A queue already exists with the same name and different tags")

    def _is_policy(self, text: str) -> bool:
        """Whether SQS accepts it; it refuses every kind of mistake in the same words."""
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
        """Whether it is an account, or a role or user that exists: SQS asks IAM for its unique id."""
        return ACCOUNT_PRINCIPAL.fullmatch(principal) is not None or self._backend.exists(principal)

    def _check_redrive(self, text: str, region: str) -> None:
        try:
            policy = json.loads(text)
        except ValueError:
            policy = None
        if not isinstance(policy, dict):
            raise invalid_redrive(text, "Redrive policy is not a valid JSON map.")
        if not policy:
            return
        for name in ("deadLetterTargetArn", "maxReceiveCount"):
            if name not in policy:
                raise invalid_redrive(text, f"Redrive policy does not contain mandatory attribute: {name}.")
        most = str(policy["maxReceiveCount"])
        if not re.fullmatch(r"\d{1,4}", most) or not 1 <= int(most) <= MOST_RECEIVES:
            said = f"valid values are from 1 to {MOST_RECEIVES} both inclusive."
            raise invalid_redrive(text, f"Invalid value for maxReceiveCount: {most}, {said}")
        if not self._attributes(last(str(policy["deadLetterTargetArn"]), ":"), "QueueArn", region):
            raise invalid_redrive(text, "Dead letter target does not exist.")

    def _attributes(self, queue: str, name: str, region: str) -> dict[str, str]:
        """Attributes of a queue; empty if there is no such queue."""
        asked = {"QueueUrl": f"http://sqs/{queue}", "AttributeNames": [name]}
        try:
            return dict(self._backend.json("sqs", "GetQueueAttributes", asked, region=region).get("Attributes") or {})
        except BackendError:
            return {}

    def _with_policy(self, operation: Operation, attributes: Mapping[str, Any]) -> Response | None:
        """SetQueueAttributes with the present access policy, if the call does not give one."""
        policy = self._attributes(operation.queue, "Policy", operation.region).get("Policy")
        if "Policy" in attributes or not policy:
            return None
        asked = {**operation.parameters, "Attributes": {**attributes, "Policy": policy}}
        return self._backend.forward(replace(operation, body=json.dumps(asked).encode(), parameters=asked))
