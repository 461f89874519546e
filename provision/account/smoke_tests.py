"""The walkthrough's own tests of what was built, by every route. They check the body, as a status 200 proves nothing.

The state file keeps whether they passed for what is there now.

Each test has an item of its own in the table, with the same id in every run of a deployment, and deletes it however it
ends. So a call may be sent twice, and what a killed run left behind is deleted by the next one, or with the table.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provision.aws.answers import AnswerLost
from provision.aws.api_definition import LISTED_SECONDS, resources_of
from provision.aws.clients import Clients
from provision.aws.credentials import is_of_credentials
from provision.aws.operations import NO_ANSWER
from provision.aws.waiting import GaveUp, StillRefused
from provision.aws.web import send
from provision.settings import Settings
from provision.state.state import State
from provision.terminal import outcome

# Seconds for a message to become an item. With a cold start it takes two or three.
ARRIVAL_SECONDS = 120.0

ECHO = "test event: echo through the function"

SEE_STATUS = "python -m provision status, with the same options, says what is not as it should be;"
UPDATE_IT = "python -m provision, with them, updates it."

# Seconds in which a request that was sent twice may still create its item again.
SECOND_ITEM_SECONDS = 20.0


class SmokeTestFailed(outcome.UserError):
    """What was built does not work. Everything stays in place, so that it can be looked at."""

    code = "test-failed"


@dataclass(frozen=True)
class SmokeTest:
    """One test: its title, what it saw, and whether that is what it should be."""

    title: str
    saw: str
    passed: bool = True


def run_smoke_tests(aws: Clients, settings: Settings, state: State) -> Iterator[SmokeTest]:
    """Run all tests in order, and record which failed. At the end the first failure is raised, as it was met.

    Where the function itself fails, no message is sent to wait for.
    """
    smoke_tests: list[tuple[str, Callable[[Clients, Settings, State], str]]] = [
        (ECHO, try_echo),
        ("API Gateway's own test call: create", try_test_invoke),
        ("Invoke URL: create, then read the item from the table", try_invoke_url),
    ]
    if not settings.as_written:  # the walkthrough's handler cannot process a message (erratum 11)
        smoke_tests.append(("queue: a message becomes an item", try_queue))
    if settings.has_queue_route:
        smoke_tests.append(("queue route: a request to its URL becomes an item", try_queue_url))
    failures: list[Exception] = []
    failed: dict[str, str] = {}
    for title, smoke_test in smoke_tests:
        if smoke_test in (try_queue, try_queue_url) and ECHO in failed:
            continue  # what the function does not do when it is invoked it does for no message: that takes minutes
        try:
            with state.smoke_test(title):
                saw = smoke_test(aws, settings, state)
        except (SmokeTestFailed, GaveUp, StillRefused, AnswerLost, ClientError) as error:
            if is_of_credentials(error):
                raise  # it says nothing about what was built
            failures.append(error)
            failed[title] = error.what if isinstance(error, outcome.UserError) else str(error)
            state.note_tests(failed)  # also where the run is ended before the last test
            yield SmokeTest(title, failed[title], passed=False)
        else:
            yield SmokeTest(title, saw)
    state.note_tests(failed)
    if failures:
        raise failures[0]


class Item:
    """The item of one smoke test, the walkthrough's request for it, and whether that may have been sent twice.

    `key_id` is the id of the API key that the request has, where one is asked for.
    """

    def __init__(self, aws: Clients, settings: Settings, item_id: str, key_id: str | None) -> None:
        self.aws = aws
        self.settings = settings
        self.id = item_id
        self.key_id = key_id or "none"
        self.key = {"id": {"S": item_id}}
        self.event: dict[str, Any] = {
            "operation": "create",
            "tableName": settings.table,
            "payload": {"Item": {"id": item_id, "name": "Bob"}},
        }
        self.may_come_twice = False

    def look(self) -> dict[str, Any] | None:
        """The item as it is in the table; None if it is not there."""
        answer: dict[str, Any] = self.aws.dynamodb.get_item(
            TableName=self.settings.table,
            Key=self.key,
            ConsistentRead=True,
        )
        return answer.get("Item")

    def take_away(self) -> None:
        self.aws.dynamodb.delete_item(
            TableName=self.settings.table,
            Key=self.key,
        )

    def wait_for(self, *, budget: float) -> None:
        """Wait until the item is in the table, check it, delete it; twice if its request may have been sent twice."""
        what = f"item {self.id} in table {self.settings.table}"
        found = self.aws.waiting.poll_until(what, self.look, budget=budget, every=0.5)
        self.take_away()
        expect(found.get("name") == {"S": "Bob"}, "an item named Bob", found)
        if self.may_come_twice:
            with suppress(GaveUp):  # it did not come again
                means = "A request was made twice, as the answer to the first one was lost."
                self.aws.waiting.poll_until(f"{what} once more", self.look, budget=SECOND_ITEM_SECONDS, means=means)
                self.take_away()


@contextmanager
def item_of(aws: Clients, settings: Settings, state: State, smoke_test: str) -> Iterator[Item]:
    """This smoke test's item. It is deleted before the block, and when the block fails."""
    item = Item(aws, settings, f"trial-{state.deployment}-{smoke_test}", state.known_id("api-key"))
    if item.look() is not None:
        item.take_away()
    try:
        yield item
    except (Exception, GeneratorExit):
        # The first error is the one that is told. After Ctrl-C the item is deleted before the run ends.
        with suppress(ClientError, BotoCoreError, AnswerLost, outcome.UserError), aws.calls.clearing_up():
            item.take_away()
        raise


