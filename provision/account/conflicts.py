"""Somebody else's things bear this deployment's names: which they are, whose, and the three ways on, in one message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.account.inventory import Survey, Thing, survey, survey_iam
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.ownership import NotOurs
from provision.state.resources import ADOPTABLE, IAM, name_of, noun_of
from provision.state.state import Ledger
from provision.terminal import outcome
from provision.terminal.shell import program

# What the walkthrough's own clean-up does not mention (erratum 23). Trigger and log group outlive queue and function.
LEFT_BY_THE_CLEAN_UP = frozenset({*IAM, "trigger", "log-group"})


class InTheWay(outcome.Stop):
    """Things of somebody else's bear names that this deployment needs. They were not touched."""


@dataclass(frozen=True)
class Run:
    """The run that met them, and its options, from which the commands of the ways on are made.

    `build` are all options that count for the build, `beside` those without learner and ledger, `where` those that
    another program needs. `adopt` are the keys that were consented to; `others` the other ledgers in the folder.
    """

    aws: Clients
    settings: Settings
    ledger: Ledger
    build: list[str]
    beside: list[str]
    where: list[str]
    adopt: Collection[str]
    others: Mapping[Path, dict[str, Any]]


def refuse_before_the_first_write(run: Run, *, asking: bool) -> None:
    """Roles and policies are the account's: is a name of these taken, nothing should be made at all.

    Four reads. What carries no mark passes where it was consented to, or where a person is there to be asked. Raises
    InTheWay.
    """
    found = survey_iam(run.aws, run.settings)
    for thing in strangers(found, run.ledger):
        if thing.mark or not (asking or thing.key in run.adopt):
            raise in_the_way(run, None)


def in_the_way(run: Run, met: NotOurs | None) -> outcome.Stop:
    """The one message about everything that stands in the way, for a run that met one of them. Reads only."""
    seen = survey(run.aws, run.settings)
    theirs = [
        thing
        for thing in strangers(seen, run.ledger, met)
        if thing.key not in run.adopt or thing.mark or is_met(thing, met)
    ]
    if not theirs or (met is not None and not any(is_met(thing, met) for thing in theirs)):
        return met if met is not None else InTheWay("What stood in the way is gone.", advice=(AGAIN,))
    marked = [thing for thing in theirs if thing.mark]
    stop = of_a_deployment(run, theirs, marked) if marked else of_somebody(run, seen, theirs, met)
    if seen.unanswered:
        stop.means += f" Not everything could be looked at: {', '.join(map(str, seen.unanswered))}."
    stop.things = tuple((thing.kind, thing.identity, thing.described) for thing in theirs)
    return stop


AGAIN = "Run the same command again."


def is_met(thing: Thing, met: NotOurs | None) -> bool:
    return met is not None and (thing.kind, thing.identity) == (met.kind, met.identity)


def strangers(seen: Survey, ledger: Ledger, met: NotOurs | None = None) -> list[Thing]:
    """What bears our names and is not ours. REST APIs are not among it: their names repeat, ours is made beside."""
    return [
        thing
        for thing in seen.things
        if thing.key in ADOPTABLE
        and thing.mark != ledger.deployment
        and not thing.going
        and not thing.is_unreadable
        and (is_met(thing, met) or not is_recorded(thing, ledger))
    ]


def is_recorded(thing: Thing, ledger: Ledger) -> bool:
    """Whether it is the one that the ledger records, and only its tag is gone. (A function has no id to tell it by.)"""
    entry = ledger.record(thing.key)
    return (
        entry is not None
        and entry.status == "created"
        and thing.mark is None
        and thing.outputs.get("id") == entry.outputs.get("id")
    )


