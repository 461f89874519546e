"""IAM and STS: what AWS refuses and moto does not.

moto checks most of a policy document. Here are trust policies, principals where none is allowed, and the quotas for
size (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). The messages of
MalformedPolicyDocument are those that public issue threads quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sandbox.backend import Backend
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Refused
from sandbox.protocol.scope import ACCOUNT, as_list, last, statements

AN_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")
LARGEST_TRUST = 2048
LARGEST_POLICY = 6144
SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?")
# Principals that are not looked up.
ELSEWHERE = re.compile(r"\*|\d{12}|arn:[\w-]+:(iam|sts)::\d{12}:.+")
OURS = re.compile(rf"arn:[\w-]+:iam::{ACCOUNT}:(role|user)/.+")


def malformed(message: str) -> Refused:
    return Refused(400, "MalformedPolicyDocument", message)


def absent(message: str) -> Refused:
    return Refused(404, "NoSuchEntity", message)


class Identities:
    """In front of moto's IAM and STS."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def check(self, operation: Operation) -> None:
        """Raise Refused for what moto would accept."""
        text = operation.text
        match operation.name:
            case "CreateRole":
                self._check_trust(text("AssumeRolePolicyDocument"))
                self._check_boundary(text("PermissionsBoundary"))
            case "PutRolePermissionsBoundary":
                self._check_role(text("RoleName"))
                self._check_boundary(text("PermissionsBoundary"))
            case "UpdateAssumeRolePolicy":
                self._check_role(text("RoleName"))
                self._check_trust(text("PolicyDocument"))
            case "CreatePolicy" | "CreatePolicyVersion":
                check_document(text("PolicyDocument"))
            case "AttachRolePolicy" | "ListInstanceProfilesForRole":
                self._check_role(text("RoleName"))
            case "ListEntitiesForPolicy":
                if not self._backend.iam("GetPolicy", "Arn", {"PolicyArn": text("PolicyArn")}):
                    raise absent(f"Policy {text('PolicyArn')} was not found.")
            case "DeletePolicy":
                self._check_versions(text("PolicyArn"))
            case "AssumeRole":
                self._check_assumption(text("RoleArn"))

    def _check_role(self, name: str) -> None:
        if not self._backend.iam("GetRole", "Arn", {"RoleName": name}):
            raise absent(f"The role with name {name} cannot be found.")

    def _check_boundary(self, arn: str) -> None:
        """The message is that of IAM, as people quote it who named a policy that is not there."""
        if arn and not self._backend.iam("GetPolicy", "Arn", {"PolicyArn": arn}):
            raise absent(f"Scope ARN: {arn} does not exist or is not attachable.")

    def _check_versions(self, arn: str) -> None:
        """API_DeletePolicy.html: attachments first, then the versions that are not the default."""
        if self._backend.iam("ListEntitiesForPolicy", "member", {"PolicyArn": arn}):
            raise Refused(409, "DeleteConflict", "Cannot delete a policy attached to entities.")
        if len(self._backend.iam("ListPolicyVersions", "VersionId", {"PolicyArn": arn})) > 1:
            raise Refused(
                409,
                "DeleteConflict",
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy.",
            )

    def _check_assumption(self, arn: str) -> None:
        """A missing role is refused like one that trusts nobody in this account; policies are not looked at."""
        if not AN_ARN.fullmatch(arn):
            raise Refused(400, "ValidationError", f"{arn} is invalid")
        # moto invents the roles of other accounts, so that a caller can get into one.
        if f":{ACCOUNT}:" in arn and not self._backend.iam("GetRole", "Arn", {"RoleName": last(arn, "/")}):
            who = f"arn:aws:sts::{ACCOUNT}:user/moto"
            said = f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            raise Refused(403, "AccessDenied", said)

    # Documents

    def _check_trust(self, text: str) -> None:
        check_size(text, "ACLSizePerRole", LARGEST_TRUST)
        found = statements(text)
        if found is None:
            raise malformed("This policy contains invalid Json")
        if not found:
            raise malformed("Syntax errors in policy.")
        for statement in found:
            check_trust_statement(statement)
            for kind, who in principals(statement):
                if not self._is_known(kind, who):
                    raise malformed(f'Invalid principal in policy: "{kind.upper()}":"{who}"')

    def _is_known(self, kind: str, who: str) -> bool:
        if kind == "Service":
            return SERVICE.fullmatch(who) is not None
        if kind != "AWS":
            return True
        return self._backend.exists(who) if OURS.fullmatch(who) else ELSEWHERE.fullmatch(who) is not None


def check_trust_statement(statement: dict[str, Any]) -> None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise malformed("Syntax errors in policy.")
    for prohibited in ("Resource", "NotResource"):
        if prohibited in statement:
            raise malformed(f"Has prohibited field {prohibited}")
    for required in ("Principal", "Action"):
        if not {required, f"Not{required}"} & set(statement):
            raise malformed(f"Missing required field {required}")
    if not all(str(one).lower().startswith("sts:") for one in as_list(statement.get("Action"))):
        raise malformed("AssumeRole policy may only specify STS AssumeRole actions.")


def check_document(text: str) -> None:
    check_size(text, "PolicySize", LARGEST_POLICY)
    if any({"Principal", "NotPrincipal"} & set(one) for one in statements(text) or ()):
        raise malformed("Policy document should not specify a principal.")


def check_size(text: str, quota: str, most: int) -> None:
    """Raise Refused if the text without white space is longer than the quota."""
    if len(re.sub(r"\s", "", text)) > most:
        raise Refused(409, "LimitExceeded", f"Cannot exceed quota for {quota}: {most}")


def principals(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind (AWS, Service, ...) and name of each principal."""
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    if isinstance(principal, str):
        yield "AWS", principal
    elif isinstance(principal, dict):
        for kind, who in principal.items():
            for one in as_list(who):
                yield kind, str(one)
