"""AWS when it is unpleasant: reads that lag behind, services that are busy, credentials that expire, and tests of the
result whose calls get lost. Each ends with one of each resource and nothing else, or at once with the reason.

And a machine that is: its streams, its folders, its environment. Each ends with the right exit code and one message.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from provision.__main__ import main as provision_main
from provision.account.smoke_tests import SmokeTestFailed
from provision.aws.answers import AnswerLost, Call
from provision.aws.calls import Calls
from provision.aws.clients import Target
from provision.aws.connect import client_config, connect
from provision.aws.credentials import EXPIRED, REFUSED
from provision.aws.reasons import (
    API_BUSY,
    DEFINITION_NOT_YET_VISIBLE,
    FUNCTION_BUSY,
    IAM_BUSY,
    JUST_MADE,
    LOG_GROUP_BUSY,
    TABLES_BUSY,
    TRIGGER_BUSY,
)
from provision.aws.retries import CONNECTION_BUDGET, TRIES
from provision.aws.waiting import GaveUp, StillRefused, Wait, Waiting
from provision.cli import runner
from provision.cli.errors import explain
from provision.cli.runner import GONE_READS, READS_IF_RECORDED, NotVisibleYet
from provision.state.entries import TAG
from provision.state.ownership import NotOurs
from provision.terminal import outcome
from sandbox import Sandbox
from sandbox.__main__ import main as sandbox_main
from teardown.__main__ import main as teardown_main
from tests.rig import CHECKOUT
from tests.rig.answers import RESET, SILENCE, Answer, Asked, Faults, Server, caller_identity, in_turn, refusal, refuse
from tests.rig.clock import Clock
from tests.rig.deployment import Deployment

NO_APIS = Answer(200, b'{"item": []}', {"Content-Type": "application/json"})


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose waits take no time, taken down at the end: nothing may be left, whatever happened."""
    with Deployment(sandbox.id, sandbox.url, tmp_path / "ledger.json") as made:
        made.waiting = Waiting(sleep=lambda seconds: None)
        before = made.aws.inventory()
        yield made
        made.prepare = lambda aws, state: None
        if made.path.exists():
            assert made.tear_down() == []
        assert made.aws.inventory() == before


def apis(run: Deployment) -> list[str]:
    return [api["id"] for api in run.aws.apigateway.get_rest_apis()["items"]]


def untroubled(run: Deployment) -> None:
    run.prepare = lambda aws, state: None


class Stale:
    """A list that does not show for some looks what was made; `from_now_on` starts it, and `looks` counts down."""

    def __init__(self, operation: str, answer: Answer, looks: int, *, from_now_on: bool = True) -> None:
        self.operation = operation
        self.answer = answer
        self.looks = looks
        self.on = from_now_on

    def __call__(self, call: Call) -> Answer | None:
        if call.operation != self.operation or not self.on or not self.looks:
            return None
        self.looks -= 1
        return self.answer


# Lost answers, and lists that lag.


def lose_first(operation: str, how: str, then: Callable[[], None] = lambda: None) -> Callable[[Call], str | None]:
    lost: list[str] = []

    def decide(call: Call) -> str | None:
        if call.operation != operation or lost:
            return None
        lost.append(operation)
        then()
        return how

    return decide


@pytest.mark.sweep(2)
@pytest.mark.parametrize("stale_looks", [0, 1, GONE_READS - 1])
def test_an_api_whose_creation_got_lost_is_found_although_the_list_lags(run: Deployment, stale_looks: int) -> None:
    stale = Stale("GetRestApis", NO_APIS, stale_looks, from_now_on=False)
    run.prepare = Faults(lose_first("CreateRestApi", Faults.LOSE, lambda: setattr(stale, "on", True)), stale).put_on
    outcomes = {event.key: event.outcome for event in run.build()}
    assert len(apis(run)) == 1
    assert outcomes["api"] == "recovered"
    assert stale.looks == 0
    assert Counter(run.writes)["CreateRestApi"] == 1


