"""Which operation of which service a request calls, and with which parameters: parsed once, at the front.

A REST service (Lambda, API Gateway) tells its operation by verb and path, which are looked up in the API models that
botocore ships. The others name it in a header or in the form. Nothing is decided here: the front answers 501 to an
operation that nobody knows.
"""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qsl, unquote

from botocore.loaders import Loader
from werkzeug.wrappers import Request

from sandbox.protocol.scope import DEFAULT_REGION, FunctionName, credential_scope, last

# Services whose operation is given by verb and path.
BY_PATH = ("lambda", "apigateway")
FORM = "application/x-www-form-urlencoded"
LABEL = re.compile(r"\{([^}]+)\}")

# What SQS's forms call the lists and maps of its API model; a map is sent as Name and Value.
LISTS = {
    "AttributeName": "AttributeNames",
    "MessageAttributeName": "MessageAttributeNames",
    "MessageSystemAttributeName": "MessageSystemAttributeNames",
    "SendMessageBatchRequestEntry": "Entries",
    "DeleteMessageBatchRequestEntry": "Entries",
    "ChangeMessageVisibilityBatchRequestEntry": "Entries",
    "Tag": "Tags",
    "TagKey": "TagKeys",
}
MAPS = {
    "Attribute": "Attributes",
    "MessageAttribute": "MessageAttributes",
    "MessageSystemAttribute": "MessageSystemAttributes",
}


@dataclass(frozen=True)
class Operation:
    """One call, in the words of the API model.

    ``service`` is the signing name (iam, sts, dynamodb, sqs, lambda, apigateway, logs, ...), ``name`` the operation's
    (CreateRole), empty if no operation matches. ``parameters`` are those of the API model, nested, whatever the
    protocol. ``document`` is the body if it is a JSON object; for a REST service that is only part of the parameters.
    ``protocol`` is json, query or rest; ``success`` is the status of a successful answer in the API model, or None.
    ``request`` is the request itself, for whoever passes it on.
    """

    service: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: str = DEFAULT_REGION
    access_key: str = ""
    method: str = "POST"
    path: str = "/"
    protocol: str = "json"
    success: int | None = None
    body: bytes = b""
    document: dict[str, Any] = field(default_factory=dict)
    request: Request = field(default_factory=lambda: Request({}), compare=False, repr=False)

    def text(self, parameter: str) -> str:
        """A parameter that is a text; empty if it is absent or of another type."""
        value = self.parameters.get(parameter)
        return value if isinstance(value, str) else ""

    @property
    def called(self) -> str:
        return f"{self.service} {self.name}"

    @property
    def queue(self) -> str:
        """The name of the queue; a form may have it in the path instead."""
        url = self.text("QueueUrl").rstrip("/") or (self.path if self.path.count("/") == 2 else "")
        return self.text("QueueName") or last(url, "/")

    @property
    def table(self) -> str:
        """The name of the table, which may be given by its ARN."""
        return last(self.text("TableName") or self.text("ResourceArn"), "/")

    @property
    def function(self) -> FunctionName | None:
        """The function that a Lambda call is about, by name or ARN."""
        named = self.text("FunctionName") or self.text("Resource")
        if not named or ":event-source-mapping:" in named:
            return None
        return FunctionName.parse(named, self.region)


class Route(NamedTuple):
    """An operation of a REST service: the pattern of its path, the query that tells it from another with the same path,
    and the status of a successful answer."""

    name: str
    query: dict[str, str]
    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    status: int | None


def operation_of(request: Request) -> Operation | None:
    """What the request calls; None if it is not signed, since only the signature names the service."""
    scope = credential_scope(request.headers.get("Authorization", ""))
    if scope is None:
        return None
    body = request.get_data(cache=True)
    target = request.headers.get("X-Amz-Target", "")
    form = request.mimetype == FORM or scope.service in ("iam", "sts", "sqs")
    document = {} if form and not target else json_object(body)
    success = None
    if scope.service in BY_PATH:
        protocol = "rest"
        name, parameters, success = _by_path(scope.service, request, document)
    elif target or not form:
        protocol, name, parameters = "json", last(target, "."), document
    else:
        protocol = "query"
        fields = dict(
            parse_qsl(body.decode("utf-8", "replace") or request.query_string.decode("latin-1"), keep_blank_values=True)
        )
        name = fields.get("Action", "")
        parameters = renamed(nested(fields)) if scope.service == "sqs" else listed(nested(fields))
    return Operation(
        scope.service,
        name,
        parameters,
        scope.region,
        scope.access_key,
        request.method,
        unquote(request.path),
        protocol,
        success,
        body,
        document,
        request,
    )


