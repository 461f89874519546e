"""Which operation of which service a request asks for, and with which parameters.

The REST services (Lambda, API Gateway) tell it by verb and path, so those are looked up in the API models that
botocore brings along; the others name it in a header or in the form. What stands here decides nothing: IAM and the
weather look at it, and the front answers 501 to an operation that nobody knows.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from sandbox.protocol.scope import DEFAULT_REGION, credential_scope

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

# Services whose operation is told by verb and path.
BY_PATH = ("lambda", "apigateway")

LABEL = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class Operation:
    """One call as its SDK would name it.

    ``service`` is the signing name (iam, sts, dynamodb, sqs, lambda, apigateway, logs, ...), ``name`` the API's
    (CreateRole), empty where no operation fits. ``parameters`` has them by the API's names for JSON services, by
    the form's (``Tags.member.1.Key``) for the query protocol, and for REST services what stands in path, query
    string and, where that is a JSON object, body.
    """

    service: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: str = DEFAULT_REGION
    access_key: str = ""
    method: str = "POST"
    path: str = "/"

    def text(self, parameter: str) -> str:
        """A parameter as text, empty where it is absent or something else."""
        value = self.parameters.get(parameter)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Route:
    """An operation of a REST service: its verb, how its path looks, and the status of its success."""

    name: str
    method: str
    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    status: int | None


def operation_of(request: Request) -> Operation | None:
    """What the request asks for; None where it is not signed, as nobody can say for which service it is."""
    scope = credential_scope(request.headers.get("Authorization", ""))
    if scope is None:
        return None
    path = unquote(request.path)
    body = request.get_data(cache=True)
    target = request.headers.get("X-Amz-Target", "")
    if scope.service in BY_PATH:
        name, parameters = _by_path(scope.service, request, body)
    elif target:
        name, parameters = target.rpartition(".")[2], json_object(body)
    else:
        form = body.decode("utf-8", "replace") or request.query_string.decode("latin-1")
        parameters = dict(parse_qsl(form, keep_blank_values=True))
        name = str(parameters.get("Action", ""))
    return Operation(scope.service, name, parameters, scope.region, scope.access_key, request.method, path)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; empty for anything else, whose refusal is for the service to word."""
    try:
        decoded = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def nested(form: Mapping[str, Any]) -> dict[str, Any]:
    """A form of the query protocol (``Tags.member.1.Key``) as dictionaries in dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in form.items():
        branch = tree
        *path, leaf = name.split(".")
        for part in path:
            below = branch.setdefault(part, {})
            if not isinstance(below, dict):
                break
            branch = below
        else:
            branch.setdefault(leaf, value)
    return tree


def in_order(numbered: Mapping[str, Any]) -> list[Any]:
    """The members of a list that the query protocol has numbered."""
    return [numbered[number] for number in sorted(numbered, key=lambda text: (len(text), text))]


def success_of(operation: Operation) -> int | None:
    """The HTTP status of its success as the API model has it; None where it has none, or several as for Invoke."""
    if operation.service not in BY_PATH:
        return None
    return next((route.status for route in routes(operation.service) if route.name == operation.name), None)


def _by_path(service: str, request: Request, body: bytes) -> tuple[str, dict[str, Any]]:
    # As it was sent: a quoted slash inside an ARN is no border between two parts of the path.
    sent = str(request.environ.get("RAW_URI", request.path)).partition("?")[0]
    sent = sent.rstrip("/") or "/"
    given: dict[str, Any] = {**json_object(body), **request.args.to_dict()}
    for route in routes(service):
        found = route.pattern.fullmatch(sent) if route.method == request.method else None
        if found is not None:
            labels = dict(zip(route.labels, map(unquote, found.groups()), strict=True))
            return route.name, {**given, **labels}
    return "", given


def tells_status(model: Mapping[str, Any], operation: Mapping[str, Any]) -> bool:
    """Whether the status is part of the answer, as it may be one or another."""
    shape = model["shapes"].get(operation.get("output", {}).get("shape"), {})
    return any(member.get("location") == "statusCode" for member in shape.get("members", {}).values())


@functools.cache
def routes(service: str) -> tuple[Route, ...]:
    """The operations of a REST service, those with the fewest labels first, so that a word beats a placeholder."""
    from botocore.loaders import Loader

    # Not through a Session, which reads the user's profile and fails when that is broken.
    model = Loader().load_service_model(service, "service-2")
    found = []
    for name, operation in model["operations"].items():
        uri = str(operation["http"]["requestUri"]).partition("?")[0].rstrip("/") or "/"
        labels = tuple(label.rstrip("+") for label in LABEL.findall(uri))
        pieces = LABEL.split(uri)
        pattern = "".join(
            re.escape(piece) if position % 2 == 0 else ("(.+)" if piece.endswith("+") else "([^/]+)")
            for position, piece in enumerate(pieces)
        )
        http = operation["http"]
        status = None if tells_status(model, operation) else int(http.get("responseCode", 200))
        found.append(Route(name, str(http["method"]), re.compile(pattern), labels, status))
    return tuple(sorted(found, key=lambda route: len(route.labels)))
