"""`trace`: follow one request by each route, and say for each hop when it was there and where that time comes from.

A request has a mark, which the handler logs. The times are our own clock's for what the client sees and reads back, the
function's REPORT line, and the times that SQS puts on a message, which the handler logs. Where nothing shows a time the
hop says why.
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
"""

from __future__ import annotations

import datetime
import json
import re
import secrets
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from provision import STEPS
from provision.account.inventory import FINDS
from provision.account.smoke_tests import ARRIVAL_SECONDS, Item, created, in_short, item_of, parsed, post_until_served
from provision.aws.answers import AnswerLost
from provision.aws.api_definition import resources_of
from provision.aws.clients import Clients
from provision.aws.waiting import GaveUp
from provision.settings import Settings
from provision.state.entries import Resource
from provision.state.resources import name_of, noun_of
from provision.state.state import State
from provision.terminal import outcome

# Seconds until CloudWatch shows a line of the function. AWS publishes no figure.
LOG_SECONDS = 60.0
NO_API_LOGS = "the stage writes no logs (erratum 9)"
TEST_LOG = "TestInvokeMethod's log and latency"
# SQS's clock and ours may differ by more than a hop takes.
SKEW = "the clocks of this machine and of AWS differ by more than that"
# Seconds that an interrupted run waits for an item that is on its way, to delete it.
ON_ITS_WAY_SECONDS = 10.0
# What `--poison` sends.
POISON = re.compile(r'\{"operation": "refuse me", "trace": "trace-[0-9a-f]{12}"\}')


@dataclass(frozen=True)
class Hop:
    """One place that a request came to.

    `after`: seconds since the client sent it. `took`: seconds that this hop took of that. None: not visible, and `saw`
    says why. `source`: where the times come from.
    """

    route: str
    place: str
    after: float | None
    took: float | None
    source: str
    saw: str


@dataclass(frozen=True)
class Line:
    """A line that the handler logged about a marked request."""

    at: float  # seconds since 1970
    request_id: str
    words: str

    def number(self, name: str) -> float | None:
        found = re.search(rf"\b{name} (\d+)", self.words)
        return float(found[1]) if found else None


def not_visible(route: str, place: str, why: str) -> Hop:
    return Hop(route, place, None, None, "", f"not visible here: {why}")


def refuse_unless_built(state: State) -> None:
    """Raise UserError unless the stage is built."""
    stage = state.record("stage")
    if stage is None or stage.status != "created":
        raise outcome.UserError(
            "There is nothing to send a request to: the stage is not built.",
            means="Nothing was sent.",
            advice=("Build it with python -m provision, with the same options, then try again.",),
        )


# What a request passes. A trigger is looked at by itself, as it may be there and switched off.
PASSED = ("table", "dead-letter-queue", "queue", "function", "api", "stage")


def refuse_what_is_missing(aws: Clients, state: State) -> None:
    """Raise UserError where something is recorded that a request passes, and is not there any more."""
    entries = [entry for entry in state.standing if entry.key in PASSED and not is_there(aws, entry)]
    gone = {entry.key for entry in entries}
    entries = [entry for entry in entries if entry.parent not in gone]
    if entries:
        makers = [f"{step.number} ({step.title})" for step in STEPS if any(one.step == step.name for one in entries)]
        steps = f"step{'s' if len(makers) > 1 else ''} {', '.join(makers)}"
        raise outcome.UserError(
            f"Missing: {', '.join(f'{noun_of(one.kind)} {name_of(one.kind, one.identity)}' for one in entries)}.",
            means=f"That is what {steps} made, and it was deleted since. Nothing was sent.",
            advice=("python -m provision, with the same options, makes it again. Then trace again.",),
        )


def is_there(aws: Clients, entry: Resource) -> bool:
    if entry.kind in FINDS:
        return FINDS[entry.kind](aws, entry.identity) is not None
    try:
        aws.apigateway.get_rest_api(restApiId=entry.outputs.get("id", ""))
    except aws.apigateway.exceptions.NotFoundException:
        return False
    return True


