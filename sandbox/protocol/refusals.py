"""A refusal on the wire: AWS's status, code and words in the form that the service's protocol gives them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from sandbox.protocol.operations import Operation, operation_of

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

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


def by_json(request: Request) -> bool:
    return "X-Amz-Target" in request.headers


def last(text: str, separator: str) -> str:
    """The last part of an ARN, a path or a URL."""
    return text.rpartition(separator)[2]


def refusal(request: Request, operation: Operation, words: Words, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal in the protocol of the service; the code is what boto3 shows as the error's code."""
    service, request_id = operation.service, str(uuid.uuid4())
    status, code, message = words
    fault = "Sender" if status < 500 else "Receiver"
    named = {"x-amzn-RequestId": request_id, **(headers or {})}
    if service == "s3":
        body = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        return answer(status, body, "application/xml", named)
    if request.mimetype == "application/x-www-form-urlencoded" or (service == "sqs" and not by_json(request)):
        namespace = XML_NAMESPACES.get(service, "")
        body = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{escape(code)}</Code>'
            f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return answer(status, body, "text/xml", named)
    if service == "apigateway":
        return answer(status, json.dumps({"message": message}), "application/json", {"x-amzn-ErrorType": code, **named})
    if service == "lambda":
        fields = {"Type": "User" if status < 500 else "Service", "message": message}
        if status == 429:
            fields["Reason"] = "CallerRateLimitExceeded"
        return answer(status, json.dumps(fields), "application/json", {"x-amzn-ErrorType": code, **named})
    shape = last(code, ".")
    if service == "sqs":
        named["x-amzn-query-error"] = f"{code};{fault}"
        # The API model's shape is not the last part of the older code here (sqs, service-2.json).
        shape = f"com.amazonaws.sqs#{'QueueDoesNotExist' if shape == 'NonExistentQueue' else shape}"
    elif service == "dynamodb":
        shape = f"com.amazonaws.dynamodb.v20120810#{shape}"
    body = json.dumps({"__type": shape, "message": message})
    return answer(status, body, "application/x-amz-json-1.1" if service == "logs" else AMZ_JSON, named)


def refusing(words_of: Callable[[Operation], Words | None]) -> Callable[[Request], Response | None]:
    """A plane that only refuses: None for all that ``words_of`` has no words for."""

    def handle(request: Request) -> Response | None:
        operation = operation_of(request)
        words = words_of(operation) if operation is not None else None
        if operation is None or words is None:
            return None
        return refusal(request, operation, words)

    return handle


def answer(status: int, body: str, content_type: str, headers: Mapping[str, str] | None = None) -> Response:
    from werkzeug.wrappers import Response

    return Response(body.encode(), status=status, headers={"Content-Type": content_type, **(headers or {})})
