"""What an error means for a person: one message, what to do, and an exit code that scripts know from `aws`."""

from __future__ import annotations

import datetime
import errno
import string
from typing import Any

import botocore.exceptions
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    WaiterError,
)

from provision.aws.answers import AnswerLost, Call, NotAWS
from provision.aws.credentials import DENIED, EXPIRED, REFUSED
from provision.aws.waiting import GaveUp, WaitingCannotHelp
from provision.cli.errors import AGAIN, explain
from provision.state.entries import CannotUpdate
from provision.state.file import StateRefused
from provision.state.ownership import NotOurs, TwoOfOurs, UnknownOwner
from provision.terminal import outcome


def explained(error: Exception, profile: str | None = "lab") -> outcome.UserError:
    stop = explain(error, step="5 (Function)", profile=profile)
    assert stop is not None
    return stop


def client_error(code: str, message: str = "AWS's words.", request_id: str | None = "req-1") -> ClientError:
    metadata: Any = {"RequestId": request_id} if request_id else {}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "CreateFunction")


CALL = Call(1, "lambda", "CreateFunction", {}, False, 0.0)


@pytest.mark.parametrize(
    "stop",
    [
        NotOurs("dynamodb:table", {"TableName": "name"}, "no mark", "poc-1"),
        UnknownOwner("dynamodb:table", {"TableName": "name"}),
        TwoOfOurs("apigateway:rest-api", "POC-API", ["a", "b"]),
        CannotUpdate("dynamodb:table", "name", "key", "x", "y"),
        StateRefused("no"),
        GaveUp("no"),
        WaitingCannotHelp("no"),
        NotAWS(CALL, "no"),
        outcome.Interrupted(),
    ],
    ids=lambda stop: type(stop).__name__,
)
def test_an_ending_of_our_own_is_passed_on_as_it_is(stop: outcome.UserError) -> None:
    assert explain(stop, step="1", profile=None) is stop
    assert stop.exit_code != outcome.DONE
    assert stop.what


def test_a_refusal_keeps_awss_words_its_step_and_the_request_id() -> None:
    stop = explained(client_error("InvalidParameterValueException"))
    assert stop.what == (
        "An error occurred (InvalidParameterValueException) when calling the CreateFunction operation: AWS's words."
    )
    assert "5 (Function)" in stop.means
    assert AGAIN in stop.advice
    assert "req-1" in stop.advice[-1]
    assert stop.exit_code == outcome.SERVICE
    assert "id" not in " ".join(explained(client_error("X", request_id=None)).advice)


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ("with an explicit deny in a service control policy", "service control policy"),
        ("because no service control policy allows the lambda:CreateFunction action", "service control policy"),
        ("with an explicit deny in a resource control policy", "resource control policy"),
        ("because no permissions boundary allows the lambda:CreateFunction action", "permissions boundary"),
        ("because no session policy allows the lambda:CreateFunction action", "session policy"),
    ],
)
def test_a_denial_that_no_permission_helps_against_names_its_policy(words: str, policy: str) -> None:
    stop = explained(client_error("AccessDeniedException", f"u is not authorized to perform: x on resource: y {words}"))
    assert f"a {policy} does not allow CreateFunction" in stop.means
    assert stop.advice[0] == f"Ask whoever manages that {policy}."
    assert (stop.exit_code, stop.code) == (outcome.SERVICE, "access-denied")


def test_a_wrong_clock_and_an_account_without_the_service_are_told_as_that() -> None:
    late = "Signature expired: 20261129T010000Z is now earlier than 20261129T012500Z (20261129T013000Z - 5 min.)"
    stop = explained(client_error("InvalidSignatureException", late))
    assert (stop.means, stop.exit_code) == ("This machine's clock is 30 minutes slow, by AWS's.", outcome.ENVIRONMENT)
    stop = explained(client_error("OptInRequired"))
    assert "has not been activated" in stop.means and AGAIN in stop.advice


@pytest.mark.parametrize("code", sorted(DENIED))
def test_a_missing_permission_is_named(code: str) -> None:
    stop = explained(client_error(code))
    assert "may not call CreateFunction" in stop.means
    assert stop.advice[:2] == ("Ask for that permission.", AGAIN)
    assert stop.exit_code == outcome.SERVICE


@pytest.mark.parametrize("code", sorted(EXPIRED | REFUSED))
@pytest.mark.parametrize("profile", ["lab", None])
def test_expired_and_refused_credentials_name_the_command_that_renews_them(code: str, profile: str | None) -> None:
    stop = explained(client_error(code), profile)
    assert ("expired" in stop.means) == (code in EXPIRED)
    renew = "aws sso login --profile lab" if profile else "aws sso login"
    assert any(renew in line for line in stop.advice)
    assert AGAIN in stop.advice
    assert stop.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize(
    "message",
    [
        "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions.",
        "Value python3.99 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [...]",
    ],
)
def test_a_runtime_that_lambda_does_not_take_leads_to_the_option(message: str) -> None:
    stop = explained(client_error("InvalidParameterValueException", message))
    assert "does not take this runtime" in stop.means
    assert "--runtime" in stop.advice[0]