def refuse_without_trigger(aws: Clients, state: State) -> None:
    """Raise UserError unless the trigger takes messages out of the queue: else a message would stay in it.

    https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html has the states.
    """
    try:
        mapping = aws.lambda_.get_event_source_mapping(UUID=state.outputs("trigger")["id"])
        is_now = mapping["State"].lower()
    except aws.lambda_.exceptions.ResourceNotFoundException:
        is_now = "gone"
    if is_now not in ("creating", "enabling", "enabled", "updating"):
        raise outcome.UserError(
            f"The SQS trigger is {is_now}: nobody takes messages out of the queue.",
            means="Nothing was sent.",
            advice=("python -m provision, with the same options, updates it (step 6). Then trace again.",),
        )


def follow_all(aws: Clients, settings: Settings, state: State) -> Generator[Hop, None, None]:
    """One request by each route. Their items are deleted, however it ends."""
    refuse_unless_built(state)
    refuse_what_is_missing(aws, state)
    if settings.has_queue_route:
        refuse_without_trigger(aws, state)
    with state.smoke_test("trace"):
        yield from follow_direct(aws, settings, state)
        if settings.has_queue_route:
            yield from follow_queue(aws, settings, state)


def follow_direct(aws: Clients, settings: Settings, state: State) -> Iterator[Hop]:
    route = f"POST /{settings.path_part}"
    with item_of(aws, settings, state, "trace-direct") as item:
        mark = marked(item)
        url = state.outputs("stage")["url"]
        sent, answered, status = post_once(aws, url, item, lambda text: created(parsed(text)))
        yield Hop(route, "client", 0.0, answered - sent, "own clock", f"status {status}, with the function's result")
        seen = table_hop(aws, route, item, sent)  # before the wait for the log, which takes seconds
        yield test_call(aws, settings, state, route)
        line = line_about(aws, settings, mark, sent)
        yield function_hop(aws, settings, route, line, sent)
        yield seen


def test_call(aws: Clients, settings: Settings, state: State, route: str) -> Hop:
    """A request does not show how long API Gateway took. The log of a test call does, here of a ping.

    https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeMethod.html
    """
    api_id = state.outputs("api")["id"]
    resource = resources_of(aws.apigateway, api_id).get(f"/{settings.path_part}")
    if resource is None:
        return not_visible(route, "API Gateway", NO_API_LOGS)
    answer = aws.apigateway.test_invoke_method(
        restApiId=api_id,
        resourceId=resource["id"],
        httpMethod="POST",
        body=json.dumps({"operation": "ping"}),
    )
    seconds = answer.get("latency", 0) / 1000
    ping = f"a ping by its Test tab took {seconds:.3f} s, {share_of_function(answer.get('log') or '')}"
    return Hop(route, "API Gateway", None, None, TEST_LOG, f"not visible here: {NO_API_LOGS}; to compare, {ping}")


def share_of_function(log: str) -> str:
    """The function's share of a test call, by its log. The log's format is not documented, so it may be missing."""
    waited = re.search(r"Integration latency: (\d+) ms", log)
    return f"{int(waited[1]) / 1000:.3f} s of it the function" if waited else "function included"


def follow_queue(aws: Clients, settings: Settings, state: State) -> Iterator[Hop]:
    route = f"POST /{settings.path_part}/{settings.queue_path_part}"
    with item_of(aws, settings, state, "trace-queue") as item:
        mark = marked(item)
        url = f"{state.outputs('stage')['url']}/{settings.queue_path_part}"
        sent, answered, status = post_once(aws, url, item, lambda text: "MessageId" in text)
        with on_its_way(aws, item):
            saw = f"status {status}, with a message id: the client is free again"
            yield Hop(route, "client", 0.0, answered - sent, "own clock", saw)
            yield not_visible(route, "API Gateway", NO_API_LOGS)
            try:
                seen = table_hop(aws, route, item, sent, budget=ARRIVAL_SECONDS)
            except GaveUp as gave_up:
                raise did_not_arrive(aws, settings, mark, sent) from gave_up
        line = line_about(aws, settings, mark, sent)
        yield from queue_hops(route, line, sent)
        yield function_hop(aws, settings, route, line, sent)
        yield seen


