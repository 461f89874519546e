"""The integrations of API Gateway: Lambda functions, SQS queues and MOCK, and the roles that call them.

HTTP and VPC integrations, and AWS services other than Lambda and SQS, are not simulated and are refused by name.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from sandbox.apigateway.execution import (
    HEADER_NAME,
    Call,
    GatewayResponse,
    IntegrationRequest,
    IntegrationResponse,
    Reply,
    configuration_error,
    grouped,
)
from sandbox.backend import Backend, texts
from sandbox.iam.permissions import Need, Principal
from sandbox.lambda_.functions import Functions, Invocation
from sandbox.lambda_.requests import NoSuchFunction
from sandbox.protocol.operations import FORM, parse_json
from sandbox.protocol.refusals import AMZ_JSON, NotSimulated, Refused
from sandbox.protocol.scope import ACCOUNT, FunctionName

GATEWAY = "apigateway.amazonaws.com"

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
DEFAULT_TIMEOUT_MS = 29_000

# The name of API Gateway's sessions in SQS's refusals (field reports).
SESSION = "BackplaneAssumeRoleSession"

# The members of SendMessageResult, in the order of API Gateway's JSON; those without a value are null.
SEND_MESSAGE_RESULT = (
    "MD5OfMessageAttributes", "MD5OfMessageBody", "MD5OfMessageSystemAttributes", "MessageId", "SequenceNumber",
)  # fmt: skip

# arn:aws:apigateway:region:lambda:path/2015-03-31/functions/{function's ARN}/invocations
FUNCTION_URI = re.compile(
    r"arn:[\w-]+:apigateway:[\w-]+:lambda:path/2015-03-31/functions/"
    r"(arn:[\w-]+:lambda:[\w-]+:\d{12}:function:[\w$-]+(?::[\w$-]+)?)/invocations"
)
# arn:aws:apigateway:region:sqs:path/{account}/{queue}
QUEUE_URI = re.compile(r"arn:([\w-]+):apigateway:([\w-]+):sqs:path//?(\d{12})/([\w-]+)")


@dataclass(frozen=True)
class Queue:
    partition: str
    region: str
    account: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"

    @property
    def url(self) -> str:
        return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{self.name}"


class Integrations:
    """Runs the integration of a call. Raises GatewayResponse and NotSimulated."""

    def __init__(self, backend: Backend, functions: Functions) -> None:
        self._backend = backend
        self._functions = functions
        self._permissions = functions.permissions

    def run(self, call: Call, request: IntegrationRequest) -> IntegrationResponse:
        """An integration of type AWS or MOCK."""
        if call.integration["type"] == "MOCK":
            return _mock(request.body)
        if function := FUNCTION_URI.fullmatch(call.uri):
            return self._lambda(call, function[1], request)
        if queue := QUEUE_URI.fullmatch(call.uri):
            return self._sqs(call, Queue(*queue.groups()), request)
        raise NotSimulated(
            f"The sandbox runs integrations with Lambda functions and, by path, SQS queues; not {call.uri}."
        )

    # -- Lambda

    def proxy(self, call: Call) -> Reply:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""
        function = FUNCTION_URI.fullmatch(call.uri)
        if function is None:
            raise NotSimulated(f"The sandbox runs AWS_PROXY integrations with Lambda functions only, not {call.uri}.")
        payload = json.dumps(_proxy_event(call)).encode()
        call.log("Endpoint request body after transformations: {}", payload)
        result = self._invoke(call, function[1], payload)
        call.log("Endpoint response body before transformations: {}", result.payload)
        try:
            if result.function_error:
                raise ValueError(result.function_error)
            return _proxy_reply(result.payload, binary=bool(call.stage.binary_media_types))
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise configuration_error("Malformed Lambda proxy response", 502) from None

    def _lambda(self, call: Call, function: str, request: IntegrationRequest) -> IntegrationResponse:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-custom-integrations.html"""
        if request.headers.get("x-amz-invocation-type", "RequestResponse") != "RequestResponse":
            raise NotSimulated("The sandbox does not run asynchronous Lambda integrations.")
        payload = request.body if request.body.strip() else b"{}"
        try:
            parse_json(payload)
        except ValueError as error:
            # Lambda refuses it with InvalidRequestContentException. Status and first words are from field reports; the
            # rest is ours, since AWS quotes its own (Java) parser.
            raise GatewayResponse(
                400,
                "BadRequestException",
                f"Could not parse request body into json: Could not parse payload into json: {error}",
                "Execution failed due to configuration error: Could not parse request body into json",
            ) from None
        result = self._invoke(call, function, payload)
        response = IntegrationResponse(result.status, result.payload, {"Content-Type": "application/json"})
        if result.function_error:
            response.headers["X-Amz-Function-Error"] = result.function_error
            response.selector = _member(result.payload, "errorMessage")
        return response

    def _invoke(self, call: Call, function: str, payload: bytes) -> Invocation:
        partition, region, name = (function.split(":")[part] for part in (1, 3, 6))
        endpoint = f"https://lambda.{region}.amazonaws.com/{call.uri.partition(':path/')[2]}"
        call.log("Endpoint request URI: {}", endpoint)
        credentials = call.integration.get("credentials")
        if credentials:
            trusted = self._permissions.trusts(credentials, GATEWAY)
            may = trusted and self._permissions.allows(credentials, "lambda:InvokeFunction", function)
        else:
            snapshot = call.stage.snapshot
            place = f"{snapshot.api_id}/{call.stage.name}/{call.verb}/{call.resource.path.lstrip('/')}"
            source = f"arn:{partition}:execute-api:{snapshot.region}:{ACCOUNT}:{place}"
            # AWS answers this for a deleted function, too: its policy is gone.
            may = self._permissions.invokes(GATEWAY, FunctionName.parse(name, region), source)
        if not may:
            raise configuration_error("Invalid permissions on Lambda function")
        call.log("Sending request to {}", endpoint)
        limit = (call.integration.get("timeoutInMillis") or DEFAULT_TIMEOUT_MS) / 1000
        invocation: futures.Future[Invocation] = futures.Future()

        def invoke() -> None:
            try:
                invocation.set_result(self._functions.invoke(function, payload, region=region))
            except BaseException as error:
                invocation.set_exception(error)

        # In a thread of its own: the function goes on after the call has timed out, as on AWS.
        threading.Thread(target=invoke, name="gateway-invoke", daemon=True).start()
        try:
            result = invocation.result(limit)
        except NoSuchFunction:
            raise configuration_error("Invalid permissions on Lambda function") from None
        except Refused as refused:
            raise configuration_error(f"Lambda answered with status {refused.words.status}") from None
        except futures.TimeoutError:
            said, reason = "Endpoint request timed out", "Execution failed due to a timeout error"
            raise GatewayResponse(504, "InternalServerErrorException", said, reason) from None
        return result

    # -- SQS

    def _sqs(self, call: Call, queue: Queue, request: IntegrationRequest) -> IntegrationResponse:
        call.log("Endpoint request URI: {}", queue.url)
        credentials = call.integration.get("credentials")
        if credentials and "::*:" in credentials:
            raise NotSimulated("The sandbox does not pass the caller's own identity on to an integration.")
        if credentials and not self._permissions.trusts(credentials, GATEWAY):
            raise configuration_error("API Gateway does not have permission to assume the provided role")
        call.log("Sending request to {}", queue.url)
        if request.headers.get("x-amz-target"):
            return self._sqs_by_json(queue, credentials, request)
        return self._sqs_by_query(queue, credentials, request)

    def _sqs_by_query(self, queue: Queue, credentials: str | None, request: IntegrationRequest) -> IntegrationResponse:
        """The query protocol; SQS answers XML, which API Gateway turns into JSON."""
        form = list(request.query.items())
        if request.headers.get("content-type", "").split(";")[0].strip().lower() == FORM:
            form.extend(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))
        fields = dict(form)
        action = fields.get("Action")
        if not action:
            # The Content-Type header was forgotten; SQS answers an element without a message (field reports).
            return _sqs_response(404, b"<UnknownOperationException/>", "application/xml")
        if action != "SendMessage":
            raise NotSimulated(f"The sandbox lets API Gateway send messages to SQS; it does not do {action}.")
        refused = self._refusal(credentials, "sqs:SendMessage", queue)
        if refused is not None:
            return _sqs_error(403, "AccessDenied", refused)
        try:
            path, sent = f"/{queue.account}/{queue.name}", urlencode(form, errors="replace").encode()
            headers = {"Content-Type": FORM}
            answer = self._backend.call("sqs", "POST", path, headers=headers, body=sent, region=queue.region)
            tree = ElementTree.fromstring(answer.body)
        except Exception as error:
            # moto breaks on unexpected fields, such as half a message attribute.
            return _sqs_error(400, "InvalidParameterValue", f"The sandbox's SQS could not read this: {error}")
        if not answer.ok:
            fault = _element(tree, "Type") or "Sender"
            return _sqs_error(answer.status, _element(tree, "Code"), _element(tree, "Message"), fault)
        told = {
            "ResponseMetadata": {"RequestId": str(uuid.uuid4())},
            "SendMessageResult": {name: _element(tree, name) or None for name in SEND_MESSAGE_RESULT},
        }
        return _sqs_response(200, _compact({"SendMessageResponse": told}), "application/json")

    def _sqs_by_json(self, queue: Queue, credentials: str | None, request: IntegrationRequest) -> IntegrationResponse:
        """The JSON protocol: the action is in X-Amz-Target and the queue in the body's QueueUrl."""
        target = request.headers["x-amz-target"]
        action = target.removeprefix("AmazonSQS.")
        if target == action:
            return _sqs_fault(400, "com.amazon.coral.service#UnknownOperationException")
        try:
            sent = parse_json(request.body)
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            return _sqs_fault(400, "com.amazon.coral.service#SerializationException")
        named = [part for part in str(sent.get("QueueUrl") or "").split("/") if part]
        if len(named) >= 2 and re.fullmatch(r"\d{12}", named[-2]) and re.fullmatch(r"[\w-]+", named[-1]):
            queue = Queue(queue.partition, queue.region, named[-2], named[-1])
        refused = self._refusal(credentials, f"sqs:{action}", queue)
        if refused is not None:
            return _sqs_fault(403, "com.amazon.coral.service#AccessDeniedException", Message=refused)
        try:
            headers = {"Content-Type": request.headers.get("content-type") or AMZ_JSON, "X-Amz-Target": target}
            answer = self._backend.call("sqs", "POST", "/", headers=headers, body=request.body, region=queue.region)
        except Exception:
            # moto breaks on members of a wrong type, which SQS refuses while it parses them.
            return _sqs_fault(400, "com.amazon.coral.service#SerializationException")
        return _sqs_response(answer.status, answer.body, AMZ_JSON)

    def _refusal(self, role_arn: str | None, action: str, queue: Queue) -> str | None:
        """SQS's refusal if neither the role's policies nor the queue's allow it; without a role only the queue's do."""
        who = Principal.of_role(role_arn, SESSION) if role_arn else Principal()
        return self._permissions.refusal(who, Need(action, queue.arn))


