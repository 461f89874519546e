"""One request to API Gateway, as data: what came in, what the integration answered, what goes out.

The words are those of API Gateway's console: method request, integration request, integration response, method
response. Nothing here acts: `sandbox.apigateway.gateway` maps, `sandbox.apigateway.integrations` sends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sandbox.protocol.scope import ACCOUNT

Definition = dict[str, Any]
"""A method or a part of one, in the words of GetMethod."""

TEST_STAGE = "test-invoke-stage"
LOGGED = 1024  # characters of a body in the execution log, as on AWS
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Members of `$context.identity` that are empty for an unauthenticated caller, as on AWS.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
UNKNOWN_OF_CALLER = (
    "accountId", "apiKey", "apiKeyId", "caller", "cognitoAuthenticationProvider", "cognitoAuthenticationType",
    "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId", "user", "userArn",
)  # fmt: skip


class GatewayResponse(Exception):
    """An answer of API Gateway itself, instead of the integration's.

    `reason` is the line of the execution log. Types and texts:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
    """

    def __init__(self, status: int, error_type: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.reason = reason or message


def configuration_error(reason: str, status: int = 500) -> GatewayResponse:
    """The reason is only in the execution log; the caller does not see it (API_CONFIGURATION_ERROR)."""
    said = f"Execution failed due to configuration error: {reason}"
    return GatewayResponse(status, "InternalServerErrorException", "Internal server error", said)


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
    resources: tuple[Resource, ...]
    policy: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage as the data plane needs it."""

    name: str
    snapshot: Snapshot
    variables: Mapping[str, str]
    binary_media_types: tuple[str, ...]
    endpoint_disabled: bool = False
    method_settings: Mapping[str, Definition] = field(default_factory=dict)

    def settings_of(self, path: str, verb: str) -> Definition:
        """Those of a method, else those of all methods of the stage.

        https://docs.aws.amazon.com/apigateway/latest/api/API_Stage.html
        """
        names = (f"{path.replace('/', '~1')}/{verb}", f"{path.removeprefix('/')}/{verb}", "*/*")
        return next((self.method_settings[name] for name in names if name in self.method_settings), {})


class ExecutionLog:
    """The lines of API Gateway's execution log, if somebody will read them.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-test-method.html shows one.
    """

    def __init__(self, kept: bool) -> None:
        self._kept = kept
        self._lines: list[str] = []

    def __call__(self, line: str, *values: object) -> None:
        if self._kept:
            moment = datetime.now(timezone.utc).strftime("%a %b %d %H:%M:%S UTC %Y")
            self._lines.append(f"{moment} : {line.format(*map(_shown, values)) if values else line}")

    def text(self, request_id: str) -> str:
        return "\n".join([f"Execution log for request {request_id}", *self._lines, ""])


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
        return text if len(text) <= LOGGED else f"{text[:LOGGED]} [TRUNCATED]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={content}" for name, content in value.items()) + "}"
    return str(value)


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Header or query values by name, in their order."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


@dataclass
class Call:
    """One method request: what the client sent, and the method it is for. `path` is still quoted."""

    stage: Stage
    resource: Resource
    verb: str
    method: Definition
    path: str
    path_parameters: Mapping[str, str]
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str
    request_id: str
    extended_id: str
    log: ExecutionLog
    started: float = field(default_factory=time.time)

    @property
    def integration(self) -> Definition:
        """Empty where the method has none."""
        return self.method.get("methodIntegration") or {}

    @property
    def uri(self) -> str:
        """The URI of the integration, with stage variables filled in."""
        return re.sub(
            r"\$\{stageVariables\.(\w+)\}",
            lambda found: self.stage.variables.get(found[1], ""),
            str(self.integration.get("uri") or ""),
        )

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in reversed(self.headers) if key.lower() == wanted), None)

    @property
    def media_type(self) -> str:
        """The media type of the request's body; without Content-Type it is JSON."""
        return (self.header("Content-Type") or "application/json").split(";")[0].strip().lower()

    @property
    def binary(self) -> bool:
        return any(
            kind == "*/*"
            or kind.lower() == self.media_type
            or (kind.endswith("/*") and self.media_type.startswith(kind[:-1].lower()))
            for kind in self.stage.binary_media_types
        )

    def parameters(self) -> dict[str, dict[str, str]]:
        """The parameters of `$input.params()`; of a name given twice the last value counts."""
        return {"path": dict(self.path_parameters), "querystring": dict(self.query), "header": dict(self.headers)}

    def context(self) -> dict[str, Any]:
        """`$context`."""
        moment = datetime.fromtimestamp(self.started, timezone.utc)
        identity = dict.fromkeys(UNKNOWN_OF_CALLER, "")
        identity["sourceIp"] = self.source_ip
        identity["userAgent"] = self.header("User-Agent") or ""
        api_id, stage = self.stage.snapshot.api_id, self.stage.name
        return {
            "accountId": ACCOUNT,
            "apiId": api_id,
            "authorizer": {"principalId": ""},
            "domainName": f"{api_id}.execute-api.{self.stage.snapshot.region}.amazonaws.com",
            "domainPrefix": api_id,
            "extendedRequestId": self.extended_id,
            "httpMethod": self.verb,
            "identity": identity,
            "path": self.path if stage == TEST_STAGE else f"/{stage}{self.path}",
            "protocol": "HTTP/1.1",
            "requestId": self.request_id,
            "requestTime": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(self.started * 1000),
            "resourceId": self.resource.id,
            "resourcePath": self.resource.path,
            "stage": stage,
        }


@dataclass
class IntegrationRequest:
    """What is sent to the integration; the headers' names are in lower case."""

    headers: dict[str, str]
    query: dict[str, str]
    body: bytes


@dataclass
class IntegrationResponse:
    """What the integration answers. Selection patterns are matched with `selector`; it is None without an error."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    selector: str | None = None


@dataclass
class Reply:
    """The method response for the client."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]
