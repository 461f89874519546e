"""Policy documents: read from policies/, filled in, and compared by what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import product
from typing import Any, Protocol

from provision import BESIDE
from provision.settings import Settings

PLACEHOLDER = re.compile(r"<([^<>]+)>")

ELEMENTS = frozenset({"Effect", "Action", "Principal", "Resource", "Condition"})


class Place(Protocol):
    """What policy documents name of the place where a deployment is. `Clients` has it."""

    @property
    def partition(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def account_id(self) -> str: ...


def policy_document(name: str, aws: Place, settings: Settings) -> dict[str, Any]:
    """The document policies/NAME.json with its placeholders filled in.

    With `--as-written` it is the one in policies/as-written/, if there is one. The text is parsed before it is filled
    in, so no value can change the document's structure. Raises KeyError for an unknown placeholder.
    """
    folder = BESIDE / "policies"
    path = folder / f"{name}.json"
    as_written = folder / "as-written" / f"{name}.json"
    if settings.as_written and as_written.is_file():
        path = as_written
    values = {
        "partition": aws.partition,
        "region": aws.region,
        "account ID": aws.account_id,
        "table": settings.table,
        "queue": settings.queue,
        "log group": settings.log_group,
        "function role": settings.function_role_in_arn,
        "API role": settings.api_role_in_arn,
        "learner": f"-{settings.learner}" if settings.learner else "",
        "source IP": ", ".join(settings.source_ips),
    }
    filled = fill(json.loads(path.read_text(encoding="utf-8")), values)
    assert isinstance(filled, dict)
    return filled


def resource_policy(aws: Place, settings: Settings) -> dict[str, Any] | None:
    """The REST API's: from where it may be called; None where from everywhere. Document: policies/POC-API.json

    Where a request must be signed, the policy only denies: who is allowed by it needs no permission of their own.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html
    """
    if not settings.source_ips:
        return None
    document = policy_document("POC-API", aws, settings)
    allow, deny = document["Statement"]
    deny["Condition"]["NotIpAddress"]["aws:SourceIp"] = list(settings.source_ips)
    document["Statement"] = [allow, deny] if settings.authorization_type == "NONE" else [deny]
    return document


def fill(document: Any, values: Mapping[str, str]) -> Any:
    """A copy of a parsed document with every <placeholder> in its strings replaced."""
    if isinstance(document, dict):
        return {key: fill(value, values) for key, value in document.items()}
    if isinstance(document, list):
        return [fill(value, values) for value in document]
    if isinstance(document, str):
        return PLACEHOLDER.sub(lambda match: values[match[1]], document)
    return document


def same_meaning(one: Any, other: Any) -> bool:
    """Whether two policy documents allow the same, however they are spelled.

    Services return a policy in their own spelling: a list of one becomes a plain string, lists change order, action
    names change case. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
    """
    return bool(_meaning(one) == _meaning(other))


# What a statement says of one action, principal and resource: (effect, action, principal, resource, condition).
Grant = tuple[str, str, str, str, str]


def grants(document: Any) -> frozenset[Grant] | None:
    """What a policy document allows and denies, one by one, however its statements are divided.

    Actions are in lower case; a principal is "AWS arn:...", "Service name" or ""; a condition is JSON. Sid, Id and the
    version do not matter: no document of the walkthrough has a policy variable. None for what cannot be taken apart so:
    no policy document, or one with NotAction, NotPrincipal or NotResource.
    """
    meaning = _meaning(document)
    if not isinstance(meaning, dict) or not isinstance(meaning.get("Statement"), list):
        return None
    found = set()
    for statement in meaning["Statement"]:
        if not isinstance(statement, dict) or not {"Effect", "Action"} <= statement.keys() <= ELEMENTS:
            return None
        named = statement.get("Principal", {"": [""]})
        principals = [f"{kind} {name}".strip() for kind, names in named.items() for name in names]
        condition = json.dumps(statement["Condition"], sort_keys=True) if statement.get("Condition") else ""
        for action, principal, resource in product(statement["Action"], principals, statement.get("Resource", [""])):
            found.add((str(statement["Effect"]), str(action), principal, str(resource), condition))
    return frozenset(found)


def _meaning(document: Any) -> Any:
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return document
    if not isinstance(document, dict):
        return document
    try:
        meanings = [_statement_meaning(statement) for statement in _as_list(document.get("Statement", []))]
    except (AttributeError, TypeError):  # it is not a policy: compare it as it is
        return document
    return {
        "Version": document.get("Version"),
        "Statement": sorted(meanings, key=lambda meaning: json.dumps(meaning, sort_keys=True)),
    }


def _statement_meaning(statement: dict[str, Any]) -> dict[str, Any]:
    meaning: dict[str, Any] = {}
    for element, value in statement.items():
        if element == "Sid":
            continue
        if element in ("Action", "NotAction"):
            meaning[element] = sorted({action.lower() for action in _as_list(value)})
        elif element in ("Principal", "NotPrincipal"):
            meaning[element] = _principal_meaning(value)
        elif element == "Condition":
            meaning[element] = {
                operator: {key.lower(): sorted(map(_text, _as_list(wanted))) for key, wanted in keys.items()}
                for operator, keys in value.items()
            }
        elif element == "Effect":
            meaning[element] = value
        else:
            meaning[element] = sorted(set(_as_list(value)))
    return meaning


def _principal_meaning(principal: Any) -> Any:
    if principal == "*":
        return {"AWS": ["*"]}
    return {kind: sorted(set(_as_list(names))) for kind, names in principal.items()}


def _text(value: Any) -> str:
    """A condition's value as text: services return true as "true"."""
    return value if isinstance(value, str) else json.dumps(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
