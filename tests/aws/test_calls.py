"""The listener: what is sent again, what never is, and how a run goes on when AWS's answers are lost."""

from __future__ import annotations

import functools
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from provision import STEPS
from provision.account.inventory import take_inventory
from provision.account.smoke_tests import SmokeTestFailed, ask_while, try_echo
from provision.aws.answers import EXPECTED, AnswerLost, Call, NotAWS, flaw_of
from provision.aws.calls import Calls, UnrecordedWrite, permit_none
from provision.aws.clients import Target
from provision.aws.connect import SERVICES, client_config, connect
from provision.aws.operations import READS, SMOKE_TEST_CALLS
from provision.aws.reasons import TOO_MANY_REQUESTS
from provision.aws.retries import THROTTLE_BUDGETS, TRIES
from provision.aws.waiting import StillRefused, Waiting
from provision.cli import runner
from provision.cli.errors import explain
from provision.settings import Settings
from provision.state.entries import ResourceResult
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.answers import RESET, SILENCE, Answer, Asked, Faults, Server, caller_identity, in_turn, refusal
from tests.rig.clock import Clock
from tests.rig.deployment import Deployment


@pytest.fixture
def calls(clock: Clock) -> Calls:
    """A listener that lets every write pass, with a clock of its own."""
    return Calls(waiting=Waiting(clock=clock, sleep=clock.sleep), permit=lambda call: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda asked: Answer(500)) as running:
        yield running


@functools.cache
def session() -> boto3.Session:
    """One for all clients: to read the service models takes most of the time of a test."""
    return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")


def client(calls: Calls, service: str, url: str) -> Any:
    """A client as the suite makes them, except that it waits less long for an answer."""
    config = client_config().merge(Config(read_timeout=0.25))
    made = session().client(service, endpoint_url=url, config=config)
    calls.put_on(made)
    return made


# One read for each protocol: its client, the call, and an answer.
ROLE = (
    b"<GetRoleResponse><GetRoleResult><Role><RoleName>r</RoleName><Path>/</Path><RoleId>AROA1</RoleId>"
    b"<Arn>arn:aws:iam::123456789012:role/r</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>"
    b"</GetRoleResult></GetRoleResponse>"
)
CallTable = dict[str, tuple[Callable[[Any], dict[str, Any]], bytes]]
READ_CALLS: CallTable = {
    "iam": (lambda it: it.get_role(RoleName="r"), ROLE),
    "dynamodb": (lambda it: it.describe_table(TableName="name"), b'{"Table": {"TableName": "name"}}'),
    "lambda": (lambda it: it.get_function(FunctionName="f"), b'{"Configuration": {"FunctionName": "f"}}'),
}
KEY = {"AttributeName": "id", "KeyType": "HASH"}
# One write for each protocol, as in the steps.
WRITE_CALLS: CallTable = {
    "iam": (
        lambda it: it.create_role(RoleName="r", AssumeRolePolicyDocument="{}"),
        ROLE.replace(b"GetRole", b"CreateRole"),
    ),
    "dynamodb": (
        lambda it: it.create_table(TableName="name", KeySchema=[KEY], AttributeDefinitions=[]),
        b'{"TableDescription": {"TableName": "name"}}',
    ),
    "sqs": (lambda it: it.create_queue(QueueName="q"), b'{"QueueUrl": "http://127.0.0.1/q"}'),
    "lambda": (
        lambda it: it.create_event_source_mapping(EventSourceArn="a", FunctionName="f"),
        b'{"UUID": "u-1", "State": "Creating"}',
    ),
    "apigateway": (
        lambda it: it.create_rest_api(name="POC-API"),
        b'{"id": "abc123", "rootResourceId": "r00t", "name": "POC-API"}',
    ),
    "logs": (lambda it: it.create_log_group(logGroupName="g"), b""),
}
PAGE = Answer(body=b"<!DOCTYPE html><html><body>Please log in<br></body></html>", headers={"Content-Type": "text/html"})


