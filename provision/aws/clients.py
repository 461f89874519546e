"""The clients of the steps, and where they call. Made by connect.py."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.aws.calls import Calls
from provision.aws.waiting import Waiting

THROW_AWAY = "throw-away ones"

SANDBOX_ACCOUNT = "123456789012"  # the account that moto plays

# What a plan takes for the sandbox while none is running. The port is chosen when one starts.
NO_SANDBOX = ("", "http://127.0.0.1:PORT")


@dataclass(frozen=True)
class Sourced:
    """A value and where it came from, for the banner."""

    value: str
    source: str


@dataclass(frozen=True)
class Target:
    """What the command line asked for. `sandbox` is (id, URL) of a running sandbox; its state files carry the id.

    Without an id none is running yet: then nothing is called, and only a plan can be made, of an empty account.
    `sources` says where a value came from that is not from an option, by "region", "profile", "endpoint_url".
    """

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    sandbox: tuple[str, str] | None = None
    sandbox_key: str = field(default="", repr=False)  # empty: any will do
    sources: Mapping[str, str] = field(default_factory=dict)

    def source_of(self, name: str) -> str:
        return self.sources.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True)
class Clients:
    """boto3's clients for one account and Region, and what connecting told about it.

    `endpoint`: None on AWS, "sandbox:ID" in the sandbox, else an emulator's URL. A state file is bound to it.
    `base_url`: where an emulator answers; None on AWS.
    """

    iam: Any
    dynamodb: Any
    sqs: Any
    lambda_: Any
    apigateway: Any
    logs: Any
    sts: Any
    account: Sourced
    caller: str
    region_from: Sourced
    partition: str
    dns_suffix: str
    endpoint: str | None
    base_url: str | None
    profile: str | None
    calls: Calls
    warnings: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    credentials_from: str = ""
    expires: datetime.datetime | None = None  # when the credentials expire, where that is known and nothing renews them
    alias: str | None = None
    profile_from: Sourced | None = None  # None where no profile was named
    endpoint_from: str = ""
    sandbox_key: str = field(default="", repr=False)  # the secret access key of a sandbox's calls
    is_empty: bool = False  # no sandbox is running: nothing can be called, and a plan is that of an empty account
    verify: bool | str = True  # the file of the certificates to trust; True: botocore's own
    credentials: Any = None  # boto3's own, which sign the calls and renew themselves

    @property
    def is_sandbox(self) -> bool:
        """Whether it is the suite's own local AWS."""
        return self.endpoint is not None and self.endpoint.startswith("sandbox:")

    @property
    def clients(self) -> tuple[Any, ...]:
        return (self.iam, self.dynamodb, self.sqs, self.lambda_, self.apigateway, self.logs, self.sts)

    @property
    def waiting(self) -> Waiting:
        return self.calls.waiting

    @property
    def region(self) -> str:
        return self.region_from.value

    @property
    def account_id(self) -> str:
        return self.account.value

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """The ARN of something in this account; pass region="" for IAM, whose ARNs have none."""
        region = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{region}:{self.account_id}:{resource}"

    def managed_policy_arn(self, name: str) -> str:
        """The ARN of a policy of AWS's own: it belongs to the account "aws" of the partition."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    def invoke_url(self, api_id: str, stage: str, path: str) -> str:
        """The public URL of a path of a deployed stage.

        On AWS https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html; emulators answer
        under a path of their own instead of a host name.
        """
        if self.base_url:
            return f"{self.base_url}/restapis/{api_id}/{stage}/_user_request_/{path}"
        return f"https://{api_id}.execute-api.{self.region}.{self.dns_suffix}/{stage}/{path}"


def tags(listed: list[dict[str, str]] | None) -> dict[str, str]:
    """AWS's list of Key and Value as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in listed or []}
