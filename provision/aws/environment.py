"""The environment variables with which the `aws` command and boto3 speak to a target, without any option.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html has AWS_ENDPOINT_URL: the AWS CLI knows it
from version 2.13 (1.29) on, boto3 from 1.28 on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from provision.aws.clients import THROW_AWAY, Clients
from provision.aws.sandbox_process import FOREIGN, PLAIN_AWS
from provision.terminal.shell import past_proxy

# How `aws` shows what it was told: that stays a person's own.
LOOKS = ("AWS_PAGER", "AWS_DEFAULT_OUTPUT", "AWS_CLI_AUTO_PROMPT")

# What says who calls. Keys in the environment win over a profile that is named there.
WHO = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
)


@dataclass(frozen=True)
class Variables:
    """What to set, and what to take away first: the names that begin so, besides those that are set."""

    given: Mapping[str, str]
    without: tuple[str, ...] = ()

    def put_into(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment with these variables."""
        kept = {name: value for name, value in environ.items() if not name.upper().startswith(self.without)}
        return {**kept, **self.given}


def variables_for(aws: Clients, environ: Mapping[str, str] = os.environ) -> Variables:
    """With which variables a program reaches what `aws` reaches, as the same caller.

    In the sandbox nothing is left of the user's own AWS variables and files.
    """
    region = {"AWS_REGION": aws.region, "AWS_DEFAULT_REGION": aws.region}
    url = {"AWS_ENDPOINT_URL": aws.base_url} if aws.base_url else {}
    beside = past_proxy(aws.base_url)
    if beside:
        others = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        beside = {name: ",".join(filter(None, (others, host))) for name, host in beside.items()}
    if aws.is_sandbox:
        looks = {name: environ[name] for name in LOOKS if name in environ}
        # Without AWS_ACCOUNT_ID_ENDPOINT_MODE DynamoDB's host name could contain the account.
        key = {"AWS_SECRET_ACCESS_KEY": aws.sandbox_key} if aws.sandbox_key else {}
        plain = {**looks, **PLAIN_AWS, **key, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
        return Variables({**plain, **region, **url, **beside}, FOREIGN)
    if aws.profile:
        return Variables({**region, **url, **beside, "AWS_PROFILE": aws.profile}, WHO)
    if aws.credentials_from.startswith(THROW_AWAY):
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        return Variables({**region, **url, **beside, **keys})
    return Variables({**region, **url, **beside})
