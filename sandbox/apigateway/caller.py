"""A call of API Gateway's control plane, and further calls to moto with the same account and Region."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Response

from sandbox.apigateway.execution import Definition
from sandbox.backend import Answer, Backend, Credentials
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import NotSimulated, Refused, answer_json
from sandbox.protocol.scope import ACCOUNT

MAPS = (
    "requestTemplates", "requestParameters", "requestModels", "responseTemplates", "responseParameters",
    "responseModels",
)  # fmt: skip
# Members for which moto has an empty text or map where they are not set.
OPTIONAL = (
    "accessLogSettings", "description", "integrationResponses", "methodResponses", "responseTemplates", "tags",
    "variables",
)  # fmt: skip


class Caller:
    """A control-plane request, and further requests to moto with the same account and Region.

    If moto refuses one of these, the call ends with that refusal, in AWS's form; only `ask` returns it.
    """

    def __init__(self, backend: Backend, operation: Operation) -> None:
        self.operation = operation
        self.document = operation.document
        self.api = operation.text("restapi_id")
        self.region = operation.region
        self._backend = backend

    def ask(self, method: str, path: str, body: Definition | None = None) -> Answer:
        return self._backend.call(
            "apigateway",
            method,
            path,
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode() if body is not None else b"",
            region=self.region,
            credentials=Credentials(self.operation.access_key),
        )

    def do(self, method: str, path: str, body: Definition | None = None) -> Answer:
        answer = self.ask(method, path, body)
        if not answer.ok:
            raise _refused(method, path, answer.status, answer.body)
        return answer

    def get(self, path: str) -> Definition:
        definition: Definition = self.do("GET", path).json()
        return definition

    def items(self, path: str) -> list[Definition]:
        listed: list[Definition] = self.get(path).get("item", [])
        return listed

    def forward(self, view: Callable[[Any], Any] | None = None) -> Response:
        """Forward the request itself. ``view`` turns the body into AWS's answer; it may change the body."""
        response = self._backend.forward(self.operation)
        if response.status_code >= 400:
            raise _refused(self.operation.method, self.operation.path, response.status_code, response.get_data())
        try:
            seen = without_unset(json.loads(response.get_data()))
        except ValueError:
            return response  # without a body, or not JSON
        return answer_json(response.status_code, view(seen) if view else seen)


def _refused(method: str, path: str, status: int, body: bytes) -> Refused | NotSimulated:
    """moto's error in AWS's form; what moto lacks, or breaks on, is not simulated."""
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
    return Refused(status, str(parsed.get("__type") or "BadRequestException"), str(message))


def without_unset(value: Any, name: str = "") -> Any:
    """Without the members that are not set, which AWS leaves out at every depth, except in the caller's own maps."""
    if isinstance(value, list):
        return [without_unset(one) for one in value]
    if not isinstance(value, dict) or name in (*MAPS, "tags", "variables"):
        return value
    return {k: without_unset(v, k) for k, v in value.items() if v is not None and (v or k not in OPTIONAL)}
