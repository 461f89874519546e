"""`--dry-run` says what the run then does, and does nothing itself."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.account.plan import Planned
from provision.aws.answers import Call
from provision.settings import Settings
from provision.state.entries import TAG, Difference, ResourceResult
from provision.terminal import outcome
from sandbox import Sandbox
from tests.rig.command_line import CommandLine
from tests.rig.deployment import ACCOUNT, KNOWN_LATER, Deployment, Stranger, agrees, unlike, written
from tests.rig.programs import Folder
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(empty_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(empty_sandbox, tmp_path / "ledger.json", f"p{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def words(deployment: Deployment) -> dict[str, str]:
    return {key: one.word for key, one in deployment.plan().items()}


# What the plan says is what the run then does. tests/steps/test_updates.py holds it for every drift and loss.


@pytest.mark.sweep(4)
@pytest.mark.parametrize("done", range(9))
def test_of_a_half_built_account_the_plan_is_what_the_run_does(deployment: CommandLine, done: int) -> None:
    if done:
        deployment.provision("--yes", "--no-try", "--to", str(done))
    before = deployment.aws.inventory()
    planned = deployment.plan()
    assert deployment.aws.inventory() == before
    built = [key for key, one in planned.items() if one.word == "unchanged"]
    assert len(built) == {0: 0, 1: 2, 2: 7, 3: 8, 4: 10, 5: 12, 6: 13, 7: 15, 8: 16}[done]
    assert "update" not in words(deployment).values()
    deployment.build_as_planned()
    assert set(words(deployment).values()) == {"unchanged"}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("number", range(1, 31, 6))
def test_of_an_interrupted_run_the_plan_is_what_the_next_one_does(deployment: CommandLine, number: int) -> None:
    """Ended after the number-th write, whether or not that had been noted."""

    def end_after(aws: object) -> None:
        def count(call: object) -> None:
            if len(aws.calls.writes()) == number:  # type: ignore[attr-defined]
                aws.calls.stopping = True  # type: ignore[attr-defined]

        aws.calls.listeners.append(count)  # type: ignore[attr-defined]

    deployment.on_connect = end_after  # type: ignore[assignment]
    assert deployment.provision("--yes", "--no-try").code == outcome.INTERRUPTED
    deployment.on_connect = lambda aws: None
    deployment.build_as_planned()
    assert set(words(deployment).values()) == {"unchanged"}


def test_of_an_api_without_its_resources_every_part_is_said(deployment: CommandLine) -> None:
    """What is below a resource that would be made anew is seen as if it were there."""
    deployment.provision("--yes", "--no-try")
    aws = deployment.aws
    api = next(one["id"] for one in aws.apigateway.get_rest_apis()["items"] if one["name"] == deployment.settings.api)
    paths = {one["path"]: one["id"] for one in aws.apigateway.get_resources(restApiId=api)["items"]}
    aws.apigateway.delete_resource(restApiId=api, resourceId=paths["/dynamodbmanager"])
    planned = deployment.plan()["api"]
    assert {"resource /dynamodbmanager", "resource /dynamodbmanager/queue"} <= {
        one.attribute for one in planned.differences
    }
    assert [call.operation for call in planned.calls].count("CreateResource") == 2
    deployment.build_as_planned()


def test_what_a_person_made_is_planned_as_taken_over(deployment: CommandLine) -> None:
    deployment.aws.dynamodb.create_table(
        TableName=deployment.settings.table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    met = deployment.provision("--dry-run")
    assert met.code == outcome.LEFT
    assert f"3/8 Table        in the way {deployment.settings.table} (no tag of this suite" in met.told
    assert "--adopt table" in met.flat
    assert "Nothing was changed." in met.flat and "built so far" not in met.flat
    taken = deployment.provision("--dry-run", "--adopt", "table")
    assert taken.code == outcome.DONE, taken.said
    assert "billing mode: found PROVISIONED, wanted PAY_PER_REQUEST" in taken.told
    assert "15 to create, 1 to take over and update, by 33 calls. Nothing was changed." in taken.told
    assert deployment.provision("--yes", "--no-try", "--adopt", "table").code == outcome.DONE
    deployment.take_down("--include-adopted")


def test_a_plan_that_does_not_agree_would_be_seen() -> None:
    """The checker's other side."""
    planned = [call("PutMethod", "(known after step 7: id of /)"), call("PutMethod", "(known after step 7: id of /)")]
    assert unlike(planned, [call("PutMethod", "a"), call("PutMethod", "a")]) == []
    assert len(unlike(planned, [call("PutMethod", "a"), call("PutMethod", "b")])) == 1
    assert len(unlike(planned, [call("PutMethod", "a")])) == 1
    assert len(unlike(planned[:1], [call("PutMethod", "a"), call("PutMethod", "a")])) == 1
    assert len(unlike(planned[:1], [call("UpdateMethod", "a")])) == 1
    mend = Planned("queue", "sqs:queue", {}, "update", (Difference("VisibilityTimeout", "77", "30"),))
    same = ResourceResult("queue", "sqs:queue", {}, "updated", mend.differences)
    assert agrees(mend, same)
    assert not agrees(mend, ResourceResult("queue", "sqs:queue", {}, "unchanged"))
    assert not agrees(
        mend, ResourceResult("queue", "sqs:queue", {}, "updated", (Difference("VisibilityTimeout", "77", "3"),))
    )
    later = replace(mend, differences=(Difference("roles named", "A B", "A (known after step 2: RoleId)"),))
    assert agrees(later, replace(same, differences=(Difference("roles named", "A B", "A C"),)))
    assert not agrees(later, replace(same, differences=(Difference("roles named", "A B", "D C"),)))
    assert not agrees(later, replace(same, differences=(Difference("roles named", "A A", "A C"),)))
    assert not agrees(Planned("queue", "sqs:queue", {}, "unchanged"), same)
    assert not agrees(Planned("queue", "sqs:queue", {}, "create"), same)


