"""Step 2: the two roles, and the policies attached to them. The lesson: lessons/roles.md

Documents: policies/trust-lambda.json and policies/trust-apigateway.json. It takes some seconds until all of AWS knows
a new role, so what names one is tried again.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-service.html
"""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients, tags
from provision.documents import policy_document, same_meaning
from provision.settings import Settings
from provision.state.state import Ledger

NEEDS = ("policies",)


def find_role(iam: Any, name: str) -> dict[str, Any] | None:
    try:
        role = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {**role, "Tags": tags(role.get("Tags"))}


def find_attachment(iam: Any, role_name: str, policy_arn: str) -> dict[str, Any] | None:
    try:
        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role_name):
            for attachment in page["AttachedPolicies"]:
                if attachment["PolicyArn"] == policy_arn:
                    return dict(attachment)
    except iam.exceptions.NoSuchEntityException:
        return None
    return None


def managed_policy_arn(aws: Clients, settings: Settings) -> str:
    """AWS's own policies belong to the account "aws" of the partition."""
    return f"arn:{aws.partition}:iam::aws:policy/{settings.managed_policy}"


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    make_role(aws, settings, ledger, "function-role", settings.function_role, "trust-lambda")
    for policy_key in ("write-policy", "read-policy"):
        attach_policy(
            aws,
            ledger,
            key=f"function-role/{policy_key}",
            parent="function-role",
            role_name=settings.function_role,
            policy_arn=ledger.identity(policy_key)["PolicyArn"],
        )

    make_role(aws, settings, ledger, "api-role", settings.api_role, "trust-apigateway")
    attach_policy(
        aws,
        ledger,
        key="api-role/logs-policy",
        parent="api-role",
        role_name=settings.api_role,
        policy_arn=managed_policy_arn(aws, settings),
    )


def make_role(aws: Clients, settings: Settings, ledger: Ledger, key: str, role_name: str, trust_name: str) -> None:
    trust = policy_document(trust_name, aws, settings)
    role = find_role(aws.iam, role_name)
    with ledger.making(key, "iam:role", found=role, RoleName=role_name) as made:
        if role is None:
            created = aws.iam.create_role(
                RoleName=role_name,
                AssumeRolePolicyDocument=json.dumps(trust),
                Tags=ledger.tag_list,
            )
            made.identify(created["Role"])
            aws.iam.get_waiter("role_exists").wait(
                RoleName=role_name,
                WaiterConfig={"Delay": 1, "MaxAttempts": 60},
            )
        else:
            if made.lacks_mark():
                aws.iam.tag_role(
                    RoleName=role_name,
                    Tags=made.tag_list,
                )
            found = role["AssumeRolePolicyDocument"]
            if made.differs("trust policy", found=found, wanted=trust, same=same_meaning(found, trust)):
                aws.iam.update_assume_role_policy(
                    RoleName=role_name,
                    PolicyDocument=json.dumps(trust),
                )
        made["arn"] = aws.arn("iam", f"role/{role_name}", region="")


def attach_policy(aws: Clients, ledger: Ledger, *, key: str, parent: str, role_name: str, policy_arn: str) -> None:
    attachment = find_attachment(aws.iam, role_name, policy_arn)
    with ledger.making(
        key,
        "iam:role-policy-attachment",
        found=attachment,
        parent=parent,
        RoleName=role_name,
        PolicyArn=policy_arn,
    ):
        if attachment is None:
            aws.iam.attach_role_policy(
                RoleName=role_name,
                PolicyArn=policy_arn,
            )
