"""At the end of a build: whether it works, the Invoke URL, what to paste, and how to take it down."""

from __future__ import annotations

import json

from provision import Step
from provision.account.cost import idle_sentence, use_sentence
from provision.aws.calls import Calls
from provision.aws.clients import Clients
from provision.cli.results import Result
from provision.errata import ERRATA
from provision.settings import Settings, queue_route_url
from provision.state.state import State
from provision.terminal.screen import Screen
from provision.terminal.shell import past_proxy, program, with_variables
from provision.terminal.text import plural

POST_ONLY = "It takes POST only. A browser sends GET, and is refused with 403."


def show_cost(screen: Screen, settings: Settings) -> None:
    """What it costs on AWS."""
    screen.say(f"{idle_sentence()} {use_sentence(by_queue=settings.has_queue_route)}", "dim")


def show_counts(screen: Screen, calls: Calls, seconds: float) -> None:
    """How long a run took, and how many calls."""
    screen.say()
    screen.say(f"{seconds:.1f} s, {len(calls.history)} API calls, {len(calls.writes())} of them writing.", "dim")


def show_end(screen: Screen, result: Result, settings: Settings, seconds: float, *, left: int) -> None:
    """How the build ended: whether it works, as far as that was tested, and how it differs from the walkthrough.

    `left`: how many attributes have drifted and were left.
    """
    created = any(one.outcome == "created" for one in result.resources)
    changed = any(one.outcome != "unchanged" for one in result.resources)
    done = "Built" if created else "Updated"
    screen.say()
    if left:
        screen.say(f"Left as found, as it may be intended: {plural(left, 'attribute')} not at AWS's default.", "yellow")
    if result.tests:
        what = f"{done} and" if changed else "Nothing was changed;"
        screen.say(f"It works. {what} tested in {seconds:.1f} s.", "bold green")
    elif changed:
        screen.say(f"{done} in {seconds:.1f} s.", "bold green")
    elif not left:
        screen.say(f"Nothing to do: all {len(result.resources)} resources are as the steps set them.", "bold green")
    if created and result.invoke_url:
        count = sum(bool(one.as_written) for one in ERRATA)
        what = "would change" if settings.as_written else "change"
        screen.say(f"{count} of the walkthrough's {len(ERRATA)} errata {what} what is built. What they are:", "dim")
        screen.keep(program("provision", ["errata"]), "dim")


def show_built(screen: Screen, aws: Clients, settings: Settings, state: State, arguments: list[str]) -> None:
    """The Invoke URL, lines to paste, and how to take it all down: the last lines, and data.

    What they are for is talk, so that on stdout each line but the first is a command and nothing else.
    """
    screen.say()
    if aws.endpoint is None:
        screen.say("Anyone who knows this URL may call it (erratum 7).", "dim")
        show_cost(screen, settings)
    show_to_paste(screen, settings, state)
    screen.heading("Go through it step by step, as a lesson")
    screen.tell(program("provision", [*arguments, "--step"]))
    screen.heading("Take it down")
    screen.tell(program("teardown", arguments))


def show_to_paste(screen: Screen, settings: Settings, state: State) -> None:
    """The Invoke URL, and a request by each route."""
    url = state.outputs("stage")["url"]
    screen.tell(f"Invoke URL:   {url}")
    screen.say(POST_ONLY, "dim")
    screen.heading("Create Bob. The answer has HTTPStatusCode 200")
    screen.tell(curl(url, settings, "create", {"Item": {"id": "1", "name": "Bob"}}))
    by_queue = queue_route_url(settings, url)
    if by_queue:
        screen.heading("Create Rob, by way of the queue. The answer has a MessageId")
        screen.tell(curl(by_queue, settings, "create", {"Item": {"id": "2", "name": "Rob"}}))
    screen.heading("See what is in the table: Bob, and a moment later Rob")
    screen.tell(curl(url, settings, "list", {}))


def curl(url: str, settings: Settings, operation: str, payload: dict[str, object]) -> str:
    """A request to the handler: one line to paste."""
    event = {"operation": operation, "tableName": settings.table, "payload": payload}
    return with_variables(past_proxy(url), ["curl", "-w", "\\n", "-d", json.dumps(event), url])


def show_built_to(screen: Screen, step: Step, arguments: list[str], *, is_whole: bool) -> None:
    """What comes next when only some of the steps were wanted. `is_whole`: the others were built before."""
    if is_whole:
        screen.heading(f"Step {step.number} of 8 is done, and the steps after it were done before. To see how they are")
        screen.tell(program("provision", ["status", *arguments]))
    else:
        screen.heading(f"Step {step.number} of 8 is done. To go on to the end")
        screen.tell(program("provision", arguments))
    screen.heading("To take down what there is")
    screen.tell(program("teardown", arguments))
