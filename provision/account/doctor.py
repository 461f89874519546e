"""Whether a build would work from here: what it needs, whether that is there, and what to do if not. Reads only."""

from __future__ import annotations

import datetime
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from botocore.exceptions import ClientError

from provision.account.conflicts import strangers, unproved
from provision.account.inventory import FoundResource, take_inventory
from provision.aws.clients import Clients
from provision.aws.credentials import is_of_credentials, renewing_command
from provision.aws.operations import NOT_IMPLEMENTED
from provision.documents import policy_document
from provision.settings import Settings
from provision.state.resources import name_of, noun_of
from provision.state.state import State
from provision.terminal.json_values import as_list
from provision.terminal.text import plural

PASS, FAIL, UNKNOWN = "pass", "fail", "could not check"

ENOUGH_MINUTES = 10  # a build takes two or three, more in a class
# AWS refuses a request whose time is five minutes off.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
SKEW_SECONDS = 240
AT_ONCE = 3  # invocations: two for the trigger, whose smallest maximum that is, and one for the URL
OF_IAM = 2  # a build makes two roles and two policies
NOT_AMONG = (
    "policies/operator-build.json has all that a build needs, operator-key.json what --auth api-key needs beside it: "
    "ask for them, or for these actions."
)


@dataclass(frozen=True)
class Condition:
    """One thing that a build needs. `outcome` is "pass", "fail" or "could not check"; `remedy` has lines."""

    name: str
    outcome: str
    saw: str
    remedy: str = ""


def of_this_machine(*, sandbox: bool) -> Iterator[Condition]:
    """The versions, and for the sandbox what it is made of. The `aws` command is only there for pasted commands."""
    versions = f"Python {platform.python_version()}, boto3 {version('boto3')}, {aws_command()}"
    yield Condition("Versions", PASS, versions)
    if sandbox and find_spec("moto") is None:
        yield Condition("Sandbox", FAIL, "its extra is not installed", "python -m pip install --editable '.[sandbox]'")


def aws_command() -> str:
    """The version of the `aws` command, in words."""
    found = shutil.which("aws") or ""
    try:
        asked = subprocess.run([found, "--version"], capture_output=True, encoding="utf-8", timeout=20, check=False)
        said = asked.stdout
    except (OSError, subprocess.SubprocessError):
        return "no aws command (only pasted commands need it)"
    known = re.match(r"aws-cli/(\S+)", said)
    return f"aws {known[1]}" if known else "an aws command that does not say its version"


def of_the_account(aws: Clients, settings: Settings, state: State) -> Iterator[Condition]:
    """Credentials, clock, permissions, quotas, names. What AWS refuses to tell could not be checked.

    Raises ClientError when the credentials have expired or are refused.
    """
    place = "sandbox" if aws.is_sandbox else f"account {aws.account_id}{f' ({aws.alias})' if aws.alias else ''}"
    yield Condition("Place", PASS, f"{place}, Region {aws.region} ({aws.region_from.source})")
    yield credentials(aws)
    yield asked("Clock", lambda: clock(aws), "")
    yield asked(
        "Permissions",
        lambda: permissions(aws, settings),
        "Ask for iam:SimulatePrincipalPolicy. Without it a build stops at the first call that is refused.",
    )
    yield asked("Lambda", lambda: concurrency(aws), "Ask for lambda:GetAccountSettings.")
    yield asked("IAM", lambda: quotas_of_iam(aws, state), "Ask for iam:GetAccountSummary.")
    yield names(aws, settings, state)


def asked(name: str, look: Callable[[], Condition], remedy: str) -> Condition:
    """What the look found; where AWS refuses it, that it could not be checked."""
    try:
        return look()
    except ClientError as error:
        if is_of_credentials(error):
            raise
        if error.response["ResponseMetadata"].get("HTTPStatusCode") == NOT_IMPLEMENTED:
            return Condition(name, UNKNOWN, "this emulator does not answer that")
        return Condition(name, UNKNOWN, f"AWS does not say: {error.response.get('Error', {}).get('Code')}", remedy)


