"""Credentials that AWS does not take, and what a person does about it."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from getpass import GetPassWarning
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    LoginInsufficientPermissions,
    MissingDependencyException,
    NoCredentialsError,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
)

from provision.aws.answers import came_from
from provision.terminal import outcome
from provision.terminal.redaction import without_secrets
from provision.terminal.shell import command_line

# Each service spells them in its own way; https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "SSOTokenLoadError"}
)

REFUSED = frozenset(
    {
        "InvalidClientTokenId",
        "InvalidSecurity",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "InvalidAccessKeyId",
    }
)

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})

# The sessions of `aws sso login` and `aws login`.
SESSION_ERRORS = (SSOError, TokenRetrievalError, LoginError)

# The calls with which botocore fetches credentials.
FETCHING = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "GetRoleCredentials", "CreateToken", "CreateOAuth2Token"}
)


class CannotConnect(outcome.UserError):
    """No usable credentials, configuration or connection."""

    exit_code = outcome.ENVIRONMENT


# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html has the code OptInRequired
NOT_ACTIVATED = "AWS knows these credentials, but the account has not been activated for this service."
ACTIVATE = "Finish the account's sign-up in the console; AWS may take a day for it."

TO_THE_SANDBOX = "or work without an AWS account: add --sandbox"


def no_credentials() -> CannotConnect:
    """The message that a learner without an account meets first."""
    return CannotConnect(
        "There are no AWS credentials, and --sandbox was not given.",
        means="The suite needs an AWS account, or its own local AWS in place of one.",
        advice=(
            "Without an account: python -m provision --sandbox",
            "With an account:    aws login   (or: aws configure sso, aws configure), then "
            "python -m provision --profile NAME --region REGION",
        ),
        code="no-credentials",
    )


def renewing_command(profile: str | None) -> str:
    """The command that renews a profile's credentials, or those of its source; by where they come from."""
    name, settings = source_of(profile)
    option = f" --profile {name}" if name else ""
    if not profile and os.environ.get("AWS_ACCESS_KEY_ID"):
        return export_command("NAME")  # boto3 takes the keys, whatever AWS_PROFILE says
    if "login_session" in settings:
        return f"aws login{option}"
    if "credential_process" in settings:
        return f"as {program_of(settings)} asks for it"
    token = settings.get("web_identity_token_file") or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if token:
        return f"with a new token in {token}"
    if "aws_access_key_id" in settings:
        return f"aws configure{option}"
    return f"aws sso login{option}" if name else "aws sso login   (or: aws login, aws configure)"


def export_command(profile: str | None, *, windows: bool = False) -> str:
    """The command that puts a profile's credentials into the environment. On Windows it prints lines to run.

    https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html
    """
    form = "windows-cmd" if windows else "env"
    words = ["aws", "configure", "export-credentials", "--format", form, *(["--profile", profile] if profile else [])]
    command = command_line(words, windows=windows)
    return command if windows else f'eval "$({command})"'


def source_of(profile: str | None) -> tuple[str | None, Mapping[str, Any]]:
    """The profile that the credentials come from, behind those whose roles are assumed with them; and its settings."""
    import botocore.session  # it takes a fifth of a second to import

    # In boto3's order: it prefers the older variable.
    name = profile or os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    try:
        profiles: dict[str, dict[str, Any]] = botocore.session.Session().full_config.get("profiles", {})
    except (BotoCoreError, OSError, ValueError):  # it cannot be read
        return name, {}
    settings = profiles.get(name or "default", {})
    for _ in profiles:  # they may name each other in a circle
        if "source_profile" in settings:
            name = str(settings["source_profile"])
            settings = profiles.get(name, {})
    return name, settings


def program_of(settings: Mapping[str, Any]) -> str:
    """The program of a credential_process. Its arguments may be secret."""
    return (str(settings["credential_process"]).split() or [""])[0]


def have_ended(error: BaseException) -> bool:
    """Whether botocore found that what it fetched, or what is in the environment, has expired.

    It has no exception of its own for that: RefreshableCredentials raises a RuntimeError.
    """
    return isinstance(error, RuntimeError) and "refreshed credentials are still expired" in str(error)


