"""What a policy says about one action on one resource: enough of IAM for the places where our layers ask.

Policies are read from moto each time they may have changed, and kept otherwise: reading a role's policies takes
several calls. An explicit Deny wins, then any Allow (IAM User Guide, "Policy evaluation logic").
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox.backend import Backend, BackendError

Statement = Mapping[str, Any]


def as_list(value: Any) -> list[Any]:
    """AWS lets a policy write one thing without the brackets of a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


@functools.lru_cache(maxsize=4096)
def _pattern(wildcards: str, ignore_case: bool) -> re.Pattern[str]:
    # fnmatch knows character classes, IAM only * and ?: a bracket stands for itself.
    return re.compile(fnmatch.translate(wildcards.replace("[", "[[]")), re.IGNORECASE if ignore_case else 0)


def like(value: str, wildcards: str, *, ignore_case: bool = False) -> bool:
    """IAM's wildcards: ``*`` any run of characters, colons and slashes included, ``?`` exactly one."""
    return _pattern(wildcards, ignore_case).match(value) is not None


def arn_like(arn: str, wildcards: str) -> bool:
    """ArnLike: each of the six parts on its own, so that a wildcard never reaches over a colon before the last."""
    parts, wanted = arn.split(":", 5), wildcards.split(":", 5)
    return len(parts) == len(wanted) and all(like(part, want) for part, want in zip(parts, wanted, strict=True))


CONDITIONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringNotEquals": lambda value, wanted: value != wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": like,
    "StringNotLike": lambda value, wanted: not like(value, wanted),
    "ArnLike": arn_like,
    "ArnEquals": arn_like,
    "ArnNotLike": lambda value, wanted: not arn_like(value, wanted),
    "ArnNotEquals": lambda value, wanted: not arn_like(value, wanted),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}


def conditions_hold(statement: Statement, context: Mapping[str, str]) -> bool:
    """All conditions of a statement. An operator we do not know never holds: better a refusal than a guess."""
    known = {key.lower(): value for key, value in context.items()}
    for operator, tests in statement.get("Condition", {}).items():
        bare = operator.removesuffix("IfExists")
        compare = CONDITIONS.get(bare)
        if compare is None:
            return False
        for key, wanted in tests.items():
            value = known.get(key.lower())
            if value is None:
                # A negated operator holds for an absent key, and so does ...IfExists (IAM, condition operators).
                if operator != bare or "Not" in bare:
                    continue
                return False
            results = [compare(value, str(one)) for one in as_list(wanted)]
            if not (all(results) if "Not" in bare else any(results)):
                return False
    return True


def matches(statement: Statement, action: str, resource: str | None, context: Mapping[str, str]) -> bool:
    """Whether the statement speaks of this action and resource. ``resource`` None: on any resource at all."""
    if "Action" in statement:
        if not any(like(action, str(one), ignore_case=True) for one in as_list(statement["Action"])):
            return False
    elif any(like(action, str(one), ignore_case=True) for one in as_list(statement.get("NotAction"))):
        return False
    if resource is not None:
        if "Resource" in statement:
            if not any(like(resource, str(one)) for one in as_list(statement["Resource"])):
                return False
        elif any(like(resource, str(one)) for one in as_list(statement.get("NotResource"))):
            return False
    return conditions_hold(statement, context)


def allowed(
    statements: Iterable[Statement],
    action: str,
    resource: str | None,
    context: Mapping[str, str] | None = None,
) -> bool:
    """Allowed by these statements together: some Allow, and no Deny."""
    spoken = [one.get("Effect") for one in statements if matches(one, action, resource, context or {})]
    return "Allow" in spoken and "Deny" not in spoken


class Roles:
    """The identity policies of roles, inline and attached, as moto's IAM holds them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, tuple[int, list[Statement]]] = {}

    def allows(self, role_arn: str, action: str, resource: str | None) -> bool:
        """Whether the role may; a role that is gone may nothing."""
        return allowed(self._statements(role_arn), action, resource)

    def _statements(self, role_arn: str) -> list[Statement]:
        serial = self._backend.iam_serial
        kept = self._known.get(role_arn)
        if kept is None or kept[0] != serial:
            kept = self._known[role_arn] = (serial, self._read(role_arn.rpartition("/")[2]))
        return kept[1]

    def _read(self, role: str) -> list[Statement]:
        documents: list[str] = []
        try:
            for name in self._texts("ListRolePolicies", {"RoleName": role}, "member"):
                documents += self._texts("GetRolePolicy", {"RoleName": role, "PolicyName": name}, "PolicyDocument")
            for arn in self._texts("ListAttachedRolePolicies", {"RoleName": role}, "PolicyArn"):
                for version in self._texts("GetPolicy", {"PolicyArn": arn}, "DefaultVersionId"):
                    documents += self._texts("GetPolicyVersion", {"PolicyArn": arn, "VersionId": version}, "Document")
        except BackendError as error:
            if error.answer.status == 404:
                return []
            raise
        statements: list[Statement] = []
        for document in documents:
            statements += as_list(parse_document(document).get("Statement"))
        return statements

    def _texts(self, action: str, parameters: Mapping[str, str], element: str) -> list[str]:
        tree = ElementTree.fromstring(self._backend.query("iam", action, parameters))
        return [node.text or "" for node in tree.iter() if node.tag.rpartition("}")[2] == element]


def parse_document(text: str) -> dict[str, Any]:
    """A policy document as IAM answers it, URL-quoted or (moto, here and there) plain."""
    plain = text if text.lstrip().startswith("{") else urllib.parse.unquote(text)
    parsed: dict[str, Any] = json.loads(plain)
    return parsed
