"""`break`, `hint` and `heal`: each fault is seen by check and by what its page says, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.aws.clients import Clients
from provision.check.verdicts import PASS
from provision.exercise.faults import FAULTS
from provision.lesson.exercise_page import COUNT, ExercisePage, read_exercise, with_place
from provision.lesson.page import BadPage, names
from provision.settings import Settings
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.command_line import CommandLine, Ended, refuse
from tests.rig.deployment import ACCOUNT, REGION
from tests.rig.warm_aws import WarmAws

NAMES = [fault.name for fault in FAULTS]
AT_ONCE = [name for name in NAMES if name != "poison-message"]  # which takes minutes
SCHEMA = json.loads((CHECKOUT / "docs" / "output.schema.json").read_text(encoding="utf-8"))
LEARNER = "breaks"


@pytest.fixture(scope="module")
def whole(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One deployment for all tests here. Each leaves it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        made = CommandLine(sandbox, tmp_path_factory.mktemp("whole") / "state.json", LEARNER, patch)
        built = made.provision("--yes", "--no-try")
        assert built.code == 0, built.said
        yield made


@pytest.fixture
def built(whole: CommandLine) -> Iterator[CommandLine]:
    yield whole
    whole.on_connect = lambda aws: None
    whole.provision("heal", "--yes")
    assert not exercise_file(whole).exists()


def exercise_file(built: CommandLine) -> Path:
    return built.path.with_name("state.exercise.json")


def account_of(built: CommandLine) -> dict[str, Any]:
    """All that the suite could make, and what a fault changes beside that."""
    aws = built.aws
    (api,) = (api for api in aws.apigateway.get_rest_apis()["items"] if api["name"] == built.settings.api)
    methods = {
        resource["path"]: aws.apigateway.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod="POST")
        for resource in aws.apigateway.get_resources(restApiId=api["id"])["items"]
        if "POST" in resource.get("resourceMethods", {})
    }
    (stage,) = aws.apigateway.get_stages(restApiId=api["id"])["item"]
    return {
        "inventory": aws.inventory(LEARNER),
        "methods": {path: {**method, "ResponseMetadata": None} for path, method in methods.items()},
        "stage": stage["deploymentId"],
        "deployments": [one["id"] for one in aws.apigateway.get_deployments(restApiId=api["id"])["items"]],
    }


def broken(built: CommandLine, fault: str, *more: str) -> Ended:
    ended = built.provision("break", "--yes", "--fault", fault, *more)
    assert ended.code == 0, ended.said
    return ended


def page_of(built: CommandLine, fault: str) -> ExercisePage:
    """The page with the names of the deployment."""
    outputs = {one["key"]: one["outputs"] for one in json.loads(built.path.read_bytes())["resources"]}
    return read_exercise(
        fault,
        {
            **names(built.settings, account=ACCOUNT, region=REGION),
            "api_id": outputs["api"]["id"],
            "trigger_id": outputs["trigger"]["id"],
            "queue_url": outputs["queue"]["url"],
            "dead_letter_queue_url": outputs["dead-letter-queue"]["url"],
            "invoke_url": outputs["stage"]["url"],
        },
    )


# Each fault.


@pytest.mark.sweep(3)
@pytest.mark.parametrize("fault", AT_ONCE)
def test_each_fault_is_unnamed_seen_by_check_and_taken_back_without_a_trace(built: CommandLine, fault: str) -> None:
    before = account_of(built)
    ended = broken(built, fault, "--output", "json")
    assert account_of(built) != before
    document = json.loads(ended.told)
    jsonschema.validate(document, SCHEMA)
    assert document["exercise"] == {"is_open": True, "fault": "", "hints": [], "mended": None, "seconds": None}
    seen = built.provision("check")
    assert seen.code == 1
    assert {one.key for one in seen.result.checks if one.outcome != PASS} & set(_keys(fault))
    assert "not mended yet" in seen.said
    healed = built.provision("heal", "--yes", "--output", "json")
    assert healed.code == 0, healed.said
    assert healed.result.exercise is not None and healed.result.exercise.fault == fault
    assert healed.result.exercise.mended is False
    jsonschema.validate(json.loads(healed.told), SCHEMA)
    assert account_of(built) == before
    looked = built.provision("status")
    assert (looked.code, len(looked.result.of("unchanged"))) == (0, 16)
    assert built.provision("check").code == 0


def _keys(fault: str) -> tuple[str, ...]:
    return next(one.keys for one in FAULTS if one.name == fault)


# By fault, what its page's commands show while it is open.
EVIDENCE = {
    "trigger-disabled": r'"State": "Disabled"',
    "queue-policy-roles": rf"SendMessage.*|SQS-Lambda-DynamoDB-Role-{LEARNER}[^]]*SQS:SendMessage",
    "wrong-handler": r'"lambda_function\.handler"',
    "wrong-table": rf'"TABLE_NAME": "name-{LEARNER}s"',
    "timeout-too-short": r"^1$",
    "receive-denied": r'"Effect": "Deny",\s+"Action": "sqs:ReceiveMessage"',
    "wrong-template": r"&Message=\$input\.body",
    "forgotten-deploy": r'"items": \[\s+\{[^}]*\},\s+\{',  # a deployment more than the suite makes
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("fault", EVIDENCE)
def test_the_commands_of_a_page_show_the_fault(
    built: CommandLine, fault: str, warm_aws: WarmAws, tmp_path: Path
) -> None:
    broken(built, fault)
    look = page_of(built, fault).look
    ended = subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *commands_of(look, built)])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PATH": f"{warm_aws.folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        },
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.search(EVIDENCE[fault], ended.stdout, re.MULTILINE), ended.stdout


def commands_of(look: str, built: CommandLine) -> list[str]:
    with built.connected() as aws:
        return [line for line in with_place(look, aws).splitlines() if line.startswith("aws ")]


def test_a_message_that_nobody_can_process_is_counted_and_taken_out(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "timeout", 3)
    monkeypatch.setattr(Settings, "visibility_timeout", 3)
    monkeypatch.setattr(Settings, "max_receive_count", 1)
    made = CommandLine(sandbox, tmp_path / "state.json", "poison", monkeypatch)
    assert made.provision("--yes", "--no-try").code == 0
    dead = made.aws.sqs.get_queue_url(QueueName=made.settings.dead_letter_queue)["QueueUrl"]
    made.aws.sqs.send_message(QueueUrl=dead, MessageBody="somebody's")
    broken(made, "poison-message")
    seen = made.provision("check")
    assert seen.code == 1
    assert "messages in both queues: found 2, expected 1" in " ".join(seen.told.split())
    assert made.provision("heal", "--yes").code == 0
    assert made.provision("check").code == 0
    (left,) = made.aws.sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=3)["Messages"]
    assert left["Body"] == "somebody's"


# Hints, and mending by hand.


def test_there_are_three_hints_and_each_time_one_more(built: CommandLine) -> None:
    broken(built, "wrong-handler")
    told = [built.provision("hint") for _ in range(4)]
    assert [ended.told.count("Hint ") for ended in told] == [1, 2, 3, 3]
    assert "lambda_function.lambda_handler" in told[2].told and "lambda_handler" not in told[1].told
    assert "There are no more hints" in told[3].said
    assert all(ended.writes == [] for ended in told)


def test_what_was_mended_by_hand_is_told_as_that_with_the_time_and_the_hints(built: CommandLine) -> None:
    before = account_of(built)
    broken(built, "wrong-handler")
    built.provision("hint")
    built.aws.lambda_.update_function_configuration(
        FunctionName=built.settings.function, Handler=built.settings.handler
    )
    seen = built.provision("check")
    assert seen.code == 0 and "It is mended, " in seen.said
    ended = built.provision("heal", "--yes")
    assert re.search(r"You had mended it, \d+ s after it was broken, with one hint\.", ended.said)
    assert ended.writes == []
    assert account_of(built) == before


def test_what_was_mended_in_another_way_is_put_back_as_it_was(built: CommandLine) -> None:
    """A person adds a permission of another name, and deploys anew: both is good, and both goes."""
    before = account_of(built)
    broken(built, "permission-missing")
    (api,) = (api for api in built.aws.apigateway.get_rest_apis()["items"] if api["name"] == built.settings.api)
    built.aws.lambda_.add_permission(
        FunctionName=built.settings.function,
        StatementId="mine",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api['id']}/*/POST/dynamodbmanager",
    )
    assert "You had mended it" in built.provision("heal", "--yes").said
    assert account_of(built) == before
    broken(built, "forgotten-deploy")
    built.aws.apigateway.create_deployment(restApiId=api["id"], stageName="Staging")
    assert "You had mended it" in built.provision("heal", "--yes").said
    assert account_of(built) == before


# One at a time, and only where it may.


def test_one_fault_is_open_at_a_time(built: CommandLine) -> None:
    told = broken(built, "wrong-table")
    assert "A shell in which aws and boto3 speak to it" in told.flat and "in the console" not in told.flat
    second = built.provision("break", "--yes")
    assert (second.code, second.writes) == (outcome.LEFT, [])
    assert "one exercise is open" in second.flat
    assert f" -m provision hint --endpoint-url {built.url} --learner {LEARNER}" in second.flat
    assert second.result.error is not None and second.result.error.code == "exercise"


def test_status_does_not_name_the_fault_unless_it_is_asked_to(built: CommandLine) -> None:
    broken(built, "wrong-handler")
    seen = built.provision("status")
    assert seen.code == outcome.LEFT and "An exercise is open" in seen.said
    assert "Handler" not in seen.said + seen.told and seen.result.resources == ()
    assert "Handler" in built.provision("status", "--verbose").told


def test_under_another_learners_name_nothing_is_broken_or_healed(built: CommandLine) -> None:
    assert "records" in built.provision("break", "--yes", "--learner", "another").said
    broken(built, "wrong-handler")
    with_fault = account_of(built)
    refused = built.provision("heal", "--yes", "--learner", "another")
    assert refused.code == 1 and "this run is for" in refused.said
    assert account_of(built) == with_fault
    assert built.provision("heal", "--yes").code == 0


def test_without_a_fault_there_is_nothing_to_hint_at_and_nothing_to_heal(built: CommandLine) -> None:
    for command in (["hint"], ["heal", "--yes"]):
        ended = built.provision(*command)
        assert (ended.code, ended.writes) == (outcome.LEFT, [])
        assert "no exercise is open here" in ended.flat


def test_by_the_same_seed_each_learner_gets_the_same_fault(built: CommandLine) -> None:
    faults = []
    for seed in ("7", "7", "9"):
        assert built.provision("break", "--yes", "--seed", seed).code == 0
        faults.append(json.loads(exercise_file(built).read_bytes())["fault"])
        built.provision("heal", "--yes")
    assert faults[0] == faults[1] != faults[2]


def test_nothing_is_broken_before_a_person_has_agreed(built: CommandLine) -> None:
    before = account_of(built)
    ended = built.provision("break", "--fault", "wrong-handler")
    assert (ended.code, ended.writes) == (outcome.USAGE, [])
    assert "Add --yes" in ended.flat and "wrong-handler" not in ended.said.replace("--fault wrong-handler", "")
    assert account_of(built) == before and not exercise_file(built).exists()
    broken(built, "wrong-handler")
    ended = built.provision("heal")
    assert (ended.code, ended.writes) == (outcome.USAGE, [])
    assert exercise_file(built).exists()


def test_what_has_drifted_is_not_broken_further(built: CommandLine) -> None:
    name, usual = built.settings.function, built.settings.memory_size
    built.aws.lambda_.update_function_configuration(FunctionName=name, MemorySize=256)
    try:
        ended = built.provision("break", "--yes")
        assert (ended.code, ended.writes) == (outcome.LEFT, [])
        assert "not as it should be already" in ended.flat and "update" in ended.flat
    finally:
        built.aws.lambda_.update_function_configuration(FunctionName=name, MemorySize=usual)


def test_what_is_not_ours_by_now_is_not_broken_and_not_healed(built: CommandLine) -> None:
    arn = built.aws.lambda_.get_function(FunctionName=built.settings.function)["Configuration"]["FunctionArn"]
    tags = built.aws.lambda_.list_tags(Resource=arn)["Tags"]
    broken(built, "wrong-handler")
    built.aws.lambda_.tag_resource(Resource=arn, Tags={"poc-deployment": "poc-00000000"})
    try:
        healed = built.provision("heal", "--yes")
        assert (healed.code, healed.writes) == (outcome.LEFT, [])
        assert "is not this deployment's" in healed.flat
        exercise_file(built).rename(built.path.with_name("kept"))
        again = built.provision("break", "--yes")
        assert (again.code, again.writes) == (outcome.LEFT, [])
    finally:
        built.path.with_name("kept").rename(exercise_file(built))
        built.aws.lambda_.tag_resource(Resource=arn, Tags=tags)


def test_half_a_deployment_is_not_broken(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "half", monkeypatch)
    assert made.provision("--yes", "--to", "2").code == 0
    ended = made.provision("break", "--yes")
    assert (ended.code, ended.writes) == (outcome.LEFT, [])
    assert "not built to its end" in ended.flat and "--learner half" in ended.flat


def test_what_was_adopted_is_left_alone(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "adopts", monkeypatch)
    made.aws.sqs.create_queue(QueueName=made.settings.queue)
    assert made.provision("--yes", "--no-try", "--adopt", "queue").code == 0
    ended = made.provision("break", "--yes", "--fault", "queue-policy-roles")
    assert (ended.code, ended.writes) == (outcome.LEFT, [])
    assert "was adopted, and is left alone" in ended.flat


def test_as_the_walkthrough_is_written_there_are_fewer_faults(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "literal", monkeypatch)
    assert made.provision("--yes", "--no-try", "--as-written").code == 0
    assert made.provision("break", "--yes", "--as-written", "--fault", "wrong-table").code == outcome.LEFT
    assert made.provision("break", "--yes", "--as-written", "--seed", "1").code == 0
    assert made.provision("check", "--as-written").code == 1
    assert made.provision("heal", "--yes").code == 0  # it knows what it broke
    assert made.provision("check", "--as-written").code == 0


# Ended in between.


def end_after(writes: int) -> Any:
    """The run is ended as its next write after so many is about to leave."""

    def prepare(aws: Clients) -> None:
        left = [None] * writes

        def end(model: Any, **event: Any) -> None:
            if not aws.calls.under_way and not aws.calls.is_planning and is_write(aws, model):
                if not left:
                    raise outcome.Interrupted
                left.pop()

        for client in aws.clients:
            client.meta.events.register_first("before-call.*.*", end)

    return prepare


def is_write(aws: Clients, model: Any) -> bool:
    from provision.aws.operations import READS

    return model.name not in READS.get(model.service_model.service_name, frozenset())


# By fault, how many writes it takes; the sweep ends before the first, and after each.
WRITES = {
    "wrong-handler": 1,
    "permission-missing": 1,
    "scan-not-allowed": 1,
    "wrong-template": 2,
    "forgotten-deploy": 3,
}
POINTS = [(fault, point) for fault, count in WRITES.items() for point in range(count)]


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("fault", "point"), POINTS)
def test_break_that_was_ended_is_gone_on_with_and_healed(built: CommandLine, fault: str, point: int) -> None:
    before = account_of(built)
    built.on_connect = end_after(point)
    ended = built.provision("break", "--yes", "--fault", fault)
    assert ended.code == outcome.INTERRUPTED and len(ended.writes) == point
    assert exercise_file(built).exists()
    built.on_connect = lambda aws: None
    assert built.provision("break", "--yes").code == 0
    assert json.loads(exercise_file(built).read_bytes())["fault"] == fault
    seen = built.provision("check")
    assert {one.key for one in seen.result.checks if one.outcome != PASS} & set(_keys(fault))
    assert built.provision("heal", "--yes").code == 0
    assert account_of(built) == before


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("fault", "point"), POINTS[-4:])
def test_break_that_was_ended_is_healed_at_once(built: CommandLine, fault: str, point: int) -> None:
    before = account_of(built)
    built.on_connect = end_after(point)
    assert built.provision("break", "--yes", "--fault", fault).code == outcome.INTERRUPTED
    built.on_connect = lambda aws: None
    ended = built.provision("heal", "--yes")
    assert ended.code == 0 and "You had mended" not in ended.said
    assert "break had been stopped" in ended.flat
    assert account_of(built) == before


@pytest.mark.parametrize(("fault", "point"), [("wrong-template", 1), ("scan-not-allowed", 1), ("wrong-handler", 0)])
def test_heal_that_was_ended_does_not_take_its_own_work_for_the_learners(
    built: CommandLine, fault: str, point: int
) -> None:
    before = account_of(built)
    broken(built, fault)
    built.on_connect = end_after(point)
    assert built.provision("heal", "--yes").code == outcome.INTERRUPTED
    built.on_connect = lambda aws: None
    ended = built.provision("heal", "--yes")
    assert ended.code == 0 and "It was not mended" in ended.said
    assert account_of(built) == before


def test_a_refused_fault_is_no_fault_yet(built: CommandLine) -> None:
    before = account_of(built)
    built.on_connect = lambda aws: refuse(aws, "lambda_", "UpdateFunctionConfiguration")
    ended = built.provision("break", "--yes", "--fault", "wrong-handler")
    assert ended.code == outcome.SERVICE
    built.on_connect = lambda aws: None
    assert account_of(built) == before
    assert built.provision("heal", "--yes").code == 0


def test_a_file_that_was_cut_is_told_and_nothing_is_written(built: CommandLine) -> None:
    for text in ("{", '{"fault": "wrong-handler"}', "[]"):
        exercise_file(built).write_text(text, encoding="utf-8")
        for command in (["break", "--yes"], ["heal", "--yes"], ["hint"]):
            ended = built.provision(*command)
            assert (ended.code, ended.writes) == (outcome.LEFT, []), text
            assert "cannot be used" in ended.flat and "Traceback" not in ended.said
    exercise_file(built).unlink()


# Teardown.


@pytest.mark.usefixtures("one_look")
def test_teardown_with_an_open_fault_leaves_nothing_and_closes_it(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "goes", monkeypatch)
    for fault in ("permission-missing", "forgotten-deploy", "receive-denied"):
        assert made.provision("--yes", "--no-try").code == 0
        broken(made, fault)
        ended = made.take_down()
        assert ended.code == 0, ended.said
        left = made.aws.inventory("goes")
        assert [api for api in left.pop("apis") if api["name"] == made.settings.api] == []
        assert not any(left.values())
        assert not exercise_file(made).exists()


@pytest.mark.usefixtures("one_look")
def test_teardown_keeps_an_exercise_that_it_cannot_read_while_something_stands(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "cut", monkeypatch)
    assert made.provision("--yes", "--to", "3").code == 0
    exercise_file(made).write_text("{", encoding="utf-8")
    assert made.take_down("--back-to", "3").code == 0
    assert exercise_file(made).exists()
    assert made.take_down().code == 0
    assert not exercise_file(made).exists()


@pytest.mark.usefixtures("one_look")
def test_teardown_of_later_steps_leaves_a_fault_in_an_earlier_one_open(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CommandLine(sandbox, tmp_path / "state.json", "goes", monkeypatch)
    assert made.provision("--yes", "--no-try").code == 0
    broken(made, "wrong-handler")
    assert made.take_down("--back-to", "7").code == 0
    assert exercise_file(made).exists()
    assert made.take_down("--back-to", "5").code == 0
    assert not exercise_file(made).exists()


# The pages.


def test_every_fault_has_its_page_and_every_page_its_fault() -> None:
    assert {path.stem for path in (CHECKOUT / "lessons" / "exercises").glob("*.md")} == set(NAMES)
    assert len(NAMES) >= 10


@pytest.mark.parametrize("fault", NAMES)
def test_each_page_can_be_read_and_has_a_command_and_a_place_in_the_console(built: CommandLine, fault: str) -> None:
    page = page_of(built, fault)
    assert len(page.hints) == COUNT
    assert "aws " in page.look and "In the console" in page.look
    assert not re.search(r"\bTODO\b|\{", page.seen + page.learned)


PAGE = """\
# A title

## What one sees

It.

## Where to look

There.

## Hints

{hints}

## What is learned

That.
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PAGE.format(hints="1. One.\n2. Two."), "2 numbered items, and not 3"),
        (PAGE.format(hints="1. A\n2. B\n3. C").replace("## What is learned", "## Learned"), "'What is learned' is"),
        (PAGE.format(hints="1. A\n2. B\n3. C {nobody}"), "nothing is called {nobody}"),
    ],
)
def test_a_trainers_page_that_cannot_be_read_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "wrong-table.md").write_text(text, encoding="utf-8")
    with pytest.raises(BadPage, match=r"exercises/wrong-table\.md") as refused:
        read_exercise("wrong-table", {}, folder=tmp_path)
    assert said in refused.value.what


def test_a_trainers_own_hints_are_shown(built: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "exercises").mkdir()
    text = PAGE.format(hints="1. Look at {function}.\n2. B\n3. C")
    (tmp_path / "exercises" / "wrong-table.md").write_text(text, encoding="utf-8")
    broken(built, "wrong-table")
    ended = built.provision("hint", "--lessons", str(tmp_path))
    assert f"Look at {built.settings.function}." in ended.told
