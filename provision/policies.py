"""Step 1: the two policies of the function's role. The lesson: lessons/policies.md

Documents: policies/Lambda-Write-DynamoDB.json and policies/Lambda-Read-SQS.json. IAM never
edits a policy: it adds a version, and keeps five at most. The default version counts.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_create-console.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provision.aws.clients import Clients, tags
from provision.documents import policy_document, same_meaning
from provision.settings import Settings
from provision.state.entries import Entry
from provision.state.state import State
from provision.terminal import outcome

NEEDS: tuple[str, ...] = ()


def provision(aws: Clients, settings: Settings, state: State) -> None:
    """One policy lets the function use the table and write its log. The other lets it read the queue.

    A role that somebody else made, --lambda-role-arn, brings policies of its own: then there is nothing to do.
    """
    if settings.rules.lambda_role_arn:
        return
    write = policy_document("Lambda-Write-DynamoDB", aws, settings)
    provision_policy(aws, state, "write-policy", settings.write_policy, write)
    read = policy_document("Lambda-Read-SQS", aws, settings)
    provision_policy(aws, state, "read-policy", settings.read_policy, read)


def provision_policy(aws: Clients, state: State, key: str, name: str, document: dict[str, Any]) -> None:
    """Find the policy; create it, or give it a new version; record it."""
    arn = aws.arn("iam", f"policy/{name}", region="")
    policy = find_policy(aws.iam, arn)
    with state.resource(key, "iam:policy", found=policy, PolicyArn=arn) as entry:
        if policy is None:
            create_policy(aws, entry, name, document)
        else:
            update_policy(aws, entry, policy, document)


def create_policy(aws: Clients, entry: Entry, name: str, document: dict[str, Any]) -> None:
    """The document becomes version v1. CreatePolicy takes it as JSON text."""
    created = aws.iam.create_policy(
        PolicyName=name,
        PolicyDocument=json.dumps(document),
        Tags=entry.tag_list,
    )
    entry.identify(created["Policy"])


def update_policy(aws: Clients, entry: Entry, policy: dict[str, Any], document: dict[str, Any]) -> None:
    """A changed document becomes a new version, and that the default one. A policy holds five at most.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
    """
    default = aws.iam.get_policy_version(
        PolicyArn=policy["Arn"],
        VersionId=policy["DefaultVersionId"],
    )
    found = default["PolicyVersion"]["Document"]
    same = same_meaning(found, document)
    versions = [] if same else aws.iam.list_policy_versions(PolicyArn=policy["Arn"])["Versions"]
    if entry.is_adopted and len(versions) >= 5:
        raise outcome.UserError(
            f"The policy {policy['PolicyName']} holds five versions, and IAM keeps no sixth.",
            means="Somebody else made it, so the suite deletes none of its versions. Nothing was changed on it.",
            advice=("Delete a version that is no longer needed, then run the same command again.",),
        )
    if entry.needs_tag():
        aws.iam.tag_policy(
            PolicyArn=policy["Arn"],
            Tags=entry.tag_list,
        )
    if entry.drifted("document", found=found, wanted=document, same=same):
        note_version(entry, versions, document)
        if len(versions) >= 5:
            delete_oldest_version(aws, entry, policy["Arn"], versions)
        aws.iam.create_policy_version(
            PolicyArn=policy["Arn"],
            PolicyDocument=json.dumps(document),
            SetAsDefault=True,
        )


def delete_oldest_version(aws: Clients, entry: Entry, arn: str, versions: list[dict[str, Any]]) -> None:
    """IAM refuses a sixth version, and never deletes the default one. So the oldest of the others is deleted."""
    spare = [version for version in versions if not version["IsDefaultVersion"]]
    oldest = min(spare, key=lambda version: int(version["VersionId"].removeprefix("v")))
    aws.iam.delete_policy_version(
        PolicyArn=arn,
        VersionId=oldest["VersionId"],
    )
    entry.note(f"removed version {oldest['VersionId']}, the oldest, as a policy holds five at most")


def find_policy(iam: Any, arn: str) -> dict[str, Any] | None:
    """The policy as GetPolicy gives it, with its tags as a dict under "Tags"; None if there is none."""
    try:
        policy = iam.get_policy(PolicyArn=arn)["Policy"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {**policy, "Tags": tags(policy.get("Tags"))}


def note_version(entry: Entry, versions: list[dict[str, Any]], document: dict[str, Any]) -> None:
    """Note the version that is written next: by it teardown tells ours from the versions of others."""
    entry.keep("versions", [version["VersionId"] for version in versions])
    entry["written"] = " ".join({*(entry.get("written") or "").split(), document_digest(document)})


def document_digest(document: dict[str, Any]) -> str:
    """A digest of a document, twelve hexadecimal digits. IAM returns a document as it was sent."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
