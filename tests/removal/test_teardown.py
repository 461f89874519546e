"""What teardown does: everything goes, whatever fails on the way is kept in the books, and the proof can fail."""

from __future__ import annotations

import copy
import functools
import io
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import botocore.waiter
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

import provision.aws.connect
import provision.state.file
import teardown.__main__ as program
from provision import STEPS
from provision.aws import sandbox_process
from provision.aws.calls import Calls
from provision.aws.clients import Clients, Target
from provision.aws.reasons import STILL_ATTACHED
from provision.aws.waiting import Wait, Waiting
from provision.cli.ending import run_program
from provision.cli.options import state_path
from provision.cli.results import Result
from provision.cli.runner import run_step
from provision.cli.session import Session
from provision.settings import Settings
from provision.state.entries import TAG, TAG_KEYS
from provision.state.ownership import NotTheRecorded
from provision.state.state import State
from sandbox import Sandbox
from teardown import backwards
from teardown.looks import Looks
from tests.rig.deployment import ACCOUNT, CONNECTIONS, REGION, Deployment
from tests.rig.screens import memory_screen

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def several_looks(one_look: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backwards, "GONE_READS", AS_MANY_LOOKS_AS_FOR_A_USER)


AS_MANY_LOOKS_AS_FOR_A_USER = backwards.GONE_READS


def short_sleep(seconds: float) -> None:
    time.sleep(min(seconds / 20, 0.03))


def build_only(deployment: Deployment, *names: str) -> None:
    """Some of the steps, where the others would only take time."""
    aws = deployment.connect()
    state = deployment.open(aws)
    for step in STEPS:
        if step.name in names:
            run_step(step, aws, deployment.settings, state)
    state.close()


class AtEndpoint(Deployment):
    """The same at any endpoint, in a working folder of its own: what `--endpoint-url URL --learner NAME` means.

    `prepare` is also called with the clients of the command line's own runs.
    """

    @property
    def target(self) -> Target:
        return Target(endpoint_url=self.url, region=REGION)

    @property
    def arguments(self) -> list[str]:
        assert self.settings.learner
        return ["--endpoint-url", self.url, "--learner", self.settings.learner]


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AtEndpoint]:
    monkeypatch.chdir(tmp_path)
    learner = f"t{secrets.token_hex(3)}"
    path = state_path(ACCOUNT, REGION, sandbox.url, learner, Path(".provision"))
    with AtEndpoint(sandbox.id, sandbox.url, path, Settings(learner=learner)) as made:
        made.waiting.sleep = short_sleep

        def connect_and_prepare(target: Target, calls: Calls) -> Clients:
            aws = CONNECTIONS.lend(target, calls)
            made.prepare(aws, None)  # type: ignore[arg-type]
            made.calls = calls.history
            return aws

        monkeypatch.setattr(provision.aws.connect, "connect", connect_and_prepare)
        yield made


@dataclass
class Ended:
    """How a run of the command line ended."""

    code: int
    said: str

    @property
    def flat(self) -> str:
        return " ".join(self.said.split())


def tear_down(*arguments: str) -> Ended:
    """`python -m teardown ARGUMENTS`, in this process, with short sleeps."""
    screen = memory_screen()
    session = Session(screen, "teardown", sleep=short_sleep)

    def body() -> Result:
        return program.teardown(list(arguments), session)

    code = run_program(body, session, again="python -m teardown").exit_code
    CONNECTIONS.give_back(session.calls)
    assert isinstance(screen.talk.file, io.StringIO)
    return Ended(code, screen.talk.file.getvalue())


def recorded(deployment: Deployment) -> list[str]:
    return [entry["key"] for entry in deployment.state["resources"] if entry["status"] != "deleted"]


def tags_of(deployment: Deployment) -> dict[str, str]:
    return {TAG: deployment.state["deployment"]}


# Faults. A handler that answers "before-call" keeps the call from leaving; one that raises in "before-send" is a
# broken connection.


def on(aws: Clients, service: str, event: str, handler: Callable[..., Any]) -> None:
    """`handler` is called at botocore's `event` ("before-call.DeleteTable") of one of the suite's clients."""
    client = getattr(aws, service)
    moment, _, operation = event.partition(".")
    name = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_last(f"{moment}.{name}.{operation}", handler)


def refusal(code: str = "AccessDeniedException", status: int = 403) -> Any:
    return (
        SimpleNamespace(status_code=status, headers={}, content=b""),
        {"Error": {"Code": code, "Message": "not now"}, "ResponseMetadata": {"HTTPStatusCode": status}},
    )


def refuse(aws: Clients, service: str, *operations: str) -> None:
    for operation in operations:
        on(aws, service, f"before-call.{operation}", lambda **event: refusal())


def pretend(aws: Clients, service: str, operation: str, **answer: Any) -> None:
    """AWS says that it did it, and did nothing."""
    body = b"<X><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></X>" if service == "iam" else b"{}"
    success = SimpleNamespace(status_code=200, headers={}, content=body)
    on(aws, service, f"before-call.{operation}", lambda **event: (success, answer))


DELETING = {
    "apigateway": ("DeleteStage", "DeleteRestApi"),
    "lambda_": ("RemovePermission", "DeleteEventSourceMapping", "DeleteFunction"),
    "logs": ("DeleteLogGroup",),
    "sqs": ("DeleteQueue",),
    "dynamodb": ("DeleteTable",),
    "iam": ("DetachRolePolicy", "DeleteRole", "DeletePolicyVersion", "DeletePolicy"),
}

# Everything goes.


def test_everything_goes_with_all_that_aws_made_of_it_and_the_receipt_names_each_resource(
    deployment: AtEndpoint,
) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    deployment.build()
    identities = [entry["identity"] for entry in deployment.state["resources"]]
    for default in (False, True):
        make_policy_version(deployment, default=default)
    for _ in range(2):
        aws.apigateway.create_deployment(restApiId=deployment.outputs("api")["id"], stageName=settings.stage)
    aws.lambda_.invoke(FunctionName=settings.function, Payload=json.dumps({"operation": "ping"}))
    aws.logs.create_log_stream(logGroupName=settings.log_group, logStreamName="late")
    for number in range(3):
        aws.dynamodb.put_item(TableName=settings.table, Item={"id": {"S": str(number)}})
    aws.sqs.send_message(QueueUrl=deployment.outputs("dead-letter-queue")["url"], MessageBody="failed")

    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert aws.inventory() == before
    assert f"{settings.table} (3 items)" in ended.flat
    assert f"{settings.queue} (no messages)" in ended.flat
    assert f"{settings.dead_letter_queue} (1 waiting message)" in ended.flat
    assert f"Nothing is left: all {len(identities)} recorded resources were read back" in ended.flat
    receipt = deployment.state["receipt"]
    assert deployment.state["resources"] == []
    assert [resource["identity"] for resource in receipt["things"]] == identities
    assert {resource["found"] for resource in receipt["things"]} == {False}

    # A second time there is nothing to do, and nothing to ask.
    state = deployment.path.read_bytes()
    ended = tear_down(*deployment.arguments)
    assert ended.code == 0
    assert "Everything was removed already" in ended.flat
    assert "Nothing to do" in ended.flat
    assert deployment.writes == []
    assert deployment.path.read_bytes() == state