def _element(tree: ElementTree.Element, name: str) -> str:
    """The text of the first element of this name, in any namespace; empty if there is none."""
    return next(iter(texts(tree, name)), "").strip()


def _mock(body: bytes) -> IntegrationResponse:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html"""
    try:
        named = parse_json(body)["statusCode"]
        status = int(named)
        if isinstance(named, bool) or not 100 <= status <= 599:
            raise ValueError(named)
    except (ValueError, TypeError, LookupError, OverflowError):
        raise configuration_error("Unable to parse statusCode. It should be an integer") from None
    return IntegrationResponse(status, b"", selector=str(status))


def _member(payload: bytes, name: str) -> str:
    """A text member of a JSON object; empty if there is none."""
    try:
        parsed = parse_json(payload)
    except ValueError:
        return ""
    text = parsed.get(name) if isinstance(parsed, dict) else None
    return text if isinstance(text, str) else ""


def _proxy_event(call: Call) -> dict[str, Any]:
    """The event of a proxy integration, payload format 1.0."""
    context = call.context()
    context.pop("authorizer")
    context["identity"] = {name: value or None for name, value in context["identity"].items()}
    return {
        "resource": call.resource.path,
        "path": unquote(call.path),
        "httpMethod": call.verb,
        "headers": dict(call.headers) or None,
        "multiValueHeaders": grouped(call.headers) or None,
        "queryStringParameters": dict(call.query) or None,
        "multiValueQueryStringParameters": grouped(call.query) or None,
        "pathParameters": dict(call.path_parameters) or None,
        "stageVariables": dict(call.stage.variables) or None,
        "requestContext": context,
        "body": call.body.decode("utf-8", "replace") if call.body else None,
        "isBase64Encoded": False,
    }


def _proxy_reply(payload: bytes, binary: bool) -> Reply:
    """The answer of a function behind a proxy integration. Raises various errors if it is malformed."""
    answer = parse_json(payload)
    known = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    if not isinstance(answer, dict) or not known.issuperset(answer):
        raise ValueError("not a proxy answer")
    status = int(answer.get("statusCode", 200))
    if not 200 <= status <= 599:
        raise ValueError(status)
    text = answer.get("body")
    if not isinstance(text, str | None):
        raise TypeError(text)
    body = (text or "").encode("utf-8", "replace")
    if answer.get("isBase64Encoded") and binary:
        body = base64.b64decode(body, validate=True)
    pairs = list((answer.get("headers") or {}).items())
    pairs += [(name, value) for name, values in (answer.get("multiValueHeaders") or {}).items() for value in values]
    if not all(HEADER_NAME.fullmatch(name) for name, _ in pairs):
        raise ValueError("not a header's name")
    headers = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in pairs]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Reply(status, body, headers)


def _compact(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _sqs_response(status: int, body: bytes, content_type: str) -> IntegrationResponse:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return IntegrationResponse(status, body, headers, selector=str(status))


def _sqs_error(status: int, code: str, message: str, fault: str = "Sender") -> IntegrationResponse:
    """An error of the query protocol, in API Gateway's JSON."""
    error = {"Code": code, "Message": message, "Type": fault}
    return _sqs_response(status, _compact({"Error": error, "RequestId": str(uuid.uuid4())}), "application/json")


def _sqs_fault(status: int, kind: str, **words: str) -> IntegrationResponse:
    """An error of the JSON protocol."""
    return _sqs_response(status, json.dumps({"__type": kind, **words}).encode(), AMZ_JSON)
