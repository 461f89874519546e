"""What became of one resource, as a value: what each command's result is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from provision.account.plan import Planned, command_of
from provision.aws.clients import Clients
from provision.state.entries import Difference, Resource, ResourceResult
from provision.state.resources import PLACES, name_of, noun_of


@dataclass(frozen=True)
class ResourceOutcome:
    """What became of one resource, would become of it (plan), or is the matter with it (status).

    `calls` are the writing calls of a plan, as "service:Operation", and `commands` the same as `aws` commands; `needs`
    what must be there before more can be said; `since` is when it was made, in UTC; `messages` how many wait in a
    queue; `compared` how many attributes plan and status compared.
    """

    key: str
    type: str
    noun: str
    name: str
    identity: dict[str, str]
    step: str
    outcome: str
    changes: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    needs: str = ""
    remark: str = ""
    since: str | None = None
    messages: int | None = None
    compared: int = 0


def outcome_of(one: ResourceResult | Planned | Resource, word: str, step: str = "", **more: Any) -> ResourceOutcome:
    """With the words for it; `step` where it is another than the key's; `more` are further members."""
    noun, name = noun_of(one.kind), name_of(one.kind, one.identity)
    step = step or PLACES[one.key].step
    return ResourceOutcome(one.key, one.kind, noun, name, dict(one.identity), step, word, **more)


def result_of(one: ResourceResult) -> ResourceOutcome:
    return outcome_of(one, one.outcome, changes=one.differences, notes=one.notes)


def planned_of(one: Planned, aws: Clients) -> ResourceOutcome:
    calls = tuple(f"{call.service}:{call.operation}" for call in one.calls)
    commands = tuple(command_of(call, aws) for call in one.calls)
    same = outcome_of(one, one.word, changes=one.differences, notes=one.notes, calls=calls, commands=commands)
    return replace(same, needs=one.needs, remark=one.theirs, compared=one.compared)
