"""Decides whether policies allow a call: the one place for clients, functions and services.

A policy of the identity or of the resource (a queue's, a function's, a role's trust policy) must allow the call, and
none may deny it; a permissions boundary of the identity must allow it, too. Within one account, and there is only one
here, that is the whole rule: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
No maintained library decides a call: those for policies check documents or ask AWS.

Policies are read from moto again only when they may have changed, since reading those of a role takes several calls.
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import operator
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from sandbox.backend import Backend, BackendError
from sandbox.iam.tags import ResourceTags
from sandbox.protocol.scope import ACCOUNT, FunctionName, as_list, last, statements

Statement = Mapping[str, Any]

Context = Mapping[str, str | list[str]]

"""Condition keys of a request, without those that are absent. The case of a key does not matter."""


@functools.lru_cache(maxsize=4096)
def _pattern(wildcards: str, ignore_case: bool) -> re.Pattern[str]:
    # IAM has no character classes, which fnmatch has: a bracket stands for itself.
    return re.compile(fnmatch.translate(wildcards.replace("[", "[[]")), re.IGNORECASE if ignore_case else 0)


def like(value: str, wildcards: str, *, ignore_case: bool = False) -> bool:
    """IAM's wildcards: ``*`` is any number of characters, also colons and slashes, ``?`` exactly one."""
    return _pattern(wildcards, ignore_case).match(value) is not None


def arn_like(arn: str, wildcards: str) -> bool:
    """ArnLike: each of the six parts by itself, so that a wildcard does not match across the first five colons."""
    parts, wanted = arn.split(":", 5), wildcards.split(":", 5)
    return len(parts) == len(wanted) and all(like(part, want) for part, want in zip(parts, wanted, strict=True))


def date(text: str) -> float:
    """In ISO 8601, of UTC where that is not said, or in seconds since 1970."""
    try:
        return float(text)
    except ValueError:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


