"""Credentials that AWS does not take, and what a person does about it."""

from __future__ import annotations

import os

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from provision.terminal import outcome

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

CREDENTIAL_ERRORS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)


class CannotConnect(outcome.UserError):
    """No usable credentials, configuration or connection."""

    exit_code = outcome.ENVIRONMENT


TO_THE_SANDBOX = "or work without an AWS account: add --sandbox"


def no_credentials() -> CannotConnect:
    """The message that a learner without an account meets first."""
    return CannotConnect(
        "There are no AWS credentials, and --sandbox was not given.",
        means="The suite needs an AWS account, or its own local AWS in place of one.",
        advice=(
            "Without an account: python -m provision --sandbox",
            "With an account:    aws configure sso   (or: aws configure), then "
            "python -m provision --profile NAME --region REGION",
        ),
        code="no-credentials",
    )


def renewing_command(profile: str | None) -> str:
    # In boto3's order: it prefers the older variable.
    profile = profile or os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    return f"aws sso login --profile {profile}" if profile else "aws sso login   (or: aws configure)"


def have_ended(error: BaseException) -> bool:
    """Whether botocore found that the credentials in the environment have expired.

    It has no exception of its own for that: RefreshableCredentials raises a RuntimeError.
    """
    return isinstance(error, RuntimeError) and "refreshed credentials are still expired" in str(error)


def cannot_connect(error: BaseException, profile: str | None) -> CannotConnect:
    """What a failure of credentials or connection means. Such failures are never retried."""
    if isinstance(error, NoCredentialsError):
        return no_credentials()
    if have_ended(error):
        return CannotConnect(
            "The credentials in the environment have expired: AWS_CREDENTIAL_EXPIRATION says so.",
            means="Nothing was sent with them.",
            advice=("Export new ones:", 'eval "$(aws configure export-credentials --format env --profile NAME)"'),
            code="credentials-expired",
        )
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code, message = answer.get("Code", ""), answer.get("Message", "")
        if code in EXPIRED:
            return CannotConnect(
                f"An error occurred ({code}) when calling the {error.operation_name} operation: {message}",
                means="The credentials have expired.",
                advice=(f"Renew them: {renewing_command(profile)}", "then run the same command again."),
                code="credentials-expired",
            )
        return CannotConnect(
            f"An error occurred ({code}) when calling the {error.operation_name} operation: {message}",
            means="AWS does not accept these credentials.",
            advice=(f"Renew or correct them: {renewing_command(profile)}", TO_THE_SANDBOX),
            code="credentials-refused",
        )
    if isinstance(error, CREDENTIAL_ERRORS):
        return CannotConnect(
            str(error),
            means="The credentials could not be loaded, or have expired.",
            advice=(f"Renew them: {renewing_command(profile)}", "then run the same command again."),
            code="credentials-expired",
        )
    if isinstance(error, EndpointConnectionError | ConnectionError | HTTPClientError):
        return CannotConnect(
            str(error),
            means="Nothing answered there: no network, a proxy in between, or a Region that does not exist.",
            advice=("Check the network, --region and --endpoint-url.",),
            code="no-connection",
        )
    return CannotConnect(str(error), means="The AWS configuration could not be used.", advice=(TO_THE_SANDBOX,))