@pytest.mark.sweep(4)
@pytest.mark.parametrize(
    "operation", ["CreateResource", "PutMethod", "PutIntegration", "PutMethodResponse", "PutIntegrationResponse"]
)
@pytest.mark.parametrize("by_id", [True, False], ids=["its id finds it", "its id lags, too"])
def test_an_api_in_the_making_is_not_made_again_when_an_answer_gets_lost_and_a_list_lags(
    run: Deployment, operation: str, by_id: bool
) -> None:
    unseen = [Stale("GetRestApis", NO_APIS, 1, from_now_on=False)]
    if not by_id:
        unseen.append(
            Stale(
                "GetRestApi",
                refusal("apigateway", "NotFoundException", "Invalid API identifier specified", 404),
                1,
                from_now_on=False,
            )
        )

    def lag() -> None:
        for stale in unseen:
            stale.on = True

    run.prepare = Faults(lose_first(operation, Faults.LOSE, lag), *unseen).put_on
    run.build()
    assert [stale.looks for stale in unseen] == [0] * len(unseen), "each look that lags was taken"
    assert len(apis(run)) == 1
    assert Counter(run.writes)["CreateRestApi"] == 1


def test_a_queue_that_somebody_makes_between_our_look_and_our_create_is_not_taken_for_ours(run: Deployment) -> None:
    """SQS answers CreateQueue with the URL of any queue of that name and these attributes."""
    clock = Clock()
    run.waiting = Waiting(clock=clock, sleep=clock.sleep)
    name = run.settings.dead_letter_queue

    def make(call: Call) -> Answer | None:
        if call.operation != "CreateQueue" or call.parameters["QueueName"] != name:
            return None
        theirs = run.aws.sqs.create_queue(QueueName=name, Attributes=call.parameters["Attributes"])
        body = json.dumps({"QueueUrl": theirs["QueueUrl"]}).encode()
        return Answer(200, body, {"Content-Type": "application/x-amz-json-1.0"})

    run.prepare = Faults(make).put_on
    with pytest.raises(GaveUp, match="attributes and tags of"):
        run.build()
    untroubled(run)
    run.waiting = Waiting(clock=clock, sleep=clock.sleep)
    with pytest.raises(NotOurs):
        run.build()
    assert run.tear_down() == []
    assert name in run.aws.inventory()["queues"]
    run.aws.sqs.delete_queue(QueueUrl=run.aws.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def test_an_api_whose_creation_never_arrived_is_made_after_some_looks(run: Deployment) -> None:
    run.prepare = Faults(lose_first("CreateRestApi", Faults.DROP)).put_on
    run.build()
    assert len(apis(run)) == 1
    waits = [wait for wait in run.waiting.waited if "what may be there already" in wait.reason]
    assert len(waits) == GONE_READS
    assert "CreateRestApi may have been carried out already" in waits[0].means
    assert waits[0].budget == GONE_READS * runner.READ_EVERY_SECONDS


class Killed(BaseException):
    """The program ends here, without any clearing up."""


@pytest.mark.parametrize("carried_out", [True, False])
def test_after_a_kill_at_the_creation_of_the_api_the_next_run_is_not_deceived_by_a_list_that_lags(
    run: Deployment, carried_out: bool
) -> None:
    def die(call: Call) -> None:
        if call.operation == "CreateRestApi":
            if carried_out:
                run.aws.apigateway.create_rest_api(**call.parameters)
            raise Killed

    run.prepare = Faults(die).put_on
    with pytest.raises(Killed):
        run.build()
    assert [entry["status"] for entry in run.state["resources"] if entry["key"] == "api"] == ["creating"]
    run.prepare = Faults(Stale("GetRestApis", NO_APIS, GONE_READS - 1)).put_on
    outcomes = {event.key: event.outcome for event in run.build()}
    assert len(apis(run)) == 1
    assert outcomes["api"] == ("recovered" if carried_out else "created")


def test_a_recorded_api_that_one_look_does_not_show_is_not_made_again(run: Deployment) -> None:
    run.build()
    before = apis(run)
    run.prepare = Faults(Stale("GetRestApis", NO_APIS, READS_IF_RECORDED)).put_on
    assert {event.outcome for event in run.build()} == {"unchanged"}
    assert run.writes == []
    assert apis(run) == before


def test_a_recorded_api_that_somebody_deleted_is_made_again(run: Deployment) -> None:
    run.build()
    [deleted] = apis(run)
    run.aws.apigateway.delete_rest_api(restApiId=deleted)
    outcomes = {event.key: event.outcome for event in run.build()}
    assert outcomes["api"] == "created"
    assert len(apis(run)) == 1
    assert apis(run) != [deleted]


@pytest.mark.slow
@pytest.mark.parametrize("resumed", ["by a build", "by a teardown"])
def test_a_list_that_lags_for_longer_makes_two_and_the_next_run_keeps_one(run: Deployment, resumed: str) -> None:
    stale = Stale("GetRestApis", NO_APIS, 1000, from_now_on=False)
    lost = lose_first("CreateRestApi", Faults.LOSE, lambda: setattr(stale, "on", True))
    run.prepare = Faults(lost, stale).put_on
    run.build()
    assert len(apis(run)) == 2
    serving = run.outputs("api")["id"]
    untroubled(run)
    if resumed == "by a build":
        run.build()
        assert apis(run) == [serving]
        assert [difference.wanted for difference in run.changed["api"].differences] == ["one"]
        run.build()
        assert run.changed == {}
    else:
        assert run.tear_down() == []
        assert apis(run) == []


def test_of_two_empty_ones_the_older_is_kept_and_built_up(run: Deployment) -> None:
    def die(call: Call) -> None:
        if call.operation == "CreateRestApi":
            for _ in range(2):
                run.aws.apigateway.create_rest_api(**call.parameters)
            raise Killed

    run.prepare = Faults(die).put_on
    with pytest.raises(Killed):
        run.build()
    untroubled(run)
    run.build()
    assert apis(run) == [run.outputs("api")["id"]]
    run.build()
    assert run.changed == {}


def test_an_empty_api_of_the_same_name_without_our_mark_is_never_taken_away(run: Deployment) -> None:
    theirs = run.aws.apigateway.create_rest_api(name=run.settings.api, tags={TAG: "poc-00000000"})["id"]
    run.build()
    run.build()
    assert theirs in apis(run)
    assert run.tear_down() == []
    assert apis(run) == [theirs]
    run.aws.apigateway.delete_rest_api(restApiId=theirs)


NOT_FOUND = {
    "GetRole": refusal("iam", "NoSuchEntity", "The role cannot be found.", 404),
    "GetPolicy": refusal("iam", "NoSuchEntity", "Policy does not exist.", 404),
    "DescribeTable": refusal("dynamodb", "ResourceNotFoundException", "Requested resource not found"),
    "GetFunction": refusal("lambda", "ResourceNotFoundException", "Function not found", 404),
    "DescribeLogGroups": Answer(200, b'{"logGroups": []}', {"Content-Type": "application/x-amz-json-1.1"}),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("operation", NOT_FOUND)
@pytest.mark.parametrize("stale_looks", [1, 3])
def test_what_a_stale_look_does_not_show_is_not_made_twice(run: Deployment, operation: str, stale_looks: int) -> None:
    """AWS refuses to make it again, and so tells that the look was wrong: the step looks again."""
    run.build()
    before = run.aws.inventory()
    stale = Stale(operation, NOT_FOUND[operation], stale_looks)
    run.prepare = Faults(stale).put_on
    run.build()
    assert stale.looks == 0
    assert run.aws.inventory() == before
    assert any(wait.reason == "there already, but not seen" for wait in run.waiting.waited)
    untroubled(run)
    run.build()
    assert run.changed == {}


def test_what_somebody_makes_between_look_and_creation_is_not_taken_over(run: Deployment) -> None:
    def overtake(call: Call) -> None:
        if call.operation == "CreateTable" and not run.aws.dynamodb.list_tables()["TableNames"]:
            parameters = {name: value for name, value in call.parameters.items() if name != "Tags"}
            run.aws.dynamodb.create_table(**parameters)

    run.prepare = Faults(overtake).put_on
    with pytest.raises(NotOurs):
        run.build()
    run.aws.dynamodb.delete_table(TableName=run.settings.table)


@pytest.mark.slow
def test_what_is_never_seen_ends_in_awss_own_words(run: Deployment) -> None:
    run.build()
    run.prepare = Faults(Stale("GetRole", NOT_FOUND["GetRole"], 10_000)).put_on
    with pytest.raises(ClientError, match="EntityAlreadyExists"):
        run.build()
    untroubled(run)
    run.build()
    assert {event.outcome for event in run.results} == {"unchanged", "recovered"}


def test_without_a_reason_to_doubt_nothing_is_held_back(run: Deployment) -> None:
    run.build()
    assert not any("may be there already" in wait.reason for wait in run.waiting.waited)
    assert issubclass(NotVisibleYet, Exception)
    assert not issubclass(NotVisibleYet, AnswerLost)


# What a whole service says while it is busy.

BUSY: dict[str, tuple[Answer, str]] = {
    "CreatePolicy": (refusal("iam", "ConcurrentModification", "submitted simultaneously", 409), IAM_BUSY.name),
    "CreateRole": (refusal("iam", "EntityTemporarilyUnmodifiable", "deleted a moment ago", 409), IAM_BUSY.name),
    "AttachRolePolicy": (refusal("iam", "NoSuchEntity", "The role cannot be found.", 404), JUST_MADE.name),
    "CreateTable": (
        refusal("dynamodb", "LimitExceededException", "Only 50 tables can be created simultaneously"),
        TABLES_BUSY.name,
    ),
    "CreateLogGroup": (refusal("logs", "OperationAbortedException", "Please try again."), LOG_GROUP_BUSY.name),
    "PutRetentionPolicy": (
        refusal("logs", "ResourceNotFoundException", "The log group does not exist."),
        JUST_MADE.name,
    ),
    "CreateEventSourceMapping": (
        refusal("lambda", "ResourceNotFoundException", "Function does not exist", 404),
        JUST_MADE.name,
    ),
    "CreateResource": (refusal("apigateway", "NotFoundException", "Invalid API identifier", 404), JUST_MADE.name),
    "PutMethod": (refusal("apigateway", "NotFoundException", "Invalid Resource identifier", 404), JUST_MADE.name),
    "PutIntegration": (refusal("apigateway", "NotFoundException", "Invalid Method identifier", 404), JUST_MADE.name),
    "PutMethodResponse": (
        refusal("apigateway", "ConflictException", "Unable to complete operation due to concurrent modification.", 409),
        API_BUSY.name,
    ),
    "PutIntegrationResponse": (
        refusal("apigateway", "NotFoundException", "Invalid Integration identifier", 404),
        JUST_MADE.name,
    ),
    "AddPermission": (
        refusal(
            "lambda", "ResourceConflictException", "The function is currently in the following state: Pending", 409
        ),
        FUNCTION_BUSY.name,
    ),
    "CreateDeployment": (
        refusal("apigateway", "BadRequestException", "The REST API doesn't contain any methods"),
        DEFINITION_NOT_YET_VISIBLE.name,
    ),
}


def test_a_build_waits_for_services_that_are_busy_and_for_what_they_do_not_see_yet(run: Deployment) -> None:
    faults = Faults(*(refuse(operation, answer, answer) for operation, (answer, _) in BUSY.items()))
    run.prepare = faults.put_on
    assert {event.outcome for event in run.build()} == {"created"}
    assert len(faults.served) == 2 * len(BUSY)
    assert {wait.reason for wait in run.waiting.waited} >= {reason for _, reason in BUSY.values()}
    for wait in run.waiting.waited:
        assert wait.budget > 0
        assert wait.elapsed >= 0


@pytest.mark.slow
def test_a_teardown_waits_for_services_that_are_busy(run: Deployment) -> None:
    run.build()
    busy = {
        "DetachRolePolicy": refusal("iam", "ConcurrentModification", "submitted simultaneously", 409),
        "RemovePermission": refusal(
            "lambda", "ResourceConflictException", "An update is in progress for resource", 409
        ),
        "DeleteEventSourceMapping": refusal("lambda", "ResourceInUseException", "because it is in use."),
        "DeleteRestApi": refusal("apigateway", "ConflictException", "due to concurrent modification.", 409),
        "DeleteLogGroup": refusal("logs", "OperationAbortedException", "Please try again."),
    }
    faults = Faults(*(refuse(operation, answer, answer) for operation, answer in busy.items()))
    run.prepare = faults.put_on
    assert run.tear_down() == []
    assert len(faults.served) == 2 * len(busy)
    reasons = {IAM_BUSY.name, FUNCTION_BUSY.name, TRIGGER_BUSY.name, API_BUSY.name, LOG_GROUP_BUSY.name}
    assert {wait.reason for wait in run.waiting.waited} >= reasons


# What the listener does with each single call, against a server that answers as told.


@pytest.fixture
def calls(clock: Clock) -> Calls:
    return Calls(waiting=Waiting(clock=clock, sleep=clock.sleep), permit=lambda call: None)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda asked: Answer(500)) as running:
        yield running


def client(calls: Calls, service: str, url: str) -> Any:
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")
    made = session.client(service, endpoint_url=url, config=client_config().merge(Config(read_timeout=0.25)))
    calls.put_on(made)
    return made


def test_a_service_that_stays_busy_is_given_up_with_its_words(calls: Calls, clock: Clock, server: Server) -> None:
    server.respond = in_turn(refusal("iam", "ConcurrentModification", "submitted simultaneously", 409))
    began = clock.now
    with pytest.raises(StillRefused, match="IAM is busy with this already") as gave_up:
        client(calls, "iam", server.url).create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    assert "ConcurrentModification: submitted simultaneously" in gave_up.value.what
    assert IAM_BUSY.budget - 3 <= clock.now - began <= IAM_BUSY.budget
    elapsed = [wait.elapsed for wait in calls.waiting.waited]
    assert elapsed == sorted(elapsed)
    assert elapsed[:3] == [0, 2, 4]


def test_what_is_taken_away_and_not_there_is_not_waited_for(calls: Calls, server: Server) -> None:
    server.respond = in_turn(refusal("iam", "NoSuchEntity", "gone", 404))
    with pytest.raises(ClientError, match="NoSuchEntity"):
        client(calls, "iam", server.url).delete_role(RoleName="r")
    assert len(server.asked) == 1


def test_a_try_again_says_how_long_it_has_lasted_and_when_it_ends(calls: Calls, server: Server) -> None:
    server.respond = in_turn(Answer(503))
    with pytest.raises(ClientError):
        client(calls, "iam", server.url).get_role(RoleName="r")
    assert [wait.elapsed for wait in calls.waiting.waited] == [0, 1, 3, 7]
    assert {wait.budget for wait in calls.waiting.waited} == {CONNECTION_BUDGET}
    assert calls.waiting.waited[0].means == f"Trying again, {TRIES - 1} times at most."


def test_a_network_that_answers_nothing_is_given_up_after_its_budget(
    calls: Calls, clock: Clock, server: Server
) -> None:
    """Each try then takes a minute."""

    def silence(asked: Asked) -> str:
        clock.now += 60
        return SILENCE

    server.respond = silence
    with pytest.raises(Exception, match="Read timeout"):
        client(calls, "iam", server.url).get_role(RoleName="r")
    assert len(server.asked) == 3
    assert clock.now - 500 <= CONNECTION_BUDGET + 60


def test_a_waiter_of_botocore_is_told_from_its_second_look(calls: Calls, server: Server) -> None:
    creating = Answer(body=b'{"Table": {"TableName": "name", "TableStatus": "CREATING"}}')
    active = Answer(body=b'{"Table": {"TableName": "name", "TableStatus": "ACTIVE"}}')
    waiter = {"Delay": 0, "MaxAttempts": 150}
    dynamodb = client(calls, "dynamodb", server.url)
    server.respond = in_turn(active)
    dynamodb.get_waiter("table_exists").wait(TableName="name", WaiterConfig=waiter)
    assert calls.waiting.waited == []
    server.respond = in_turn(creating, creating, active)
    dynamodb.get_waiter("table_exists").wait(TableName="name", WaiterConfig={"Delay": 0.01, "MaxAttempts": 100})
    assert calls.waiting.waited == [Wait("the table to be ready", "", "", 0.0, 1.0)] * 2
    dynamodb.describe_table(TableName="name")
    assert len(calls.waiting.waited) == 2
    server.respond = in_turn(creating)
    with pytest.raises(WaiterError):
        dynamodb.get_waiter("table_exists").wait(TableName="name", WaiterConfig={"Delay": 0.01, "MaxAttempts": 3})


# Credentials: never tried again.

SPELLINGS = sorted(EXPIRED | REFUSED)
SERVICE_CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "iam": (
        lambda it: it.get_role(RoleName="r"),
        lambda it: it.create_role(RoleName="r", AssumeRolePolicyDocument="{}"),
    ),
    "dynamodb": (lambda it: it.describe_table(TableName="t"), lambda it: it.delete_table(TableName="t")),
    "sqs": (lambda it: it.get_queue_url(QueueName="q"), lambda it: it.create_queue(QueueName="q")),
    "lambda": (lambda it: it.get_function(FunctionName="f"), lambda it: it.invoke(FunctionName="f")),
    "apigateway": (lambda it: it.get_rest_apis(), lambda it: it.create_rest_api(name="POC-API")),
    "logs": (lambda it: it.describe_log_groups(), lambda it: it.create_log_group(logGroupName="g")),
}


