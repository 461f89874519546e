"""Who calls which service in which Region, and how AWS names functions and writes policies.

The signature itself is never checked; moto and our layers read only its credential scope.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

# moto's module for each service that this architecture uses. Its dispatcher would list moto's folders at every request.
MODULES = {
    "apigateway": "apigateway",
    "dynamodb": "dynamodb",
    "iam": "iam",
    "lambda": "awslambda",
    "logs": "logs",
    "sqs": "sqs",
    "sts": "sts",
}

# The account that moto assumes for an access key that it has not issued.
ACCOUNT = "123456789012"

DEFAULT_REGION = "us-east-1"

FUNCTION_NAME = re.compile(
    r"(?:arn:[a-z-]+:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)


class Scope(NamedTuple):
    """The credential scope of an Authorization header."""

    access_key: str
    region: str
    service: str


def credential_scope(authorization: str) -> Scope | None:
    """The credential scope of a SigV4 header; None for any other header, or none."""
    credential = authorization.partition("Credential=")[2].split(",")[0].split(" ")[0].strip()
    parts = credential.split("/")
    if len(parts) < 5:
        return None
    # An invented access key may contain slashes; the scope is always the last four parts.
    _, region, service, _ = parts[-4:]
    return Scope("/".join(parts[:-4]), region, service.lower())


def signed(scope: Scope) -> str:
    """An Authorization header with this scope, which is all that moto reads of it."""
    credential = f"{scope.access_key}/20260101/{scope.region}/{scope.service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0"


def environ_of(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """A request as WSGI has it (PEP 3333); ``uri`` is path and query as they are sent, still quoted."""
    path, _, query = uri.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        # WSGI wants the bytes of the path decoded as latin-1. The quoted path stands beside it: only there can a quoted
        # slash, in an ARN or a greedy path part, be told from a plain one.
        "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1"),
        "RAW_URI": uri,
        "REQUEST_URI": uri,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        # X_Foo and X-Foo would become one name in WSGI, so that one could pose as the other.
        elif "_" not in name and key not in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def with_body(environ: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The request with this body."""
    return {**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}


@dataclass(frozen=True)
class FunctionName:
    region: str
    account: str
    name: str
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @classmethod
    def parse(cls, text: str, region: str) -> FunctionName:
        """A name, ``account:function:name`` or an ARN, with or without a qualifier (Invoke, API reference)."""
        parts = FUNCTION_NAME.fullmatch(text)
        if parts is None:
            return cls(region, ACCOUNT, text)
        return cls(parts["region"] or region, parts["account"] or ACCOUNT, parts["name"], parts["qualifier"])


def last(text: str, separator: str) -> str:
    """The last part of an ARN, a path or a URL."""
    return text.rpartition(separator)[2]


def as_list(value: Any) -> list[Any]:
    """A list; a policy may write a list of one without its brackets."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def statements(text: str) -> list[dict[str, Any]] | None:
    """The statements of a policy document; None if it is not a JSON object. IAM quotes it for a URL."""
    plain = text if text.lstrip().startswith("{") else urllib.parse.unquote(text)
    try:
        document = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return [one for one in as_list(document.get("Statement")) if isinstance(one, dict)]
