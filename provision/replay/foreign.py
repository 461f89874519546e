"""What in a recorded call is not the walkthrough's: a script must not carry it into somebody's account unseen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from provision.aws.call_text import json_document
from provision.documents import policy_document, resource_policy, same_meaning
from provision.settings import AccountRules, BadSetting, Settings
from provision.terminal.text import visible

POLICIES = ("Lambda-Write-DynamoDB", "Lambda-Read-SQS", "trust-lambda", "trust-apigateway", "POC-Queue")
# The parameters that hold a policy document, in CreatePolicy, CreateRole, the attributes of a queue, and CreateRestApi.
DOCUMENTS = frozenset({"PolicyDocument", "AssumeRolePolicyDocument", "Policy", "policy"})
ARN = re.compile(r"arn:[^:\s]*:([^:\s]*):[^:\s]*:([^:\s]*):[^\s\"]*")
# The account's place in the ARN of an integration has the service that API Gateway calls.
# https://docs.aws.amazon.com/apigateway/latest/api/API_PutIntegration.html
CALLED = ("lambda", "sqs")
CALLERS = ("apigateway.amazonaws.com",)


@dataclass(frozen=True)
class Home:
    """The place where a deployment was, and its names."""

    partition: str
    region: str
    account_id: str
    settings: Settings

    @property
    def managed_policy(self) -> str:
        return f"arn:{self.partition}:iam::aws:policy/{self.settings.managed_policy}"


def foreign(call: Mapping[str, Any], home: Home) -> str | None:
    """What in the parameters is not the walkthrough's, in words; None when all is."""
    for name, value in members(call["parameters"]):
        what = f"{call['operation']} has {name}"
        if name in DOCUMENTS:
            own = (policy_document(one, home, home.settings) for one in POLICIES)
            if not any(same_meaning(value, one) for one in own) and not limits_callers(value, home):
                return f"{what} with a policy that is not the walkthrough's"
            continue
        if name == "Principal" and value not in CALLERS:
            return f"{what} {value!r}, which is not the walkthrough's"
        if isinstance(value, str) and (where := stranger_in(value, home)):
            return f"{what} {where}"
    return None


def limits_callers(document: str, home: Home) -> bool:
    """Whether it is the policy that --source-ip gives the REST API, for whichever networks."""
    for auth in ("none", "iam"):
        try:
            networks = json_document(document)["Statement"][-1]["Condition"]["NotIpAddress"]["aws:SourceIp"]  # type: ignore[index]
            rules = AccountRules(source_ips=tuple(networks), auth=auth)
        except (BadSetting, TypeError, KeyError, IndexError):
            return False
        own = resource_policy(home, replace(home.settings, rules=rules))
        if own is not None and same_meaning(document, own):
            return True
    return False


def stranger_in(text: str, home: Home) -> str | None:
    if visible(text) != text:
        return "with control characters"
    if text.lower().startswith(("http:", "https:")) and f"/{home.account_id}/" not in text:
        return f"{text!r}, an address that is not the deployment's"
    for found in ARN.finditer(text):
        service, account = found.groups()
        own = account in ("", home.account_id) or (service == "apigateway" and account in CALLED)
        if not own and found[0] != home.managed_policy:
            return f"{found[0]!r}, which is not in the account"
    return None


def members(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each value without members that is somewhere in it, keys among them, with the name of its parameter."""
    if isinstance(value, str) and name not in DOCUMENTS and json_document(value) is not None:
        yield name, value
        yield from members(json_document(value), name)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield name, key
            yield from members(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from members(member, name)
    else:
        yield name, value