def try_echo(aws: Clients, settings: Settings, state: State) -> str:
    payload = {"somekey1": "somevalue1", "somekey2": "somevalue2"}

    def call() -> tuple[int, str]:
        try:
            answer = aws.lambda_.invoke(
                FunctionName=settings.function,
                Payload=json.dumps({"operation": "echo", "payload": payload}),
            )
        except aws.lambda_.exceptions.KMSAccessDeniedException as error:
            return 502, str(error)
        try:
            text = answer["Payload"].read().decode()
        except (BotoCoreError, UnicodeDecodeError) as error:
            return 0, str(error)
        if answer.get("FunctionError"):
            return 500, text
        return (200 if parsed(text) is not None else 0), text

    status, text = ask_while(
        aws,
        f"{settings.function} to answer",
        call,
        too_early=lambda status, text: status in (0, 502),
        means="Its answer was cut short, or is not the function's.",
    )
    expect(status == 200 and parsed(text) == payload, "the payload back", in_short(text))
    return "the payload came back"


def try_test_invoke(aws: Clients, settings: Settings, state: State) -> str:
    api_id, path = state.outputs("api")["id"], f"/{settings.path_part}"
    resource = aws.waiting.poll_until(
        f"resource {path} of {api_id}",
        lambda: resources_of(aws.apigateway, api_id).get(path),
        budget=LISTED_SECONDS,
        means="API Gateway's lists may lag behind.",
    )
    with item_of(aws, settings, state, "test-call") as item:

        def call() -> tuple[int, str]:
            answer = aws.apigateway.test_invoke_method(
                restApiId=api_id,
                resourceId=resource["id"],
                httpMethod="POST",
                body=json.dumps(item.event),
            )
            item.may_come_twice |= aws.calls.history[-1].repeated > 0
            return answer.get("status", 0), answer.get("body", "")

        status, text = ask_while(
            aws,
            "the function to be permitted to write",
            call,
            # 500: API Gateway does not know yet that it may invoke the function.
            too_early=lambda status, text: status in (0, *BUSY, 500) or denied(text),
            means="A policy that was just made or updated takes some seconds to be known everywhere.",
        )
        expect(
            status == 200 and created(parsed(text)), "status 200 and DynamoDB's answer", f"{status} {in_short(text)}"
        )
        item.wait_for(budget=10)
    return f"status {status}, and the item is in the table"


