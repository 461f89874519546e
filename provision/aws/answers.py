"""Whether an answer is whole: the fields that the suite relies on, and answers that are not from AWS."""

from __future__ import annotations

import json
from typing import Any


def _came_from_parsing(error: BaseException) -> bool:
    """Whether botocore failed over the body. Its parsers raise errors of many kinds at what is not AWS's."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "botocore.parsers":
            return True
        trace = trace.tb_next
    return False


def _flaw(model: Any, http_response: Any, *, is_read: bool) -> str | None:
    """What is wrong with the body of a success, or None. botocore takes half a body, or a web page, for no fields."""
    if model.has_streaming_output:
        return None  # not read yet
    body = http_response.content
    length = http_response.headers.get("Content-Length") or ""
    if length.isdigit() and len(body) < int(length):
        return f"the answer was cut after {len(body)} of {length} bytes"
    if model.service_model.metadata.get("protocol") in ("json", "rest-json") and (is_read or body.strip()):
        try:
            json.loads(body)
        except ValueError:
            return "the answer is not JSON" if body.strip() else "the answer is empty"
    # Where IAM has nothing to say it answers with a request id alone, and botocore does not look whether it is there.
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html has such an answer
    says_nothing = model.output_shape is None and model.service_model.metadata.get("protocol") == "query"
    if says_nothing and b"<RequestId>" not in body:
        return "the answer has no request id" if body.strip() else "the answer is empty"
    return None


# The field of each answer that a step relies on. A 200 without it (a captive portal, a cut body) is no answer.
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
    "CreateRestApi": "id",
    "CreateResource": "id",
    "PutMethod": "httpMethod",
    "PutIntegration": "type",
    "PutMethodResponse": "statusCode",
    "PutIntegrationResponse": "statusCode",
    "CreateDeployment": "id",
}


def _has(parsed: dict[str, Any], path: str) -> bool:
    value: Any = parsed
    for name in path.split("."):
        if not isinstance(value, dict) or not value.get(name):
            return False
        value = value[name]
    return True
