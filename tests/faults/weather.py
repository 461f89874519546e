"""What can go wrong with a request: the kinds of fault, and how each looks to boto3.

A kind is what happens to one request; some also say what happens to the ones after it. The words are those of AWS
as far as they are known, since the program recognises some errors by their words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from provision.aws.operations import READS
from tests.faults.account import URL, Body
from tests.faults.world import Clock, Sent

QUERY = frozenset({"iam", "sts"})


def is_read(sent: Sent) -> bool:
    return sent.operation in READS.get(sent.service, frozenset())


def refusal(sent: Sent, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Any:
    """An error as the service spells it."""
    if sent.is_post:
        return status, json.dumps({"message": message})
    if sent.service in QUERY:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>00000000-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
        ).encode()
        return AWSResponse(URL, status, {"Content-Type": "text/xml", **(headers or {})}, Body(body))
    short = code.rpartition(".")[2]
    answered = {"Content-Type": "application/json", "x-amzn-errortype": short, **(headers or {})}
    if sent.service == "sqs":
        answered["x-amzn-query-error"] = f"{code};Sender"
    body = json.dumps({"__type": short, "message": message}).encode()
    return AWSResponse(URL, status, answered, Body(body))


def throttle(sent: Sent) -> Any:
    code = {
        "iam": "Throttling",
        "sts": "Throttling",
        "sqs": "RequestThrottled",
        "lambda": "TooManyRequestsException",
        "apigateway": "TooManyRequestsException",
    }.get(sent.service, "ThrottlingException")
    return refusal(sent, 429 if sent.service in ("lambda", "apigateway", "http") else 400, code, "Rate exceeded")


def cut(sent: Sent, answer: Any, part: Callable[[bytes], bytes]) -> Any:
    if sent.is_post:
        status, text = answer
        return status, part(text.encode()).decode("utf-8", "replace")
    body = part(answer.content)
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    return AWSResponse(URL, answer.status_code, headers, Body(body))


def lost(sent: Sent, error: Exception) -> Any:
    """No answer: an exception of botocore, or for the Invoke URL what the program makes of urllib's."""
    if sent.is_post:
        return 0, str(error)
    raise error


