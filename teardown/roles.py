"""Undoes step 2: our policies are detached, then the roles are deleted."""

from __future__ import annotations

from typing import Any

from provision.aws import Clients
from provision.ledger import Ledger, Resource
from provision.roles import find_attachment, find_role
from provision.waiting import STILL_ATTACHED
from teardown.kept import Kept


def find(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_role(aws.iam, resource.identity["RoleName"])


def find_attached(aws: Clients, ledger: Ledger, resource: Resource) -> dict[str, Any] | None:
    return find_attachment(aws.iam, resource.identity["RoleName"], resource.identity["PolicyArn"])


def detach_policy(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    aws.iam.detach_role_policy(
        RoleName=resource.identity["RoleName"],
        PolicyArn=resource.identity["PolicyArn"],
    )


def delete_role(aws: Clients, ledger: Ledger, resource: Resource, found: dict[str, Any]) -> None:
    """A role with anything on it cannot be deleted; what others put there is not ours to take away."""
    name = resource.identity["RoleName"]
    attached = aws.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    inline = aws.iam.list_role_policies(RoleName=name)["PolicyNames"]
    profiles = aws.iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]
    others = [
        *(f"policy {policy['PolicyName']}" for policy in attached),
        *(f"inline policy {policy_name}" for policy_name in inline),
        *(f"instance profile {profile['InstanceProfileName']}" for profile in profiles),
    ]
    if others:
        raise Kept(others)
    for attempt in aws.waiting.retry_while(STILL_ATTACHED):
        with attempt:
            aws.iam.delete_role(
                RoleName=name,
            )