@pytest.mark.parametrize("service", SERVICE_CALLS)
def test_a_call_with_expired_or_refused_credentials_is_sent_once(
    calls: Calls, clock: Clock, server: Server, service: str
) -> None:
    made = client(calls, service, server.url)
    for code in SPELLINGS:
        for call in SERVICE_CALLS[service]:
            for status in (400, 403):
                server.asked.clear()
                server.respond = in_turn(refusal(service, code, "The security token is expired", status))
                with pytest.raises(ClientError) as refused:
                    call(made)
                assert refused.value.response["Error"]["Code"] == code
                assert len(server.asked) == 1
    assert clock.now == 500


WAITERS = {
    "table_exists": ("dynamodb", {"TableName": "t"}),
    "table_not_exists": ("dynamodb", {"TableName": "t"}),
    "function_active_v2": ("lambda", {"FunctionName": "f"}),
    "function_updated_v2": ("lambda", {"FunctionName": "f"}),
}


@pytest.mark.parametrize("name", WAITERS)
def test_a_waiter_ends_at_expired_credentials_and_they_are_told_as_such(
    calls: Calls, server: Server, name: str
) -> None:
    """botocore would wrap the refusal in an error of the waiter, which reads as if AWS had been slow."""
    service, parameters = WAITERS[name]
    made = client(calls, service, server.url)
    server.respond = in_turn(refusal(service, "ExpiredTokenException", "The security token is expired", 403))
    with pytest.raises(ClientError) as refused:
        made.get_waiter(name).wait(**parameters)
    assert len(server.asked) == 1
    ending = explain(refused.value, step="2 (Roles)", profile="lab")
    assert ending is not None
    assert ending.exit_code == outcome.ENVIRONMENT
    assert "aws sso login --profile lab" in ending.advice[0]


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "operation",
    [
        "GetPolicy",
        "CreateRole",
        "GetRole",
        "CreateTable",
        "CreateFunction",
        "CreateEventSourceMapping",
        "CreateRestApi",
    ],
)
def test_a_run_ends_at_expired_credentials_without_another_call_and_the_next_goes_on(
    run: Deployment, operation: str
) -> None:
    services = {"Policy": "iam", "Role": "iam", "Table": "dynamodb", "RestApi": "apigateway"}
    service = next((name for part, name in services.items() if operation.endswith(part)), "lambda")
    expired = refusal(service, "ExpiredTokenException", "The security token is expired", 403)
    faults = Faults(lambda call: expired if call.operation == operation else None)
    run.prepare = faults.put_on
    with pytest.raises(ClientError, match="ExpiredTokenException"):
        run.build()
    assert len(faults.served) == 1
    assert run.calls[-1].operation == operation
    assert run.waiting.waited == [] or run.waiting.waited[-1].words == ""
    untroubled(run)
    run.build()
    assert {entry["status"] for entry in run.state["resources"]} == {"created"}


