"""The usual mistakes of the walkthrough: how each is recognized from an attribute that fails.

What a mistake means and what to do about it stands under its name in lessons/mistakes.md, for a trainer to change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.check.handler_code import EXAMPLE, NO_BATCHES
from provision.check.leeway import row_of
from provision.documents import grants

EXISTS = "exists"


@dataclass(frozen=True)
class Mistake:
    """One mistake: of which resources (a pattern for the key), which attribute, and what is found in place of what.

    `is_it` is asked with what was found and what was expected.
    """

    name: str
    key: str
    attribute: str
    is_it: Callable[[Any, Any], bool] = lambda found, expected: True


def name_of_mistake(key: str, attribute: str, found: Any, expected: Any) -> str:
    """The first mistake that fits what failed; "" where none does."""
    row = row_of(attribute)
    for one in MISTAKES:
        if row == one.attribute and re.fullmatch(one.key, key) and one.is_it(found, expected):
            return one.name
    return ""


def arns(document: Any) -> Iterator[list[str]]:
    """The parts of each ARN that a document names as a resource."""
    for _, _, _, resource, _ in grants(document) or ():
        if resource.startswith("arn:"):
            yield resource.split(":")


def allows_all(found: Any, expected: Any) -> bool:
    return any(effect == "Allow" and resource == "*" for effect, _, _, resource, _ in grants(found) or ())


def names_another_region(found: Any, expected: Any) -> bool:
    regions = {parts[3] for parts in arns(found) if parts[3]}
    return bool(regions) and not regions & {parts[3] for parts in arns(expected)}


def trusts_another(found: Any, expected: Any) -> bool:
    def trusted(document: Any) -> set[str]:
        return {principal for _, _, principal, _, _ in grants(document) or ()}

    return not trusted(found) & trusted(expected)


def is_in_another_case(found: Any, expected: Any) -> bool:
    return isinstance(found, str) and found.lower() == str(expected).lower()


def is_less(found: Any, expected: Any) -> bool:
    return str(found).isdigit() and int(found) < int(expected)


def is_of_another_type(found: Any, expected: Any) -> bool:
    return bool(found) and found[0]["AttributeType"] != expected[0]["AttributeType"]


def is_nothing(found: Any, expected: Any) -> bool:
    return not found


def is_something(found: Any, expected: Any) -> bool:
    return bool(found)


def equals(value: str) -> Callable[[Any, Any], bool]:
    return lambda found, expected: bool(found == value)


def another_table(found: Any, expected: Any) -> bool:
    return isinstance(found, Mapping) and found.get("TABLE_NAME") != expected.get("TABLE_NAME")


def sends_to_another_role(found: Any, expected: Any) -> bool:
    """The walkthrough's own two statements are there, with the two roles the wrong way round or with others."""
    actions = {action for _, action, _, _, _ in grants(found) or ()}
    return "sqs:sendmessage" in actions and "sqs:receivemessage" in actions


MISTAKES = (
    Mistake("policy-not-attached", "(function|api)-role/.*", EXISTS),
    Mistake("another-region-named", "(write|read)-policy", "document", names_another_region),
    Mistake("policy-for-everything", "(write|read)-policy", "document", allows_all),
    Mistake("trust-of-another-service", "(function|api)-role", "trust policy", trusts_another),
    Mistake("another-region", "table", EXISTS, lambda found, expected: "Region" in str(found or "")),
    Mistake("another-key", "table", "key"),
    Mistake("number-key", "table", "key attribute", is_of_another_type),
    Mistake("provisioned-capacity", "table", "billing mode", equals("PROVISIONED")),
    Mistake("fifo-queue", "queue|dead-letter-queue", EXISTS, lambda found, expected: str(found).endswith(".fifo")),
    Mistake("queue-policy-roles", "queue", "Policy", sends_to_another_role),
    Mistake("queue-policy-missing", "queue", "Policy"),
    Mistake("visibility-too-short", "queue", "VisibilityTimeout", is_less),
    Mistake("no-dead-letters", "queue", "RedrivePolicy", is_nothing),
    Mistake("logs-for-ever", "log-group", "retentionInDays", is_nothing),
    Mistake("another-language", "function", "Runtime"),
    Mistake("wrong-role", "function", "Role"),
    Mistake("wrong-handler", "function", "Handler"),
    Mistake("code-not-deployed", "function", "code", equals(EXAMPLE)),
    Mistake("code-without-messages", "function", "code", equals(NO_BATCHES)),
    Mistake("wrong-table", "function", "Environment", another_table),
    Mistake("timeout-too-short", "function", "Timeout", is_less),
    Mistake("trigger-elsewhere", "trigger", EXISTS, is_something),
    Mistake("trigger-disabled", "trigger", "State", equals("Disabled")),
    Mistake("failures-not-reported", "trigger", "FunctionResponseTypes", is_nothing),
    Mistake("two-apis", "api", EXISTS, lambda found, expected: isinstance(found, list)),
    Mistake("edge-endpoint", "api", "endpoint type", lambda found, expected: "EDGE" in (found or ())),
    Mistake("wrong-case", "api", "resource PATH", is_in_another_case),
    Mistake("another-method", "api", "POST PATH method", is_something),
    Mistake("proxy-integration", "api", "POST PATH integration type", equals("AWS_PROXY")),
    Mistake("another-target", "api", "POST PATH integration uri"),
    Mistake("permission-missing", "permission", EXISTS),
    Mistake("permission-elsewhere", "permission", "Condition"),
    Mistake("another-stage", "stage", EXISTS, is_something),
    Mistake("never-deployed", "stage", EXISTS),
    Mistake("forgotten-deploy", "stage", "what it serves"),
)