@contextmanager
def on_its_way(aws: Clients, item: Item) -> Iterator[None]:
    """Inside the block a message is to become the item. After Ctrl-C wait a little for the item, and delete it."""
    try:
        yield
    except (outcome.Interrupted, GeneratorExit) as stop:
        came = False
        with suppress(ClientError, BotoCoreError, AnswerLost, outcome.UserError), aws.calls.clearing_up():
            aws.waiting.poll_until("what was sent, to take it away", item.look, budget=ON_ITS_WAY_SECONDS, every=0.5)
            came = True
        if not came and isinstance(stop, outcome.UserError):
            raise stop.with_words(
                means=f"What was sent is on its way, and may still become item {item.id} of table "
                f"{item.settings.table}. The next trace takes that away, and so does teardown."
            ) from stop
        raise


def did_not_arrive(aws: Clients, settings: Settings, mark: str, sent: float) -> outcome.UserError:
    """What is known of a message that did not become an item: did the function receive it, and what did it log?"""
    lines: list[Line] = []
    said: list[str] = []
    with suppress(ClientError):
        lines = list(lines_with(aws, settings, mark, sent))
        ids = {line.request_id for line in lines}
        parts = [text.rstrip("\n").split("\t", 3) for _, text in log_lines(aws, settings, sent)]
        said = [part[3] for part in parts if len(part) == 4 and part[2] in ids and " failed: " in part[3]]
    means = "The function's log does not show that it received the message, which then waits in the queue."
    if lines:
        count = max(line.number("receive") or 1 for line in lines)
        means = f"The function received the message {'once' if count == 1 else f'{count:.0f} times'}."
        if said:
            means += f" Its log says: {said[-1]}"
    seconds = f"{ARRIVAL_SECONDS:.0f}"
    return outcome.UserError(
        f"The request came into the queue, and no item into the table within {seconds} s.",
        means=f"{means} If it becomes an item later, the next trace takes that away.",
        advice=(
            "python -m provision status, with the same options, says what is not as it should be;",
            "python -m provision, with them, updates it.",
        ),
    )


def marked(item: Item) -> str:
    """Put a mark on the request that makes an item; the mark."""
    mark = f"trace-{secrets.token_hex(6)}"
    item.event["trace"] = mark
    return mark


def post_once(aws: Clients, url: str, item: Item, is_good: Callable[[str], bool]) -> tuple[float, float, int]:
    """When the last try was sent and answered, in seconds since 1970; and the status.

    A failed function has status 200, too: `is_good` looks at the body.
    """
    began: list[float] = []
    status, text = post_until_served(aws, url, item, began)
    if status != 200 or not is_good(text):
        raise outcome.UserError(
            f"The request was answered with {status}: {in_short(text)}",
            means="What was to be followed did not get through. Nothing of it is left.",
            advice=("python -m provision --try tests each part, and updates what is not as it should be.",),
        )
    return began[-1], time.time(), status


def queue_hops(route: str, line: Line | None, sent: float) -> Iterator[Hop]:
    """When the message came into the queue, and when Lambda received it, as the handler logs it."""
    if line is None:
        for place in ("queue", "trigger"):
            yield not_visible(route, place, "the handler's log does not show the message")
        return
    entered, received, count = (line.number(name) for name in ("sent", "first received", "receive"))
    if entered is None or received is None:
        yield not_visible(route, "queue", "the handler logs no times of the message")
        return
    source = "SQS, as the handler logs it"
    yield clocked(Hop(route, "queue", entered / 1000 - sent, None, source, "the message is in the queue"))
    saw = f"Lambda received it; receive {count:.0f}" if count else "Lambda received it"
    yield clocked(Hop(route, "trigger", received / 1000 - sent, (received - entered) / 1000, source, saw))


