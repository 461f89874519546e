"""`--dry-run`: what would become of each resource, and the calls that would do it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from provision.account.plan import Planned
from provision.aws.call_text import aws_command
from provision.aws.clients import Clients
from provision.state.entries import Difference
from provision.state.resources import name_of, noun_of
from provision.terminal.differences import LEFT, difference_lines
from provision.terminal.json_values import plain
from provision.terminal.screen import INDENT, Screen

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


def show_plan(screen: Screen, planned: Sequence[Planned], aws: Clients) -> None:
    """What would become of each resource: data."""
    screen.tell()
    for one in planned:
        show_planned(screen, one, aws)
    counts = counts_of(planned)
    screen.tell()
    if not counts:
        screen.tell("Nothing to do: everything is as it should be.")
    else:
        screen.tell(f"{counts}. Nothing was changed.")


def counts_of(planned: Sequence[Planned]) -> str:
    """ "12 to create, 1 to update"; empty where there is nothing to do."""
    words = [one.word for one in planned]
    return ", ".join(f"{words.count(word)} {what}" for word, what in PLANNED.items() if word in words)


def show_planned(screen: Screen, one: Planned, aws: Clients) -> None:
    """One resource of a plan, with the command for each of its calls."""
    text = Text("    ")
    text.append(f"{one.word:<11}", style=STYLES.get(one.word, ""))
    remark = f"  (needs {one.needs})" if one.needs else f"  ({one.theirs})" if one.theirs else ""
    text.append(f"{noun_of(one.kind):<11}{name_of(one.kind, one.identity)}{remark}")
    screen.between_words(text, data=True)
    show_differences(screen, one.differences)
    for note in one.notes:
        screen.prose(INDENT, note, data=True)
    for call in one.calls:
        command = aws_command(
            call.service,
            call.operation,
            plain(call.parameters),
            region=aws.region,
            endpoint_url=aws.base_url,
            profile=aws.profile,
        )
        for line in command.splitlines():
            screen.data.print(Text(INDENT + line, style="dim"), soft_wrap=True)


def show_differences(screen: Screen, differences: Sequence[Difference]) -> None:
    """Attribute by attribute, what is found and what is wanted: data."""
    room = screen.data.width - len(INDENT) if screen.data.is_terminal else 1000
    for one in differences:
        words = LEFT if one.left else ("found", "wanted")
        for line in difference_lines(one.attribute, one.found, one.wanted, room, words):
            screen.tell(INDENT + line)
