"""`status`: what there is, whether it is as it should be, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from provision.account.outcomes import ResourceOutcome
from provision.account.status import in_words
from provision.aws.clients import Clients
from provision.cli.views.build import show_cost
from provision.cli.views.plan import show_differences
from provision.settings import Settings
from provision.terminal.screen import INDENT, Screen
from provision.terminal.shell import program
from provision.terminal.text import kept, plural

STYLES = {
    "healthy": "green",
    "drifted": "yellow",
    "missing": "red",
    "unknown": "yellow",
    "not built": "dim",
    "in the way": "red",
}


def show_status(screen: Screen, found: Sequence[ResourceOutcome], seen: Mapping[str, str], *, url: str = "") -> None:
    """What there is: data. `seen` is where to see each resource, by key; `url` what clients call, if it is there."""
    screen.tell()
    for one in found:
        show_state(screen, one, seen)
    words = [one.outcome for one in found]
    screen.tell()
    screen.tell(", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) + ".")
    there = [one for one in found if one.outcome in ("healthy", "drifted")]
    if there:
        attributes = plural(sum(one.compared for one in there), "attribute")
        screen.tell(f"Compared: {attributes} of {plural(len(there), 'resource')}.")
    if url:
        screen.tell(f"Invoke URL:   {url}")


def show_state(screen: Screen, state: ResourceOutcome, seen: Mapping[str, str]) -> None:
    """How one resource is, since when it is there, and where to see it."""
    since = f"  {kept('since', state.since[:10], state.since[11:16], 'UTC')}" if state.since else ""
    said = in_words(state.messages) if state.messages is not None else state.remark
    remark = f"  ({said})" if said else ""
    text = Text("    ")
    text.append(f"{state.outcome:<11}", style=STYLES.get(state.outcome, ""))
    text.append(f"{state.noun:<11}{state.name}{remark}")
    text.append(since, style="dim")
    screen.between_words(text, data=True)
    show_differences(screen, state.changes)
    for note in state.notes:
        screen.prose(INDENT, note, data=True)
    if state.key in seen:
        screen.data.print(Text(f"{INDENT}see {seen[state.key]}", style="dim"), soft_wrap=True)


def show_still_running(
    screen: Screen,
    aws: Clients,
    settings: Settings,
    arguments: list[str],
    *,
    variant: Sequence[str] = (),
    to_update: bool = False,
    left: bool = False,
) -> None:
    """What it costs while it is there, and how to end that.

    Before, where a run has something `to_update`, how; where it would leave something, how to see whether it works.
    """
    screen.say()
    if aws.endpoint is None:
        show_cost(screen, settings)
    if to_update:
        screen.heading("To update what is not as it should be")
        screen.keep(program("provision", [*arguments, *variant]))
    if left:
        screen.heading("To test whether it works with what a run leaves as it is")
        screen.keep(program("provision", ["status", *arguments, *variant, "--try"]))
    screen.heading("To take everything down")
    screen.keep(program("teardown", arguments))