def of_somebody(run: Run, seen: Survey, theirs: list[Thing], met: NotOurs | None) -> InTheWay:
    """They carry no mark: a person made them."""
    one = len(theirs) == 1
    them = "it" if one else "them"
    means = [
        "By its name alone nobody can tell whose it is." if one else "By names alone nobody can tell whose they are."
    ]
    if left_by_the_clean_up(run, seen, theirs):
        means = [
            "This is what the walkthrough's own clean-up leaves behind when it was followed by hand: it removes table, "
            "function, queue and API, and mentions nothing else."
        ]
    ours = met.ours if met is not None and one else run.ledger.deployment
    means += [f"This deployment is {ours}.", so_far(run.ledger)]
    adopted = [key for key in ADOPTABLE if key in run.adopt or key in {thing.key for thing in theirs}]
    adopt = [option for key in adopted for option in ("--adopt", key)]
    return InTheWay(
        f"{names_of(theirs)} already and {'is' if one else 'are'} not this deployment's.",
        means=" ".join(means),
        advice=(
            f"Take {them} over, as part of this deployment:",
            "    " + program("provision", [*run.build, *adopt]),
            f"and, in the end, remove {them} with the rest (without the flag teardown leaves {them}, and puts back "
            "what was changed):",
            "    " + program("teardown", [*run.where, "--include-adopted"]),
            *beside(run, them),
            f"or remove {them}, if {'it is' if one else 'they are'} yours and no longer needed, and run the same "
            "command again.",
        ),
    )


def of_a_deployment(run: Run, theirs: list[Thing], marked: list[Thing]) -> InTheWay:
    """They carry the mark of another deployment of this suite: another ledger is responsible for them."""
    marks = sorted({str(thing.mark) for thing in marked})
    whose = f"deployment{'s' if len(marks) > 1 else ''} {', '.join(marks)} of this suite"
    one = len(theirs) == 1
    means = []
    if any(thing.key in IAM for thing in marked):
        means.append(
            "IAM is global: the names of roles and policies are taken in all Regions. "
            "A deployment in another Region, or from another ledger, has these."
        )
    else:
        means.append(f"Another ledger is responsible for {'it' if one else 'them'}.")
    known = {path: content for path, content in run.others.items() if content.get("deployment") in marks}
    for path, content in known.items():
        means.append(f"{content['deployment']} has the ledger {path}, for Region {content.get('region')}.")
    means += [f"This deployment is {run.ledger.deployment}.", so_far(run.ledger)]
    advice = list(beside(run, "it"))
    advice[0] = advice[0].removeprefix("or ").capitalize()
    if known:
        advice.append("or remove it with its own ledger, and run the same command again:")
        advice += [
            "    " + program("teardown", [*where_of(run, content), "--state", str(path)])
            for path, content in known.items()
        ]
    elif run.ledger.is_new:
        advice += [
            "or, if its ledger was lost, write that anew:",
            f"    {program('provision', [*run.where, '--recover'])}",
        ]
    else:
        advice += ["or remove it with its own ledger, and run the same command again."]
    what = names_of(theirs) + " already"
    if len(marked) == len(theirs):
        what += f" and belong{'s' if one else ''} to {whose}."
    else:
        what += f", some of {'them'} of {whose}."
    return InTheWay(what, means=" ".join(means), advice=tuple(advice))


def where_of(run: Run, content: dict[str, Any]) -> list[str]:
    """The options with which another ledger of the same account is used."""
    arguments = []
    for option in ("--sandbox", "--profile", "--endpoint-url"):
        if option in run.where:
            at = run.where.index(option)
            arguments += run.where[at : at + (1 if option == "--sandbox" else 2)]
    return [*arguments, "--region", str(content.get("region"))]


def beside(run: Run, them: str) -> tuple[str, str]:
    return (
        f"or build beside {them}, under names of your own:",
        "    " + program("provision", [*run.beside, "--learner", "NAME"]),
    )


def names_of(theirs: list[Thing]) -> str:
    if len(theirs) == 1:
        return f"{noun_of(theirs[0].kind).capitalize()} {name_of(theirs[0].kind, theirs[0].identity)} exists"
    return f"{len(theirs)} things with these names exist"


def so_far(ledger: Ledger) -> str:
    made = len(ledger.standing)
    if not made:
        return "Nothing was changed."
    things = "1 thing" if made == 1 else f"{made} things"
    return f"What was built so far ({things}) stays and is recorded; nothing else was changed."


def left_by_the_clean_up(run: Run, seen: Survey, theirs: list[Thing]) -> bool:
    """Whether everything that is not ours is what the walkthrough forgets: roles, policies, trigger, log group."""
    others = [
        thing
        for thing in seen.things
        if thing.key
        and thing.parent is None
        and thing.mark != run.ledger.deployment
        and not is_recorded(thing, run.ledger)
    ]
    keys = {thing.key for thing in others}
    return bool(keys & set(IAM)) and keys <= LEFT_BY_THE_CLEAN_UP and not seen.unanswered
