"""API Gateway REST: what a deployed API answers, TestInvokeMethod, and the refusals moto forgets to make.

moto keeps the definitions (APIs, resources, methods, integrations, deployments, stages) and serves none of them. This
layer sits in front: it runs requests through the definitions, takes a snapshot at each CreateDeployment, as AWS does,
and answers in AWS's place where moto would accept, lose or invent something. `Gateway.handle` sees every request of
the sandbox and returns None for those that are not its own.

What is not simulated is answered 501 with a sentence that names it: HTTP and VPC integrations, AWS services other
than Lambda and SQS, authorizers, API keys, request validators, resource policies, template constructs outside
`sandbox.templates`.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
import secrets
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from sandbox import templates
from sandbox.backend import ACCOUNT, Answer, Backend, BackendError, Credentials, credential_scope, region_of
from sandbox.permissions import Roles, Statement, allowed, as_list, matches, parse_document

Definition = dict[str, Any]
"""A method or a part of one, in the words of GetMethod."""

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_PAYLOAD = 10 * 1024 * 1024
DEFAULT_TIMEOUT_MS = 29_000

# A queue's policy is read again after any change to a queue that passes by here, and at the latest after this many
# seconds: the change is noticed when it arrives, a moment before moto has carried it out.
QUEUE_POLICY_KEPT = 1.0

# The name of API Gateway's sessions, as it stands in SQS's refusals (field reports).
SESSION = "BackplaneAssumeRoleSession"

TEST_STAGE = "test-invoke-stage"
LOGGED = 1024  # characters of a body in the execution log, where AWS cuts too

SQS_MESSAGE_TARGETS = frozenset(
    f"AmazonSQS.{action}"
    for action in (
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "GetQueueUrl",
        "GetQueueAttributes",
    )
)


class Refusal(Exception):
    """A control-plane call that AWS refuses: status, error type, message."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


class NotSimulated(Exception):
    """Something AWS would do and the sandbox does not; the text is one sentence saying what."""


class GatewayResponse(Exception):
    """An answer API Gateway makes up itself instead of the integration.

    `reason` is the line of the execution log. Types and texts:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
    """

    def __init__(self, status: int, error_type: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.reason = reason


def _configuration_error(reason: str) -> GatewayResponse:
    """What is wrong stands in the execution log only; the caller learns nothing (API_CONFIGURATION_ERROR)."""
    return GatewayResponse(
        500,
        "InternalServerErrorException",
        "Internal server error",
        f"Execution failed due to configuration error: {reason}",
    )


def _missing_token() -> GatewayResponse:
    return GatewayResponse(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def _forbidden() -> GatewayResponse:
    return GatewayResponse(403, "ForbiddenException", "Forbidden")


def _unsupported_media_type() -> GatewayResponse:
    return GatewayResponse(415, "UnsupportedMediaTypeException", "Unsupported Media Type", "Unsupported Media Type")


class Invocation(Protocol):
    """What a function's run gave: Lambda's own status, the payload, "Handled"/"Unhandled" or None, the log's tail."""

    @property
    def status(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def function_error(self) -> str | None: ...


class Functions(Protocol):
    """The part of sandbox.functions.Functions that is used here."""

    def invoke(self, name_or_arn: str, payload: bytes, *, region: str) -> Invocation: ...

    def policy_allows(self, function_name: str, region: str, source_arn: str, principal: str = ...) -> bool: ...


@dataclass(frozen=True)
class Resource:
    """A path of the API with its methods by verb, as it was when the snapshot was taken."""

    id: str
    path: str
    methods: Mapping[str, Definition]

    @property
    def segments(self) -> list[str]:
        return [segment for segment in self.path.split("/") if segment]


@dataclass(frozen=True)
class Snapshot:
    """What one deployment serves, or (for TestInvokeMethod) the definition as it stands."""

    api_id: str
    region: str
    account: str
    resources: tuple[Resource, ...]


@dataclass(frozen=True)
class Stage:
    """A stage as the data plane needs it; read from moto and kept until the next write to its API."""

    deployment_id: str
    variables: Mapping[str, str]
    binary_media_types: tuple[str, ...]
    endpoint_disabled: bool
    has_policy: bool


@dataclass
class Call:
    """One method request: what the client sent and which method it met."""

    snapshot: Snapshot
    stage: str
    stage_variables: Mapping[str, str]
    resource: Resource
    verb: str
    method: Definition
    path: str
    path_parameters: Mapping[str, str]
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str = "127.0.0.1"
    binary_media_types: tuple[str, ...] = ()
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    extended_id: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(10)).decode())
    started: float = field(default_factory=time.time)

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in reversed(self.headers) if key.lower() == wanted), None)

    @property
    def media_type(self) -> str:
        """Of the request's body; a request without Content-Type counts as JSON."""
        return (self.header("Content-Type") or "application/json").split(";")[0].strip().lower()

    @property
    def binary(self) -> bool:
        return any(
            kind == "*/*"
            or kind.lower() == self.media_type
            or (kind.endswith("/*") and self.media_type.startswith(kind[:-1].lower()))
            for kind in self.binary_media_types
        )

    def parameters(self) -> dict[str, dict[str, str]]:
        """As `$input.params()` has them; of a name given twice the last value counts."""
        return {
            "path": dict(self.path_parameters),
            "querystring": dict(self.query),
            "header": dict(self.headers),
        }

    def context(self) -> dict[str, Any]:
        """`$context`. What an unauthenticated caller does not have is empty, as on AWS.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
        """
        moment = datetime.fromtimestamp(self.started, timezone.utc)
        identity = dict.fromkeys(
            (
                "accountId",
                "apiKey",
                "apiKeyId",
                "caller",
                "cognitoAuthenticationProvider",
                "cognitoAuthenticationType",
                "cognitoIdentityId",
                "cognitoIdentityPoolId",
                "principalOrgId",
                "user",
                "userArn",
            ),
            "",
        )
        identity["sourceIp"] = self.source_ip
        identity["userAgent"] = self.header("User-Agent") or ""
        return {
            "accountId": self.snapshot.account,
            "apiId": self.snapshot.api_id,
            "authorizer": {"principalId": ""},
            "domainName": f"{self.snapshot.api_id}.execute-api.{self.snapshot.region}.amazonaws.com",
            "domainPrefix": self.snapshot.api_id,
            "extendedRequestId": self.extended_id,
            "httpMethod": self.verb,
            "identity": identity,
            "path": self.path if self.stage == TEST_STAGE else f"/{self.stage}{self.path}",
            "protocol": "HTTP/1.1",
            "requestId": self.request_id,
            "requestTime": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(self.started * 1000),
            "resourceId": self.resource.id,
            "resourcePath": self.resource.path,
            "stage": self.stage,
        }


@dataclass
class Endpoint:
    """What an integration sends back. `selector` is what selection patterns are matched with; None: no error."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    selector: str | None = None


@dataclass
class Reply:
    """The method response on its way to the client."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