def environ_again(operation: Operation) -> dict[str, Any]:
    """The client's request again, unread: whoever reads a body reads it to its end."""
    # The body has been read; moto would wait for chunks that never come.
    gone = ("HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")
    kept = {
        name: value
        for name, value in operation.request.environ.items()
        if name not in gone and not name.startswith("werkzeug.")
    }
    return {**kept, "wsgi.input": io.BytesIO(operation.body), "CONTENT_LENGTH": str(len(operation.body))}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str | bytes) -> Any:
    """JSON as AWS's parsers read it, without Python's NaN and Infinity. Raises ValueError, also if it is too deep."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; empty for anything else, which the service refuses in its own words."""
    try:
        decoded = parse_json(body or b"{}")
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def nested(form: Mapping[str, Any]) -> dict[str, Any]:
    """A form of the query protocol (``Tags.member.1.Key``) as nested dictionaries."""
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
    """The members of a list, which the query protocol numbers."""
    return [numbered[number] for number in sorted(numbered, key=lambda text: (len(text), text))]


def listed(value: Any) -> Any:
    """A nested form of IAM or STS, with a list for each ``member``."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"member"} and isinstance(value["member"], dict):
        return [listed(one) for one in in_order(value["member"])]
    return {name: listed(one) for name, one in value.items()}


def renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A nested form of SQS, with the names of its API model."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if name in LISTS and isinstance(value, dict):
            found[LISTS[name]] = [renamed(one) if isinstance(one, dict) else one for one in in_order(value)]
        elif name in MAPS and isinstance(value, dict):
            pairs = [one for one in in_order(value) if isinstance(one, dict)]
            found[MAPS[name]] = {str(one.get("Name", "")): one.get("Value") for one in pairs}
        else:
            found[name] = value
    return found


def _by_path(service: str, request: Request, document: Mapping[str, Any]) -> tuple[str, dict[str, Any], int | None]:
    # As it was sent: a quoted slash inside an ARN does not divide the path.
    sent = str(request.environ.get("RAW_URI", request.path)).partition("?")[0].rstrip("/") or "/"
    given: dict[str, Any] = {**document, **request.args.to_dict()}
    for route in routes(service).get(request.method, ()):
        found = route.pattern.fullmatch(sent)
        if found is not None and route.query.items() <= given.items():
            labels = dict(zip(route.labels, map(unquote, found.groups()), strict=True))
            return route.name, {**given, **labels}, route.status
    return "", given, None


@functools.cache
def model(service: str) -> Any:
    # Not through a Session, which reads the user's profile and fails when that is broken.
    return Loader().load_service_model(service, "service-2")


@functools.cache
def routes(service: str) -> Mapping[str, tuple[Route, ...]]:
    """The operations of a REST service by verb; those with the fewest labels first, so that a word beats a label,
    and those with a query before those without."""
    found: dict[str, list[Route]] = {}
    for name, operation in model(service)["operations"].items():
        http = operation["http"]
        path, _, query = str(http["requestUri"]).partition("?")
        uri = path.rstrip("/") or "/"
        labels = tuple(label.rstrip("+") for label in LABEL.findall(uri))
        pattern = "".join(
            re.escape(piece) if position % 2 == 0 else ("(.+)" if piece.endswith("+") else "([^/]+)")
            for position, piece in enumerate(LABEL.split(uri))
        )
        # The status of Invoke is part of its answer, so the model names none.
        members = model(service)["shapes"].get(operation.get("output", {}).get("shape"), {}).get("members", {})
        told = any(member.get("location") == "statusCode" for member in members.values())
        status = None if told else int(http.get("responseCode", 200))
        route = Route(name, dict(parse_qsl(query)), re.compile(pattern), labels, status)
        found.setdefault(http["method"], []).append(route)
    return {verb: tuple(sorted(some, key=lambda one: (len(one.labels), not one.query))) for verb, some in found.items()}
