"""What the walkthrough leaves free, and what others spell otherwise: by hand, with `aws`, boto3 or Terraform.

The steps compare what they set themselves. `check` judges what anybody made. Where the walkthrough leaves a choice, or
AWS takes several spellings for one meaning, the row of the attribute here decides instead of the step's comparison.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from provision.documents import Grant, grants, same_meaning
from provision.settings import Settings

# Of an API's attribute the path and the status code vary: in rows they are called PATH and CODE.
PATH = re.compile(r"(?<= )/\S*")
CODE = re.compile(r"(?<=response )\d{3}")

ROOT = re.compile(r"arn:[\w-]+:iam::(\d{12}):root")
ROLE = re.compile(r"(arn:[\w-]+:iam::\d{12}:role/)(?:.+/)?([^/]+)")
PYTHON = re.compile(r"python3\.\d+")

QUEUE_RETENTION_SECONDS = 4 * 24 * 3600  # SQS's default

# An integration response is meant for the statuses that its pattern matches, however it is written.
STATUSES = tuple(map(str, range(200, 600)))


def row_of(attribute: str) -> str:
    """The attribute as tables name it: "POST /dynamodbmanager integration uri" is "POST PATH integration uri"."""
    return CODE.sub("CODE", PATH.sub("PATH", attribute))


def is_alike(settings: Settings, kind: str, attribute: str, found: Any, wanted: Any) -> bool | None:
    """Whether what is found is as good as what is wanted; None where there is no leeway, and the step decides."""
    alike = ALIKE.get((kind, row_of(attribute)))
    return None if alike is None else alike(settings, found, wanted)


def same_grants(settings: Settings, found: Any, wanted: Any) -> bool:
    """Whether two documents allow the same, however their statements are divided and their principals are written."""
    one, other = grants(found), grants(wanted)
    if one is None or other is None:
        return same_meaning(found, wanted)
    return in_one_spelling(one) == in_one_spelling(other)


def same_queue_grants(settings: Settings, found: Any, wanted: Any) -> bool:
    """The same, without the owner's statement: within an account it adds nothing, and only the console writes it."""
    one, other = grants(found), grants(wanted)
    if one is None or other is None:
        return same_meaning(found, wanted)
    return without_owner(one, other) == without_owner(other, other)


def without_owner(some: frozenset[Grant], wanted: frozenset[Grant]) -> set[Grant]:
    owners = {principal for _, _, principal, _, _ in in_one_spelling(wanted) if re.fullmatch(r"AWS \d{12}", principal)}
    return {one for one in in_one_spelling(some) if one[0] != "Allow" or one[2] not in owners}


def in_one_spelling(some: frozenset[Grant]) -> set[Grant]:
    """With an account's root as its number, and roles without their path: a role's name is unique without it."""
    return {(effect, action, principal_of(who), resource, when) for effect, action, who, resource, when in some}


def principal_of(principal: str) -> str:
    kind, _, name = principal.partition(" ")
    root = ROOT.fullmatch(name)
    return f"{kind} {root[1]}" if root else f"{kind} {without_path(name)}"


def without_path(arn: Any) -> Any:
    """A role's ARN without its path."""
    role = ROLE.fullmatch(arn) if isinstance(arn, str) else None
    return f"{role[1]}{role[2]}" if role else arn


def same_role(settings: Settings, found: Any, wanted: Any) -> bool:
    return bool(without_path(found) == without_path(wanted))


def any_python(settings: Settings, found: Any, wanted: Any) -> bool:
    """The walkthrough's own Python is past its time, so any will do, unless --runtime names one."""
    if settings.runtime_asked is not None:
        return bool(found == wanted)
    return isinstance(found, str) and PYTHON.fullmatch(found) is not None


def at_least(settings: Settings, found: Any, wanted: Any) -> bool:
    """A number, or a text that is one: SQS writes all as text."""
    return str(found).isdigit() and int(found) >= int(wanted)


def at_most(settings: Settings, found: Any, wanted: Any) -> bool:
    """A limit that is as strict, or stricter, and lets something through."""
    return isinstance(found, (int, float)) and 0 < found <= wanted


def longer_than_the_queue(settings: Settings, found: Any, wanted: Any) -> bool:
    """A message keeps its age when it moves to the dead-letter queue. Nobody sets the queue's own period."""
    return str(found).isdigit() and int(found) > QUEUE_RETENTION_SECONDS


def has_all_of(settings: Settings, found: Any, wanted: Any) -> bool:
    """More variables than are asked for harm nobody."""
    return isinstance(found, Mapping) and wanted.items() <= found.items()


def is_set(settings: Settings, found: Any, wanted: Any) -> bool:
    """Logs are to end some time; how long they are kept is free."""
    return found is not None


def in_any_case(settings: Settings, found: Any, wanted: Any) -> bool:
    """An action, alone or as the only one of a list."""
    names = found if isinstance(found, list) else [found]
    return [str(name).lower() for name in names] == [wanted.lower()]


