"""API Gateway REST: what a deployed API answers, and TestInvokeMethod.

moto keeps the definitions (APIs, resources, methods, integrations, deployments, stages) and serves none of them. This
layer routes a request through the snapshot of a deployment, maps it, runs the integration
(`sandbox.apigateway.integrations`) and maps the answer. Control-plane calls go to `sandbox.apigateway.apis`.

Not simulated, and answered 501 with a sentence that names it: HTTP and VPC integrations, AWS services other
than Lambda and SQS, authorizers, quotas of usage plans, request validators, binary bodies, template constructs outside
`sandbox.apigateway.templates`.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.wrappers import Request, Response

from sandbox.apigateway import templates
from sandbox.apigateway.access import Access, forbidden, missing_token
from sandbox.apigateway.apis import Apis
from sandbox.apigateway.caller import Caller
from sandbox.apigateway.execution import (
    HEADER_NAME,
    Call,
    Definition,
    ExecutionLog,
    GatewayResponse,
    IntegrationRequest,
    IntegrationResponse,
    Reply,
    Resource,
    Snapshot,
    configuration_error,
    grouped,
)
from sandbox.apigateway.integrations import Integrations
from sandbox.backend import Backend
from sandbox.iam.permissions import Principal
from sandbox.lambda_.functions import Functions
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused, Words, answer_json

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_PAYLOAD = 10 * 1024 * 1024

SERVED = re.compile(r"/*restapis/+([^/]+)/+([^/]+)/+_user_request_(/.*)?", re.DOTALL)
HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "date"})


class Gateway:
    """API Gateway in front of moto: `serve` answers an API's users, `handle` its owners."""

    def __init__(
        self,
        backend: Backend,
        functions: Functions,
        identify: Callable[[str], Principal | None] = lambda key: None,
        misses_key: Callable[[Operation], Words | None] = lambda operation: None,
    ) -> None:
        self._backend = backend
        self._apis = Apis(backend, functions.permissions)
        self._integrations = Integrations(backend, functions)
        self._access = Access(functions.permissions, identify, misses_key, self._apis.keys.plan_of)

    def serve(self, request: Request) -> Response | None:
        """The answer of a deployed API; None for a request that is not to one."""
        segments = [segment for segment in request.path.split("/") if segment]
        if segments[:1] == ["restapis"] and segments[3:4] == ["_user_request_"]:
            return self._serve(request)
        return None

    def handle(self, operation: Operation) -> Response | None:
        """The answer to a control-plane call; None for what moto can answer. Raises Refused, NotSimulated."""
        caller = Caller(self._backend, operation)
        return self._test(caller) if operation.name == "TestInvokeMethod" else self._apis.handle(caller)

    # -- a deployed API

    def _serve(self, request: Request) -> Response:
        request_id, extended_id = str(uuid.uuid4()), _extended_id()
        try:
            reply = self._execute(self._receive(request, request_id, extended_id))
        except GatewayResponse as own:
            reply = _own_reply(own.status, own.error_type, own.message)
        except NotSimulated as lacking:
            reply = _own_reply(501, "NotImplementedException", str(lacking))
        headers = [
            ("x-amzn-RequestId", request_id),
            ("x-amz-apigw-id", extended_id),
            ("X-Amzn-Trace-Id", _trace_id()),
            # WSGI wants UTF-8 decoded as latin-1.
            *((name, value.encode("utf-8", "replace").decode("latin-1")) for name, value in reply.headers),
        ]
        return Response(reply.body, status=reply.status, headers=headers)

    def _receive(self, request: Request, request_id: str, extended_id: str) -> Call:
        # The path as it was sent: in the decoded one, %2F looks like a slash.
        parts = SERVED.fullmatch(request.environ["RAW_URI"].partition("?")[0])
        if parts is None:
            raise missing_token()
        api, stage_name, path = unquote(parts[1]), unquote(parts[2]), parts[3] or "/"
        body = request.get_data(cache=True)
        if len(body) > MAX_PAYLOAD:
            raise GatewayResponse(413, "RequestTooLargeException", "Request Too Long")
        stage = self._apis.stage(api, stage_name)
        if stage is None or stage.endpoint_disabled:
            raise forbidden()
        resource, path_parameters = _route(stage.snapshot, path)
        method = resource.methods.get(request.method) or resource.methods.get("ANY")
        if method is None:
            raise missing_token()
        self._access.check(stage, resource, request.method, path, request)
        query = request.query_string.decode("latin-1")
        return Call(
            stage=stage,
            resource=resource,
            verb=request.method,
            method=method,
            path=path,
            path_parameters=path_parameters,
            query=parse_qsl(query, keep_blank_values=True, errors="replace"),
            headers=list(request.headers.items()),
            body=body,
            source_ip=request.remote_addr or "127.0.0.1",
            request_id=request_id,
            extended_id=extended_id,
            log=ExecutionLog(kept=False),
        )

    # -- TestInvokeMethod

    def _test(self, caller: Caller) -> Response:
        """https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeMethod.html

        Runs the present definition, deployed or not, without authorization. It does not hold the control plane's lock,
        since the function may run for long.
        """
        asked, text = caller.document, caller.operation.text
        verb = text("http_method")
        variables = {name: str(value) for name, value in (asked.get("stageVariables") or {}).items()}
        stage = self._apis.as_it_stands(caller, variables)
        resource = next((item for item in stage.snapshot.resources if item.id == text("resource_id")), None)
        if resource is None:
            raise Refused(404, "NotFoundException", "Invalid Resource identifier specified")
        method = resource.methods.get(verb)
        if method is None:
            raise Refused(404, "NotFoundException", "Invalid Method identifier specified")
        path, _, query = str(asked.get("pathWithQueryString") or resource.path).partition("?")
        headers = list((asked.get("headers") or {}).items())
        for name, values in (asked.get("multiValueHeaders") or {}).items():
            headers += [(name, value) for value in values]
        log = ExecutionLog(kept=True)
        call = Call(
            stage=stage,
            resource=resource,
            verb=verb,
            method=method,
            path=path,
            path_parameters=_match(resource, path) or {},
            query=parse_qsl(query, keep_blank_values=True, errors="replace"),
            headers=[(name, str(value)) for name, value in headers],
            body=str(asked.get("body") or "").encode("utf-8", "replace"),
            source_ip="test-invoke-source-ip",
            request_id=str(uuid.uuid4()),
            extended_id=_extended_id(),
            log=log,
        )
        log("Starting execution for request: {}", call.request_id)
        log("HTTP Method: {}, Resource Path: {}", verb, path)
        started = time.monotonic()
        try:
            reply = self._execute(call)
            log("Successfully completed execution")
        except GatewayResponse as own:
            reply = _own_reply(own.status, own.error_type, own.message)
            log(own.reason)
        log("Method completed with status: {}", reply.status)
        answered = grouped([*reply.headers, ("X-Amzn-Trace-Id", _trace_id())])
        return answer_json(
            200,
            {
                "status": reply.status,
                "body": reply.body.decode("utf-8", "replace"),
                "headers": {name: values[-1] for name, values in answered.items()},
                "multiValueHeaders": answered,
                "log": log.text(call.request_id),
                "latency": round((time.monotonic() - started) * 1000),
            },
        )

    # -- one method request, start to end

    def _execute(self, call: Call) -> Reply:
        """Request mapping, integration, response mapping. Raises GatewayResponse, NotSimulated."""
        if not call.integration:
            raise configuration_error("No integration defined for method")
        if call.method.get("requestValidatorId"):
            raise NotSimulated("The sandbox does not run request validators.")
        responses = (call.integration.get("integrationResponses") or {}).values()
        if call.binary or "CONVERT_TO_BINARY" in [one.get("contentHandling") for one in (call.integration, *responses)]:
            raise NotSimulated("The sandbox does not carry binary bodies.")
        log = call.log
        log("Method request path: {}", call.path_parameters)
        log("Method request query string: {}", dict(call.query))
        log("Method request headers: {}", dict(call.headers))
        log("Method request body before transformations: {}", call.body)
        kind = call.integration.get("type")
        if kind == "AWS_PROXY":
            reply = self._integrations.proxy(call)
        elif kind in ("AWS", "MOCK"):
            started = time.monotonic()
            request = _integration_request(call)
            log("Endpoint request body after transformations: {}", request.body)
            response = self._integrations.run(call, request)
            elapsed = round((time.monotonic() - started) * 1000)
            log("Received response. Status: {}, Integration latency: {} ms", response.status, elapsed)
            log("Endpoint response headers: {}", response.headers)
            log("Endpoint response body before transformations: {}", response.body)
            reply = _method_response(call, response)
            log("Method response body after transformations: {}", reply.body)
        else:
            raise NotSimulated(f"The sandbox does not run integrations of type {kind}.")
        # A header is one line, whatever a client or a function put into it.
        reply.headers = [
            (name, re.sub(r"[\x00-\x08\x0a-\x1f\x7f]+", " ", value))
            for name, value in reply.headers
            if name.lower() not in HOP_BY_HOP
        ]
        log("Method response headers: {}", dict(reply.headers))
        return reply


