"""`trace` follows a request to every hop, says where its times come from, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import provision.__main__
from provision.account import request_trace
from provision.account.request_trace import Hop, Line, clocked, queue_hops, share_of_function
from provision.aws.calls import Calls
from provision.cli import trace
from provision.record.recording import read, transcripts_in
from provision.terminal import outcome
from provision.terminal.screen import Screen
from sandbox import Sandbox
from tests.rig.clock import eventually
from tests.rig.command_line import CommandLine, Ended, refuse, run

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"f{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def follow(deployment: CommandLine, *arguments: str) -> Ended:
    return run(provision.__main__.provision, "provision", "trace", *deployment.where, *arguments)


def hops(deployment: CommandLine) -> list[Hop]:
    """As the transcript of the last run has them."""
    names = Hop.__dataclass_fields__
    events = read(transcripts_in(deployment.path.parent)[-1]).of("hop")
    return [Hop(**{name: event[name] for name in names}) for event in events]


def items_and_messages(deployment: CommandLine) -> tuple[int, int]:
    names = deployment.settings
    items = deployment.aws.dynamodb.scan(TableName=names.table)["Count"]
    messages = 0
    for name in (names.queue, names.dead_letter_queue):
        url = deployment.aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        counts = deployment.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        messages += int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])
    return items, messages


def test_each_hop_is_shown_in_its_order_with_a_time(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    ended = follow(deployment)
    assert ended.code == outcome.DONE, ended.said
    seen = hops(deployment)
    direct = [hop for hop in seen if hop.route == "POST /dynamodbmanager"]
    queued = [hop for hop in seen if hop.route == "POST /dynamodbmanager/queue"]
    assert [hop.place for hop in direct] == ["client", "API Gateway", "function", "table"]
    assert [hop.place for hop in queued] == ["client", "API Gateway", "queue", "trigger", "function", "table"]
    for route in (direct, queued):
        assert route[0].after == 0 and (route[0].took or 0) > 0
        assert "not visible here" in route[1].saw and "erratum 9" in route[1].saw
        assert route[-1].after is not None and route[-1].after < 30
    client, gateway, function, _ = direct
    compared = re.search(r"took ([\d.]+) s, ([\d.]+) s of it the function", gateway.saw)
    assert compared and 0 < float(compared[2]) <= float(compared[1])
    assert share_of_function("Execution log for request 1\n") == "function included"
    assert client.took is not None and function.took is not None
    assert 0 < function.took < client.took  # the client waited for the function
    times = [hop.after for hop in queued[2:] if hop.after is not None]
    assert len(times) == 4
    # The function's line is written when its item is in the table already.
    assert times[0] <= times[1] <= min(times[2:])
    assert "status 200" in ended.told and "REPORT line" in ended.told  # what was asked for: data
    assert ended.told.count("POST /dynamodbmanager\n") == ended.told.count("POST /dynamodbmanager/queue\n") == 1
    assert items_and_messages(deployment) == (0, 0)
    assert ended.writes.count("SendMessage") == 0  # both went through the API, as a client's would


@pytest.mark.slow
def test_a_log_that_may_not_be_read_is_not_visible_and_says_so(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")
    deployment.on_connect = lambda aws: refuse(aws, "logs", "FilterLogEvents")
    ended = follow(deployment)
    assert ended.code == outcome.DONE
    dark = [hop for hop in hops(deployment) if hop.after is None and hop.place in ("function", "queue", "trigger")]
    assert len(dark) == 4
    assert all("not visible here" in hop.saw and hop.took is None for hop in dark)
    eventually(lambda: items_and_messages(deployment) == (0, 0))  # without the log nothing waits for the function


def test_what_a_request_would_miss_is_named_with_the_step_that_makes_it(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    names, aws = deployment.settings, deployment.aws
    url = aws.sqs.get_queue_url(QueueName=names.queue)["QueueUrl"]
    aws.sqs.delete_queue(QueueUrl=url)
    ended = follow(deployment)
    assert ended.code == outcome.LEFT
    assert f"Missing: queue {names.queue}. What it means: That is what step 4 (Queue) made" in ended.flat
    aws.dynamodb.delete_table(TableName=names.table)
    aws.lambda_.delete_function(FunctionName=names.function)
    aws.apigateway.delete_rest_api(restApiId=deployment.outputs("api")["id"])
    ended = follow(deployment)
    missing = f"Missing: table {names.table}, queue {names.queue}, function {names.function}, REST API {names.api}."
    makers = "steps 3 (Table), 4 (Queue), 5 (Function), 7 (REST API)"
    assert f"{missing} What it means: That is what {makers} made" in ended.flat
    assert ended.writes == []


def test_the_mark_is_found_in_whichever_stream_it_is(deployment: CommandLine) -> None:
    aws, group = deployment.connect(), deployment.settings.log_group
    now = time.time()
    deployment.aws.logs.create_log_group(logGroupName=group)
    for number in range(12):
        name, at = f"stream-{number}", int(now * 1000) + number
        said = f"[INFO]\t2026-01-01T00:00:00Z\tid-{number}\t{'trace-it' if number == 0 else 'another'} came directly\n"
        deployment.aws.logs.create_log_stream(logGroupName=group, logStreamName=name)
        deployment.aws.logs.put_log_events(
            logGroupName=group, logStreamName=name, logEvents=[{"timestamp": at, "message": said}]
        )
    found = list(request_trace.lines_with(aws, deployment.settings, "trace-it", now))
    assert [line.request_id for line in found] == ["id-0"], "the eleven other streams have later lines"
    assert [call.operation for call in aws.calls.history] == ["GetCallerIdentity", "FilterLogEvents"]


@pytest.mark.slow
def test_as_written_has_one_route_and_a_handler_that_logs_nothing(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try", "--as-written")
    ended = follow(deployment, "--as-written")
    assert ended.code == outcome.DONE, ended.said
    assert [hop.place for hop in hops(deployment)] == ["client", "API Gateway", "function", "table"]
    assert "the walkthrough's handler logs nothing" in ended.told
    refused = follow(deployment, "--as-written", "--poison")
    assert refused.code == outcome.LEFT and "no dead-letter queue" in refused.flat


def test_poison_shows_each_receive_and_is_taken_out_of_the_dead_letter_queue(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")
    sqs, names = deployment.aws.sqs, deployment.settings
    queue = sqs.get_queue_url(QueueName=names.queue)["QueueUrl"]
    dead = sqs.get_queue_url(QueueName=names.dead_letter_queue)["QueueUrl"]
    target = json.loads(
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    )
    policy = json.dumps({**target, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "3", "RedrivePolicy": policy})
    somebodys = sqs.send_message(QueueUrl=dead, MessageBody="somebody's")["MessageId"]
    interrupted = json.dumps({"operation": "refuse me", "trace": "trace-0123456789ab"})
    sqs.send_message(QueueUrl=dead, MessageBody=interrupted)  # what an interrupted trace has left goes, too
    show_hop, begun = trace.show_hop, []

    def note_the_first(screen: Screen, **hop: Any) -> None:
        begun.extend([] if begun else [" ".join(screen.talk.file.getvalue().split())])  # type: ignore[attr-defined]
        show_hop(screen, **hop)

    monkeypatch.setattr(trace, "show_hop", note_the_first)
    ended = follow(deployment, "--poison")
    assert ended.code == outcome.DONE, ended.said
    assert "received 2 times, 3 s apart: about 6 s" in begun[0], "how long it takes is said before anything is sent"
    assert "is sent" in ended.told
    places = [hop.place for hop in hops(deployment)]
    assert places == ["queue", "receive 1", "receive 2", "dead-letter queue"]
    first, second = hops(deployment)[1:3]
    # Three seconds from receive to receive; the first one's line comes after a cold start, which takes some of them.
    assert first.after is not None and second.after is not None and second.after - first.after >= 1
    assert second.after >= 3
    left = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=3)["Messages"]
    assert [message["MessageId"] for message in left] == [somebodys]  # ours is gone, somebody's is not
    sqs.purge_queue(QueueUrl=dead)


def test_where_nothing_is_built_nothing_is_sent(deployment: CommandLine) -> None:
    ended = follow(deployment)
    assert ended.code == outcome.LEFT and "the stage is not built" in ended.flat and ended.writes == []
    deployment.provision("--yes", "--to", "4")
    ended = follow(deployment)
    assert ended.code == outcome.LEFT and ended.writes == []


def test_a_route_that_answers_badly_leaves_nothing(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.provision("--yes", "--no-try")
    monkeypatch.setattr(
        request_trace, "post_until_served", lambda aws, url, item, began: (began.append(0.0), (418, "tea"))[1]
    )
    ended = follow(deployment)
    assert ended.code == outcome.LEFT and "answered with 418: tea" in ended.flat
    assert items_and_messages(deployment) == (0, 0)


@pytest.mark.slow
def test_the_table_is_looked_at_before_the_log_is_waited_for(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log comes seconds late: by the time of a look after that, the item would have come as late."""
    deployment.provision("--yes", "--no-try")
    line_about = request_trace.line_about
    taps: list[Calls] = []
    deployment.on_connect = lambda aws: taps.append(aws.calls)
    before: list[list[str]] = []

    def noting(*about: Any, **more: Any) -> Any:
        before.append([call.operation for call in taps[-1].history])
        return line_about(*about, **more)

    monkeypatch.setattr(request_trace, "line_about", noting)
    assert follow(deployment).code == outcome.DONE
    assert "GetItem" in before[0]
    client, table = [hop for hop in hops(deployment) if hop.route == "POST /dynamodbmanager"][::3]
    assert client.took is not None and table.after is not None and table.place == "table"
    assert client.took <= table.after