def cut(body: bytes) -> Answer:
    """An answer of which the connection delivers only the first half."""
    return Answer(body=body[: len(body) // 2], cut=len(body) - len(body) // 2)


# Reads.


@pytest.mark.parametrize("service", READ_CALLS)
@pytest.mark.parametrize("trouble", [Answer(500), Answer(503), RESET, SILENCE], ids=["500", "503", "reset", "silence"])
def test_a_read_is_sent_again_until_it_is_answered(
    calls: Calls, clock: Clock, server: Server, service: str, trouble: Answer | str
) -> None:
    call, body = READ_CALLS[service]
    server.respond = in_turn(trouble, trouble, Answer(body=body))
    assert "ResponseMetadata" in call(client(calls, service, server.url))
    assert len(server.asked) == 3
    assert clock.slept == [1.0, 2.0]
    assert len(calls.waiting.waited) == 2


def test_a_read_that_an_emulator_does_not_know_is_not_sent_again(calls: Calls, server: Server) -> None:
    server.respond = in_turn(Answer(501))
    with pytest.raises(ClientError):
        READ_CALLS["iam"][0](client(calls, "iam", server.url))
    assert len(server.asked) == 1


@pytest.mark.parametrize("service", ["dynamodb", "lambda"])
def test_a_read_whose_answer_is_cut_or_a_web_page_is_sent_again(calls: Calls, server: Server, service: str) -> None:
    call, body = READ_CALLS[service]
    server.respond = in_turn(cut(body), PAGE, Answer(), Answer(body=body))
    field = "Table" if service == "dynamodb" else "Configuration"
    assert field in call(client(calls, service, server.url))
    assert len(server.asked) == 4


@pytest.mark.parametrize("service", READ_CALLS)
@pytest.mark.parametrize("answer", [PAGE, Answer()], ids=["page", "empty"])
def test_from_an_answer_that_is_not_awss_nothing_is_concluded(
    calls: Calls, server: Server, service: str, answer: Answer
) -> None:
    call, _ = READ_CALLS[service]
    server.respond = in_turn(answer)
    with pytest.raises(NotAWS, match=f"What answered {service} ") as stop:
        call(client(calls, service, server.url))
    assert stop.value.exit_code == outcome.ENVIRONMENT


@pytest.mark.parametrize("service", READ_CALLS)
def test_from_half_an_answer_nothing_is_concluded(calls: Calls, server: Server, service: str) -> None:
    """Older versions of botocore see for themselves that the connection ended early."""
    call, body = READ_CALLS[service]
    server.respond = in_turn(cut(body))
    with pytest.raises((NotAWS, ConnectionClosedError)):
        call(client(calls, service, server.url))


def test_tags_are_never_taken_for_none_because_their_answer_was_cut(calls: Calls, server: Server) -> None:
    """To botocore 1.44 half a body means no fields, and no tags would mean: not ours."""
    server.respond = in_turn(cut(b'{"Tags": {"poc-deployment": "poc-12345678"}}'))
    with pytest.raises((NotAWS, ConnectionClosedError)):
        client(calls, "sqs", server.url).list_queue_tags(QueueUrl="http://127.0.0.1/q")


@pytest.mark.parametrize(
    ("trouble", "error"),
    [(Answer(500), ClientError), (RESET, ConnectionClosedError), (SILENCE, ReadTimeoutError)],
    ids=["500", "reset", "silence"],
)
def test_a_read_gives_up_after_some_tries(
    calls: Calls, server: Server, trouble: Answer | str, error: type[Exception]
) -> None:
    server.respond = in_turn(trouble)
    with pytest.raises(error):
        client(calls, "iam", server.url).get_role(RoleName="r")
    assert len(server.asked) == TRIES


def test_a_refused_read_passes_at_once_in_awss_own_words(calls: Calls, clock: Clock, server: Server) -> None:
    server.respond = in_turn(refusal("iam", "NoSuchEntity", "The role with name r cannot be found.", 404))
    with pytest.raises(ClientError) as refused:
        client(calls, "iam", server.url).get_role(RoleName="r")
    assert str(refused.value) == (
        "An error occurred (NoSuchEntity) when calling the GetRole operation: The role with name r cannot be found."
    )
    assert len(server.asked) == 1
    assert clock.slept == []
    assert calls.history[0].error == "NoSuchEntity"


# Writes.


@pytest.mark.parametrize("service", WRITE_CALLS)
def test_a_write_that_is_answered_is_sent_once(calls: Calls, server: Server, service: str) -> None:
    call, body = WRITE_CALLS[service]
    server.respond = in_turn(Answer(body=body))
    assert "ResponseMetadata" in call(client(calls, service, server.url))
    assert len(server.asked) == 1


@pytest.mark.parametrize("service", WRITE_CALLS)
@pytest.mark.parametrize("trouble", [Answer(500), Answer(503), RESET, SILENCE], ids=["500", "503", "reset", "silence"])
def test_a_write_whose_answer_is_lost_is_never_sent_again(
    calls: Calls, clock: Clock, server: Server, service: str, trouble: Answer | str
) -> None:
    call, body = WRITE_CALLS[service]
    server.respond = in_turn(trouble, Answer(body=body))
    with pytest.raises(AnswerLost) as lost:
        call(client(calls, service, server.url))
    assert len(server.asked) == 1
    assert clock.slept == []
    assert lost.value.call.service == service


@pytest.mark.parametrize("service", sorted(set(WRITE_CALLS) - {"logs"}))
@pytest.mark.parametrize("kind", ["cut", "page", "empty", "no fields"])
def test_a_success_without_what_was_asked_for_is_a_lost_answer(
    calls: Calls, server: Server, service: str, kind: str
) -> None:
    call, body = WRITE_CALLS[service]
    nothing = Answer(body=b"<CreateRoleResponse/>" if service == "iam" else b"{}")
    server.respond = in_turn({"cut": cut(body), "page": PAGE, "empty": Answer(), "no fields": nothing}[kind])
    with pytest.raises(AnswerLost):
        call(client(calls, service, server.url))
    assert len(server.asked) == 1


ATTACHED = b"<AttachRolePolicyResponse><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>%s"


@pytest.mark.parametrize("answer", [PAGE, Answer(), cut(ATTACHED % b"")], ids=["page", "empty", "cut"])
def test_an_answer_of_iam_without_a_request_id_is_none(calls: Calls, server: Server, answer: Answer) -> None:
    """botocore takes any body at all for AttachRolePolicy's."""
    server.respond = in_turn(answer, Answer(body=ATTACHED % b"</AttachRolePolicyResponse>"))
    iam = client(calls, "iam", server.url)
    with pytest.raises(AnswerLost):
        iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/x-to-be-long-enough")
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/x-to-be-long-enough")


@pytest.mark.parametrize("answer", [PAGE, cut(b"{ }")], ids=["page", "cut"])
def test_a_write_that_answers_nothing_may_not_be_answered_by_anybody_else(
    calls: Calls, server: Server, answer: Answer
) -> None:
    server.respond = in_turn(answer)
    with pytest.raises(AnswerLost):
        client(calls, "logs", server.url).create_log_group(logGroupName="g")


def test_what_aws_said_with_its_500_is_kept(calls: Calls, server: Server) -> None:
    server.respond = in_turn(refusal("iam", "ServiceFailure", "Something failed here.", 500))
    with pytest.raises(AnswerLost, match="HTTP 500 ServiceFailure: Something failed here"):
        client(calls, "iam", server.url).create_role(RoleName="r", AssumeRolePolicyDocument="{}")


def test_a_refused_write_passes_at_once(calls: Calls, clock: Clock, server: Server) -> None:
    server.respond = in_turn(refusal("dynamodb", "ResourceInUseException", "Table already exists: name"))
    with pytest.raises(ClientError, match="Table already exists: name"):
        WRITE_CALLS["dynamodb"][0](client(calls, "dynamodb", server.url))
    assert len(server.asked) == 1
    assert clock.slept == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_write_that_never_left_is_sent_again(calls: Calls, clock: Clock) -> None:
    """Refused connections: nobody listens until the third try."""
    port = free_port()
    started: list[Server] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 2:
            started.append(Server(in_turn(Answer(body=b'{"QueueUrl": "http://127.0.0.1/q"}')), port))

    calls.waiting.sleep = sleep
    made = client(calls, "sqs", f"http://127.0.0.1:{port}").create_queue(QueueName="q")
    [server] = started
    with server:
        assert made["QueueUrl"]
        assert [asked.operation for asked in server.asked] == ["CreateQueue"]
    assert len(clock.slept) == 2
    assert len(calls.history) == 1


def test_where_nobody_listens_a_write_ends_as_not_sent(calls: Calls, clock: Clock) -> None:
    with pytest.raises(EndpointConnectionError):
        client(calls, "sqs", f"http://127.0.0.1:{free_port()}").create_queue(QueueName="q")
    assert len(clock.slept) == TRIES - 1


# Throttles.

THROTTLED: dict[str, tuple[str, str, Answer]] = {
    "api gateway": (
        "apigateway",
        "CreateRestApi",
        refusal("apigateway", "TooManyRequestsException", "Too Many Requests", 429, **{"Retry-After": "3"}),
    ),
    "iam": ("iam", "CreateRole", refusal("iam", "Throttling", "Rate exceeded")),
    "sqs": ("sqs", "CreateQueue", refusal("sqs", "RequestThrottled", "Request is throttled.", 403)),
    "dynamodb": ("dynamodb", "CreateTable", refusal("dynamodb", "ThrottlingException", "Rate exceeded")),
    "lambda": (
        "lambda",
        "CreateEventSourceMapping",
        refusal("lambda", "TooManyRequestsException", "Rate exceeded", 429),
    ),
}


@pytest.mark.parametrize("case", THROTTLED)
def test_a_throttled_write_waits_for_its_turn(calls: Calls, clock: Clock, server: Server, case: str) -> None:
    service, _, refused = THROTTLED[case]
    call, body = WRITE_CALLS[service]
    server.respond = in_turn(refused, refused, refused, Answer(body=body))
    assert "ResponseMetadata" in call(client(calls, service, server.url))
    assert len(server.asked) == 4
    pause = 3.0 if "Retry-After" in refused.headers else 2.0
    assert clock.slept == [pause] * 3
    assert [wait.reason for wait in calls.waiting.waited] == ["too many requests"] * 3


def test_a_throttled_read_waits_for_its_turn_too(calls: Calls, server: Server) -> None:
    call, body = READ_CALLS["iam"]
    server.respond = in_turn(*[refusal("iam", "Throttling", "Rate exceeded")] * 9, Answer(body=body))
    assert call(client(calls, "iam", server.url))["Role"]
    assert len(server.asked) == 10


@pytest.mark.parametrize("case", THROTTLED)
def test_a_throttle_that_does_not_end_is_given_up_after_its_budget(
    calls: Calls, clock: Clock, server: Server, case: str
) -> None:
    service, operation, refused = THROTTLED[case]
    server.respond = in_turn(refused)
    began = clock.now
    with pytest.raises(StillRefused) as gave_up:
        WRITE_CALLS[service][0](client(calls, service, server.url))
    budget = THROTTLE_BUDGETS.get(operation, TOO_MANY_REQUESTS.budget)
    assert budget - 6 <= clock.now - began <= budget
    message = json.loads(refused.body)["message"] if service != "iam" else "Rate exceeded"
    assert message in gave_up.value.what
    assert len(server.asked) == len(clock.slept) + 1
    assert "goes on where this run stopped" in " ".join(gave_up.value.advice)


def test_a_call_that_stays_refused_within_a_wait_is_told_in_its_own_words(calls: Calls, server: Server) -> None:
    server.respond = in_turn(refusal("apigateway", "NotFoundException", "Invalid Method identifier", 404))
    gateway = client(calls, "apigateway", server.url)

    def call() -> tuple[int, str]:
        answer = gateway.test_invoke_method(restApiId="a", resourceId="r", httpMethod="POST")
        return answer["status"], answer["body"]

    with pytest.raises(StillRefused, match=r"just made, not yet visible everywhere\. .*Invalid Method identifier"):
        ask_while(SimpleNamespace(waiting=calls.waiting), "it", call, too_early=lambda *last: False, means="A policy.")


TIMEOUT = '{"errorMessage": "2026-01-01T00:00:00Z 1b2c Task timed out after 10.00 seconds"}'


def test_one_timeout_of_the_function_may_pass_and_the_second_is_told_as_one(calls: Calls) -> None:
    def ask(*texts: str) -> tuple[int, str]:
        answers = iter(texts)
        aws: Any = SimpleNamespace(waiting=calls.waiting)
        return ask_while(aws, "it", lambda: (200, next(answers)), too_early=lambda *last: False, means="A policy.")

    assert ask(TIMEOUT, "done") == (200, "done")
    with pytest.raises(SmokeTestFailed, match=r"did not end in its time, twice: .*Task timed out after 10\.00 seconds"):
        ask(TIMEOUT, TIMEOUT, "done")


def test_a_role_that_may_not_read_the_environment_is_named(calls: Calls, server: Server) -> None:
    said = "Lambda was unable to decrypt the environment variables because KMS access was denied."
    server.respond = in_turn(refusal("lambda", "KMSAccessDeniedException", said, 502))
    aws: Any = SimpleNamespace(waiting=calls.waiting, lambda_=client(calls, "lambda", server.url))
    with pytest.raises(
        SmokeTestFailed, match=r"cannot read its environment variables\. .*KMS access was denied"
    ) as failed:
        try_echo(aws, Settings(), aws)
    assert "python -m teardown --back-to 5" in failed.value.advice[0]
    assert {wait.reason for wait in calls.waiting.waited} == {"POC-Lambda-1 to answer"}, "no error of AWS's own"


def test_a_policy_of_awss_own_that_is_not_there_is_not_waited_for(calls: Calls, clock: Clock, server: Server) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    said = refusal("iam", "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)
    server.respond = in_turn(said)
    with pytest.raises(ClientError) as refused:
        client(calls, "iam", server.url).attach_role_policy(RoleName="r", PolicyArn=arn)
    assert clock.slept == []
    stop = explain(refused.value, step="2", profile=None)
    assert stop is not None and "MOTO_IAM_LOAD_MANAGED_POLICIES=true" in stop.advice[0]


def test_an_answer_is_judged_by_the_protocol_that_botocore_picked() -> None:
    """A service may have several; the first in the list of its model need not be the one that is spoken."""
    service = SimpleNamespace(resolved_protocol="json", metadata={"protocol": "query"})
    model = SimpleNamespace(service_model=service, output_shape=None, has_streaming_output=False)
    http = SimpleNamespace(content=b"{}", headers={})
    assert flaw_of(model, http, is_read=False) is None
    service.resolved_protocol = "query"
    assert flaw_of(model, http, is_read=False) == "the answer has no request id"


def test_deleting_an_api_waits_as_long_as_thirty_learners_need(calls: Calls, clock: Clock, server: Server) -> None:
    """One DeleteRestApi in 30 seconds for the whole account: the thirtieth waits a quarter of an hour."""
    began = clock.now
    later = refusal("apigateway", "TooManyRequestsException", "Too Many Requests", 429, **{"Retry-After": "30"})
    server.respond = lambda asked: later if clock.now - began < 29 * 30 else Answer(202)
    client(calls, "apigateway", server.url).delete_rest_api(restApiId="abc123")
    assert 29 * 30 <= clock.now - began < 31 * 30
    assert calls.history[0].ended == clock.now


def test_a_quota_that_is_used_up_is_not_waited_for(calls: Calls, clock: Clock, server: Server) -> None:
    full = "Maximum number of APIs for this account has been reached."
    server.respond = in_turn(refusal("apigateway", "LimitExceededException", full, 429))
    with pytest.raises(ClientError, match=full):
        client(calls, "apigateway", server.url).create_rest_api(name="POC-API")
    assert len(server.asked) == 1
    assert clock.slept == []


def test_a_wait_longer_than_the_budget_is_not_begun(calls: Calls, clock: Clock, server: Server) -> None:
    server.respond = in_turn(refusal("lambda", "TooManyRequestsException", "no", 429, **{"Retry-After": "3600"}))
    with pytest.raises(StillRefused):
        client(calls, "lambda", server.url).get_function(FunctionName="f")
    assert clock.slept == []


# What the environment may not change.


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_the_environment_does_not_make_botocore_send_again(
    calls: Calls, server: Server, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """By its own policy botocore 1.43 would send five times, 1.44 three times; the variables would raise that."""
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_NEW_RETRIES_2026", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server.respond = lambda asked: caller_identity() if asked.operation == "GetCallerIdentity" else RESET
    aws = connect(Target(endpoint_url=server.url), calls)
    for service in (aws.iam, aws.dynamodb, aws.sqs, aws.lambda_, aws.apigateway, aws.logs, aws.sts):
        assert service.meta.config.retries == {"mode": "standard", "total_max_attempts": 1}
    server.asked.clear()
    with pytest.raises(AnswerLost):
        aws.sqs.create_queue(QueueName="q")
    with pytest.raises(AnswerLost):
        aws.apigateway.create_rest_api(name="POC-API")
    assert len(server.asked) == 2


# The lists of operations.


@pytest.mark.parametrize("service", READS)
def test_what_counts_as_a_read_is_one_by_its_name_and_verb(service: str) -> None:
    model = botocore.session.Session().get_service_model(service)
    for operation in READS[service]:
        assert operation.startswith(("Get", "List", "Describe", "Scan", "Filter", "Simulate"))
        assert operation in model.operation_names
        if model.metadata["protocol"] == "rest-json":
            assert model.operation_model(operation).http["method"] == "GET"
    assert not READS[service] & set(SMOKE_TEST_CALLS.get(service, {}))


def test_what_trials_may_do_and_what_answers_hold_exists_in_awss_models() -> None:
    models = {service: botocore.session.Session().get_service_model(service) for service in SERVICES}
    for service, operations in SMOKE_TEST_CALLS.items():
        for operation, parameter in operations.items():
            assert parameter in models[service].operation_model(operation).input_shape.members
    for operation, path in EXPECTED.items():
        shapes = [
            model.operation_model(operation).output_shape
            for model in models.values()
            if operation in model.operation_names
        ]
        for name in path.split("."):
            shapes = [shape.members[name] for shape in shapes if shape is not None and name in shape.members]
        assert shapes, f"{operation} has no {path}"


# The guard, the listeners, the way to stop.


def test_without_a_state_file_no_write_reaches_the_wire(calls: Calls, server: Server) -> None:
    calls.permit = permit_none
    with pytest.raises(UnrecordedWrite):
        client(calls, "sqs", server.url).create_queue(QueueName="q")
    assert server.asked == []
    assert calls.history == []


def test_the_guard_is_asked_once_for_a_call_that_is_sent_several_times(calls: Calls, server: Server) -> None:
    asked: list[Call] = []
    calls.permit = asked.append
    server.respond = in_turn(*[THROTTLED["sqs"][2]] * 3, Answer(body=b'{"QueueUrl": "http://127.0.0.1/q"}'))
    client(calls, "sqs", server.url).create_queue(QueueName="q")
    assert [call.operation for call in asked] == ["CreateQueue"]
    assert [call.operation for call in calls.writes()] == ["CreateQueue"]


def test_listeners_hear_of_each_call_when_it_has_ended(calls: Calls, clock: Clock, server: Server) -> None:
    heard: list[tuple[str, dict[str, Any], str | None]] = []
    calls.listeners.append(lambda call: heard.append((call.operation, call.parameters, call.error)))
    server.respond = in_turn(
        Answer(body=READ_CALLS["dynamodb"][1]),
        refusal("dynamodb", "ResourceNotFoundException", "no"),
        RESET,
    )
    dynamodb = client(calls, "dynamodb", server.url)
    dynamodb.describe_table(TableName="one")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.delete_table(TableName="two")
    with pytest.raises(AnswerLost):
        dynamodb.delete_table(TableName="three")
    assert heard == [
        ("DescribeTable", {"TableName": "one"}, None),
        ("DeleteTable", {"TableName": "two"}, "ResourceNotFoundException"),
        ("DeleteTable", {"TableName": "three"}, "ConnectionClosedError"),
    ]


def test_ctrl_c_ends_at_the_next_call(calls: Calls, server: Server) -> None:
    server.respond = in_turn(Answer(body=READ_CALLS["dynamodb"][1]))
    dynamodb = client(calls, "dynamodb", server.url)
    dynamodb.describe_table(TableName="name")
    calls.stopping = True
    with pytest.raises(outcome.Interrupted):
        dynamodb.describe_table(TableName="name")
    with pytest.raises(outcome.Interrupted):
        dynamodb.delete_table(TableName="name")
    assert len(server.asked) == 1


def test_ctrl_c_during_a_call_lets_it_end_and_does_not_send_it_again(
    calls: Calls, clock: Clock, server: Server
) -> None:
    def respond(asked: Asked) -> Answer | str:
        calls.stopping = True
        return Answer(500)

    server.respond = respond
    with pytest.raises(outcome.Interrupted):
        client(calls, "dynamodb", server.url).describe_table(TableName="name")
    assert len(server.asked) == 1
    assert clock.slept == []
    assert calls.history[0].ended is not None


# Lost answers in a whole run: AWS acted, and nobody heard of it.


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Any) -> Iterator[Deployment]:
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json") as made:
        # Nothing has to settle in a sandbox.
        made.waiting = Waiting(sleep=lambda seconds: None)
        yield made


class OnceEach:
    """Troubles each write the first time that it comes with these parameters; the next time it passes."""

    def __init__(self, *troubles: str) -> None:
        self.troubles = troubles
        self.chance = random.Random(11)
        self.seen: set[str] = set()

    def __call__(self, call: Call) -> str | None:
        write = f"{call.operation} {call.parameters}"
        if call.is_read or write in self.seen:
            return None
        self.seen.add(write)
        return self.chance.choice(self.troubles)


TROUBLES = {
    "always applied": (Faults.LOSE,),
    "sometimes applied": (Faults.LOSE, Faults.DROP),
}


def one_of_each(deployment: Deployment) -> dict[str, Any]:
    """The account, and how many deployments and resources each API holds: a second one hides behind its names.

    The tag of the deployment reads "ours", so that two deployments compare.
    """
    apigateway = deployment.aws.apigateway
    apis = [api["id"] for api in apigateway.get_rest_apis()["items"]]
    seen = {
        **deployment.aws.inventory(),
        "deployments": [len(apigateway.get_deployments(restApiId=api_id)["items"]) for api_id in apis],
        "resources": [len(apigateway.get_resources(restApiId=api_id)["items"]) for api_id in apis],
    }
    tag = deployment.state["deployment"] if deployment.path.exists() else "none"
    anonymous: dict[str, Any] = json.loads(json.dumps(seen).replace(tag, "ours"))
    return anonymous


@dataclass
class Unhurt:
    """A run without any trouble: the account before and after it, and how often each operation wrote."""

    nothing: dict[str, Any]
    built: dict[str, Any]
    writes: Counter[str]


@pytest.fixture(scope="module")
def unhurt(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Unhurt:
    path = tmp_path_factory.mktemp("unhurt") / "ledger.json"
    with Deployment(sandbox.id, sandbox.url, path) as made:
        nothing = one_of_each(made)
        made.build()
        seen = Unhurt(nothing, one_of_each(made), Counter(made.writes))
        assert made.tear_down() == []
    assert seen.built["deployments"] == [1]
    return seen


@pytest.mark.parametrize("troubles", TROUBLES)
def test_every_write_of_a_build_may_lose_its_answer_and_one_of_each_is_built(
    run: Deployment, unhurt: Unhurt, monkeypatch: pytest.MonkeyPatch, troubles: str
) -> None:
    monkeypatch.setattr(runner, "TRIES", 30)  # the longest step writes sixteen times
    faults = Faults(OnceEach(*TROUBLES[troubles]))
    run.prepare = faults.put_on
    results = run.build()
    assert not unhurt.writes - Counter(call.operation for call in faults.served), "some write never lost its answer"
    assert one_of_each(run) == unhurt.built
    assert len({event.key for event in results}) == len(results)
    assert {event.outcome for event in results} <= {"created", "recovered"}

    run.prepare = lambda aws, state: None
    assert {event.outcome for event in run.build()} == {"unchanged"}
    assert run.writes == []
    assert run.tear_down() == []
    assert one_of_each(run) == unhurt.nothing


def test_what_is_made_twice_does_not_pass_for_one_of_each(run: Deployment, unhurt: Unhurt) -> None:
    """The check above has teeth: stock boto3, sending again after a lost answer, ends with either of these."""
    run.build()
    [api] = run.aws.apigateway.get_rest_apis()["items"]
    run.aws.apigateway.create_deployment(restApiId=api["id"], stageName=run.settings.stage)
    assert one_of_each(run) != unhurt.built
    assert run.tear_down() == []
    for _ in range(2):
        run.aws.apigateway.create_rest_api(name=run.settings.api)
    assert len(one_of_each(run)["apis"]) == 2
    for api in run.aws.apigateway.get_rest_apis()["items"]:
        run.aws.apigateway.delete_rest_api(restApiId=api["id"])


@pytest.mark.slow
@pytest.mark.parametrize("troubles", TROUBLES)
def test_every_write_of_a_teardown_may_lose_its_answer_and_nothing_is_left(
    run: Deployment, unhurt: Unhurt, troubles: str
) -> None:
    run.build()
    faults = Faults(OnceEach(*TROUBLES[troubles]))
    run.prepare = faults.put_on
    assert run.tear_down() == []
    assert len(faults.served) > 15
    assert one_of_each(run) == unhurt.nothing
    assert run.state["resources"] == []


def test_an_answer_that_is_lost_every_time_ends_the_run_and_the_next_one_goes_on(
    run: Deployment, unhurt: Unhurt
) -> None:
    faults = Faults(lambda call: Faults.DROP if call.operation == "CreateTable" else None)
    run.prepare = faults.put_on
    with pytest.raises(AnswerLost, match="CreateTable"):
        run.build()
    assert len(faults.served) == runner.TRIES
    assert [entry["status"] for entry in run.state["resources"] if entry["key"] == "table"] == ["creating"]
    run.prepare = lambda aws, state: None
    run.build()
    assert one_of_each(run) == unhurt.built
    assert run.tear_down() == []


def test_a_update_whose_answer_was_lost_is_still_told(run: Deployment) -> None:
    run.build()
    run.aws.logs.put_retention_policy(logGroupName=run.settings.log_group, retentionInDays=1)
    left = ["PutRetentionPolicy"]
    run.prepare = Faults(lambda call: Faults.LOSE if call.operation in left and not left.clear() else None).put_on
    run.build()
    assert left == []
    assert {key: event.outcome for key, event in run.changed.items()} == {"log-group": "updated"}
    assert run.changed["log-group"].differences[0].found == 1
    run.prepare = lambda aws, state: None
    assert run.tear_down() == []


def test_a_resource_made_before_an_answer_was_lost_is_told_as_made() -> None:
    def results(key: str, result: str) -> ResourceResult:
        return ResourceResult(key, "iam:policy", {}, result)

    told = runner.once_each(
        [results("one", "created"), results("one", "unchanged"), results("two", "recovered"), results("three", "x")]
    )
    assert [(event.key, event.outcome) for event in told] == [("one", "created"), ("two", "recovered"), ("three", "x")]


def test_every_call_of_a_whole_life_is_a_read_by_name_or_a_write_under_a_promise(run: Deployment) -> None:
    recorded: list[Call] = []
    for go in (run.build, run.smoke_tests, run.build, run.tear_down, run.tear_down):
        go()
        recorded += run.calls
    aws = run.connect()
    take_inventory(aws, run.settings)
    recorded += aws.calls.history
    for call in recorded:
        assert call.is_read == call.operation.startswith(("Get", "List", "Describe", "Scan")), call.operation
        assert call.ended is not None
    assert {call.operation for call in recorded if not call.is_read} >= {"CreateTable", "DeleteTable", "SendMessage"}


def test_a_step_is_run_again_for_a_lost_answer_only(run: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    class Module:
        NEEDS = ()

        @staticmethod
        def provision(aws: Any, settings: Settings, state: Any) -> None:
            tries.append("once")
            raise ValueError("a defect")

    monkeypatch.setattr(type(STEPS[0]), "load", lambda step: Module)
    with pytest.raises(ValueError, match="a defect"):
        run.build()
    assert tries == ["once"]