def in_network(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
# For each operator, how to read both sides and how to compare them.
CONDITIONS: dict[str, tuple[Callable[[str], Any], Callable[[Any, Any], bool]]] = {
    "StringEquals": (str, operator.eq),
    "StringNotEquals": (str, operator.ne),
    "StringEqualsIgnoreCase": (str.lower, operator.eq),
    "StringNotEqualsIgnoreCase": (str.lower, operator.ne),
    "StringLike": (str, like),
    "StringNotLike": (str, lambda value, wanted: not like(value, wanted)),
    "ArnLike": (str, arn_like),
    "ArnEquals": (str, arn_like),
    "ArnNotLike": (str, lambda value, wanted: not arn_like(value, wanted)),
    "ArnNotEquals": (str, lambda value, wanted: not arn_like(value, wanted)),
    "Bool": (str.lower, operator.eq),
    "NumericEquals": (float, operator.eq),
    "NumericNotEquals": (float, operator.ne),
    "NumericLessThan": (float, operator.lt),
    "NumericLessThanEquals": (float, operator.le),
    "NumericGreaterThan": (float, operator.gt),
    "NumericGreaterThanEquals": (float, operator.ge),
    "DateEquals": (date, operator.eq),
    "DateNotEquals": (date, operator.ne),
    "DateLessThan": (date, operator.lt),
    "DateLessThanEquals": (date, operator.le),
    "DateGreaterThan": (date, operator.gt),
    "DateGreaterThanEquals": (date, operator.ge),
    "IpAddress": (str, in_network),
    "NotIpAddress": (str, lambda value, wanted: not in_network(value, wanted)),
}


def holds(named: str, value: str, wanted: str) -> bool:
    """Whether an operator of CONDITIONS holds; it does not if a side is not of its type."""
    read, compare = CONDITIONS[named]
    try:
        return compare(read(value), read(wanted))
    except (ValueError, TypeError):
        return False


# In the context of every request; the sandbox stands for endpoints with TLS.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
ALWAYS: Context = {
    "aws:SecureTransport": "true",
    "aws:ViaAWSService": "false",
    "aws:ResourceAccount": ACCOUNT,
}

VARIABLE = re.compile(r"\$\{([^},]+)(?:, *'([^']*)')?\}")


def filled(text: str, context: Context) -> str | None:
    """A policy's text with its variables (``${aws:username}``, or with a default) filled in; None if one is absent.

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
    """Whether all conditions of a statement hold. An unknown operator never does: a refusal is better than a guess."""
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
    if bare not in CONDITIONS or quantified not in ("", "ForAllValues", "ForAnyValue"):
        return False
    negated = "Not" in bare
    if not values:
        # A negated operator holds for an absent key, and so do ...IfExists and ForAllValues.
        return quantified == "ForAllValues" or (quantified == "" and (negated or named != bare))
    texts = [one for one in wanted if one is not None]
    met = [(all if negated else any)(holds(bare, value, text) for text in texts) for value in values]
    return any(met) if quantified == "ForAnyValue" else all(met)


def matches(statement: Statement, action: str, resource: str | None, context: Context) -> bool:
    """Whether the statement is about this action and resource; without a resource, about the action on any."""
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


def ask_for_tags(some: Iterable[Statement]) -> bool:
    """Whether a statement asks for the tags of the resource, which take a call to read."""
    return any("resourcetag/" in str(one).lower() for one in some)


def _is_named(resource: str, patterns: Any, context: Context) -> bool:
    texts = (filled(str(one), context) for one in as_list(patterns))
    return any(text is not None and like(resource, text) for text in texts)


@dataclass(frozen=True)
class Held:
    """The statements of an identity's policies, and those of its permissions boundary, None if it has none."""

    statements: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None


@dataclass(frozen=True)
class Principal:
    """Who calls: ``arn`` as in GetCallerIdentity, ``policy_arn`` as policies name it (for a session, its role).

    ``kind`` is Role, User or Service; without a kind the caller is anonymous. ``issued``: when a session was, in ISO
    8601. ``tags`` are those of the role or user.
    """

    arn: str = ""
    policy_arn: str = ""
    kind: str = ""
    name: str = ""
    user_id: str = ""
    issued: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_role(cls, arn: str, session: str = "sandbox") -> Principal:
        parts, name = arn.split(":"), last(arn, "/")
        partition, account = (parts[1], parts[4]) if len(parts) > 5 else ("aws", ACCOUNT)
        return cls(f"arn:{partition}:sts::{account}:assumed-role/{name}/{session}", arn, "Role", name)

    @classmethod
    def of_service(cls, name: str) -> Principal:
        """An AWS service, for example ``lambda.amazonaws.com``, which is in no account."""
        return cls(kind="Service", name=name)

    def context(self) -> dict[str, str | list[str]]:
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html"""
        now = time.time()
        known: dict[str, str | list[str]] = {
            "aws:CurrentTime": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
            "aws:EpochTime": str(int(now)),
            "aws:PrincipalIsAWSService": "true" if self.kind == "Service" else "false",
        }
        if self.issued:
            known["aws:TokenIssueTime"] = self.issued
        if self.arn:
            known["aws:PrincipalArn"] = self.policy_arn
            known["aws:PrincipalAccount"] = ACCOUNT
            known["aws:PrincipalType"] = "AssumedRole" if self.kind == "Role" else "User"
            known["aws:userid"] = self.user_id
        if self.kind == "User":
            known["aws:username"] = self.name
        return known | {f"aws:PrincipalTag/{key}": value for key, value in self.tags}

    def is_named_by(self, principal: Any, *, account_too: bool) -> bool:
        """Whether a Principal element names it; with ``account_too``, also by its account."""
        # For an ARN in AddPermission, AWS stores {"AWS": ...} and moto the bare text.
        named = as_list(principal.get("AWS") if isinstance(principal, dict) else principal)
        if self.kind == "Service":
            return "*" in named or (isinstance(principal, dict) and self.name in as_list(principal.get("Service")))
        names = ["*", self.arn, self.policy_arn]
        if account_too and self.arn:
            account = self.arn.split(":")[4]
            names += [account, f"arn:{self.arn.split(':')[1]}:iam::{account}:root"]
        return any(one in names for one in named)

    def is_denied_by(self, statement: Statement) -> bool:
        """Whether an explicit deny is about it: by name, by account, or because NotPrincipal does not except it."""
        if "NotPrincipal" in statement:
            return not self.is_named_by(statement["NotPrincipal"], account_too=True)
        return self.is_named_by(statement.get("Principal"), account_too=True)


@dataclass(frozen=True)
class Need:
    """One permission that a call needs, with condition keys of its own; ``resource`` None means any resource."""

    action: str
    resource: str | None
    context: Mapping[str, str | list[str]] = field(default_factory=dict)
    policy: tuple[Statement, ...] = ()  # the resource's own, where the caller has it at hand


class Permissions:
    """What the policies in moto allow."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # The ARN of the function that a trigger has now, by the trigger's id; whoever keeps the triggers puts it here.
        self.function_of_trigger: Callable[[str], str | None] = lambda uuid: None
        self.tags = ResourceTags(backend)

    def allows(self, role_arn: str, action: str, resource: str | None) -> bool:
        """Whether the role may do this; a deleted role may do nothing."""
        return self.why_not(Principal.of_role(role_arn), Need(action, resource)) is None

    def trusts(self, role_arn: str, service: str) -> bool:
        """Whether the role exists and a service, for example ``lambda.amazonaws.com``, may assume it."""
        return self.why_not(Principal.of_service(service), Need("sts:AssumeRole", role_arn)) is None

    def invokes(self, service: str, function: FunctionName, source_arn: str) -> bool:
        """Whether the function's policy lets a service invoke it on behalf of what has this ARN.

        A service is in no account, so only the function's policy can allow it (Lambda guide, "Using resource-based
        policies").
        """
        account = source_arn.split(":")[4:5]
        # An S3 ARN has no account; an empty one would match no policy.
        context = {"aws:SourceArn": source_arn, **({"aws:SourceAccount": account[0]} if any(account) else {})}
        need = Need("lambda:InvokeFunction", function.arn, context)
        return self.why_not(Principal.of_service(service), need) is None

    def refusal(self, who: Principal, need: Need) -> str | None:
        """AWS's sentence if the need is not granted; None if it is."""
        why = self.why_not(who, need)
        if why is None:
            return None
        action = need.action
        if action.startswith("sqs:"):
            if not who.arn:
                region = str(need.resource).split(":")[3]
                return f"Access to the resource https://sqs.{region}.amazonaws.com/ is denied."
            action = action.lower()  # SQS alone writes its actions so (field reports)
            why = why.replace(need.action, action)
        return f"User: {who.arn} is not authorized to perform: {action} on resource: {need.resource}{why}"

    def why_not(self, who: Principal, need: Need) -> str | None:
        """How AWS's sentence ends if the need is not granted; None if it is."""
        held = self._held(who.kind, who.name)
        of_resource = self.resource_policy(need)
        context = {**ALWAYS, **who.context(), **need.context}
        if need.resource and ask_for_tags([*held.statements, *(held.boundary or ()), *of_resource]):
            context |= self.tags.context(need.action, need.resource)

        def effects(some: Iterable[Statement]) -> set[Any]:
            return {one.get("Effect") for one in some if matches(one, need.action, need.resource, context)}

        by_identity = effects(held.statements)
        within = {"Allow"} if held.boundary is None else effects(held.boundary)
        granted = effects(one for one in of_resource if who.is_named_by(one.get("Principal"), account_too=False))
        denials = {
            "an identity-based policy": by_identity,
            "a resource-based policy": effects(one for one in of_resource if who.is_denied_by(one)),
            "a permissions boundary": within,
        }
        for kind, spoken in denials.items():
            if "Deny" in spoken:
                return f" with an explicit deny in {kind}"
        # A boundary limits what a resource's policy grants to a role by its ARN, too; not so with a user.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
        if "Allow" in granted and (who.kind != "Role" or "Allow" in within):
            return None
        if need.action == "sts:AssumeRole":
            # A trust policy that names the account leaves the decision to the identity's own policies.
            trusting = effects(one for one in of_resource if who.is_named_by(one.get("Principal"), account_too=True))
            return None if "Allow" in trusting and "Allow" in by_identity else ""
        if "Allow" not in by_identity and "Allow" not in granted:
            return f" because no identity-based policy allows the {need.action} action"
        return None if "Allow" in within else f" because no permissions boundary allows the {need.action} action"

    # Policies

    def resource_policy(self, need: Need) -> list[Statement]:
        """The statements of the resource's own policy."""
        if need.policy:
            return list(need.policy)
        resource = need.resource or ""
        if need.action.startswith("sqs:") and resource.count(":") == 5:
            return self._backend.kept("sqs", "policy", resource, read=lambda: self._of_queue(resource))
        if need.action == "lambda:InvokeFunction":
            return self.of_function(FunctionName.parse(resource, resource.split(":")[3] if ":" in resource else ""))
        if need.action == "sts:AssumeRole":
            return self._backend.kept("iam", "trust", resource, read=lambda: self._of_role(resource))
        return []

    def of_function(self, name: FunctionName) -> list[Statement]:
        def read() -> list[Statement]:
            path = f"/2015-03-31/functions/{name.name}/policy"
            answer = self._backend.call("lambda", "GET", path, region=name.region)
            return list(statements(answer.json()["Policy"]) or ()) if answer.ok else []

        return self._backend.kept("lambda", "policy", name.region, name.account, name.name, read=read)

    def _of_queue(self, arn: str) -> list[Statement]:
        try:
            answer = self._backend.of_queue("GetQueueAttributes", arn, AttributeNames=["Policy"])
        except BackendError:
            return []  # no such queue: SQS says so itself, to a caller who may ask
        return list(statements(str((answer.get("Attributes") or {}).get("Policy") or "{}")) or ())

    def _of_role(self, arn: str) -> list[Statement]:
        if not self._backend.exists(arn):
            return []
        return self._in(self._backend.iam("GetRole", "AssumeRolePolicyDocument", {"RoleName": last(arn, "/")}))

    def _held(self, kind: str, name: str) -> Held:
        """What a Role or User holds; nothing if there is none of this name."""
        if kind not in ("Role", "User"):
            return Held()
        return self._backend.kept("iam", "held", kind, name, read=lambda: self._read(kind, name))

    def _read(self, kind: str, name: str) -> Held:
        found = self._policies(kind, name)
        if kind == "User":
            for group in self._backend.iam("ListGroupsForUser", "GroupName", {"UserName": name}):
                found += self._policies("Group", group)
        boundaries = self._backend.iam(f"Get{kind}", "PermissionsBoundaryArn", {f"{kind}Name": name})
        bounds = [one for arn in boundaries for one in self._managed(arn)]
        return Held(tuple(found), tuple(bounds) if boundaries else None)

    def _policies(self, kind: str, name: str) -> list[Statement]:
        iam, named = self._backend.iam, {f"{kind}Name": name}
        found: list[Statement] = []
        for policy in iam(f"List{kind}Policies", "member", named):
            found += self._in(iam(f"Get{kind}Policy", "PolicyDocument", {**named, "PolicyName": policy}))
        for arn in iam(f"ListAttached{kind}Policies", "PolicyArn", named):
            found += self._managed(arn)
        return found

    def _managed(self, arn: str) -> list[Statement]:
        found: list[Statement] = []
        for version in self._backend.iam("GetPolicy", "DefaultVersionId", {"PolicyArn": arn}):
            asked = {"PolicyArn": arn, "VersionId": version}
            found += self._in(self._backend.iam("GetPolicyVersion", "Document", asked))
        return found

    def _in(self, documents: Iterable[str]) -> list[Statement]:
        """Their statements; a document that cannot be read allows nothing."""
        return [one for text in documents for one in statements(text) or ()]