def credentials(aws: Clients) -> Condition:
    """Whose they are, and whether they last for a build."""
    saw = f"{aws.caller.rpartition(':')[2]}, {aws.credentials_from}"
    if aws.expires is None:
        return Condition("Credentials", PASS, saw)
    left = int((aws.expires - datetime.datetime.now(datetime.timezone.utc)).total_seconds() // 60)
    saw += f", for {plural(left, 'more minute')}"
    if left >= ENOUGH_MINUTES:
        return Condition("Credentials", PASS, saw)
    return Condition("Credentials", FAIL, saw, f"Renew them: {renewing_command(aws.profile)}")


def clock(aws: Clients) -> Condition:
    """How far this machine's clock is from AWS's, by the date of an answer."""
    began = datetime.datetime.now(datetime.timezone.utc)
    answer = aws.sts.get_caller_identity()
    took = datetime.datetime.now(datetime.timezone.utc) - began
    try:
        theirs = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return Condition("Clock", UNKNOWN, "the answer has no date")
    seconds = round((began + took / 2 - theirs).total_seconds())
    how = "behind" if seconds < 0 else "ahead of"
    saw = f"{abs(seconds)} s {how} AWS's" if abs(seconds) > 1 else "as AWS's"
    if abs(seconds) < SKEW_SECONDS:
        return Condition("Clock", PASS, saw)
    return Condition("Clock", FAIL, saw, "Set it: AWS refuses requests that are five minutes off.")


def permissions(aws: Clients, settings: Settings) -> Condition:
    """Whether IAM would allow the caller what policies/operator-build.json has, statement by statement.

    With --auth api-key also what policies/operator-key.json has.

    Session policies and resource policies do not count in it.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    caller = principal(aws)
    statements = policy_document("operator-build", aws, settings)["Statement"]
    if settings.needs_api_key:
        statements = [*statements, *policy_document("operator-key", aws, settings)["Statement"]]
    actions = {action for statement in statements for action in as_list(statement["Action"])}
    if caller is None:
        return Condition("Permissions", PASS, "those of the root user, who may do anything")
    denied: list[str] = []
    for statement in statements:
        pages = aws.iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=caller,
            ActionNames=as_list(statement["Action"]),
            ResourceArns=as_list(statement["Resource"]),
            ContextEntries=context(statement.get("Condition", {})),
        )
        for result in (result for page in pages for result in page["EvaluationResults"]):
            decisions = [result["EvalDecision"]]
            decisions += [one["EvalResourceDecision"] for one in result.get("ResourceSpecificResults", [])]
            if any(decision != "allowed" for decision in decisions):
                denied.append(result["EvalActionName"])
    if not denied:
        return Condition("Permissions", PASS, f"all {len(actions)} actions of a build")
    return Condition("Permissions", FAIL, f"not allowed: {', '.join(sorted(set(denied)))}", NOT_AMONG)


def principal(aws: Clients) -> str | None:
    """The user, or the role that is assumed; None for the root user. A session's ARN lacks the role's path."""
    kind, _, rest = aws.caller.rpartition(":")[2].partition("/")
    if kind == "root":
        return None
    if kind != "assumed-role":
        return aws.caller
    return str(aws.iam.get_role(RoleName=rest.partition("/")[0])["Role"]["Arn"])


def context(condition: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a request has to have for a condition to hold."""
    keys = {key: as_list(wanted) for wanted_by_key in condition.values() for key, wanted in wanted_by_key.items()}
    return [
        {"ContextKeyName": key, "ContextKeyValues": values, "ContextKeyType": "string"} for key, values in keys.items()
    ]


def concurrency(aws: Clients) -> Condition:
    """How many invocations may run at once. https://docs.aws.amazon.com/lambda/latest/api/API_AccountLimit.html"""
    limit = aws.lambda_.get_account_settings()["AccountLimit"]
    free, most = limit["UnreservedConcurrentExecutions"], limit["ConcurrentExecutions"]
    saw = f"{free} of {most} invocations at once are not reserved, for all functions of the Region"
    if free >= AT_ONCE:
        return Condition("Lambda", PASS, saw)
    return Condition("Lambda", FAIL, saw, "Ask AWS for more: Service Quotas, Lambda, Concurrent executions.")


def quotas_of_iam(aws: Clients, state: State) -> Condition:
    """Whether roles and policies are left. https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html"""
    summary = aws.iam.get_account_summary()["SummaryMap"]
    counts = {what: (summary[what], summary[f"{what}Quota"]) for what in ("Roles", "Policies")}
    saw = ", ".join(f"{used} of {most} {what.lower()}" for what, (used, most) in counts.items())
    if all(most - used >= OF_IAM for used, most in counts.values()) or state.record("api-role") is not None:
        return Condition("IAM", PASS, saw)
    return Condition("IAM", FAIL, saw, "Remove some, or ask AWS for more: Service Quotas, IAM.")


def names(aws: Clients, settings: Settings, state: State) -> Condition:
    """Whether somebody else has one of the names, or what is recorded can no longer be proved ours."""
    seen = take_inventory(aws, settings)
    taken = strangers(seen, state)
    if taken:
        remedy = "Build beside it with --learner NAME, or take it over with --adopt; --dry-run says more."
        return Condition("Names", FAIL, f"not this deployment's: {named(taken)}", remedy)
    lost = unproved(seen, state)
    if lost:
        remedy = "A build stops there, and changes nothing of it; --dry-run says more."
        return Condition("Names", FAIL, f"recorded, but its tag or its id is another: {named(lost)}", remedy)
    if seen.unanswered:
        return Condition("Names", UNKNOWN, ", ".join(map(str, seen.unanswered)), "Ask for the permission to look.")
    ours = sum(one.tag == state.deployment for one in seen.resources)
    return Condition("Names", PASS, f"{plural(ours, 'resource')} of this deployment" if ours else "free")


def named(resources: list[FoundResource]) -> str:
    return ", ".join(f"{noun_of(one.kind)} {name_of(one.kind, one.identity)}" for one in resources)
