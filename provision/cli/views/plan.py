"""`--dry-run`: what would become of each resource, and the calls that would do it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from provision import STEPS
from provision.account.outcomes import ResourceOutcome, planned_of
from provision.account.plan import Planned
from provision.aws.clients import Clients
from provision.cli.views.steps import show_line, whole_ones
from provision.state.entries import Difference
from provision.state.resources import name_of, noun_of
from provision.terminal.differences import LEFT, difference_lines
from provision.terminal.screen import INDENT, Screen
from provision.terminal.shell import program
from provision.terminal.text import plural

COMMANDS_AT = " " * 6

# How many resources of a plan, by its word for each.
PLANNED = {
    "create": "to create",
    "update": "to update",
    "drifted": "drifted, and left so",
    "adopt": "to take over and update",
    "later": "later, once what they need is there",
    "in the way": "in the way",
    "delete": "to delete",
    "put back": "to put back as found, and leave",
    "gone": "gone already",
    "stay": "to stay",
    "failed": "that cannot be told",
}

STYLES = {
    "create": "green",
    "update": "yellow",
    "drifted": "yellow",
    "adopt": "yellow",
    "unchanged": "green",
    "later": "dim",
    "in the way": "red",
    "delete": "green",
    "put back": "yellow",
    "gone": "green",
    "stay": "red",
    "failed": "red",
}


def show_build_plan(screen: Screen, planned: Sequence[Planned], aws: Clients) -> None:
    """What a build would do, step by step, with each `aws` command in the order of the calls: data."""
    found = [planned_of(one, aws) for one in planned]
    apart = True
    for step in STEPS:
        of_step = [one for one in found if one.step == step.name]
        if not of_step:
            continue
        if apart:
            screen.tell()
        title = f"{step.number}/8 {step.title}"
        told = whole_ones(of_step, lambda one: one.type)
        for word in dict.fromkeys(one.outcome for one in told):
            names = [name_with_remark(one) for one in told if one.outcome == word]
            show_line(screen, title, word, names, data=True, style=STYLES.get(word, ""))
            title = ""
        for one in of_step:
            show_details(screen, one)
        apart = any(one.commands for one in of_step)
    screen.tell()
    sum_up(screen, build_in_words(planned))


def show_how_to_paste(screen: Screen, aws: Clients) -> None:
    """What the commands need on an emulator: that it runs, and credentials; the sandbox has a key of its own."""
    if aws.is_empty:
        screen.heading("To have a port in these commands, start a sandbox, and make the plan again")
        screen.keep(program("sandbox", ["start"]))
    elif aws.sandbox_key:
        screen.heading("To run these commands here, start a shell that has the sandbox's key")
        screen.keep(program("provision", ["shell", "--sandbox"]))
    elif aws.base_url and not aws.profile:
        screen.heading("To run these commands here, any credentials will do")
        screen.keep("export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any")


def name_with_remark(one: ResourceOutcome) -> str:
    remark = f"needs {one.needs}" if one.needs else one.remark
    return f"{one.name} ({remark})" if remark else one.name


def show_details(screen: Screen, one: ResourceOutcome) -> None:
    """What differs of a resource, what is to be known of it, and the command for each of its calls."""
    show_differences(screen, one.changes)
    for note in one.notes:
        screen.prose(INDENT, note, data=True)
    for command in one.commands:
        for line in command.splitlines():
            screen.data.print(Text(COMMANDS_AT + line, style="dim"), soft_wrap=True)


def sum_up(screen: Screen, counts: str) -> None:
    """How much there is to do."""
    screen.tell(f"{counts}. Nothing was changed." if counts else "Nothing to do: everything is as it should be.")


def show_plan(screen: Screen, planned: Sequence[Planned], aws: Clients) -> None:
    """What would become of each resource: data."""
    screen.tell()
    for one in planned:
        show_planned(screen, one, aws)
    screen.tell()
    sum_up(screen, counts_of(planned))


def counts_of(planned: Sequence[Planned]) -> str:
    """ "12 to create, 1 to update"; empty where there is nothing to do."""
    words = [one.word for one in planned]
    return ", ".join(f"{words.count(word)} {what}" for word, what in PLANNED.items() if word in words)


def build_in_words(planned: Sequence[Planned]) -> str:
    """ "12 to create, by 27 calls"; empty where there is nothing to do."""
    counts, calls = counts_of(planned), sum(len(one.calls) for one in planned)
    return f"{counts}, by {plural(calls, 'call')}" if calls else counts


def show_planned(screen: Screen, one: Planned, aws: Clients) -> None:
    """One resource of a plan, with the command for each of its calls."""
    text = Text("    ")
    text.append(f"{one.word:<11}", style=STYLES.get(one.word, ""))
    remark = f"  (needs {one.needs})" if one.needs else f"  ({one.theirs})" if one.theirs else ""
    text.append(f"{noun_of(one.kind):<11}{name_of(one.kind, one.identity)}{remark}")
    screen.between_words(text, data=True)
    show_details(screen, planned_of(one, aws))


def show_differences(screen: Screen, differences: Sequence[Difference]) -> None:
    """Attribute by attribute, what is found and what is wanted: data."""
    room = screen.data.width - len(INDENT) if screen.data.is_terminal else 1000
    for one in differences:
        words = LEFT if one.left else ("found", "wanted")
        for line in difference_lines(one.attribute, one.found, one.wanted, room, words):
            screen.tell(INDENT + line)
