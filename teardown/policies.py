"""Undoes step 1: the policies, with all their versions."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.policies import find_policy
from provision.roles import find_attachment
from provision.waiting import STILL_ATTACHED
from teardown.kept import Kept


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_policy(aws.iam, resource.identity["PolicyArn"])


def delete_policy(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    """A policy that somebody attached elsewhere stays: AWS would refuse, and to detach it would break their role.

    Versions other than the default one must go first.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
    """
    arn = resource.identity["PolicyArn"]
    others = attached_to(aws, arn)
    if others:
        raise Kept(others)
    for version in aws.iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            aws.iam.delete_policy_version(
                PolicyArn=arn,
                VersionId=version["VersionId"],
            )
    for attempt in aws.waiting.retry_while(STILL_ATTACHED):
        with attempt:
            aws.iam.delete_policy(
                PolicyArn=arn,
            )


def attached_to(aws: Clients, arn: str) -> list[str]:
    """Whatever carries the policy: roles, users, groups. A role just deleted may still be listed, and is left out."""
    names = []
    for page in aws.iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn):
        roles = [role["RoleName"] for role in page["PolicyRoles"]]
        names += [f"role {name}" for name in roles if find_attachment(aws.iam, name, arn)]
        names += [f"user {user['UserName']}" for user in page["PolicyUsers"]]
        names += [f"group {group['GroupName']}" for group in page["PolicyGroups"]]
    return names
