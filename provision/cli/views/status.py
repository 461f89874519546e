"""`status`: what there is, whether it is as it should be, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from provision import STEPS
from provision.account.outcomes import ResourceOutcome
from provision.account.smoke_tests import SmokeTest
from provision.account.status import in_words
from provision.aws.call_text import aws_command
from provision.aws.clients import Clients
from provision.cli.views.build import show_cost
from provision.cli.views.plan import show_differences
from provision.cli.views.steps import show_line, whole_ones
from provision.settings import Settings
from provision.terminal.screen import INDENT, Screen
from provision.terminal.shell import program
from provision.terminal.text import kept, plural

STYLES = {
    "unchanged": "green",
    "drifted": "yellow",
    "missing": "red",
    "unknown": "yellow",
    "not built": "dim",
    "in the way": "red",
}


def show_status(
    screen: Screen,
    found: Sequence[ResourceOutcome],
    seen: Mapping[str, str],
    *,
    urls: Mapping[str, str],
    verbose: bool,
) -> None:
    """What there is: data. `urls` are what clients call, by what they are, if they are there.

    `verbose`: each resource, since when it is there, and where to see it, which `seen` has by key.
    """
    screen.tell()
    if verbose:
        for one in found:
            show_state(screen, one, seen)
    else:
        show_steps(screen, found)
    words = [one.outcome for one in found]
    screen.tell()
    screen.tell(", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) + ".")
    there = [one for one in found if one.outcome in ("unchanged", "drifted")]
    if there:
        attributes = plural(sum(one.compared for one in there), "attribute")
        screen.tell(f"Compared: {attributes} of {plural(len(there), 'resource')}.")
    made = sorted(one.since for one in there if one.since)
    if made and not verbose:
        screen.tell(f"Built:        {made[0][:10]} {made[0][11:16]} UTC")
    for what, url in urls.items():
        screen.tell(f"{what + ':':<14}{url}")


def show_steps(screen: Screen, found: Sequence[ResourceOutcome]) -> None:
    """A line for each step, as a rule; below it what is not as it should be."""
    for step in STEPS:
        told = whole_ones([one for one in found if one.step == step.name], lambda one: one.type)
        title = f"{step.number}/8 {step.title}"
        for word in dict.fromkeys(one.outcome for one in told):
            ones = [one for one in told if one.outcome == word]
            names = [f"{one.name}{f' ({content})' if (content := content_of(one)) else ''}" for one in ones]
            show_line(screen, title, word, names, data=True, style=STYLES.get(word, ""))
            title = ""
            for one in ones:
                show_differences(screen, one.changes)
                for note in one.notes:
                    screen.prose(INDENT, note, data=True)


def content_of(one: ResourceOutcome) -> str:
    """What is in it, in words."""
    return in_words(one.messages) if one.messages is not None else one.remark


def show_tested(screen: Screen, at: str | None, failed: Sequence[SmokeTest]) -> None:
    """Whether the walkthrough's tests passed for what is there: data. `at`: when they last ran; None: not since."""
    when = f", {at[:10]} {at[11:16]} UTC" if at else ""
    how = f"{len(failed)} failed" if failed else "passed" if at else "not run since the last change"
    screen.tell(f"Tests:        {how}{when}")
    for test in failed:
        screen.prose("    failed     ", test.title, data=True)
        screen.prose(INDENT, test.saw, "dim", data=True)


def dead_letters_in(queue: ResourceOutcome) -> str:
    return f"{plural(queue.messages or 0, 'message')} in {queue.name}, which the function could not process"


def show_dead_letters(screen: Screen, aws: Clients, queue: ResourceOutcome, urls: Mapping[str, str]) -> None:
    """What waits in the dead-letter queue: data. Then what to do about it. `urls` are the queues', by their keys."""
    screen.tell(f"Dead letters: {dead_letters_in(queue)}")

    def command(operation: str, **parameters: object) -> None:
        line = aws_command(
            "sqs", operation, parameters, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile
        )
        screen.keep(line.replace(" \\\n    ", " "))

    dead = urls["dead-letter-queue"]
    screen.heading("To see what failed")
    command("ReceiveMessage", QueueUrl=dead, MaxNumberOfMessages=10, VisibilityTimeout=0)
    screen.heading("To send it again, with its Body in the place of BODY; then delete it")
    command("SendMessage", QueueUrl=urls["queue"], MessageBody="BODY")
    screen.heading(f"To delete all that is in {queue.name}")
    command("PurgeQueue", QueueUrl=dead)


def show_state(screen: Screen, state: ResourceOutcome, seen: Mapping[str, str]) -> None:
    """How one resource is, since when it is there, and where to see it."""
    since = f"  {kept('since', state.since[:10], state.since[11:16], 'UTC')}" if state.since else ""
    said = content_of(state)
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
    to_build: bool = False,
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
    if to_build:
        screen.heading("To build the rest")
        screen.keep(program("provision", [*arguments, *variant]))
    if left:
        screen.heading("To test whether it works")
        screen.keep(program("provision", ["status", *arguments, *variant, "--try"]))
    screen.heading("To take everything down")
    screen.keep(program("teardown", arguments))
