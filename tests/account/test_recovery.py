"""The state file is lost: what `--recover` writes anew, what it leaves out, and when it writes nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import provision.__main__
import provision.state.file
from provision import STEPS
from provision.cli.runner import run_step
from provision.settings import Settings
from provision.state.entries import ADOPTED_TAG, TAG
from sandbox import Sandbox
from tests.rig.command_line import CommandLine, refuse, run
from tests.rig.deployment import ACCOUNT, Stranger

pytestmark = pytest.mark.usefixtures("one_look")

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Names of a learner of this test's own, with nothing under them yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledgers").mkdir()
    with CommandLine(sandbox, tmp_path / "ledgers" / "mine.json", f"r{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


def build_only(deployment: CommandLine, *names: str, settings: Settings | None = None) -> None:
    """Some of the steps, where the others would only take time."""
    aws = deployment.connect()
    state = deployment.open(aws)
    for step in STEPS:
        if step.name in names:
            run_step(step, aws, settings or deployment.settings, state)
    state.close()


def lose(deployment: CommandLine) -> dict[str, Any]:
    """Delete the state file, its backup and its lock; what it said."""
    said = deployment.state
    for path in deployment.path.parent.iterdir():
        path.unlink()
    return said


def recorded(deployment: CommandLine) -> list[str]:
    return [entry["key"] for entry in deployment.state["resources"]]


def table_arn(name: str) -> str:
    return f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{name}"


def make_table(stranger: Stranger, name: str) -> None:
    stranger.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


# What is written.


def test_the_new_state_file_says_what_the_lost_one_said_and_the_account_stays_as_it_is(deployment: CommandLine) -> None:
    aws = deployment.aws
    before = aws.inventory()
    deployment.build()
    built = aws.inventory()
    lost = lose(deployment)
    ended = deployment.recover("--yes")
    assert ended.code == 0, ended.said
    assert ended.writes == []
    assert aws.inventory() == built

    now = deployment.state
    assert (now["deployment"], now["serial"]) == (lost["deployment"], 1)
    for field in ("account", "region", "endpoint"):
        assert now[field] == lost[field]
    for there, was in zip(now["resources"], lost["resources"], strict=True):
        for unknowable in ("role_ids", "role_id", "CodeSha256"):
            was["outputs"].pop(unknowable, None)
        assert {**there, "since": ""} == {**was, "since": ""}

    assert deployment.provision("--yes", "--no-try").code == 0
    assert aws.inventory() == built, "one of each"
    assert deployment.provision("--yes", "--no-try").writes == []
    assert deployment.take_down().code == 0
    assert aws.inventory() == before


def test_teardown_at_once_leaves_the_account_as_it_was(deployment: CommandLine) -> None:
    before = deployment.aws.inventory()
    deployment.build()
    lose(deployment)
    ended = deployment.recover("--yes")
    assert [line.split(" -m ")[1].split()[0] for line in ended.told.splitlines()] == ["provision", "teardown"]
    assert deployment.take_down().code == 0
    assert deployment.aws.inventory() == before
    assert deployment.state["receipt"]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("steps", [("policies",), ("policies", "roles"), ("policies", "roles", "table", "queue")])
def test_what_was_half_built_is_recovered_completed_and_taken_down(
    deployment: CommandLine, steps: tuple[str, ...]
) -> None:
    before = deployment.aws.inventory()
    build_only(deployment, *steps)
    lost = lose(deployment)
    assert deployment.recover("--yes").code == 0
    assert recorded(deployment) == [entry["key"] for entry in lost["resources"]]
    assert deployment.provision("--yes", "--no-try").code == 0
    assert len(recorded(deployment)) == 16
    assert deployment.take_down().code == 0
    assert deployment.aws.inventory() == before


def test_what_is_built_as_written_is_recovered_as_far_as_it_goes(deployment: CommandLine) -> None:
    before = deployment.aws.inventory()
    assert deployment.settings.learner
    deployment.build(Settings(learner=deployment.settings.learner, as_written=True))
    lost = lose(deployment)
    assert deployment.recover("--yes").code == 0
    assert recorded(deployment) == [entry["key"] for entry in lost["resources"]]
    assert "dead-letter-queue" not in recorded(deployment)
    assert deployment.take_down().code == 0
    assert deployment.aws.inventory() == before


@pytest.mark.slow
def test_two_deployments_in_one_account_stay_apart(
    deployment: CommandLine, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CommandLine(sandbox, tmp_path / "other.json", f"o{secrets.token_hex(3)}", monkeypatch) as other:
        other.build()
        theirs = deployment.aws.inventory()
        deployment.build()
        lose(deployment)
        assert deployment.recover("--yes").code == 0
        assert len(recorded(deployment)) == 16
        assert other.state["deployment"] not in deployment.path.read_text()
        assert deployment.take_down().code == 0
        assert deployment.aws.inventory() == theirs
        assert other.tear_down() == []


def test_what_a_person_made_and_the_deployment_took_over_is_not_recovered_as_made_by_it(
    deployment: CommandLine,
) -> None:
    stranger, settings = deployment.aws, deployment.settings
    build_only(deployment, "policies", "table")
    tag = deployment.state["deployment"]
    tags = [{"Key": TAG, "Value": tag}, {"Key": ADOPTED_TAG, "Value": "true"}]
    stranger.iam.create_role(RoleName=settings.function_role, AssumeRolePolicyDocument=TRUST, Tags=tags)
    stranger.iam.create_role(RoleName=settings.api_role, AssumeRolePolicyDocument=TRUST, Tags=tags)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{settings.write_policy}"
    stranger.iam.attach_role_policy(RoleName=settings.function_role, PolicyArn=arn)
    logs = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    stranger.iam.attach_role_policy(RoleName=settings.api_role, PolicyArn=logs)
    lose(deployment)
    ended = deployment.recover("--yes")
    assert ended.code == 0, ended.said
    assert "it was adopted" in ended.flat
    assert {entry["key"]: entry["origin"] for entry in deployment.state["resources"]} == {
        "write-policy": "created",
        "read-policy": "created",
        "function-role": "adopted",
        "function-role/write-policy": "created",  # of a policy that the deployment made: it cannot be older
        "api-role": "adopted",
        "api-role/logs-policy": "adopted",  # of AWS's own: nobody knows, so it is left
        "table": "created",
    }
    assert deployment.take_down().code == 0
    there = stranger.inventory()
    assert settings.write_policy not in there["policies"]
    assert settings.table not in there["tables"]
    for name, attached in ((settings.function_role, []), (settings.api_role, [logs.rpartition("/")[2]])):
        assert (there["roles"][name]["attached"], there["roles"][name]["tags"]) == (attached, [])


def test_a_trigger_that_can_carry_no_tags_is_ours_between_our_queue_and_our_function(deployment: CommandLine) -> None:
    deployment.build()
    lost = lose(deployment)
    deployment.on_connect = lambda aws: refuse(aws, "lambda_", "ListTags", "InvalidParameterValueException")
    assert deployment.recover("--yes").code == 0
    trigger = next(entry for entry in deployment.state["resources"] if entry["key"] == "trigger")
    assert trigger["outputs"] == next(one["outputs"] for one in lost["resources"] if one["key"] == "trigger")

    # Is one of its ends somebody else's, nobody can say.
    lose(deployment)
    url = next(one["outputs"]["url"] for one in lost["resources"] if one["key"] == "queue")
    deployment.aws.sqs.untag_queue(QueueUrl=url, TagKeys=[TAG])
    ended = deployment.recover("--yes")
    assert ended.code == 0, ended.said
    assert {"queue", "trigger"} & set(recorded(deployment)) == set()


def test_an_api_is_recovered_under_any_name(deployment: CommandLine) -> None:
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    api_id = deployment.outputs("api")["id"]
    deployment.aws.apigateway.update_rest_api(
        restApiId=api_id, patchOperations=[{"op": "replace", "path": "/name", "value": "renamed"}]
    )
    lose(deployment)
    assert deployment.recover("--yes").code == 0
    entry = next(entry for entry in deployment.state["resources"] if entry["key"] == "api")
    assert (entry["identity"], entry["outputs"]) == ({"name": deployment.settings.api}, {"id": api_id})


# What is left out.


def test_what_carries_no_mark_is_shown_and_neither_recorded_nor_taken_down(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    make_table(stranger, settings.table)
    stranger.apigateway.create_rest_api(name=settings.api)
    theirs = stranger.inventory()
    build_only(deployment, "policies", "roles", "queue")
    lose(deployment)
    ended = deployment.recover("--yes")
    assert ended.code == 0
    left_out = ended.flat.partition("Not to be recorded")[2]
    assert f"table {settings.table} (no tag of this suite)" in left_out
    assert f"REST API {settings.api} (no tag of this suite)" in left_out
    assert not {"table", "api"} & set(recorded(deployment))
    assert deployment.take_down().code == 0
    assert stranger.inventory() == theirs


@pytest.mark.slow
def test_of_two_deployments_under_the_same_names_one_must_be_chosen_and_the_other_is_left_alone(
    deployment: CommandLine,
) -> None:
    stranger, settings = deployment.aws, deployment.settings
    build_only(deployment, "policies", "roles", "queue")
    make_table(stranger, settings.table)
    stranger.dynamodb.tag_resource(ResourceArn=table_arn(settings.table), Tags=[{"Key": TAG, "Value": "poc-theirs"}])
    mine = lose(deployment)["deployment"]
    ended = deployment.recover("--yes")
    assert ended.code == 1
    assert f"{mine} (9 resources)" in ended.flat
    assert "poc-theirs (1 resources)" in ended.flat
    assert f"--deployment {mine}" in ended.flat
    assert not deployment.path.exists()

    assert deployment.recover("--yes", "--deployment", "poc-nobodys").code == 1
    assert not deployment.path.exists()
    ended = deployment.recover("--yes", "--deployment", mine)
    assert ended.code == 0
    assert f"table {settings.table} (deployment poc-theirs)" in ended.flat
    assert "table" not in recorded(deployment)
    assert deployment.take_down().code == 0
    assert stranger.inventory()["tables"][settings.table]["tags"] == [{"Key": TAG, "Value": "poc-theirs"}]


# When nothing is written.


def assert_nothing_written(deployment: CommandLine, ended: Any, *fragments: str) -> None:
    assert ended.code not in (0, 130), ended.said
    assert ended.writes == []
    assert not deployment.path.exists()
    assert len([line for line in ended.said.splitlines() if line.startswith(("Error: ", "aws: [ERROR]: "))]) == 1
    for fragment in fragments:
        assert fragment in ended.flat, ended.said


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"schema": 99}'], ids=["good", "empty", "torn", "newer"])
def test_where_a_state_file_file_is_it_is_refused_before_any_call(
    deployment: CommandLine, content: bytes | None
) -> None:
    build_only(deployment, "table")
    if content is not None:
        deployment.path.write_bytes(content)
    found = deployment.path.read_bytes()
    ended = deployment.recover("--yes")
    assert (ended.code, ended.calls) == (1, [])
    assert f"There is a state file at {deployment.path}" in ended.flat
    assert deployment.path.read_bytes() == found


def test_where_a_state_file_is_at_the_default_place_too(deployment: CommandLine) -> None:
    assert deployment.settings.learner
    where = ["--endpoint-url", deployment.url, "--learner", deployment.settings.learner]
    first = run(provision.__main__.provision, "provision", *where, "--yes", "--no-try")
    assert first.code == 0, first.said
    [path] = Path(".provision").glob("*.json")
    found = path.read_bytes()
    ended = run(provision.__main__.provision, "provision", *where, "--recover", "--yes")
    assert ended.code == 1
    assert str(path) in ended.flat
    assert [call.operation for call in ended.calls] == ["GetCallerIdentity"]
    assert path.read_bytes() == found


def test_where_nobody_can_be_asked_yes_is_needed(deployment: CommandLine) -> None:
    build_only(deployment, "table")
    lose(deployment)
    ended = deployment.recover()
    assert ended.code == 252
    assert_nothing_written(deployment, ended, "--yes", deployment.settings.table)


def test_where_nothing_carries_a_mark_there_is_nothing_to_recover(deployment: CommandLine) -> None:
    make_table(deployment.aws, deployment.settings.table)
    ended = deployment.recover("--yes")
    assert_nothing_written(deployment, ended, "nothing to recover", f"table {deployment.settings.table} no tag")


def test_what_cannot_be_read_might_be_ours_and_so_nothing_is_written(deployment: CommandLine) -> None:
    build_only(deployment, "policies", "roles")
    lose(deployment)
    deployment.on_connect = lambda aws: refuse(aws, "sqs", "GetQueueUrl", "AccessDenied")
    ended = deployment.recover("--yes")
    assert_nothing_written(deployment, ended, f"queue {deployment.settings.queue} (AccessDenied)")


def test_what_does_not_matter_to_these_names_may_be_unreadable(deployment: CommandLine) -> None:
    """Another learner's log groups are looked at for the sake of a message."""
    build_only(deployment, "table")
    lose(deployment)

    def refuse_listing(aws: Any) -> None:
        denied = refuse_only_prefix(f"{Settings().log_group}-")
        aws.logs.meta.events.register_last("before-call.cloudwatch-logs.DescribeLogGroups", denied)

    deployment.on_connect = refuse_listing
    assert deployment.recover("--yes").code == 0
    assert recorded(deployment) == ["table"]