class Gateway:
    """API Gateway in front of moto; see `handle`."""

    def __init__(self, backend: Backend, functions: Functions) -> None:
        self._backend = backend
        self._functions = functions
        # Held for every control-plane call: looking for a duplicate and making the thing must be one step.
        self._control = threading.RLock()
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._stages: dict[tuple[str, str], Stage | None] = {}
        self._roles = IntegrationRoles(backend)
        # What moto has no place for, by API (and deployment or stage).
        self._descriptions: dict[tuple[str, str], str] = {}
        self._stage_times: dict[tuple[str, str], tuple[int, int]] = {}
        self._api_tags: dict[str, dict[str, str]] = {}

    def handle(self, request: Request) -> Response | None:
        """The answer to an API Gateway request; None for what is not API Gateway's, or what moto answers well."""
        segments = [segment for segment in request.path.split("/") if segment]
        if not segments or segments[0] not in ("restapis", "tags", "account"):
            self._notice(request)
            return None
        if len(segments) >= 4 and segments[0] == "restapis" and segments[3] == "_user_request_":
            return self._serve(request)
        scope = credential_scope(request.headers.get("Authorization", ""))
        if scope is None or scope.service != "apigateway":
            return None  # an unsigned call is the front's to refuse
        try:
            return self._control_plane(request, segments)
        except Refusal as refusal:
            return _error(refusal.status, refusal.error_type, refusal.message)
        except NotSimulated as lacking:
            return _error(501, "NotImplementedException", str(lacking))

    def _notice(self, request: Request) -> None:
        """A write to a queue's attributes may change what a role may do with it."""
        scope = credential_scope(request.headers.get("Authorization", ""))
        if scope is None or scope.service != "sqs":
            return
        if request.headers.get("X-Amz-Target") not in SQS_MESSAGE_TARGETS:
            self._roles.forget_queues()

    # ------------------------------------------------------------------------------------------- the data plane

    def _serve(self, request: Request) -> Response:
        call: Call | None = None
        try:
            call = self._receive(request)
            reply = self._execute(call, ExecutionLog(None))
        except GatewayResponse as own:
            reply = _own_reply(own)
        except (NotSimulated, templates.UnknownConstruct) as lacking:
            reply = _reply(501, "NotImplementedException", str(lacking))
        request_id = call.request_id if call else str(uuid.uuid4())
        extended_id = call.extended_id if call else base64.b64encode(secrets.token_bytes(10)).decode()
        headers = [
            ("x-amzn-RequestId", request_id),
            ("x-amz-apigw-id", extended_id),
            ("X-Amzn-Trace-Id", f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"),
            *reply.headers,
        ]
        return Response(reply.body, status=reply.status, headers=headers)

    def _receive(self, request: Request) -> Call:
        raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")
        raw = re.sub(r"^https?://[^/]*", "", raw).split("?")[0]
        parts = re.fullmatch(r"/+restapis/+([^/]+)/+([^/]+)/+_user_request_(/.*)?", raw, re.DOTALL)
        if parts is None:
            # Without the raw form, %2F can no longer be told from a slash.
            parts = re.fullmatch(r"/+restapis/+([^/]+)/+([^/]+)/+_user_request_(/.*)?", quote(request.path), re.DOTALL)
        if parts is None:
            raise _missing_token()
        api_id, stage_name, path = unquote(parts[1]), unquote(parts[2]), parts[3] or "/"

        if (request.content_length or 0) > MAX_PAYLOAD:
            raise GatewayResponse(413, "RequestTooLargeException", "Request Too Long")
        try:
            body = request.get_data(cache=True)
        except (HTTPException, OSError, ValueError):
            # A chunked body that is cut short or malformed.
            raise GatewayResponse(400, "BadRequestException", "Bad Request") from None
        if len(body) > MAX_PAYLOAD:
            raise GatewayResponse(413, "RequestTooLargeException", "Request Too Long")

        stage = self._stage(api_id, stage_name)
        if stage is None or stage.endpoint_disabled:
            raise _forbidden()
        snapshot = self._snapshots.get((api_id, stage.deployment_id))
        if snapshot is None:
            raise NotSimulated(
                f"The sandbox holds no snapshot of deployment {stage.deployment_id}; deploy the API again."
            )
        if stage.has_policy:
            raise NotSimulated("The sandbox does not evaluate the resource policy of a REST API.")

        matched = _route(snapshot, path)
        if matched is None:
            raise _missing_token()
        resource, path_parameters = matched
        method = resource.methods.get(request.method) or resource.methods.get("ANY")
        if method is None:
            raise _missing_token()
        _check_authorization(method, request)
        query = request.query_string.decode("latin-1")
        return Call(
            snapshot=snapshot,
            stage=stage_name,
            stage_variables=stage.variables,
            resource=resource,
            verb=request.method,
            method=method,
            path=path,
            path_parameters=path_parameters,
            query=parse_qsl(query, keep_blank_values=True, errors="replace"),
            headers=list(request.headers.items()),
            body=body,
            source_ip=request.remote_addr or "127.0.0.1",
            binary_media_types=stage.binary_media_types,
        )

    def _stage(self, api_id: str, stage_name: str) -> Stage | None:
        with self._control:
            key = (api_id, stage_name)
            if key in self._stages:
                return self._stages[key]
            region = next((s.region for (api, _), s in self._snapshots.items() if api == api_id), None)
            if region is None:
                return None  # nothing was ever deployed; not kept, so that made-up names do not fill the memory
            path = f"/restapis/{api_id}"
            answer = self._backend.call("apigateway", "GET", f"{path}/stages/{stage_name}", region=region)
            if not answer.ok:
                return None
            api = self._backend.call("apigateway", "GET", path, region=region).json()
            stage = answer.json()
            self._stages[key] = Stage(
                deployment_id=str(stage.get("deploymentId")),
                variables=stage.get("variables") or {},
                binary_media_types=tuple(api.get("binaryMediaTypes") or ()),
                endpoint_disabled=bool(api.get("disableExecuteApiEndpoint")),
                has_policy=bool(api.get("policy")),
            )
            return self._stages[key]

    # ------------------------------------------------------------------------- one method request, start to end

    def _execute(self, call: Call, log: ExecutionLog) -> Reply:
        """Request mapping, integration, response mapping. Raises GatewayResponse and NotSimulated."""
        integration = call.method.get("methodIntegration")
        if not integration:
            raise _configuration_error("No integration defined for method")
        if call.method.get("requestValidatorId"):
            raise NotSimulated("The sandbox does not run request validators.")
        log("Method request path: {}", call.path_parameters)
        log("Method request query string: {}", dict(call.query))
        log("Method request headers: {}", dict(call.headers))
        log("Method request body before transformations: {}", call.body)
        kind = integration.get("type")
        uri = re.sub(
            r"\$\{stageVariables\.(\w+)\}",
            lambda found: call.stage_variables.get(found[1], ""),
            str(integration.get("uri") or ""),
        )
        started = time.monotonic()
        if kind == "AWS_PROXY":
            reply = self._lambda_proxy(call, integration, uri, log)
            log("Method response headers: {}", dict(reply.headers))
            return reply
        if kind not in ("AWS", "MOCK"):
            raise NotSimulated(f"The sandbox does not run integrations of type {kind}.")
        parameters = _request_parameters(call, integration)
        body = _request_body(call, integration)
        log("Endpoint request body after transformations: {}", body)
        if kind == "MOCK":
            endpoint = _mock(body)
        elif function := _function_of(uri):
            endpoint = self._lambda(call, integration, uri, function, parameters, body, log)
        elif queue := _queue_of(uri):
            endpoint = self._sqs(call, integration, queue, parameters, body, log)
        else:
            raise NotSimulated(
                f"The sandbox runs integrations with Lambda functions and, by path, SQS queues; not {uri}."
            )
        elapsed = round((time.monotonic() - started) * 1000)
        log("Received response. Status: {}, Integration latency: {} ms", endpoint.status, elapsed)
        log("Endpoint response headers: {}", endpoint.headers)
        log("Endpoint response body before transformations: {}", endpoint.body)
        reply = _respond(call, integration, endpoint)
        log("Method response body after transformations: {}", reply.body)
        log("Method response headers: {}", dict(reply.headers))
        return reply

    # -- Lambda

    def _invoke(
        self, call: Call, integration: Definition, uri: str, function: str, payload: bytes, log: ExecutionLog
    ) -> Invocation:
        from sandbox.functions import NoSuchFunction, Refused

        region = function.split(":")[3]
        name = function.split(":")[6]
        log("Endpoint request URI: {}", f"https://lambda.{region}.amazonaws.com/{uri.split(':path/')[-1]}")
        credentials = integration.get("credentials")
        if credentials:
            # With a role the function's own policy is not asked.
            may = self._roles.assumable(credentials)
            if not (may and self._roles.allows(credentials, "lambda:InvokeFunction", function)):
                raise _configuration_error("Invalid permissions on Lambda function")
        else:
            path = call.resource.path.lstrip("/")
            source = (
                f"arn:{function.split(':')[1]}:execute-api:{call.snapshot.region}:{call.snapshot.account}:"
                f"{call.snapshot.api_id}/{call.stage}/{call.verb}/{path}"
            )
            if not self._functions.policy_allows(name, region, source):
                # AWS says so for a function that is gone as well: its policy went with it.
                raise _configuration_error("Invalid permissions on Lambda function")
        log("Sending request to {}", f"https://lambda.{region}.amazonaws.com/{uri.split(':path/')[-1]}")
        limit = (integration.get("timeoutInMillis") or DEFAULT_TIMEOUT_MS) / 1000
        try:
            result = _within(limit, lambda: self._functions.invoke(function, payload, region=region))
        except NoSuchFunction:
            raise _configuration_error("Invalid permissions on Lambda function") from None
        except Refused as refused:
            raise NotSimulated(refused.message) from None
        except TimeoutError:
            raise GatewayResponse(
                504,
                "InternalServerErrorException",
                "Endpoint request timed out",
                "Execution failed due to a timeout error",
            ) from None
        if result.status == 501:  # what the sandbox's Lambda does not do, said in its words
            raise NotSimulated(_member(result.payload, "message"))
        return result

    def _lambda(
        self,
        call: Call,
        integration: Definition,
        uri: str,
        function: str,
        parameters: Mapping[str, Mapping[str, str]],
        body: bytes,
        log: ExecutionLog,
    ) -> Endpoint:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-custom-integrations.html"""
        kind = {k.lower(): v for k, v in parameters["header"].items()}.get("x-amz-invocation-type")
        if kind not in (None, "RequestResponse"):
            raise NotSimulated("The sandbox does not run asynchronous Lambda integrations.")
        payload = body if body.strip() else b"{}"
        try:
            templates.parse_json(payload)
        except ValueError as error:
            # Lambda refuses it with InvalidRequestContentException. Status and first words are from field reports;
            # the rest is ours, since AWS's shows the state of its own (Java) parser.
            raise GatewayResponse(
                400,
                "BadRequestException",
                f"Could not parse request body into json: Could not parse payload into json: {error}",
                "Execution failed due to configuration error: Could not parse request body into json",
            ) from None
        result = self._invoke(call, integration, uri, function, payload, log)
        if result.status >= 400:
            raise _configuration_error(f"Lambda answered with status {result.status}")
        headers = {"Content-Type": "application/json"}
        selector = None
        if result.function_error:
            headers["X-Amz-Function-Error"] = result.function_error
            selector = _member(result.payload, "errorMessage")
        return Endpoint(result.status, result.payload, headers, selector)

    def _lambda_proxy(self, call: Call, integration: Definition, uri: str, log: ExecutionLog) -> Reply:
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""
        function = _function_of(uri)
        if function is None:
            raise NotSimulated(f"The sandbox runs AWS_PROXY integrations with Lambda functions only, not {uri}.")
        payload = json.dumps(_proxy_event(call)).encode()
        log("Endpoint request body after transformations: {}", payload)
        result = self._invoke(call, integration, uri, function, payload, log)
        log("Endpoint response body before transformations: {}", result.payload)
        malformed = GatewayResponse(
            502,
            "InternalServerErrorException",
            "Internal server error",
            "Execution failed due to configuration error: Malformed Lambda proxy response",
        )
        if result.status >= 400 or result.function_error:
            raise malformed
        try:
            answer = templates.parse_json(result.payload)
        except ValueError:
            raise malformed from None
        known = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
        if not isinstance(answer, dict) or set(answer) - known:
            raise malformed
        try:
            status = int(answer.get("statusCode", 200))
            text = answer.get("body")
            if text is not None and not isinstance(text, str):
                raise malformed
            body = (text or "").encode("utf-8", "replace")
            if answer.get("isBase64Encoded") and call.binary_media_types:
                body = base64.b64decode(body, validate=True)
            pairs = [(name, value) for name, value in (answer.get("headers") or {}).items()]
            for name, values in (answer.get("multiValueHeaders") or {}).items():
                pairs.extend((name, value) for value in values)
        except (TypeError, ValueError, AttributeError, binascii.Error):
            raise malformed from None
        if not 200 <= status <= 599:
            raise malformed
        headers = [(str(name), _on_the_wire(_scalar(value))) for name, value in pairs]
        if not all(_HEADER_NAME.fullmatch(name) for name, _ in headers):
            raise malformed
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        return Reply(status, body, [pair for pair in headers if pair[0].lower() not in _HOP_BY_HOP])

    # -- SQS

    def _sqs(
        self,
        call: Call,
        integration: Definition,
        queue: Queue,
        parameters: Mapping[str, Mapping[str, str]],
        body: bytes,
        log: ExecutionLog,
    ) -> Endpoint:
        headers = {name.lower(): value for name, value in parameters["header"].items()}
        endpoint = f"https://sqs.{queue.region}.amazonaws.com/{queue.account}/{queue.name}"
        log("Endpoint request URI: {}", endpoint)
        credentials = integration.get("credentials")
        if credentials and "::*:" in credentials:
            raise NotSimulated("The sandbox does not pass the caller's own identity on to an integration.")
        if credentials and not self._roles.assumable(credentials):
            raise _configuration_error("API Gateway does not have permission to assume the provided role")
        log("Sending request to {}", endpoint)
        target = headers.get("x-amz-target")
        if target:
            return self._sqs_by_json(queue, credentials, target, headers.get("content-type"), body)
        form_type = headers.get("content-type", "application/json").split(";")[0].strip().lower()
        form = list(parameters["querystring"].items())
        if form_type == "application/x-www-form-urlencoded":
            form.extend(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))
        return self._sqs_by_query(queue, credentials, form)

    def _sqs_by_query(self, queue: Queue, credentials: str | None, form: list[tuple[str, str]]) -> Endpoint:
        """The query protocol; SQS answers XML, of which API Gateway makes JSON."""
        fields = dict(form)
        action = fields.get("Action")
        if not action:
            # A forgotten Content-Type header ends here; SQS answers with an element and no words (field reports).
            return _sqs_endpoint(404, b"<UnknownOperationException/>", "application/xml")
        if action != "SendMessage":
            raise NotSimulated(f"The sandbox lets API Gateway send messages to SQS; it does not do {action}.")
        refused = self._roles.refusal(credentials, "sqs:SendMessage", queue)
        if refused is not None:
            return _sqs_error(403, "AccessDenied", refused)
        if not fields.get("MessageBody"):
            return _sqs_error(400, "MissingParameter", "The request must contain the parameter MessageBody.")
        unsound = _NOT_IN_A_MESSAGE.search(fields["MessageBody"])
        if unsound:
            return _sqs_error(400, "InvalidMessageContents", _invalid_contents(unsound[0]))
        try:
            answer = self._backend.call(
                "sqs",
                "POST",
                f"/{queue.account}/{queue.name}",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(form, errors="replace").encode(),
                region=queue.region,
            )
            tree = ElementTree.fromstring(answer.body)
        except Exception as error:
            # moto breaks on fields it does not expect, such as half a message attribute.
            return _sqs_error(400, "InvalidParameterValue", f"The sandbox's SQS could not read this: {error}")
        if not answer.ok:
            return _sqs_error(answer.status, _element(tree, "Code"), _element(tree, "Message"), _element(tree, "Type"))
        names = (
            "MD5OfMessageAttributes",
            "MD5OfMessageBody",
            "MD5OfMessageSystemAttributes",
            "MessageId",
            "SequenceNumber",
        )
        result = {name: _element(tree, name) or None for name in names}
        return _sqs_json(
            200,
            {
                "SendMessageResponse": {
                    "ResponseMetadata": {"RequestId": str(uuid.uuid4())},
                    "SendMessageResult": result,
                }
            },
        )

    def _sqs_by_json(
        self, queue: Queue, credentials: str | None, target: str, content_type: str | None, body: bytes
    ) -> Endpoint:
        """The JSON protocol: the action is in X-Amz-Target and the queue in the body's QueueUrl."""
        action = target.removeprefix("AmazonSQS.")
        try:
            sent = templates.parse_json(body)
        except ValueError:
            sent = None
        if not isinstance(sent, dict) or target == action:
            problem = "UnknownOperationException" if target == action else "SerializationException"
            return _sqs_endpoint(400, json.dumps({"__type": f"com.amazon.coral.service#{problem}"}).encode(), _SQS_JSON)
        named = [part for part in str(sent.get("QueueUrl") or "").split("/") if part]
        if len(named) >= 2 and re.fullmatch(r"\d{12}", named[-2]) and re.fullmatch(r"[\w-]+(\.fifo)?", named[-1]):
            queue = Queue(queue.partition, queue.region, named[-2], named[-1])
        refused = self._roles.refusal(credentials, f"sqs:{action}", queue)
        if refused is not None:
            denial = {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": refused}
            return _sqs_endpoint(403, json.dumps(denial).encode(), _SQS_JSON)
        contents = sent.get("MessageBody")
        unsound = _NOT_IN_A_MESSAGE.search(contents) if isinstance(contents, str) else None
        if unsound:
            wrong = {"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": _invalid_contents(unsound[0])}
            return _sqs_endpoint(400, json.dumps(wrong).encode(), _SQS_JSON)
        try:
            answer = self._backend.call(
                "sqs",
                "POST",
                "/",
                headers={"Content-Type": content_type or _SQS_JSON, "X-Amz-Target": target},
                body=body,
                region=queue.region,
            )
        except Exception:
            # moto breaks on members of a wrong type, which SQS refuses while it reads them.
            wrong = {"__type": "com.amazon.coral.service#SerializationException"}
            return _sqs_endpoint(400, json.dumps(wrong).encode(), _SQS_JSON)
        return _sqs_endpoint(answer.status, answer.body, _SQS_JSON)

    # ---------------------------------------------------------------------------------------- the control plane

    def _control_plane(self, request: Request, segments: list[str]) -> Response | None:
        caller = Caller(self._backend, request)
        match (request.method, segments):
            case ("POST", ["restapis", api, "resources", resource, "methods", verb]):
                # Outside the lock: the function may run for as long as it likes.
                return self._test_invoke(caller, api, resource, verb)
        with self._control:
            if request.method not in ("GET", "HEAD") and len(segments) > 1:
                for key in [key for key in self._stages if key[0] == segments[1]]:
                    del self._stages[key]
            return self._control_call(caller, request.method, segments)

    def _control_call(self, caller: Caller, verb: str, segments: list[str]) -> Response | None:
        match (verb, segments):
            case ("GET", ["restapis"]):
                return self._with_tags(caller.forward())
            case ("POST", ["restapis"]):
                return _made(caller.forward())
            case ("GET" | "PATCH" | "PUT", ["restapis", api]):
                return self._rest_api(caller, verb, api)
            case ("DELETE", ["restapis", api]):
                return self._delete_rest_api(caller, api)
            case ("POST", ["restapis", api, "deployments"]):
                return self._create_deployment(caller, api)
            case ("GET", ["restapis", api, "deployments"]):
                return _mapped(caller.forward(), lambda body: self._deployments_view(api, body))
            case (_, ["restapis", api, "deployments", deployment]):
                return self._deployment(caller, verb, api, deployment)
            case (_, ["restapis", api, "stages", *rest]) if len(rest) <= 1:
                return self._stage_call(caller, verb, api, rest)
            case ("GET", ["restapis", api, "resources", *rest]) if len(rest) <= 1:
                return _mapped(caller.forward(), lambda body: _resources_view(body, caller.embedded("methods")))
            case ("POST", ["restapis", api, "resources", parent]):
                return self._create_resource(caller, api, parent)
            case ("DELETE", ["restapis", api, "resources", resource]):
                return self._delete_resource(caller, api, resource)
            case (_, ["restapis", api, "resources", resource, "methods", name, *part]):
                return self._method(caller, verb, f"/restapis/{api}/resources/{resource}/methods/{name}", part)
            case ("PATCH", ["account"]):
                return self._update_account(caller)
            case (_, ["tags", *_]):
                return self._tags(caller, verb, segments)
            case (_, ["restapis", *_]):
                return caller.forward()
        return None

    def _rest_api(self, caller: Caller, verb: str, api: str) -> Response:
        if verb == "PATCH":
            for operation in _patch_operations(caller.json()):
                if operation.get("path") == "/disableExecuteApiEndpoint" and operation.get("value") == "false":
                    operation["value"] = ""  # moto takes any text for true
            return self._with_tags(caller.forward(caller.json()))
        return self._with_tags(caller.forward())

    def _with_tags(self, response: Response) -> Response:
        """Tags that were set after CreateRestApi; moto keeps only those given there."""

        def view(body: Any) -> Any:
            for api in body.get("item", [body]):
                if api.get("id") in self._api_tags:
                    api["tags"] = self._api_tags[api["id"]]
                for name in [name for name, value in api.items() if value is None]:
                    del api[name]
                if not api.get("tags"):
                    api.pop("tags", None)
            return body

        return _mapped(response, view)

    def _delete_rest_api(self, caller: Caller, api: str) -> Response:
        caller.require(f"/restapis/{api}")
        response = caller.forward()
        if response.status_code >= 300:
            return response
        for kept in (self._snapshots, self._descriptions, self._stage_times, self._stages):
            for key in [key for key in kept if key[0] == api]:
                kept.pop(key)
        self._api_tags.pop(api, None)
        return Response(b"", status=202, headers=_control_headers())

    # -- deployments and stages

    def _create_deployment(self, caller: Caller, api: str) -> Response:
        """moto is given the deployment without its stage, and the stage by CreateStage or UpdateStage.

        Left to itself, moto replaces an existing stage by a fresh one (its tags, variables and settings are lost)
        and refuses for ever to delete a deployment whose stage has moved on.
        """
        wanted = caller.json()
        stage = wanted.get("stageName")
        resources = caller.require(f"/restapis/{api}/resources").json().get("item", [])
        methods = [m for r in resources for m in (r.get("resourceMethods") or {}).values()]
        if not methods:
            raise Refusal(400, "BadRequestException", "The REST API doesn't contain any methods")
        if not all(method.get("methodIntegration") for method in methods):
            raise Refusal(400, "BadRequestException", "No integration defined for method")
        if stage:
            _check_stage_name(stage)
        answer = caller.ask("POST", f"/restapis/{api}/deployments", {"description": wanted.get("description") or ""})
        if not answer.ok:
            return _passed_on(answer)
        made = answer.json()
        self._snapshots[api, made["id"]] = Snapshot(api, caller.region, ACCOUNT, _resources(resources))
        if stage:
            stage_path = f"/restapis/{api}/stages"
            if caller.ask("GET", f"{stage_path}/{stage}").ok:
                changes = {"/deploymentId": made["id"]}
                if wanted.get("stageDescription"):
                    changes["/description"] = wanted["stageDescription"]
                changes |= {f"/variables/{k}": v for k, v in (wanted.get("variables") or {}).items()}
                operations = [{"op": "replace", "path": p, "value": v} for p, v in changes.items()]
                staged = caller.ask("PATCH", f"{stage_path}/{stage}", {"patchOperations": operations})
            else:
                options = ("variables", "cacheClusterEnabled", "cacheClusterSize", "tracingEnabled")
                details = {name: wanted[name] for name in options if wanted.get(name) is not None}
                details["description"] = wanted.get("stageDescription") or ""
                details |= {"stageName": stage, "deploymentId": made["id"]}
                staged = caller.ask("POST", stage_path, details)
            if not staged.ok:
                return _passed_on(staged)
            self._touch_stage(api, stage)
        return _json_response(201, self._deployment_view(api, made))

    def _deployment_view(self, api: str, deployment: Definition) -> Definition:
        deployment.pop("stageName", None)  # moto's own; AWS does not tell
        deployment["description"] = self._descriptions.get(
            (api, str(deployment.get("id"))), deployment.get("description")
        )
        return {name: value for name, value in deployment.items() if value not in (None, "")}

    def _deployments_view(self, api: str, body: Any) -> Any:
        body["item"] = [self._deployment_view(api, deployment) for deployment in body.get("item", [])]
        return body

    def _deployment(self, caller: Caller, verb: str, api: str, deployment: str) -> Response:
        self._require_deployment(caller, api, deployment)
        path = f"/restapis/{api}/deployments/{deployment}"
        if verb == "PATCH":
            for operation in _patch_operations(caller.json()):
                if operation.get("path") != "/description" or operation.get("op") not in (
                    "replace",
                    "remove",
                ):
                    raise Refusal(400, "BadRequestException", "Invalid patch path  specified for operation")
                self._descriptions[api, deployment] = str(operation.get("value") or "")
            return _json_response(200, self._deployment_view(api, caller.ask("GET", path).json()))
        if verb == "DELETE":
            stages = caller.ask("GET", f"/restapis/{api}/stages").json().get("item", [])
            if any(stage.get("deploymentId") == deployment for stage in stages):
                raise Refusal(
                    400,
                    "BadRequestException",
                    "Active stages pointing to this deployment must be moved or deleted",
                )
            response = caller.forward()
            if response.status_code < 300:
                self._snapshots.pop((api, deployment), None)
                self._descriptions.pop((api, deployment), None)
                return Response(b"", status=202, headers=_control_headers())
            return response
        return _mapped(caller.forward(), lambda body: self._deployment_view(api, body))

    def _require_deployment(self, caller: Caller, api: str, deployment: str | None) -> None:
        deployments = caller.require(f"/restapis/{api}/deployments").json().get("item", [])
        if deployment not in [item.get("id") for item in deployments]:
            raise Refusal(404, "NotFoundException", "Invalid Deployment identifier specified")

    def _stage_call(self, caller: Caller, verb: str, api: str, rest: list[str]) -> Response:
        stage = rest[0] if rest else None
        if verb == "POST" and stage is None:
            wanted = caller.json()
            _check_stage_name(wanted.get("stageName"))
            self._require_deployment(caller, api, wanted.get("deploymentId"))
            stage = wanted.get("stageName")
        if verb == "PATCH" and stage:
            caller.require(f"/restapis/{api}/stages/{stage}")
            for operation in _patch_operations(caller.json()):
                if operation.get("path") == "/deploymentId":
                    self._require_deployment(caller, api, operation.get("value"))
        response = caller.forward()
        if response.status_code < 300 and stage:
            if verb in ("POST", "PATCH"):
                self._touch_stage(api, stage)
            elif verb == "DELETE":
                self._stage_times.pop((api, stage), None)
                return Response(b"", status=202, headers=_control_headers())
        return _mapped(response, lambda body: self._stages_view(api, body))

    def _touch_stage(self, api: str, stage: str) -> None:
        now = int(time.time())
        created, _ = self._stage_times.get((api, stage), (now, now))
        self._stage_times[api, stage] = (created, now)

    def _stages_view(self, api: str, body: Any) -> Any:
        for stage in body.get("item", [body]):
            times = self._stage_times.get((api, str(stage.get("stageName"))))
            if times:
                stage["createdDate"], stage["lastUpdatedDate"] = times
            stage.setdefault("cacheClusterStatus", "NOT_AVAILABLE")
            stage.setdefault("tracingEnabled", False)
            for name in ("accessLogSettings", "variables", "description"):
                if not stage.get(name):
                    stage.pop(name, None)
        return body

    # -- resources

    def _create_resource(self, caller: Caller, api: str, parent: str) -> Response:
        part = str(caller.json().get("pathPart") or "")
        resources = caller.require(f"/restapis/{api}/resources").json().get("item", [])
        if parent not in [resource.get("id") for resource in resources]:
            raise Refusal(404, "NotFoundException", "Invalid Resource identifier specified")
        if not part:
            raise Refusal(
                400,
                "BadRequestException",
                "Resource's path part must be specified",
            )
        siblings = [resource for resource in resources if resource.get("parentId") == parent]
        for sibling in siblings:
            if sibling.get("pathPart") == part:
                raise Refusal(
                    409,
                    "ConflictException",
                    f"Another resource with the same parent already has this name: {part}",
                )
            if part.startswith("{") and str(sibling.get("pathPart")).startswith("{"):
                raise Refusal(
                    400,
                    "BadRequestException",
                    f"A sibling ({sibling['id']}) of this resource already has a variable path part"
                    " -- only one is allowed",
                )
        return caller.forward()

    def _delete_resource(self, caller: Caller, api: str, resource: str) -> Response:
        """With everything below it, which moto would leave behind without a parent."""
        resources = caller.require(f"/restapis/{api}/resources").json().get("item", [])
        by_id = {item["id"]: item for item in resources}
        if resource not in by_id:
            raise Refusal(404, "NotFoundException", "Invalid Resource identifier specified")
        if not by_id[resource].get("parentId"):
            raise Refusal(400, "BadRequestException", "Can't delete root resource.")
        doomed = [resource]
        for parent in doomed:
            doomed.extend(item["id"] for item in resources if item.get("parentId") == parent)
        for child in reversed(doomed):  # the deepest first: moto asks the parent for a resource's path
            answer = caller.ask("DELETE", f"/restapis/{api}/resources/{child}")
            if not answer.ok:
                return _passed_on(answer)
        return Response(b"", status=202, headers=_control_headers())

    # -- methods and what hangs on them

    def _method(self, caller: Caller, verb: str, path: str, part: list[str]) -> Response:
        if verb == "PUT" and not part:
            if caller.ask("GET", path).ok:
                raise Refusal(409, "ConflictException", "Method already exists for this resource")
            return _mapped(caller.forward(), _method_view)
        definition: Definition = caller.require(path).json()
        place = _Place(definition, part)
        if verb == "PUT":
            self._check_put(caller, place, definition)
            if place.kind == "integration":
                return _mapped(caller.forward(_with_defaults(caller.json(), path)), _integration_view)
            response = caller.forward()
            return _mapped(response, _method_view)
        if place.kind is None:
            return caller.forward()
        if place.missing:
            raise Refusal(404, "NotFoundException", place.missing)
        if verb == "PATCH":
            wanted = copy.deepcopy(definition)
            for operation in _patch_operations(caller.json()):
                _patch(_Place(wanted, part).value, operation, place.kind)
            self._rewrite(caller, path, wanted)
            changed = caller.require(path).json()
            return _json_response(200, place.view(_Place(changed, part).value))
        response = caller.forward()
        if verb == "DELETE":
            return response if response.status_code >= 300 else Response(b"", status=204, headers=_control_headers())
        return _mapped(response, place.view)

    def _check_put(self, caller: Caller, place: _Place, definition: Definition) -> None:
        if place.kind == "method response":
            if not place.missing:
                raise Refusal(409, "ConflictException", "Response already exists for this resource")
            return
        if place.kind != "integration response":
            return
        if not definition.get("methodIntegration"):
            raise Refusal(404, "NotFoundException", "Invalid Integration identifier specified")
        declared = (definition.get("methodResponses") or {}).get(place.status)
        if declared is None:
            raise Refusal(404, "NotFoundException", "Invalid Response status code specified")
        undeclared = [
            name
            for name in caller.json().get("responseParameters") or {}
            if name not in (declared.get("responseParameters") or {})
        ]
        if undeclared:
            errors = ", ".join(f"Invalid mapping expression parameter specified: {name}" for name in undeclared)
            raise Refusal(
                400,
                "BadRequestException",
                f"Invalid mapping expression specified: Validation Result: warnings : [], errors : [{errors}]",
            )

    def _rewrite(self, caller: Caller, path: str, wanted: Definition) -> None:
        """The whole method anew: moto has no PATCH for its parts, and each PUT empties what hangs on it."""
        caller.tell("PUT", path, _without_none({k: v for k, v in wanted.items() if k not in _HANGING}))
        for status, response in (wanted.get("methodResponses") or {}).items():
            caller.tell("PUT", f"{path}/responses/{status}", _without_none(response))
        integration = wanted.get("methodIntegration")
        if integration:
            caller.tell(
                "PUT",
                f"{path}/integration",
                _without_none({k: v for k, v in integration.items() if k != "integrationResponses"}),
            )
            for status, response in (integration.get("integrationResponses") or {}).items():
                caller.tell("PUT", f"{path}/integration/responses/{status}", _without_none(response))

    # -- account and tags

    def _update_account(self, caller: Caller) -> Response:
        """The role for execution logs must trust API Gateway and be allowed to write logs; an empty one resets."""
        for operation in _patch_operations(caller.json()):
            role = operation.get("value")
            if operation.get("path") != "/cloudwatchRoleArn" or not role:
                continue
            may = self._roles.assumable(str(role))
            if not (may and self._roles.allows(str(role), "logs:PutLogEvents", None)):
                raise Refusal(
                    400,
                    "BadRequestException",
                    "The role ARN does not have required permissions configured. Please grant trust permission"
                    " for API Gateway and add the required role policy.",
                )
        return _mapped(caller.forward(), _without_none)

    def _tags(self, caller: Caller, verb: str, segments: list[str]) -> Response:
        """/tags/{arn}; the ARN's own slashes have been decoded by the server, so it is put together again."""
        arn = unquote("/".join(segments[1:]))
        tail = arn.rpartition("::/")[2].split("/")
        if len(tail) == 4 and tail[0] == "restapis" and tail[2] == "stages":
            stage = caller.require(f"/restapis/{tail[1]}/stages/{tail[3]}").json()
            if verb == "GET":
                return _json_response(200, {"tags": stage.get("tags") or {}})
            caller.forward()
            return Response(b"", status=204, headers=_control_headers())
        if len(tail) != 2 or tail[0] != "restapis":
            raise NotSimulated(f"The sandbox keeps tags of REST APIs and their stages, not of {arn}.")
        api = tail[1]
        tags = dict(caller.require(f"/restapis/{api}").json().get("tags") or {})
        tags = dict(self._api_tags.get(api, tags))
        if verb == "GET":
            return _json_response(200, {"tags": tags})
        if verb == "PUT":
            tags.update(caller.json().get("tags") or {})
        else:
            for key in caller.request.args.getlist("tagKeys"):
                tags.pop(key, None)
        self._api_tags[api] = tags
        return Response(b"", status=204, headers=_control_headers())

    # -- TestInvokeMethod

    def _test_invoke(self, caller: Caller, api: str, resource_id: str, verb: str) -> Response:
        """https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeMethod.html

        The definition as it stands now, deployed or not, without authorization.
        """
        asked = caller.json()
        with self._control:
            listed = caller.require(f"/restapis/{api}/resources").json().get("item", [])
            api_definition = caller.require(f"/restapis/{api}").json()
        snapshot = Snapshot(api, caller.region, ACCOUNT, _resources(listed))
        resource = next((item for item in snapshot.resources if item.id == resource_id), None)
        if resource is None:
            raise Refusal(404, "NotFoundException", "Invalid Resource identifier specified")
        method = resource.methods.get(verb)
        if method is None:
            raise Refusal(404, "NotFoundException", "Invalid Method identifier specified")
        path, _, query = str(asked.get("pathWithQueryString") or resource.path).partition("?")
        headers = [(str(k), str(v)) for k, v in (asked.get("headers") or {}).items()]
        for name, values in (asked.get("multiValueHeaders") or {}).items():
            headers.extend((str(name), str(value)) for value in values)
        call = Call(
            snapshot=snapshot,
            stage=TEST_STAGE,
            stage_variables={str(k): str(v) for k, v in (asked.get("stageVariables") or {}).items()},
            resource=resource,
            verb=verb,
            method=method,
            path=path,
            path_parameters=_match(resource.segments, path) or {},
            query=parse_qsl(query, keep_blank_values=True, errors="replace"),
            headers=headers,
            body=str(asked.get("body") or "").encode("utf-8", "replace"),
            source_ip="test-invoke-source-ip",
            binary_media_types=tuple(api_definition.get("binaryMediaTypes") or ()),
        )
        log = ExecutionLog(call.request_id)
        log("Starting execution for request: {}", call.request_id)
        log("HTTP Method: {}, Resource Path: {}", verb, path)
        started = time.monotonic()
        try:
            reply = self._execute(call, log)
            log("Successfully completed execution")
        except GatewayResponse as own:
            reply = _own_reply(own)
            log(own.reason or own.message)
        except (NotSimulated, templates.UnknownConstruct) as lacking:
            raise NotSimulated(str(lacking)) from None
        log("Method completed with status: {}", reply.status)
        trace = ("X-Amzn-Trace-Id", f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}")
        all_headers: dict[str, list[str]] = {}
        for name, value in [*reply.headers, trace]:
            all_headers.setdefault(name, []).append(value)
        return _json_response(
            200,
            {
                "status": reply.status,
                "body": reply.body.decode("utf-8", "replace"),
                "headers": {name: values[-1] for name, values in all_headers.items()},
                "multiValueHeaders": all_headers,
                "log": log.text(),
                "latency": round((time.monotonic() - started) * 1000),
            },
        )


class ExecutionLog:
    """Lines in the manner of API Gateway's execution log; keeps none when there is no one to read them.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-test-method.html shows one.
    """

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._lines: list[str] = []

    def __call__(self, line: str, *values: object) -> None:
        if self._request_id is None:
            return
        moment = datetime.now(timezone.utc).strftime("%a %b %d %H:%M:%S UTC %Y")
        shown = [self._shown(value) for value in values]
        self._lines.append(f"{moment} : {line.format(*shown) if shown else line}")

    @staticmethod
    def _shown(value: object) -> str:
        if isinstance(value, bytes):
            text = value.decode("utf-8", "replace")
            return text if len(text) <= LOGGED else f"{text[:LOGGED]} [TRUNCATED]"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{name}={content}" for name, content in value.items()) + "}"
        return str(value)

    def text(self) -> str:
        return "\n".join([f"Execution log for request {self._request_id}", *self._lines, ""])


class Caller:
    """A control-plane request and questions to moto with the same account and Region."""

    def __init__(self, backend: Backend, request: Request) -> None:
        scope = credential_scope(request.headers.get("Authorization", ""))
        self.request = request
        self.region = region_of(request)
        self._credentials = Credentials(scope.access_key) if scope else None
        self._backend = backend

    def json(self) -> Definition:
        """The request's body, parsed once, so that a change to it is a change for all."""
        if not hasattr(self, "_body"):
            raw = self.request.get_data(cache=True)
            try:
                self._body = templates.parse_json(raw) if raw.strip() else {}
            except ValueError:
                self._body = None
            if not isinstance(self._body, dict):
                raise Refusal(400, "SerializationException", "Invalid JSON in request")
        return self._body

    def embedded(self, what: str) -> bool:
        return what in self.request.args.getlist("embed")

    def ask(self, method: str, path: str, body: Definition | None = None) -> Answer:
        with _moto_at_work(method, path):
            return self._backend.call(
                "apigateway",
                method,
                path,
                headers={"Content-Type": "application/json"},
                body=json.dumps(body).encode() if body is not None else b"",
                region=self.region,
                credentials=self._credentials,
            )

    def require(self, path: str) -> Answer:
        """A GET whose thing must exist; otherwise the whole call ends with moto's refusal in AWS's shape."""
        answer = self.ask("GET", path)
        if not answer.ok:
            raise _as_refusal(answer.status, answer.body, answer.header("x-amzn-errortype"), path)
        return answer

    def tell(self, method: str, path: str, body: Definition) -> None:
        answer = self.ask(method, path, body)
        if not answer.ok:
            raise _as_refusal(answer.status, answer.body, answer.header("x-amzn-errortype"), path)

    def forward(self, changed: Definition | None = None) -> Response:
        """The request itself, with another body if one is given; errors come back in AWS's shape."""
        if changed is None:
            with _moto_at_work(self.request.method, self.request.path):
                response = self._backend.forward(self.request)
        else:
            answer = self.ask(self.request.method, self.request.path, changed)
            response = Response(answer.body, status=answer.status, headers=answer.headers)
        if response.status_code >= 400:
            raise _as_refusal(
                response.status_code,
                response.get_data(),
                response.headers.get("x-amzn-errortype"),
                self.request.path,
                self.request.method,
            )
        return response


@contextmanager
def _moto_at_work(method: str, path: str) -> Iterator[None]:
    """What moto has no answer for ends in one of its own exceptions, of any class."""
    try:
        yield
    except Exception as error:
        raise NotSimulated(
            f"The sandbox's API Gateway does not answer {method} {path} ({type(error).__name__}: {error})."
        ) from error


class IntegrationRoles(Roles):
    """Whether a role may do for API Gateway what an integration asks of it.

    Role and queue are in one account here, where the role's policies or the queue's suffice and a denial in either
    wins: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._iam = backend
        self._trusts: dict[str, tuple[int, bool]] = {}
        self._queues: dict[str, tuple[float, list[Statement]]] = {}

    def forget_queues(self) -> None:
        self._queues = {}

    def assumable(self, role_arn: str) -> bool:
        """Whether the role exists and trusts API Gateway."""
        serial = self._iam.iam_serial
        kept = self._trusts.get(role_arn)
        if kept is None or kept[0] != serial:
            kept = self._trusts[role_arn] = (serial, self._trusts_gateway(role_arn))
        return kept[1]

    def _trusts_gateway(self, role_arn: str) -> bool:
        try:
            answer = self._iam.query("iam", "GetRole", {"RoleName": role_arn.rpartition("/")[2]})
        except BackendError as error:
            if error.code == "NoSuchEntity":
                return False
            raise
        tree = ElementTree.fromstring(answer)
        if _element(tree, "Arn") != role_arn:
            return False
        service = {"Service": "apigateway.amazonaws.com"}
        trust = _statements(_element(tree, "AssumeRolePolicyDocument"))
        return allowed(_about(trust, service), "sts:AssumeRole", None)

    def refusal(self, role_arn: str | None, action: str, queue: Queue) -> str | None:
        """SQS's words when neither the role's policies nor the queue's allow it; None when one does."""
        of_queue = self._queue_statements(queue)
        if role_arn is None:
            if allowed(_about(of_queue, {}), action, queue.arn):
                return None
            return f"Access to the resource https://sqs.{queue.region}.amazonaws.com/ is denied."
        session = f"{role_arn.rpartition('/')[2]}/{SESSION}"
        assumed = f"arn:{queue.partition}:sts::{role_arn.split(':')[4]}:assumed-role/{session}"
        context = {"aws:PrincipalArn": role_arn}
        spoken = {
            kind: {one.get("Effect") for one in held if matches(one, action, queue.arn, context)}
            for kind, held in (
                ("an identity-based", self._statements(role_arn)),
                ("a resource-based", _about(of_queue, {"AWS": role_arn})),
            )
        }
        word = action.lower()
        refused = f"User: {assumed} is not authorized to perform: {word} on resource: {queue.arn}"
        for kind, effects in spoken.items():
            if "Deny" in effects:
                return f"{refused} with an explicit deny in {kind} policy"
        if any("Allow" in effects for effects in spoken.values()):
            return None
        return f"{refused} because no identity-based policy allows the {word} action"

    def _queue_statements(self, queue: Queue) -> list[Statement]:
        known = self._queues
        kept = known.get(queue.arn)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        url = f"https://sqs.{queue.region}.amazonaws.com/{queue.account}/{queue.name}"
        asked = {"QueueUrl": url, "AttributeNames": ["Policy"]}
        try:
            read = self._iam.sqs("GetQueueAttributes", asked, region=queue.region)
        except BackendError:
            return []  # no such queue: SQS says so itself, once the role may ask
        statements = _statements(read.get("Attributes", {}).get("Policy") or "{}")
        # Into the dictionary as it was before reading: what was read before a write is not kept past it.
        known[queue.arn] = (time.monotonic() + QUEUE_POLICY_KEPT, statements)
        return statements


@dataclass(frozen=True)
class Queue:
    partition: str
    region: str
    account: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"


def _statements(document: str) -> list[Statement]:
    """Of a policy document; one that cannot be read allows nothing."""
    try:
        parsed = parse_document(document)
    except ValueError:
        return []
    return as_list(parsed.get("Statement")) if isinstance(parsed, dict) else []


def _about(statements: Iterable[Statement], who: Mapping[str, str]) -> list[Statement]:
    """The statements whose Principal names `who` ({"AWS": arn} or {"Service": name}) or everyone.

    One that names the account (root) is not among them: it leaves the word to the role's own policies.
    """
    named = []
    for statement in statements:
        principal = statement.get("Principal")
        if principal == "*":
            named.append(statement)
        elif isinstance(principal, dict):
            aws = as_list(principal.get("AWS"))
            if "*" in aws or any(name in as_list(principal.get(kind)) for kind, name in who.items()):
                named.append(statement)
        elif "NotPrincipal" in statement:
            raise NotSimulated("The sandbox's API Gateway does not evaluate NotPrincipal in policies.")
    return named


# ------------------------------------------------------------------------------------------------------------- XML


def _elements(tree: ElementTree.Element | None, name: str) -> list[str]:
    """Texts of all elements of this name, whatever their namespace."""
    if tree is None:
        return []
    return [(found.text or "").strip() for found in tree.iter() if found.tag.rpartition("}")[2] == name]


def _element(tree: ElementTree.Element, name: str) -> str:
    return next(iter(_elements(tree, name)), "")


# --------------------------------------------------------------------------------------------------------- routing


def _resources(listed: Iterable[Definition]) -> tuple[Resource, ...]:
    return tuple(
        Resource(item["id"], item["path"], copy.deepcopy(item.get("resourceMethods") or {})) for item in listed
    )


def _match(pattern: list[str], path: str) -> dict[str, str] | None:
    """The path parameters, decoded, when the path fits the resource; None when it does not."""
    segments = [segment for segment in path.split("/") if segment]
    parameters: dict[str, str] = {}
    for position, part in enumerate(pattern):
        if part.startswith("{") and part.endswith("+}"):
            rest = segments[position:]
            if not rest:
                return None
            parameters[part[1:-2]] = "/".join(unquote(segment) for segment in rest)
            return parameters
        if position >= len(segments):
            return None
        if part.startswith("{") and part.endswith("}"):
            parameters[part[1:-1]] = unquote(segments[position])
        elif part != unquote(segments[position]):
            return None
    return parameters if len(segments) == len(pattern) else None


def _specificity(resource: Resource) -> tuple[int, ...]:
    return tuple(2 if s.endswith("+}") else 1 if s.startswith("{") else 0 for s in resource.segments)


def _route(snapshot: Snapshot, path: str) -> tuple[Resource, dict[str, str]] | None:
    """The most specific resource, whether it has the verb or not: AWS does not look for a second best.

    A slash at the end of the path does not count.
    """
    found = []
    for resource in snapshot.resources:
        if not resource.methods:
            continue
        parameters = _match(resource.segments, path)
        if parameters is not None:
            found.append((_specificity(resource), resource, parameters))
    if not found:
        return None
    _, resource, parameters = min(found, key=lambda entry: entry[0])
    return resource, parameters


def _check_authorization(method: Definition, request: Request) -> None:
    kind = method.get("authorizationType") or "NONE"
    if kind == "AWS_IAM" and "Authorization" not in request.headers:
        raise _missing_token()
    if kind != "NONE":
        raise NotSimulated(f"The sandbox does not check authorization of type {kind}.")
    if method.get("apiKeyRequired"):
        if "X-Api-Key" not in request.headers:
            raise _forbidden()
        raise NotSimulated("The sandbox does not check API keys.")


# --------------------------------------------------------------------------------------------------------- mapping


def _render(template: str, call: Call, body: str) -> str:
    try:
        return templates.render(
            template,
            body=body,
            params=call.parameters(),
            context=call.context(),
            stage_variables=call.stage_variables,
        )
    except templates.TemplateError as error:
        raise _configuration_error(f"Unable to transform: {error}") from None


def _source(expression: str, call: Call, response: Endpoint | None = None) -> str | None:
    """The value of a parameter mapping's right side; None when the request does not have it.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/request-response-data-mappings.html
    """
    if len(expression) >= 2 and expression[0] == expression[-1] == "'":
        return expression[1:-1]
    for prefix, values in (
        ("method.request.header.", None),
        ("method.request.querystring.", dict(call.query)),
        ("method.request.path.", call.path_parameters),
        ("stageVariables.", call.stage_variables),
    ):
        if expression.startswith(prefix):
            name = expression[len(prefix) :]
            return call.header(name) if values is None else values.get(name)
    body: bytes | None = None
    if expression.startswith("method.request.body"):
        body, expression = call.body, expression[len("method.request.body") :]
    elif response is not None and expression.startswith("integration.response.body"):
        body, expression = response.body, expression[len("integration.response.body") :]
    if body is not None:
        text = body.decode("utf-8", "replace")
        if not expression:
            return text
        return templates.render(
            "$input.path($path)".replace("$path", "'$" + expression.replace("'", '"') + "'"),
            body=text,
            params={},
            context={},
            stage_variables={},
        )
    if response is not None and expression.startswith("integration.response.header."):
        wanted = expression.rpartition(".")[2].lower()
        return next((v for k, v in response.headers.items() if k.lower() == wanted), None)
    if expression.startswith("context."):
        value: Any = call.context()
        for name in expression.split(".")[1:]:
            if not isinstance(value, dict) or name not in value:
                raise NotSimulated(f"The sandbox does not know {expression} in parameter mappings.")
            value = value[name]
        return str(value)
    raise NotSimulated(f"The sandbox does not know {expression} in parameter mappings.")


def _request_parameters(call: Call, integration: Definition) -> dict[str, dict[str, str]]:
    mapped: dict[str, dict[str, str]] = {"header": {}, "querystring": {}, "path": {}}
    for target, expression in (integration.get("requestParameters") or {}).items():
        place = re.fullmatch(r"integration\.request\.(header|querystring|path)\.(.+)", target)
        if place is None:
            raise NotSimulated(f"The sandbox does not know {target} in parameter mappings.")
        value = _source(str(expression), call)
        if value is not None:
            mapped[place[1]][place[2]] = value
    return mapped


def _request_body(call: Call, integration: Definition) -> bytes:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/integration-passthrough-behaviors.html"""
    body = call.body
    handling = integration.get("contentHandling")
    if handling == "CONVERT_TO_TEXT" and call.binary:
        body = base64.b64encode(body)
    elif handling == "CONVERT_TO_BINARY" and not call.binary:
        body = _from_base64(body)
    by_type = {kind.lower(): text for kind, text in (integration.get("requestTemplates") or {}).items()}
    if call.media_type in by_type:
        template = by_type[call.media_type]
        if not template:
            return body
        return _render(template, call, body.decode("utf-8", "replace")).encode("utf-8", "replace")
    behaviour = integration.get("passthroughBehavior") or "WHEN_NO_MATCH"
    if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and by_type):
        raise _unsupported_media_type()
    return body


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise _configuration_error("Unable to base64 decode the body.") from None


def _mock(body: bytes) -> Endpoint:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html"""
    try:
        status = templates.parse_json(body)["statusCode"]
        if isinstance(status, bool) or not 100 <= int(status) <= 599:
            raise ValueError(status)
    except (ValueError, TypeError, KeyError, LookupError):
        raise _configuration_error("Unable to parse statusCode. It should be an integer") from None
    return Endpoint(int(status), b"", {}, str(int(status)))


def _respond(call: Call, integration: Definition, endpoint: Endpoint) -> Reply:
    responses = list((integration.get("integrationResponses") or {}).values())
    chosen = None
    if endpoint.selector is not None:
        for response in responses:
            pattern = response.get("selectionPattern")
            if pattern and _selects(pattern, endpoint.selector):
                chosen = response
                break
    if chosen is None:
        chosen = next((response for response in responses if not response.get("selectionPattern")), None)
    if chosen is None:
        raise _configuration_error("No match for output mapping and no default output mapping configured")
    status = str(chosen.get("statusCode"))
    if status not in (call.method.get("methodResponses") or {}):
        raise _configuration_error("Output mapping refers to an invalid method response: " + status)

    media_type, template = _response_template(call, chosen.get("responseTemplates") or {})
    body = endpoint.body
    if template:
        text = _render(template, call, body.decode("utf-8", "replace"))
        body = text.encode("utf-8", "replace")
    if chosen.get("contentHandling") == "CONVERT_TO_BINARY":
        body = _from_base64(body)
    headers = [("Content-Type", media_type)]
    for target, expression in (chosen.get("responseParameters") or {}).items():
        name = target.removeprefix("method.response.header.")
        value = _source(str(expression), call, endpoint)
        if value is None:
            continue
        if _HEADER_NAME.fullmatch(name) is None:
            raise _configuration_error(f"Invalid mapping expression parameter specified: {target}")
        value = _on_the_wire(value)
        if name.lower() == "content-type":
            headers = [pair for pair in headers if pair[0] != "Content-Type"]
        if name.lower() not in _HOP_BY_HOP:
            headers.append((name, value))
    return Reply(int(status), body, headers)


def _selects(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except (re.error, RecursionError) as error:
        raise NotSimulated(f"The sandbox cannot read the selection pattern {pattern} ({error}).") from None


def _response_template(call: Call, by_type: Mapping[str, str | None]) -> tuple[str, str | None]:
    """Content type and template: the type the client accepts, else JSON, else the first."""
    if not by_type:
        return "application/json", None
    accepted = [part.split(";")[0].strip().lower() for part in (call.header("Accept") or "").split(",")]
    for media_type in [*accepted, "application/json", *by_type]:
        if media_type in by_type:
            return media_type, by_type[media_type]
    return "application/json", None


_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "date"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _on_the_wire(value: str) -> str:
    """A header's value as WSGI wants it: UTF-8 dressed as latin-1, and in one line whatever a client put into it."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]+", " ", value).encode("utf-8", "replace").decode("latin-1")


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


# ---------------------------------------------------------------------------------------------------- integrations


def _function_of(uri: str) -> str | None:
    """The function's ARN in arn:aws:apigateway:region:lambda:path/2015-03-31/functions/{arn}/invocations."""
    found = re.fullmatch(
        r"arn:[\w-]+:apigateway:[\w-]+:lambda:path/2015-03-31/functions/"
        r"(arn:[\w-]+:lambda:[\w-]+:\d{12}:function:[\w$-]+(?::[\w$-]+)?)/invocations",
        uri,
    )
    return found[1] if found else None


def _queue_of(uri: str) -> Queue | None:
    found = re.fullmatch(r"arn:([\w-]+):apigateway:([\w-]+):sqs:path/(?:/?)(\d{12})/([\w-]+(?:\.fifo)?)", uri)
    return Queue(found[1], found[2], found[3], found[4]) if found else None


Result = TypeVar("Result")


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """The result of `work`, or TimeoutError; the work itself goes on, as a function does behind a timed-out call."""
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="gateway-invoke", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError
    return outcome[0]


def _member(payload: bytes, name: str) -> str:
    """A text in a JSON object; empty where there is none."""
    try:
        error = templates.parse_json(payload)
    except ValueError:
        return ""
    message = error.get(name) if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""


def _proxy_event(call: Call) -> dict[str, Any]:
    """The event of a proxy integration, payload format 1.0."""

    def many(pairs: list[tuple[str, str]]) -> dict[str, list[str]] | None:
        grouped: dict[str, list[str]] = {}
        for name, value in pairs:
            grouped.setdefault(name, []).append(value)
        return grouped or None

    context = call.context()
    context["resourceId"] = call.resource.id
    context.pop("authorizer")
    context["identity"] = {name: value or None for name, value in context["identity"].items()}
    if call.binary:
        body: str | None = base64.b64encode(call.body).decode()
    else:
        body = call.body.decode("utf-8", "replace") if call.body else None
    return {
        "resource": call.resource.path,
        "path": unquote(call.path),
        "httpMethod": call.verb,
        "headers": dict(call.headers) or None,
        "multiValueHeaders": many(call.headers),
        "queryStringParameters": dict(call.query) or None,
        "multiValueQueryStringParameters": many(call.query),
        "pathParameters": dict(call.path_parameters) or None,
        "stageVariables": dict(call.stage_variables) or None,
        "requestContext": context,
        "body": body,
        "isBase64Encoded": call.binary,
    }


_SQS_JSON = "application/x-amz-json-1.0"

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_NOT_IN_A_MESSAGE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _invalid_contents(character: str) -> str:
    return (
        f"Invalid binary character '#x{ord(character):X}' was found in the message body, the set of allowed characters "
        "is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )


def _sqs_endpoint(status: int, body: bytes, content_type: str) -> Endpoint:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return Endpoint(status, body, headers, str(status))


def _sqs_json(status: int, document: Mapping[str, Any]) -> Endpoint:
    return _sqs_endpoint(status, json.dumps(document, separators=(",", ":")).encode(), "application/json")


def _sqs_error(status: int, code: str, message: str, kind: str = "") -> Endpoint:
    fault = kind or ("Sender" if status < 500 else "Receiver")
    error = {"Code": code, "Message": message, "Type": fault}
    return _sqs_json(status, {"Error": error, "RequestId": str(uuid.uuid4())})


# --------------------------------------------------------------------------------------------------------- answers


def _control_headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "x-amzn-RequestId": str(uuid.uuid4())}


def _json_response(status: int, body: Any) -> Response:
    return Response(json.dumps(body).encode(), status=status, headers=_control_headers())


def _error(status: int, error_type: str, message: str) -> Response:
    response = _json_response(status, {"message": message})
    response.headers["x-amzn-ErrorType"] = error_type
    return response


def _reply(status: int, error_type: str, message: str) -> Reply:
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return Reply(status, body, [("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type)])


def _own_reply(own: GatewayResponse) -> Reply:
    return _reply(own.status, own.error_type, own.message)


def _passed_on(answer: Answer) -> Response:
    return _json_response(answer.status, answer.json())


def _mapped(response: Response, view: Callable[[Any], Any]) -> Response:
    """moto's answer with its body seen through `view`."""
    if response.status_code >= 300:
        return response
    try:
        body = json.loads(response.get_data())
    except ValueError:
        return response
    return _json_response(response.status_code, view(body))


def _made(response: Response) -> Response:
    """CreateRestApi answers 201; moto says 200."""
    made = _mapped(response, lambda body: {name: value for name, value in body.items() if value is not None})
    made.status_code = 201
    return made


def _as_refusal(
    status: int, body: bytes, error_type: str | None, path: str, method: str = "GET"
) -> Refusal | NotSimulated:
    """moto's error in AWS's shape; what moto does not have, or breaks on, is not simulated."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = {}
    message = parsed.get("message") if isinstance(parsed, dict) else None
    if status >= 500 or status == 405 or not message:
        return NotSimulated(f"The sandbox's API Gateway does not answer {method} {path}.")
    if status == 404 and message in ("Invalid Rest API Id specified", "Invalid API identifier specified"):
        message = f"Invalid API identifier specified {ACCOUNT}:{path.split('/')[2]}"
    if message == "Invalid resource identifier specified":
        message = "Invalid Resource identifier specified"
    return Refusal(status, error_type or str(parsed.get("__type") or "BadRequestException"), str(message))


def _check_stage_name(name: object) -> None:
    if not isinstance(name, str) or re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) is None:
        # The wording is from field reports of a time when the hyphen was not allowed yet.
        raise Refusal(400, "BadRequestException", "Stage name only allows a-zA-Z0-9-_")


def _patch_operations(body: Definition) -> list[Definition]:
    operations = body.get("patchOperations")
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise Refusal(400, "BadRequestException", "Invalid patch operations specified")
    return operations


def _without_none(definition: Definition) -> Definition:
    return {name: value for name, value in definition.items() if value is not None}


_HANGING = ("methodResponses", "methodIntegration")


def _resources_view(body: Any, embedded: bool) -> Any:
    """Methods stand in GetResources only with embed=methods; otherwise their verbs, with nothing in them."""
    for resource in body.get("item", [body]):
        methods = resource.get("resourceMethods")
        if methods:
            resource["resourceMethods"] = {
                verb: _method_view(method) if embedded else {} for verb, method in methods.items()
            }
    return body


def _integration_response_view(response: Definition) -> Definition:
    return {k: v for k, v in response.items() if v is not None and (v != {} or k != "responseTemplates")}


def _integration_view(integration: Definition) -> Definition:
    seen = _without_none(integration)
    if seen.get("integrationResponses"):
        seen["integrationResponses"] = {
            status: _integration_response_view(response) for status, response in seen["integrationResponses"].items()
        }
    return seen


def _method_view(method: Definition) -> Definition:
    """A method or a method response without the members that are not set; AWS leaves those out."""
    seen = _without_none(method)
    if seen.get("methodIntegration"):
        seen["methodIntegration"] = _integration_view(seen["methodIntegration"])
    if "methodResponses" in seen:
        seen["methodResponses"] = {k: _without_none(v) for k, v in seen["methodResponses"].items()}
        if not seen["methodResponses"]:
            del seen["methodResponses"]
    return seen


def _with_defaults(wanted: Definition, path: str) -> Definition:
    """What AWS fills in for PutIntegration and moto leaves empty."""
    defaults = {
        "passthroughBehavior": "WHEN_NO_MATCH",
        "timeoutInMillis": DEFAULT_TIMEOUT_MS,
        "cacheNamespace": path.split("/")[4],
    }
    return defaults | _without_none(wanted)


class _Place:
    """The part of a method that a path below /methods/{verb} speaks of."""

    def __init__(self, method: Definition, part: list[str]) -> None:
        self.kind: str | None
        self.status = part[-1] if part else ""
        self.missing = ""
        self.value: Any = None
        self.view: Callable[[Any], Any] = _method_view
        match part:
            case []:
                self.kind, self.value = "method", method
            case ["responses", status]:
                self.kind = "method response"
                self.value = (method.get("methodResponses") or {}).get(status)
                self.missing = "" if self.value else "Invalid Response status code specified"
            case ["integration"]:
                self.kind, self.value, self.view = (
                    "integration",
                    method.get("methodIntegration"),
                    _integration_view,
                )
                self.missing = "" if self.value else "Invalid Integration identifier specified"
            case ["integration", "responses", status]:
                self.kind, self.view = "integration response", _integration_response_view
                integration = method.get("methodIntegration")
                self.value = ((integration or {}).get("integrationResponses") or {}).get(status)
                if not integration:
                    self.missing = "Invalid Integration identifier specified"
                elif not self.value:
                    self.missing = "Invalid Response status code specified"
            case _:
                self.kind = None


_MAPS = (
    "requestTemplates",
    "requestParameters",
    "responseTemplates",
    "responseParameters",
    "responseModels",
    "requestModels",
)
_SETTABLE: dict[str, tuple[str, ...]] = {
    "method": (
        "authorizationType", "authorizerId", "apiKeyRequired", "operationName", "requestValidatorId",
        "requestParameters", "requestModels",
    ),
    "method response": ("responseModels", "responseParameters"),
    "integration": (
        "uri", "httpMethod", "credentials", "passthroughBehavior", "contentHandling", "timeoutInMillis",
        "cacheNamespace", "connectionType", "requestTemplates", "requestParameters",
    ),
    "integration response": (
        "selectionPattern", "contentHandling", "responseTemplates", "responseParameters",
    ),
}  # fmt: skip


def _patch(target: Definition, operation: Definition, kind: str) -> None:
    """One patch operation; paths escape / as ~1 (RFC 6901).

    https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
    """
    steps = [part.replace("~1", "/").replace("~0", "~") for part in str(operation.get("path")).split("/")[1:]]
    verb, value = operation.get("op"), operation.get("value")
    name = steps[0] if steps else ""
    whole_map = name in _MAPS and len(steps) == 1 and verb == "remove"
    if name not in _SETTABLE[kind] or (len(steps) != (2 if name in _MAPS else 1) and not whole_map):
        raise Refusal(400, "BadRequestException", f"Invalid patch path {operation.get('path')}")
    if verb not in ("add", "replace", "remove"):
        raise NotSimulated(f"The sandbox does not know the patch operation {verb}.")
    if name in ("apiKeyRequired",) or (name in ("requestParameters", "responseParameters") and "method" in kind):
        value = value in (True, "true")
    if name == "timeoutInMillis" and verb != "remove":
        try:
            value = int(str(value))
        except ValueError:
            raise Refusal(400, "BadRequestException", f"Invalid timeout {value}") from None
    if len(steps) == 2:
        values = dict(target.get(name) or {})
        if verb == "remove":
            values.pop(steps[1], None)
        else:
            values[steps[1]] = value if value is not None else ""
        target[name] = values
    elif verb == "remove":
        target[name] = {} if name in _MAPS else None
    else:
        target[name] = value if value != "" else None