def call(operation: str, resource_id: str) -> Call:
    return Call(1, "apigateway", operation, {"resourceId": resource_id}, is_read=False, started=0.0)


# The command line.


def test_it_writes_nothing_and_its_exit_code_says_whether_there_is_anything_to_do(deployment: CommandLine) -> None:
    before = deployment.aws.inventory()
    planned = deployment.provision("--dry-run", "--detailed-exitcode")
    assert planned.code == outcome.CHANGES == 2
    assert planned.writes == [] and not deployment.path.exists()
    assert deployment.aws.inventory() == before
    assert deployment.provision("--dry-run").code == outcome.DONE
    assert "Build in account" not in planned.said  # nobody is asked

    deployment.provision("--yes", "--no-try")
    state = deployment.path.read_bytes()
    nothing = deployment.provision("--dry-run", "--detailed-exitcode")
    assert nothing.code == outcome.DONE
    assert "Nothing to do" in nothing.told and nothing.told.count(" unchanged ") == 8
    assert deployment.path.read_bytes() == state and nothing.writes == []

    spoil(deployment.aws, deployment.settings)
    found = deployment.provision("--dry-run", "--detailed-exitcode")
    assert found.code == outcome.CHANGES
    assert "VisibilityTimeout: found 77, wanted 60" in found.told
    assert "aws sqs set-queue-attributes" in found.told
    assert f"tag {TAG}: found nothing" in found.told
    assert "2 to update, by 2 calls. Nothing was changed." in found.told
    assert deployment.path.read_bytes() == state


def spoil(aws: Stranger, settings: Settings) -> None:
    url = aws.sqs.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{settings.table}"
    aws.dynamodb.untag_resource(ResourceArn=arn, TagKeys=[TAG])


def test_a_part_is_planned_as_it_would_be_built(deployment: CommandLine) -> None:
    told = deployment.provision("--dry-run", "--to", "3").told
    assert "table" in told and "queue" not in told
    assert told.count("aws iam create-policy") == 2


def test_a_first_build_is_planned_call_by_call_and_what_aws_makes_up_is_said_to_be_unknown(
    deployment: CommandLine,
) -> None:
    planned = deployment.plan()
    assert {one.word for one in planned.values()} == {"create"} and len(planned) == 16
    calls = [call for one in planned.values() for call in one.calls]
    assert len(calls) == 32
    unknown = {text for call in calls for text in KNOWN_LATER.findall(written(call))}
    api = deployment.settings.api
    assert unknown == {f"(known after step 7: id of {name})" for name in (api, "/", "dynamodbmanager", "queue")}
    deployment.build_as_planned()


@pytest.mark.slow
def test_what_is_pasted_from_a_plan_is_taken_as_ours_and_left_as_it_is(
    deployment: CommandLine, tmp_path: Path, warm_aws: WarmAws
) -> None:
    """By the real `aws` command, up to the log group; the function's command wants a file."""
    planned = json.loads(deployment.provision("--dry-run", "--to", "5", "--output", "json").told)
    commands = [command for one in planned["resources"] for command in one["commands"] if one["key"] != "function"]
    assert len(commands) == 12 and not deployment.path.exists()
    warm_aws.paste(commands, tmp_path)
    again = json.loads(deployment.provision("--dry-run", "--output", "json").told)
    assert again["deployment"] == planned["deployment"]
    assert [one["outcome"] for one in again["resources"]] == ["unchanged"] * 11 + ["create"] * 5
    built = deployment.provision("--yes", "--no-try")
    assert built.code == outcome.DONE and built.result.deployment == planned["deployment"]
    assert [one.outcome for one in built.result.resources] == ["unchanged"] * 11 + ["created"] * 5
    assert len(built.writes) == 19
    assert deployment.take_down().code == outcome.DONE