@pytest.mark.slow
def test_the_tests_of_the_result_end_at_expired_credentials_too(run: Deployment) -> None:
    run.build()
    for operation, service in (("Invoke", "lambda"), ("TestInvokeMethod", "apigateway"), ("SendMessage", "sqs")):
        expired = refusal(service, "ExpiredTokenException", "The security token is expired", 403)
        run.prepare = Faults(lambda call, one=operation, said=expired: said if call.operation == one else None).put_on
        with pytest.raises(ClientError, match="ExpiredTokenException"):
            run.smoke_tests()
        assert Counter(call.operation for call in run.calls)[operation] == 1


# The environment, and both sides of botocore's change of its default.


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_RETRY_MODE": "legacy"},
        {"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "10"},
        {"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "10"},
        {"AWS_NEW_RETRIES_2026": "true"},
        {"AWS_NEW_RETRIES_2026": "false"},
        {"AWS_PROFILE": "stubborn"},
        {"AWS_PROFILE": "stubborn", "AWS_RETRY_MODE": "legacy"},
    ],
    ids=lambda environ: " ".join(f"{name}={value}" for name, value in environ.items()) or "nothing set",
)
def test_whatever_the_environment_says_each_write_is_sent_once_and_reads_as_often_as_we_say(
    calls: Calls, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile stubborn]\nregion = us-east-1\nretry_mode = adaptive\nmax_attempts = 10\n"
        "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    server.respond = lambda asked: caller_identity() if asked.operation == "GetCallerIdentity" else RESET
    aws = connect(Target(endpoint_url=server.url), calls)
    clients = {
        "iam": aws.iam,
        "dynamodb": aws.dynamodb,
        "sqs": aws.sqs,
        "apigateway": aws.apigateway,
        "logs": aws.logs,
    }
    for service, made in clients.items():
        read, write = SERVICE_CALLS[service]
        for trouble in (RESET, Answer(500), Answer(503)):
            server.respond = in_turn(trouble)
            server.asked.clear()
            with pytest.raises(AnswerLost):
                write(made)
            assert len(server.asked) == 1, (service, trouble)
        server.asked.clear()
        with pytest.raises(ClientError):
            read(made)
        assert len(server.asked) == TRIES