# The error of eventual consistency that an operation meets: status, code, message, and seconds that it lasts. From
# AWS's documentation and field reports; the message is what a reason to wait is recognised by.
ROLE = (400, "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", 12)
UPDATING = (
    409,
    "ResourceConflictException",
    "The operation cannot be performed at this time. An update is in progress for resource: "
    "arn:aws:lambda:us-east-1:123456789012:function:POC-Lambda-1",
    8,
)
NOT_VISIBLE = (404, "NotFoundException", "Invalid API identifier specified 123456789012:abcdefghij", 4)
QUOTA = (429, "TooManyRequestsException", "Too Many Requests", 31)
NO_SUCH_ENTITY = (404, "NoSuchEntity", "The entity cannot be found.", 4)
IN_TRANSIT = (
    400,
    "ResourceInUseException",
    "Cannot delete the event source mapping because it is in use.",
    8,
)
ABORTED = (
    400,
    "OperationAbortedException",
    "A conflicting operation is currently in progress against this resource. Please try again.",
    4,
)
BUSY_TABLE = (
    400,
    "ResourceInUseException",
    "Attempt to change a resource which is still in use: Table is being updated: name",
    8,
)
EVENTUAL: dict[str, dict[str, tuple[int, str, str, float]]] = {
    "iam": {
        "AttachRolePolicy": NO_SUCH_ENTITY,
        "UpdateAssumeRolePolicy": (409, "EntityTemporarilyUnmodifiable", "The role is being modified. Try later.", 4),
        "CreatePolicyVersion": (409, "ConcurrentModification", "A concurrent modification was detected.", 4),
        "DeleteRole": (409, "DeleteConflict", "Cannot delete entity, must detach all policies first.", 6),
        "DeletePolicy": (409, "DeleteConflict", "Cannot delete a policy attached to entities.", 6),
    },
    "dynamodb": {"DeleteTable": BUSY_TABLE},
    "sqs": {
        "CreateQueue": (
            400,
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            62,
        ),
        "SetQueueAttributes": (400, "InvalidAttributeValue", "Invalid value for the parameter Policy.", 8),
    },
    "lambda": {
        "CreateFunction": ROLE,
        "UpdateFunctionConfiguration": UPDATING,
        "UpdateFunctionCode": UPDATING,
        "CreateEventSourceMapping": (
            400,
            "InvalidParameterValueException",
            "The function execution role does not have permissions to call ReceiveMessage on SQS",
            12,
        ),
        "UpdateEventSourceMapping": IN_TRANSIT,
        "DeleteEventSourceMapping": IN_TRANSIT,
        "AddPermission": UPDATING,
        "RemovePermission": UPDATING,
        "DeleteFunction": UPDATING,
    },
    "apigateway": {
        "CreateRestApi": QUOTA,
        "DeleteRestApi": QUOTA,
        "CreateDeployment": QUOTA,
        "CreateResource": NOT_VISIBLE,
        "PutMethod": NOT_VISIBLE,
        "PutIntegration": NOT_VISIBLE,
        "PutMethodResponse": NOT_VISIBLE,
        "PutIntegrationResponse": NOT_VISIBLE,
    },
    "logs": {"CreateLogGroup": ABORTED, "PutRetentionPolicy": ABORTED, "DeleteLogGroup": ABORTED},
    "http": {"POST": (403, "ForbiddenException", "Missing Authentication Token", 6)},
}
# What a read that lags behind answers: that it is not there, though it is.
STALE: dict[str, dict[str, tuple[int, str, str]]] = {
    "iam": dict.fromkeys(
        ("GetPolicy", "GetRole", "GetPolicyVersion", "ListPolicyVersions", "ListAttachedRolePolicies"),
        (404, "NoSuchEntity", "The entity cannot be found."),
    ),
    "dynamodb": dict.fromkeys(
        ("DescribeTable", "ListTagsOfResource"),
        (400, "ResourceNotFoundException", "Requested resource not found"),
    ),
    "sqs": dict.fromkeys(
        ("GetQueueUrl", "GetQueueAttributes", "ListQueueTags"),
        (400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist."),
    ),
    "lambda": dict.fromkeys(
        ("GetFunction", "GetFunctionConfiguration", "GetPolicy", "GetEventSourceMapping"),
        (404, "ResourceNotFoundException", "The resource you requested does not exist."),
    ),
    "apigateway": dict.fromkeys(
        ("GetMethod", "GetRestApi", "GetStage", "GetDeployment"),
        (404, "NotFoundException", "Invalid identifier specified"),
    ),
    "logs": {"ListTagsForResource": (400, "ResourceNotFoundException", "The specified log group does not exist.")},
}
SHORT_LISTS = {
    "apigateway": {"GetRestApis": {"item": []}, "GetResources": {"item": []}, "GetStages": {"item": []}},
    "lambda": {"ListEventSourceMappings": {"EventSourceMappings": []}},
    "logs": {"DescribeLogGroups": {"logGroups": []}},
}


class Fault:
    """One kind of fault at one request; afterwards `later` may go on with what it began."""

    def __init__(self, kind: str, clock: Clock, after: Callable[[], None] = lambda: None) -> None:
        self.kind = kind
        self.clock = clock
        self.until = 0.0
        self.at: Sent | None = None
        self.kill = after

    def __call__(self, sent: Sent, answer: Callable[[], Any]) -> Any:
        """The request at which it happens."""
        self.at = sent
        kind = self.kind
        if kind == "throttled once":
            return throttle(sent)
        if kind == "throttled long":
            self.until = self.clock() + 45
            return throttle(sent)
        if kind == "500 before":
            return refusal(sent, 500, "InternalFailure", "Internal failure")
        if kind == "500 after":
            answer()
            return refusal(sent, 500, "InternalFailure", "Internal failure")
        if kind == "never sent":
            return lost(sent, EndpointConnectionError(endpoint_url=URL))
        if kind == "reset before":
            return lost(sent, ConnectionClosedError(endpoint_url=URL))
        if kind == "reset after":
            answer()
            return lost(sent, ConnectionClosedError(endpoint_url=URL))
        if kind == "timeout before":
            self.clock.now += 60
            return lost(sent, ReadTimeoutError(endpoint_url=URL))
        if kind == "timeout after":
            answer()
            self.clock.now += 60
            return lost(sent, ReadTimeoutError(endpoint_url=URL))
        if kind == "denied":
            return self.denied(sent)
        if kind == "expired":
            return self.expired(sent)
        if kind == "eventual":
            if sent.service in EVENTUAL and sent.operation in EVENTUAL[sent.service]:
                self.until = self.clock() + EVENTUAL[sent.service][sent.operation][3]
                return self.eventual(sent)
            return self.stale(sent, answer)
        if kind == "lagging":
            self.until = self.clock() + LAG_SECONDS
            return self.stale(sent, answer)
        if kind == "empty":
            return cut(sent, answer(), lambda body: b"")
        if kind == "cut":
            return cut(sent, answer(), lambda body: body[: len(body) // 2])
        if kind == "cut short of its length":
            answer()
            return lost(sent, HTTPClientError(error="IncompleteRead(12 bytes read, 30 more expected)"))
        if kind == "web page":
            page = "<html><body>Please log in to this network.</body></html>"
            return (
                (200, page)
                if sent.is_post
                else AWSResponse(URL, 200, {"Content-Type": "text/html"}, Body(page.encode()))
            )
        if kind == "killed before":
            self.kill()
        if kind == "killed after":
            answer()
            self.kill()
        raise AssertionError(kind)

    def applies(self, sent: Sent) -> bool:
        """Whether `later` would do anything but pass the request on."""
        assert self.at is not None
        same = (sent.service, sent.operation) == (self.at.service, self.at.operation)
        if self.kind in ("throttled long", "eventual", "lagging"):
            return same and self.clock() < self.until
        return (self.kind == "denied" and same) or (self.kind == "expired" and not sent.is_post)

    def later(self, sent: Sent, answer: Callable[[], Any]) -> Any:
        """A request after the one at which it happened, in the same run."""
        if not self.applies(sent):
            return answer()
        if self.kind == "throttled long":
            return throttle(sent)
        if self.kind == "denied":
            return self.denied(sent)
        if self.kind == "expired":
            return self.expired(sent)
        return self.stale(sent, answer) if self.kind == "lagging" else self.eventual(sent)

    def eventual(self, sent: Sent) -> Any:
        status, code, message, _ = EVENTUAL[sent.service][sent.operation]
        return refusal(sent, status, code, message)

    def stale(self, sent: Sent, answer: Callable[[], Any]) -> Any:
        if sent.operation in SHORT_LISTS.get(sent.service, {}):
            body = json.dumps(SHORT_LISTS[sent.service][sent.operation]).encode()
            return AWSResponse(URL, 200, {"Content-Type": "application/json"}, Body(body))
        status, code, message = STALE[sent.service][sent.operation]
        return refusal(sent, status, code, message)

    def denied(self, sent: Sent) -> Any:
        code = "AccessDenied" if sent.service in ("iam", "sts", "sqs") else "AccessDeniedException"
        return refusal(sent, 403, code, f"User: arn:aws:iam::123456789012:user/x is not authorized: {sent.operation}")

    def expired(self, sent: Sent) -> Any:
        code = "ExpiredToken" if sent.service in ("iam", "sts") else "ExpiredTokenException"
        return refusal(sent, 403, code, "The security token included in the request is expired")


LAG_SECONDS = 1.5  # of a read that does not see what is there: shorter than the looks that must agree that it is gone

ALWAYS = (
    "throttled once",
    "throttled long",
    "500 before",
    "500 after",
    "never sent",
    "reset before",
    "reset after",
    "timeout before",
    "timeout after",
    "denied",
    "expired",
    "empty",
    "cut",
    "cut short of its length",
    "web page",
    "killed before",
    "killed after",
)


def kinds(sent: Sent) -> tuple[str, ...]:
    """The kinds that this request can meet."""
    eventually = sent.operation in {
        **EVENTUAL.get(sent.service, {}),
        **STALE.get(sent.service, {}),
        **SHORT_LISTS.get(sent.service, {}),
    }
    if sent.operation in STALE.get(sent.service, {}):
        return (*ALWAYS, "eventual", "lagging")
    if sent.is_post:  # a POST is not signed: nobody is denied, and no token expires
        return (*(kind for kind in ALWAYS if kind not in ("denied", "expired")), "eventual")
    return (*ALWAYS, "eventual") if eventually else ALWAYS