def refuse_only_prefix(prefix: str) -> Any:
    from tests.rig.command_line import refusal

    def before_call(params: dict[str, Any], **event: Any) -> Any:
        return refusal() if json.loads(params["body"]).get("logGroupNamePrefix") == prefix else None

    return before_call


def test_a_function_whose_tags_cannot_be_read_might_be_ours(deployment: CommandLine) -> None:
    build_only(deployment, "policies", "roles", "table", "function")
    lose(deployment)

    def hide(aws: Any) -> None:
        aws.lambda_.meta.events.register_first(
            "after-call.lambda.GetFunction", lambda parsed, **event: parsed.pop("Tags", None) and None
        )
        refuse(aws, "lambda_", "ListTags")

    deployment.on_connect = hide
    assert_nothing_written(deployment, deployment.recover("--yes"), deployment.settings.function, "could not be read")


def test_roles_and_policies_of_a_deployment_in_another_region_are_not_recovered_here(deployment: CommandLine) -> None:
    build_only(deployment, "policies", "roles")
    mine = lose(deployment)["deployment"]
    assert_nothing_written(
        deployment,
        deployment.recover("--yes", "--region", "eu-west-1"),
        f"Deployment {mine} is in Region us-east-1",
        "--region us-east-1",
    )
    assert deployment.recover("--yes").code == 0


