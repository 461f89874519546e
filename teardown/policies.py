"""Undoes step 1: the policies, with all their versions."""

from __future__ import annotations

from typing import Any

from provision.aws.clients import Clients
from provision.aws.reasons import STILL_ATTACHED
from provision.policies import document_digest
from provision.roles import find_role
from provision.state.entries import TAG, TAG_KEYS, Resource
from provision.state.state import State
from provision.terminal import outcome


def others_on(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> list[str]:
    """Who else has the policy attached. IAM would refuse to delete it, and to detach it would break their role.

    A role that was just deleted may still be listed. It does not count. Nor does one that we attached the policy to: it
    is ours by its id, which no other role ever has, or by its tag where no id was recorded.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListEntitiesForPolicy.html
    """
    arn = found["Arn"]
    parents = {entry.parent: entry.identity["RoleName"] for entry in attachments(state, arn)}
    ours = {entry.outputs.get("id") for entry in state.resources if entry.key in parents}
    names = []
    for page in aws.iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn):
        for listed in page["PolicyRoles"]:
            role = None if listed["RoleId"] in ours else find_role(aws.iam, listed["RoleName"])
            if role is None:
                continue
            if role["RoleName"] not in parents.values() or role["Tags"].get(TAG) != state.deployment:
                names.append(f"role {role['RoleName']}")
        names += [f"user {user['UserName']}" for user in page["PolicyUsers"]]
        names += [f"group {group['GroupName']}" for group in page["PolicyGroups"]]
    return names


def attachments(state: State, arn: str) -> list[Resource]:
    """The entries of the roles to which the suite attached the policy, detached ones too."""
    return [
        entry
        for entry in state.resources
        if entry.kind == "iam:role-policy-attachment" and entry.identity["PolicyArn"] == arn
    ]


def delete(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Delete all versions but the default one first: DeletePolicy asks for that.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
    """
    arn = found["Arn"]
    stuck = [entry.identity["RoleName"] for entry in attachments(state, arn) if entry.status != "deleted"]
    if stuck:
        raise outcome.UserError(f"it could not be detached from {', '.join(stuck)}")
    for page in aws.iam.get_paginator("list_policy_versions").paginate(PolicyArn=arn):
        for version in page["Versions"]:
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


def restore(aws: Clients, state: State, resource: Resource, found: dict[str, Any]) -> None:
    """Make the former version the default one again, and delete the versions that the suite created.

    A version that somebody else created meanwhile stays, and stays the default one if it is.
    """
    arn = found["Arn"]
    former = resource.was("versions", [])
    written = (resource.outputs.get("written") or "").split()
    for version in versions_of(aws, arn):
        if version["VersionId"] in former or document_digest(version["Document"]) not in written:
            continue
        if version["IsDefaultVersion"]:
            aws.iam.set_default_policy_version(
                PolicyArn=arn,
                VersionId=resource.was("default version", resource.description.get("DefaultVersionId")),
            )
        aws.iam.delete_policy_version(
            PolicyArn=arn,
            VersionId=version["VersionId"],
        )
    state.note_restored(resource)
    aws.iam.untag_policy(
        PolicyArn=arn,
        TagKeys=list(TAG_KEYS),
    )


def versions_of(aws: Clients, arn: str) -> list[dict[str, Any]]:
    """All versions, each with its document."""
    return [
        aws.iam.get_policy_version(PolicyArn=arn, VersionId=version["VersionId"])["PolicyVersion"]
        for page in aws.iam.get_paginator("list_policy_versions").paginate(PolicyArn=arn)
        for version in page["Versions"]
    ]
