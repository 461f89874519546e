"""Step 2: the two roles, and the policies attached to them. The lesson: lessons/roles.md

Documents: policies/trust-lambda.json and policies/trust-apigateway.json. It takes some seconds until all of AWS knows
a new role. Calls that name one are tried again until then.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-service.html
"""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients, tags
from provision.documents import policy_document, same_meaning
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State

NEEDS = ("policies",)


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The function's role gets the two policies of step 1. API Gateway's role gets one of AWS's own."""
    role = settings.function_role
    provision_role(aws, state, "function-role", role, policy_document("trust-lambda", aws, settings))
    for policy in ("write-policy", "read-policy"):
        arn = state.identity(policy)["PolicyArn"]
        provision_attachment(aws, state, f"function-role/{policy}", "function-role", role, arn)

    role = settings.api_role
    provision_role(aws, state, "api-role", role, policy_document("trust-apigateway", aws, settings))
    arn = aws.managed_policy_arn(settings.managed_policy)
    provision_attachment(aws, state, "api-role/logs-policy", "api-role", role, arn)


def provision_role(aws: Clients, state: State, key: str, name: str, trust: dict[str, Any]) -> None:
    """Find the role; create it, or update whom it trusts; record it."""
    role = find_role(aws.iam, name)
    with state.resource(key, "iam:role", found=role, RoleName=name) as entry:
        if role is None:
            create_role(aws, entry, name, trust)
            wait_until_ready(aws, name)
        else:
            update_role(aws, entry, role, trust)
        entry["arn"] = aws.arn("iam", f"role/{name}", region="")


def provision_attachment(aws: Clients, state: State, key: str, parent: str, role: str, policy_arn: str) -> None:
    """Find the policy among those that are attached to the role; attach it if it is not there; record it."""
    attachment = find_attachment(aws.iam, role, policy_arn)
    with state.resource(
        key,
        "iam:role-policy-attachment",
        found=attachment,
        parent=parent,
        RoleName=role,
        PolicyArn=policy_arn,
    ):
        if attachment is None:
            attach_policy(aws, role, policy_arn)


def create_role(aws: Clients, entry: Entry, name: str, trust: dict[str, Any]) -> None:
    """The trust policy says who may assume the role. The policies attached afterwards say what the role may do."""
    created = aws.iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(trust),
        Tags=entry.tag_list,
    )
    entry.identify(created["Role"])


def attach_policy(aws: Clients, role: str, policy_arn: str) -> None:
    """Attaching a policy a second time changes nothing.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html
    """
    aws.iam.attach_role_policy(
        RoleName=role,
        PolicyArn=policy_arn,
    )


def update_role(aws: Clients, entry: Entry, role: dict[str, Any], trust: dict[str, Any]) -> None:
    """The new trust policy replaces the old one. The role keeps its id.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html
    """
    if entry.needs_tag():
        aws.iam.tag_role(
            RoleName=role["RoleName"],
            Tags=entry.tag_list,
        )
    found = role["AssumeRolePolicyDocument"]
    if entry.drifted("trust policy", found=found, wanted=trust, same=same_meaning(found, trust)):
        aws.iam.update_assume_role_policy(
            RoleName=role["RoleName"],
            PolicyDocument=json.dumps(trust),
        )


def find_role(iam: Any, name: str) -> dict[str, Any] | None:
    """The role as GetRole gives it, with its tags as a dict under "Tags"; None if there is none."""
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {**role, "Tags": tags(role.get("Tags"))}


def find_attachment(iam: Any, role_name: str, policy_arn: str) -> dict[str, Any] | None:
    """The policy as ListAttachedRolePolicies gives it; None if it is not attached, or there is no such role."""
    try:
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role_name):
            for attachment in page["AttachedPolicies"]:
                if attachment["PolicyArn"] == policy_arn:
                    return dict(attachment)
    except iam.exceptions.NoSuchEntityException:
        return None
    return None


def wait_until_ready(aws: Clients, name: str) -> None:
    """IAM answers from many places. It takes some seconds until all of them see a new role."""
    aws.iam.get_waiter("role_exists").wait(
        RoleName=name,
        WaiterConfig={"Delay": 1, "MaxAttempts": 60},
    )
