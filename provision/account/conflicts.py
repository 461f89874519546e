"""Somebody else's resources have this deployment's names: one message says which, whose, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.account.inventory import FoundResource, Inventory, take_inventory, take_inventory_of_iam
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.ownership import NotOurs, TagLost, is_recent
from provision.state.resources import ADOPTABLE, IAM, name_of, noun_of
from provision.state.state import State
from provision.terminal import outcome
from provision.terminal.shell import program
from provision.terminal.text import plural

# What the walkthrough's own clean-up leaves behind (erratum 23). Trigger and log group stay without queue and function.
LEFT_BY_THE_CLEAN_UP = frozenset({*IAM, "trigger", "log-group"})


class InTheWay(outcome.UserError):
    """Somebody else's resources have names that this deployment needs. They were not touched."""

    code = "not-ours"


@dataclass(frozen=True)
class Run:
    """The run that met them, and its options, for the commands in the message.

    `build` are all options that count for the build, `beside` those without learner and state file, `where` those that
    another program needs. `adopt` are the keys that were consented to; `others` the other state files in the folder.
    """

    aws: Clients
    settings: Settings
    state: State
    build: list[str]
    beside: list[str]
    where: list[str]
    adopt: Collection[str]
    others: Mapping[Path, dict[str, Any]]


def refuse_before_the_first_write(run: Run, *, asking: bool) -> None:
    """If somebody else has one of the names in IAM, refuse before anything is created.

    Four reads. What carries no tag passes where it was consented to, or where a person is there to be asked. Raises
    InTheWay.
    """
    found = take_inventory_of_iam(run.aws, run.settings)
    for resource in strangers(found, run.state):
        if resource.tag or not (asking or resource.key in run.adopt):
            raise in_the_way(run, None)


def in_the_way(run: Run, met: NotOurs | None) -> outcome.UserError:
    """One message about everything that stands in the way, for a run that met one of them. Reads only."""
    seen = take_inventory(run.aws, run.settings)
    theirs = [
        resource
        for resource in strangers(seen, run.state, met)
        if resource.key not in run.adopt or resource.tag or is_met(resource, met)
    ]
    if met is not None and not any(is_met(resource, met) for resource in theirs):
        return met
    if not theirs:
        return InTheWay("What stood in the way is gone.", advice=("Run the same command again.",))
    tagged = [resource for resource in theirs if resource.tag]
    stop = of_a_deployment(run, theirs, tagged) if tagged else of_somebody(run, seen, theirs, met)
    means = stop.means
    if seen.unanswered:
        means += f" Not everything could be looked at: {', '.join(map(str, seen.unanswered))}."
    resources = tuple((resource.kind, resource.identity, resource.described) for resource in theirs)
    return stop.with_words(means=means, resources=resources)


def without_its_tag(run: Run, met: TagLost) -> outcome.UserError:
    """The same with the commands of this run. What is adopted teardown leaves, unless it is told otherwise."""
    if met.key not in ADOPTABLE:
        return met
    return met.with_words(
        advice=(
            met.advice[0],
            "or take it over, as something that was there before:",
            "    " + program("provision", [*run.build, "--adopt", met.key]),
            "and, in the end, remove it with the rest:",
            "    " + program("teardown", [*run.where, "--include-adopted"]),
        )
    )


def is_met(resource: FoundResource, met: NotOurs | None) -> bool:
    return met is not None and (resource.kind, resource.identity) == (met.kind, met.identity)


def strangers(seen: Inventory, state: State, met: NotOurs | None = None) -> list[FoundResource]:
    """What has our names and is not ours. Not REST APIs, API keys and usage plans: several may have one name."""
    return [
        resource
        for resource in seen.resources
        if resource.key in ADOPTABLE
        and resource.tag != state.deployment
        and not resource.is_being_deleted
        and not resource.is_unreadable
        and (is_met(resource, met) or not is_recorded(resource, state))
    ]


def is_recorded(resource: FoundResource, state: State) -> bool:
    """Whether it is the recorded one without its tag. (A function has no id to compare.)"""
    entry = state.record(resource.key)
    return (
        entry is not None
        and entry.status == "created"
        and resource.tag is None
        and resource.outputs.get("id") == entry.outputs.get("id")
    )


def unproved(seen: Inventory, state: State) -> list[FoundResource]:
    """What is recorded, and has only our tag or only the recorded id: a build stops there (NotTheRecorded, TagLost).

    Not what was recorded a moment ago and shows no tag: a build waits for that. Nor a REST API with our tag and another
    id: it may be a spare one, which the build removes.
    """
    return [
        resource
        for resource in seen.resources
        if (entry := state.record(resource.key)) is not None
        and entry.status == "created"
        and not resource.is_being_deleted
        and not resource.is_unreadable
        and (
            (resource.can_be_tagged and is_recorded(resource, state) and not is_recent(entry))
            or (resource.tag == state.deployment and resource.key != "api" and has_another_id(resource, entry))
        )
    ]


