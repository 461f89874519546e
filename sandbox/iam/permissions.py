"""What a policy says about one action on one resource: enough of IAM for the places where our layers ask.

Policies are read from moto each time they may have changed, and kept otherwise: reading a role's policies takes
several calls. An explicit Deny wins, then any Allow (IAM User Guide, "Policy evaluation logic").
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import operator
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sandbox.backend import Backend, BackendError
from sandbox.protocol.scope import as_list, parse_document

Statement = Mapping[str, Any]

Context = Mapping[str, str | list[str]]

"""Condition keys of a request; an absent key is not in it. Upper and lower case of a key are the same."""


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


def number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return compared


def moment(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    """Dates stand in ISO 8601, of UTC where they do not say, or in seconds since 1970."""

    def seconds(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            at = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()

    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(seconds(value), seconds(wanted))
        except (ValueError, TypeError):
            return False

    return compared


def in_network(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
CONDITIONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": operator.eq,
    "StringNotEquals": operator.ne,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringNotEqualsIgnoreCase": lambda value, wanted: value.lower() != wanted.lower(),
    "StringLike": like,
    "StringNotLike": lambda value, wanted: not like(value, wanted),
    "ArnLike": arn_like,
    "ArnEquals": arn_like,
    "ArnNotLike": lambda value, wanted: not arn_like(value, wanted),
    "ArnNotEquals": lambda value, wanted: not arn_like(value, wanted),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "NumericEquals": number(operator.eq),
    "NumericNotEquals": number(operator.ne),
    "NumericLessThan": number(operator.lt),
    "NumericLessThanEquals": number(operator.le),
    "NumericGreaterThan": number(operator.gt),
    "NumericGreaterThanEquals": number(operator.ge),
    "DateEquals": moment(operator.eq),
    "DateNotEquals": moment(operator.ne),
    "DateLessThan": moment(operator.lt),
    "DateLessThanEquals": moment(operator.le),
    "DateGreaterThan": moment(operator.gt),
    "DateGreaterThanEquals": moment(operator.ge),
    "IpAddress": in_network,
    "NotIpAddress": lambda value, wanted: not in_network(value, wanted),
}

VARIABLE = re.compile(r"\$\{([^},]+)(?:, *'([^']*)')?\}")


def filled(text: str, context: Context) -> str | None:
    """A policy's text with its variables (``${aws:username}``, or with a default) filled in; None where one is absent.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if "${" not in text:
        return text
    absent = False

    def value(found: re.Match[str]) -> str:
        nonlocal absent
        name, default = found[1].strip(), found[2]
        if name in ("*", "?", "$"):
            return name
        known = next((one for key, one in context.items() if key.lower() == name.lower()), default)
        absent = absent or not isinstance(known, str)
        return str(known)

    written = VARIABLE.sub(value, text)
    return None if absent else written


def conditions_hold(statement: Statement, context: Context) -> bool:
    """All conditions of a statement. An operator we do not know never holds: better a refusal than a guess."""
    known = {key.lower(): as_list(value) for key, value in context.items()}
    return all(
        _holds(named, known.get(key.lower()), [filled(str(one), context) for one in as_list(wanted)])
        for named, tests in statement.get("Condition", {}).items()
        for key, wanted in tests.items()
    )


def _holds(named: str, values: list[str] | None, wanted: list[str | None]) -> bool:
    quantified, _, named = named.rpartition(":")
    bare = named.removesuffix("IfExists")
    if bare == "Null":
        return any((values is None) == (str(one).lower() == "true") for one in wanted)
    compare = CONDITIONS.get(bare)
    if compare is None or quantified not in ("", "ForAllValues", "ForAnyValue"):
        return False
    negated = "Not" in bare
    if not values:
        # A negated operator holds for an absent key, and so do ...IfExists and ForAllValues.
        return quantified == "ForAllValues" or (quantified == "" and (negated or named != bare))
    texts = [one for one in wanted if one is not None]
    met = [(all if negated else any)(compare(value, text) for text in texts) for value in values]
    return any(met) if quantified == "ForAnyValue" else all(met)


def matches(statement: Statement, action: str, resource: str | None, context: Context) -> bool:
    """Whether the statement speaks of this action and resource. ``resource`` None: on any resource at all."""
    if "Action" in statement:
        if not any(like(action, str(one), ignore_case=True) for one in as_list(statement["Action"])):
            return False
    elif any(like(action, str(one), ignore_case=True) for one in as_list(statement.get("NotAction"))):
        return False
    if resource is not None:
        if "Resource" in statement:
            if not _is_named(resource, statement["Resource"], context):
                return False
        elif _is_named(resource, statement.get("NotResource"), context):
            return False
    return conditions_hold(statement, context)


