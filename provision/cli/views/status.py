"""`status`: what there is, whether it is as it should be, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from provision.account.status import ResourceStatus
from provision.aws.clients import Clients
from provision.cli.views.build import show_cost
from provision.cli.views.plan import show_differences
from provision.record.views import note_thing
from provision.settings import Settings
from provision.state.resources import PLACES, name_of, noun_of
from provision.terminal.screen import INDENT, Screen
from provision.terminal.shell import program
from provision.terminal.text import kept

STYLES = {
    "healthy": "green",
    "drifted": "yellow",
    "missing": "red",
    "unknown": "yellow",
    "not built": "dim",
    "in the way": "red",
}


def show_status(
    screen: Screen,
    found: Sequence[ResourceStatus],
    waiting: Mapping[str, str],
    seen: Mapping[str, str],
    *,
    url: str = "",
) -> None:
    """What there is: data. `waiting` are the messages in each queue, `seen` where to see each resource, by key.

    `url` is what clients call, where that is there.
    """
    screen.tell()
    for state in found:
        show_state(screen, state, waiting, seen)
    words = [state.word for state in found]
    screen.tell()
    screen.tell(", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) + ".")
    if url:
        screen.document["invoke_url"] = url
        screen.tell(f"Invoke URL:   {url}")


def show_state(screen: Screen, state: ResourceStatus, waiting: Mapping[str, str], seen: Mapping[str, str]) -> None:
    """How one resource is, since when it is there, and where to see it."""
    more = {"messages": waiting[state.key]} if state.key in waiting else {}
    note_thing(screen, state, outcome=state.word, step=PLACES[state.key].step, since=state.since or None, **more)
    since = f"  {kept('since', state.since[:10], state.since[11:16], 'UTC')}" if state.since else ""
    remark = f"  ({waiting[state.key]})" if state.key in waiting else ""
    text = Text("    ")
    text.append(f"{state.word:<11}", style=STYLES.get(state.word, ""))
    text.append(f"{noun_of(state.kind):<11}{name_of(state.kind, state.identity)}{remark}")
    text.append(since, style="dim")
    screen.between_words(text, data=True)
    show_differences(screen, state.differences)
    for note in state.notes:
        screen.prose(INDENT, note, data=True)
    if state.key in seen:
        screen.data.print(Text(f"{INDENT}see {seen[state.key]}", style="dim"), soft_wrap=True)


def show_still_running(
    screen: Screen, aws: Clients, settings: Settings, arguments: list[str], *, to_mend: list[str]
) -> None:
    """What it costs while it is there, and how to end that; before, how to update it, where that is `to_mend`."""
    screen.say()
    show_cost(screen, aws, settings)
    if to_mend:
        screen.heading("To update what is not as it should be")
        screen.keep(program("provision", to_mend))
    screen.heading("To take everything down")
    screen.keep(program("teardown", arguments))
