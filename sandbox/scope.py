"""Who asks for which service in which Region: the credential scope of a signed request.

The signature itself is never checked; the scope is what moto and our layers go by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

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