def test_a_receipt_is_believed_only_after_a_look(deployment: AtEndpoint) -> None:
    """The state file of another day, put back: what it says was removed was built again since."""
    build_only(deployment, "table")
    assert tear_down(*deployment.arguments, "--yes").code == 0
    kept = deployment.path.read_bytes()
    build_only(deployment, "table")
    built, _ = deployment.path.read_bytes(), deployment.path.write_bytes(kept)
    ended = tear_down(*deployment.arguments)
    assert ended.code == 1
    assert "1 resource with this deployment's tag" in ended.flat
    assert "--recover" in ended.flat
    deployment.path.write_bytes(built)
    assert tear_down(*deployment.arguments, "--yes").code == 0


def make_policy_version(deployment: AtEndpoint, *, default: bool) -> None:
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    deployment.aws.iam.create_policy_version(
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{deployment.settings.read_policy}",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        SetAsDefault=default,
    )


def test_what_was_deleted_by_hand_counts_as_gone(deployment: AtEndpoint) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    deployment.build()
    aws.apigateway.delete_rest_api(restApiId=deployment.outputs("api")["id"])
    aws.lambda_.delete_event_source_mapping(UUID=deployment.outputs("trigger")["id"])
    aws.lambda_.delete_function(FunctionName=settings.function)
    aws.sqs.delete_queue(QueueUrl=deployment.outputs("queue")["url"])
    aws.dynamodb.delete_table(TableName=settings.table)
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert aws.inventory() == before
    assert f"{settings.table} (it was not there any more)" in ended.flat
    assert sorted(deployment.writes) == [
        "DeleteLogGroup",
        *["DeletePolicy"] * 2,
        "DeleteQueue",  # the dead-letter queue
        *["DeleteRole"] * 2,
        *["DetachRolePolicy"] * 3,
    ]


def test_what_somebody_deletes_between_our_look_and_our_call_counts_as_gone(deployment: AtEndpoint) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function")
    url = deployment.outputs("queue")["url"]
    by_hand: dict[tuple[str, str], Callable[[], Any]] = {
        ("dynamodb", "DeleteTable"): lambda: aws.dynamodb.delete_table(TableName=settings.table),
        ("lambda_", "DeleteFunction"): lambda: aws.lambda_.delete_function(FunctionName=settings.function),
        ("logs", "DeleteLogGroup"): lambda: aws.logs.delete_log_group(logGroupName=settings.log_group),
        ("sqs", "DeleteQueue"): lambda: aws.sqs.delete_queue(QueueUrl=url),
        ("iam", "DeleteRole"): lambda: aws.iam.delete_role(RoleName=settings.api_role),
    }
    done: list[str] = []

    def prepare(clients: Clients, state: State | None) -> None:
        for (service, operation), delete in by_hand.items():
            on(clients, service, f"before-call.{operation}", functools.partial(first, delete))

    def first(delete: Callable[[], Any], model: Any, **event: Any) -> None:
        if model.name not in done:
            done.append(model.name)
            delete()

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert len(done) == len(by_hand)
    assert aws.inventory() == before


def test_a_log_group_that_a_late_invocation_makes_again_goes_again(deployment: AtEndpoint) -> None:
    aws, settings = deployment.aws, deployment.settings
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "function")
    back: list[str] = []

    def come_back(**event: Any) -> None:
        if len(back) < 2:
            write_as_lambda(deployment)
            back.append(settings.log_group)

    deployment.prepare = lambda clients, state: on(clients, "logs", "after-call.DeleteLogGroup", come_back)
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert len(back) == 2
    assert aws.inventory() == before


def test_who_attaches_something_after_the_look_is_named_and_the_role_stays(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_only(deployment, "policies", "roles")
    theirs = deployment.aws.iam.create_policy(
        PolicyName=f"theirs-{deployment.settings.learner}",
        PolicyDocument='{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}',
    )["Policy"]["Arn"]
    role = deployment.settings.api_role
    deployment.aws.iam.attach_role_policy(RoleName=role, PolicyArn=theirs)
    monkeypatch.setattr(backwards, "what_stays", lambda looks, include_adopted: {})
    [left] = deployment.tear_down()
    assert left.resource.identity == {"RoleName": role} and "others depend on it: policy theirs-" in left.why
    deployment.aws.iam.detach_role_policy(RoleName=role, PolicyArn=theirs)
    deployment.aws.iam.delete_policy(PolicyArn=theirs)
    assert deployment.tear_down() == []


def test_who_comes_while_a_person_thinks_about_the_question_is_seen(deployment: AtEndpoint) -> None:
    build_only(deployment, "policies", "roles", "table", "function")
    clock = Clock()
    deployment.waiting = Waiting(clock=clock, sleep=clock.sleep)
    aws, name = deployment.connect(), deployment.settings.function
    state = deployment.open(aws)
    theirs = {"FunctionName": name, "StatementId": "theirs"}
    try:
        looks = Looks(aws, state)
        assert backwards.what_stays(looks) == {}
        deployment.aws.lambda_.add_permission(
            **theirs, Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", SourceAccount=ACCOUNT
        )
        clock.now += 11
        left = backwards.take_down(looks, tell=lambda word, resource, remark: None, stays={})
        assert {one.resource.key for one in left} >= {"function", "table"}
        assert "permission theirs of s3.amazonaws.com" in left[0].why
        deployment.aws.lambda_.remove_permission(**theirs)
        clock.now += 11
        assert backwards.take_down(looks, tell=lambda word, resource, remark: None) == []
    finally:
        state.close()


@pytest.mark.usefixtures("several_looks")
def test_a_log_group_that_came_back_and_has_no_stream_at_first_goes_again(deployment: AtEndpoint) -> None:
    aws, name = deployment.aws, deployment.settings.log_group
    before = aws.inventory()
    build_only(deployment, "policies", "roles", "table", "function")
    looks: list[str] = []

    def group(**event: Any) -> None:
        if not looks:
            aws.logs.create_log_group(logGroupName=name)
            untag(deployment)

    def stream(**event: Any) -> None:
        looks.append(name)
        if len(looks) == 2:
            aws.logs.create_log_stream(logGroupName=name, logStreamName="2026/11/20/[$LATEST]0123456789abcdef")

    def prepare(clients: Clients, state: State) -> None:
        on(clients, "logs", "after-call.DeleteLogGroup", group)
        on(clients, "logs", "before-call.DescribeLogStreams", stream)

    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert len(looks) == 2 and aws.inventory() == before


def untag(deployment: AtEndpoint) -> None:
    """Lambda and people put no tags on a log group; moto keeps those of the one before."""
    logs, name = deployment.aws.logs, deployment.settings.log_group
    arn = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"]
    logs.untag_resource(resourceArn=arn.removesuffix(":*"), tagKeys=list(TAG_KEYS))


def write_as_lambda(deployment: AtEndpoint, stream: str = "2026/11/20/[$LATEST]0123456789abcdef") -> None:
    """What a last invocation does when the log group is gone."""
    logs, name = deployment.aws.logs, deployment.settings.log_group
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName=stream)


