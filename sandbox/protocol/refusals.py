"""Refusals: AWS's status, code and message, written and read in the protocol of each service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sandbox.protocol.operations import Operation
from sandbox.protocol.scope import last

AMZ_JSON = "application/x-amz-json-1.0"

XML_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "sqs": "http://queue.amazonaws.com/doc/2012-11-05/",
}


class Words(NamedTuple):
    """A refusal as AWS words it."""

    status: int
    code: str
    message: str


class Refused(Exception):
    """The service refuses the call; ``more`` are further members of the error."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.words = Words(status, code, message)
        self.more = more


class NotSimulated(Exception):
    """AWS would do this and the sandbox does not; the text is one sentence that says what. It is answered with 501."""


def refusal(
    operation: Operation, words: Words, headers: Mapping[str, str] | None = None, more: Mapping[str, str] | None = None
) -> Response:
    """A refusal in the protocol of the service; the code is what boto3 shows as the error's code."""
    service, request_id = operation.service, str(uuid.uuid4())
    status, code, message = words
    fault = "Sender" if status < 500 else "Receiver"
    named = {"x-amzn-RequestId": request_id, **(headers or {})}
    if service == "s3":
        body = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        return answer(status, body, "application/xml", named)
    if operation.protocol == "query":
        namespace = XML_NAMESPACES.get(service, "")
        body = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{escape(code)}</Code>'
            f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return answer(status, body, "text/xml", named)
    if operation.protocol == "rest":
        fields = {"message": message, **(more or {})}
        if service == "lambda":
            # API models disagree on the case of `message`; SDKs read either.
            fields |= {"Type": "User" if status < 500 else "Service", "Message": message}
        return answer_json(status, fields, {"x-amzn-ErrorType": code, **named})
    shape = last(code, ".")
    if service == "sqs":
        named["x-amzn-query-error"] = f"{code};{fault}"
        # The API model's shape is not the last part of the older code here (sqs, service-2.json).
        shape = f"com.amazonaws.sqs#{'QueueDoesNotExist' if shape == 'NonExistentQueue' else shape}"
    elif service == "dynamodb":
        shape = f"com.amazonaws.dynamodb.v20120810#{shape}"
    body = json.dumps({"__type": shape, "message": message})
    return answer(status, body, "application/x-amz-json-1.1" if service == "logs" else AMZ_JSON, named)


def answer(status: int, body: str, content_type: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body.encode(), status=status, headers={"Content-Type": content_type, **(headers or {})})


def answer_json(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; without a body if that is None."""
    named = {"x-amzn-RequestId": str(uuid.uuid4()), **(headers or {})}
    return answer(status, "" if body is None else json.dumps(body), "application/json", named)


def words_of(status: int, body: bytes) -> Words | None:
    """The refusal in an answer of moto's; None if it cannot be read."""
    try:
        if body.lstrip().startswith(b"<"):
            tree = ElementTree.fromstring(body)
            texts = {last(element.tag, "}"): element.text or "" for element in tree.iter()}
            return Words(status, texts["Code"], texts["Message"])
        told = json.loads(body)
        return Words(status, last(str(told.get("__type", "")), "#"), str(told.get("message", told.get("Message", ""))))
    except (ElementTree.ParseError, KeyError, ValueError, AttributeError):
        return None