def test_roles_and_policies_that_name_no_region_must_be_asked_for_by_name(deployment: CommandLine) -> None:
    assert deployment.settings.learner
    build_only(deployment, "policies", settings=Settings(learner=deployment.settings.learner, as_written=True))
    mine = lose(deployment)["deployment"]
    assert_nothing_written(deployment, deployment.recover("--yes"), f"--deployment {mine}")
    assert deployment.recover("--yes", "--deployment", mine).code == 0
    assert recorded(deployment) == ["write-policy", "read-policy"]


def test_a_deployment_that_has_a_state_file_under_another_name_gets_no_second_one(deployment: CommandLine) -> None:
    build_only(deployment, "table")
    other = deployment.path.with_name("under-another-name.json")
    deployment.path.rename(other)
    assert_nothing_written(deployment, deployment.recover("--yes"), str(other), "--state")


def test_two_apis_with_the_mark_are_shown_unless_one_is_empty(deployment: CommandLine) -> None:
    stranger, settings = deployment.aws, deployment.settings
    build_only(deployment, "policies", "roles", "table", "queue", "function", "api")
    tag = {TAG: deployment.state["deployment"]}
    api_id = deployment.outputs("api")["id"]
    lose(deployment)
    second = stranger.apigateway.create_rest_api(name=settings.api, tags=tag)["id"]
    assert deployment.recover("--yes").code == 0
    assert deployment.outputs("api")["id"] == api_id

    lose(deployment)
    root = stranger.apigateway.get_resources(restApiId=second)["items"][0]["id"]
    stranger.apigateway.create_resource(restApiId=second, parentId=root, pathPart="something")
    assert_nothing_written(deployment, deployment.recover("--yes"), api_id, second)


