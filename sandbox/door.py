"""The sandbox's door: who may call, and how much they may send. Host, Origin and size are looked at before a body is
read, so that a refused request costs nothing.

A web page must not be able to call: any site that the user visits could read and write here. So a request is refused
if its Host is not a loopback name (DNS rebinding) or if it has an Origin (a browser sent it). Nor must another user of
this machine: a function runs as the user who started the sandbox. So each call is signed, and the signature is
compared, as AWS does it. Deployed APIs are public, as they are on AWS.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.wrappers import Request, Response

from provision.aws.sandbox_process import KEY_HEADER
from sandbox.protocol.operations import BY_PATH, Operation
from sandbox.protocol.refusals import Words, answer_json, refusal
from sandbox.protocol.scope import credential_scope
from sandbox.protocol.wire import OWN

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

MB = 1024 * 1024

# A deployed API's path, and the most that API Gateway takes.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
SERVED = re.compile(r"/*restapis/+[^/]+/+[^/]+/+_user_request_(/.*)?", re.DOTALL)
LARGEST_API_BODY = 10 * MB

# CreateFunction may carry 50 MB of zip, a third more as base64; an invocation 6 MB, an asynchronous one 1 MB.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CODE = re.compile(r"/2015-03-31/functions(?:/[^/]+/code)?/?")
LARGEST_CODE = 72 * MB
INVOCATION = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
LARGEST_PAYLOAD = 6 * MB
LARGEST_EVENT = MB

# A call's largest body by service: what AWS takes, and room for the form it is sent in. A message or a batch has 1 MiB,
# which a form writes with up to three characters a byte; a call to DynamoDB has 16 MB.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
LARGEST_CALL = {"sqs": 4 * MB, "dynamodb": 17 * MB}
LARGEST_OTHER = 6 * MB

SIGNATURE = re.compile(r"SignedHeaders=([^,\s]+).*?Signature=([0-9a-f]+)")
WRONG_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details. (This sandbox has a key of its own: "
    "python -m provision shell --sandbox sets it.)"
)


class Admission(NamedTuple):
    """How many bytes of a body are read, and what answers a longer one. -1: that answers in any case."""

    most: int
    beyond: Callable[[], Response]


def admission(environ: dict[str, Any], length: str) -> Admission:
    """What may come in, by the head of a request alone; ``length`` is what it says of its body, or empty."""
    given = EnvironHeaders(environ)
    path = str(environ["RAW_URI"]).partition("?")[0]
    refused = foreign(given, path)
    if refused:
        return Admission(-1, partial(answer_json, 403, {"message": refused}))
    if SERVED.fullmatch(path):
        return Admission(LARGEST_API_BODY, partial(answer_json, 413, {"message": "Request Too Long"}))
    if is_of_itself(path):
        return Admission(0, partial(answer_json, 413, {"message": "The sandbox reads no body here."}))
    scope = credential_scope(given.get("Authorization", ""))
    if scope is None:
        return Admission(-1, unsigned)
    most, said = LARGEST_CALL.get(scope.service, LARGEST_OTHER), "Request size exceeds the limit."
    if scope.service == "lambda" and CODE.fullmatch(path):
        most = LARGEST_CODE
    if scope.service == "lambda" and INVOCATION.fullmatch(path):
        kind = given.get("X-Amz-Invocation-Type", "RequestResponse")
        most = LARGEST_EVENT if kind == "Event" else LARGEST_PAYLOAD
        said = f"{length} byte payload is too large for the {kind} invocation type (limit {most} bytes)".lstrip()
    protocol = "rest" if scope.service in BY_PATH else "json" if "X-Amz-Target" in given else "query"
    operation = Operation(scope.service, "", protocol=protocol)
    return Admission(most, partial(refusal, operation, Words(413, "RequestEntityTooLargeException", said)))


def is_of_itself(path: str) -> bool:
    return path == OWN or path.startswith(f"{OWN}/")


def foreign(given: Headers, path: str = "") -> str:
    """Why a request is refused that a web page or another machine may have sent, or that is for moto's own API."""
    host = given.get("Host", "").lower()
    if host.rpartition(":")[0] not in LOOPBACK_NAMES and host not in LOOPBACK_NAMES:
        return "The sandbox answers on loopback names only."
    if "Origin" in given:
        return "The sandbox does not answer web pages."
    if path.startswith("/moto-api"):
        # After a reset, our planes would keep functions and mappings that moto no longer has.
        return "moto's own API is not open here; start another sandbox instead."
    return ""


def unsigned() -> Response:
    """The answer to a request without a signature, which moto would take for a call to S3."""
    return answer_json(
        403, {"message": "Missing Authentication Token"}, {"x-amzn-ErrorType": "MissingAuthenticationTokenException"}
    )


class Keys:
    """The secret access keys that a call may be signed with. ``key`` is the sandbox's own, for each access key id that
    IAM and STS did not issue here; without it the sandbox is open to every user of this machine."""

    def __init__(self, key: str | None, issued: Mapping[str, str]) -> None:
        self._key = key
        self._issued = issued

    def refusal(self, operation: Operation) -> Words | None:
        """The refusal of a call whose signature is not made with the caller's secret access key.

        AWS's codes for it: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
        """
        if self._key is None:
            return None
        secret = self._issued.get(operation.access_key, self._key)
        given = SIGNATURE.search(operation.request.headers.get("Authorization", ""))
        if given is not None and hmac.compare_digest(signature(operation, given[1].split(";"), secret), given[2]):
            return None
        code = "SignatureDoesNotMatch" if operation.protocol == "query" else "InvalidSignatureException"
        return Words(400 if operation.service in ("dynamodb", "logs") else 403, code, WRONG_SIGNATURE)

    def refusal_of_own(self, request: Request, identity: str) -> Response | None:
        """The refusal of a request about the sandbox itself. It tells which sandbox this is, and no more."""
        if self._key is None:
            return None
        if hmac.compare_digest(request.headers.get(KEY_HEADER, "").encode(), self._key.encode()):
            return None
        said = f"The sandbox tells this to its own user only, who sends its key as {KEY_HEADER}."
        return answer_json(403, {"message": said, "id": identity})


def signature(operation: Operation, names: list[str], secret: str) -> str:
    """The signature that the request has if it was signed with this secret, by botocore's own calculation."""
    given = operation.request.headers
    sent = operation.request.environ.get("RAW_URI", operation.path)
    request = AWSRequest(
        operation.method,
        f"http://{given.get('Host', '')}{sent}",
        {name: given.get(name, "") for name in names},
        operation.body,
    )
    request.context["timestamp"] = given.get("X-Amz-Date", "")
    signer = Signer(Credentials(operation.access_key, secret), operation.service, operation.region)
    calculated: str = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return calculated


class Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signer, for the headers that the caller signed; which those are is each SDK's own choice."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers

    def signature(self, string_to_sign: str, request: Any) -> str:
        date = request.context["timestamp"][:8]
        key = signing_key(self.credentials.secret_key, date, self._region_name, self._service_name)
        return hmac.new(key, string_to_sign.encode(), "sha256").hexdigest()


@functools.lru_cache(maxsize=256)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