def _is_named(resource: str, patterns: Any, context: Context) -> bool:
    texts = (filled(str(one), context) for one in as_list(patterns))
    return any(text is not None and like(resource, text) for text in texts)


def allowed(
    statements: Iterable[Statement],
    action: str,
    resource: str | None,
    context: Context | None = None,
) -> bool:
    """Allowed by these statements together: some Allow, and no Deny."""
    spoken = [one.get("Effect") for one in statements if matches(one, action, resource, context or {})]
    return "Allow" in spoken and "Deny" not in spoken


@dataclass(frozen=True)
class Held:
    """What an identity holds: the statements of its policies, and those of its boundary (None: it has none)."""

    statements: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None


class Roles:
    """The identity policies of roles and users, inline and attached, as moto's IAM holds them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[tuple[str, str], tuple[int, Held]] = {}
        self._trusted: dict[tuple[str, str], tuple[int, bool]] = {}

    def allows(self, role_arn: str, action: str, resource: str | None) -> bool:
        """Whether the role may; a role that is gone may nothing."""
        held = self.held("Role", role_arn.rpartition("/")[2])
        within = held.boundary is None or allowed(held.boundary, action, resource)
        return within and allowed(held.statements, action, resource)

    def trusts(self, role_arn: str, service: str) -> bool:
        """Whether the role is there and a service may assume it, for example ``lambda.amazonaws.com``."""
        serial = self._backend.iam_serial
        kept = self._trusted.get((role_arn, service))
        if kept is None or kept[0] != serial:
            kept = self._trusted[role_arn, service] = (serial, self._is_trusted(role_arn, service))
        return kept[1]

    def _is_trusted(self, role_arn: str, service: str) -> bool:
        asked = {"RoleName": role_arn.rpartition("/")[2]}
        try:
            if role_arn not in self._texts("GetRole", asked, "Arn"):
                return False
            documents = self._texts("GetRole", asked, "AssumeRolePolicyDocument")
        except BackendError as error:
            if error.code == "NoSuchEntity":
                return False
            raise
        statements = [one for text in documents for one in as_list(parse_document(text).get("Statement"))]
        return allowed([one for one in statements if _names_service(one, service)], "sts:AssumeRole", None)

    def held(self, kind: str, name: str) -> Held:
        """Of a "Role" or a "User"; nothing where there is none of this name."""
        serial = self._backend.iam_serial
        kept = self._known.get((kind, name))
        if kept is None or kept[0] != serial:
            kept = self._known[kind, name] = (serial, self._read(kind, name))
        return kept[1]

    def _statements(self, role_arn: str) -> tuple[Statement, ...]:
        return self.held("Role", role_arn.rpartition("/")[2]).statements

    def _read(self, kind: str, name: str) -> Held:
        try:
            statements = self._policies(kind, name)
            if kind == "User":
                for group in self._texts("ListGroupsForUser", {"UserName": name}, "GroupName"):
                    statements += self._policies("Group", group)
            boundaries = self._texts(f"Get{kind}", {f"{kind}Name": name}, "PermissionsBoundaryArn")
            bounds = [one for arn in boundaries for one in self._managed(arn)]
        except BackendError as error:
            if error.answer.status == 404:
                return Held()
            raise
        return Held(tuple(statements), tuple(bounds) if boundaries else None)

    def _policies(self, kind: str, name: str) -> list[Statement]:
        statements: list[Statement] = []
        named = {f"{kind}Name": name}
        for policy in self._texts(f"List{kind}Policies", named, "member"):
            for document in self._texts(f"Get{kind}Policy", {**named, "PolicyName": policy}, "PolicyDocument"):
                statements += as_list(parse_document(document).get("Statement"))
        for arn in self._texts(f"ListAttached{kind}Policies", named, "PolicyArn"):
            statements += self._managed(arn)
        return statements

    def _managed(self, arn: str) -> list[Statement]:
        statements: list[Statement] = []
        for version in self._texts("GetPolicy", {"PolicyArn": arn}, "DefaultVersionId"):
            for document in self._texts("GetPolicyVersion", {"PolicyArn": arn, "VersionId": version}, "Document"):
                statements += as_list(parse_document(document).get("Statement"))
        return statements

    def _texts(self, action: str, parameters: Mapping[str, str], element: str) -> list[str]:
        tree = ElementTree.fromstring(self._backend.query("iam", action, parameters))
        return [node.text or "" for node in tree.iter() if node.tag.rpartition("}")[2] == element]


def _names_service(statement: Statement, service: str) -> bool:
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        return "*" in as_list(principal.get("AWS")) or service in as_list(principal.get("Service"))
    return principal == "*"