def try_invoke_url(aws: Clients, settings: Settings, state: State) -> str:
    url = state.outputs("stage")["url"]
    with item_of(aws, settings, state, "url") as item:
        status, text = post_until_served(aws, url, item)
        expect(
            status == 200 and created(parsed(text)), "status 200 and DynamoDB's answer", f"{status} {in_short(text)}"
        )
        item.wait_for(budget=10)
    return f"status {status}, and the item is in the table"


def try_queue(aws: Clients, settings: Settings, state: State) -> str:
    with item_of(aws, settings, state, "queue") as item:
        aws.sqs.send_message(
            QueueUrl=state.outputs("queue")["url"],
            MessageBody=json.dumps(item.event),
        )
        item.may_come_twice = aws.calls.history[-1].repeated > 0
        item.wait_for(budget=ARRIVAL_SECONDS)
    return "the item is in the table"


def try_queue_url(aws: Clients, settings: Settings, state: State) -> str:
    url = f"{state.outputs('stage')['url']}/{settings.queue_path_part}"
    with item_of(aws, settings, state, "queue-url") as item:
        status, text = post_until_served(aws, url, item)
        expect(status == 200 and "MessageId" in text, "status 200 and a MessageId", f"{status} {in_short(text)}")
        item.wait_for(budget=ARRIVAL_SECONDS)
    return f"status {status}, and the item is in the table"


def post_until_served(aws: Clients, url: str, item: Item, began: list[float] | None = None) -> tuple[int, str]:
    """POST until the stage is served: for some seconds after a deployment its URL answers 403, 404 or 500.

    `began` gets the time of each try, in seconds since 1970. Raises SmokeTestFailed where the API goes on to deny it.
    """
    denials = 0
    api_key = value_of_key(aws, item)

    def call() -> tuple[int, str]:
        nonlocal denials
        if began is not None:
            began.append(time.time())
        status, text = post(aws, url, item.event, signed=item.settings.authorization_type == "AWS_IAM", api_key=api_key)
        item.may_come_twice |= status == 0 or status > 500  # it may have arrived, and is sent again
        denials += status == 403 and "execute-api:Invoke" in text
        if denials == DENIALS:
            raise not_answered(text, item.settings.source_ips)
        return status, text

    return ask_while(
        aws,
        f"{url} to be served",
        call,
        # The queue route answers SQS's refusal as 400, until the queue's access policy is known everywhere.
        too_early=lambda status, text: (
            status in (0, *BUSY, 403, 404, 500) or (status == 400 and "AccessDenied" in text) or denied(text)
        ),
        means="A new deployment reaches API Gateway's edge in seconds.",
    )


def value_of_key(aws: Clients, item: Item) -> str:
    """The value of the API key, a secret; "" where none is asked for. Raises SmokeTestFailed where there is no key."""
    if not item.settings.needs_api_key:
        return ""
    try:
        return str(aws.apigateway.get_api_key(apiKey=item.key_id, includeValue=True)["value"])
    except aws.apigateway.exceptions.NotFoundException as error:
        raise SmokeTestFailed(
            "The API key is not there, and the URL answers nobody without it.",
            means="It was not made yet, or it was deleted since.",
            advice=(SEE_STATUS, UPDATE_IT),
        ) from error


def not_answered(text: str, source_ips: tuple[str, ...]) -> SmokeTestFailed:
    """What it means that the API denies execute-api:Invoke, in these words."""
    if source_ips and DENIED_BY_POLICY.search(text):
        return SmokeTestFailed(
            f"This machine is not in --source-ip: {in_short(text)}",
            means=f"The API answers only {', '.join(source_ips)}.",
            advice=("Run it again with this machine's network, too; or build without tests: --no-try.",),
        )
    return SmokeTestFailed(
        f"The API does not answer this caller: {in_short(text)}",
        means="The credentials that sign (--auth iam) lack execute-api:Invoke, or a policy denies it.",
        advice=("Run it again with the permission; or build without tests: --no-try.",),
    )