@pytest.mark.parametrize("stream", [None, "notes"], ids=["empty", "with a stream of theirs"])
def test_a_log_group_that_somebody_makes_after_ours_went_is_told_and_left(
    deployment: AtEndpoint, stream: str | None
) -> None:
    """It has no tag, and is not from a last invocation: within the minutes in which one could still write."""
    aws, name = deployment.aws, deployment.settings.log_group
    build_only(deployment, "policies", "roles", "table", "function")

    def make(**event: Any) -> None:
        if stream is None:
            aws.logs.create_log_group(logGroupName=name)
        else:
            write_as_lambda(deployment, stream)
        untag(deployment)

    deployment.prepare = lambda clients, state: on(clients, "logs", "after-call.DeleteLogGroup", make)
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert name in aws.inventory()["log groups"]
    assert f"Somebody else's, and not touched: what is called {name} by now" in ended.flat
    [namesake] = [thing for thing in deployment.state["receipt"]["things"] if "namesake" in thing]
    assert namesake["identity"] == {"logGroupName": name}
    aws.logs.delete_log_group(logGroupName=name)


def test_a_deployment_as_written_goes_too(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    deployment.build(Settings(learner=deployment.settings.learner, as_written=True))
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


# Waiting for what AWS does not finish at once, and for places that lag behind.


def test_what_somebody_else_is_deleting_is_looked_for_as_often_as_what_nobody_acknowledged(
    deployment: AtEndpoint, several_looks: None
) -> None:
    build_only(deployment, "table")
    table = deployment.outputs("table")
    going = {"TableStatus": "DELETING", "TableArn": table["arn"], "TableId": table["id"]}
    deployment.aws.dynamodb.delete_table(TableName=deployment.settings.table)
    looks: list[str] = []

    def show_once(model: Any, **event: Any) -> Any:
        looks.append(model.name)
        answer = SimpleNamespace(status_code=200, headers={}, content=b"{}"), {"Table": dict(going)}
        return answer if len(looks) == 1 else None

    def prepare(clients: Clients, state: State | None) -> None:
        on(clients, "dynamodb", "before-call.DescribeTable", show_once)

    deployment.prepare = prepare
    said: list[tuple[str, str]] = []
    with deployment.connected() as aws, closing(deployment.open(aws)) as state:
        backwards.take_down(
            Looks(aws, state), tell=lambda word, resource, remark: said.append((word, remark)), stays={}
        )
        assert said == [("deleted", "it was being deleted already")]
        seen = len(looks)
        assert backwards.prove(aws, state, []) == []
        assert len(looks) - seen == AS_MANY_LOOKS_AS_FOR_A_USER > 1


def test_what_is_deleted_in_the_background_is_waited_for(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trigger, queue and table are seen for a while after their deletion."""
    monkeypatch.setattr(botocore.waiter, "time", SimpleNamespace(sleep=short_sleep))
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function", "trigger")
    table, queue = deployment.outputs("table"), deployment.outputs("queue")
    trigger = {"UUID": deployment.outputs("trigger")["id"]}
    answers = {
        "lambda_": {"GetEventSourceMapping": {"State": "Deleting", "EventSourceArn": queue["arn"], **trigger}},
        "dynamodb": {
            "DescribeTable": {
                "Table": {"TableStatus": "DELETING", "TableArn": table["arn"], "TableId": table["id"]},
            },
        },
        "sqs": {
            "GetQueueUrl": {"QueueUrl": queue["url"]},
            "GetQueueAttributes": {"Attributes": {"QueueArn": queue["arn"], "CreatedTimestamp": queue["id"]}},
            "ListQueueTags": {"Tags": {}},
        },
    }
    ends = {"lambda_": "DeleteEventSourceMapping", "dynamodb": "DeleteTable", "sqs": "DeleteQueue"}
    order: list[str] = []

    def prepare(clients: Clients, state: State | None) -> None:
        for service in DELETING:
            on(clients, service, "after-call.*", note)
            for operation, answer in answers.get(service, {}).items():
                on(clients, service, f"before-call.{operation}", functools.partial(show, service, answer))

    def note(model: Any, **event: Any) -> None:
        if model.name in sum(DELETING.values(), ()):
            order.append(model.name)

    def show(service: str, answer: dict[str, Any], model: Any, params: dict[str, Any], **event: Any) -> Any:
        """The resource as it looks while it goes, to the first nine reads after its deletion."""
        is_other = service == "sqs" and deployment.settings.queue.encode() not in params["body"]
        if is_other or ends[service] not in order or order.count(service) >= 9:
            return None
        order.append(service)
        return SimpleNamespace(status_code=200, headers={}, content=b"{}"), copy.deepcopy(answer)

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    for service in answers:
        assert order.count(service) == 9
    assert deployment.aws.inventory() == before


@pytest.mark.usefixtures("several_looks")
def test_one_stale_answer_that_a_resource_is_not_there_orphans_nothing(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table")
    told: dict[str, int] = {}

    def lag(model: Any, params: dict[str, Any], **event: Any) -> Any:
        """Each resource's first two looks, before the walk and in it, go to a place that does not know it yet."""
        about = f"{model.name} {params['body']}"
        told[about] = told.get(about, 0) + 1
        if told[about] > 2:
            return None
        return refusal("ResourceNotFoundException" if model.name == "DescribeTable" else "NoSuchEntity", 400)

    def prepare(clients: Clients, state: State | None) -> None:
        for service, operation in (("iam", "GetPolicy"), ("iam", "GetRole"), ("dynamodb", "DescribeTable")):
            on(clients, service, f"before-call.{operation}", lag)

    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert len(told) == 5
    assert deployment.aws.inventory() == before


@pytest.mark.usefixtures("several_looks")
def test_the_proof_waits_for_what_is_seen_a_little_longer(deployment: AtEndpoint) -> None:
    """A place that lags behind shows a deleted role for a while; that is no failure."""
    build_only(deployment, "policies", "roles")
    role = deployment.settings.api_role
    shown = deployment.aws.iam.get_role(RoleName=role)["Role"]
    shown["AssumeRolePolicyDocument"] = json.dumps(shown["AssumeRolePolicyDocument"])
    stale = [True] * 5
    deleted: list[str] = []

    def lag(params: dict[str, Any], **event: Any) -> Any:
        if len(deleted) == 2 and stale and params["body"]["RoleName"] == role:
            stale.pop()
            return SimpleNamespace(status_code=200, headers={}, content=b""), {"Role": dict(shown)}
        return None

    def prepare(clients: Clients, state: State) -> None:
        on(clients, "iam", "after-call.DeleteRole", lambda **event: deleted.append("role"))
        on(clients, "iam", "before-call.GetRole", lag)

    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert stale == []


# Answers that do not arrive.


def test_no_deleting_call_whose_answer_is_lost_is_sent_again(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    make_policy_version(deployment, default=False)
    lost: list[str] = []

    def send_and_lose(request: Any, event_name: str, **event: Any) -> None:
        URLLib3Session().send(request)
        lost.append(event_name.rpartition(".")[2])
        raise ReadTimeoutError(endpoint_url=request.url)

    def prepare(clients: Clients, state: State) -> None:
        for service, operations in DELETING.items():
            for operation in operations:
                on(clients, service, f"before-send.{operation}", send_and_lose)

    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert set(deployment.writes) == set(sum(DELETING.values(), ())), "an operation is missing in DELETING, or here"
    assert lost == deployment.writes
    calls = [f"{call.operation} {call.parameters}" for call in deployment.calls if not call.is_read]
    assert sorted(set(calls)) == sorted(calls)
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_deleting_calls_that_never_arrive_are_sent_again_after_another_look(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    lost: set[tuple[str, str]] = set()

    def lose_once(request: Any, event_name: str, **event: Any) -> None:
        call = (event_name, f"{request.url} {request.body!r}")
        if call not in lost:
            lost.add(call)
            raise ReadTimeoutError(endpoint_url=request.url)

    def prepare(clients: Clients, state: State) -> None:
        for service, operations in DELETING.items():
            for operation in operations:
                on(clients, service, f"before-send.{operation}", lose_once)

    deployment.prepare = prepare
    assert deployment.tear_down() == []
    assert len(deployment.writes) == 2 * len(lost)
    assert deployment.aws.inventory() == before


# Going on past a failure.


def test_it_goes_on_past_what_fails_keeps_it_in_the_state_file_and_says_why(deployment: AtEndpoint) -> None:
    """Whether AWS refuses, or one service is out of order."""
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "function")
    count, settings = len(recorded(deployment)), deployment.settings

    def prepare(clients: Clients, state: State | None) -> None:
        refuse(clients, "dynamodb", "DeleteTable")
        broken = refusal("ServiceUnavailableException", 503)
        on(clients, "logs", "before-call.DeleteLogGroup", lambda **event: copy.deepcopy(broken))

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert recorded(deployment) == ["table", "log-group"]
    assert "2 of the recorded resources are left" in ended.flat
    end = ended.flat.partition(" Left ")[2]
    assert f"table {settings.table} (An error occurred (AccessDeniedException) when calling the DeleteTable" in end
    assert f"log group {settings.log_group} (" in end
    assert "ServiceUnavailableException" in end
    now = deployment.aws.inventory()
    assert {**now, "tables": {}, "log groups": []} == {**before, "tables": {}, "log groups": []}

    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before
    # The receipt is of everything, also of what the first run removed.
    assert len(deployment.state["receipt"]["things"]) == count


@pytest.mark.slow
def test_our_own_trigger_that_cannot_be_removed_keeps_its_queue_and_function(deployment: AtEndpoint) -> None:
    """AWS would delete both without a word, and the trigger would be left behind."""
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function", "trigger")
    deployment.prepare = lambda clients, state: refuse(clients, "lambda_", "DeleteEventSourceMapping")
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert recorded(deployment) == ["queue", "function", "trigger"]
    assert "others depend" not in ended.flat
    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_our_own_attachments_that_cannot_be_removed_keep_roles_and_policies_and_other_parts_go_with_the_whole(
    deployment: AtEndpoint,
) -> None:
    before = deployment.aws.inventory()
    deployment.build()

    waited: list[list[Wait]] = []

    def prepare(clients: Clients, state: State | None) -> None:
        waited.append(clients.waiting.waited)
        refuse(clients, "iam", "DetachRolePolicy")
        refuse(clients, "lambda_", "RemovePermission")
        refuse(clients, "apigateway", "DeleteStage")

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert recorded(deployment) == [
        "write-policy", "read-policy", "function-role", "function-role/write-policy", "function-role/read-policy",
        "api-role", "api-role/logs-policy",
    ]  # fmt: skip
    assert "others depend" not in ended.flat
    assert "it went with" in ended.flat
    # AWS was not asked in vain for as long as a detachment may take.
    assert STILL_ATTACHED.name not in {wait.reason for wait in waited[-1]}
    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


def test_an_expired_token_ends_it_at_once_and_the_next_run_goes_on(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue")
    expired: list[str] = []

    def expire(model: Any, **event: Any) -> Any:
        if expired or model.name == "DeleteTable":
            expired.append(model.name)
            return refusal("ExpiredTokenException")
        return None

    def prepare(clients: Clients, state: State | None) -> None:
        for service in DELETING:
            on(clients, service, "before-call.*", expire)

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 253
    assert "aws sso login" in ended.flat
    assert expired == ["DeleteTable"]
    left = recorded(deployment)
    assert "queue" not in left
    assert left[-1] == "table"

    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


def test_a_state_file_that_cannot_be_written_ends_it_before_the_next_call(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles")
    durably, written = provision.terminal.disk.write_durably, []

    def fill_the_disk(path: Path, data: bytes) -> None:
        if len(written) >= 5:
            raise OSError(28, "No space left on device")
        written.append(path)
        durably(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(provision.state.file, "write_durably", fill_the_disk)
        ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code not in (0, 1, 130)
    assert "No space left on device" in ended.flat
    # The backup, and for each of two deletions that it begins and that it is done.
    assert deployment.writes == ["DetachRolePolicy", "DeleteRole"]
    operations = [call.operation for call in deployment.calls]
    assert "GetPolicy" not in operations[operations.index("DeleteRole") :]  # the policies would have been next
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before


# The proof.


class Clock:
    """A clock that only sleeping moves, and ten times as far."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * 10


def test_the_proof_fails_for_what_is_still_there(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "function")
    clock = Clock()
    deployment.waiting = Waiting(clock=clock, sleep=clock.sleep)

    def prepare(clients: Clients, state: State) -> None:
        pretend(clients, "iam", "DeletePolicy")
        pretend(clients, "iam", "DeleteRole")
        pretend(clients, "logs", "DeleteLogGroup")

    deployment.prepare = prepare
    left = {one.resource.key: one.why for one in deployment.tear_down()}
    assert set(left) == {"write-policy", "read-policy", "function-role", "api-role", "log-group"}
    assert set(left.values()) == {"it is still there although it was deleted"}
    assert set(recorded(deployment)) == set(left)
    assert "receipt" not in deployment.state
    assert clock.now >= backwards.GONE_WITHIN_SECONDS

    deployment.prepare = lambda clients, state: None
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_what_is_still_there_when_it_should_have_vanished_is_deleted_again_by_the_same_run(
    deployment: AtEndpoint,
) -> None:
    """The look of an earlier run may have been answered by a place that did not know of it yet."""
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    clock = Clock()
    deployment.waiting = Waiting(clock=clock, sleep=clock.sleep)
    deployment.rewrite(lambda entries: entries["api"].update(status="deleted"))
    assert deployment.tear_down() == []
    assert deployment.aws.inventory() == before
    assert clock.now >= backwards.GONE_WITHIN_SECONDS


def test_what_is_still_there_without_our_mark_is_waited_for_and_not_deleted_again(deployment: AtEndpoint) -> None:
    """Its id was enough to wait for it: a state file edited by hand may hold the id of somebody else's resource."""
    build_only(deployment, "policies", "roles", "table")
    before = deployment.aws.inventory()
    clock = Clock()
    deployment.waiting = Waiting(clock=clock, sleep=clock.sleep)
    arn = deployment.aws.dynamodb.describe_table(TableName=deployment.settings.table)["Table"]["TableArn"]
    deployment.aws.dynamodb.untag_resource(ResourceArn=arn, TagKeys=list(TAG_KEYS))
    deployment.rewrite(lambda entries: entries["table"].update(status="deleted"))
    left = deployment.tear_down()
    assert [one.resource.key for one in left] == ["table"]
    assert "carries no tag" in left[0].why
    assert deployment.aws.inventory()["tables"].keys() == before["tables"].keys()
    assert clock.now >= backwards.GONE_WITHIN_SECONDS


@pytest.mark.slow
def test_a_log_group_of_another_function_never_counts_as_come_back(deployment: AtEndpoint) -> None:
    build_only(deployment, "policies", "roles", "table", "queue", "function")
    theirs = f"{deployment.settings.log_group}-theirs"

    deployment.rewrite(lambda entries: entries["log-group"]["identity"].update(logGroupName=theirs))
    aws = deployment.connect()
    state = deployment.open(aws)
    try:
        backwards.take_down(Looks(aws, state), tell=lambda word, resource, remark: None)
        deployment.aws.logs.create_log_group(logGroupName=theirs)  # by somebody, for a function of theirs
        backwards.prove(aws, state)
    finally:
        state.close()
    assert theirs in deployment.aws.inventory()["log groups"]


IDENTIFIED = ("read-policy", "api-role", "table", "dead-letter-queue", "api")


def test_what_has_our_tag_but_another_id_than_the_recorded_is_neither_updated_nor_deleted(
    deployment: AtEndpoint,
) -> None:
    """As if each were made anew, from a backup or as a copy, with its tags."""
    before = deployment.aws.inventory()
    deployment.build()
    ids = {key: deployment.outputs(key)["id"] for key in IDENTIFIED}

    def with_ids(other: dict[str, str]) -> None:
        deployment.rewrite(lambda entries: [entries[key]["outputs"].update(id=id) for key, id in other.items()])

    for key in IDENTIFIED:
        with_ids({**ids, key: "1"})
        with pytest.raises(NotTheRecorded, match=f"is {ids[key]}, recorded is 1"):
            deployment.build()
        assert not deployment.writes, key
        planned = deployment.plan()[key]
        assert planned.word == "in the way" and "where 1 is recorded" in planned.theirs
    with_ids(dict.fromkeys(IDENTIFIED, "1"))
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert set(recorded(deployment)) >= set(IDENTIFIED)
    assert all(f"is {ids[key]}, recorded is 1" in ended.flat for key in IDENTIFIED)
    with_ids(ids)
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_a_copy_of_our_api_with_its_tags_stays_and_is_named(deployment: AtEndpoint) -> None:
    apigateway = deployment.aws.apigateway
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    original = deployment.outputs("api")["id"]
    copied = apigateway.create_rest_api(name=deployment.settings.api, cloneFrom=original, tags=tags_of(deployment))[
        "id"
    ]
    root = apigateway.get_resources(restApiId=copied)["items"][0]["id"]
    apigateway.create_resource(restApiId=copied, parentId=root, pathPart="theirs")
    left = deployment.tear_down()
    assert [one.resource.key for one in left] == ["api"]
    assert f"its id is {copied}" in left[0].why
    assert [api["id"] for api in apigateway.get_rest_apis()["items"] if api["tags"] == tags_of(deployment)] == [copied]
    apigateway.delete_rest_api(restApiId=copied)


def test_what_lost_its_tag_stays_alone_and_the_rest_goes(deployment: AtEndpoint) -> None:
    aws = deployment.aws
    deployment.build()
    url = deployment.outputs("dead-letter-queue")["url"]
    aws.sqs.untag_queue(QueueUrl=url, TagKeys=list(TAG_KEYS))
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert "carries no tag" in ended.flat
    assert recorded(deployment) == ["dead-letter-queue"]
    aws.sqs.tag_queue(QueueUrl=url, Tags=tags_of(deployment))
    assert tear_down(*deployment.arguments, "--yes").code == 0


def test_on_aws_a_deleted_queue_is_looked_for_as_long_as_it_may_come_back(deployment: AtEndpoint) -> None:
    build_only(deployment, "policies", "roles", "queue")
    clock = Clock()
    deployment.waiting = Waiting(clock=clock, sleep=clock.sleep)
    aws = deployment.connect()
    state = deployment.open(aws)
    try:
        backwards.take_down(Looks(aws, state), tell=lambda word, resource, remark: None)
        began = clock.now
        assert backwards.prove(aws, state) == [] and clock.now - began < 45, "an emulator answers from one place"
        began = clock.now
        assert backwards.prove(replace(aws, endpoint=None), state) == []
        assert clock.now - began >= 45
    finally:
        state.close()


def test_what_cannot_be_read_back_is_not_proved_and_stays_in_the_state_file(deployment: AtEndpoint) -> None:
    build_only(deployment, "policies", "table")
    deleted: list[str] = []

    def forbid(**event: Any) -> Any:
        return refusal() if len(deleted) == 2 else None

    def prepare(clients: Clients, state: State | None) -> None:
        on(clients, "iam", "after-call.DeletePolicy", lambda **event: deleted.append("policy"))
        on(clients, "dynamodb", "before-call.DescribeTable", forbid)

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert "it could not be read back: An error occurred (AccessDenied" in ended.flat
    assert recorded(deployment) == ["table"]
    assert "receipt" not in deployment.state

    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert "receipt" in deployment.state


def test_a_run_that_ended_before_its_proof_is_proved_by_the_next(deployment: AtEndpoint) -> None:
    """All is deleted and nothing is proved: that is not "nothing to do"."""
    build_only(deployment, "policies", "table")
    deleted: list[str] = []

    def expire(**event: Any) -> Any:
        return refusal("ExpiredToken") if len(deleted) == 2 else None

    def prepare(clients: Clients, state: State | None) -> None:
        on(clients, "iam", "after-call.DeletePolicy", lambda **event: deleted.append("policy"))
        for service in DELETING:
            on(clients, service, "before-call.*", expire)

    deployment.prepare = prepare
    assert tear_down(*deployment.arguments, "--yes").code == 253
    assert recorded(deployment) == []

    deployment.prepare = lambda clients, state: None
    ended = tear_down(*deployment.arguments)  # nothing is removed, so nothing is asked
    assert ended.code == 0, ended.said
    assert "Nothing is left: all 3 recorded resources were read back" in ended.flat
    assert len(deployment.state["receipt"]["things"]) == 3


# Interrupted, and gone on with.


class Killed(BaseException):
    """Stands for a kill: no handler of the suite sees it."""


@pytest.mark.slow
def test_killed_after_a_deletion_it_goes_on_and_the_receipt_is_of_everything(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "roles", "table", "queue")
    order = recorded(deployment)

    def kill(**event: Any) -> None:
        raise Killed

    deployment.prepare = lambda clients, state: on(clients, "dynamodb", "after-call.DeleteTable", kill)
    with pytest.raises(Killed):
        tear_down(*deployment.arguments, "--yes")
    assert recorded(deployment) == order[: order.index("table") + 1]
    assert deployment.settings.table not in deployment.aws.inventory()["tables"]

    deployment.prepare = lambda clients, state: None
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0, ended.said
    assert f"{deployment.settings.table} (in an earlier run)" in ended.flat
    assert deployment.aws.inventory() == before
    assert len(deployment.state["receipt"]["things"]) == len(order)


@pytest.mark.slow
def test_provision_after_half_a_teardown_completes_and_keeps_the_order(deployment: AtEndpoint) -> None:
    steps = ("policies", "roles", "table", "queue", "function")
    before = deployment.aws.inventory()
    build_only(deployment, *steps)
    order, built = recorded(deployment), deployment.aws.inventory()
    deployment.prepare = lambda clients, state: refuse(clients, "sqs", "DeleteQueue")
    assert tear_down(*deployment.arguments, "--yes").code == 1
    assert recorded(deployment) == ["dead-letter-queue", "queue"]

    deployment.prepare = lambda clients, state: None
    build_only(deployment, *steps)
    assert recorded(deployment) == order
    assert deployment.aws.inventory() == built
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_an_interruption_names_the_command_that_goes_on(deployment: AtEndpoint) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "table")

    def prepare(clients: Clients, state: State | None) -> None:
        def press_ctrl_c(**event: Any) -> None:
            clients.calls.stopping = True  # as the handler of SIGINT does

        on(clients, "dynamodb", "before-call.DeleteTable", press_ctrl_c)

    deployment.prepare = prepare
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 130
    assert "Go on with: python -m teardown" in ended.flat
    assert deployment.calls[-1].operation == "DeleteTable"  # the call in flight was the last
    assert deployment.settings.table not in deployment.aws.inventory()["tables"]

    deployment.prepare = lambda clients, state: None
    assert tear_down(*deployment.arguments, "--yes").code == 0
    assert deployment.aws.inventory() == before


# Asking first.


def test_consent_decides_and_where_nobody_can_give_it_yes_is_needed(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies", "table")
    state, account = deployment.path.read_bytes(), deployment.aws.inventory()

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ended = tear_down(*deployment.arguments)
    assert ended.code == 252
    assert "--yes" in ended.flat
    assert "Nothing was changed" in ended.flat
    assert deployment.path.read_bytes() == state
    assert deployment.aws.inventory() == account

    for answer, code in (("n", 1), ("", 1), ("yes", 0)):
        terminal = io.StringIO(answer + "\n")
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        ended = tear_down(*deployment.arguments)
        assert ended.code == code
        assert f"table {deployment.settings.table} (no items)" in ended.flat.partition("To be removed")[2]
        if code:
            assert deployment.writes == []
            assert deployment.path.read_bytes() == state
            assert deployment.aws.inventory() == account
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_the_list_says_what_others_hung_on_our_resources_and_counts_only_what_goes(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, settings = deployment.aws, deployment.settings
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    build_only(deployment, "policies", "table")
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{settings.write_policy}"
    aws.iam.create_user(UserName="their-user")
    aws.iam.attach_user_policy(UserName="their-user", PolicyArn=arn)
    ended = tear_down(*deployment.arguments)
    listed, _, staying = ended.flat.partition("To stay as it is")
    assert f"policy {settings.write_policy} (others depend on it: user their-user)" in staying
    assert f"policy {settings.write_policy} " not in listed
    assert "Remove 2 resources from" in ended.flat

    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert f"policy {settings.write_policy} (others depend on it: user their-user)" in ended.flat.partition("Left")[2]
    # With nothing to remove there is nothing to ask.
    assert tear_down(*deployment.arguments).code == 1
    aws.iam.detach_user_policy(UserName="their-user", PolicyArn=arn)
    assert tear_down(*deployment.arguments, "--yes").code == 0
    aws.iam.delete_user(UserName="their-user")


def test_what_cannot_be_counted_is_said_to_be_uncounted(deployment: AtEndpoint) -> None:
    build_only(deployment, "table")
    deployment.prepare = lambda clients, state: refuse(clients, "dynamodb", "Scan")
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 0
    assert f"{deployment.settings.table} (what is in it could not be counted: AccessDeniedException)" in ended.flat


def test_many_items_are_counted_no_further_than_is_cheap(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_only(deployment, "table")
    for number in range(3):
        deployment.aws.dynamodb.put_item(TableName=deployment.settings.table, Item={"id": {"S": str(number)}})
    monkeypatch.setattr("provision.account.status.COUNTED_ITEMS", 2)
    ended = tear_down(*deployment.arguments, "--yes")
    assert f"{deployment.settings.table} (more than 2 items)" in ended.flat


# Which state file.


def test_state_names_the_state_file_and_the_default_one_is_not_looked_at(
    deployment: AtEndpoint, tmp_path: Path
) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, "policies")
    elsewhere = tmp_path / "elsewhere" / "mine.json"
    elsewhere.parent.mkdir()
    deployment.path.rename(elsewhere)
    assert tear_down(*deployment.arguments, "--yes", "--state", str(elsewhere)).code == 0
    assert deployment.aws.inventory() == before
    assert not deployment.path.exists()


def test_a_state_file_of_another_account_region_or_endpoint_is_refused(
    deployment: AtEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_only(deployment, "policies")
    saved, account = deployment.path.read_bytes(), deployment.aws.inventory()
    state = ["--state", str(deployment.path), "--yes"]

    other_region = tear_down("--endpoint-url", deployment.url, "--region", "eu-central-1", *state)
    other_endpoint = tear_down("--endpoint-url", deployment.url.replace("127.0.0.1", "localhost"), *state)
    role = deployment.aws.sts.assume_role(RoleArn="arn:aws:iam::222222222222:role/theirs", RoleSessionName="there")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", role["Credentials"]["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", role["Credentials"]["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", role["Credentials"]["SessionToken"])
    other_account = tear_down("--endpoint-url", deployment.url, *state)

    for ended, found in (
        (other_region, "eu-central-1"),
        (other_endpoint, "localhost"),
        (other_account, "222222222222"),
    ):
        assert ended.code not in (0, 130)
        assert "belongs to" in ended.flat
        assert found in ended.flat
    assert deployment.path.read_bytes() == saved
    assert deployment.aws.inventory() == account


# Without a state file.


def test_without_a_state_file_and_with_nothing_in_the_account_there_is_nothing_to_do(deployment: AtEndpoint) -> None:
    ended = tear_down(*deployment.arguments, "--region", "eu-west-1")
    assert ended.code == 0, ended.said
    assert str(deployment.path).replace(REGION, "eu-west-1") in ended.flat
    assert "Nothing with the suite's names was found" in ended.flat


def test_without_a_state_file_everything_of_the_suite_is_found_and_nothing_changed(deployment: AtEndpoint) -> None:
    settings = deployment.settings
    deployment.build()
    lost = deployment.path.with_name("under-another-name.json")
    deployment.path.rename(lost)
    account = deployment.aws.inventory()
    tag = json.loads(lost.read_bytes())["deployment"]
    ended = tear_down(*deployment.arguments, "--yes")
    assert ended.code == 1
    assert lost.name in ended.flat
    assert "--recover" in ended.flat
    for name in (
        settings.write_policy, settings.read_policy, settings.function_role, settings.api_role, settings.table,
        settings.queue, settings.dead_letter_queue, settings.function, settings.log_group, settings.api,
    ):  # fmt: skip
        assert f"{name} deployment {tag}" in ended.flat, name

    # Who forgot the learner's name is told of the tags.
    ended = tear_down("--endpoint-url", deployment.url, "--yes")
    assert ended.code == 1
    assert f"{settings.log_group} deployment {tag}" in ended.flat
    assert f"{settings.api} deployment {tag}" in ended.flat
    assert "--learner" in ended.flat
    assert "--recover" not in ended.flat, "for these names there is nothing to recover"

    assert deployment.writes == []
    assert deployment.aws.inventory() == account
    assert tear_down(*deployment.arguments, "--yes", "--state", str(lost)).code == 0


@pytest.mark.slow
def test_without_a_state_file_a_trigger_that_outlived_its_function_and_queue_is_found(deployment: AtEndpoint) -> None:
    aws, settings = deployment.aws, deployment.settings
    build_only(deployment, "policies", "roles", "table", "queue", "function", "trigger")
    trigger, queue = deployment.outputs("trigger")["id"], deployment.outputs("queue")["url"]
    deployment.prepare = lambda clients, state: refuse(clients, "lambda_", "DeleteEventSourceMapping")
    deployment.tear_down()
    deployment.prepare = lambda clients, state: None
    aws.lambda_.delete_function(FunctionName=settings.function)
    aws.sqs.delete_queue(QueueUrl=queue)
    deployment.path.unlink()
    ended = tear_down(*deployment.arguments)
    assert ended.code == 1
    assert f"UUID {trigger}" in ended.flat
    aws.lambda_.delete_event_source_mapping(UUID=trigger)


def test_without_a_state_file_what_cannot_be_looked_at_is_not_nothing(deployment: AtEndpoint) -> None:
    deployment.prepare = lambda clients, state: refuse(clients, "iam", "GetRole")
    ended = tear_down(*deployment.arguments, "--region", "eu-west-1")
    assert ended.code == 1
    assert f"role {deployment.settings.api_role} (AccessDeniedException)" in ended.flat
    assert "Nothing to do" not in ended.said


def test_an_empty_state_file_without_a_receipt_proves_nothing(deployment: AtEndpoint) -> None:
    build_only(deployment, "table")
    state = deployment.open(deployment.connect())
    state.resources = []
    state.save()
    state.close()
    ended = tear_down(*deployment.arguments)
    assert ended.code == 1
    assert f"table {deployment.settings.table} deployment {deployment.state['deployment']}" in ended.flat
    assert "--recover" not in ended.flat, "it would refuse: there is a state file"


# The sandbox that the command line starts and stops.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder in which `--sandbox` runs; a sandbox that a test leaves there is stopped."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / ".provision"
    kept.mkdir()
    yield kept
    running = sandbox_process.find(kept)
    if running is not None:
        sandbox_process.stop(running)


def in_sandbox(folder: Path, learner: str | None = None) -> Deployment:
    """A deployment, begun, in the folder's sandbox, which is started where there is none."""
    running = sandbox_process.start(folder)
    path = state_path(ACCOUNT, REGION, "sandbox:", learner, folder)
    begun = Deployment(running.id, running.url, path, Settings(learner=learner), key=running.key)
    build_only(begun, "policies")
    return begun


def test_the_sandbox_goes_on_while_another_state_file_uses_it_and_is_stopped_with_the_last(folder: Path) -> None:
    ours, other = in_sandbox(folder), in_sandbox(folder, "alice")
    ended = tear_down("--sandbox")
    assert ended.code == 0, ended.said
    assert "The sandbox goes on" in ended.flat
    assert other.path.name in ended.flat
    assert set(other.aws.inventory()["policies"]) == {other.settings.write_policy, other.settings.read_policy}
    assert ours.state["receipt"]["things"]

    ended = tear_down("--sandbox", "--learner", "alice")
    assert ended.code == 0, ended.said
    assert "The sandbox is stopped" in ended.flat
    assert sandbox_process.find(folder) is None
    ended = tear_down("--sandbox")
    assert ended.code == 0
    assert "Nothing to do" in ended.flat


@pytest.mark.slow
def test_a_sandbox_that_is_gone_took_everything_along(folder: Path) -> None:
    ours = in_sandbox(folder)
    alice = in_sandbox(folder, "alice")
    gone = sandbox_process.find(folder)
    assert gone is not None
    sandbox_process.stop(gone)
    sandbox_process.discard(gone)
    ended = tear_down("--sandbox")
    assert ended.code == 0, ended.said
    assert f"{gone.id} is gone, and everything in it" in ended.flat
    assert ours.state["resources"] == []
    assert ours.state["receipt"]["sandbox"] == "gone"

    # Nor is anything ours in another sandbox that was started since; it goes on, as it is in use.
    bob = in_sandbox(folder, "bob")
    account = bob.aws.inventory()
    ended = tear_down("--sandbox", "--learner", "alice")
    assert ended.code == 0, ended.said
    assert f"{gone.id} is gone, and everything in it" in ended.flat
    assert alice.state["resources"] == []
    assert "The sandbox goes on" in ended.flat
    assert bob.aws.inventory() == account


@pytest.mark.slow
def test_a_sandbox_with_a_journal_comes_back_to_be_torn_down(folder: Path, tmp_path: Path) -> None:
    """It was killed: what is in it is not gone, and no receipt may say so."""
    running = sandbox_process.start(folder, sandbox_process.Wish(state_dir=tmp_path / "journal", stays=True))
    ours = in_sandbox(folder)
    names = {ours.settings.write_policy, ours.settings.read_policy}
    os.kill(running.pid, signal.SIGKILL)  # started by this test
    assert in_time(lambda: sandbox_process.find(folder) is None)
    ended = tear_down("--sandbox")
    assert ended.code == 0, ended.said
    assert "Nothing is left: all 2 recorded resources were read back" in ended.flat
    again = sandbox_process.find(folder)
    assert again is not None
    assert again.id == running.id
    assert not names & set(ours.aws.inventory()["policies"])


@pytest.mark.slow
def test_a_sandbox_in_which_somebody_is_about_to_begin_goes_on(folder: Path) -> None:
    """A lesson, or a run before its first write: it holds the lock, and has no state file yet."""
    running = in_sandbox(folder)
    lessons = [state_path(ACCOUNT, REGION, "sandbox:", learner, folder) for learner in (None, "alice")]
    assert lessons[0] == running.path
    with locked(lessons[1]):
        ended = tear_down("--sandbox")
        assert ended.code == 0, ended.said
        assert f"The sandbox goes on: .provision/{lessons[1].name} still uses it" in ended.flat
        ended = tear_down("--sandbox", "--learner", "alice")
        assert ended.code == 1
        assert f"{lessons[1].name} is in use by process" in ended.flat
    assert sandbox_process.find(folder) is not None
    tear_down("--sandbox")
    assert sandbox_process.find(folder) is None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The state file's lock is held, as by a program that has written nothing yet."""
    state = State.open(path, account=ACCOUNT, region=REGION, endpoint="sandbox:sb-1")
    try:
        yield
    finally:
        state.close()


def in_time(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_without_sandbox_and_state_file_the_other_state_files_of_the_folder_are_named(folder: Path) -> None:
    state = State.open(folder / "other.json", account=ACCOUNT, region=REGION, endpoint="sandbox:sb-gone")
    state.save()
    state.close()
    ended = tear_down("--sandbox")
    assert ended.code == 0
    assert "no sandbox is running" in ended.flat
    assert "other.json" in ended.flat


def test_a_state_file_of_aws_is_not_closed_for_want_of_a_sandbox(folder: Path) -> None:
    path = folder / "real.json"
    state = State.open(path, account=ACCOUNT, region=REGION, endpoint=None)
    with state.resource("table", "dynamodb:table", found={"Tags": state.tags}, TableName="name"):
        pass
    state.close()
    saved = path.read_bytes()
    ended = tear_down("--sandbox", "--state", str(path))
    assert ended.code not in (0, 130)
    assert "belongs to endpoint AWS" in ended.flat
    assert path.read_bytes() == saved