def _own_reply(status: int, error_type: str, message: str) -> Reply:
    """An answer of API Gateway itself."""
    name = "Message" if error_type == "AccessDeniedException" else "message"
    body = json.dumps({name: message}, separators=(",", ":")).encode()
    return Reply(status, body, [("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type)])


def _extended_id() -> str:
    return base64.b64encode(secrets.token_bytes(10)).decode()


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"


# --------------------------------------------------------------------------------------------------------- routing


def _match(resource: Resource, path: str) -> dict[str, str] | None:
    """The decoded path parameters if the path matches the resource, else None."""
    segments = [unquote(segment) for segment in path.split("/") if segment]
    parameters: dict[str, str] = {}
    for position, part in enumerate(resource.segments):
        if position >= len(segments):
            return None
        if part.startswith("{") and part.endswith("+}"):
            parameters[part[1:-2]] = "/".join(segments[position:])
            return parameters
        if part.startswith("{") and part.endswith("}"):
            parameters[part[1:-1]] = segments[position]
        elif part != segments[position]:
            return None
    return parameters if len(segments) == len(resource.segments) else None


def _specificity(resource: Resource) -> list[int]:
    return [2 if part.endswith("+}") else 1 if part.startswith("{") else 0 for part in resource.segments]


def _route(snapshot: Snapshot, path: str) -> tuple[Resource, dict[str, str]]:
    """The most specific resource, whether it has the verb or not: AWS does not try another one.

    A slash at the end of the path does not matter.
    """
    for resource in sorted(snapshot.resources, key=_specificity):
        if resource.methods and (parameters := _match(resource, path)) is not None:
            return resource, parameters
    raise missing_token()


# --------------------------------------------------------------------------------------------------------- mapping


def _integration_request(call: Call) -> IntegrationRequest:
    mapped: dict[str, dict[str, str]] = {"header": {}, "querystring": {}, "path": {}}
    for target, expression in (call.integration.get("requestParameters") or {}).items():
        place = re.fullmatch(r"integration\.request\.(header|querystring|path)\.(.+)", target)
        if place is None:
            raise NotSimulated(f"The sandbox does not know {target} in parameter mappings.")
        value = _source(str(expression), call)
        if value is not None:
            mapped[place[1]][place[2]] = value
    headers = {name.lower(): value for name, value in mapped["header"].items()}
    return IntegrationRequest(headers, mapped["querystring"], _request_body(call))


def _request_body(call: Call) -> bytes:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/integration-passthrough-behaviors.html"""
    by_type = {kind.lower(): text for kind, text in (call.integration.get("requestTemplates") or {}).items()}
    if call.media_type in by_type:
        return _render(by_type[call.media_type], call, call.body)
    behaviour = call.integration.get("passthroughBehavior") or "WHEN_NO_MATCH"
    if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and by_type):
        raise GatewayResponse(415, "UnsupportedMediaTypeException", "Unsupported Media Type")
    return call.body


def _method_response(call: Call, response: IntegrationResponse) -> Reply:
    chosen = _chosen(call, response)
    status = str(chosen.get("statusCode"))
    if status not in (call.method.get("methodResponses") or {}):
        raise configuration_error("Output mapping refers to an invalid method response: " + status)
    media_type, template = _response_template(call, chosen.get("responseTemplates") or {})
    body = _render(template, call, response.body)
    headers = []
    for target, expression in (chosen.get("responseParameters") or {}).items():
        name = target.removeprefix("method.response.header.")
        value = _source(str(expression), call, response)
        if value is None:
            continue
        if HEADER_NAME.fullmatch(name) is None:
            raise configuration_error(f"Invalid mapping expression parameter specified: {target}")
        headers.append((name, value))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.insert(0, ("Content-Type", media_type))
    return Reply(int(status), body, headers)


def _chosen(call: Call, response: IntegrationResponse) -> Definition:
    """The integration response whose pattern matches, else the default one, which has no pattern."""
    defined: list[Definition] = list((call.integration.get("integrationResponses") or {}).values())
    selector = response.selector
    for one in defined:
        if selector is not None and one.get("selectionPattern") and _selects(one["selectionPattern"], selector):
            return one
    for one in defined:
        if not one.get("selectionPattern"):
            return one
    raise configuration_error("No match for output mapping and no default output mapping configured")


def _selects(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except (re.error, RecursionError) as error:
        raise NotSimulated(f"The sandbox cannot read the selection pattern {pattern} ({error}).") from None


def _response_template(call: Call, by_type: Mapping[str, str | None]) -> tuple[str, str | None]:
    """Content type and template: a type that the client accepts, else JSON, else the first."""
    accepted = [part.split(";")[0].strip().lower() for part in (call.header("Accept") or "").split(",")]
    chosen = next((kind for kind in [*accepted, "application/json", *by_type] if kind in by_type), "application/json")
    return chosen, by_type.get(chosen)


def _render(template: str | None, call: Call, body: bytes) -> bytes:
    """The body, put through the template if there is one."""
    if not template:
        return body
    try:
        rendered = templates.render(
            template,
            body=body.decode("utf-8", "replace"),
            params=call.parameters(),
            context=call.context(),
            stage_variables=call.stage.variables,
        )
    except templates.TemplateError as error:
        raise configuration_error(f"Unable to transform: {error}") from None
    return rendered.encode("utf-8", "replace")


def _source(expression: str, call: Call, response: IntegrationResponse | None = None) -> str | None:
    """The value of a parameter mapping's right side, or None.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/request-response-data-mappings.html
    """
    if len(expression) >= 2 and expression[0] == expression[-1] == "'":
        return expression[1:-1]
    sources: dict[str, Callable[[str], str | None]] = {
        "method.request.header.": call.header,
        "method.request.querystring.": dict(call.query).get,
        "method.request.path.": call.path_parameters.get,
        "method.request.body": lambda path: _in_body(call.body, path),
        "stageVariables.": call.stage.variables.get,
        "context.": lambda path: _in_context(call, path),
    }
    if response is not None:
        of_response, headers = response.body, {name.lower(): value for name, value in response.headers.items()}
        sources["integration.response.body"] = lambda path: _in_body(of_response, path)
        sources["integration.response.header."] = lambda name: headers.get(name.lower())
    for prefix, find in sources.items():
        if expression.startswith(prefix):
            return find(expression.removeprefix(prefix))
    raise NotSimulated(f"The sandbox does not know {expression} in parameter mappings.")


def _in_body(body: bytes, path: str) -> str:
    """The whole body, or its value at a JSONPath without the `$`."""
    text = body.decode("utf-8", "replace")
    return templates.as_text(templates.in_body(text, f"${path}")) if path else text


def _in_context(call: Call, path: str) -> str:
    value: Any = call.context()
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise NotSimulated(f"The sandbox does not know context.{path} in parameter mappings.")
        value = value[name]
    return str(value)