def test_a_plan_leaves_an_id_and_nothing_to_take_down(deployment: CommandLine) -> None:
    planned = deployment.provision("--dry-run")
    assert deployment.provision("--dry-run").result.deployment == planned.result.deployment
    assert not deployment.path.exists()
    nothing = deployment.take_down()
    assert nothing.code == outcome.DONE and "Nothing to do" in nothing.flat and not deployment.path.exists()
    built = deployment.provision("--yes", "--to", "1")
    assert built.result.deployment == planned.result.deployment
    assert not any(deployment.path.parent.glob("*.id"))  # the state file has it now
    assert deployment.take_down().code == outcome.DONE


def test_an_id_that_cannot_be_kept_is_said_and_the_plan_shown(deployment: CommandLine) -> None:
    deployment.path.with_name(deployment.path.name + ".id").mkdir()
    planned = deployment.provision("--dry-run", "--to", "1")
    assert planned.code == outcome.DONE and "2 to create" in planned.told
    assert "So the next run has another id than the commands below." in planned.flat


def test_the_plan_for_a_sandbox_starts_none(tmp_path: Path) -> None:
    empty_folder = Folder(tmp_path)
    planned = empty_folder.run("provision", "--sandbox", "--dry-run")
    assert planned.returncode == outcome.DONE, planned.stderr
    assert "none is running: this is the plan for an empty one" in planned.stderr
    assert "16 to create, by 32 calls. Nothing was changed." in planned.stdout
    assert "--endpoint-url http://127.0.0.1:PORT" in planned.stdout
    assert "To have a port in these commands, start a sandbox" in planned.stderr
    kept = {one.name for one in (tmp_path / ".provision").iterdir()}
    assert kept == {".gitignore", "sandbox-us-east-1.json.id"}
    nothing = empty_folder.run("teardown", "--sandbox")
    assert nothing.returncode == outcome.DONE and "Nothing to do: no sandbox is running" in nothing.stderr


@pytest.mark.parametrize("option", [["--step"], ["--try"], ["--recover"]])
def test_it_does_not_go_with_what_does_something(
    deployment: CommandLine, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployment.provision("--dry-run", *option).code == outcome.USAGE
    assert deployment.provision("--detailed-exitcode").code == outcome.USAGE
    assert "only goes with --dry-run" in capsys.readouterr().err


# Teardown.


def resources(told: str) -> list[tuple[str, str]]:
    """Word and name of each line about a resource; a line about a wait, which a slow machine may need, is none."""
    lines = [line[4:] for line in told.splitlines() if line.startswith("    ") and line[4:5].strip()]
    named = [(line[:11].strip(), line[11:].partition("  (")[0]) for line in lines]
    return [(word, name) for word, name in named if word != "waiting"]


def test_a_teardown_does_what_its_plan_says(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--no-try")
    settings, aws = deployment.settings, deployment.aws
    aws.dynamodb.delete_table(TableName=settings.table)
    aws.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
    before, state = aws.inventory(), deployment.path.read_bytes()
    planned = deployment.take_down("--dry-run", "--detailed-exitcode")
    assert planned.code == outcome.CHANGES and planned.writes == []
    assert aws.inventory() == before and deployment.path.read_bytes() == state
    words = {"deleted": "delete", "kept": "stay"}
    done = deployment.take_down()
    assert done.code == outcome.LEFT  # a role stays
    removed = resources(done.said.partition("Removing")[2])
    expected = [(words.get(word, word), name) for word, name in removed]
    stays = [one for one in resources(planned.told) if one[0] == "stay"]
    assert [name for _, name in stays] == [
        f"attachment AmazonAPIGatewayPushToCloudWatchLogs to {settings.api_role}",
        f"role       {settings.api_role}",
    ]
    assert [one for one in resources(planned.told) if one[0] != "stay"] == expected
    assert ("gone", f"table      {settings.table}") in expected
    assert planned.told.count("aws ") == sum(word == "delete" for word, _ in expected)
    aws.iam.detach_role_policy(RoleName=settings.api_role, PolicyArn="arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess")
    assert deployment.take_down().code == outcome.DONE
    nothing = deployment.take_down("--dry-run", "--detailed-exitcode")
    assert nothing.code == outcome.DONE and "Nothing to do" in nothing.said


def test_back_to_a_step_is_planned_as_such(deployment: CommandLine) -> None:
    deployment.provision("--yes", "--to", "4")
    told = deployment.take_down("--dry-run", "--back-to", "3").told
    assert [name for _, name in resources(told)] == [
        f"queue      {deployment.settings.queue}",
        f"queue      {deployment.settings.dead_letter_queue}",
        f"table      {deployment.settings.table}",
    ]
    assert "3 to delete. Nothing was changed." in told
