"""IAM and STS: what AWS refuses and moto does not.

Policy documents are checked as far as moto leaves it: trust policies, principals where none may stand, and the quotas
for their size (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). The words of
MalformedPolicyDocument are those that public issue threads quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sandbox.backend import Backend
from sandbox.protocol.operations import Operation
from sandbox.protocol.refusals import Words
from sandbox.protocol.scope import ACCOUNT, as_list, last, statements

LARGEST_TRUST = 2048
LARGEST_POLICY = 6144
SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?")
IDENTITY = re.compile(rf"arn:[\w-]+:iam::{ACCOUNT}:(role|user)/(.+)")


def malformed(message: str) -> Words:
    return Words(400, "MalformedPolicyDocument", message)


def absent(message: str) -> Words:
    return Words(404, "NoSuchEntity", message)


class Identities:
    """In front of moto's IAM and STS."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def refused(self, operation: Operation) -> Words | None:
        """AWS's words for the call, where moto would not refuse it."""
        text = operation.text
        match operation.name:
            case "CreateRole":
                return self._trust(text("AssumeRolePolicyDocument"))
            case "UpdateAssumeRolePolicy":
                return self._role(operation) or self._trust(text("PolicyDocument"))
            case "CreatePolicy" | "CreatePolicyVersion":
                return document_refused(text("PolicyDocument"))
            case "AttachRolePolicy" | "ListInstanceProfilesForRole":
                return self._role(operation)
            case "ListEntitiesForPolicy" if not self._asked("GetPolicy", "Arn", PolicyArn=text("PolicyArn")):
                return absent(f"Policy {text('PolicyArn')} was not found.")
            case "DeletePolicy":
                return self._versions(text("PolicyArn"))
            case "AssumeRole":
                return self._assumption(text("RoleArn"))
        return None

    def _asked(self, action: str, element: str, **parameters: str) -> list[str]:
        """What moto answers; nothing where there is no such thing."""
        return self._backend.iam(action, element, parameters)

    def _role(self, operation: Operation) -> Words | None:
        name = operation.text("RoleName")
        if self._asked("GetRole", "Arn", RoleName=name):
            return None
        return absent(f"The role with name {name} cannot be found.")

    def _versions(self, arn: str) -> Words | None:
        """API_DeletePolicy.html: attachments first, then the versions that are not the default."""
        if self._asked("ListEntitiesForPolicy", "member", PolicyArn=arn):
            return Words(409, "DeleteConflict", "Cannot delete a policy attached to entities.")
        if len(self._asked("ListPolicyVersions", "VersionId", PolicyArn=arn)) < 2:
            return None
        return Words(
            409,
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's "
            "versions. The default version is deleted with the policy.",
        )

    def _assumption(self, arn: str) -> Words | None:
        """A missing role is refused like one that trusts nobody of this account; what policies say is not asked."""
        # moto makes another account's roles up, which is how one gets into that account.
        if f":{ACCOUNT}:" not in arn or self._asked("GetRole", "Arn", RoleName=last(arn, "/")):
            return None
        return Words(
            403,
            "AccessDenied",
            f"User: arn:aws:sts::{ACCOUNT}:user/moto is not authorized to perform: sts:AssumeRole on resource: {arn}",
        )

    # Documents

    def _trust(self, text: str) -> Words | None:
        if len(re.sub(r"\s", "", text)) > LARGEST_TRUST:
            return Words(409, "LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {LARGEST_TRUST}")
        found = statements(text)
        if found is None:
            return malformed("This policy contains invalid Json")
        if not found:
            return malformed("Syntax errors in policy.")
        said = (statement_refused(one) or self._stranger(one) for one in found)
        return next((words for words in said if words is not None), None)

    def _stranger(self, statement: dict[str, Any]) -> Words | None:
        wrong = ((kind, who) for kind, who in principals(statement) if not self._known(kind, who))
        return next((malformed(f'Invalid principal in policy: "{kind.upper()}":"{who}"') for kind, who in wrong), None)

    def _known(self, kind: str, who: str) -> bool:
        if kind == "Service":
            return SERVICE.fullmatch(who) is not None
        found = IDENTITY.fullmatch(who) if kind == "AWS" else None
        if found is None:
            return (
                kind != "AWS" or who == "*" or re.fullmatch(r"\d{12}|arn:[\w-]+:(iam|sts)::\d{12}:.+", who) is not None
            )
        what, name = found.groups()
        return bool(self._asked(f"Get{what.title()}", "Arn", **{f"{what.title()}Name": last(name, "/")}))


def statement_refused(statement: dict[str, Any]) -> Words | None:
    """Of a trust policy."""
    if statement.get("Effect") not in ("Allow", "Deny"):
        return malformed("Syntax errors in policy.")
    for prohibited in ("Resource", "NotResource"):
        if prohibited in statement:
            return malformed(f"Has prohibited field {prohibited}")
    for required in ("Principal", "Action"):
        if not {required, f"Not{required}"} & set(statement):
            return malformed(f"Missing required field {required}")
    if not all(str(one).lower().startswith("sts:") for one in as_list(statement.get("Action"))):
        return malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    return None


def document_refused(text: str) -> Words | None:
    if len(re.sub(r"\s", "", text)) > LARGEST_POLICY:
        return Words(409, "LimitExceeded", f"Cannot exceed quota for PolicySize: {LARGEST_POLICY}")
    if any({"Principal", "NotPrincipal"} & set(one) for one in statements(text) or ()):
        return malformed("Policy document should not specify a principal.")
    return None


def principals(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind (AWS, Service, ...) and name of each."""
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    if isinstance(principal, str):
        yield "AWS", principal
    elif isinstance(principal, dict):
        for kind, who in principal.items():
            for one in as_list(who):
                yield kind, str(one)
