"""Requests that are no calls of an API: to the URL of a stage, and for the code of a function.

They go as boto3's calls do: by botocore's own session, with its store of certificates and its proxies.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from botocore.exceptions import SSLError

from provision.aws.clients import Clients
from provision.aws.operations import NO_ANSWER
from provision.package import code_sha256
from provision.terminal import outcome


class NotTrusted(outcome.UserError):
    """The certificate of what answered is not trusted. To try again does not help."""

    exit_code = outcome.ENVIRONMENT
    code = "no-connection"

    def __init__(self, url: str, error: SSLError) -> None:
        super().__init__(
            f"The certificate that answers for {urlsplit(url).hostname} is not trusted: {error.kwargs['error']}",
            means="A proxy that reads along may show a certificate of its own. Nothing was sent.",
            advice=(
                "Name a file with the certificate of its authority: in AWS_CA_BUNDLE, or as ca_bundle of the profile.",
                "Then run the same command again.",
            ),
        )


def send(
    aws: Clients, method: str, url: str, body: bytes = b"", *, signed: bool = False, api_key: str = ""
) -> tuple[int, bytes]:
    """Status and body of the answer, an error's too. Raises NotTrusted, and botocore's errors when none came.

    `signed` and `api_key`: for a method of an API that asks for it, with the credentials that make the calls, or with
    the value of a key.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html
    """
    # These take a fifth of a second to import.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    proxies = {} if aws.is_sandbox else get_environ_proxies(url)
    session = URLLib3Session(verify=aws.verify, proxies=proxies, timeout=(10, 30))
    headers = {"Content-Type": "application/json"} if body else {}
    if api_key:
        headers["x-api-key"] = api_key
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    try:
        if signed:
            SigV4Auth(aws.credentials, "execute-api", aws.region).add_auth(request)
        answer = session.send(request.prepare())
        return answer.status_code, answer.content
    except SSLError as error:
        raise NotTrusted(url, error) from error
    finally:
        session.close()


def fetch_code(aws: Clients, name: str, location: str, wanted_sha256: str) -> bytes:
    """The function's zip, from the address in GetFunction's answer. That address is a secret. Raises UserError.

    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html
    """
    try:
        status, package = send(aws, "GET", location)
        how = f"HTTP status {status}" if status != 200 else ""
    except NO_ANSWER as error:
        how = type(error).__name__
    if not how and code_sha256(package) != wanted_sha256:
        how = "what came has another hash than the function's code"
    if how:
        raise outcome.UserError(
            f"The code of the function {name} could not be fetched: {how}.",
            means="It was to be replaced, and could not be put back later. The function was not changed.",
            advice=(
                "Run the same command again;",
                "or build beside it, under names of your own: add --learner NAME",
            ),
        )
    return package
