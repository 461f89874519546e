"""At the end of a build: the Invoke URL, what to paste, what it costs, and how to take it down."""

from __future__ import annotations

import json

from provision import Step
from provision.account.cost import idle_sentence, use_sentence
from provision.aws.calls import Calls
from provision.aws.clients import Clients
from provision.settings import Settings
from provision.state.state import State
from provision.terminal.screen import Screen
from provision.terminal.shell import command_line, past_proxy, program, with_variables


def show_cost(screen: Screen, aws: Clients, settings: Settings) -> None:
    if aws.endpoint is None:
        screen.say(f"{idle_sentence()} {use_sentence(by_queue=settings.has_queue_route)}", "dim")
    else:
        screen.say("It costs nothing: it is not on AWS.", "dim")


def show_counts(screen: Screen, calls: Calls, seconds: float) -> None:
    """How long a run took, and how many calls."""
    screen.say()
    screen.say(f"{seconds:.1f} s, {len(calls.history)} API calls, {len(calls.writes())} of them writing.", "dim")


def show_built(screen: Screen, aws: Clients, settings: Settings, state: State, arguments: list[str]) -> None:
    """The Invoke URL, lines to paste, and how to take it all down: the last lines, and data.

    What they are for is talk, so that on stdout each line but the first is a command and nothing else.
    """
    url = state.outputs("stage")["url"]
    event = {
        "operation": "create",
        "tableName": settings.table,
        "payload": {"Item": {"id": "1", "name": "Bob"}},
    }
    ask = ["curl", "-d", json.dumps(event)]
    screen.say()
    screen.say("Anyone who knows this URL may call it (erratum 7).", "dim")
    show_cost(screen, aws, settings)
    screen.tell(f"Invoke URL:   {url}")
    screen.heading("To create Bob, paste")
    screen.tell(with_variables(past_proxy(url), [*ask, url]))
    if settings.has_queue_route:
        screen.heading("To create him by way of the queue, so that nobody waits for the function")
        screen.tell(with_variables(past_proxy(url), [*ask, f"{url}/{settings.queue_path_part}"]))
    screen.heading("To look at the table")
    screen.tell(scan_command(aws, settings))
    screen.heading("To take everything down")
    screen.tell(program("teardown", arguments))


def scan_command(aws: Clients, settings: Settings) -> str:
    """What shows the table's items: one line to paste."""
    look = ["dynamodb", "scan", "--table-name", settings.table, "--region", aws.region]
    if aws.base_url:
        any_one = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        credentials = any_one if aws.takes_any_credentials else {}
        return with_variables(past_proxy(aws.base_url) | credentials, ["aws", "--endpoint-url", aws.base_url, *look])
    return command_line(["aws", *look, *(["--profile", aws.profile] if aws.profile else [])])


def show_what_else(screen: Screen, arguments: list[str]) -> None:
    """What a learner can do with what is built."""
    screen.say()
    screen.say(
        "To follow a request through it, to see how it is, to play this lesson's run again, to have it as a page"
    )
    for words in (["trace", *arguments], ["status", *arguments], ["replay"], ["replay", "--html", "page.html"]):
        screen.keep(program("provision", words))


def show_built_to(screen: Screen, step: Step, arguments: list[str]) -> None:
    """What comes next when only some of the steps were wanted."""
    screen.heading(f"Step {step.number} of 8 is done. To go on to the end")
    screen.tell(program("provision", arguments))
    screen.heading("To take down what there is")
    screen.tell(program("teardown", arguments))