# https://repost.aws/knowledge-center/lambda-kmsaccessdeniedexception-errors: give the function another role and this
# one again, or make it anew. That sending the same role's ARN renews the grant is said nowhere.
NO_GRANT = "KMSAccessDenied"
# API Gateway's words where the API's own policy denies a call; that of a user or an organization is named behind them.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-examples.html
DENIED_BY_POLICY = re.compile("with an explicit deny(?! in )|with an explicit deny in a resource-based policy")
# An older deployment, with another policy, may be served for some seconds; a new permission takes as long to count.
DENIALS = 10
# What Lambda answers in the function's place. The first start may take longer than later ones, so one may pass.
TIMED_OUT = "Task timed out after"
# API Gateway: too many requests, bad gateway, service unavailable, gateway timeout.
BUSY = (429, 502, 503, 504)


def ask_while(
    aws: Clients,
    what: str,
    ask: Callable[[], tuple[int, str]],
    *,
    too_early: Callable[[int, str], bool],
    means: str,
) -> tuple[int, str]:
    """Ask until the answer, status and body, is no longer `too_early`. Raises SmokeTestFailed with the last answer."""
    last = (0, "")
    timeouts = 0

    def look() -> tuple[int, str] | None:
        nonlocal last, timeouts
        last = ask()
        timeouts += TIMED_OUT in last[1]
        if timeouts > 1:
            raise SmokeTestFailed(
                f"The function did not end in its time, twice: {in_short(last[1])}",
                means="Its first start may take longer than its timeout; the second should not.",
                advice=(SEE_STATUS, UPDATE_IT, "The REPORT lines in its log group say how long it takes."),
            )
        return None if (timeouts and TIMED_OUT in last[1]) or too_early(*last) else last

    try:
        return aws.waiting.poll_until(what, look, budget=60, means=means)
    except GaveUp as gave_up:
        if NO_GRANT in last[1]:
            raise SmokeTestFailed(
                f"The function cannot read its environment variables. {last[1]}",
                means="KMS permits that to the role that the function was made with. If this role was deleted and made "
                "again under the same name, it is another one.",
                advice=(
                    "Make the function anew: python -m teardown --back-to 5, then python -m provision, with the same "
                    "options.",
                ),
            ) from gave_up
        raise SmokeTestFailed(
            f"{gave_up.what} It last answered {last[0]} {in_short(last[1])}",
            means=f"{means} This took longer, so something else is wrong.",
            advice=(SEE_STATUS, UPDATE_IT),
        ) from gave_up


def in_short(text: str) -> str:
    """What an answer says: of a failed function its message, without the stack trace."""
    body = parsed(text)
    if isinstance(body, dict) and "errorMessage" in body:
        text = str(body["errorMessage"])
    return text if len(text) <= 400 else f"{text[:400]}..."


def post(aws: Clients, url: str, event: dict[str, Any], *, signed: bool = False, api_key: str = "") -> tuple[int, str]:
    """Status and body of a POST, an HTTP error's too. Status 0: no answer, and why."""
    try:
        status, body = send(aws, "POST", url, json.dumps(event).encode(), signed=signed, api_key=api_key)
    except NO_ANSWER as error:
        return 0, str(error)
    return status, body.decode("utf-8", "replace")


def created(body: Any) -> bool:
    """Whether the body is PutItem's answer. A failed handler answers errorMessage, with status 200, too."""
    return isinstance(body, dict) and body.get("ResponseMetadata", {}).get("HTTPStatusCode") == 200


def denied(text: str) -> bool:
    """Whether DynamoDB refused the handler. The non-proxy integration answers that with 200."""
    body = parsed(text)
    return isinstance(body, dict) and "AccessDeniedException" in str(body.get("errorMessage"))


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def expect(holds: bool, wanted: str, seen: Any) -> None:
    if not holds:
        raise SmokeTestFailed(
            f"A test of the result failed: expected {wanted}, saw {seen!r}.",
            means="Everything was built, and does not work as it should.",
            advice=("The function's log group tells what the handler saw.", "python -m provision --try tries again."),
        )
