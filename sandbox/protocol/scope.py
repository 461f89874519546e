"""Who asks for which service in which Region, and how AWS names functions and policies.

The signature itself is never checked; its credential scope is what moto and our layers go by.
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

# moto's own names of the services that this architecture uses. Its dispatcher, which serves the others, lists moto's
# folders at every request.
MODULES = {
    "apigateway": "apigateway",
    "dynamodb": "dynamodb",
    "iam": "iam",
    "lambda": "awslambda",
    "logs": "logs",
    "sqs": "sqs",
    "sts": "sts",
}

# The account moto uses for access keys it has not issued itself.
ACCOUNT = "123456789012"

DEFAULT_REGION = "us-east-1"

FUNCTION_NAME = re.compile(
    r"(?:arn:[a-z-]+:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)


class Scope(NamedTuple):
    """What an Authorization header says about itself."""

    access_key: str
    region: str
    service: str


def credential_scope(authorization: str) -> Scope | None:
    """The credential scope of a SigV4 header; None for anything else, an absent header included."""
    credential = authorization.partition("Credential=")[2].split(",")[0].split(" ")[0].strip()
    parts = credential.split("/")
    if len(parts) < 5:
        return None
    # An access key may hold slashes of its own when somebody invents one; the scope is always the last four.
    _, region, service, _ = parts[-4:]
    return Scope("/".join(parts[:-4]), region, service.lower())


def signed(scope: Scope) -> str:
    """An Authorization header with this scope, which is all that moto looks at."""
    credential = f"{scope.access_key}/20260101/{scope.region}/{scope.service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0"


def environ_of(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes) -> dict[str, Any]:
    """A request as WSGI has it (PEP 3333); ``uri`` is path and query as they are sent, that is, quoted."""
    path, _, query = uri.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        # The bytes of the path dressed as latin-1. As it was sent it stands beside it: a quoted slash inside an ARN or
        # a greedy path part is told by that.
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
    """AWS lets a policy write one thing without the brackets of a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def statements(text: str) -> list[dict[str, Any]] | None:
    """Of a policy document, as IAM answers it, URL-quoted or (moto, here and there) plain; None: no JSON object."""
    plain = text if text.lstrip().startswith("{") else urllib.parse.unquote(text)
    try:
        document = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return [one for one in as_list(document.get("Statement")) if isinstance(one, dict)]
