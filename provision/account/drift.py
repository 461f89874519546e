"""What only a call of its own shows of a resource: policies inline in a role, a table's time to live, ... Reads only.

A build does not ask for it: status and plan do. Which calls these are stands in provision/state/comparison.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from provision.account.plan import DryState, Planned, with_left
from provision.aws.clients import Clients
from provision.aws.console_links import look
from provision.aws.credentials import is_of_credentials
from provision.aws.operations import NOT_IMPLEMENTED
from provision.state.comparison import COMPARED, Look, fields, is_default
from provision.state.entries import Difference
from provision.state.resources import PLACES, step_of

NOT_THERE = frozenset({"NoSuchEntity", "PolicyNotFoundException", "ResourceNotFoundException"})


def look_closer(aws: Clients, state: DryState, planned: Sequence[Planned]) -> list[Planned]:
    """The same plan, with what more is not as AWS makes it. What AWS refuses to show is a note.

    Raises ClientError when the credentials have expired or are refused.
    """
    return [
        closer(aws, state, one) if one.word in ("unchanged", "drifted", "update", "adopt") else one for one in planned
    ]


def closer(aws: Clients, state: DryState, planned: Planned) -> Planned:
    """The same of one resource."""
    entry = state.record(planned.key)
    if entry is None or entry.is_used:
        return planned  # a log group or a role that is somebody else's
    known = {**planned.identity, **entry.outputs}
    ours = values_of_parts(state, planned.key)
    for look_up in COMPARED[planned.kind].looks:
        with aws.calls.in_step(step_of(planned.key)):
            try:
                found = found_by(ask(aws, look_up, known), look_up, ours)
            except ClientError as error:
                if is_of_credentials(error):
                    raise
                planned = not_compared(planned, look_up, error.response["Error"]["Code"])
                continue
        planned = with_left(planned, found, 1)
    return planned


def not_compared(planned: Planned, look_up: Look, why: str) -> Planned:
    """The same, with a note that says what was not looked at."""
    return replace(planned, notes=(*planned.notes, f"{look_up.attribute}: not compared ({why})"))


def values_of_parts(state: DryState, key: str) -> set[str]:
    """What identifies the resources of ours that join this one: attachments, permission, trigger, stage."""
    parts = (one for one in state.standing if one.key in PLACES and key in PLACES[one.key].joins)
    return {value for one in parts for value in (*one.identity.values(), *one.outputs.values())}


def ask(aws: Clients, look_up: Look, known: Mapping[str, str]) -> dict[str, Any]:
    """AWS's answer; empty where there is no such thing, or an emulator knows none."""
    service, operation, parameters = look([look_up.call], known)
    client = next(one for one in aws.clients if one.meta.service_model.service_name == service)
    method = next(name for name, its in client.meta.method_to_api_mapping.items() if its == operation)
    try:
        answer: dict[str, Any] = getattr(client, method)(**parameters)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status != NOT_IMPLEMENTED and error.response["Error"]["Code"] not in NOT_THERE:
            raise
        return {}
    return answer


def others(members: Sequence[Mapping[str, Any]], name: str, ours: set[str]) -> list[Mapping[str, Any]]:
    """Those that are not ours, and say something else than ours do: the console may have made the same before."""

    def said(member: Mapping[str, Any]) -> dict[str, Any]:
        return {field: value for field, value in member.items() if field != name}

    same = [said(member) for member in members if member[name] in ours]
    return [member for member in members if member[name] not in ours and said(member) not in same]


def found_by(answer: Mapping[str, Any], look_up: Look, ours: set[str]) -> list[Difference]:
    """What is not as AWS makes it: of a list whose members tell whose they are, those that are not ours."""
    differences = []
    for _, found in fields(answer, look_up.field):
        if look_up.ours:
            found = [member[look_up.ours] for member in others(found or [], look_up.ours, ours)]
        if not is_default(found, look_up.defaults):
            default = look_up.defaults[0] if look_up.defaults else None
            differences.append(Difference(look_up.attribute, found, default, left=True))
    return differences