def has_another_id(resource: FoundResource, entry: Resource) -> bool:
    known, found = entry.outputs.get("id"), resource.outputs.get("id")
    return bool(known and found) and known != found


def of_somebody(run: Run, seen: Inventory, theirs: list[FoundResource], met: NotOurs | None) -> InTheWay:
    """They carry no tag: somebody made them without the suite."""
    one = len(theirs) == 1
    them = "it" if one else "them"
    if is_left_by_the_clean_up(run, seen):
        whose = (
            "This is what the walkthrough's own clean-up leaves behind when it was followed by hand: it removes table, "
            "function, queue and API, and mentions nothing else."
        )
    elif one:
        whose = "By its name alone nobody can tell whose it is."
    else:
        whose = "By names alone nobody can tell whose they are."
    ours = met.ours if met is not None and one else run.state.deployment
    their_keys = {resource.key for resource in theirs}
    adopt = [option for key in ADOPTABLE if key in {*run.adopt, *their_keys} for option in ("--adopt", key)]
    return InTheWay(
        f"{names_of(theirs)} already and {'is' if one else 'are'} not this deployment's.",
        means=f"{whose} This deployment is {ours}. {so_far(run.state)}",
        advice=(
            f"Take {them} over, as part of this deployment:",
            "    " + program("provision", [*run.build, *adopt]),
            f"and, in the end, remove {them} with the rest (without the flag teardown leaves {them}, and puts back "
            "what was changed):",
            "    " + program("teardown", [*run.where, "--include-adopted"]),
            f"or build beside {them}, under names of your own:",
            beside(run),
            f"or remove {them}, if {'it is' if one else 'they are'} yours and no longer needed, and run the same "
            "command again.",
        ),
    )


def of_a_deployment(run: Run, theirs: list[FoundResource], tagged: list[FoundResource]) -> InTheWay:
    """They carry the tag of another deployment of this suite: another state file is responsible for them."""
    tags = sorted({str(resource.tag) for resource in tagged})
    whose = f"deployment{'s' if len(tags) > 1 else ''} {', '.join(tags)} of this suite"
    one = len(theirs) == 1
    if len(tagged) == len(theirs):
        belong = f" and belong{'s' if one else ''} to {whose}."
    else:
        belong = f", some of them of {whose}."
    means = [f"Another state file is responsible for {'it' if one else 'them'}."]
    if any(resource.key in IAM for resource in tagged):
        means = [
            "IAM is global: the names of roles and policies are taken in all Regions. "
            "A deployment in another Region, or from another state file, has these."
        ]
    known = {path: content for path, content in run.others.items() if content.get("deployment") in tags}
    means += [
        f"{content['deployment']} has the state file {path}, for Region {content.get('region')}."
        for path, content in known.items()
    ]
    advice = ["Build beside it, under names of your own:", beside(run)]
    if known:
        advice.append("or remove it with its own state file, and run the same command again:")
        advice += [
            "    " + program("teardown", [*where_of(run, content), "--state", str(path)])
            for path, content in known.items()
        ]
    elif run.state.is_new:
        advice.append("or, if its state file was lost, write that anew:")
        advice.append("    " + program("provision", [*run.where, "--recover"]))
    else:
        advice.append("or remove it with its own state file, and run the same command again.")
    why = " ".join(means)
    return InTheWay(
        f"{names_of(theirs)} already{belong}",
        means=f"{why} This deployment is {run.state.deployment}. {so_far(run.state)}",
        advice=tuple(advice),
    )


def where_of(run: Run, content: dict[str, Any]) -> list[str]:
    """The options with which another state file of the same account is used."""
    arguments = []
    for option in ("--sandbox", "--profile", "--endpoint-url"):
        if option in run.where:
            at = run.where.index(option)
            arguments += run.where[at : at + (1 if option == "--sandbox" else 2)]
    return [*arguments, "--region", str(content.get("region"))]


def beside(run: Run) -> str:
    return "    " + program("provision", [*run.beside, "--learner", "NAME"])


def names_of(theirs: list[FoundResource]) -> str:
    if len(theirs) == 1:
        return f"{noun_of(theirs[0].kind).capitalize()} {name_of(theirs[0].kind, theirs[0].identity)} exists"
    return f"{len(theirs)} resources with these names exist"


def so_far(state: State) -> str:
    if not state.standing:
        return "Nothing was changed."
    resources = plural(len(state.standing), "resource")
    return f"What was built so far ({resources}) stays and is recorded; nothing else was changed."


def is_left_by_the_clean_up(run: Run, seen: Inventory) -> bool:
    """Whether all that is not ours is what the walkthrough's clean-up leaves behind, and a role or policy among it."""
    keys = {
        resource.key
        for resource in seen.resources
        if resource.key
        and resource.parent is None
        and resource.tag != run.state.deployment
        and not is_recorded(resource, run.state)
    }
    return bool(keys & set(IAM)) and keys <= LEFT_BY_THE_CLEAN_UP and not seen.unanswered
