"""At the end of a build: whether it works, the Invoke URL, what to paste, and how to take it down."""

from __future__ import annotations

import json
import sys

from provision import Step
from provision.account.cost import cost_sentences
from provision.aws.calls import Calls
from provision.aws.clients import THROW_AWAY, Clients
from provision.aws.console_links import look_command
from provision.aws.credentials import export_command
from provision.aws.sandbox_process import PLAIN_AWS
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
    screen.say(cost_sentences(settings), "dim")


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
        screen.say(who_may_call(settings), "yellow" if settings.is_open else "dim")
        show_cost(screen, settings)
    show_to_paste(screen, aws, settings, state)
    screen.heading("Read how it was made, step by step")
    screen.tell(program("provision", [*arguments, "--step"]))
    screen.heading("Take it down. After that the same pages are a lesson, in which you build it")
    screen.tell(program("teardown", arguments))


def who_may_call(settings: Settings) -> str:
    """In one sentence, who gets an answer from the URL."""
    where = f" from {', '.join(settings.source_ips)}" if settings.source_ips else ""
    if settings.authorization_type == "AWS_IAM":
        return f"Only requests{where} that are signed by who has execute-api:Invoke are answered."
    if settings.needs_api_key:
        return f"Only requests{where} with the API key are answered. A key says whose limit counts, not who calls."
    if where:
        return f"Whoever calls this URL{where} is answered."
    return (
        "Anyone who knows the Invoke URL may call it, and you pay for each call (erratum 7). --source-ip and "
        "--auth say who may."
    )


def show_to_paste(screen: Screen, aws: Clients, settings: Settings, state: State) -> None:
    """The Invoke URL, and a request by each route."""
    url = state.outputs("stage")["url"]
    screen.tell(f"Invoke URL:   {url}")
    screen.say(POST_ONLY, "dim")
    if settings.authorization_type == "AWS_IAM" and not has_keys_at_hand(aws):
        screen.heading("These requests are signed with credentials from the environment. To put yours there")
        screen.tell(export_command(aws.profile, windows=sys.platform == "win32"))
    if settings.needs_api_key:
        screen.heading("These requests need the API key. To read its value into a variable")
        screen.tell(read_key(aws, state.outputs("api-key")["id"]))
    screen.heading("Create Bob. The answer has HTTPStatusCode 200")
    screen.tell(curl(url, aws, settings, "create", {"Item": {"id": "1", "name": "Bob"}}))
    by_queue = queue_route_url(settings, url)
    if by_queue:
        screen.heading("Create Rob, by way of the queue. The answer has a MessageId")
        screen.tell(curl(by_queue, aws, settings, "create", {"Item": {"id": "2", "name": "Rob"}}))
    screen.heading("See what is in the table: Bob, and a moment later Rob")
    screen.tell(curl(url, aws, settings, "list", {}))


def curl(url: str, aws: Clients, settings: Settings, operation: str, payload: dict[str, object]) -> str:
    """A request to the handler: one line to paste. Where it must be signed, curl does that.

    https://curl.se/docs/manpage.html#--aws-sigv4
    """
    event = {"operation": operation, "tableName": settings.table, "payload": payload}
    signing = ["--aws-sigv4", f"aws:amz:{aws.region}:execute-api"] if settings.authorization_type == "AWS_IAM" else []
    line = with_variables(past_proxy(url), ["curl", *signing, "-w", "\\n", "-d", json.dumps(event), url])
    if settings.needs_api_key:
        return f"{line} {with_key()}"
    return f"{line} {signed_by(aws)}" if signing else line


def read_key(aws: Clients, key_id: str, *, windows: bool = sys.platform == "win32") -> str:
    """The command that puts the value of the API key into the variable KEY. The value itself is nowhere shown.

    cmd has no other way to take what a command says; in a file its percent signs are doubled.
    """
    look = ("apigateway", "GetApiKey", {"apiKey": key_id, "includeValue": True})
    shown = look_command([look], {}, region=aws.region, endpoint_url=aws.base_url, profile=aws.profile)
    command = f"{shown} --query value --output text"
    if windows:
        return f"for /f %i in ('{command}') do set KEY=%i"
    return f"KEY=$({' '.join([*keys_at_hand(aws), command])})"


def keys_at_hand(aws: Clients) -> list[str]:
    """The variables with the credentials of a sandbox or another local endpoint; elsewhere the caller has their own."""
    if aws.is_sandbox:
        secret = aws.sandbox_key or PLAIN_AWS["AWS_SECRET_ACCESS_KEY"]
        return [f"AWS_ACCESS_KEY_ID={PLAIN_AWS['AWS_ACCESS_KEY_ID']}", f"AWS_SECRET_ACCESS_KEY={secret}"]
    if aws.credentials_from.startswith(THROW_AWAY):
        return ["AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing"]
    return []


def with_key(*, windows: bool = sys.platform == "win32") -> str:
    """curl's option with the API key, from the variable KEY, as a line is kept and shown."""
    return '-H "x-api-key: %KEY%"' if windows else '-H "x-api-key: $KEY"'


def has_keys_at_hand(aws: Clients) -> bool:
    """Whether the line that `signed_by` writes signs as this caller: with known keys, or those of the environment."""
    return aws.is_sandbox or aws.credentials_from == "env" or aws.credentials_from.startswith(THROW_AWAY)


def signed_by(aws: Clients, *, windows: bool = sys.platform == "win32") -> str:
    """curl's options with the credentials to sign with: those of the environment, as a line is kept and shown."""
    if aws.is_sandbox:
        return f"--user {PLAIN_AWS['AWS_ACCESS_KEY_ID']}:{aws.sandbox_key or PLAIN_AWS['AWS_SECRET_ACCESS_KEY']}"
    if aws.credentials_from.startswith(THROW_AWAY):
        return "--user testing:testing"
    written = "%{}%".format if windows else "${}".format
    key, secret, token = map(written, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
    return f'--user "{key}:{secret}" -H "X-Amz-Security-Token: {token}"'


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
