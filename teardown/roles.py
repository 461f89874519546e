"""Undoes step 2: our policies are detached, then the roles are deleted."""

from __future__ import annotations

import json
from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import STILL_ATTACHED
from provision.roles import BOUNDARY
from provision.settings import NO_BOUNDARY, Settings
from provision.state.entries import TAG_KEYS, Resource
from provision.state.state import State
from provision.terminal import outcome


def attachment_is_part(aws: Clients, state: State, resource: Resource, role: dict[str, Any]) -> bool:
    """Whether it joins the role (as found) and a policy that the suite attaches."""
    policies = {entry.identity["PolicyArn"] for entry in state.resources if entry.kind == "iam:policy"}
    policies.add(aws.managed_policy_arn(Settings().managed_policy))
    return resource.identity["RoleName"] == role["RoleName"] and resource.identity["PolicyArn"] in policies


def is_of_our_policy(state: State, attachment: Resource) -> bool:
    """Whether the suite created the policy: then the policy is deleted, and must be detached before."""
    return any(
        entry.kind == "iam:policy"
        and entry.identity["PolicyArn"] == attachment.identity["PolicyArn"]
        and not entry.is_adopted
        for entry in state.resources
    )


def detach_policy(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Detach the policy. The policy itself stays."""
    aws.iam.detach_role_policy(
        RoleName=resource.identity["RoleName"],
        PolicyArn=resource.identity["PolicyArn"],
    )


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """What others attached to the role. IAM refuses to delete a role with anything attached."""
    name = found["RoleName"]
    ours = {
        entry.identity["PolicyArn"]
        for entry in attachments(state, name)
        if attachment_is_part(aws, state, entry, found)
    }
    names = []
    for page in aws.iam.get_paginator("list_attached_role_policies").paginate(RoleName=name):
        for policy in page["AttachedPolicies"]:
            if policy["PolicyArn"] not in ours:
                names.append(f"policy {policy['PolicyName']}")
    for page in aws.iam.get_paginator("list_role_policies").paginate(RoleName=name):
        names += [f"inline policy {policy_name}" for policy_name in page["PolicyNames"]]
    for page in aws.iam.get_paginator("list_instance_profiles_for_role").paginate(RoleName=name):
        names += [f"instance profile {profile['InstanceProfileName']}" for profile in page["InstanceProfiles"]]
    return names


def attachments(state: State, role_name: str) -> list[Resource]:
    """The entries of the policies that the suite attached to the role, detached ones too."""
    return [
        entry
        for entry in state.resources
        if entry.kind == "iam:role-policy-attachment" and entry.identity["RoleName"] == role_name
    ]


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """IAM refuses while a policy is attached, and sees a detachment only some seconds later."""
    name = found["RoleName"]
    stuck = [entry.identity["PolicyArn"] for entry in attachments(state, name) if entry.status != "deleted"]
    if stuck:
        raise outcome.UserError(f"{', '.join(stuck)} could not be detached from it")

    def in_use() -> str | None:
        others = others_on(aws, state, resource, found)
        return f"Others depend on it: {', '.join(others)}." if others else None

    for attempt in aws.waiting.retry_while(STILL_ATTACHED, unless=in_use):
        with attempt:
            aws.iam.delete_role(
                RoleName=name,
            )


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Put trust policy and boundary back. Our policies are detached by now."""
    name = found["RoleName"]
    trust = resource.was("trust policy")
    if trust is not None:
        aws.iam.update_assume_role_policy(
            RoleName=name,
            PolicyDocument=json.dumps(trust),
        )
    if BOUNDARY in resource.before:
        put_boundary_back(aws, name, resource.was(BOUNDARY))
    state.note_restored(resource)
    aws.iam.untag_role(
        RoleName=name,
        TagKeys=list(TAG_KEYS),
    )


def put_boundary_back(aws: Clients, name: str, former: str) -> None:
    """The boundary that the role had before, or none."""
    if former == NO_BOUNDARY:
        aws.iam.delete_role_permissions_boundary(
            RoleName=name,
        )
    else:
        aws.iam.put_role_permissions_boundary(
            RoleName=name,
            PermissionsBoundary=former,
        )


def leave_attached(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Nothing: it was attached before, and an attachment has nothing that could drift."""
