"""Step 1: the two policies of the function's role. The lesson: lessons/policies.md

Documents: policies/Lambda-Write-DynamoDB.json and policies/Lambda-Read-SQS.json. A policy is never edited: it gets
versions, five at most, of which one counts.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_create-console.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provision.aws.clients import Clients, tags
from provision.documents import policy_document, same_meaning
from provision.settings import Settings
from provision.state.entries import Making
from provision.state.state import Ledger
from provision.terminal import outcome

NEEDS: tuple[str, ...] = ()


def find_policy(iam: Any, arn: str) -> dict[str, Any] | None:
    try:
        policy = iam.get_policy(PolicyArn=arn)["Policy"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {**policy, "Tags": tags(policy.get("Tags"))}


def provision(aws: Clients, settings: Settings, ledger: Ledger) -> None:
    make_policy(aws, settings, ledger, "write-policy", "Lambda-Write-DynamoDB", settings.write_policy)
    make_policy(aws, settings, ledger, "read-policy", "Lambda-Read-SQS", settings.read_policy)


def make_policy(
    aws: Clients, settings: Settings, ledger: Ledger, key: str, document_name: str, policy_name: str
) -> None:
    document = policy_document(document_name, aws, settings)
    arn = aws.arn("iam", f"policy/{policy_name}", region="")
    policy = find_policy(aws.iam, arn)
    with ledger.making(key, "iam:policy", found=policy, PolicyArn=arn) as made:
        if policy is None:
            created = aws.iam.create_policy(
                PolicyName=policy_name,
                PolicyDocument=json.dumps(document),
                Tags=ledger.tag_list,
            )
            made.identify(created["Policy"])
            aws.iam.get_waiter("policy_exists").wait(
                PolicyArn=arn,
                WaiterConfig={"Delay": 1, "MaxAttempts": 60},
            )
        else:
            mend_policy(aws, made, policy, document)


def mend_policy(aws: Clients, made: Making, policy: dict[str, Any], document: dict[str, Any]) -> None:
    """A policy is never edited: it gets a new version, which becomes the default one. It holds five at most.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
    """
    arn = policy["Arn"]
    default = aws.iam.get_policy_version(
        PolicyArn=arn,
        VersionId=policy["DefaultVersionId"],
    )
    found = default["PolicyVersion"]["Document"]
    same = same_meaning(found, document)
    versions = [] if same else aws.iam.list_policy_versions(PolicyArn=arn)["Versions"]
    if made.is_adopted and len(versions) >= 5:
        raise outcome.Stop(
            f"The policy {policy['PolicyName']} holds five versions, and IAM keeps no sixth.",
            means="It was not made by the suite, so none of its versions is taken away. Nothing was changed on it.",
            advice=("Delete a version that is no longer needed, then run the same command again.",),
        )
    if made.lacks_mark():
        aws.iam.tag_policy(
            PolicyArn=arn,
            Tags=made.tag_list,
        )
    if made.differs("document", found=found, wanted=document, same=same):
        made.replaces("default version", policy["DefaultVersionId"])
        made.replaces("versions", [version["VersionId"] for version in versions])
        made["written"] = " ".join({*(made.get("written") or "").split(), document_digest(document)})
        if len(versions) >= 5:
            spare = [version for version in versions if not version["IsDefaultVersion"]]
            oldest = min(spare, key=lambda version: int(version["VersionId"].removeprefix("v")))
            aws.iam.delete_policy_version(
                PolicyArn=arn,
                VersionId=oldest["VersionId"],
            )
            made.note(f"removed version {oldest['VersionId']}, the oldest, as a policy holds five at most")
        aws.iam.create_policy_version(
            PolicyArn=arn,
            PolicyDocument=json.dumps(document),
            SetAsDefault=True,
        )


def document_digest(document: dict[str, Any]) -> str:
    """Tells the versions that the suite wrote from those of others: IAM gives a document back as it was sent."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