def clocked(hop: Hop) -> Hop:
    """A hop with a time of AWS's clock. A time before the request was sent is left out."""
    if hop.after is not None and hop.after < 0:
        return Hop(hop.route, hop.place, None, hop.took, hop.source, f"{hop.saw}; when is not visible here: {SKEW}")
    return hop


def function_hop(aws: Clients, settings: Settings, route: str, line: Line | None, sent: float) -> Hop:
    if line is None:
        why = "its log shows no line with the mark"
        if settings.as_written:
            why = "the walkthrough's handler logs nothing"
        return not_visible(route, "function", why)
    report = report_of(aws, settings, line, sent)
    source = "its log, and the REPORT line" if report else "its log"
    took = re.search(r"Duration: ([\d.]+) ms", report)
    cold = re.search(r"Init Duration: ([\d.]+) ms", report)
    saw = "the handler ran" + (f", after {float(cold[1]) / 1000:.2f} s of cold start" if cold else "")
    return clocked(Hop(route, "function", line.at - sent, float(took[1]) / 1000 if took else None, source, saw))


def table_hop(aws: Clients, route: str, item: Item, sent: float, *, budget: float = 10) -> Hop:
    """Read the item back, then delete it."""
    if item.look() is None:
        aws.waiting.poll_until(f"item {item.id} in table {item.settings.table}", item.look, budget=budget, every=0.2)
    after = time.time() - sent
    item.take_away()
    return Hop(route, "table", after, None, "own clock, reading back", "the item is there; it is taken away again")


# The function's log.


def line_about(
    aws: Clients,
    settings: Settings,
    mark: str,
    since: float,
    *,
    receive: int | None = None,
    within: float = LOG_SECONDS,
) -> Line | None:
    """The handler's line with this mark, once the log shows it; None if it does not come or may not be read.

    `receive`: the line of this receive of the message.
    """

    def look() -> Line | None:
        for line in lines_with(aws, settings, mark, since):
            if receive is None or line.number("receive") == receive:
                return line
        return None

    if settings.as_written:
        return None
    what, means = "the function's log", "CloudWatch shows it late."
    if receive is not None:
        what = f"receive {receive} in the function's log"
        if receive > 1:
            means = f"A message comes back when its visibility timeout is over. {means}"
    try:
        return aws.waiting.poll_until(what, look, budget=within, means=means)
    except GaveUp:
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDeniedException", "ResourceNotFoundException"):
            return None
        raise


def report_of(aws: Clients, settings: Settings, line: Line, since: float) -> str:
    """The REPORT line of the invocation that logged `line`; "" if it does not come."""
    wanted = f"REPORT RequestId: {line.request_id}"

    def look() -> str | None:
        return next((text for _, text in log_lines(aws, settings, since) if text.startswith(wanted)), None)

    try:
        return aws.waiting.poll_until("the function's REPORT line", look, budget=LOG_SECONDS / 2)
    except GaveUp:
        return ""


def lines_with(aws: Clients, settings: Settings, mark: str, since: float) -> Iterator[Line]:
    """What the handler logged with this mark.

    Lambda's Python runtimes log [INFO], time, request id and message, with tabs between. That time is the handler's;
    the log's own is later.
    """
    for at, text in log_lines(aws, settings, since):
        parts = text.rstrip("\n").split("\t", 3)
        if mark in text and len(parts) == 4:
            with suppress(ValueError):
                at = datetime.datetime.fromisoformat(parts[1].replace("Z", "+00:00")).timestamp()
            yield Line(at, parts[2], parts[3])


def log_lines(aws: Clients, settings: Settings, since: float) -> Iterator[tuple[float, str]]:
    """What the function logged since then, in any stream: each line with its time, in seconds since 1970.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
    """
    paginator = aws.logs.get_paginator("filter_log_events")
    for page in paginator.paginate(logGroupName=settings.log_group, startTime=int((since - 60) * 1000)):
        for event in page["events"]:
            yield event["timestamp"] / 1000, event["message"]


# A message that the handler must refuse.