def test_an_answer_lost_again_and_again_says_that_the_state_file_knows() -> None:
    stop = explained(AnswerLost(CALL, "no answer"))
    assert "CreateFunction" in stop.what
    assert "no answer" in stop.what
    assert "state file" in stop.means
    assert stop.advice == (AGAIN,)
    assert stop.exit_code == outcome.ENVIRONMENT


def test_a_waiter_that_gave_up_says_so() -> None:
    stop = explained(WaiterError(name="TableExists", reason="Max attempts exceeded", last_response={}))
    assert "TableExists" in stop.what
    assert stop.exit_code == outcome.SERVICE


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        CredentialRetrievalError(provider="custom-process", error_msg="exit status 1"),
        TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
        SSOTokenLoadError(error_msg="no cached token"),
        UnauthorizedSSOTokenError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_credentials_that_fail_on_the_way_end_as_the_environments_fault(error: Exception) -> None:
    stop = explained(error)
    assert stop.exit_code == outcome.ENVIRONMENT
    assert AGAIN in stop.advice
    of_session = not isinstance(error, NoCredentialsError | CredentialRetrievalError)
    assert any("aws sso login --profile lab" in line for line in stop.advice) == of_session


URL = "https://lambda.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        ProxyConnectionError(proxy_url="http://proxy:3128"),
        SSLError(endpoint_url=URL, error="certificate verify failed"),
        HTTPClientError(error="something else"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_fails_ends_as_the_environments_fault(error: Exception) -> None:
    stop = explained(error)
    assert stop.exit_code == outcome.ENVIRONMENT
    assert stop.what == str(error)
    assert "network" in " ".join(stop.advice)
    assert AGAIN in stop.advice


def test_what_boto3_itself_refuses_names_the_step() -> None:
    stop = explained(ParamValidationError(report="Missing required parameter"))
    assert "5 (Function)" in stop.means
    assert stop.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_disk_refuses_names_the_file_and_is_no_defect(number: int) -> None:
    stop = explained(PermissionError(number, "no", ".provision/transcript"))
    assert ".provision/transcript" in stop.what
    assert (stop.exit_code, AGAIN in stop.advice) == (outcome.ENVIRONMENT, True)


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_from_the_environment_is_named_in_the_renewing_command(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "from-there")
    assert "aws sso login --profile from-there" in " ".join(explained(client_error("ExpiredToken"), None).advice)
    assert "aws sso login --profile lab" in " ".join(explained(client_error("ExpiredToken"), "lab").advice)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")  # which boto3 prefers to a profile that is not named
    assert "aws configure export-credentials" in " ".join(explained(client_error("ExpiredToken"), None).advice)


@pytest.mark.parametrize("error", [KeyError("Table"), ValueError("x"), RuntimeError("x"), OSError("x")])
def test_what_nobody_foresaw_keeps_its_traceback(error: Exception) -> None:
    assert explain(error, step="1", profile=None) is None


def test_credentials_that_end_on_the_way_are_no_defect() -> None:
    stop = explained(RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."))
    assert stop.exit_code == outcome.ENVIRONMENT and "AWS_CREDENTIAL_EXPIRATION" in stop.what
    assert explain(RuntimeError("something else"), step="5 (Function)", profile=None) is None


def test_what_fails_while_credentials_are_fetched_again_is_no_defect() -> None:
    def fetch() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/no/such/tool")

    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    credentials = RefreshableCredentials("a", "b", "c", moment, refresh_using=fetch, method="custom-process")
    with pytest.raises(FileNotFoundError) as failed:
        credentials.get_frozen_credentials()
    stop = explained(failed.value)
    assert stop.exit_code == outcome.ENVIRONMENT
    assert "profile lab" in stop.what and "/no/such/tool" in stop.what and AGAIN in stop.advice


# All of botocore's exceptions, so that a new one cannot be missed.


def made(kind: type[Exception]) -> Exception:
    """An exception of this class with something in every place of its text."""
    if issubclass(kind, ClientError):
        answer = {"Error": {"Code": "SomeCode", "Message": "some message"}, "ResponseMetadata": {"RequestId": "r-1"}}
        return kind(answer, "SomeOperation")
    fields = [name for _, name, _, _ in string.Formatter().parse(getattr(kind, "fmt", "")) if name]
    if issubclass(kind, WaiterError):
        return kind(name="some_waiter", reason="some reason", last_response={})
    return kind(**{name.partition("[")[0].partition(".")[0]: "something" for name in fields})


BOTOCORES = [
    kind
    for kind in vars(botocore.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, (BotoCoreError, ClientError)) and kind is not BotoCoreError
]


@pytest.mark.parametrize("kind", BOTOCORES, ids=lambda kind: kind.__name__)
def test_every_exception_of_botocore_has_a_message_a_meaning_and_a_way_on(kind: type[Exception]) -> None:
    stop = explain(made(kind), step="3 (Table)", profile=None)
    assert stop is not None, "it would end in a traceback"
    assert stop.what and stop.means and stop.advice
    assert stop.exit_code in (outcome.ENVIRONMENT, outcome.SERVICE)


def test_botocore_has_the_exceptions_that_this_looks_through() -> None:
    names = {kind.__name__ for kind in BOTOCORES}
    assert len(BOTOCORES) > 80
    assert {"NoCredentialsError", "ClientError", "ReadTimeoutError", "ParamValidationError", "WaiterError"} <= names
