"""Who asks for which service in which Region: the credential scope of a signed request.

The signature itself is never checked; the scope is what moto and our layers go by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

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

FUNCTION_NAME = re.compile(
    r"(?:arn:[a-z-]+:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)


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


def as_list(value: Any) -> list[Any]:
    """AWS lets a policy write one thing without the brackets of a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def parse_document(text: str) -> dict[str, Any]:
    """A policy document as IAM answers it, URL-quoted or (moto, here and there) plain."""
    plain = text if text.lstrip().startswith("{") else urllib.parse.unquote(text)
    parsed: dict[str, Any] = json.loads(plain)
    return parsed


# The account moto uses for access keys it has not issued itself.
ACCOUNT = "123456789012"

DEFAULT_REGION = "us-east-1"


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


def service_of(request: Request) -> str | None:
    scope = credential_scope(request.headers.get("Authorization", ""))
    return scope.service if scope else None


def region_of(request: Request) -> str:
    """The Region that the caller signed for; an unsigned request gets the default one."""
    scope = credential_scope(request.headers.get("Authorization", ""))
    return scope.region if scope else DEFAULT_REGION