@pytest.mark.parametrize(("by", "expected"), [("Ctrl-C", outcome.INTERRUPTED), ("screen", outcome.LEFT)])
def test_an_interrupted_trace_takes_away_what_it_sent(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch, by: str, expected: int
) -> None:
    """By Ctrl-C, and where what it shows cannot be written, as in a pipe whose reader has gone."""
    deployment.provision("--yes", "--no-try")
    show_hop = trace.show_hop
    taps: list[Calls] = []
    deployment.on_connect = lambda aws: taps.append(aws.calls)

    def ends_it(screen: Screen, **hop: Any) -> None:
        show_hop(screen, **hop)
        if hop["route"].endswith("/queue") and hop["place"] == "client":
            if by == "screen":
                raise BrokenPipeError(32, "Broken pipe")
            taps[-1].stopping = True  # as the signal's handler does

    monkeypatch.setattr(trace, "show_hop", ends_it)
    ended = follow(deployment)
    assert ended.code == expected
    assert ended.writes.count("DeleteItem") == 2  # the direct route's, and that which came meanwhile
    assert items_and_messages(deployment) == (0, 0)


@pytest.mark.slow
def test_an_interrupted_poison_says_where_its_message_is(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")
    deployment.on_connect = lambda aws: monkeypatch.setattr(
        trace, "show_hop", lambda screen, **hop: setattr(aws.calls, "stopping", True)
    )
    ended = follow(deployment, "--poison")
    assert ended.code == outcome.INTERRUPTED
    assert "is still in the queue, where only the function may take it" in ended.flat
    assert "ReceiveMessage" in ended.writes  # it looked whether it was in the dead-letter queue


def test_nothing_is_sent_where_nobody_takes_messages(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    lambda_ = deployment.aws.lambda_
    (mapping,) = lambda_.list_event_source_mappings(FunctionName=deployment.settings.function)["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    eventually(lambda: lambda_.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Disabled")
    for arguments in ([], ["--poison"]):
        ended = follow(deployment, *arguments)
        assert ended.code == outcome.LEFT and "The SQS trigger is disabled" in ended.flat
        assert ended.writes == [] and ended.told == ""
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    eventually(lambda: not lambda_.list_event_source_mappings()["EventSourceMappings"])
    assert "The SQS trigger is gone" in follow(deployment).flat


def test_a_message_that_does_not_become_an_item_is_told_with_the_functions_words(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--no-try")
    monkeypatch.setattr(request_trace, "ARRIVAL_SECONDS", 3.0)
    monkeypatch.setattr(request_trace, "created", lambda body: True)  # the direct route fails likewise
    monkeypatch.setattr("provision.account.smoke_tests.denied", lambda text: False)
    deployment.aws.lambda_.update_function_configuration(
        FunctionName=deployment.settings.function, Environment={"Variables": {"TABLE_NAME": "another"}}
    )
    table_hop = request_trace.table_hop
    direct = Hop("POST /dynamodbmanager", "table", 0.1, None, "own clock", "")
    monkeypatch.setattr(
        request_trace,
        "table_hop",
        lambda aws, route, item, sent, **more: (
            table_hop(aws, route, item, sent, **more) if route.endswith("/queue") else direct
        ),
    )
    ended = follow(deployment)
    assert ended.code == outcome.LEFT
    assert "came into the queue, and no item into the table within 3 s" in ended.flat
    assert "received the message once. Its log says: message" in ended.flat and "failed: tableName is not" in ended.flat


def test_a_function_that_fails_is_not_its_result(deployment: CommandLine) -> None:
    """API Gateway answers 200 for it."""
    deployment.provision("--yes", "--no-try")
    deployment.aws.lambda_.update_function_configuration(
        FunctionName=deployment.settings.function, Environment={"Variables": {"TABLE_NAME": "another"}}
    )
    ended = follow(deployment)
    assert ended.code == outcome.LEFT and "answered with 200: tableName is not this deployment's" in ended.flat
    assert hops(deployment) == [] and items_and_messages(deployment) == (0, 0)


def test_a_route_that_is_never_served_is_told_in_short_and_with_a_way_on(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the function's role has lost its policy: DynamoDB's refusal comes with the whole stack behind it."""
    deployment.provision("--yes", "--no-try")
    refused = json.dumps({"errorMessage": "An error occurred (AccessDeniedException): no", "stackTrace": ["deep"] * 99})
    monkeypatch.setattr("provision.account.smoke_tests.post", lambda *about, **more: (200, refused))
    deployment.on_connect = lambda aws: setattr(aws.waiting, "clock", lambda: time.monotonic() * 100)  # a short minute
    ended = follow(deployment)
    assert ended.code == outcome.LEFT
    assert "It last answered 200 An error occurred (AccessDeniedException): no" in ended.flat
    assert "deep" not in ended.said and "python -m provision, with them, updates it." in ended.flat


def test_another_clock_that_is_ahead_or_behind_shows_no_nonsense() -> None:
    sent = 1000.0
    line = Line(1001.0, "id", "trace-x message sent 999000, first received 999500, receive 1")
    queue, trigger = queue_hops("route", line, sent)
    assert queue.after is None and "clocks" in queue.saw
    assert trigger.took == pytest.approx(0.5)  # a difference of one clock stays true
    assert clocked(Hop("route", "queue", 0.1, None, "SQS", "there")).after == 0.1
    (unknown,) = queue_hops("route", Line(1001.0, "id", "trace-x message sent None, first received None"), sent)
    assert "logs no times" in unknown.saw