def poison_takes(aws: Clients, state: State) -> tuple[int, int]:
    """The queue's maxReceiveCount and VisibilityTimeout: how often the message is received, and the seconds between."""
    refuse_unless_built(state)
    refuse_what_is_missing(aws, state)
    attributes = aws.sqs.get_queue_attributes(
        QueueUrl=state.outputs("queue")["url"],
        AttributeNames=["VisibilityTimeout", "RedrivePolicy"],
    )["Attributes"]
    if "RedrivePolicy" not in attributes or state.record("dead-letter-queue") is None:
        raise outcome.UserError(
            "There is no dead-letter queue: a message that is refused would come back for four days.",
            means="Nothing was sent.",
            advice=("Build without --as-written to have one (erratum 12), then try again.",),
        )
    return int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]), int(attributes["VisibilityTimeout"])


def follow_poison(aws: Clients, settings: Settings, state: State) -> Generator[Hop, None, None]:
    """Send a message that the handler refuses, show each receive, and delete it from the dead-letter queue."""
    receives, pause = poison_takes(aws, state)
    refuse_without_trigger(aws, state)
    route, mark = "a message that is refused", f"trace-{secrets.token_hex(6)}"
    with state.smoke_test("trace"):
        sent = time.time()
        message_id = aws.sqs.send_message(
            QueueUrl=state.outputs("queue")["url"],
            MessageBody=json.dumps({"operation": "refuse me", "trace": mark}),
        )["MessageId"]
        try:
            yield Hop(route, "queue", time.time() - sent, None, "own clock", f"message {message_id} is sent")
            for number in range(1, receives + 1):
                line = line_about(aws, settings, mark, sent, receive=number, within=LOG_SECONDS + pause)
                yield refused_hop(route, line, number, sent)
            # If the log could not be read, all its receives are still to come.
            until_then = max(receives * pause - (time.time() - sent), 0.0)
            went = take_from_dead_letters(aws, state, message_id, budget=until_then + 60.0 + pause * 2)
        except (Exception, GeneratorExit) as error:
            remains = False
            with suppress(outcome.UserError), aws.calls.clearing_up():
                remains = take_from_dead_letters(aws, state, message_id, budget=1.0) is None
            if remains and isinstance(error, outcome.UserError):
                raise error.with_words(
                    means=f"Message {message_id} is still in the queue, where only the function may take it. Received "
                    f"{receives} times, it goes to the dead-letter queue. The next trace --poison takes it away there, "
                    "and so does teardown."
                ) from error
            raise
        if went is None:
            raise outcome.UserError(
                f"Message {message_id} did not come to the dead-letter queue.",
                means="It is in one of the two queues still, and does no harm there.",
                advice=("Teardown removes both queues with what is in them.",),
            )
        yield Hop(route, "dead-letter queue", went - sent, None, "own clock", "it was there; it is taken away again")


def refused_hop(route: str, line: Line | None, number: int, sent: float) -> Hop:
    if line is None:
        return not_visible(route, f"receive {number}", "the handler's log does not show it")
    return clocked(Hop(route, f"receive {number}", line.at - sent, None, "the handler's log", "the handler refused it"))


def take_from_dead_letters(aws: Clients, state: State, message_id: str, *, budget: float) -> float | None:
    """Delete our message from the dead-letter queue. When it was seen there; None if it never was.

    What an interrupted trace left there is deleted, too. The look hides others' messages for one second.
    """
    url = state.outputs("dead-letter-queue")["url"]

    def look() -> Any:
        answer = aws.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=1,
        )
        ours = None
        for message in answer.get("Messages", []):
            if message["MessageId"] == message_id:
                ours = message
            elif POISON.fullmatch(message["Body"]):
                aws.sqs.delete_message(
                    QueueUrl=url,
                    ReceiptHandle=message["ReceiptHandle"],
                )
        return ours

    with suppress(ClientError, BotoCoreError, AnswerLost, GaveUp):
        message = aws.waiting.poll_until("the message in the dead-letter queue", look, budget=budget)
        seen = time.time()
        aws.sqs.delete_message(
            QueueUrl=url,
            ReceiptHandle=message["ReceiptHandle"],
        )
        return seen
    return None