def same_principal(settings: Settings, found: Any, wanted: Any) -> bool:
    services = found.get("Service") if isinstance(found, Mapping) else None
    return bool((services[0] if isinstance(services, list) and len(services) == 1 else services) == wanted["Service"])


def covers_source(settings: Settings, found: Any, wanted: Any) -> bool:
    """Whether a permission's condition lets the API call by the stage and by the console's Test, and nobody else's.

    A condition on the account beside it narrows nothing here.
    """
    source: str = wanted["ArnLike"]["AWS:SourceArn"]
    account, api = source.split(":")[4], f"{source.partition('/')[0]}/"
    calls = [source.replace("/*/", f"/{stage}/") for stage in (settings.stage, "test-invoke-stage")]
    is_limited = False
    for operator, keys in (found or {}).items():
        for key, values in keys.items():
            each = values if isinstance(values, list) else [values]
            if key.lower() == "aws:sourceaccount" and each == [account]:
                continue
            if key.lower() != "aws:sourcearn" or not all(value.startswith(api) for value in each):
                return False
            if not all(any(matches(operator, value, call) for value in each) for call in calls):
                return False
            is_limited = True
    return is_limited


def matches(operator: str, pattern: str, text: str) -> bool:
    """As IAM compares: with * and ?, but StringEquals takes them as they are."""
    if operator == "StringEquals":
        return pattern == text
    if operator not in ("ArnLike", "ArnEquals", "StringLike"):
        return False
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None


def without_templates(settings: Settings, found: Any, wanted: Any) -> bool:
    """Where there are no templates, the two ways to pass a body on are one."""
    return found == wanted or (wanted == "WHEN_NO_MATCH" and found in (None, "WHEN_NO_TEMPLATES"))


def as_text_or_unset(settings: Settings, found: Any, wanted: Any) -> bool:
    """The console converts to text; for JSON that is the same as not to."""
    return found in (None, "", "CONVERT_TO_TEXT")


def same_templates(settings: Settings, found: Any, wanted: Any) -> bool:
    """Without empty ones, which the console leaves, and without space around them."""

    def plain(templates: Any) -> dict[str, str]:
        return {kind: text.strip() for kind, text in (templates or {}).items() if text}

    return plain(found) == plain(wanted)


def same_pattern(settings: Settings, found: Any, wanted: Any) -> bool:
    if not found or not wanted:
        return (found or None) == (wanted or None)
    try:
        return [bool(re.fullmatch(found, one)) for one in STATUSES] == [
            bool(re.fullmatch(wanted, one)) for one in STATUSES
        ]
    except re.error:
        return False


def same_redrive(settings: Settings, found: Any, wanted: Any) -> bool:
    """To the same queue, after as many receives or more."""
    try:
        one, other = json.loads(found), json.loads(wanted)
    except (TypeError, ValueError):
        return False
    same = one.get("deadLetterTargetArn") == other["deadLetterTargetArn"]
    return same and at_least(settings, one.get("maxReceiveCount"), other["maxReceiveCount"])


Alike = Callable[[Settings, Any, Any], bool]

# By type and attribute, whether what is found is as good as what is wanted.
ALIKE: Mapping[tuple[str, str], Alike] = {
    ("iam:policy", "document"): same_grants,
    ("iam:role", "trust policy"): same_grants,
    ("sqs:queue", "Policy"): same_queue_grants,
    ("sqs:queue", "RedrivePolicy"): same_redrive,
    ("sqs:queue", "VisibilityTimeout"): at_least,
    ("sqs:queue", "MessageRetentionPeriod"): longer_than_the_queue,
    ("logs:log-group", "retentionInDays"): is_set,
    ("lambda:function", "Runtime"): any_python,
    ("lambda:function", "Role"): same_role,
    ("lambda:function", "Timeout"): at_least,
    ("lambda:function", "MemorySize"): at_least,
    ("lambda:function", "Environment"): has_all_of,
    ("lambda:permission", "Action"): in_any_case,
    ("lambda:permission", "Principal"): same_principal,
    ("lambda:permission", "Condition"): covers_source,
    ("apigateway:stage", "methodSettings > */* > throttlingRateLimit"): at_most,
    ("apigateway:stage", "methodSettings > */* > throttlingBurstLimit"): at_most,
    ("apigateway:usage-plan", "throttle > rateLimit"): at_most,
    ("apigateway:usage-plan", "throttle > burstLimit"): at_most,
    ("apigateway:rest-api", "POST PATH integration credentials"): same_role,
    ("apigateway:rest-api", "POST PATH integration passthroughBehavior"): without_templates,
    ("apigateway:rest-api", "POST PATH integration contentHandling"): as_text_or_unset,
    ("apigateway:rest-api", "POST PATH integration requestTemplates"): same_templates,
    ("apigateway:rest-api", "POST PATH integration response CODE selectionPattern"): same_pattern,
}
