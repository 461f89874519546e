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
from provision.settings import NO_BOUNDARY, AccountRules, Settings
from provision.state.entries import Entry
from provision.state.state import State
from provision.terminal import outcome

NEEDS = ("policies",)

# What is attached to a role, by the policy's ARN, as ListAttachedRolePolicies gives it.
Attached = dict[str, dict[str, Any]]

# As a difference is called where no boundary was asked for, and one is there: see state/comparison.py.
BOUNDARY = "PermissionsBoundary > PermissionsBoundaryArn"


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """The two roles. One that somebody else made, --lambda-role-arn or --apigateway-role-arn, is used as it is."""
    if settings.rules.lambda_role_arn:
        use_role(aws, state, "function-role", settings.rules.lambda_role_arn)
    else:
        provision_function_role(aws, settings, state)
    if settings.rules.apigateway_role_arn:
        use_role(aws, state, "api-role", settings.rules.apigateway_role_arn)
    else:
        provision_api_role(aws, settings, state)


def provision_function_role(aws: Clients, settings: Settings, state: State) -> None:
    """The function's role gets the two policies of step 1."""
    role, trust = settings.function_role, policy_document("trust-lambda", aws, settings)
    arn = aws.arn("iam", f"role/{settings.function_role_in_arn}", region="")
    attached = provision_role(aws, settings, state, "function-role", arn, trust)
    for policy in ("write-policy", "read-policy"):
        policy_arn = state.identity(policy)["PolicyArn"]
        provision_attachment(aws, state, f"function-role/{policy}", role, policy_arn, attached)


def provision_api_role(aws: Clients, settings: Settings, state: State) -> None:
    """API Gateway's role gets a policy of AWS's own."""
    role, trust = settings.api_role, policy_document("trust-apigateway", aws, settings)
    arn = aws.arn("iam", f"role/{settings.api_role_in_arn}", region="")
    attached = provision_role(aws, settings, state, "api-role", arn, trust)
    policy_arn = aws.managed_policy_arn(settings.managed_policy)
    provision_attachment(aws, state, "api-role/logs-policy", role, policy_arn, attached)


def provision_role(
    aws: Clients, settings: Settings, state: State, key: str, arn: str, trust: dict[str, Any]
) -> Attached:
    """Find the role; create it, or update whom it trusts and what limits it; record it. What is attached to it."""
    name = arn.split("/")[-1]
    role = find_role(aws.iam, name)
    with state.resource(key, "iam:role", found=role, RoleName=name) as entry:
        if role is None:
            create_by_rules(aws, settings.rules, entry, name, trust)
        else:
            update_role(aws, settings, entry, role, trust)
        entry["arn"] = arn
    return {} if role is None else find_attached(aws.iam, name)


def create_by_rules(aws: Clients, rules: AccountRules, entry: Entry, name: str, trust: dict[str, Any]) -> None:
    """As the walkthrough does, unless the account has rules."""
    boundary = rules.permissions_boundary
    if boundary not in ("", NO_BOUNDARY):
        create_limited_role(aws, entry, name, trust, rules.role_path or "/", boundary)
    elif rules.role_path:
        create_role_in_path(aws, entry, name, trust, rules.role_path)
    else:
        create_role(aws, entry, name, trust)


def use_role(aws: Clients, state: State, key: str, arn: str) -> None:
    """Note a role that somebody else made. Nothing of it is changed. Raises UserError where it is not there."""
    name = arn.split("/")[-1]
    role = find_role(aws.iam, name)
    if role is None or role["Arn"] != arn:
        raise outcome.UserError(
            f"There is no role {arn} in this account.",
            means="The role is named by an option, or by the state file, and is made by somebody else.",
            advice=("Ask who manages the account's roles for the ARN, then run the same command again.",),
        )
    note = "somebody else's role: used as it is, with the policies that it has"
    state.use(key, "iam:role", {"arn": arn, "id": role["RoleId"]}, note, RoleName=name)


def provision_attachment(aws: Clients, state: State, key: str, role: str, policy_arn: str, attached: Attached) -> None:
    """Attach the policy, unless it is among what is attached to the role; record it."""
    attachment = attached.get(policy_arn)
    with state.resource(
        key,
        "iam:role-policy-attachment",
        found=attachment,
        parent=key.partition("/")[0],
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


def create_role_in_path(aws: Clients, entry: Entry, name: str, trust: dict[str, Any], path: str) -> None:
    """The same under a path, which becomes a part of the role's ARN."""
    created = aws.iam.create_role(
        Path=path,
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(trust),
        Tags=entry.tag_list,
    )
    entry.identify(created["Role"])


def create_limited_role(aws: Clients, entry: Entry, name: str, trust: dict[str, Any], path: str, boundary: str) -> None:
    """The same with a boundary: the role may do only what its policies and the boundary both allow.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    """
    created = aws.iam.create_role(
        Path=path,
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(trust),
        PermissionsBoundary=boundary,
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


def update_role(aws: Clients, settings: Settings, entry: Entry, role: dict[str, Any], trust: dict[str, Any]) -> None:
    """The new trust policy replaces the old one. The role keeps its id, and its path for ever.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html
    """
    if settings.rules.role_path:
        entry.must_be_replaced("path", found=role["Path"], wanted=settings.rules.role_path)
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
    if settings.rules.permissions_boundary:
        update_boundary(aws, entry, role, settings.rules.permissions_boundary)


def update_boundary(aws: Clients, entry: Entry, role: dict[str, Any], boundary: str) -> None:
    """A role has one boundary at most. NO_BOUNDARY takes away what is there.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePermissionsBoundary.html
    """
    found = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", NO_BOUNDARY)
    if not entry.drifted(BOUNDARY, found=found, wanted=boundary):
        return
    if boundary == NO_BOUNDARY:
        aws.iam.delete_role_permissions_boundary(
            RoleName=role["RoleName"],
        )
    else:
        aws.iam.put_role_permissions_boundary(
            RoleName=role["RoleName"],
            PermissionsBoundary=boundary,
        )


def find_role(iam: Any, name: str) -> dict[str, Any] | None:
    """The role as GetRole gives it, with its tags as a dict under "Tags"; None if there is none."""
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {**role, "Tags": tags(role.get("Tags"))}


def find_attached(iam: Any, role_name: str) -> Attached:
    """What is attached to the role. Nothing is, if there is no such role."""
    try:
        pages = list(iam.get_paginator("list_attached_role_policies").paginate(RoleName=role_name))
    except iam.exceptions.NoSuchEntityException:
        return {}
    return {attachment["PolicyArn"]: dict(attachment) for page in pages for attachment in page["AttachedPolicies"]}


def find_attachment(iam: Any, role_name: str, policy_arn: str) -> dict[str, Any] | None:
    """The policy as ListAttachedRolePolicies gives it; None if it is not attached, or there is no such role."""
    return find_attached(iam, role_name).get(policy_arn)