def is_of_credentials(error: BaseException) -> bool:
    """Whether AWS does not take the credentials, or they could not be fetched: whatever failed there is no defect."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        return code in EXPIRED | REFUSED or error.operation_name in FETCHING
    if isinstance(error, (NoCredentialsError, CredentialRetrievalError, *SESSION_ERRORS)) or have_ended(error):
        return True
    return came_from(error, "botocore.credentials")


def cannot_connect(error: BaseException, profile: str | None) -> CannotConnect:
    """What a failure of credentials or connection means. Such failures are never retried."""
    if isinstance(error, NoCredentialsError):
        return no_credentials()
    if isinstance(error, ClientError):
        return _refused(error, profile)
    if isinstance(error, HTTPClientError) and "Invalid header value" in str(error):  # which may be a token
        return CannotConnect(
            "The credentials have a line break, or another character that no request can have.",
            means="Nothing was sent.",
            advice=(f"Correct them: {renewing_command(profile)}", TO_THE_SANDBOX),
        )
    if isinstance(error, ConnectionError | HTTPClientError):
        return CannotConnect(
            str(error),
            means="Nothing answered there: no network, a proxy in between, or a Region that does not exist.",
            advice=("Check the network, --region and --endpoint-url.",),
            code="no-connection",
        )
    if isinstance(error, SESSION_ERRORS):
        return _no_session(error, profile)
    if isinstance(error, MissingDependencyException):
        return CannotConnect(
            str(error),
            means="The profile is one of aws login, and what botocore needs for that is not there.",
            advice=("Install it: pip install 'botocore[crt]'", TO_THE_SANDBOX),
        )
    words = " ".join(str(error).split())
    if isinstance(error, BotoCoreError) and not isinstance(
        error, CredentialRetrievalError | RefreshWithMFAUnsupportedError
    ):
        return CannotConnect(
            words,
            means="The AWS configuration could not be used.",
            advice=("Correct it (its files are in ~/.aws, its variables begin with AWS_),", TO_THE_SANDBOX),
        )
    return _not_fetched(error, profile)


def _no_session(error: BaseException, profile: str | None) -> CannotConnect:
    """The session of `aws sso login` or `aws login` is over, or never began."""
    if isinstance(error, LoginInsufficientPermissions):
        return CannotConnect(
            str(error),
            means="The session is there, but AWS gives no credentials for it.",
            advice=("Ask for the permission signin:CreateOAuth2Token, or use another profile.",),
            code="credentials-refused",
        )
    return CannotConnect(
        str(error),
        means="The session has expired, or there is none.",
        advice=(f"Renew it: {renewing_command(profile)}", "then run the same command again."),
        code="credentials-expired",
    )


def _not_fetched(error: BaseException, profile: str | None) -> CannotConnect:
    """Where the credentials come from failed: a program, a file, a variable, or nobody was there to type a code."""
    source, settings = source_of(profile)
    whose = f" of profile {profile or source}" if profile or source else ""
    look = "aws sts get-caller-identity" + (f" --profile {profile or source}" if profile or source else "")
    if isinstance(error, EOFError | GetPassWarning | RefreshWithMFAUnsupportedError):
        return CannotConnect(
            f"The role{whose} asks for an MFA code, and there is no terminal to type it in.",
            means="Nothing was sent.",
            advice=(f"Type it into another command, in a terminal: {look}", "then run this one: it uses the session."),
        )
    if have_ended(error):
        return CannotConnect(
            f"The credentials{whose} have expired: so says what gives them, or AWS_CREDENTIAL_EXPIRATION.",
            means="Nothing was sent with them. If that is not so, this machine's clock is wrong.",
            advice=(f"Renew them: {renewing_command(profile)}", "then run the same command again."),
            code="credentials-expired",
        )
    said = isinstance(error, CredentialRetrievalError)
    words = without_secrets(" ".join((str(error) if said else f"{type(error).__name__}: {error}").split()))
    if "credential_process" in settings:
        means = f"They come from the program {program_of(settings)} (credential_process), which failed or gave others."
    else:
        means = "Where they come from failed, or gave something else."
        if not said:  # a variable may have an odd value, which the words do not tell
            means += f" Set are {', '.join(sorted(name for name in os.environ if name.startswith('AWS_')))}."
    # The CRT cannot read one session key in 256: that whose first byte is zero, which it writes itself.
    again = (f"Log in again, for a new session: {renewing_command(profile)}",) if "login_session" in settings else ()
    return CannotConnect(
        f"The credentials{whose} could not be loaded: {words}",
        means=means,
        advice=(*again, f"See whether the aws command can load them: {look}", TO_THE_SANDBOX),
    )


def _refused(error: ClientError, profile: str | None) -> CannotConnect:
    """AWS answered, and did not take the credentials, or gave none."""
    answer = error.response.get("Error", {})
    # Where AWS does not accept the signature it quotes what was signed, the session's token included.
    code, message = answer.get("Code", ""), without_secrets(answer.get("Message", ""))
    what = f"An error occurred ({code}) when calling the {error.operation_name} operation: {message}"
    minutes = minutes_off(message)
    if minutes is not None:
        how = f"{abs(minutes):.0f} minutes {'slow' if minutes > 0 else 'fast'}" if minutes else "wrong"
        return CannotConnect(
            what,
            means=f"This machine's clock is {how}, by AWS's.",
            advice=("Set it, then run the same command again.",),
        )
    advice: tuple[str, ...]
    if code in EXPIRED:
        means = "The credentials have expired."
        advice = (f"Renew them: {renewing_command(profile)}", "then run the same command again.")
    elif code == "OptInRequired":
        means, advice = NOT_ACTIVATED, (ACTIVATE, TO_THE_SANDBOX)
    elif error.operation_name in FETCHING and code not in REFUSED:
        means, advice = "AWS gives no credentials for this profile.", _for_role(code, message, profile)
    elif code in DENIED:
        means, whom = denial(message, error.operation_name)
        advice = (whom, "Or name another Region with --region,", TO_THE_SANDBOX)
    else:
        means = "AWS does not accept these credentials."
        advice = (f"Renew or correct them: {renewing_command(profile)}", TO_THE_SANDBOX)
    return CannotConnect(what, means=means, advice=advice, code=_code(code))


def _code(code: str) -> str:
    return "credentials-expired" if code in EXPIRED else "credentials-refused"


def _for_role(code: str, message: str, profile: str | None) -> tuple[str, ...]:
    if "MultiFactorAuthentication failed" in message:
        return ("Wait for the next MFA code: each counts once.", "Then run the same command again.")
    if code in DENIED or code == "ForbiddenException":  # of IAM Identity Center
        return ("Look at the profile's role: its trust policy must name you, and you must be allowed to assume it.",)
    return (
        "Run the same command again.",
        f"Should that fail, too, renew what it begins with: {renewing_command(profile)}",
    )


def denial(message: str, operation: str) -> tuple[str, str]:
    """What kind of policy denies a call, as far as AWS says it, and whom to ask.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    for policy in ("service control policy", "resource control policy", "permissions boundary", "session policy"):
        if policy in message:
            means = f"A {policy} does not allow {operation}: no permission that is added elsewhere helps."
            return means, f"Ask whoever manages that {policy}."
    return f"These credentials may not call {operation}.", "Ask for that permission."


def minutes_off(message: str) -> float | None:
    """How many minutes this machine's clock is behind AWS's, where a refusal gives that as the reason; 0 for unknown.

    "Signature expired: OURS is now earlier than LIMIT (THEIRS - 5 min.)", "Signature not yet current: OURS is still
    later than LIMIT (THEIRS + 5 min.)": EngineerBetter/control-tower#51, aws/aws-sdk-js#2565.
    """
    if not message.startswith(("Signature expired", "Signature not yet current")):
        return None
    found = re.findall(r"\d{8}T\d{6}Z", message)
    if len(found) < 3:
        return 0.0
    ours, _, theirs = (datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ") for text in found[:3])
    return (theirs - ours).total_seconds() / 60