def test_expired_credentials_stop_it_and_name_the_command_that_renews_them(
    deployment: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_only(deployment, "table")
    lose(deployment)
    config = tmp_path / "config"
    config.write_text("[profile lab]\naws_access_key_id = any\naws_secret_access_key = any\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    deployment.on_connect = lambda aws: refuse(aws, "dynamodb", "DescribeTable", "ExpiredTokenException")
    ended = deployment.recover("--yes", "--profile", "lab")
    assert ended.code == 253
    assert_nothing_written(deployment, ended, "aws configure --profile lab")
    deployment.on_connect = lambda aws: None
    assert deployment.recover("--yes", "--profile", "lab").code == 0


def test_a_full_disk_is_one_message_and_no_state_file(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    build_only(deployment, "table")
    lose(deployment)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(provision.state.file, "write_durably", full)
        ended = deployment.recover("--yes")
    assert ended.code == 253
    assert_nothing_written(deployment, ended, "No space left on device")
    assert deployment.recover("--yes").code == 0


def test_a_sandbox_that_is_gone_has_nothing_to_recover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(provision.__main__.provision, "provision", "--sandbox", "--recover")
    assert (ended.code, ended.calls) == (1, [])
    assert "No sandbox is running" in ended.flat
    assert list(tmp_path.iterdir()) == []