def test_stock_boto3_does_send_a_write_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above has teeth: without our own policy the second CreateRestApi leaves."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")
    server.respond = in_turn(RESET, Answer(body=b'{"id": "abc123"}'))
    session.client("apigateway", endpoint_url=server.url).create_rest_api(name="POC-API")
    assert len(server.asked) == 2


# The tests of the result.


def items(run: Deployment) -> list[Any]:
    found: list[Any] = run.aws.dynamodb.scan(TableName=run.settings.table)["Items"]
    return found


def ten_times_as_fast() -> Waiting:
    """For what really takes a moment: a message on its way through the queue."""
    return Waiting(clock=lambda: time.monotonic() * 10, sleep=lambda seconds: time.sleep(seconds / 10))


TRIAL_CALLS = ("Invoke", "TestInvokeMethod", "SendMessage", "DeleteItem", "GetItem")
TRIAL_SERVICES = {"Invoke": "lambda", "TestInvokeMethod": "apigateway", "SendMessage": "sqs"}


def troubled(how: str) -> Callable[[Call], Answer | str | None]:
    """Each of the calls of the smoke tests is troubled twice."""
    came: Counter[str] = Counter()

    def decide(call: Call) -> Answer | str | None:
        came[call.operation] += 1
        if call.operation not in TRIAL_CALLS or came[call.operation] > 2:
            return None
        service = TRIAL_SERVICES.get(call.operation, "dynamodb")
        if how == "throttled":
            return refusal(service, "ThrottlingException", "Rate exceeded", 429 if service == "lambda" else 400)
        if how == "500":
            return Answer(500)
        return how

    return decide


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("how", [Faults.LOSE, Faults.DROP, "500", "throttled"])
def test_the_tests_of_the_result_get_by_what_gets_lost_and_leave_nothing(
    run: Deployment, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run.build()
    faults = Faults(troubled(how))
    run.prepare = faults.put_on
    run.waiting = ten_times_as_fast()
    assert len(run.smoke_tests()) == 5
    assert {call.operation for call in faults.served} == set(TRIAL_CALLS)
    assert items(run) == []


@pytest.mark.slow
def test_a_test_that_fails_takes_its_item_away(run: Deployment) -> None:
    run.build()
    garbled = Answer(200, json.dumps({"status": 200, "body": "not DynamoDB's"}).encode())

    def decide(call: Call) -> Answer | None:
        if call.operation != "TestInvokeMethod":
            return None
        item = json.loads(call.parameters["body"])["payload"]["Item"]
        run.aws.dynamodb.put_item(TableName="name", Item={name: {"S": value} for name, value in item.items()})
        return garbled

    run.prepare = Faults(decide).put_on
    with pytest.raises(SmokeTestFailed):
        run.smoke_tests()
    assert items(run) == []


@pytest.mark.slow
def test_what_a_killed_test_left_goes_with_the_next_one_and_nothing_of_others_does(run: Deployment) -> None:
    run.build()
    theirs = {"id": {"S": "trial-of-theirs"}, "name": {"S": "Bob"}}
    run.aws.dynamodb.put_item(TableName="name", Item=theirs)

    def die(call: Call) -> None:
        if call.operation == "DeleteItem":
            raise Killed

    run.prepare = Faults(die).put_on
    with pytest.raises(Killed):
        run.smoke_tests()
    assert len(items(run)) == 2
    untroubled(run)
    run.waiting = ten_times_as_fast()
    run.smoke_tests()
    assert items(run) == [theirs]


# The machine. Every program, in its own words; what one of them writes on stdout is data.

PROGRAMS: dict[str, int] = {  # and the usual exit code
    "provision": outcome.ENVIRONMENT,  # there are no credentials
    "provision --help": outcome.DONE,
    "provision --nonsense": outcome.USAGE,
    "provision errata": outcome.DONE,
    "provision status --sandbox": outcome.LEFT,
    "provision status --sandbox --output json": outcome.LEFT,
    "provision replay": outcome.LEFT,
    "teardown --sandbox": outcome.DONE,
    "teardown --sandbox --output json": outcome.DONE,
    "sandbox --version": outcome.DONE,
    "sandbox nonsense": outcome.USAGE,
    "sandbox status": outcome.LEFT,
    "sandbox status --output json": outcome.LEFT,
}
MAINS = {"provision": provision_main, "teardown": teardown_main, "sandbox": sandbox_main}
WITH_DATA = ("--help", "--version", "json", "errata")
WITHOUT_WORDS = ("provision --help", "provision errata", "sandbox --version")


def ended(command: str, out: Any, talk: Any) -> int:
    """The exit code of a program with these streams; None is a closed one."""
    program, *arguments = command.split()
    with redirect_stdout(out), redirect_stderr(talk):
        try:
            return MAINS[program](arguments)
        except SystemExit as end:  # as argparse ends
            return int(str(end.code))


def said(command: str) -> tuple[int, str, str]:
    """The exit code of a program, and what it says on stdout and stderr."""
    out, talk = io.StringIO(), io.StringIO()
    return ended(command, out, talk), out.getvalue(), talk.getvalue()


@pytest.mark.parametrize("columns", ["0", "1", "-1", "many"])
def test_no_width_makes_a_program_mute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", columns)
    for command, usual in PROGRAMS.items():
        code, out, talk = said(command)
        assert (code, bool(out), bool(talk)) == (usual, command.endswith(WITH_DATA), command not in WITHOUT_WORDS)
        if command.endswith("json"):
            assert json.loads(out)["exit_code"] == usual


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_cannot_be_written_ends_with_253(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It must read neither as drift nor as success."""
    monkeypatch.chdir(tmp_path)
    for command, usual in PROGRAMS.items():
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            out = io.StringIO()
            code = usual if command in WITHOUT_WORDS else outcome.ENVIRONMENT
            assert ended(command, out, full) == code, command
            if command.endswith("json"):
                assert json.loads(out.getvalue())["exit_code"] == code
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            talk = io.StringIO()
            code = outcome.ENVIRONMENT if command.endswith(WITH_DATA) else usual
            assert ended(command, full, talk) == code, command
            if code != usual == outcome.DONE:
                assert talk.getvalue().count("/dev/full cannot be written: No space left on device.") == 1


def test_a_closed_stream_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for command, usual in PROGRAMS.items():
        assert ended(command, None, io.StringIO()) == ended(command, io.StringIO(), None) == usual, command


@pytest.mark.skipif(sys.platform == "win32", reason="there a folder that somebody works in cannot be removed")
def test_in_a_folder_that_was_removed_there_is_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("PATH", "")  # so that python is not found by its name
    others = {"provision --sandbox": 0, "sandbox start": outcome.ENVIRONMENT, "sandbox logs": outcome.LEFT}
    for command, usual in {**PROGRAMS, **others}.items():
        code, _, talk = said(command)
        needs_it = "--sandbox" in command
        assert code == (outcome.ENVIRONMENT if needs_it else usual), command
        assert talk.count("Error: The working folder was removed.") == needs_it
        assert "defect" not in talk
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_there_is_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".provision").touch()  # not even root can make a folder of that name
    for command in ("provision --sandbox", "provision --sandbox --debug", "sandbox start"):
        code, _, talk = said(command)
        assert (code, talk.count("Error: ")) == (outcome.ENVIRONMENT, 1)
        assert ".provision" in talk and ("cannot be written" in talk or "cannot be used" in talk)


@pytest.mark.parametrize("home", [None, "", "/nowhere"])
def test_without_a_home_the_programs_end_as_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("os.path.expanduser", lambda path: os.fspath(path))  # not the home of whoever runs the tests
    for command, usual in PROGRAMS.items():
        assert said(command)[0] == usual, command


@pytest.mark.parametrize("program", MAINS)
def test_without_docstrings_and_assertions_the_programs_start(program: str) -> None:
    started = subprocess.run(
        [sys.executable, "-OO", "-m", program, "--help"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (started.returncode, started.stderr) == (0, "")
