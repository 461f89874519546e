"""A call to AWS, how it ended, and whether its answer is whole and AWS's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from provision.terminal import outcome


@dataclass
class Call:
    """One call to AWS: what was asked, when (seconds of the listener's clock), and how it ended."""

    number: int
    service: str
    operation: str
    parameters: dict[str, Any]
    is_read: bool
    started: float
    ended: float | None = None
    error: str | None = None
    message: str = ""  # AWS's words, when it refused
    status: int | None = None  # of HTTP, when there was an answer
    answer: dict[str, Any] | None = None  # as botocore parsed it, when it was one
    sent: int = 1  # how often
    repeated: int = 0  # how often it was sent again although AWS may have acted already
    step: str = ""  # of the run, by name


class AnswerLost(Exception):
    """A write was sent, and nobody knows whether AWS applied it: no answer came, or one without the expected fields.

    The step runs again, and its find decides. Such a write is never sent again unseen.
    """

    def __init__(self, call: Call, why: str) -> None:
        super().__init__(f"{call.service} {call.operation}: {why}")
        self.call = call
        self.why = why


class NotAWS(outcome.UserError):
    """Again and again something that is not AWS answered a read, or only a part of the answer came.

    Such an answer proves nothing: an empty one would read as "no tags", and so as "not ours".
    """

    exit_code = outcome.ENVIRONMENT
    code = "not-aws"

    def __init__(self, call: Call, why: str) -> None:
        super().__init__(
            f"What answered {call.service} {call.operation} is not AWS: {why}.",
            means="A proxy or a captive portal may stand between, or the endpoint is something else.",
            advice=("Check the network, --region and --endpoint-url, then run the same command again.",),
        )


def came_from(error: BaseException, module: str) -> bool:
    """Whether it failed inside this module of botocore: its parsers raise many kinds of errors where a body is not
    AWS's, and its sources of credentials where a file, a program or a variable is not what they expect."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == module:
            return True
        trace = trace.tb_next
    return False


def protocol_of(model: Any) -> str:
    """The protocol that botocore speaks for an operation. A service may have several; older versions knew one only."""
    service = model.service_model
    return str(getattr(service, "resolved_protocol", None) or service.metadata.get("protocol"))


def flaw_of(model: Any, http_response: Any, *, is_read: bool) -> str | None:
    """What is wrong with the body of a success, or None. botocore parses half a body, or a web page, as no fields."""
    if model.has_streaming_output:
        return None  # not read yet
    body = http_response.content
    length = http_response.headers.get("Content-Length") or ""
    if length.isdigit() and len(body) < int(length):
        return f"the answer was cut after {len(body)} of {length} bytes"
    if protocol_of(model) in ("json", "rest-json") and (is_read or body.strip()):
        try:
            json.loads(body)
        except ValueError:
            return "the answer is not JSON" if body.strip() else "the answer is empty"
    # Where IAM has nothing to say it answers with a request id alone, which botocore does not check.
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html has such an answer
    says_nothing = model.output_shape is None and protocol_of(model) == "query"
    if says_nothing and b"<RequestId>" not in body:
        return "the answer has no request id" if body.strip() else "the answer is empty"
    return None


# The field of each answer that a step relies on. A 200 without it is no answer: a captive portal, or a cut body.
EXPECTED: dict[str, str] = {
    "CreatePolicy": "Policy.Arn",
    "CreatePolicyVersion": "PolicyVersion.VersionId",
    "CreateRole": "Role.Arn",
    "CreateTable": "TableDescription.TableName",
    "CreateQueue": "QueueUrl",
    "CreateFunction": "FunctionArn",
    "UpdateFunctionCode": "FunctionArn",
    "UpdateFunctionConfiguration": "FunctionArn",
    "CreateEventSourceMapping": "UUID",
    "UpdateEventSourceMapping": "UUID",
    "AddPermission": "Statement",
    "CreateRestApi": "rootResourceId",
    "CreateResource": "id",
    "PutMethod": "httpMethod",
    "PutIntegration": "type",
    "PutMethodResponse": "statusCode",
    "PutIntegrationResponse": "statusCode",
    "CreateDeployment": "id",
    "CreateApiKey": "id",
    "CreateUsagePlan": "id",
    "CreateUsagePlanKey": "id",
}


def has_field(parsed: dict[str, Any], path: str) -> bool:
    value: Any = parsed
    for name in path.split("."):
        if not isinstance(value, dict) or not value.get(name):
            return False
        value = value[name]
    return True
